//! Live queries of the real server, frame by frame: load, live, catch-up, end.

use e2e_harness::{Client, Home, Role, Server};
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    ClientFrame, Delta, LaneCursor, LoadOlder, RowChange, ServerFrame, Subscribe, Unsubscribe,
};
use protocol::ids::{Birth, RequestNumber, SeqId};
use protocol::value::{Row, Value};

use crate::raw::{Raw, subscribe};

struct World {
    ann: Client,
    bob: Client,
    service: Client,
    admin: Client,
    _server: Server,
    // Read last: its log is checked when it is dropped.
    _home: Home,
}

fn world() -> World {
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, room BIGINT, body TEXT, extra TEXT, \
         INDEX (room))",
        "CREATE SHARED TABLE app.board (id BIGINT PRIMARY KEY, room BIGINT, body TEXT, \
         INDEX (room)) WITH (ACCESS_LEVEL = READ)",
        "CREATE SHARED TABLE app.secrets (id BIGINT PRIMARY KEY, body TEXT)",
    ] {
        admin.ok(sql);
    }
    World {
        ann: home.client("ann", Role::User),
        bob: home.client("bob", Role::User),
        service: home.client("batch", Role::Service),
        admin,
        _server: server,
        _home: home,
    }
}

fn integer(row: &Row, column: usize) -> i64 {
    match &row.0[column] {
        Value::Integer(number) => *number,
        other => panic!("{other:?}"),
    }
}

fn ids(rows: &[(Birth, Row)]) -> Vec<i64> {
    rows.iter().map(|(_, row)| integer(row, 0)).collect()
}

async fn delta(raw: &mut Raw) -> Delta {
    match raw.next().await {
        ServerFrame::Delta(delta) => delta,
        other => panic!("not a delta: {other:?}"),
    }
}

/// What became of rows, as kind and key.
fn told(changes: &[RowChange]) -> Vec<(&'static str, i64)> {
    let told = |change: &RowChange| match change {
        RowChange::Row(_, row) | RowChange::Expiring(_, row, _) => ("row", integer(row, 0)),
        RowChange::Left(_, key) => ("left", integer(key, 0)),
        RowChange::Deleted(_, key) => ("deleted", integer(key, 0)),
    };
    changes.iter().map(told).collect()
}

#[tokio::test]
async fn a_subscription_loads_and_is_told_of_what_concerns_it() {
    let world = world();
    let ann = &world.ann;
    ann.ok("INSERT INTO app.notes VALUES (1, 7, 'a', 'x'), (2, 8, 'b', 'x'), (3, 7, 'c', 'x')");
    let mut raw = Raw::open(ann).await;
    let loaded = raw.load(subscribe(1, "SELECT id, body FROM app.notes WHERE room = 7")).await;
    assert_eq!(ids(&loaded.rows), [1, 3]);
    let mut position = loaded.seq.unwrap();
    for (sql, expected) in [
        ("INSERT INTO app.notes VALUES (4, 7, 'd', 'x')", vec![("row", 4)]),
        ("UPDATE app.notes SET body = 'e' WHERE id = 4", vec![("row", 4)]),
        ("UPDATE app.notes SET body = NULL WHERE id = 4", vec![("row", 4)]),
        // M6: it leaves, and comes back.
        ("UPDATE app.notes SET room = 8 WHERE id = 4", vec![("left", 4)]),
        ("UPDATE app.notes SET room = 7 WHERE id >= 2", vec![("row", 2), ("row", 4)]),
        ("UPDATE app.notes SET room = NULL WHERE id = 2", vec![("left", 2)]),
        ("DELETE FROM app.notes WHERE id <= 2", vec![("deleted", 1)]),
    ] {
        // Neither another room nor a column that is not selected says anything.
        ann.ok("UPDATE app.notes SET extra = 'y' WHERE room = 7");
        ann.ok("INSERT INTO app.notes VALUES (100, 9, 'n', 'x')");
        ann.ok("DELETE FROM app.notes WHERE id = 100");
        ann.ok(sql);
        let delta = delta(&mut raw).await;
        assert_eq!(told(&delta.changes), expected, "{sql}");
        assert_eq!((delta.previous, delta.end), (position, true), "{sql}");
        position = delta.seq;
    }
    raw.send(ClientFrame::Unsubscribe(Unsubscribe { request: RequestNumber(1) })).await;
    let again = raw.load(subscribe(2, "SELECT * FROM app.notes WHERE room = 7")).await;
    assert_eq!(ids(&again.rows), [3, 4]);
}

#[tokio::test]
async fn who_was_away_is_told_what_has_become_of_what_he_holds() {
    let world = world();
    let ann = &world.ann;
    let sql = "SELECT id, room FROM app.notes WHERE room = 7";
    for id in 1..=5 {
        ann.ok(&format!("INSERT INTO app.notes VALUES ({id}, 7, 'a', 'x')"));
    }
    let mut raw = Raw::open(ann).await;
    let loaded = raw.load(subscribe(1, sql)).await;
    let (cursor, held) = loaded.held();
    drop(raw);

    for sql in [
        "DELETE FROM app.notes WHERE id = 1",
        "UPDATE app.notes SET room = 8 WHERE id = 2",
        "INSERT INTO app.notes VALUES (6, 7, 'new', 'x')",
        // Born and gone, elsewhere, and back again: nothing, nothing, and as it is.
        "INSERT INTO app.notes VALUES (7, 7, 'new', 'x')",
        "DELETE FROM app.notes WHERE id = 7",
        "INSERT INTO app.notes VALUES (8, 9, 'new', 'x')",
        "UPDATE app.notes SET room = 9 WHERE id = 3",
        "UPDATE app.notes SET room = 7 WHERE id = 3",
    ] {
        ann.ok(sql);
    }
    let basis = held.basis;
    let resumed = Subscribe { held: Some(held), ..subscribe(1, sql) };
    let mut raw = Raw::resume(ann, vec![cursor], vec![resumed]).await;
    let mut changes = Vec::new();
    let reached = loop {
        match raw.next().await {
            ServerFrame::Subscribed(again) => assert_eq!(again.basis, basis),
            ServerFrame::CatchUp(piece) => changes.extend(piece.changes),
            ServerFrame::Frontier(frontier) => break frontier.seq,
            other => panic!("{other:?}"),
        }
    };
    let mut told = told(&changes);
    told.sort_unstable();
    assert_eq!(told, [("deleted", 1), ("left", 2), ("row", 3), ("row", 6)]);
    ann.ok("INSERT INTO app.notes VALUES (9, 7, 'live', 'x')");
    assert_eq!(delta(&mut raw).await.previous, reached, "and it is live from there");
}

#[tokio::test]
async fn the_last_rows_come_first_and_older_ones_when_they_are_asked_for() {
    let world = world();
    let values: Vec<_> = (1..=100).map(|id| format!("({id}, {}, 'n', 'x')", id % 2)).collect();
    world.ann.ok(&format!("INSERT INTO app.notes VALUES {}", values.join(", ")));
    let mut raw = Raw::open(&world.ann).await;
    let last = Subscribe {
        fetch_last: Some(10),
        ..subscribe(1, "SELECT id FROM app.notes WHERE room = 1")
    };
    let loaded = raw.load(last).await;
    assert_eq!(ids(&loaded.rows), (81..=99).step_by(2).collect::<Vec<i64>>());
    raw.send(ClientFrame::LoadOlder(LoadOlder { request: RequestNumber(1), rows: 5 })).await;
    let older = raw.loaded(Some(5)).await;
    assert_eq!(ids(&older.rows), (71..=79).step_by(2).collect::<Vec<i64>>());
    // An edit below the floor says nothing, one above it does.
    world.ann.ok("UPDATE app.notes SET room = 2 WHERE id = 1");
    world.ann.ok("UPDATE app.notes SET room = 2 WHERE id = 71");
    assert_eq!(told(&delta(&mut raw).await.changes), [("left", 71)]);
}

/// INV-7: whatever a user subscribes to, or says that he holds, he gets nothing of anybody else's.
#[tokio::test]
async fn nobody_is_told_of_rows_of_others() {
    let world = world();
    let World { ann, bob, service, .. } = &world;
    ann.ok("INSERT INTO app.notes VALUES (1, 7, 'annsecret', 'annsecret')");
    service.ok("INSERT INTO app.secrets VALUES (1, 'annsecret')");
    let mut anns = Raw::open(ann).await;
    let loaded = anns.load(subscribe(1, "SELECT * FROM app.notes")).await;
    let (cursor, held) = loaded.held();
    let lane_of_ann = cursor.lane.clone();

    let stolen = Subscribe { held: Some(held), ..subscribe(1, "SELECT * FROM app.notes") };
    let cursor = LaneCursor { since_seq: SeqId::ZERO, ..cursor };
    let mut raw = Raw::resume(bob, vec![cursor], vec![stolen]).await;
    for (request, sql) in [
        (2, "SELECT * FROM app.secrets"),
        (3, "SELECT * FROM app.nothing"),
        (4, "EXECUTE AS USER 'ann' (SELECT * FROM app.notes)"),
    ] {
        raw.send(ClientFrame::Subscribe(subscribe(request, sql))).await;
    }
    ann.ok("INSERT INTO app.notes VALUES (2, 7, 'annsecret', 'annsecret')");
    ann.ok("DELETE FROM app.notes WHERE id = 1");
    service.ok("INSERT INTO app.secrets VALUES (2, 'annsecret')");
    service.ok("INSERT INTO app.board VALUES (1, 1, 'for all')");
    bob.ok("INSERT INTO app.notes VALUES (5, 7, 'own', 'own')");
    raw.send(ClientFrame::Subscribe(subscribe(5, "SELECT * FROM app.board"))).await;
    let (mut refused, mut own, mut shared) = (Vec::new(), false, false);
    while !own || !shared || refused.len() < 3 {
        match raw.next().await {
            ServerFrame::Refused(told) => {
                refused.push((told.request, told.code, told.message.replace("app.secrets", "T")));
            }
            ServerFrame::Subscribed(told) => assert_ne!(told.lane, lane_of_ann),
            ServerFrame::InitialDataBatch(batch) => {
                own |= batch.rows.iter().any(|row| row.0.len() == 4 && integer(row, 0) == 5);
                shared |= batch.rows.iter().any(|row| row.0.len() == 3);
            }
            ServerFrame::Delta(delta) => own |= told(&delta.changes).contains(&("row", 5)),
            ServerFrame::Reset(_) | ServerFrame::Frontier(_) | ServerFrame::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
    refused.sort();
    let codes: Vec<_> = refused.iter().map(|(_, code, _)| *code).collect();
    assert_eq!(codes, [ErrorCode::NotFound, ErrorCode::NotFound, ErrorCode::Forbidden]);
    assert_eq!(refused[0].2, refused[1].2.replace("app.nothing", "T"), "one is like the other");
    let received = String::from_utf8_lossy(&raw.received).into_owned();
    assert!(!received.contains("annsecret") && !received.contains("user/ann"), "{received}");
}

/// M5: everything changes while somebody is away who watches one room of a thousand.
#[tokio::test]
async fn one_room_of_a_thousand_costs_what_is_in_it() {
    let world = world();
    let service = &world.service;
    let rows = |from: usize| {
        let values: Vec<_> = (0..2_000)
            .map(|id| format!("({}, {}, 'room {}')", from + id, id % 1_000, id % 1_000))
            .collect();
        format!("INSERT INTO app.board VALUES {}", values.join(", "))
    };
    service.ok(&rows(0));
    let sql = "SELECT * FROM app.board WHERE room = 123";
    let mut raw = Raw::open(&world.bob).await;
    let loaded = raw.load(subscribe(1, sql)).await;
    assert_eq!(ids(&loaded.rows), [123, 1_123]);
    let (cursor, held) = loaded.held();
    drop(raw);
    service.ok("UPDATE app.board SET body = 'changed' WHERE id < 1000");
    service.ok("DELETE FROM app.board WHERE id >= 1000");
    service.ok(&rows(10_000));
    let resumed = Subscribe { held: Some(held), ..subscribe(1, sql) };
    let mut raw = Raw::resume(&world.bob, vec![cursor], vec![resumed]).await;
    let mut changes = Vec::new();
    loop {
        match raw.next().await {
            ServerFrame::CatchUp(piece) => changes.extend(piece.changes),
            ServerFrame::Frontier(_) => break,
            ServerFrame::Subscribed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut told = told(&changes);
    told.sort_unstable();
    assert_eq!(told, [("deleted", 1_123), ("row", 123), ("row", 10_123), ("row", 11_123)]);
    assert!(raw.received.len() < 2_000, "{} bytes for four rows", raw.received.len());
}

#[tokio::test]
async fn live_queries_are_listed_and_ended() {
    let world = world();
    let World { ann, bob, admin, .. } = &world;
    let sql = "SELECT id FROM app.notes WHERE room = 7";
    let mut raw = Raw::open(ann).await;
    raw.load(subscribe(5, sql)).await;
    let list = "SELECT user_id, namespace, table_name, lane, sql, state FROM system.live_queries";
    let shown = format!("ann app notes user/ann {sql} live");
    assert_eq!(admin.rows(list), [&*shown]);
    assert_eq!(ann.rows(list), [&*shown]);
    assert!(bob.rows(list).is_empty(), "others see none of it");
    let id = admin.rows("SELECT id FROM system.live_queries").remove(0);
    bob.refused(&format!("KILL LIVE QUERY '{id}'"), "not_found");
    assert_eq!(admin.ok(&format!("KILL LIVE QUERY '{id}'")).rows_affected, Some(1));
    match raw.next().await {
        ServerFrame::Refused(refused) => {
            assert_eq!(refused.request, Some(RequestNumber(5)));
            assert_eq!(refused.code, ErrorCode::Cancelled);
        }
        other => panic!("{other:?}"),
    }
    admin.refused(&format!("KILL LIVE QUERY '{id}'"), "not_found");
    assert!(admin.rows(list).is_empty());
    // The connection lives.
    assert_eq!(raw.load(subscribe(6, "SELECT id FROM app.notes")).await.rows, []);
    drop(raw);
}

#[tokio::test]
async fn a_table_that_is_dropped_ends_its_subscriptions_and_no_other() {
    let world = world();
    let mut raw = Raw::open(&world.ann).await;
    raw.load(subscribe(1, "SELECT * FROM app.notes")).await;
    raw.load(subscribe(2, "SELECT * FROM app.board")).await;
    world.admin.ok("DROP TABLE app.notes");
    match raw.next().await {
        ServerFrame::Refused(refused) => {
            assert_eq!(
                (refused.request, refused.code),
                (Some(RequestNumber(1)), ErrorCode::NotFound)
            );
        }
        other => panic!("{other:?}"),
    }
    world.service.ok("INSERT INTO app.board VALUES (1, 1, 'on')");
    assert_eq!(told(&delta(&mut raw).await.changes), [("row", 1)]);
}
