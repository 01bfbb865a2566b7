//! Connections that do more than one thing, that go away, and that end with the server.

use std::sync::Arc;
use std::time::Duration;

use protocol::value::{ColumnType, Row, Value};
use server_gateway::{Limits, SqlAnswer, SqlColumn};
use tokio::sync::Semaphore;

use crate::world::{World, one_row, patiently, post, token};

fn statement(text: &str) -> Vec<u8> {
    post(&token("alice"), &format!(r#"{{"sql":"{text}"}}"#))
}

/// A world in which the statement `wait` waits for a permit, `panic` panics, and `never` never ends.
async fn world(limits: Limits) -> (World, Arc<Semaphore>, Arc<Semaphore>) {
    let (gate, done) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (opened, ended) = (Arc::clone(&gate), Arc::clone(&done));
    let world = World::with(limits, move |request| {
        let (opened, ended) = (Arc::clone(&opened), Arc::clone(&ended));
        async move {
            match request.sql.as_str() {
                "wait" => opened.acquire().await.unwrap().forget(),
                "never" => std::future::pending().await,
                "panic" => panic!("a defect of the port"),
                "much" => return Ok(much()),
                _ => {}
            }
            ended.add_permits(1);
            let affected = request.sql.len() as u64;
            Ok(SqlAnswer { rows_affected: Some(affected), ..one_row() })
        }
    })
    .await;
    (world, gate, done)
}

/// More than the system takes at once on its way to a client.
fn much() -> SqlAnswer {
    let row = Row(vec![Value::text("x".repeat(500_000)).unwrap()]);
    let column = SqlColumn { name: "x".to_owned(), column_type: ColumnType::Text };
    SqlAnswer { columns: vec![column], rows: vec![row; 32], ..SqlAnswer::default() }
}

async fn asked(world: &World, count: usize) {
    patiently(async {
        while world.sql.asked().len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let (world, gate, _) = world(Limits::default()).await;
    let mut client = world.connect().await;
    let mut all = statement("wait");
    for text in ["b", "ccc"] {
        all.extend(statement(text));
    }
    all.extend(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    all.extend(statement("dd"));
    client.send(&all).await;
    gate.add_permits(1);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let answer = client.answer().await.unwrap();
        seen.push(answer.json()["rows_affected"].as_u64());
    }
    assert_eq!(seen, [Some(4), Some(1), Some(3), None, Some(2)]);
}

#[tokio::test]
async fn an_older_client_is_served_and_then_hung_up_on() {
    let (world, ..) = world(Limits::default()).await;
    let mut client = world.connect().await;
    client.send(b"GET /health HTTP/1.0\r\n\r\n").await;
    let said = client.rest().await;
    assert!(said.starts_with("HTTP/1.0 200") && said.contains("\"ok\""), "{said}");
}

#[tokio::test]
async fn a_client_that_has_said_all_it_will_say_still_gets_its_answer() {
    let (world, gate, _) = world(Limits::default()).await;
    let mut client = world.connect().await;
    client.send(&statement("wait")).await;
    client.end().await;
    asked(&world, 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.add_permits(1);
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_statement_goes_on_when_its_client_has_gone() {
    let (world, gate, done) = world(Limits { requests_max: 1, ..Limits::default() }).await;
    let mut client = world.connect().await;
    client.send(&statement("wait")).await;
    asked(&world, 1).await;
    drop(client);
    // Its place is taken until it has ended.
    for _ in 0..20 {
        assert_eq!(world.post(r#"{"sql":"x"}"#).await.code(), "overloaded");
    }
    gate.add_permits(1);
    done.acquire().await.unwrap().forget();
    patiently(async { while world.post(r#"{"sql":"x"}"#).await.status != 200 {} }).await;
}

#[tokio::test]
async fn a_panic_is_an_answer_and_ends_nothing_else() {
    let (world, ..) = world(Limits { requests_max: 1, ..Limits::default() }).await;
    let mut client = world.connect().await;
    for _ in 0..3 {
        client.send(&statement("panic")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, &*answer.code()), (500, "internal"));
        assert!(!answer.body.contains("defect of the port"), "the inside stays inside");
        client.send(&statement("x")).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    // Outside of the statement as well: a poisoned lock makes this fake panic.
    let health = Arc::clone(&world.health);
    let _ = std::thread::spawn(move || {
        let _held = health.0.lock();
        panic!("poisoned");
    })
    .join();
    client.send(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().code(), "internal");
    world.is_well().await;
}

#[tokio::test]
async fn a_stop_ends_idle_connections_at_once_and_lets_requests_finish() {
    let (mut world, gate, _) = world(Limits::default()).await;
    let mut fresh = world.connect().await;
    let mut begun = world.connect().await;
    begun.send(b"GET /hea").await;
    let mut idle = world.connect().await;
    idle.send(&statement("x")).await;
    assert_eq!(idle.answer().await.unwrap().status, 200);
    let mut busy = world.connect().await;
    busy.send(&statement("wait")).await;
    asked(&world, 2).await;
    world.stop();
    for client in [&mut fresh, &mut begun, &mut idle] {
        assert_eq!(client.rest().await, "");
    }
    assert!(!world.has_returned(), "a request is running");
    let refused = tokio::net::TcpStream::connect(world.address).await;
    assert!(refused.is_err(), "nobody listens");
    gate.add_permits(1);
    let answer = busy.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(busy.rest().await, "");
    world.returned().await;
}

#[tokio::test]
async fn a_stop_lets_an_answer_that_is_on_its_way_get_there() {
    for connection in ["close", "keep-alive"] {
        let (mut world, ..) = world(Limits::default()).await;
        let mut client = world.connect().await;
        let asks = String::from_utf8(statement("much")).unwrap();
        let asks = asks.replacen("Host: x", &format!("Host: x\r\nConnection: {connection}"), 1);
        client.send(asks.as_bytes()).await;
        // Its beginning is there, and the rest of it waits.
        let begins = client.begins().await;
        assert!(begins.starts_with("HTTP/1.1 200"), "{begins}");
        world.stop();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = client.answer().await.expect("all of it");
        assert_eq!(answer.json()["rows"].as_array().unwrap().len(), 32);
        assert_eq!(client.rest().await, "");
        world.returned().await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_a_statement_whose_client_has_gone() {
    let (mut world, gate, done) = world(Limits::default()).await;
    let mut client = world.connect().await;
    client.send(&statement("wait")).await;
    asked(&world, 1).await;
    drop(client);
    world.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!world.has_returned());
    gate.add_permits(1);
    world.returned().await;
    assert_eq!(done.available_permits(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever_and_says_that_the_outcome_is_not_known() {
    let limits = Limits { shutdown_timeout: Duration::from_millis(50), ..Limits::default() };
    let (mut world, ..) = world(limits).await;
    let mut client = world.connect().await;
    client.send(&statement("never")).await;
    let mut slow = world.connect().await;
    slow.send(crate::world::head(&token("alice"), 100).as_bytes()).await;
    asked(&world, 1).await;
    world.stop();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, &*answer.code()), (504, "timeout"));
    assert!(answer.message().contains("same request_id"), "{}", answer.message());
    world.returned().await;
    slow.rest().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_are_answered_and_end_their_connection_alone() {
    let (world, ..) = world(Limits::default()).await;
    let mut good = world.connect().await;
    for bad in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /health HTTP/1.1\r\n folded\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\r\n\r\nnonsense\r\n\r\n",
    ] {
        let mut client = world.connect().await;
        client.send(bad).await;
        client.end().await;
        let said = client.rest().await;
        let refused = said.is_empty() || said.starts_with("HTTP/1.1 4");
        assert!(refused, "{}: {said}", String::from_utf8_lossy(bad));
    }
    let mut both = world.connect().await;
    let smuggled = b"POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: \
        chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n";
    both.send(smuggled).await;
    both.end().await;
    let said = both.rest().await;
    assert!(!said.contains("\"ok\""), "{said}");
    good.send(&statement("x")).await;
    assert_eq!(good.answer().await.unwrap().status, 200);
    assert_eq!(world.sql.asked().len(), 1);
}
