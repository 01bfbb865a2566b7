//! What was written is sent, and what becomes of it is told.

use std::time::Duration;

use futures::StreamExt;
use protocol::frame::v1::{
    ClientFrame, Decided, Frontier, Mutate, MutationDecision, ServerFrame, Undecided, WriterState,
};
use protocol::ids::{ClientId, ContentHash, MutationNumber, QueryNumber, TableId};
use protocol::mutation::{Reason, Rejection, Verdict};
use sdk_core::{
    Client, ErrorCode, Incident, MutationState, StalledPart, SubscribeOptions, Value, Watch,
};
use tokio::net::TcpStream;

use crate::fake::{
    Device, Fake, Session, batch, delta, epoch, frontier, ids, row, seq, soon, subscribed, table,
};

pub(crate) const INSERT: &str = "INSERT INTO app.notes (id, body) VALUES ($1, 'mine')";

pub(crate) async fn subscribe(client: &Client) {
    let options = SubscribeOptions::default();
    client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
}

/// A connection on which the table of notes is live, at 10.
pub(crate) async fn live(fake: &Fake) -> (Session<TcpStream>, protocol::frame::v1::Hello) {
    let (mut session, hello) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    session.send(batch(QueryNumber(64), 10, &[(3, row(1)), (4, row(2))])).await;
    (session, hello)
}

/// A client that shows the two notes of such a connection, and the connection.
pub(crate) async fn begun(fake: &Fake, device: &Device) -> (Client, Session<TcpStream>, Watch) {
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let (session, _) = live(fake).await;
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    shows(&mut watch, &[1, 2]).await;
    (client, session, watch)
}

pub(crate) async fn shows(watch: &mut Watch, wanted: &[i64]) {
    soon(async { while ids(&watch.next().await.unwrap().rows) != wanted {} }).await;
}

/// The next `mutate`, and the hash after it.
pub(crate) async fn mutate(session: &mut Session<TcpStream>) -> (Mutate, ContentHash) {
    let mut opened = None;
    loop {
        match session.next().await {
            ClientFrame::OpenLane(open) => opened = Some(open.writer.client),
            ClientFrame::Mutate(mutate) => {
                assert!(opened.is_none_or(|client| client == mutate.client));
                let hash = mutate
                    .mutations
                    .iter()
                    .fold(mutate.previous, |hash, written| hash.then(written.digest()));
                return (*mutate, hash);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number).unwrap()
}

pub(crate) fn verdict(is_accepted: bool) -> Verdict {
    let (operation, table, column) = (0, TableId(64), None);
    let rejection = Rejection { operation, table, column, reason: Reason::DuplicateKey };
    if is_accepted { Verdict::Accepted } else { Verdict::Rejected(rejection) }
}

pub(crate) fn decided(
    client: ClientId,
    (previous, to): (u64, u64),
    at: u64,
    hash: ContentHash,
    is_accepted: bool,
) -> ServerFrame {
    let verdict = verdict(is_accepted);
    let decision = MutationDecision { number: number(at), hash, verdict, seq: seq(to) };
    ServerFrame::Decided(Box::new(Decided {
        lane: "user/ann".parse().unwrap(),
        client,
        previous: seq(previous),
        seq: seq(to),
        decision,
        tables: vec![],
    }))
}

/// W1, W4: accepted with the rows of its commit, in one step.
#[tokio::test]
async fn a_write_is_accepted_with_its_commit() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    let written = client.execute(INSERT, &[Value::Integer(11)]).await.unwrap();
    let (sent, hash) = mutate(&mut session).await;
    assert_eq!((sent.first, sent.epoch, sent.mutations.len()), (number(1), epoch(), 1));
    let mut states = client.watch("SELECT 1 AS id, state FROM tw_pending", &[]).unwrap();
    let is_sent = |result: &sdk_core::WatchResult| {
        result.rows.iter().any(|row| row.get::<String>("state").unwrap() == "sent")
    };
    soon(async { while !is_sent(&states.next().await.unwrap()) {} }).await;
    assert_eq!(written.state(), MutationState::Sent);
    assert!(!written.cancel().await.unwrap(), "it has left the device");
    session.send(delta(10, 11, 64, 11, false)).await;
    session.send(decided(sent.client, (10, 11), 1, hash, true)).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Accepted { seq: 11 });
    assert_eq!(client.pending().await.unwrap().count(), 0);
    let rows = client.query("SELECT _seq AS id FROM app.notes WHERE id = 11", &[]).await.unwrap();
    assert_eq!(ids(&rows), [11]);
}

/// C3, C4: undone, with a sentence; what was written later stays.
#[tokio::test]
async fn a_write_that_is_rejected_is_undone_and_the_next_one_is_not() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, mut watch) = begun(&fake, &device).await;
    let one = client.execute(INSERT, &[Value::Integer(5)]).await.unwrap();
    let (sent, hash) = mutate(&mut session).await;
    let two = client.execute(INSERT, &[Value::Integer(6)]).await.unwrap();
    shows(&mut watch, &[1, 2, 5, 6]).await;
    session.send(decided(sent.client, (10, 10), 1, hash, false)).await;
    let state = soon(one.decided()).await.unwrap();
    let MutationState::Rejected { code, reason } = state else { panic!("{state:?}") };
    assert_eq!(code, ErrorCode::Constraint);
    assert!(reason.starts_with("app.notes: a row with this primary key exists"), "{reason}");
    shows(&mut watch, &[1, 2, 6]).await;
    assert!(!matches!(two.state(), MutationState::Rejected { .. }));
}

/// W2: nobody has to do anything for it, whatever fails.
#[tokio::test]
async fn what_was_written_offline_is_sent_and_sent_again_until_it_is_decided() {
    let device = Device::new();
    let fake = Fake::new().await;
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let (session, hello) = live(&fake).await;
    assert_eq!(hello.writers, []);
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    shows(&mut watch, &[1, 2]).await;
    // No connection is made while nobody accepts one.
    drop(session);
    let one = client.execute(INSERT, &[Value::Integer(5)]).await.unwrap();
    let two = client.execute(INSERT, &[Value::Integer(6)]).await.unwrap();
    // It gets away, and nothing is heard of it.
    let (mut session, hello) = live(&fake).await;
    assert_eq!(hello.writers.len(), 1);
    let (first, _) = mutate(&mut session).await;
    drop(session);
    // The process ends.
    let (id, of_two) = (one.id().unwrap(), two.id().unwrap());
    soon(client.close()).await;
    let client = device.open(&fake.url()).await;
    let one = client.mutation(id).await.unwrap().unwrap();
    assert_eq!(one.state(), MutationState::Sent);
    let (mut session, hello) = fake.welcome().await;
    let writer = hello.writers[0].client;
    let (again, hash) = mutate(&mut session).await;
    assert_eq!((again.first, again.previous), (first.first, first.previous));
    assert_eq!(again.mutations[0], first.mutations[0]);
    // The server has decided both when they came for the first time.
    session.send(subscribed(1, table(64, "app.notes"))).await;
    let decision = |at, hash, is_accepted| {
        let verdict = verdict(is_accepted);
        MutationDecision { number: number(at), hash, verdict, seq: seq(10) }
    };
    let before = again.previous.then(again.mutations[0].digest());
    let last = match again.mutations.len() {
        2 => hash,
        _ => mutate(&mut session).await.1,
    };
    let state = WriterState {
        client: writer,
        confirmed: MutationNumber::ZERO,
        confirmed_hash: ContentHash::START,
        decisions: vec![decision(1, before, false), decision(2, last, true)],
        tables: vec![],
    };
    session
        .send(ServerFrame::Frontier(Frontier {
            lane: "user/ann".parse().unwrap(),
            epoch: epoch(),
            seq: seq(10),
            writer: Some(Box::new(state)),
        }))
        .await;
    assert!(matches!(soon(one.decided()).await.unwrap(), MutationState::Rejected { .. }));
    assert!(client.mutation(of_two).await.unwrap().is_none());
    assert_eq!(client.pending().await.unwrap().count(), 0);
}

/// O3: the server is there, and does not say what it knows of the client in a lane: nothing can be sent
/// there.
#[tokio::test]
async fn a_lane_that_is_not_answered_is_told_and_tried_over_another_connection() {
    let (fake, device) = (Fake::new().await, Device::new());
    let config = device.config(&fake.url()).with_stalled_after(Duration::from_secs(2));
    let client = Client::open(config).await.unwrap();
    let mut incidents = client.incidents();
    subscribe(&client).await;
    let (mut session, _) = live(&fake).await;
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    shows(&mut watch, &[1, 2]).await;
    let written = client.execute(INSERT, &[Value::Integer(11)]).await.unwrap();
    let (sent, _) = mutate(&mut session).await;
    let lane: protocol::ids::Lane = "user/ann".parse().unwrap();
    let Mutate { client: of, first: number, .. } = sent;
    session.send(ServerFrame::Forked(Undecided { lane, client: of, number })).await;
    assert!(matches!(session.next().await, ClientFrame::OpenLane(_)));
    let stalled = Incident::Stalled { of: StalledPart::Outbox("user/ann".to_owned()) };
    assert_eq!(soon(incidents.next()).await, Some(stalled));
    assert_eq!(session.next_if_any().await, None, "it was given up");
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.writers.len(), 1);
    session.send(subscribed(1, table(64, "app.notes"))).await;
    let state = WriterState {
        client: of,
        confirmed: MutationNumber::ZERO,
        confirmed_hash: ContentHash::START,
        decisions: vec![],
        tables: vec![],
    };
    let (lane, writer) = ("user/ann".parse().unwrap(), Some(Box::new(state)));
    session
        .send(ServerFrame::Frontier(Frontier { lane, epoch: epoch(), seq: seq(10), writer }))
        .await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (10, 11), 1, hash, true)).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Accepted { seq: 11 });
}
