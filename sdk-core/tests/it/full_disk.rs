//! A disk that is full: what is typed is kept, and everything else waits for room.

use std::path::PathBuf;

use futures::StreamExt;
use protocol::frame::v1::{ClientFrame, Delta, RowChange, ServerFrame};
use protocol::ids::Birth;
use sdk_core::{Client, MutationState, StatusWord, Value};

use crate::fake::{Device, Fake, delta, frontier, seq, soon, subscribed, table};

const ALL: &str = "SELECT * FROM app.notes";

fn beside(device: &Device, end: &str) -> PathBuf {
    let mut name = device.file().into_os_string();
    name.push(end);
    name.into()
}

async fn until(client: &Client, word: StatusWord) {
    let mut statuses = client.statuses();
    soon(async { while statuses.next().await.unwrap().word != word {} }).await;
}

/// Text that needs more room than a page has left.
fn much() -> Value {
    Value::text("x".repeat(100_000)).unwrap()
}

#[tokio::test]
async fn what_is_typed_on_a_full_disk_is_kept_and_sent_when_there_is_room() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, session) = device.with_notes(&fake, 1).await;
    let reserve = beside(&device, ".reserve");
    let reserved = std::fs::metadata(&reserve).unwrap().len();
    std::fs::write(beside(&device, ".full"), "").unwrap();
    let insert = "INSERT INTO app.notes VALUES ($1, $2)";
    let written = client.execute(insert, &[Value::Integer(7), much()]).await.unwrap();
    assert!(!reserve.exists(), "it has taken the place of the reserve");
    assert_eq!(client.status().word, StatusWord::DiskFull);
    let again = client.transaction(async |tx| {
        tx.execute(insert, &[Value::Integer(8), much()]).await?;
        Ok(())
    });
    again.await.unwrap();
    drop(session);
    // Tried again, and full again: rows of the server do not take the room.
    until(&client, StatusWord::DiskFull).await;
    assert_eq!(written.state(), MutationState::Queued);
    assert_eq!(client.query(ALL, &[]).await.unwrap().len(), 3);

    std::fs::remove_file(beside(&device, ".full")).unwrap();
    let (mut session, _) = fake.welcome().await;
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), reserved, "there is one again");
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    let mut sent = 0;
    while sent < 2 {
        match session.next().await {
            ClientFrame::OpenLane(_) => session.send(frontier(10)).await,
            ClientFrame::Mutate(mutate) => sent += mutate.mutations.len(),
            _ => {}
        }
    }
    soon(client.close()).await;
}

/// A newer version opens it, and has to write for that.
#[tokio::test]
async fn a_replica_is_opened_on_a_full_disk() {
    let (fake, device) = (Fake::new().await, Device::new());
    soon(device.open(&fake.url()).await.close()).await;
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/replica/tests/fixtures");
    std::fs::copy(format!("{fixtures}/format_7.sqlite"), device.file()).unwrap();
    std::fs::write(beside(&device, ".reserve"), vec![1; 4 * 1024 * 1024]).unwrap();
    std::fs::write(beside(&device, ".full"), "").unwrap();
    let client = device.open(&fake.url()).await;
    assert!(!beside(&device, ".reserve").exists(), "it has taken the place of the reserve");
    until(&client, StatusWord::DiskFull).await;
    soon(client.close()).await;
}

#[tokio::test]
async fn what_is_taken_back_on_a_full_disk_takes_the_reserve() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = device.with_notes(&fake, 1).await;
    let large = [Value::Integer(2), much()].into_iter().collect();
    let ServerFrame::Delta(delta) = delta(10, 11, 64, 2, true) else { unreachable!() };
    let changes = vec![RowChange::Row(Birth(seq(11)), large)];
    session.send(ServerFrame::Delta(Delta { changes, ..delta })).await;
    soon(async { while client.query(ALL, &[]).await.unwrap().len() < 2 {} }).await;
    client.pause();
    let short = "UPDATE app.notes SET body = 'short' WHERE id = 2";
    let shortened = client.execute(short, &[]).await.unwrap();
    // What is free in the file then is taken.
    client.execute("CREATE TABLE mine (body)", &[]).await.unwrap();
    client.execute("INSERT INTO mine VALUES ($1), ($1)", &[much()]).await.unwrap();
    std::fs::write(beside(&device, ".full"), "").unwrap();
    assert!(shortened.cancel().await.unwrap());
    assert!(!beside(&device, ".reserve").exists(), "it has taken the place of the reserve");
    let rows = client.query("SELECT length(body) AS n FROM app.notes WHERE id = 2", &[]).await;
    assert_eq!(rows.unwrap().iter().next().unwrap().get::<i64>("n").unwrap(), 100_000);
    soon(client.close()).await;
}

/// The first that meets a full disk are rows of the server: they leave the reserve alone.
#[tokio::test]
async fn rows_of_the_server_leave_the_reserve_to_who_writes() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = device.with_notes(&fake, 1).await;
    std::fs::write(beside(&device, ".full"), "").unwrap();
    let large = [Value::Integer(2), much()].into_iter().collect();
    let ServerFrame::Delta(delta) = delta(10, 11, 64, 2, true) else { unreachable!() };
    let changes = vec![RowChange::Row(Birth(seq(11)), large)];
    session.send(ServerFrame::Delta(Delta { changes, ..delta })).await;
    until(&client, StatusWord::DiskFull).await;
    assert!(beside(&device, ".reserve").exists());
    let insert = "INSERT INTO app.notes VALUES ($1, $2)";
    client.execute(insert, &[Value::Integer(7), much()]).await.unwrap();
    assert_eq!(client.pending().await.unwrap().count(), 1);
    soon(client.sign_out(sdk_core::SignOut::Wipe, true)).await.unwrap();
    let left = std::fs::read_dir(device.directory.path()).unwrap().map(|it| it.unwrap().path());
    let is_reserve = |it: &PathBuf| it.to_string_lossy().ends_with(".reserve");
    assert_eq!(left.filter(is_reserve).count(), 0);
}
