//! Every bound is real: what is beyond it is refused, and what waits for ever is ended.

use std::sync::Arc;
use std::time::Duration;

use protocol::value::{ColumnType, Row, Value};
use server_gateway::{Limits, SqlAnswer, SqlColumn};
use tokio::sync::Semaphore;

use crate::world::{Client, World, head, one_row, patiently, post, token};

const SHORT: Duration = Duration::from_millis(100);

/// A world whose statements wait for permits of the semaphore.
async fn waiting(limits: Limits) -> (World, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::with(limits, move |_| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            Ok(one_row())
        }
    })
    .await;
    (world, gate)
}

/// A client whose statement has reached the port.
async fn running(world: &World) -> Client {
    let before = world.sql.asked().len();
    let mut client = world.connect().await;
    client.send(&post(&token("alice"), r#"{"sql":"x"}"#)).await;
    patiently(async {
        while world.sql.asked().len() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let world = World::new(Limits { header_read_timeout: SHORT, ..Limits::default() }).await;
    for start in ["", "P", "POST /v1/sql HTTP/1.1\r\nHost: x\r\nX: "] {
        let mut client = world.connect().await;
        client.send(start.as_bytes()).await;
        let said = client.rest().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{start}: {said}");
    }
    // One byte now and then does not help.
    let mut client = world.connect().await;
    for byte in b"GET /health HTTP/1.1\r\nA: ".iter().chain([b'a'; 100].iter()) {
        client.send(&[*byte]).await;
        tokio::time::sleep(SHORT / 20).await;
    }
    client.send(b"\r\n\r\n").await;
    let said = client.rest().await;
    assert!(!said.contains("200"), "{said}");
    // Neither does a request that went well before.
    let mut client = world.connect().await;
    client.send(&post(&token("alice"), r#"{"sql":"x"}"#)).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.rest().await, "");
    world.is_well().await;
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_and_lines() {
    let limits = Limits { header_bytes_max: 2_048, ..Limits::default() };
    let world = World::new(limits).await;
    let ok = "GET /health HTTP/1.1\r\nHost: x\r\n";
    let long = format!("{ok}X: {}\r\n\r\n", "a".repeat(2_048));
    let endless = format!("{ok}X: {}", "a".repeat(200_000));
    let many = format!("{ok}{}\r\n", "X: y\r\n".repeat(101));
    let path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(3_000));
    for request in [long, endless, many, path] {
        let mut client = world.connect().await;
        client.send(request.as_bytes()).await;
        let said = client.rest().await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }
    let fits = format!("{ok}X: {}\r\n\r\n", "a".repeat(1_900));
    assert_eq!(world.ask(fits.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_comes() {
    let world = World::new(Limits { body_bytes_max: 1_000, ..Limits::default() }).await;
    let of = |length: usize| format!(r#"{{"sql":"{}"}}"#, "x".repeat(length - 10));
    assert_eq!(world.post(&of(1_000)).await.status, 200);
    let over = world.post(&of(1_001)).await;
    assert_eq!(
        (over.status, &*over.code(), over.header("connection")),
        (413, "too_large", Some("close"))
    );
    assert!(over.message().contains("1000 bytes"));

    // Refused by its head, of which the rest never comes.
    let mut client = world.connect().await;
    client.send(head(&token("alice"), 1_000_000_000).as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().code(), "too_large");
    assert!(client.ends_in_peace().await);

    // Without a length it is refused where it passes the limit, while more is being sent.
    let mut client = world.connect().await;
    client.send(chunked().as_bytes()).await;
    for _ in 0..200 {
        client.send(format!("3e8\r\n{}\r\n", "x".repeat(1_000)).as_bytes()).await;
    }
    assert_eq!(client.answer().await.unwrap().code(), "too_large");
    assert_eq!(client.rest().await, "");

    // A client that asks first sends none of it.
    let mut client = world.connect().await;
    let asks = head(&token("alice"), 5_000).replace("Host", "Expect: 100-continue\r\nHost");
    client.send(asks.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().code(), "too_large");
    let mut client = world.connect().await;
    let asks = head(&token("alice"), 11).replace("Host", "Expect: 100-continue\r\nHost");
    client.send(asks.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 100);
    client.send(br#"{"sql":"x"}"#).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}

fn chunked() -> String {
    head(&token("alice"), 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
}

#[tokio::test]
async fn a_body_in_chunks_is_a_body() {
    let world = World::new(Limits::default()).await;
    let ok = chunked() + "5;x=y\r\n{\"sql\r\n6\r\n\":\"x\"}\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(world.ask(ok.as_bytes()).await.status, 200);
    assert_eq!(world.sql.asked()[0].sql, "x");
    for bad in ["zz\r\n", "-1\r\n{\r\n", "ffffffffffffffffff\r\n{", "2\r\n{}x\r\n0\r\n\r\n"] {
        let mut client = world.connect().await;
        client.send((chunked() + bad).as_bytes()).await;
        let said = client.rest().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{bad}: {said}");
    }
    assert_eq!(world.sql.asked().len(), 1);
}

#[tokio::test]
async fn a_body_that_stops_in_its_middle_runs_nothing() {
    let limits = Limits { body_read_timeout: SHORT, requests_max: 1, ..Limits::default() };
    let world = World::new(limits).await;
    for half in [head(&token("alice"), 11) + "{\"sql\":", chunked() + "5\r\n{\"sql\r\n"] {
        let mut client = world.connect().await;
        client.send(half.as_bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, &*answer.code()), (408, "timeout"));
        assert!(answer.message().contains("nothing has been run"));
        assert_eq!(client.rest().await, "", "the connection is closed");

        let mut client = world.connect().await;
        client.send(half.as_bytes()).await;
        client.end().await;
        let said = client.rest().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said}");
    }
    assert_eq!(world.sql.asked(), []);
    world.is_well().await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_again() {
    let limits = Limits { requests_max: 2, ..Limits::default() };
    let (world, gate) = waiting(limits).await;
    let mut first = running(&world).await;
    let mut second = running(&world).await;
    let mut third = world.connect().await;
    third.send(&post(&token("alice"), r#"{"sql":"x"}"#)).await;
    let answer = third.answer().await.unwrap();
    assert_eq!((answer.status, &*answer.code()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["error"]["retry_after_ms"], 200);
    let health = world.ask(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(health.status, 200, "health needs no place");
    let anonymous = world.ask(&post("", r#"{"sql":"x"}"#)).await;
    assert_eq!(anonymous.code(), "needs_auth", "who has no token learns nothing of the load");
    gate.add_permits(3);
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(second.answer().await.unwrap().status, 200);
    third.send(&post(&token("alice"), r#"{"sql":"x"}"#)).await;
    assert_eq!(third.answer().await.unwrap().status, 200, "the connection goes on");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_closed() {
    let world = World::new(Limits { connections_max: 2, ..Limits::default() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = world.connect().await;
        client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        open.push(client);
    }
    let mut third = world.connect().await;
    third.send(&post(&token("alice"), r#"{"sql":"x"}"#)).await;
    let answer = third.answer().await.unwrap();
    assert_eq!((answer.status, &*answer.code()), (503, "overloaded"));
    assert_eq!(
        (answer.header("retry-after"), answer.header("connection")),
        (Some("1"), Some("close"))
    );
    assert_eq!(third.rest().await, "");
    drop(open);
    patiently(async { while world.post(r#"{"sql":"x"}"#).await.status != 200 {} }).await;
    assert_eq!(world.sql.asked().len(), 1);
}

#[tokio::test]
async fn a_port_that_does_not_answer_is_given_up_behind_its_deadline() {
    let limits = Limits { statement_timeout: SHORT, requests_max: 1, ..Limits::default() };
    let (world, gate) = waiting(limits).await;
    let before = tokio::time::Instant::now();
    let answer = world.post(r#"{"sql":"x"}"#).await;
    assert_eq!((answer.status, &*answer.code()), (504, "timeout"));
    assert!(answer.message().contains("same request_id"), "{}", answer.message());
    let deadline = world.sql.asked()[0].deadline;
    assert!(deadline >= before + SHORT && deadline <= tokio::time::Instant::now());
    gate.add_permits(1);
    world.is_well().await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_dropped() {
    let limits = Limits { write_timeout: SHORT, requests_max: 1, ..Limits::default() };
    let world = World::with(limits, |request| async move {
        if request.sql == "well" {
            return Ok(one_row());
        }
        let text = "x".repeat(400_000);
        let row = || Row(vec![Value::text(text.as_str()).unwrap()]);
        Ok(SqlAnswer {
            columns: vec![SqlColumn { name: "c".to_owned(), column_type: ColumnType::Text }],
            rows: (0..40).map(|_| row()).collect(),
            ..SqlAnswer::default()
        })
    })
    .await;
    let whole = world.post(r#"{"sql":"much"}"#).await;
    assert!(whole.body.len() > 16_000_000, "who reads it gets it");
    let mut client = running(&world).await;
    // The place of the request is free again only when its answer is gone.
    patiently(async {
        while world.post(r#"{"sql":"well"}"#).await.status != 200 {
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
    let said = client.rest().await;
    assert!(said.len() < 16_000_000, "{}", said.len());
}
