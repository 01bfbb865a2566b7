//! Watched queries: when they run, and what is told together.

use futures::StreamExt;
use futures::future::ready;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Refused, ServerFrame};
use protocol::ids::RequestNumber;
use sdk_core::{
    Overview, ResultState, StatusWord, SubscribeOptions, SubscriptionState, Value, Watch,
    WatchResult,
};

use crate::fake::{
    Device, Fake, WELCOME_AT, batch, delta, frontier, ids, row, soon, subscribed, table,
};

async fn next(watch: &mut Watch) -> WatchResult {
    let result = soon(watch.next()).await.expect("the client lives");
    assert_eq!(result.error, None);
    result
}

/// R1, L1, O1: `loading` is not empty, and how far it is is known.
#[tokio::test]
async fn a_result_says_how_fresh_it_is() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    assert_eq!(subscription.state(), SubscriptionState::Loading);
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    // Its table is not even known.
    let first = next(&mut watch).await;
    assert_eq!((first.rows.len(), first.state), (0, ResultState::Loading));
    let (mut session, _) = fake.welcome().await;
    let query = protocol::ids::QueryNumber(64);
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(0)).await;
    let ServerFrame::InitialDataBatch(mut part) = batch(query, 10, &[(5, row(5))]) else {
        panic!("a batch")
    };
    part.floor = protocol::ids::Floor(crate::fake::seq(5));
    part.remaining = 3;
    session.send(ServerFrame::InitialDataBatch(part)).await;
    soon(async {
        loop {
            let part = next(&mut watch).await;
            if !part.rows.is_empty() {
                assert_eq!((ids(&part.rows), part.state), (vec![5], ResultState::Cached));
                return;
            }
            assert_eq!(part.state, ResultState::Loading);
        }
    })
    .await;
    // L1: it is told as it grows, though the status is the same.
    let mut overviews = client.overviews();
    let told = soon(overviews.next()).await.unwrap();
    let progress = subscription.progress();
    assert_eq!((told.progress, told.last_synced_at), (progress, None));
    assert_eq!((progress.rows, progress.remaining, progress.fraction), (1, Some(3), Some(0.25)));
    assert_eq!((client.progress(), client.last_synced_at()), (progress, None));
    session.send(batch(query, 10, &[(1, row(1))])).await;
    let all =
        |result: &WatchResult| ids(&result.rows) == [1, 5] && result.state == ResultState::Live;
    soon(async { while !all(&next(&mut watch).await) {} }).await;
    assert_eq!(subscription.progress().fraction, Some(1.0));
    assert_eq!(client.progress().fraction, Some(1.0));
    let synced = |told: &Overview| told.last_synced_at.is_some();
    let told = soon(overviews.filter(|told| ready(synced(told))).next()).await.unwrap();
    assert_eq!((told.status.word, told.progress), (StatusWord::Connected, client.progress()));
    let synced_at = client.last_synced_at();
    assert!(synced_at.is_some_and(|at| (0..60_000_000).contains(&(at - WELCOME_AT))));
    drop(session);
    let behind = next(&mut watch).await;
    assert_eq!((ids(&behind.rows), behind.state), (vec![1, 5], ResultState::Behind));
    // What is not replicated is always as it is.
    client.execute("CREATE TABLE mine (id INTEGER)", &[]).await.unwrap();
    let mut local = client.watch("SELECT id FROM mine", &[]).unwrap();
    assert_eq!(next(&mut local).await.state, ResultState::Live);
    client.execute("INSERT INTO mine VALUES (3)", &[]).await.unwrap();
    assert_eq!(ids(&next(&mut local).await.rows), [3]);
    // O1: it is known offline, too.
    soon(client.close()).await;
    let url = fake.url();
    drop(fake);
    let client = device.open(&url).await;
    assert_eq!(client.last_synced_at(), synced_at);
}

#[tokio::test]
async fn what_a_commit_changes_is_told_together_and_nobody_else_hears_of_it() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let mut subscriptions = Vec::new();
    for name in ["one", "two", "three"] {
        let sql = format!("SELECT * FROM app.{name}");
        subscriptions.push(client.subscribe(&sql, &[], options).await.unwrap());
    }
    let (mut session, _) = fake.welcome().await;
    for (request, name) in (1..).zip(["one", "two", "three"]) {
        let table = table(63 + u32::try_from(request).unwrap(), &format!("app.{name}"));
        session.send(subscribed(request, table)).await;
    }
    session.send(frontier(10)).await;
    for query in 64..67 {
        session.send(batch(protocol::ids::QueryNumber(query), 10, &[])).await;
    }
    for subscription in &subscriptions {
        soon(subscription.ready()).await.unwrap();
    }
    let mut watches: Vec<Watch> = ["one", "two", "three"]
        .map(|name| client.watch(&format!("SELECT id FROM app.{name}"), &[]).unwrap())
        .into();
    let sql = "SELECT (SELECT count(*) FROM app.one) + (SELECT count(*) FROM app.two) AS id";
    let mut both = client.watch(sql, &[]).unwrap();
    assert_eq!(ids(&next(&mut both).await.rows), [0]);
    for watch in &mut watches {
        let first = next(watch).await;
        assert_eq!((first.rows.len(), first.state), (0, ResultState::Live));
    }
    session.send(delta(10, 11, 64, 1, false)).await;
    session.send(delta(10, 11, 65, 2, true)).await;
    assert_eq!(ids(&next(&mut watches[0]).await.rows), [1]);
    assert_eq!(ids(&next(&mut watches[1]).await.rows), [2]);
    let both = next(&mut both).await;
    assert_eq!(ids(&both.rows), [2], "one without the other was never there");
    let quiet = futures::FutureExt::now_or_never(watches[2].next());
    assert_eq!(quiet, None, "nothing of it has changed");
    // The same rows again are no news.
    session.send(delta(11, 12, 66, 9, true)).await;
    assert_eq!(ids(&next(&mut watches[2]).await.rows), [9]);
    assert_eq!(futures::FutureExt::now_or_never(watches[0].next()), None);
}

/// A query that gives something else each time shows when it runs.
#[tokio::test]
async fn a_query_runs_when_what_it_reads_has_changed_and_not_else() {
    let device = Device::new();
    let client = device.open(&Fake::new().await.url()).await;
    client.execute("CREATE TABLE one (id INTEGER)", &[]).await.unwrap();
    client.execute("CREATE TABLE two (id INTEGER)", &[]).await.unwrap();
    let mut chance = client.watch("SELECT random() AS id FROM one LIMIT 1", &[]).unwrap();
    assert_eq!(next(&mut chance).await.rows.len(), 0);
    client.execute("INSERT INTO one VALUES (1)", &[]).await.unwrap();
    let first = ids(&next(&mut chance).await.rows);
    let mut other = client.watch("SELECT max(id) AS id FROM two", &[]).unwrap();
    next(&mut other).await;
    for id in 1..=5 {
        client.execute("INSERT INTO two VALUES ($1)", &[Value::Integer(id)]).await.unwrap();
        assert_eq!(ids(&next(&mut other).await.rows), [id]);
    }
    assert_eq!(futures::FutureExt::now_or_never(chance.next()), None, "it has not run");
    client.execute("UPDATE one SET id = 2", &[]).await.unwrap();
    assert_ne!(ids(&next(&mut chance).await.rows), first);
}

/// One that began before a change may take longer than one that began after it.
#[tokio::test]
async fn the_last_result_is_that_of_the_last_change() {
    let device = Device::new();
    let client = device.open(&Fake::new().await.url()).await;
    client.execute("CREATE TABLE one (id INTEGER)", &[]).await.unwrap();
    // It takes long while there is one row.
    let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < \
               (SELECT CASE count(*) WHEN 1 THEN 1000000 ELSE count(*) + 1 END FROM one)) \
               SELECT count(*) AS id FROM n";
    let mut watch = client.watch(sql, &[]).unwrap();
    assert_eq!(ids(&next(&mut watch).await.rows), [1]);
    client.execute("INSERT INTO one VALUES (1)", &[]).await.unwrap();
    // For most runs of this test, enough for the reader to begin.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    client.execute("INSERT INTO one VALUES (2)", &[]).await.unwrap();
    soon(async { while ids(&next(&mut watch).await.rows) != [3] {} }).await;
    // As long again as a late one could take.
    let slow = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000000) \
                SELECT count(*) AS id FROM n";
    client.query(slow, &[]).await.unwrap();
    assert_eq!(futures::FutureExt::now_or_never(watch.next()), None);
}

/// Rows that were read before the last ones came are not all that there is.
#[tokio::test]
async fn a_result_that_is_live_has_all_rows() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(0)).await;
    let query = protocol::ids::QueryNumber(64);
    let ServerFrame::InitialDataBatch(mut part) = batch(query, 10, &[(5, row(5))]) else {
        panic!("a batch")
    };
    part.floor = protocol::ids::Floor(crate::fake::seq(5));
    part.remaining = 1;
    session.send(ServerFrame::InitialDataBatch(part)).await;
    soon(async {
        while client.query("SELECT id FROM app.notes", &[]).await.map_or(0, |rows| rows.len()) < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It takes long while there is one row.
    let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < \
               (SELECT CASE count(*) WHEN 1 THEN 1000000 ELSE 1 END FROM app.notes)) \
               SELECT (SELECT count(*) FROM app.notes) AS id FROM n LIMIT 1 OFFSET \
               (SELECT count(*) - 1 FROM n)";
    let mut watch = client.watch(sql, &[]).unwrap();
    // For most runs of this test, enough for the reader to begin.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    session.send(batch(query, 10, &[(1, row(1))])).await;
    soon(subscription.ready()).await.unwrap();
    soon(async {
        loop {
            let result = next(&mut watch).await;
            let count = ids(&result.rows);
            assert!(result.state != ResultState::Live || count == [2], "{count:?} is not all");
            if result.state == ResultState::Live {
                return;
            }
        }
    })
    .await;
    // What more is wanted of the table is not here before the server has said so.
    let sql = "SELECT * FROM app.notes WHERE id > 7";
    let _more = client.subscribe(sql, &[], options).await.unwrap();
    assert_eq!(next(&mut watch).await.state, ResultState::Cached);
}

#[tokio::test]
async fn rows_go_when_they_expire() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    let mut notes = table(64, "app.notes");
    (notes.kind, notes.ttl_seconds) = (protocol::schema::TableKind::Stream, Some(60));
    session.send(subscribed(1, notes)).await;
    session.send(frontier(0)).await;
    let query = protocol::ids::QueryNumber(64);
    let ServerFrame::InitialDataBatch(mut rows) = batch(query, 10, &[(1, row(1)), (2, row(2))])
    else {
        panic!("a batch")
    };
    let ServerFrame::Welcome(welcome) = crate::fake::welcome() else { panic!("a welcome") };
    rows.expiries = vec![welcome.time + 500_000, welcome.time + 3_600_000_000];
    session.send(ServerFrame::InitialDataBatch(rows)).await;
    soon(subscription.ready()).await.unwrap();
    let mut watch = client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap();
    soon(async { while ids(&next(&mut watch).await.rows) != [2] {} }).await;
}

/// E5: two texts of which the server says that they are one query.
#[tokio::test]
async fn two_subscriptions_that_are_one_are_told_the_same() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let mut both = Vec::new();
    for sql in ["SELECT * FROM app.notes", "SELECT *  FROM app.notes"] {
        both.push(client.subscribe(sql, &[], options).await.unwrap());
    }
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(1, row(1))]).await;
    soon(both[0].ready()).await.unwrap();
    assert_eq!(both[1].state(), SubscriptionState::Loading, "nothing was said of it yet");
    session.send(subscribed(2, table(64, "app.notes"))).await;
    soon(both[1].ready()).await.unwrap();
    assert_eq!(both[1].state(), SubscriptionState::Live);
    drop(session);
    for subscription in &both {
        soon(async {
            while subscription.state() == SubscriptionState::Live {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_wrong_query_says_so_and_is_right_when_its_table_comes() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let mut wrong = client.watch("SELECT nonsense", &[]).unwrap();
    let error = soon(wrong.next()).await.unwrap().error.unwrap();
    assert_eq!(error.code(), ErrorCode::InvalidRequest, "{error}");
    let mut early = client.watch("SELECT id FROM mine", &[]).unwrap();
    let error = soon(early.next()).await.unwrap().error.unwrap();
    assert_eq!(error.code(), ErrorCode::NotFound, "{error}");
    client.execute("CREATE TABLE mine (id INTEGER)", &[]).await.unwrap();
    assert_eq!(next(&mut early).await.rows.len(), 0);
    client.execute("INSERT INTO mine VALUES (1)", &[]).await.unwrap();
    assert_eq!(ids(&next(&mut early).await.rows), [1]);
}

#[tokio::test]
async fn what_is_refused_leaves_and_can_be_asked_for_again() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let sql = "SELECT * FROM app.notes";
    let subscription = client.subscribe(sql, &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(1, row(1))]).await;
    soon(subscription.ready()).await.unwrap();
    let mut watch = client.watch("SELECT id FROM app.notes", &[]).unwrap();
    assert_eq!(ids(&next(&mut watch).await.rows), [1]);
    session
        .send(ServerFrame::Refused(Refused {
            request: Some(RequestNumber(1)),
            code: ErrorCode::Forbidden,
            message: "no more".to_owned(),
        }))
        .await;
    soon(async { while !next(&mut watch).await.rows.is_empty() {} }).await;
    let refused = soon(subscription.ready()).await.unwrap_err();
    assert_eq!((refused.code(), refused.to_string()), (ErrorCode::Forbidden, "no more".to_owned()));
    assert_eq!(subscription.refused(), Some(refused));
    let again = client.subscribe(sql, &[], options).await.unwrap();
    let protocol::frame::v1::ClientFrame::Subscribe(asked) = session.next().await else {
        panic!("not asked again")
    };
    session.send(subscribed(asked.request.0, table(64, "app.notes"))).await;
    session.send(batch(protocol::ids::QueryNumber(64), 10, &[(1, row(1))])).await;
    soon(again.ready()).await.unwrap();
}

/// R5, L2: reads do not wait for what is applied.
#[tokio::test]
async fn reading_does_not_wait_for_rows_that_come() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(0)).await;
    let reads = async {
        let mut last = 0;
        while subscription.state() != SubscriptionState::Live {
            // A read that waited for the load would see all of it, or nothing.
            let rows = client.query("SELECT id FROM app.notes", &[]).await;
            let count = rows.map_or(0, |rows| rows.len());
            assert!(count >= last, "rows do not go away");
            last = count;
            tokio::task::yield_now().await;
        }
    };
    let loads = async {
        for part in (0..20_u64).rev() {
            let births: Vec<_> = (part * 500 + 1..=part * 500 + 500)
                .map(|birth| (birth, row(i64::try_from(birth).unwrap())))
                .collect();
            let all = batch(protocol::ids::QueryNumber(64), 20_000, &births);
            let ServerFrame::InitialDataBatch(mut batch) = all else { panic!("a batch") };
            if part > 0 {
                batch.floor = protocol::ids::Floor(crate::fake::seq(part * 500 + 1));
            }
            session.send(ServerFrame::InitialDataBatch(batch)).await;
        }
    };
    soon(async { tokio::join!(reads, loads) }).await;
    let rows = client.query("SELECT count(*) AS id FROM app.notes", &[]).await.unwrap();
    assert_eq!(ids(&rows), [10_000]);
    let mut statuses = client.statuses();
    assert!(statuses.next().await.is_some());
}
