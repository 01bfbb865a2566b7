//! Suspended and resumed: no lock is held between, and nothing is lost.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use protocol::frame::v1::{ClientFrame, ServerFrame};
use protocol::ids::{Floor, QueryNumber};
use sdk_core::{
    Client, Error, ErrorCode, Incident, MutationState, ResultState, SignOut, StatusWord,
    SubscribeOptions, Value,
};
use tokio::sync::Notify;

use crate::fake::{Device, Fake, batch, frontier, ids, row, seq, soon, subscribed, table, welcome};

const ALL: &str = "SELECT * FROM app.notes";
const WITHIN: Duration = Duration::from_secs(10);

async fn insert(client: &Client, id: i64) -> Result<sdk_core::Mutation, Error> {
    client.execute("INSERT INTO app.notes VALUES ($1, 'mine')", &[Value::Integer(id)]).await
}

/// P1: every lock is gone, whoever reads or writes is told why that is not possible, and afterwards
/// all goes on where it was: what was written, the watch, the subscription.
#[tokio::test]
async fn what_is_suspended_has_no_lock_and_goes_on() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = device.with_notes(&fake, 2).await;
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    assert_eq!(ids(&soon(watch.next()).await.unwrap().rows), [1, 2]);
    assert!(!device.is_free());
    let written = insert(&client, 5).await.unwrap();
    assert_eq!(ids(&soon(watch.next()).await.unwrap().rows), [1, 2, 5]);

    soon(client.suspend(WITHIN)).await.unwrap();
    assert!(device.is_free());
    assert_eq!(client.status().word, StatusWord::Paused);
    while session.next_if_any().await.is_some() {}
    assert_eq!(client.query(ALL, &[]).await.unwrap_err().code(), ErrorCode::Cancelled);
    let refused = insert(&client, 6).await.unwrap_err();
    assert!(refused.to_string().contains("resume"), "{refused}");
    assert_eq!(client.pending().await.unwrap_err().code(), ErrorCode::Cancelled);
    let late = client.watch("SELECT count(*) AS id FROM app.notes", &[]).unwrap();
    // Once more is nothing.
    soon(client.suspend(WITHIN)).await.unwrap();
    assert!(device.is_free());

    client.resume();
    // It can be read at once.
    assert_eq!(ids(&client.query("SELECT id FROM app.notes", &[]).await.unwrap()), [1, 2, 5]);
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.lanes[0].since_seq, seq(10));
    assert_eq!(hello.subscriptions[0].held.as_ref().unwrap().floor, Floor::COMPLETE);
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    let mut late = late;
    assert_eq!(ids(&soon(late.next()).await.unwrap().rows), [3]);
    let sent = async {
        loop {
            match session.next().await {
                ClientFrame::OpenLane(_) => session.send(frontier(10)).await,
                ClientFrame::Mutate(mutate) => break mutate,
                _ => {}
            }
        }
    };
    assert_eq!(soon(sent).await.mutations.len(), 1);
    assert!(matches!(written.state(), MutationState::Sent | MutationState::Queued));
    assert!(insert(&client, 6).await.is_ok());
    let last = soon(async {
        loop {
            let result = watch.next().await.unwrap();
            if ids(&result.rows) == [1, 2, 5, 6] && result.state == ResultState::Live {
                break result;
            }
        }
    });
    last.await;
    soon(client.close()).await;
}

/// In the middle of a load it goes on at its floor.
#[tokio::test]
async fn a_load_that_was_suspended_goes_on_where_it_was() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let notes = client.subscribe(ALL, &[], SubscribeOptions::default()).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(0)).await;
    let ServerFrame::InitialDataBatch(mut half) = batch(QueryNumber(64), 10, &[(4, row(2))]) else {
        unreachable!()
    };
    (half.floor, half.remaining) = (Floor(seq(4)), 1);
    session.send(ServerFrame::InitialDataBatch(half)).await;
    soon(async {
        while notes.progress().rows == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(client.suspend(WITHIN)).await.unwrap();
    assert!(device.is_free());
    client.resume();
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.subscriptions[0].held.as_ref().unwrap().floor, Floor(seq(4)));
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    session.send(batch(QueryNumber(64), 10, &[(3, row(1))])).await;
    soon(notes.ready()).await.unwrap();
    assert_eq!(
        ids(&client.query("SELECT id FROM app.notes ORDER BY id", &[]).await.unwrap()),
        [1, 2]
    );
}

/// A transaction and a statement that would go on for long are undone in time.
#[tokio::test]
async fn a_transaction_that_is_suspended_is_undone() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, _session) = device.with_notes(&fake, 2).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                   SELECT count(*) AS id FROM n";
    let has_begun = Notify::new();
    let begun = client.transaction(async |transaction| {
        transaction.execute("INSERT INTO app.notes VALUES (7, 'mine')", &[]).await?;
        has_begun.notify_one();
        transaction.query(endless, &[]).await.map(drop)
    });
    let writer = client.clone();
    let suspended = async {
        has_begun.notified().await;
        let write = insert(&writer, 8).now_or_never();
        assert!(write.is_none(), "nobody else writes in a transaction");
        writer.suspend(Duration::from_secs(2)).await
    };
    let reading = client.query(endless, &[]);
    let (transacted, suspended, read) =
        soon(async { tokio::join!(begun, suspended, reading) }).await;
    suspended.unwrap();
    assert!(transacted.is_err());
    assert_eq!(read.unwrap_err().code(), ErrorCode::Cancelled);
    assert!(device.is_free());
    client.resume();
    let here = async {
        loop {
            match client.query("SELECT id FROM app.notes ORDER BY id", &[]).await {
                Ok(rows) => break ids(&rows),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(soon(here).await[..2], [1, 2]);
    assert!(
        !soon(client.query("SELECT id FROM app.notes WHERE id = 7", &[]))
            .await
            .unwrap()
            .iter()
            .any(|_| true)
    );
}

fn files(device: &Device) -> Vec<String> {
    let files = std::fs::read_dir(device.directory.path()).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.split_once(".sqlite").unwrap().1.to_owned())
        .collect();
    names.sort();
    names
}

/// A3, Z3: what waits is not lost by accident; what is wiped is gone, and nobody's file is kept who
/// stays away.
#[tokio::test]
async fn whoever_signs_out_keeps_or_wipes_their_replica() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, _session) = device.with_notes(&fake, 2).await;
    client.pause();
    insert(&client, 5).await.unwrap();
    let told = client.sign_out(SignOut::Wipe, false).await.unwrap_err();
    assert_eq!(told.code(), ErrorCode::Conflict);
    assert!(told.to_string().contains("1 writes wait"), "{told}");
    assert_eq!(client.pending().await.unwrap().count(), 1);
    client.sign_out(SignOut::Keep, false).await.unwrap();
    assert_eq!(client.pending().await.unwrap_err(), Error::Closed);
    assert!(device.is_free());

    let client = device.open(&fake.url()).await;
    assert_eq!(client.pending().await.unwrap().count(), 1);
    // A client that is suspended signs out as well.
    soon(client.suspend(WITHIN)).await.unwrap();
    assert_eq!(
        client.sign_out(SignOut::Wipe, false).await.unwrap_err().code(),
        ErrorCode::Conflict
    );
    client.sign_out(SignOut::Wipe, true).await.unwrap();
    assert_eq!(files(&device), [".lock"]);

    let client = device.open(&fake.url()).await;
    assert_eq!(client.pending().await.unwrap().count(), 0);
    assert_eq!(client.query(ALL, &[]).await.unwrap_err().code(), ErrorCode::NotFound);
}

/// Damages the page that has the rows.
fn damage(device: &Device) {
    let mut bytes = std::fs::read(device.file()).unwrap();
    let found = bytes.windows(6).position(|window| window == b"note 1").unwrap();
    bytes[found / 4096 * 4096..][..4096].fill(0xA5);
    std::fs::write(device.file(), bytes).unwrap();
}

/// A page of rows is damaged while the client sleeps. The query that finds out fails; then everything is
/// loaded again, what waits still waits, and it is said.
#[tokio::test]
async fn a_damaged_file_is_replaced_and_what_waits_is_kept() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, _session) = device.with_notes(&fake, 2).await;
    let mut watch = client.watch("SELECT id, body FROM app.notes ORDER BY id", &[]).unwrap();
    client.pause();
    let written = insert(&client, 5).await.unwrap();
    soon(client.suspend(WITHIN)).await.unwrap();
    damage(&device);

    let mut incidents = client.incidents();
    client.resume();
    let Incident::Rebuilt(rescued) = soon(incidents.next()).await.unwrap() else { unreachable!() };
    assert_eq!((rescued.waiting, rescued.lost, rescued.may_miss_some), (1, 0, false));
    assert!(rescued.set_aside.as_ref().unwrap().exists());
    let (mut session, hello) = soon(fake.accept_anew()).await;
    assert!(hello.subscriptions[0].held.is_none());
    session.send(welcome()).await;
    session.grant(1, table(64, "app.notes"), &[(3, row(1)), (4, row(2))]).await;
    let shown = async {
        loop {
            if ids(&watch.next().await.unwrap().rows) == [1, 2, 5] {
                return;
            }
        }
    };
    soon(shown).await;
    assert!(matches!(written.state(), MutationState::Queued | MutationState::Sent));
    assert_eq!(client.pending().await.unwrap().count(), 1);
}

/// A query that finds it out as the client goes to sleep does not wake it.
#[tokio::test]
async fn what_is_found_out_late_wakes_nobody() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, _session) = device.with_notes(&fake, 2).await;
    soon(client.suspend(WITHIN)).await.unwrap();
    damage(&device);
    client.resume();
    let (_session, _) = fake.welcome().await;
    let mut query = std::pin::pin!(client.query("SELECT body FROM app.notes", &[]));
    // It has begun, and is over by now if the thread that reads is fast.
    let early = query.as_mut().now_or_never();
    soon(client.suspend(WITHIN)).await.unwrap();
    let told = match early {
        Some(told) => told,
        None => soon(query).await,
    };
    let told = told.unwrap_err().code();
    assert!(matches!(told, ErrorCode::Internal | ErrorCode::Cancelled), "{told}");
    // The client has heard of it, and sleeps on.
    assert_eq!(client.pending().await.unwrap_err().code(), ErrorCode::Cancelled);
    assert_eq!(client.status().word, StatusWord::Paused);
    assert!(device.is_free());
}

/// P7: an application that comes to the front and goes again writes nothing, as long as nothing has
/// happened; neither does one that is told that it is in front.
#[tokio::test]
async fn to_come_to_the_front_and_go_writes_nothing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, session) = device.with_notes(&fake, 2).await;
    client.pause();
    drop(session);
    // What was to be said of the connection is stored with the first.
    soon(client.suspend(WITHIN)).await.unwrap();
    let files = || {
        let folder = std::fs::read_dir(device.directory.path()).unwrap();
        let mut all: Vec<_> = folder
            .map(|file| file.unwrap().path())
            .map(|path| (std::fs::metadata(&path).unwrap().modified().unwrap(), path))
            .collect();
        all.sort();
        all
    };
    let before = files();
    for _ in 0..3 {
        client.resume();
        client.pause();
        client.foreground();
        client.network_changed();
        assert_eq!(client.query(ALL, &[]).await.unwrap().len(), 2);
        soon(client.suspend(WITHIN)).await.unwrap();
        assert_eq!(files(), before);
    }
    soon(client.close()).await;
}
