//! Frames that come together are stored together, and each means what it means alone.

use protocol::frame::v1::{Delta, RowChange, ServerFrame, SqlDone, SqlOutcome};
use protocol::ids::{Birth, QueryNumber};
use sdk_core::{MutationState, Value};

use crate::fake::{Device, Fake, delta, frontier, ids, seq, soon};
use crate::sending::{INSERT, begun, decided, mutate, shows};
use crate::statements::{outcome, sql};

/// A commit with bytes in a column of text, which no replica can store.
fn impossible(at: u64) -> ServerFrame {
    let row = [Value::Integer(i64::try_from(at).unwrap()), Value::Bytes(vec![1])];
    ServerFrame::Delta(Delta {
        previous: seq(at - 1),
        seq: seq(at),
        end: true,
        query: QueryNumber(64),
        changes: vec![RowChange::Row(Birth(seq(at)), row.into_iter().collect())],
    })
}

/// One that cannot be stored keeps out none of those before it: else what comes together each time would
/// never be here.
#[tokio::test]
async fn what_comes_before_something_impossible_is_stored() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, mut watch) = begun(&fake, &device).await;
    let written = client.execute(INSERT, &[Value::Integer(50)]).await.unwrap();
    let (sent, hash) = mutate(&mut session).await;
    let mut frames: Vec<_> =
        (11..=14).map(|at| delta(at - 1, at, 64, i64::try_from(at).unwrap(), true)).collect();
    frames.extend([delta(14, 15, 64, 50, false), decided(sent.client, (14, 15), 1, hash, true)]);
    frames.push(impossible(16));
    session.send_together(frames).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Accepted { seq: 15 });
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.lanes[0].since_seq, seq(15));
    shows(&mut watch, &[1, 2, 11, 12, 13, 14, 50]).await;
    assert_eq!(client.pending().await.unwrap().count(), 0);
    session.send(frontier(15)).await;
    client.close().await;
}

/// The server has done what was asked of it, whatever the device can store.
#[tokio::test]
async fn an_answer_is_told_that_comes_behind_something_impossible() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.remote("DELETE FROM app.notes", &[]).await });
    let sql = sql(&mut session).await;
    let done = SqlOutcome::Done(SqlDone { rows_affected: Some(7), positions: vec![] });
    session.send_together([delta(10, 11, 64, 11, true), impossible(12), outcome(&sql, done)]).await;
    assert_eq!(soon(asked).await.unwrap().unwrap().rows_affected, Some(7));
    let (_session, hello) = fake.welcome().await;
    assert_eq!(hello.lanes[0].since_seq, seq(11));
    client.close().await;
}

/// Who hears that something is decided sees the rows that were decided with it, and those before.
#[tokio::test]
async fn what_is_told_is_stored() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    for round in 0..20_i64 {
        let first = 11 + 5 * u64::try_from(round).unwrap();
        let id = 1_000 + round;
        let written = client.execute(INSERT, &[Value::Integer(id)]).await.unwrap();
        let (sent, hash) = mutate(&mut session).await;
        let others = first..first + 4;
        let mut frames: Vec<_> = others
            .clone()
            .map(|at| delta(at - 1, at, 64, i64::try_from(at).unwrap(), true))
            .collect();
        let last = first + 4;
        frames.push(delta(last - 1, last, 64, id, false));
        let number = 1 + u64::try_from(round).unwrap();
        frames.push(decided(sent.client, (last - 1, last), number, hash, true));
        session.send_together(frames).await;
        let told = soon(written.decided()).await.unwrap();
        assert_eq!(told, MutationState::Accepted { seq: last });
        let sql = "SELECT id FROM app.notes WHERE id >= $1 AND id < $2 OR id = $3 ORDER BY id";
        let bounds = [first, last].map(|at| Value::Integer(i64::try_from(at).unwrap()));
        let params = [&bounds[..], &[Value::Integer(id)]].concat();
        let here = ids(&client.query(sql, &params).await.unwrap());
        let wanted: Vec<i64> = others.map(|at| i64::try_from(at).unwrap()).chain([id]).collect();
        assert_eq!(here, wanted);
    }
    client.close().await;
}
