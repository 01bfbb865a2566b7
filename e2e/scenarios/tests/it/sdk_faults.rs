//! The Rust SDK under fire: kills, other programs on its file, and many clients at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e_harness::Role;
use rusqlite::Connection;
use sdk_core::{Client, Error, ResultState, StatusWord, SubscribeOptions, Value};

use crate::sdk::{World, rows, soon, texts};

/// Waits until a local query gives these rows.
async fn until_rows(client: &Client, sql: &str, expected: &[String]) {
    let mut watch = client.watch(sql, &[]).unwrap();
    soon(async {
        loop {
            let result = watch.next().await.expect("the client lives");
            assert_eq!(result.error, None);
            if texts(&result.rows) == expected && result.state == ResultState::Live {
                return;
            }
        }
    })
    .await;
}

/// The file of the only replica of a device.
fn file(world: &World, device: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(world.replicas(device)).unwrap();
    let mut found = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite"));
    let file = found.next().unwrap();
    assert_eq!(found.next(), None);
    file
}

#[tokio::test]
async fn other_programs_read_the_file_and_do_not_write_it() {
    let mut world = World::new();
    world.ann.ok("INSERT INTO app.notes VALUES (1, 7, 'one', 'x')");
    let client = world.client("ann").await;
    let options = SubscribeOptions::default();
    let notes = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    soon(notes.ready()).await.unwrap();
    world.kill_and_start();
    world.ann.ok("INSERT INTO app.notes VALUES (2, 7, 'two', 'x')");
    client.network_changed();
    until_rows(&client, "SELECT id FROM app.notes ORDER BY id", &["1".into(), "2".into()]).await;

    let other = Connection::open(file(&world, "ann")).unwrap();
    let sql = "SELECT group_concat(body ORDER BY id) FROM app__notes WHERE room = 7";
    let bodies: String = other.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(bodies, "one,two");
    for sql in ["DELETE FROM app__notes", "UPDATE app__notes SET body = 'x' WHERE id = 1"] {
        let refused = other.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("tidewire_writes"), "{refused}");
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM app.notes").await, ["2"]);
}

/// A step that cannot be done, because somebody else has the file, is done when he has not.
#[tokio::test]
async fn a_replica_that_cannot_be_written_is_told_and_goes_on() {
    use futures::StreamExt;
    let world = World::new();
    let client = world.client("ann").await;
    let options = SubscribeOptions::default();
    let notes = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    soon(notes.ready()).await.unwrap();
    let few = client.subscribe("SELECT * FROM app.board", &[], options).await.unwrap();
    soon(few.ready()).await.unwrap();
    let other = Connection::open(file(&world, "ann")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // It cannot be done, and is not forgotten.
    few.unsubscribe();
    world.ann.ok("INSERT INTO app.notes VALUES (1, 7, 'one', 'x')");
    let mut statuses = client.statuses();
    soon(async { while statuses.next().await.unwrap().word != StatusWord::Error {} }).await;
    // Reading goes on.
    assert_eq!(rows(&client, "SELECT count(*) FROM app.notes").await, ["0"]);
    other.execute_batch("ROLLBACK").unwrap();
    until_rows(&client, "SELECT id FROM app.notes", &["1".into()]).await;
    soon(async { while statuses.next().await.unwrap().word != StatusWord::Connected {} }).await;
    let held = "SELECT count(*) FROM tw_subscriptions";
    soon(async {
        while other.query_row(held, [], |row| row.get::<_, i64>(0)).unwrap() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let answer = soon(client.remote("INSERT INTO app.notes VALUES (2, 7, 'two', 'x')", &[])).await;
    soon(client.wait_for(&answer.unwrap().positions)).await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM app.notes").await, ["2"]);
}

/// One device changes rows at random until it is told to stop; returns how many statements were
/// answered.
async fn write_until(over: Arc<AtomicBool>, number: i64, client: Client) -> i64 {
    let mut written = 0_i64;
    let mut round = 0_i64;
    while !over.load(Ordering::SeqCst) {
        round += 1;
        let id = number * 100_000 + round % 200;
        let params = [Value::Integer(id), Value::Integer(round % 10)];
        let sql = match round % 4 {
            0 => "DELETE FROM app.board WHERE id = $1 AND room <> $2",
            1 => {
                "INSERT INTO app.board VALUES ($1, $2, 'x') ON CONFLICT (id) DO UPDATE \
                  SET room = $2"
            }
            2 => "UPDATE app.board SET room = $2 WHERE id >= $1",
            _ => {
                "INSERT INTO app.notes VALUES ($1, $2, 'x', 'y') ON CONFLICT (id) DO \
                  UPDATE SET extra = 'z', room = $2"
            }
        };
        match client.remote(sql, &params).await {
            Ok(_) => written += 1,
            // Its device has begun again, without this writer.
            Err(Error::Closed) => break,
            // It may have happened, which is no matter here.
            Err(_) => {}
        }
    }
    written
}

/// INV-8: servers and clients come and go under load; afterwards every replica shows what the
/// server has, nothing twice, and nothing is stuck.
#[tokio::test]
async fn after_kills_and_cuts_every_replica_equals_the_server() {
    let mut world = World::new();
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..4_i64 {
        let client = world.client_of("ann", &format!("device {number}")).await;
        let options = SubscribeOptions { batch_rows: Some(50), ..SubscribeOptions::default() };
        for sql in ["SELECT * FROM app.board WHERE room < 5", "SELECT id, extra FROM app.notes"] {
            client.subscribe(sql, &[], options).await.unwrap();
        }
        clients.push((number, client));
    }
    let mut writers = Vec::new();
    for (number, client) in clients.iter().cloned() {
        writers.push(tokio::spawn(write_until(Arc::clone(&over), number, client)));
    }
    for round in 0..3 {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.proxy.cut();
            clients.iter().for_each(|(_, client)| client.network_changed());
        }
        world.kill_and_start();
        // One device ends in the middle of it, and begins again.
        let (number, ended) = clients.remove(round % clients.len());
        soon(ended.close()).await;
        drop(ended);
        let again = world.client_of("ann", &format!("device {number}")).await;
        clients.push((number, again));
        clients.iter().for_each(|(_, client)| client.network_changed());
    }
    over.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += soon(writer).await.unwrap();
    }
    assert!(written > 50, "{written} statements were answered");

    let admin = world.home.client("ann", Role::User);
    let board = admin.rows("SELECT id, room, body FROM app.board WHERE room < 5 ORDER BY id");
    let notes = admin.rows("SELECT id, extra FROM app.notes ORDER BY id");
    for (_, client) in &clients {
        client.network_changed();
        until_rows(client, "SELECT id, room, body FROM app.board ORDER BY id", &board).await;
        until_rows(client, "SELECT id, extra FROM app.notes ORDER BY id", &notes).await;
    }
}
