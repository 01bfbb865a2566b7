//! Users of one device: each has a replica, nothing of one crosses to another, and nobody loses what waits
//! by signing out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use protocol::frame::v1::{Frontier, Hello, Mutate, ServerFrame};
use protocol::ids::{Lane, QueryNumber};
use sdk_core::{
    Client, Config, Error, ErrorCode, SignOut, StatusWord, SubscribeOptions, Value, Watch,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fake::{
    Device, Fake, Session, batch, delta, epoch, ids, row, seq, soon, subscribed, table,
};
use crate::sending::{self, INSERT, decided, live, mutate};

const SHOWN: &str = "SELECT id FROM app.notes ORDER BY id";
const WITHIN: Duration = Duration::from_secs(20);

/// A client of one of the users of a device, with a token of its own.
async fn open(device: &Device, fake: &Fake, user: &str) -> Client {
    let token = format!("of {user}");
    let config = Config::new(fake.url(), user, device.directory.path(), move || {
        let token = token.clone();
        async move { Ok(token) }
    });
    Client::open(config.with_name("the server")).await.unwrap()
}

async fn subscribe(client: &Client) {
    let options = SubscribeOptions::default();
    client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
}

/// A connection of one of them, on which their notes are live: at 10, and with one note where nothing
/// is here yet.
async fn live_of(fake: &Fake, user: &str, note: i64) -> (Session<TcpStream>, Hello) {
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.token.0, format!("of {user}"));
    let lane: Lane = format!("user/{user}").parse().unwrap();
    let ServerFrame::Subscribed(mut answer) = subscribed(1, table(64, "app.notes")) else {
        panic!()
    };
    answer.lane = lane.clone();
    session.send(ServerFrame::Subscribed(answer)).await;
    let (epoch, writer) = (epoch(), None);
    session.send(ServerFrame::Frontier(Frontier { lane, epoch, seq: seq(10), writer })).await;
    if hello.lanes.is_empty() {
        session.send(batch(QueryNumber(64), 10, &[(3, row(note))])).await;
    }
    (session, hello)
}

async fn shows(client: &Client, wanted: &[i64]) {
    sending::shows(&mut client.watch(SHOWN, &[]).unwrap(), wanted).await;
}

async fn insert(client: &Client, id: i64) -> sdk_core::Mutation {
    client.execute(INSERT, &[Value::Integer(id)]).await.unwrap()
}

/// Which note a frame has.
fn note(sent: &Mutate) -> i64 {
    let [protocol::frame::v1::Written::Mutation(written)] = &sent.mutations[..] else {
        panic!("{sent:?}")
    };
    let protocol::mutation::Action::Insert(values) = &written.operations[0].action else {
        panic!("{written:?}")
    };
    let Value::Integer(id) = values[0].1 else { panic!("{values:?}") };
    id
}

fn replicas(device: &Device) -> usize {
    let files = std::fs::read_dir(device.directory.path()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "sqlite")).count()
}

/// A4: ann writes offline and leaves, bob comes, writes and leaves, ann comes back, and then both are
/// there at once. Each has a file, an identity, rows and writes of their own.
#[tokio::test]
async fn nothing_crosses_from_one_user_of_a_device_to_another() {
    let (fake, device) = (Fake::new().await, Device::new());
    let ann = open(&device, &fake, "ann").await;
    subscribe(&ann).await;
    let (session, of_ann) = live_of(&fake, "ann", 1).await;
    shows(&ann, &[1]).await;
    ann.pause();
    insert(&ann, 5).await;
    drop(session);
    ann.sign_out(SignOut::Keep, false).await.unwrap();

    let bob = open(&device, &fake, "bob").await;
    assert_eq!(replicas(&device), 2);
    assert_eq!(bob.pending().await.unwrap().count(), 0);
    assert_eq!(bob.query(SHOWN, &[]).await.unwrap_err().code(), ErrorCode::NotFound);
    subscribe(&bob).await;
    let (mut session, of_bob) = live_of(&fake, "bob", 2).await;
    assert_ne!(of_bob.client, of_ann.client);
    assert_eq!((of_bob.writers.len(), of_bob.lanes.len()), (0, 0));
    shows(&bob, &[2]).await;
    insert(&bob, 6).await;
    let (sent, _) = mutate(&mut session).await;
    assert_eq!((sent.lane.to_string(), note(&sent)), ("user/bob".to_owned(), 6));
    bob.sign_out(SignOut::Keep, false).await.unwrap();
    assert_eq!(session.next_if_any().await, None);

    let ann = open(&device, &fake, "ann").await;
    assert_eq!(ids(&ann.query(SHOWN, &[]).await.unwrap()), [1, 5]);
    assert_eq!(ann.pending().await.unwrap().count(), 1);
    let (mut session, again) = live_of(&fake, "ann", 1).await;
    assert_eq!((again.client, again.writers.len()), (of_ann.client, 1));
    let (sent, _) = mutate(&mut session).await;
    assert_eq!((sent.lane.to_string(), note(&sent)), ("user/ann".to_owned(), 5));
    // Both at once, which are two replicas all the same.
    let bob = open(&device, &fake, "bob").await;
    let (mut session, again) = live_of(&fake, "bob", 2).await;
    assert_eq!(again.client, of_bob.client);
    assert_eq!(note(&mutate(&mut session).await.0), 6);
    shows(&bob, &[2, 6]).await;
    shows(&ann, &[1, 5]).await;
    assert_eq!(replicas(&device), 2);
    // What one of them wipes is only theirs.
    bob.sign_out(SignOut::Wipe, true).await.unwrap();
    assert_eq!(replicas(&device), 1);
    shows(&ann, &[1, 5]).await;
}

/// A4: the application has a token of another user by mistake. That is said, nothing is sent under it, also
/// when it is tried again; what waits is sent when the token is right.
#[tokio::test]
async fn nothing_is_sent_with_a_token_of_somebody_else() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, session) = device.with_notes(&fake, 2).await;
    client.pause();
    insert(&client, 5).await;
    soon(client.close()).await;
    drop(session);

    // {"sub":"bob"}, {"sub":"ann"}
    let token = Arc::new(Mutex::new("e30.eyJzdWIiOiJib2IifQ.x"));
    let given = Arc::clone(&token);
    let config = Config::new(fake.url(), "ann", device.directory.path(), move || {
        let token = given.lock().unwrap().to_owned();
        async move { Ok(token) }
    });
    let client = Client::open(config.with_name("the server")).await.unwrap();
    for _ in 0..3 {
        let mut statuses = client.statuses();
        soon(async { while statuses.next().await.unwrap().word != StatusWord::WrongUser {} }).await;
        client.foreground();
    }
    assert_eq!(client.status().reason.unwrap().code, ErrorCode::NeedsAuth);
    let dialled = timeout(Duration::from_millis(100), fake.listener.accept()).await;
    assert!(dialled.is_err(), "it has connected");
    assert_eq!(client.pending().await.unwrap().count(), 1);
    shows(&client, &[1, 2, 5]).await;

    *token.lock().unwrap() = "e30.eyJzdWIiOiJhbm4ifQ.x";
    client.foreground();
    let (mut session, hello) = live(&fake).await;
    assert_eq!(hello.token.0, "e30.eyJzdWIiOiJhbm4ifQ.x");
    assert_eq!(note(&mutate(&mut session).await.0), 5);
}

/// A client with three writes that wait, a watcher, somebody who waits for a sync, and a connection on
/// which the server says nothing of any of it.
async fn busy(fake: &Fake, device: &Device) -> (Client, Session<TcpStream>, Watch) {
    let (client, session) = device.with_notes(fake, 2).await;
    for id in 5..8 {
        insert(&client, id).await;
    }
    let mut watch = client.watch(SHOWN, &[]).unwrap();
    soon(async { while ids(&watch.next().await.unwrap().rows) != [1, 2, 5, 6, 7] {} }).await;
    (client, session, watch)
}

/// A3: while a watcher looks and a sync runs, signing out with everything says how much waits and does
/// nothing; keeping it is one call, and ends them all.
#[tokio::test]
async fn signing_out_says_what_waits_and_keeps_it() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, mut watch) = busy(&fake, &device).await;
    let mut synced = Box::pin(client.wait_for_sync(WITHIN));
    assert!(synced.as_mut().now_or_never().is_none());
    let told = soon(client.sign_out(SignOut::Wipe, false)).await.unwrap_err();
    assert_eq!(told.code(), ErrorCode::Conflict);
    assert!(told.to_string().starts_with("3 writes wait for the server"), "{told}");
    // Everything goes on.
    session.send(delta(10, 11, 64, 3, true)).await;
    soon(async { while ids(&watch.next().await.unwrap().rows) != [1, 2, 3, 5, 6, 7] {} }).await;
    assert_eq!(client.pending().await.unwrap().count(), 3);
    assert!(synced.as_mut().now_or_never().is_none());

    soon(client.sign_out(SignOut::Keep, false)).await.unwrap();
    assert!(device.is_free());
    assert_eq!(soon(watch.next()).await.map(|result| ids(&result.rows)), None);
    assert_eq!(soon(synced).await, Err(Error::Closed));
    assert_eq!(client.execute(INSERT, &[]).await.unwrap_err(), Error::Closed);
    let client = device.open(&fake.url()).await;
    assert_eq!(client.pending().await.unwrap().count(), 3);
    assert_eq!(ids(&client.query(SHOWN, &[]).await.unwrap()), [1, 2, 3, 5, 6, 7]);
}

/// A3, Z3: what waits is given up in the same call, while it is on its way.
#[tokio::test]
async fn signing_out_discards_what_it_is_told_to() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, mut watch) = busy(&fake, &device).await;
    mutate(&mut session).await;
    let mut synced = Box::pin(client.wait_for_sync(WITHIN));
    assert!(synced.as_mut().now_or_never().is_none());
    soon(client.sign_out(SignOut::Wipe, true)).await.unwrap();
    assert_eq!(replicas(&device), 0);
    assert_eq!(soon(watch.next()).await.map(|result| ids(&result.rows)), None);
    assert_eq!(soon(synced).await, Err(Error::Closed));
    let client = device.open(&fake.url()).await;
    assert_eq!(client.pending().await.unwrap().count(), 0);
    assert_eq!(client.query(SHOWN, &[]).await.unwrap_err().code(), ErrorCode::NotFound);
}

/// A3: whoever waits until it is decided has nothing to discard.
#[tokio::test]
async fn signing_out_after_all_was_decided_discards_nothing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _watch) = busy(&fake, &device).await;
    let mut at = 0;
    while at < 3 {
        let (sent, _) = mutate(&mut session).await;
        let mut hash = sent.previous;
        for written in &sent.mutations {
            at += 1;
            hash = hash.then(written.digest());
            session.send(decided(sent.client, (10, 10), at, hash, true)).await;
        }
    }
    soon(async {
        while client.pending().await.unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(client.sign_out(SignOut::Wipe, false)).await.unwrap();
    assert_eq!(replicas(&device), 0);
}
