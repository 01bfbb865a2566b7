//! Writing, online or not: what an application sees of it.

use std::time::Duration;

use futures::StreamExt;
use protocol::ids::QueryNumber;
use sdk_core::{
    Change, Client, Error, ErrorCode, MutationState, ResultState, Statement, StatusWord,
    SubscribeOptions, Value, Watch, WatchResult, WriteOptions,
};

use crate::fake::{
    Device, Fake, Session, WELCOME_AT, batch, delta, frontier, ids, row, soon, subscribed, table,
};

async fn next(watch: &mut Watch) -> WatchResult {
    soon(watch.next()).await.unwrap()
}

/// A client that has rows 1 and 2 of `app.notes`, and its connection.
async fn with_notes(fake: &Fake, device: &Device) -> (Client, Session<tokio::net::TcpStream>) {
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let notes = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    session.send(batch(QueryNumber(64), 10, &[(3, row(1)), (4, row(2))])).await;
    soon(notes.ready()).await.unwrap();
    (client, session)
}

/// The same, and then the server is gone, and the client knows it. It was at this address.
async fn offline(device: &Device) -> (Client, String) {
    let fake = Fake::new().await;
    let (client, _) = with_notes(&fake, device).await;
    let url = fake.url();
    drop(fake);
    let mut statuses = client.statuses();
    soon(async {
        while statuses.next().await.is_some_and(|status| status.word != StatusWord::Offline) {}
    })
    .await;
    (client, url)
}

fn bodies(result: &WatchResult) -> Vec<String> {
    let body = |row: sdk_core::Row<'_>| row.get::<Option<String>>("body").unwrap();
    result.rows.iter().map(|row| body(row).unwrap_or_default()).collect()
}

/// W1, W5, R9: a write is done when it is stored here, is shown at once, and is there after a
/// restart, with no network at all.
#[tokio::test]
async fn a_write_waits_for_no_network_and_is_there_after_a_restart() {
    let device = Device::new();
    let (client, url) = offline(&device).await;
    let sql = "SELECT id, body FROM app.notes ORDER BY _seq IS NULL, _seq";
    let mut watch = client.watch(sql, &[]).unwrap();
    assert_eq!(bodies(&next(&mut watch).await), ["note 1", "note 2"]);
    let mine = [Value::Integer(0), Value::text("mine").unwrap()];
    let insert = "INSERT INTO app.notes VALUES ($1, $2) RETURNING id AS id";
    let written = soon(client.execute(insert, &mine)).await.unwrap();
    assert_eq!((written.rows_affected(), ids(written.rows())), (1, vec![0]));
    assert_eq!(written.state(), MutationState::Queued);
    assert_eq!(bodies(&next(&mut watch).await), ["note 1", "note 2", "mine"]);
    let of_one = [("id", Value::Integer(1))];
    let edit = [("body", Change::Set(Value::text("edited").unwrap()))];
    client.update("app.notes", &of_one, &edit).await.unwrap();
    assert_eq!(bodies(&next(&mut watch).await), ["edited", "note 2", "mine"]);
    soon(client.close()).await;

    let client = device.open(&url).await;
    let first = next(&mut client.watch(sql, &[]).unwrap()).await;
    assert_eq!(bodies(&first), ["edited", "note 2", "mine"]);
    assert_eq!(first.state, ResultState::Behind);
    let pending = client.pending().await.unwrap();
    let rows: Vec<_> = pending.mutations.iter().map(|one| one.rows[0].clone()).collect();
    let notes = "app.notes".to_owned();
    assert_eq!(rows, [(notes.clone(), Value::Integer(0)), (notes, Value::Integer(1))]);
    assert!(pending.oldest_age.is_some_and(|age| age < Duration::from_secs(60)), "{pending:?}");

    let mut waiting =
        client.watch("SELECT key AS id FROM tw_pending ORDER BY mutation", &[]).unwrap();
    let first = next(&mut waiting).await;
    assert_eq!((ids(&first.rows), first.error), (vec![0, 1], None));
    let mutation = client.mutation(pending.mutations[0].id).await.unwrap().unwrap();
    let decided = mutation.clone();
    let decided = tokio::spawn(async move { decided.decided().await });
    assert!(soon(mutation.cancel()).await.unwrap());
    let cancelled = soon(decided).await.unwrap().unwrap();
    assert!(matches!(cancelled, MutationState::Rejected { code: ErrorCode::Cancelled, .. }));
    assert_eq!(ids(&next(&mut waiting).await.rows), [1]);
    assert!(!soon(mutation.cancel()).await.unwrap());
    assert!(client.mutation(pending.mutations[0].id).await.unwrap().is_none());
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(ids(&rows), [1, 2]);
}

/// R6, W4: what the server says meanwhile goes under what waits.
#[tokio::test]
async fn what_the_server_says_goes_under_what_waits() {
    let fake = Fake::new().await;
    let device = Device::new();
    let (client, mut session) = with_notes(&fake, &device).await;
    client.execute("UPDATE app.notes SET body = 'mine' WHERE id <= 20", &[]).await.unwrap();
    client.delete("app.notes", &[("id", Value::Integer(2))]).await.unwrap();
    client.delete("app.notes", &[("id", Value::Integer(12))]).await.unwrap();
    let insert = [("id", Value::Integer(11)), ("body", Value::text("mine").unwrap())];
    client.insert("app.notes", &insert).await.unwrap();
    let mut watch = client.watch("SELECT id, body FROM app.notes ORDER BY id", &[]).unwrap();
    assert_eq!(bodies(&next(&mut watch).await), ["mine", "mine"]);
    // Row 11 of somebody else, row 12, which is to be deleted, and one that nobody has written.
    for (previous, id) in [(10, 11), (11, 12), (12, 13)] {
        session.send(delta(previous, previous + 1, 64, id, true)).await;
    }
    soon(async { while ids(&next(&mut watch).await.rows) != [1, 11, 13] {} }).await;
    let rows = client.query("SELECT id, body, _seq FROM app.notes ORDER BY id", &[]).await.unwrap();
    let shown: Vec<(String, Option<i64>)> =
        rows.iter().map(|row| (row.get("body").unwrap(), row.get("_seq").unwrap())).collect();
    let expected = [("mine", Some(3)), ("mine", Some(11)), ("note 13", Some(13))];
    assert_eq!(shown, expected.map(|(body, seq)| (body.to_owned(), seq)));
}

#[tokio::test]
async fn a_batch_is_done_whole_or_not_at_all() {
    let fake = Fake::new().await;
    let device = Device::new();
    let (client, _session) = with_notes(&fake, &device).await;
    client.execute("CREATE TABLE mine (id INTEGER)", &[]).await.unwrap();
    let one = [Value::Integer(7)];
    let insert = ("INSERT INTO app.notes (id) VALUES ($1)", &one[..]);
    let local = ("INSERT INTO mine VALUES ($1)", &one[..]);
    let failed = client.batch(&[local, insert, insert]).await.unwrap_err();
    assert_eq!(failed.code(), ErrorCode::Constraint);
    assert!(failed.to_string().contains("app.notes.id"), "{failed}");
    assert!(client.query("SELECT id FROM mine", &[]).await.unwrap().is_empty());
    let done =
        client.batch(&[local, insert, ("DELETE FROM app.notes WHERE id < 7", &[])]).await.unwrap();
    assert_eq!(done.rows_affected(), 4);
    let pending = client.pending().await.unwrap();
    assert_eq!((pending.count(), pending.mutations[0].rows.len()), (1, 3));
    // What stays here is done when it is done.
    let done = client.batch(&[local]).await.unwrap();
    assert_eq!((done.id(), soon(done.decided()).await.unwrap()), (None, MutationState::Local));
    assert_eq!(client.batch(&[]).await.unwrap().state(), MutationState::Local);
}

#[tokio::test]
async fn a_transaction_has_code_between_its_statements_and_ends_with_it() {
    let fake = Fake::new().await;
    let device = Device::new();
    let (client, _session) = with_notes(&fake, &device).await;
    let (count, mutation) = client
        .transaction(|tx| async move {
            tx.execute("UPDATE app.notes SET body = 'x' WHERE id = 1", &[]).await?;
            tx.execute("SAVEPOINT a", &[]).await?;
            tx.execute("DELETE FROM app.notes", &[]).await?;
            tx.execute("ROLLBACK TO a", &[]).await?;
            tx.execute("INSERT INTO app.notes (id) VALUES (1)", &[]).await.unwrap_err();
            let rows =
                tx.query("SELECT count(*) AS n FROM app.notes WHERE body = 'x'", &[]).await?;
            rows.get(0).map_or(Ok(0), |row| row.get::<i64>("n"))
        })
        .await
        .unwrap();
    assert_eq!(count, 1);
    assert!(matches!(mutation.state(), MutationState::Queued | MutationState::Sent));
    let undone = client
        .transaction(|tx| async move {
            tx.delete("app.notes", &[("id", Value::Integer(1))]).await?;
            Err::<(), _>(Error::Value("it was not to be".to_owned()))
        })
        .await;
    assert_eq!(undone.unwrap_err(), Error::Value("it was not to be".to_owned()));
    let gone = tokio::time::timeout(
        Duration::from_millis(20),
        client.transaction(|tx| async move {
            tx.execute("DELETE FROM app.notes", &[]).await?;
            std::future::pending::<Result<(), Error>>().await
        }),
    );
    assert!(gone.await.is_err());
    assert_eq!(client.pending().await.unwrap().count(), 1);
    assert_eq!(ids(&client.query("SELECT id FROM app.notes", &[]).await.unwrap()), [1, 2]);
}

/// It keeps all others from writing, so it is given up: when it does nothing, and when a statement of
/// it does not end.
#[tokio::test]
async fn a_transaction_that_takes_too_long_is_given_up() {
    let fake = Fake::new().await;
    let device = Device::new();
    let (client, _session) = with_notes(&fake, &device).await;
    let slept = client
        .transaction(|tx| async move {
            tx.execute("DELETE FROM app.notes", &[]).await?;
            // Until it is over, and longer than any pause.
            while tx.query("SELECT 1", &[]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok(())
        })
        .await;
    assert_eq!(slept.unwrap_err().code(), ErrorCode::Timeout);
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i + 10 \
                   FROM n WHERE i < 0";
    let ended =
        client.transaction(|tx| async move { tx.query(numbers, &[]).await.map(drop) }).await;
    assert_eq!(soon(async { ended.unwrap_err().code() }).await, ErrorCode::Timeout);
    let endless = "INSERT INTO app.notes (id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
                   FROM n) SELECT i + 10 FROM n WHERE i < 0";
    let ended = client.transaction(|tx| async move { tx.execute(endless, &[]).await }).await;
    let code = soon(async { ended.unwrap_err().code() }).await;
    assert!(matches!(code, ErrorCode::Cancelled | ErrorCode::Timeout), "{code}");
    let more = client.execute("INSERT INTO app.notes (id) VALUES (5)", &[]);
    soon(more).await.unwrap();
    assert_eq!(ids(&client.query("SELECT id FROM app.notes", &[]).await.unwrap()), [1, 2, 5]);
}

/// W11: the device's clock is years behind the server's.
#[tokio::test]
async fn times_that_are_written_offline_are_the_servers() {
    let device = Device::new();
    let (client, url) = offline(&device).await;
    let insert =
        "INSERT INTO app.notes (id, body) VALUES (NOW(), CURRENT_USER()) RETURNING id AS id";
    let is_then = |at: i64| (0..60_000_000).contains(&(at - WELCOME_AT));
    let first = client.execute(insert, &[]).await.unwrap();
    assert!(is_then(ids(first.rows())[0]), "{:?}", first.rows());
    soon(client.close()).await;
    let client = device.open(&url).await;
    let second = client.execute(insert, &[]).await.unwrap();
    assert!(is_then(ids(second.rows())[0]), "{:?}", second.rows());
    let author =
        client.query("SELECT DISTINCT body FROM app.notes WHERE id > 9", &[]).await.unwrap();
    assert_eq!(author.get(0).unwrap().get::<String>("body").unwrap(), "ann");
    // The time that is in an id is the same one.
    let insert = "INSERT INTO app.notes (id, body) VALUES (5, UUID_V7()) RETURNING body";
    let third = client.execute(insert, &[]).await.unwrap();
    let uuid = third.rows().get(0).unwrap().get::<String>("body").unwrap().replace('-', "");
    let millis = i64::from_str_radix(&uuid[..12], 16).unwrap();
    assert!(is_then(millis * 1_000 + 999), "{uuid}");
}

/// One write of statements of all kinds: all of them or none, with what the last one gives.
#[tokio::test]
async fn statements_of_all_kinds_are_one_write() {
    let device = Device::new();
    let (client, _) = offline(&device).await;
    let id = |id: i64| ("id".to_owned(), Value::Integer(id));
    let (notes, body) = ("app.notes".to_owned(), ("body".to_owned(), Value::text("x").unwrap()));
    let all = vec![
        Statement::Insert { table: notes.clone(), values: vec![id(7), body] },
        Statement::Delete { table: notes.clone(), key: vec![id(1)] },
        Statement::Sql {
            sql: "UPDATE app.notes SET body = 'y' WHERE id = 7 RETURNING body".to_owned(),
            params: vec![],
        },
    ];
    let wrote = client.write(all, WriteOptions::default()).await.unwrap();
    assert_eq!(wrote.rows_affected(), 3);
    assert_eq!(wrote.rows().get(0).unwrap().get::<&str>("body").unwrap(), "y");
    let failing = vec![
        Statement::Delete { table: notes, key: vec![id(2)] },
        Statement::Sql { sql: "SELECT nothing".to_owned(), params: vec![] },
    ];
    assert!(client.write(failing, WriteOptions::default()).await.is_err());
    let shown = client.query("SELECT id FROM app.notes ORDER BY id", &[]).await.unwrap();
    assert_eq!(ids(&shown), [2, 7]);
    assert_eq!(client.pending().await.unwrap().count(), 1);
}

/// Whoever waits for something else hears that a transaction is over, and its end says why.
#[tokio::test]
async fn a_transaction_that_is_over_says_so_to_who_waits() {
    let device = Device::new();
    let (client, _) = offline(&device).await;
    let slow = client.transaction(async |transaction| Err::<(), _>(transaction.over().await));
    assert!(matches!(soon(slow).await, Err(Error::Timeout(_))));
    let options = WriteOptions { online: true, ..WriteOptions::default() };
    let never = client
        .transaction_with(options, async |transaction| Err::<(), _>(transaction.over().await));
    assert_eq!(soon(never).await.unwrap_err().code(), ErrorCode::Offline);
}

/// The state of a write is told until it is decided.
#[tokio::test]
async fn what_becomes_of_a_write_is_told_until_it_is_decided() {
    let device = Device::new();
    let (client, _) = offline(&device).await;
    let wrote = client.execute("DELETE FROM app.notes WHERE id = 1", &[]).await.unwrap();
    let mut states = wrote.states();
    assert_eq!(soon(states.next()).await, Some(MutationState::Queued));
    assert!(wrote.cancel().await.unwrap());
    let cancelled = soon(states.next()).await.unwrap();
    assert!(matches!(cancelled, MutationState::Rejected { code: ErrorCode::Cancelled, .. }));
    assert_eq!(soon(states.next()).await, None);
}
