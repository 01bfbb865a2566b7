//! Waiting until this device and the server have the same, in the front and in the background.

use std::time::Duration;

use futures::FutureExt;
use protocol::frame::v1::{ClientFrame, LanePosition, Position, Progress, ServerFrame, Synced};
use protocol::ids::RequestNumber;
use sdk_core::{Error, ErrorCode, StatusWord, Unsynced};
use tokio::net::TcpStream;

use crate::fake::{Device, Fake, Session, epoch, frontier, seq, soon, subscribed, table};

const ALL: &str = "SELECT * FROM app.notes";
const INSERT: &str = "INSERT INTO app.notes VALUES (9, 'mine')";
const WITHIN: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
/// Of this a fifth is for closing the file, which a busy disk may need.
const FOR_A_MOMENT: Duration = Duration::from_secs(3);

/// The next question where the server is.
async fn sync(session: &mut Session<TcpStream>) -> RequestNumber {
    loop {
        if let ClientFrame::Sync(asked) = session.next().await {
            return asked.request;
        }
    }
}

async fn is_at(session: &mut Session<TcpStream>, request: RequestNumber, at: u64) {
    let position = Position { lane: "user/ann".parse().unwrap(), epoch: epoch(), seq: seq(at) };
    let synced = Synced { request, positions: vec![position], later: false };
    session.send(ServerFrame::Synced(synced)).await;
}

async fn progress(session: &mut Session<TcpStream>, at: u64) {
    let lanes = vec![LanePosition("user/ann".parse().unwrap(), seq(at))];
    session.send(ServerFrame::Progress(Progress { lanes })).await;
}

fn missing(waited: Result<(), Error>) -> Unsynced {
    match waited {
        Err(error @ Error::Unsynced(_)) => {
            assert_eq!(error.code(), ErrorCode::Timeout);
            let Error::Unsynced(missing) = error else { unreachable!() };
            *missing
        }
        other => panic!("{other:?}"),
    }
}

/// O2: what the server had has come, and not only what had come before.
#[tokio::test]
async fn it_is_waited_until_what_the_server_had_is_here() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = device.with_notes(&fake, 1).await;
    let mut waits = Box::pin(client.wait_for_sync(WITHIN));
    assert!(waits.as_mut().now_or_never().is_none());
    let request = sync(&mut session).await;
    is_at(&mut session, request, 12).await;
    let missed = missing(soon(client.wait_for_sync(SHORT)).await);
    assert_eq!(
        (missed.status, missed.lanes),
        (StatusWord::Connected, vec![]),
        "not told where it is"
    );
    assert!(waits.as_mut().now_or_never().is_none());
    progress(&mut session, 12).await;
    soon(waits).await.unwrap();

    // The answer of a connection that is cut is of no use on the next one.
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.wait_for_sync(WITHIN).await }
    });
    let request = sync(&mut session).await;
    is_at(&mut session, request, 14).await;
    drop(session);
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(13)).await;
    let request = sync(&mut session).await;
    is_at(&mut session, request, 13).await;
    soon(waits).await.unwrap().unwrap();
}

/// O2: the error has what is missing.
#[tokio::test]
async fn who_waits_in_vain_hears_what_is_missing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = device.with_notes(&fake, 1).await;
    client.execute(INSERT, &[]).await.unwrap();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.wait_for_sync(SHORT).await }
    });
    let request = sync(&mut session).await;
    is_at(&mut session, request, 12).await;
    let missed = missing(soon(waits).await.unwrap());
    assert_eq!((missed.undecided, &missed.lanes[..]), (1, &["user/ann".to_owned()][..]));
    assert_eq!(missed.subscriptions, [""; 0]);
    drop((session, fake));
    let missed = missing(soon(client.wait_for_sync(SHORT)).await);
    assert_eq!((missed.status, missed.undecided), (StatusWord::Offline, 1));
    assert_eq!(missed.subscriptions, [ALL]);
    let told = Error::Unsynced(Box::new(missed)).to_string();
    assert!(told.contains("offline") && told.contains("1 writes") && told.contains(ALL), "{told}");
    soon(client.close()).await;
    assert_eq!(client.wait_for_sync(WITHIN).await, Err(Error::Closed));
}

/// P2: a client that was suspended connects, sends, catches up, and holds nothing afterwards.
#[tokio::test]
async fn once_in_the_background_and_suspended_again() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, session) = device.with_notes(&fake, 1).await;
    soon(client.suspend(WITHIN)).await.unwrap();
    drop(session);
    let once = tokio::spawn({
        let client = client.clone();
        async move { client.sync_once(WITHIN).await }
    });
    let mut session = resumed(&fake).await;
    let request = sync(&mut session).await;
    is_at(&mut session, request, 11).await;
    progress(&mut session, 11).await;
    soon(once).await.unwrap().unwrap();
    assert!(device.is_free());
    assert_eq!(client.status().word, StatusWord::Paused);
    while session.next_if_any().await.is_some() {}

    // In vain: suspended all the same, within its time, and told what is missing.
    let missed = missing(soon(client.sync_once(FOR_A_MOMENT)).await);
    assert!(device.is_free());
    assert_ne!(missed.status, StatusWord::Connected);

    // The application comes to the front meanwhile: then it goes on to run.
    drop(fake);
    let fake = Fake::new().await;
    client.resume();
    let missed = missing(soon(client.sync_once(FOR_A_MOMENT)).await);
    assert_ne!(missed.status, StatusWord::Paused);
    assert!(!device.is_free());
    assert_eq!(client.query("SELECT id FROM app.notes", &[]).await.unwrap().len(), 1, "it reads");
    drop(fake);
    soon(client.suspend(WITHIN)).await.unwrap();
    let once = tokio::spawn({
        let client = client.clone();
        async move { client.sync_once(FOR_A_MOMENT).await }
    });
    tokio::time::sleep(FOR_A_MOMENT / 3).await;
    client.resume();
    missing(soon(once).await.unwrap());
    assert_ne!(client.status().word, StatusWord::Paused);
    soon(client.close()).await;
}

/// A client that runs was told that it is not suspended yet when the time was over, and where its loop
/// was busy at that moment it could not be read any more: what had to end for its sleep had been ended.
#[tokio::test]
async fn a_client_that_runs_is_read_on_when_the_time_is_over() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, _session) = device.with_notes(&fake, 1).await;
    client.execute(INSERT, &[]).await.unwrap();
    for _ in 0..50 {
        let missed = missing(soon(client.sync_once(Duration::from_millis(2))).await);
        assert_eq!((missed.undecided, missed.status), (1, StatusWord::Connected));
        assert_eq!(client.query(ALL, &[]).await.unwrap().len(), 2);
    }
    // The same of one that only has no connection.
    client.pause();
    for _ in 0..50 {
        missing(soon(client.sync_once(Duration::from_millis(2))).await);
        assert_eq!(client.query(ALL, &[]).await.unwrap().len(), 2);
        assert_eq!(client.status().word, StatusWord::Paused);
    }
}

/// The application comes to the front while a background task has its last moments, and its loop is busy:
/// what is stopped so that the client could sleep goes on, since it does not.
#[tokio::test]
async fn who_comes_to_the_front_in_a_busy_moment_is_read_on() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, session) = device.with_notes(&fake, 1).await;
    soon(client.suspend(WITHIN)).await.unwrap();
    drop((session, fake));
    let once = tokio::spawn({
        let client = client.clone();
        async move { client.sync_once(Duration::from_secs(1)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.resume();
    // One of them runs and another one waits, always.
    let slow = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3000000)
                SELECT count(*) AS id FROM n";
    let busy = || {
        let client = client.clone();
        tokio::spawn(async move { while client.execute(slow, &[]).await.is_ok() {} })
    };
    let busy = [busy(), busy(), busy()];
    // It says what is missing, or that it had no time left; here it is about what comes then.
    soon(once).await.unwrap().unwrap_err();
    busy.iter().for_each(tokio::task::JoinHandle::abort);
    soon(async { while client.query(ALL, &[]).await.is_err() {} }).await;
    soon(client.execute("CREATE TABLE mine (id INTEGER)", &[])).await.unwrap();
}

async fn resumed(fake: &Fake) -> Session<TcpStream> {
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    session
}
