//! What may not be: of rows that belong to somebody else, and of tables that the user may not write any more.

use futures::StreamExt;
use protocol::frame::v1::{
    AllowedTable, Decided, Frontier, MutationDecision, RowNow, Schema, ServerFrame, TableNow,
};
use protocol::ids::{Birth, ClientId, ColumnId, ContentHash, Lane, QueryNumber, TableId};
use protocol::mutation::{Reason, Rejection, Verdict};
use protocol::schema::{AccessLevel, Sharing, TableKind, TableSchema};
use protocol::value::Row;
use sdk_core::{
    Change, Client, ErrorCode, MutationState, OperationKind, ServerRow, SubscribeOptions, Value,
};
use tokio::net::TcpStream;

use crate::fake::{Device, Fake, Session, batch, epoch, ids, seq, soon, subscribed, table};
use crate::sending::{mutate, number};

const UPDATE: &str = "UPDATE team.notes SET body = 'mine' WHERE id = 1";

fn lane() -> Lane {
    "shared/team".parse().unwrap()
}

fn text(text: &str) -> Value {
    Value::text(text).unwrap()
}

/// Notes of a team, in which each row has an owner where `is_owned`.
fn notes(is_owned: bool) -> TableSchema {
    let mut notes = table(65, "team.notes");
    let mut owner = notes.columns[1].clone();
    (owner.id, owner.name) = (ColumnId(2), protocol::ids::Name::new("owner").unwrap());
    notes.columns.push(owner);
    let owner_column = is_owned.then_some(ColumnId(2));
    notes.kind = TableKind::Shared(Sharing { access: AccessLevel::Write, owner_column });
    notes
}

fn note(body: &str) -> Row {
    [Value::Integer(1), text(body), text("bob")].into_iter().collect()
}

/// A client that has a note of bob's, and its connection.
async fn with_notes(fake: &Fake, device: &Device, is_owned: bool) -> (Client, Session<TcpStream>) {
    let client = device.open(&fake.url()).await;
    let all = "SELECT * FROM team.notes";
    let all = client.subscribe(all, &[], SubscribeOptions::default()).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    let ServerFrame::Subscribed(mut answer) = subscribed(1, notes(is_owned)) else { panic!() };
    answer.lane = lane();
    session.send(ServerFrame::Subscribed(answer)).await;
    let (epoch, writer) = (epoch(), None);
    let frontier = Frontier { lane: lane(), epoch, seq: seq(10), writer };
    session.send(ServerFrame::Frontier(frontier)).await;
    session.send(batch(QueryNumber(65), 10, &[(3, note("bob's"))])).await;
    soon(all.ready()).await.unwrap();
    (client, session)
}

/// Refused, with the note as the server has it.
fn refused(client: ClientId, hash: ContentHash, reason: Reason) -> ServerFrame {
    let (operation, table, column) = (0, TableId(65), None);
    let verdict = Verdict::Rejected(Rejection { operation, table, column, reason });
    let decision = MutationDecision { number: number(1), hash, verdict, seq: seq(10) };
    let columns = vec![ColumnId(0), ColumnId(1), ColumnId(2)];
    let rows = vec![RowNow::Row(Birth(seq(3)), note("bob's"))];
    ServerFrame::Decided(Box::new(Decided {
        lane: lane(),
        client,
        previous: seq(10),
        seq: seq(10),
        decision,
        tables: vec![TableNow { table, columns, rows }],
    }))
}

async fn body(client: &Client) -> String {
    let rows = client.query("SELECT body FROM team.notes", &[]).await.unwrap();
    rows.get(0).unwrap().get("body").unwrap()
}

/// The one rejection there is: `forbidden`, with this sentence, and whole.
async fn is_kept(client: &Client, reason: &str) {
    let kept = client.rejections().await.unwrap();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    let state = MutationState::Rejected {
        code: ErrorCode::Forbidden,
        reason: format!("team.notes: {reason}"),
    };
    assert_eq!(kept.state, state);
    let [operation] = &kept.operations[..] else { panic!("{kept:?}") };
    assert_eq!((&*operation.table, operation.kind), ("team.notes", OperationKind::Update));
    assert_eq!(operation.key, [("id".to_owned(), Value::Integer(1))]);
    assert_eq!(operation.changes, [("body".to_owned(), Change::Set(text("mine")))]);
    let ServerRow::Row(server) = &operation.server else { panic!("{kept:?}") };
    let named = [("id", Value::Integer(1)), ("body", text("bob's")), ("owner", text("bob"))];
    assert_eq!(server[..], named.map(|(name, value)| (name.to_owned(), value)));
}

/// C1, C4: only its owner changes the row. What was written is undone, and kept over a restart.
#[tokio::test]
async fn a_row_of_somebody_else_is_as_it_was_and_the_write_is_kept() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = with_notes(&fake, &device, true).await;
    let mut told = client.rejected();
    let written = client.execute(UPDATE, &[]).await.unwrap();
    assert_eq!(body(&client).await, "mine");
    let (sent, hash) = mutate(&mut session).await;
    session.send(refused(sent.client, hash, Reason::NotOwner)).await;
    assert_eq!(Some(soon(told.next()).await.unwrap().id), written.id());
    assert_eq!(body(&client).await, "bob's");
    let sentence = Reason::NotOwner.to_string();
    assert!(sentence.contains("owner"), "{sentence}");
    is_kept(&client, &sentence).await;
    soon(client.close()).await;
    let client = device.open(&fake.url()).await;
    is_kept(&client, &sentence).await;
    assert_eq!(client.pending().await.unwrap().count(), 0);
}

/// C1: the right to write was taken away while the device was offline. What was written then is kept,
/// what is written later is refused at once, and the former can be given up.
#[tokio::test]
async fn what_was_written_before_the_right_was_gone_is_kept() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, session) = with_notes(&fake, &device, false).await;
    drop(session);
    let written = client.execute(UPDATE, &[]).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    let mut read_only = notes(false);
    read_only.kind = TableKind::Shared(Sharing { access: AccessLevel::Read, owner_column: None });
    let allowed = AllowedTable { table: read_only.clone(), writable: false };
    for piece in Schema::pieces(7, vec![allowed]) {
        session.send(ServerFrame::Schema(piece)).await;
    }
    let ServerFrame::Subscribed(mut answer) = subscribed(1, read_only) else { panic!() };
    answer.lane = lane();
    session.send(ServerFrame::Subscribed(answer)).await;
    let (epoch, writer) = (epoch(), None);
    let frontier = Frontier { lane: lane(), epoch, seq: seq(10), writer };
    session.send(ServerFrame::Frontier(frontier)).await;
    let (sent, hash) = mutate(&mut session).await;
    assert_eq!(body(&client).await, "mine");
    session.send(refused(sent.client, hash, Reason::Forbidden)).await;
    let state = soon(written.decided()).await.unwrap();
    assert!(
        matches!(state, MutationState::Rejected { code: ErrorCode::Forbidden, .. }),
        "{state:?}"
    );
    assert_eq!(body(&client).await, "bob's");
    let sentence = Reason::Forbidden.to_string();
    is_kept(&client, &sentence).await;
    // Neither that nor anything else is stored to be refused once more.
    let id = written.id().unwrap();
    assert_eq!(client.execute(UPDATE, &[]).await.unwrap_err().code(), ErrorCode::Forbidden);
    assert_eq!(client.retry(id).await.unwrap_err().code(), ErrorCode::Forbidden);
    is_kept(&client, &sentence).await;
    assert_eq!(client.pending().await.unwrap().count(), 0);
    assert!(client.discard(id).await.unwrap());
    assert_eq!(client.rejections().await.unwrap(), []);
    assert_eq!(ids(&client.query("SELECT id FROM team.notes", &[]).await.unwrap()), [1]);
}
