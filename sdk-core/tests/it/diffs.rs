//! What is new in a result, and which queries run for a change.

use futures::FutureExt;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{RowChange, ServerFrame};
use protocol::ids::{Birth, ColumnId};
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::value::Row;
use sdk_core::{Client, Error, FromTo, SubscribeOptions, Value, Watch, WatchOptions, WatchResult};

use crate::fake::{Device, Fake, batch, delta, frontier, ids, row, seq, soon, subscribed, table};

async fn next(watch: &mut Watch) -> WatchResult {
    let result = soon(watch.next()).await.expect("the client lives");
    assert_eq!(result.error, None);
    result
}

async fn local() -> (Device, Client) {
    let device = Device::new();
    let client = device.open(&Fake::new().await.url()).await;
    client.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY, at INTEGER)", &[]).await.unwrap();
    (device, client)
}

async fn run(client: &Client, sql: &str) {
    client.execute(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// R4: what was made of a row that is the same can be kept.
#[tokio::test]
async fn a_result_shares_the_rows_that_are_equal_and_says_what_is_new() {
    let (_device, client) = local().await;
    run(&client, "INSERT INTO mine VALUES (1, 10), (2, 20), (3, 30), (4, 40)").await;
    let mut watch = client.watch("SELECT id, at FROM mine ORDER BY at", &[]).unwrap();
    let first = next(&mut watch).await;
    assert_eq!(
        (&*first.diff.inserted, &*first.diff.key),
        (&[0, 1, 2, 3][..], &["id".to_owned()][..])
    );
    run(&client, "UPDATE mine SET at = 35 WHERE id = 1").await;
    let second = next(&mut watch).await;
    assert_eq!(ids(&second.rows), [2, 3, 1, 4]);
    assert!(second.diff.before.is_same(&first.rows));
    let moved = FromTo { from: 0, to: 2 };
    assert_eq!((&*second.diff.updated, &*second.diff.moved), (&[moved][..], &[moved][..]));
    assert_eq!((second.diff.removed.len(), second.diff.inserted.len()), (0, 0));
    let is_same = |old: usize, new: usize| {
        first.rows.get(old).unwrap().is_same(&second.rows.get(new).unwrap())
    };
    assert!(is_same(1, 0) && is_same(2, 1) && is_same(3, 3) && !is_same(0, 2));
    // What is the same rows again is no news.
    run(&client, "UPDATE mine SET at = at").await;
    client.query("SELECT 1", &[]).await.unwrap();
    assert_eq!(watch.next().now_or_never(), None);
    // Whoever is slow has the difference to what he has.
    run(&client, "DELETE FROM mine WHERE id = 2").await;
    run(&client, "INSERT INTO mine VALUES (5, 50)").await;
    run(&client, "INSERT INTO mine VALUES (2, 20)").await;
    let mut other = client.watch("SELECT count(*) AS id FROM mine", &[]).unwrap();
    while ids(&next(&mut other).await.rows) != [5] {}
    let mut list = ids(&second.rows);
    loop {
        let result = next(&mut watch).await;
        result.diff.apply(&result.rows, &mut list, |row| row.get("id").unwrap());
        assert_eq!(list, ids(&result.rows));
        if list == [2, 3, 1, 4, 5] {
            break;
        }
    }
}

/// R4: without a primary key, and with a key that the application names.
#[tokio::test]
async fn rows_are_known_by_the_key_that_is_named_or_as_wholes() {
    let (_device, client) = local().await;
    run(&client, "INSERT INTO mine VALUES (1, 10), (2, 20)").await;
    let mut wholes = client.watch("SELECT at FROM mine ORDER BY at", &[]).unwrap();
    assert_eq!(next(&mut wholes).await.diff.key, [] as [String; 0]);
    let key =
        |names: &[&str]| WatchOptions { key: names.iter().map(|n| (*n).to_owned()).collect() };
    let sql = "SELECT at AS id, id AS other FROM mine ORDER BY id";
    let mut named = client.watch_with(sql, &[], key(&["other"])).unwrap();
    next(&mut named).await;
    let mut wrong = client.watch_with(sql, &[], key(&["id"])).unwrap();
    assert_eq!(next(&mut wrong).await.rows.len(), 2);
    run(&client, "UPDATE mine SET at = 20 WHERE id = 1").await;
    let result = next(&mut named).await;
    assert_eq!(result.diff.updated, [FromTo { from: 0, to: 0 }]);
    let result = next(&mut wholes).await;
    assert_eq!((&*result.diff.removed, &*result.diff.inserted), (&[0][..], &[0][..]));
    // Two rows have the same key: it says so, and has the rows before.
    let result = soon(wrong.next()).await.unwrap();
    assert_eq!((ids(&result.rows), result.diff.is_empty()), (vec![10, 20], true));
    let error = result.error.unwrap();
    assert!(matches!(error, Error::Key(_)) && error.code() == ErrorCode::InvalidRequest, "{error}");
    run(&client, "UPDATE mine SET at = 5 WHERE id = 1").await;
    assert_eq!(ids(&next(&mut wrong).await.rows), [5, 20]);
    let mut missing = client.watch_with(sql, &[], key(&["nothing"])).unwrap();
    let error = soon(missing.next()).await.unwrap().error.unwrap();
    assert!(matches!(error, Error::Key(_)), "{error}");
    // A primary key that is none of what a query gives is no error.
    let twice = "SELECT id FROM mine UNION ALL SELECT id FROM mine";
    let mut twice = client.watch(twice, &[]).unwrap();
    let result = next(&mut twice).await;
    assert_eq!((result.rows.len(), result.diff.key.len()), (4, 0));
}

fn room_is(room: i64) -> Predicate {
    let operand = Operand::Value(Value::Integer(room));
    Predicate::Compare { column: ColumnId(0), op: CompareOp::Equal, operand }
}

const OF_ROOM: &str = "SELECT * FROM app.notes WHERE id = $1";

/// A subscription of each of so many rooms, here the ids of notes; each with its rows and a watch.
async fn rooms<S>(client: &Client, session: &mut crate::fake::Session<S>, count: u64) -> Vec<Watch>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut watches = Vec::new();
    for room in 1..=count {
        let params = [Value::Integer(room.cast_signed())];
        let options = SubscribeOptions::default();
        let subscription = client.subscribe(OF_ROOM, &params, options).await.unwrap();
        let query = protocol::ids::QueryNumber(1_000 + room);
        let ServerFrame::Subscribed(mut told) = subscribed(room, table(64, "app.notes")) else {
            panic!("another frame")
        };
        let basis = [u8::try_from(room).unwrap(); 16];
        (told.query, told.basis) = (query, protocol::ids::Basis::from_bytes(basis));
        told.predicate = room_is(room.cast_signed());
        session.send(ServerFrame::Subscribed(told)).await;
        if room == 1 {
            session.send(frontier(0)).await;
        }
        session.send(batch(query, 1_000, &[(room, row(room.cast_signed()))])).await;
        soon(subscription.ready()).await.unwrap();
        let sql = format!("{OF_ROOM} ORDER BY _seq");
        watches.push(client.watch(&sql, &params).unwrap());
        next(watches.last_mut().unwrap()).await;
    }
    watches
}

/// How often queries have run, once none runs any more.
async fn runs_so_far(client: &Client) -> u64 {
    let mut before = u64::MAX;
    while before != client.watch_runs() {
        before = client.watch_runs();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    before
}

/// INV-11. Counted, not timed: of a hundred watches of a hundred rooms one runs.
#[tokio::test]
async fn a_change_runs_the_watches_that_it_concerns() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let (mut session, _) = fake.welcome().await;
    let mut watches = rooms(&client, &mut session, 100).await;
    let quiet = async |watch: &mut Watch| {
        client.query("SELECT 1", &[]).await.unwrap();
        watch.next().now_or_never()
    };
    // What came with the last load may still be read.
    let before = runs_so_far(&client).await;
    run(&client, "UPDATE app.notes SET body = 'other' WHERE id = 7").await;
    let result = next(&mut watches[6]).await;
    assert_eq!(result.rows.get(0).unwrap().get::<&str>("body").unwrap(), "other");
    assert_eq!(result.diff.updated.len(), 1);
    assert_eq!(client.watch_runs(), before + 1, "by the application");
    let changes = vec![
        RowChange::Row(Birth(seq(8)), row(8)),
        RowChange::Deleted(Birth(seq(9)), Row(vec![Value::Integer(9)])),
    ];
    let ServerFrame::Delta(mut of_server) = delta(1_000, 1_001, 1_008, 8, true) else {
        panic!("another frame")
    };
    of_server.changes = changes;
    session.send(ServerFrame::Delta(of_server)).await;
    while !next(&mut watches[8]).await.rows.is_empty() {}
    assert_eq!(quiet(&mut watches[7]).await, None, "its row was told again as it was");
    assert_eq!(client.watch_runs(), before + 3, "by the server: of two rooms");
    // Another room: as it was, and as it is.
    run(&client, "UPDATE app.notes SET body = 'more' WHERE id IN (1, 2)").await;
    next(&mut watches[0]).await;
    next(&mut watches[1]).await;
    assert_eq!(client.watch_runs(), before + 5);
    // Other columns may be there: all of them run.
    run(&client, "CREATE INDEX by_body ON \"app__notes\" (body)").await;
    soon(async {
        while client.watch_runs() < before + 105 {
            tokio::task::yield_now().await
        }
    })
    .await;
    // Until they have, every change concerns them.
    runs_so_far(&client).await;
    // A query that is not the subscription's runs for each change of its table.
    let mut all = client.watch("SELECT id FROM app.notes WHERE id = 3", &[]).unwrap();
    next(&mut all).await;
    let before = client.watch_runs();
    run(&client, "UPDATE app.notes SET body = 'x' WHERE id = 4").await;
    next(&mut watches[3]).await;
    assert_eq!((client.watch_runs(), quiet(&mut all).await), (before + 2, None));
}

/// R9: what waits is last, and is known by its view; then it has its place.
#[tokio::test]
async fn what_waits_has_no_seq_and_is_in_the_view() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(3, row(3)), (5, row(5))]).await;
    soon(subscription.ready()).await.unwrap();
    let sql = "SELECT n.id, n._seq, w.state FROM app.notes n LEFT JOIN tw_pending w \
               ON w.\"table\" = 'app.notes' AND w.key = n.id ORDER BY n._seq IS NULL, n._seq";
    let mut watch = client.watch(sql, &[]).unwrap();
    assert_eq!(ids(&next(&mut watch).await.rows), [3, 5]);
    run(&client, "INSERT INTO app.notes (id, body) VALUES (1, 'mine')").await;
    let result = next(&mut watch).await;
    let last = result.rows.get(2).unwrap();
    assert_eq!(
        (ids(&result.rows), last.get::<Option<i64>>("_seq").unwrap()),
        (vec![3, 5, 1], None)
    );
    assert!(last.get::<Option<&str>>("state").unwrap().is_some());
    assert_eq!(result.rows.get(0).unwrap().get::<Option<&str>>("state").unwrap(), None);
}
