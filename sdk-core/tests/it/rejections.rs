//! What did not happen, until the application has dealt with it; and writes with options.

use futures::StreamExt;
use protocol::frame::v1::{
    ClientFrame, Decided, Frontier, MutationDecision, RowNow, ServerFrame, TableNow, WriterState,
    Written,
};
use protocol::ids::{Birth, ClientId, ColumnId, ContentHash, MutationNumber, TableId};
use protocol::mutation::{Reason, Rejection as WireRejection, Verdict};
use protocol::schema::TableKind;
use sdk_core::{
    Change, Client, ErrorCode, MutationState, OnReject, OperationKind, ServerRow, Value,
    WriteOptions,
};
use tokio::net::TcpStream;

use crate::fake::{Device, Fake, Session, epoch, frontier, ids, row, seq, soon, subscribed, table};
use crate::sending::{INSERT, decided, live, mutate, number, subscribe, verdict};

fn hold(queue: &str) -> WriteOptions {
    let (queue, on_reject) = (Some(queue.to_owned()), OnReject::Hold);
    WriteOptions { queue, on_reject, ..WriteOptions::default() }
}

fn online() -> WriteOptions {
    WriteOptions { online: true, ..WriteOptions::default() }
}

async fn insert(client: &Client, id: i64, options: WriteOptions) -> sdk_core::Mutation {
    client.execute_with(INSERT, &[Value::Integer(id)], options).await.unwrap()
}

/// Waits until a table is here.
async fn is_here(client: &Client, sql: &str) {
    soon(async {
        while client.query(sql, &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A connection on which the notes are live, and here.
async fn live_here(fake: &Fake, client: &Client) -> Session<TcpStream> {
    let (session, _) = live(fake).await;
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    soon(async { while !ids(&watch.next().await.unwrap().rows).starts_with(&[1, 2]) {} }).await;
    session
}

/// Decided against the client, with the row as the server has it.
fn refused(client: ClientId, at: u64, hash: ContentHash, id: i64) -> ServerFrame {
    let columns = vec![ColumnId(0), ColumnId(1)];
    let rows = vec![RowNow::Row(Birth(seq(3)), row(id))];
    let frame = decided(client, (10, 10), at, hash, false);
    let ServerFrame::Decided(decided) = frame else { panic!() };
    let tables = vec![TableNow { table: TableId(64), columns, rows }];
    ServerFrame::Decided(Box::new(Decided { tables, ..*decided }))
}

/// Must show 5, C1: one event of each, with all that is known; kept over a restart, until it is dealt
/// with.
#[tokio::test]
async fn a_rejection_is_told_once_and_kept_until_it_is_dealt_with() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let mut session = live_here(&fake, &client).await;
    let mut told = client.rejected();
    let one = client.execute(INSERT, &[Value::Integer(5)]).await.unwrap();
    let (sent, hash) = mutate(&mut session).await;
    session.send(refused(sent.client, 1, hash, 5)).await;
    let rejection = soon(told.next()).await.unwrap();
    assert_eq!(Some(rejection.id), one.id());
    let MutationState::Rejected { code, .. } = &rejection.state else { panic!("{rejection:?}") };
    assert_eq!(*code, ErrorCode::Constraint);
    let [operation] = &rejection.operations[..] else { panic!("{rejection:?}") };
    assert_eq!((&*operation.table, operation.kind), ("app.notes", OperationKind::Insert));
    assert_eq!(operation.key, [("id".to_owned(), Value::Integer(5))]);
    let body = |text: &str| ("body".to_owned(), Value::text(text).unwrap());
    assert_eq!(operation.changes[1], ("body".to_owned(), Change::Set(body("mine").1)));
    let ServerRow::Row(server) = &operation.server else { panic!("{rejection:?}") };
    assert_eq!(server[1], body("note 5"));
    assert_eq!(client.rejections().await.unwrap(), std::slice::from_ref(&rejection));
    // A second one, which nobody deals with before the restart.
    let two = client.execute(INSERT, &[Value::Integer(6)]).await.unwrap();
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (10, 10), 2, hash, false)).await;
    assert_eq!(Some(soon(told.next()).await.unwrap().id), two.id());
    assert!(client.discard(rejection.id).await.unwrap());
    soon(client.close()).await;
    assert_eq!(soon(told.next()).await, None, "it does not keep the client open");
    let client = device.open(&fake.url()).await;
    let mut told = client.rejected();
    assert_eq!(Some(soon(told.next()).await.unwrap().id), two.id(), "once more, also offline");
    let again = client.retry(two.id().unwrap()).await.unwrap();
    assert_eq!(client.rejections().await.unwrap(), []);
    let (mut session, _) = live(&fake).await;
    let (third, _) = mutate(&mut session).await;
    assert_eq!((third.first, &third.mutations), (number(3), &sent.mutations));
    assert_eq!(again.state(), MutationState::Sent);
    let missing = client.retry(two.id().unwrap()).await.unwrap_err();
    assert_eq!(missing.code(), ErrorCode::NotFound);
    assert!(!client.discard(two.id().unwrap()).await.unwrap());
}

/// C3: what stands behind a rejected write waits on this device, and nothing else does.
#[tokio::test]
async fn writes_of_a_queue_wait_for_what_was_rejected() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let mut session = live_here(&fake, &client).await;
    let one = insert(&client, 11, hold("room")).await;
    let two = insert(&client, 12, hold("room")).await;
    let (sent, mut hash) = mutate(&mut session).await;
    assert_eq!(sent.mutations.len(), 1);
    let free = insert(&client, 13, WriteOptions::default()).await;
    let (other, after) = mutate(&mut session).await;
    assert_eq!(other.first, number(2), "it does not wait");
    session.send(refused(sent.client, 1, hash, 11)).await;
    soon(one.decided()).await.unwrap();
    hash = after;
    session.send(decided(sent.client, (10, 10), 2, hash, true)).await;
    soon(free.decided()).await.unwrap();
    assert_eq!(two.state(), MutationState::Queued);
    assert_eq!(client.pending().await.unwrap().mutations[0].state, MutationState::Queued);
    let edit = WriteOptions { replaces: one.id(), ..WriteOptions::default() };
    insert(&client, 21, edit).await;
    let (replaced, after) = mutate(&mut session).await;
    assert_eq!((replaced.first, replaced.mutations.len()), (number(3), 1));
    session.send(decided(sent.client, (10, 10), 3, after, true)).await;
    let (last, _) = mutate(&mut session).await;
    assert_eq!(last.first, number(4));
    assert_eq!(two.state(), MutationState::Sent);
    assert_eq!(client.rejections().await.unwrap(), []);
}

/// A queue goes on after a restart, and what waits in it can be taken back.
#[tokio::test]
async fn what_is_held_goes_on_after_a_restart_or_is_taken_back() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let mut session = live_here(&fake, &client).await;
    let one = insert(&client, 11, hold("room")).await;
    let two = insert(&client, 12, hold("room")).await;
    let three = insert(&client, 13, hold("room")).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(refused(sent.client, 1, hash, 11)).await;
    soon(one.decided()).await.unwrap();
    assert!(two.cancel().await.unwrap());
    let cancelled = soon(two.decided()).await.unwrap();
    assert!(matches!(cancelled, MutationState::Rejected { code: ErrorCode::Cancelled, .. }));
    soon(client.close()).await;
    let client = device.open(&fake.url()).await;
    let three = client.mutation(three.id().unwrap()).await.unwrap().unwrap();
    assert_eq!(three.state(), MutationState::Queued);
    assert!(client.discard(one.id().unwrap()).await.unwrap());
    let (mut session, _) = live(&fake).await;
    let (last, _) = mutate(&mut session).await;
    assert_eq!((last.first, last.mutations.len()), (number(2), 1));
}

/// W12: it fails fast, and is not sent later.
#[tokio::test]
async fn what_is_not_to_wait_for_a_connection_is_not_sent_later() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let refused = client.execute_with(INSERT, &[Value::Integer(5)], online()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Offline);
    let mut session = live_here(&fake, &client).await;
    let done = insert(&client, 5, online()).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (10, 10), 1, hash, true)).await;
    soon(done.decided()).await.unwrap();
    // Of a lane that has no frontier yet nothing is sent; and the connection is lost.
    let other = TableKind::Shared(protocol::schema::Sharing {
        access: protocol::schema::AccessLevel::Write,
        owner_column: None,
    });
    let mut shared = table(65, "team.notes");
    shared.kind = other;
    client.subscribe("SELECT * FROM team.notes", &[], Default::default()).await.unwrap();
    let ClientFrame::Subscribe(asked) = session.next().await else { panic!() };
    let ServerFrame::Subscribed(mut answer) = subscribed(asked.request.0, shared) else { panic!() };
    answer.lane = "shared/team".parse().unwrap();
    session.send(ServerFrame::Subscribed(answer)).await;
    let into = "INSERT INTO team.notes (id) VALUES (7)";
    is_here(&client, "SELECT * FROM team.notes").await;
    let lost = client.execute_with(into, &[], online()).await.unwrap();
    assert!(matches!(session.next().await, ClientFrame::OpenLane(_)));
    drop(session);
    let state = soon(lost.decided()).await.unwrap();
    assert!(matches!(state, MutationState::Rejected { code: ErrorCode::Offline, .. }), "{state:?}");
    let shown = client.query("SELECT id FROM team.notes", &[]).await.unwrap();
    assert_eq!(shown.iter().count(), 0);
    assert_eq!(client.rejections().await.unwrap(), [], "whoever wrote it has heard of it");
}

/// What is not sent when the client ends is not sent by the next one.
#[tokio::test]
async fn what_was_not_to_wait_is_gone_after_a_restart() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    // A connection on which the lane has no frontier yet.
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.subscriptions.len(), 1);
    session.send(subscribed(1, table(64, "app.notes"))).await;
    is_here(&client, "SELECT * FROM app.notes").await;
    let written = insert(&client, 5, online()).await;
    assert_eq!(written.state(), MutationState::Queued);
    soon(client.close()).await;
    drop(session);
    let client = device.open(&fake.url()).await;
    soon(async {
        while client.pending().await.unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let shown = client.query("SELECT id FROM app.notes", &[]).await.unwrap();
    assert_eq!(shown.iter().count(), 0);
}

/// Rows that live a second are of no use to anybody after it.
#[tokio::test]
async fn a_write_of_a_stream_expires_if_it_is_not_sent() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let (mut session, _) = fake.welcome().await;
    let mut stream = table(64, "app.notes");
    (stream.kind, stream.ttl_seconds) = (TableKind::Stream, Some(1));
    session.send(subscribed(1, stream)).await;
    session.send(frontier(10)).await;
    is_here(&client, "SELECT id FROM app.notes").await;
    client.pause();
    let written = insert(&client, 5, WriteOptions::default()).await;
    assert_eq!(written.state(), MutationState::Queued);
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Expired);
    assert_eq!(client.pending().await.unwrap().count(), 0);
    let shown = client.query("SELECT id FROM app.notes", &[]).await.unwrap();
    assert_eq!(shown.iter().count(), 0);
    assert_eq!(client.rejections().await.unwrap(), []);
}

/// By the server's clock, and before it would be sent.
#[tokio::test]
async fn a_write_that_has_expired_meanwhile_is_not_sent() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let (mut session, _) = fake.welcome().await;
    let mut stream = table(64, "app.notes");
    (stream.kind, stream.ttl_seconds) = (TableKind::Stream, Some(60));
    session.send(subscribed(1, stream.clone())).await;
    session.send(frontier(10)).await;
    is_here(&client, "SELECT id FROM app.notes").await;
    client.pause();
    let written = insert(&client, 5, WriteOptions::default()).await;
    soon(client.suspend(std::time::Duration::from_secs(10))).await.unwrap();
    client.resume();
    let (mut session, _) = fake.accept().await;
    let ServerFrame::Welcome(mut welcome) = crate::fake::welcome() else { panic!() };
    welcome.time += 61_000_000;
    session.send(ServerFrame::Welcome(welcome)).await;
    session.send(subscribed(1, stream)).await;
    session.send(frontier(10)).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Expired);
    insert(&client, 6, WriteOptions::default()).await;
    let (sent, _) = mutate(&mut session).await;
    assert!(matches!(sent.mutations[..], [Written::Cancelled(_), ..]), "{sent:?}");
}

/// Whoever listens does so also while the client is suspended.
#[tokio::test]
async fn rejections_are_told_also_after_a_suspension() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let mut session = live_here(&fake, &client).await;
    let one = insert(&client, 11, WriteOptions::default()).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(refused(sent.client, 1, hash, 11)).await;
    soon(one.decided()).await.unwrap();
    soon(client.suspend(std::time::Duration::from_secs(10))).await.unwrap();
    let mut told = client.rejected();
    let pause = std::time::Duration::from_millis(50);
    tokio::time::timeout(pause, told.next()).await.expect_err("it waits");
    client.resume();
    assert_eq!(Some(soon(told.next()).await.unwrap().id), one.id());
}

/// What replaces a rejected write by nothing lets its queue go on.
#[tokio::test]
async fn a_queue_goes_on_when_a_write_is_replaced_by_nothing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let mut session = live_here(&fake, &client).await;
    let one = insert(&client, 11, hold("room")).await;
    insert(&client, 12, hold("room")).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(refused(sent.client, 1, hash, 11)).await;
    soon(one.decided()).await.unwrap();
    let edit = WriteOptions { replaces: one.id(), ..WriteOptions::default() };
    let nothing = "UPDATE app.notes SET body = 'x' WHERE id = 99";
    let done = client.execute_with(nothing, &[], edit).await.unwrap();
    assert_eq!(done.state(), MutationState::Local);
    assert_eq!(client.rejections().await.unwrap(), []);
    let (next, _) = mutate(&mut session).await;
    assert_eq!((next.first, next.mutations.len()), (number(2), 1));
}

/// A connection over which nothing was missed.
async fn resumed(fake: &Fake) -> Session<TcpStream> {
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    session
}

/// A server that hangs up whenever it gets it.
async fn hangs_up(fake: &Fake, client: &Client, times: usize) {
    for _ in 0..times {
        client.network_changed();
        let mut session = resumed(fake).await;
        mutate(&mut session).await;
    }
}

/// It is shown as stuck, and given up when the application wants it.
#[tokio::test]
async fn what_ends_every_connection_is_stuck_and_can_be_taken_back() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    // Nothing is sent over the first connection, whose end would count.
    let first = live_here(&fake, &client).await;
    client.pause();
    drop(first);
    let poison = insert(&client, 5, WriteOptions::default()).await;
    client.resume();
    hangs_up(&fake, &client, 6).await;
    soon(async {
        while poison.state() != MutationState::Stuck {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let behind = insert(&client, 6, WriteOptions::default()).await;
    let states: Vec<_> =
        client.pending().await.unwrap().mutations.into_iter().map(|it| it.state).collect();
    assert_eq!(states, [MutationState::Stuck, MutationState::Queued]);
    let in_sql = client.query("SELECT state FROM tw_pending ORDER BY mutation", &[]).await.unwrap();
    assert_eq!(in_sql.iter().next().unwrap().get::<String>("state").unwrap(), "stuck");
    client.network_changed();
    let mut session = resumed(&fake).await;
    assert!(poison.cancel().await.unwrap());
    assert_eq!(poison.state(), MutationState::Stuck, "the server may have it");
    let (sent, hash) = mutate(&mut session).await;
    assert!(matches!(sent.mutations[..], [Written::Cancelled(_), Written::Mutation(_)]));
    let (operation, table, column) = (0, TableId(0), None);
    let cancelled = WireRejection { operation, table, column, reason: Reason::Cancelled };
    let first = sent.previous.then(sent.mutations[0].digest());
    let decision =
        |at, hash, verdict| MutationDecision { number: number(at), hash, verdict, seq: seq(10) };
    let state = WriterState {
        client: sent.client,
        confirmed: MutationNumber::ZERO,
        confirmed_hash: ContentHash::START,
        decisions: vec![
            decision(1, first, Verdict::Rejected(cancelled)),
            decision(2, hash, verdict(true)),
        ],
        tables: vec![],
    };
    let (lane, writer) = ("user/ann".parse().unwrap(), Some(Box::new(state)));
    session
        .send(ServerFrame::Frontier(Frontier { lane, epoch: epoch(), seq: seq(10), writer }))
        .await;
    let state = soon(poison.decided()).await.unwrap();
    assert!(
        matches!(state, MutationState::Rejected { code: ErrorCode::Cancelled, .. }),
        "{state:?}"
    );
    assert!(matches!(soon(behind.decided()).await.unwrap(), MutationState::Accepted { .. }));
}

/// Bytes that have gone bad are not sent as something else, and what is before them goes on.
#[tokio::test]
async fn what_cannot_be_read_any_more_is_stuck() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let mut session = live_here(&fake, &client).await;
    client.pause();
    insert(&client, 5, WriteOptions::default()).await;
    let bad = insert(&client, 6, WriteOptions::default()).await.id().unwrap();
    soon(client.close()).await;
    while session.next_if_any().await.is_some() {}
    let replica =
        sdk_replica::Replica::open(&device.file(), ClientId::from_bytes([1; 16])).unwrap();
    replica.spoil(bad);
    drop(replica);
    let client = device.open(&fake.url()).await;
    let bad = client.mutation(bad).await.unwrap().unwrap();
    let (mut session, _): (Session<TcpStream>, _) = live(&fake).await;
    let (sent, _) = mutate(&mut session).await;
    assert_eq!((sent.first, sent.mutations.len()), (number(1), 1));
    soon(async {
        while bad.state() != MutationState::Stuck {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(bad.cancel().await.unwrap());
    let found = client.mutation(bad.id().unwrap()).await.unwrap();
    assert!(found.is_some(), "the server has not said whether it has it");
}

/// C5: what has not left the device is replaced in one go, and what may have is not.
#[tokio::test]
async fn what_is_not_sent_yet_is_edited() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let session = live_here(&fake, &client).await;
    client.pause();
    drop(session);
    let first = insert(&client, 11, WriteOptions::default()).await;
    let edit = WriteOptions { replaces: first.id(), ..WriteOptions::default() };
    let second = insert(&client, 12, edit.clone()).await;
    let taken_back = soon(first.decided()).await.unwrap();
    assert!(matches!(taken_back, MutationState::Rejected { code: ErrorCode::Cancelled, .. }));
    let shown = client.query("SELECT id FROM app.notes ORDER BY id", &[]).await.unwrap();
    assert_eq!(ids(&shown), [1, 2, 12]);
    assert_eq!(client.pending().await.unwrap().count(), 1);
    client.resume();
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    let (sent, _) = mutate(&mut session).await;
    let is_it = matches!(&sent.mutations[..], [Written::Cancelled(_), Written::Mutation(_)]);
    assert!(is_it, "{:?}", sent.mutations);
    let again = WriteOptions { replaces: second.id(), ..WriteOptions::default() };
    let late = client.execute_with(INSERT, &[Value::Integer(13)], again).await.unwrap_err();
    assert_eq!(late.code(), ErrorCode::Conflict, "{late}");
    let gone = client.execute_with(INSERT, &[Value::Integer(13)], edit).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound, "{gone}");
    assert_eq!(second.state(), MutationState::Sent);
    client.close().await;
}
