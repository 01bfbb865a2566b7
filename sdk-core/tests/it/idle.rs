//! Subscriptions that nobody asks for any more are kept for a while.

use std::time::Duration;

use protocol::frame::v1::ClientFrame;
use sdk_core::{Client, SubscribeOptions, Subscription};
use tokio::net::TcpStream;

use crate::fake::{Device, Fake, Session, ids, row, soon, table};

const ALL: &str = "SELECT * FROM app.notes";

async fn subscribe(client: &Client, ttl: Duration) -> Subscription {
    let options = SubscribeOptions { ttl: Some(ttl), ..SubscribeOptions::default() };
    client.subscribe(ALL, &[], options).await.unwrap()
}

/// A client to which a note has come.
async fn with_note(
    fake: &Fake,
    device: &Device,
    ttl: Duration,
) -> (Client, Subscription, Session<TcpStream>) {
    let client = device.open(&fake.url()).await;
    let notes = subscribe(&client, ttl).await;
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(3, row(1))]).await;
    soon(notes.ready()).await.unwrap();
    (client, notes, session)
}

async fn shown(client: &Client) -> Vec<i64> {
    ids(&client.query("SELECT id FROM app.notes ORDER BY id", &[]).await.unwrap())
}

/// E1, E5: the last one to leave ends it, after its time; whoever asks for the same shares it.
#[tokio::test]
async fn what_nobody_asks_for_any_more_goes() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let one = subscribe(&client, Duration::ZERO).await;
    let two = subscribe(&client, Duration::ZERO).await;
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(3, row(1)), (4, row(2))]).await;
    soon(one.ready()).await.unwrap();
    let three = two.clone();
    drop((one, two));
    assert_eq!(shown(&client).await, [1, 2]);
    assert_eq!(shown(&client).await, [1, 2]);
    drop(three);
    loop {
        if let ClientFrame::Unsubscribe(_) = session.next().await {
            break;
        }
    }
    soon(async { while !shown(&client).await.is_empty() {} }).await;
}

/// E1: only time in which the client runs counts, and it is known after a restart.
#[tokio::test]
async fn time_in_which_the_client_does_not_run_does_not_count() {
    let (fake, device) = (Fake::new().await, Device::new());
    let ttl = Duration::from_millis(1_500);
    let (client, notes, _session) = with_note(&fake, &device, ttl).await;
    client.pause();
    drop(notes);
    soon(client.suspend(Duration::from_secs(10))).await.unwrap();
    tokio::time::sleep(ttl).await;
    client.resume();
    assert_eq!(fake.welcome().await.1.subscriptions.len(), 1);
    client.close().await;
    tokio::time::sleep(ttl).await;

    let client = device.open(&fake.url()).await;
    client.pause();
    assert_eq!(shown(&client).await, [1]);
    // Offline it goes, too.
    soon(async { while !shown(&client).await.is_empty() {} }).await;
    client.close().await;
    let client = device.open(&fake.url()).await;
    assert_eq!(fake.welcome().await.1.subscriptions.len(), 0);
    drop(client);
}

/// What is asked for in time stays, and its time begins anew.
#[tokio::test]
async fn whoever_comes_back_in_time_finds_it() {
    let (fake, device) = (Fake::new().await, Device::new());
    let day = Duration::from_secs(86_400);
    let (client, notes, _session) = with_note(&fake, &device, day).await;
    drop(notes);
    assert_eq!(shown(&client).await, [1]);
    // A shorter time does not make a longer one shorter.
    let again = subscribe(&client, Duration::ZERO).await;
    soon(again.ready()).await.unwrap();
    drop(again);
    client.close().await;
    let client = device.open(&fake.url()).await;
    assert_eq!(fake.welcome().await.1.subscriptions.len(), 1);
    assert_eq!(shown(&client).await, [1]);
}
