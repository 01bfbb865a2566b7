//! Statements for the server, and positions to wait for.

use std::time::Duration;

use protocol::frame::v1::{
    ClientFrame, Position, ServerFrame, Sql, SqlColumn, SqlDone, SqlFailed, SqlOutcome, SqlResult,
    SqlRows,
};
use protocol::value::ColumnType;
use sdk_core::{Error, ErrorCode, RemoteOptions, SubscribeOptions, Value};

use crate::fake::{Device, Fake, Session, delta, epoch, ids, row, seq, soon, table};

pub(crate) async fn sql<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    session: &mut Session<S>,
) -> Sql {
    match session.next().await {
        ClientFrame::Sql(sql) => sql,
        other => panic!("no statement, but {other:?}"),
    }
}

pub(crate) fn outcome(sql: &Sql, outcome: SqlOutcome) -> ServerFrame {
    ServerFrame::SqlResult(SqlResult { request: sql.request, outcome })
}

#[tokio::test]
async fn a_cut_is_asked_again_under_the_same_request_id() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let asking = client.clone();
    let asked = tokio::spawn(async move {
        asking.remote("INSERT INTO app.notes VALUES ($1)", &[Value::Integer(5)]).await
    });
    let (mut session, _) = fake.welcome().await;
    let first = sql(&mut session).await;
    assert_eq!(first.params, [Value::Integer(5)]);
    // Half of an answer is none.
    let column = SqlColumn { name: "id".to_owned(), column_type: ColumnType::BigInt };
    let rows =
        |id| SqlOutcome::Rows(SqlRows { columns: vec![column.clone()], rows: vec![row(id)] });
    session.send(outcome(&first, rows(1))).await;
    drop(session);
    let (mut session, _) = fake.welcome().await;
    let second = sql(&mut session).await;
    assert!(second.request_id.is_some());
    assert_eq!((second.request_id, &second.sql), (first.request_id, &first.sql));
    session.send(outcome(&second, rows(2))).await;
    let done = SqlDone { rows_affected: Some(1), positions: vec![] };
    session.send(outcome(&second, SqlOutcome::Done(done))).await;
    let answer = soon(asked).await.unwrap().unwrap();
    assert_eq!((answer.rows_affected, ids(&answer.rows)), (Some(1), vec![2]));
    assert_eq!(answer.columns.len(), 1);
}

#[tokio::test]
async fn what_the_server_says_is_told_and_no_answer_is_one_too() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let (mut session, _) = fake.welcome().await;
    let (answer, ()) = soon(async {
        tokio::join!(client.remote("SELECT", &[]), async {
            let asked = sql(&mut session).await;
            let failed = SqlFailed {
                code: ErrorCode::Overloaded,
                message: "later".to_owned(),
                retry_after_ms: Some(7),
            };
            session.send(outcome(&asked, SqlOutcome::Failed(failed))).await;
        })
    })
    .await;
    let Err(Error::Server { code, retry_after_ms, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((code, retry_after_ms), (ErrorCode::Overloaded, Some(7)));

    let timeout = Some(Duration::from_millis(30));
    let own = RemoteOptions { timeout, request_id: Some([9; 16]) };
    let answer = soon(client.remote_with("DELETE …", &[], own)).await;
    assert_eq!(answer.unwrap_err().code(), ErrorCode::Timeout);
    let asked = sql(&mut session).await;
    assert_eq!(asked.request_id.unwrap().as_bytes(), &[9; 16]);
    assert_eq!(asked.timeout_ms, Some(30));
    // Its answer comes too late, and disturbs nothing.
    session.send(outcome(&asked, SqlOutcome::Done(SqlDone::default()))).await;
    let (answer, ()) = soon(async {
        tokio::join!(client.remote("SELECT", &[]), async {
            let asked = sql(&mut session).await;
            session.send(outcome(&asked, SqlOutcome::Done(SqlDone::default()))).await;
        })
    })
    .await;
    answer.unwrap();
}

#[tokio::test]
async fn a_position_is_waited_for() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let at =
        |number| Position { lane: "user/ann".parse().unwrap(), epoch: epoch(), seq: seq(number) };
    let nothing = soon(client.wait_for(&[at(1)])).await.unwrap_err();
    assert_eq!(nothing.code(), ErrorCode::NotFound, "{nothing}");
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let waiting = client.clone();
    let waits = tokio::spawn(async move { waiting.wait_for(&[at(11)]).await });
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(1, row(1))]).await;
    soon(subscription.ready()).await.unwrap();
    soon(client.wait_for(&[at(10)])).await.unwrap();
    assert!(!waits.is_finished());
    session.send(delta(10, 11, 64, 2, true)).await;
    soon(waits).await.unwrap().unwrap();
    let rows = client.query("SELECT id FROM app.notes ORDER BY id", &[]).await.unwrap();
    assert_eq!(ids(&rows), [1, 2], "what was waited for is there");
    soon(client.wait_for(&[])).await.unwrap();
}
