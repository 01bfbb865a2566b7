//! Queries: what they see, what they depend on, and what they may not do.

use std::sync::Arc;

use protocol::frame::v1::RowChange;
use protocol::value::{Row, Value};
use sdk_machine::{SubscriptionId, Write};
use sdk_replica::{ReplicaError, ResultRow};

use crate::world::{
    Eyes, Place, batch, birth, execute, known, message, messages, put, query, rows, step,
};

#[test]
fn tables_are_named_as_on_the_server() {
    let place = Place::new();
    let replica = place.with_messages();
    for (sql, expected) in [
        ("SELECT id FROM chat.messages WHERE room = 7", &["1"][..]),
        ("SELECT messages.id FROM chat.messages", &["1", "2"]),
        ("SELECT chat.messages.body FROM chat.messages WHERE chat.messages.id = 2", &["two"]),
        ("SELECT m.body FROM chat.messages m JOIN chat.messages o ON m.id = o.id + 1", &["two"]),
        ("SELECT count(*) FROM chat.messages", &["2"]),
        ("SELECT 'chat.messages'", &["chat.messages"]),
        ("SELECT * FROM chat.messages WHERE id = 1", &["1 7 one NULL 5"]),
        ("SELECT id FROM chat.messages ORDER BY _seq DESC", &["2", "1"]),
        ("WITH x AS (SELECT id FROM chat.messages) SELECT max(id) FROM x", &["2"]),
    ] {
        assert_eq!(rows(&replica, sql), expected, "{sql}");
    }
}

/// Nobody would say when they change.
#[test]
fn columns_that_no_holder_knows_are_null() {
    let place = Place::new();
    let mut replica = place.with_messages();
    // 1 knows the whole rows, 2 their key and room.
    let short =
        |id, room| -> Row { [Value::Integer(id), Value::Integer(room)].into_iter().collect() };
    let projection = put(2, known(messages(), &[1, 2]));
    let of_both = batch(2, &[5, 6], vec![short(1, 7), short(2, 8)]);
    replica.apply(&step(vec![projection, of_both])).unwrap();
    let all = "SELECT id, room, body FROM chat.messages";
    assert_eq!(rows(&replica, all), ["1 7 one", "2 8 two"]);
    let left = RowChange::Left(birth(5), [Value::Integer(1)].into_iter().collect());
    let left = Write::Changes { subscription: SubscriptionId(1), changes: vec![left] };
    replica.apply(&step(vec![left])).unwrap();
    assert_eq!(rows(&replica, all), ["1 7 NULL", "2 8 two"], "one has left the first");
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    assert_eq!(rows(&replica, all), ["1 7 NULL", "2 8 NULL"], "the first has ended");
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(2))])).unwrap();
    assert_eq!(rows(&replica, all), [""; 0]);
    drop(replica);
    let file = place.connect();
    let sets: i64 = file.query_row("SELECT count(*) FROM tw_sets", [], |row| row.get(0)).unwrap();
    assert_eq!(sets, 0, "nothing is left of them");
}

/// Nor of a row that somebody else takes at the moment when its last holder lets it go.
#[test]
fn a_row_that_is_taken_over_has_what_its_new_holder_knows() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let short: Row = [Value::Integer(1), Value::Integer(7)].into_iter().collect();
    let left = RowChange::Left(birth(6), [Value::Integer(2)].into_iter().collect());
    replica
        .apply(&step(vec![
            Write::Changes { subscription: SubscriptionId(1), changes: vec![left] },
            put(2, known(messages(), &[1, 2])),
            Write::RemoveSubscription(SubscriptionId(1)),
            batch(2, &[5], vec![short]),
        ]))
        .unwrap();
    assert_eq!(rows(&replica, "SELECT id, room, body FROM chat.messages"), ["1 7 NULL"]);
}

#[test]
fn like_is_that_of_the_server() {
    let place = Place::new();
    let replica = place.with_messages();
    for (condition, expected) in [
        ("body LIKE 'o%'", &["1"][..]),
        ("body LIKE 'O%'", &[]),
        ("body LIKE 't_o'", &["2"]),
        ("body LIKE 't\\_o'", &[]),
        ("body LIKE 't\\_o' ESCAPE '\\'", &[]),
        ("extra LIKE '%'", &[]),
        ("NOT body LIKE '%o'", &["1"]),
    ] {
        let sql = format!("SELECT id FROM chat.messages WHERE {condition}");
        assert_eq!(rows(&replica, &sql), expected, "{condition}");
    }
    assert!(query(&replica, "SELECT 'a' LIKE 'a' ESCAPE 'x'", &[]).is_err());
    assert!(query(&replica, "SELECT 'a' LIKE 'a\\'", &[]).is_err());
}

#[test]
fn parameters_are_bound_by_number() {
    let place = Place::new();
    let replica = place.with_messages();
    let values = [Value::text("two").unwrap(), Value::Integer(8)];
    let sql = "SELECT $2, $1, id FROM chat.messages WHERE room = $2 AND body = $1";
    let result = query(&replica, sql, &values).unwrap();
    assert_eq!(result.rows, [[Value::Integer(8), values[0].clone(), Value::Integer(2)].into()]);
    assert!(matches!(query(&replica, sql, &values[..1]), Err(ReplicaError::Sql(_))));
    assert!(matches!(query(&replica, "SELECT 1", &values), Err(ReplicaError::Sql(_))));
    let kinds = [Value::Boolean(true), Value::Uuid([0xab; 16]), Value::Bytes(vec![1])];
    let result = query(&replica, "SELECT $1, $2, $3, 1.5", &kinds).unwrap();
    let uuid = Value::text("abababab-abab-abab-abab-abababababab").unwrap();
    let double = Value::double(1.5).unwrap();
    assert_eq!(result.rows, [[Value::Integer(1), uuid, Value::Bytes(vec![1]), double].into()]);
}

#[test]
fn what_a_query_depends_on_is_told_through_everything() {
    let place = Place::new();
    let mut replica = place.with_messages();
    execute(&mut replica, "CREATE TABLE drafts (room INTEGER, body TEXT)", &[]).unwrap();
    execute(&mut replica, "CREATE VIEW shown AS SELECT body FROM chat.messages", &[]).unwrap();
    for (sql, expected) in [
        ("SELECT count(*) FROM chat.messages", &["chat__messages"][..]),
        ("SELECT 1", &[]),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM drafts)", &["drafts"]),
        ("SELECT * FROM shown", &["chat__messages", "shown"]),
        (
            "SELECT d.body FROM drafts d LEFT JOIN chat.messages m ON m.room = d.room",
            &["chat__messages", "drafts"],
        ),
    ] {
        let reads = query(&replica, sql, &[]).unwrap().reads;
        assert_eq!(reads.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{sql}");
    }
}

#[test]
fn all_queries_of_a_run_see_one_moment_and_wait_for_nobody() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut eyes = Eyes::of(&replica);
    let (sql, none) = ("SELECT count(*) FROM chat.messages", Default::default());
    for round in 0..20_u64 {
        let rows = vec![message(100 + i64::try_from(round).unwrap(), 7, "x")];
        replica.apply(&step(vec![batch(1, &[100 + round], rows)])).unwrap();
        let results = eyes
            .on(&mut replica)
            .run(&[(sql, &[], none), ("SELECT nothing", &[], none), (sql, &[], none)], || true);
        let count = Value::Integer(i64::try_from(round).unwrap() + 3);
        assert_eq!(results[0].as_ref().unwrap().rows, [[count.clone()].into()]);
        assert!(results[1].is_err(), "one that is wrong does not disturb the others");
        assert_eq!(results[2].as_ref().unwrap().rows, [[count].into()]);
    }
}

#[test]
fn a_query_only_reads_and_not_what_is_the_sdks() {
    let place = Place::new();
    let replica = place.with_messages();
    for sql in [
        "DELETE FROM chat.messages",
        "INSERT INTO chat.messages (id) VALUES (9)",
        "CREATE TABLE x (a)",
        "BEGIN",
        "COMMIT",
        "ATTACH ':memory:' AS x",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = OFF",
        "PRAGMA user_version = 5",
        "VACUUM",
        "SELECT * FROM tw_subscriptions",
        "SELECT * FROM TW_sets",
        "UPDATE tw_lanes SET seq = 0",
    ] {
        let refused = query(&replica, sql, &[]).unwrap_err();
        assert!(matches!(refused, ReplicaError::Refused(_)), "{sql}: {refused:?}");
    }
    assert!(query(&replica, "SELECT 1; SELECT 2", &[]).is_err());
    assert!(query(&replica, "", &[]).is_err());
    let missing = query(&replica, "SELECT * FROM chat.nothing", &[]).unwrap_err();
    assert!(!missing.to_string().is_empty());
    // Who holds a row is nobody's business.
    let hidden = query(&replica, "SELECT _set + 1 AS x FROM chat.messages", &[]).unwrap();
    assert_eq!(hidden.rows, [[Value::Null].into(), [Value::Null].into()]);
    assert_eq!(
        rows(&replica, "SELECT name FROM pragma_table_info('chat__messages') LIMIT 1"),
        ["id"]
    );
}

#[test]
fn rows_that_are_as_they_were_are_the_same_in_memory() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut eyes = Eyes::of(&replica);
    execute(&mut replica, "CREATE TABLE n (id INTEGER PRIMARY KEY, b ANY) STRICT", &[]).unwrap();
    let fill = "WITH RECURSIVE n(id) AS (SELECT 10 UNION ALL SELECT id + 1 FROM n WHERE id < 29) \
                INSERT INTO n SELECT id, CASE id % 3 WHEN 0 THEN 'x' WHEN 1 THEN 0.5 END FROM n";
    execute(&mut replica, fill, &[]).unwrap();
    let sql = "SELECT * FROM n ORDER BY id";
    let mut before = eyes.on(&mut replica).query(sql, &[]).unwrap();
    for (change, same) in [
        ("UPDATE n SET b = x'00' WHERE id = 12", 19),
        ("UPDATE n SET b = 'y' WHERE id IN (14, 15, 16, 29)", 16),
        ("DELETE FROM n WHERE id IN (11, 20)", 18),
        ("INSERT INTO n VALUES (1, 'a'), (2, 'b'), (11, NULL), (99, 'z')", 18),
        ("UPDATE n SET b = NULL WHERE b IS NULL", 22),
    ] {
        execute(&mut replica, change, &[]).unwrap();
        let asked = [(sql, &[][..], (&*before.columns, &*before.rows))];
        let now = eyes.on(&mut replica).run(&asked, || true).pop().unwrap().unwrap();
        assert_eq!(now, eyes.on(&mut replica).query(sql, &[]).unwrap());
        let is_old = |row: &&ResultRow| before.rows.iter().any(|old| Arc::ptr_eq(old, row));
        assert_eq!(now.rows.iter().filter(is_old).count(), same, "{change}");
        before = now;
    }
}

// In a browser: there is no other thread in a worker.
#[cfg(not(target_family = "wasm"))]
#[test]
fn a_query_is_stopped_from_another_thread() {
    let place = Place::new();
    let replica = place.with_messages();
    let mut reader = replica.reader().unwrap();
    let (asks, asked) = std::sync::mpsc::sync_channel(0);
    let runs = std::thread::spawn(move || {
        let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                       SELECT count(*) FROM n";
        // Until nobody listens any more.
        let is_wanted = move || asks.send(()).is_ok();
        let none = Default::default();
        let results =
            reader.view().run(&[(endless, &[], none), ("SELECT 1", &[], none)], is_wanted);
        let next = reader.query("SELECT 1", &[]);
        (results, next)
    });
    for _ in 0..3 {
        asked.recv().unwrap();
    }
    drop(asked);
    let (results, next) = runs.join().unwrap();
    for result in results {
        assert!(matches!(result, Err(ReplicaError::Interrupted)), "{result:?}");
    }
    assert!(next.is_ok(), "the next one is wanted");
}

#[test]
fn expired_rows_go_and_the_next_time_is_known() {
    use crate::world::{known, marks, put};
    use protocol::value::Row;
    let place = Place::new();
    let mut replica = place.open();
    let mark = |user: &str| -> Row {
        [Value::text(user).unwrap(), Value::Integer(1), Value::Integer(5)].into_iter().collect()
    };
    let all = Write::Batch {
        subscription: SubscriptionId(1),
        births: vec![crate::world::birth(1), crate::world::birth(2)],
        rows: vec![mark("ann"), mark("bob")],
        expiries: vec![100, 200],
    };
    replica.apply(&step(vec![put(1, known(marks(), &[1, 2, 3])), all])).unwrap();
    assert_eq!(replica.next_expiry().unwrap(), Some(100));
    assert_eq!(replica.expire(99).unwrap().tables.len(), 0);
    let changed = replica.expire(100).unwrap();
    assert!(changed.tables.contains_key("chat__marks"));
    assert_eq!(rows(&replica, "SELECT user FROM chat.marks"), ["bob"]);
    assert_eq!(replica.next_expiry().unwrap(), Some(200));
}
