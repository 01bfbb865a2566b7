//! What is told of the rows that change: each that is another is told as it was and as it is, or all of
//! them are (INV-11).

use protocol::frame::v1::RowChange;
use protocol::ids::ColumnId;
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::value::{Row, Value};
use sdk_machine::{SubscriptionId, Write};
use sdk_replica::{Changed, ChangedRows, Replica, RowImage};

use crate::rows_told::{check, shown, tell_rows};
use crate::world::{
    Place, batch, birth, execute, known, marks, message, messages, put, step, write, writer,
};

fn of_messages(changed: &Changed) -> &ChangedRows {
    &changed.tables["chat__messages"]
}

/// The rooms of what has changed: as they were, and as they are.
fn rooms(changed: &Changed) -> Vec<(Option<i64>, Option<i64>)> {
    let ChangedRows::These(rows) = of_messages(changed) else { panic!("{changed:?}") };
    let room = |image: &Option<RowImage>| match image.as_ref()?.get(ColumnId(2)) {
        Some(Value::Integer(room)) => Some(*room),
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| (room(&row.old), room(&row.new))).collect()
}

fn room_is(room: i64) -> Predicate {
    let operand = Operand::Value(Value::Integer(room));
    Predicate::Compare { column: ColumnId(2), op: CompareOp::Equal, operand }
}

#[test]
fn a_row_is_told_as_it_was_and_as_it_is() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let by_app = execute(&mut replica, "UPDATE chat.messages SET room = 9 WHERE id = 1", &[]);
    assert_eq!(of_messages(&by_app.unwrap().changed), &ChangedRows::All, "nobody has asked");
    tell_rows(&mut replica);
    let of = |replica: &mut Replica, sql: &str| {
        let done = execute(replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rooms(&done.changed)
    };
    let moved = of(&mut replica, "UPDATE chat.messages SET room = 10 WHERE id = 1");
    assert_eq!(moved, [(Some(9), Some(10))]);
    let made = of(&mut replica, "INSERT INTO chat.messages (id, room) VALUES (3, 11), (4, 12)");
    assert_eq!(made, [(None, Some(11)), (None, Some(12))]);
    assert_eq!(of(&mut replica, "DELETE FROM chat.messages WHERE id = 3"), [(Some(11), None)]);
    let all = of(&mut replica, "DELETE FROM chat.messages");
    assert_eq!(all, [(Some(10), None), (Some(8), None), (Some(12), None)]);
    // The server takes no part in it: what it says goes under the writes.
    let changes = vec![RowChange::Row(birth(6), message(2, 20, "two"))];
    let under = Write::Changes { subscription: SubscriptionId(1), changes };
    let changed = replica.apply(&step(vec![under])).unwrap();
    assert!(!changed.tables.contains_key("chat__messages"), "{changed:?}");
    let changes = vec![RowChange::Row(birth(9), message(9, 21, "nine"))];
    let new = Write::Changes { subscription: SubscriptionId(1), changes };
    assert_eq!(rooms(&replica.apply(&step(vec![new])).unwrap()), [(None, Some(21))]);
    let written = replica.pending().unwrap().last().unwrap().id;
    let back = rooms(&replica.cancel(written).unwrap().unwrap());
    assert_eq!(back, [(None, Some(10)), (None, Some(20)), (None, Some(12))]);
}

/// SQLite does not tell of a row that goes for REPLACE.
#[test]
fn where_rows_are_replaced_all_count() {
    let place = Place::new();
    let mut replica = place.with_messages();
    tell_rows(&mut replica);
    for sql in [
        "INSERT OR REPLACE INTO chat.messages (id, room) VALUES (1, 9)",
        "replace INTO chat.messages (id, room) VALUES (1, 10)",
        "UPDATE OR REPLACE chat.messages SET id = 1 WHERE id = 2",
    ] {
        let done = execute(&mut replica, sql, &[]).unwrap();
        assert_eq!(of_messages(&done.changed), &ChangedRows::All, "{sql}");
    }
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.execute("UPDATE chat.messages SET room = 5", &[]).unwrap();
    transaction.execute("REPLACE INTO chat.messages (id, room) VALUES (1, 11)", &[]).unwrap();
    transaction.execute("INSERT INTO chat.messages (id, room) VALUES (7, 7)", &[]).unwrap();
    let changed = transaction.commit().unwrap().changed;
    assert_eq!(of_messages(&changed), &ChangedRows::All);
    let next = execute(&mut replica, "UPDATE chat.messages SET room = 6 WHERE id = 7", &[]);
    assert_eq!(rooms(&next.unwrap().changed), [(Some(7), Some(6))]);
}

#[test]
fn of_many_rows_or_bytes_all_count() {
    let place = Place::new();
    let mut replica = place.with_messages();
    tell_rows(&mut replica);
    let rows = |count: u64| {
        let ids: Vec<u64> = (100..100 + count).collect();
        let rows = ids.iter().map(|id| message(id.cast_signed(), 1, "x")).collect();
        step(vec![batch(1, &ids, rows)])
    };
    assert_eq!(rooms(&replica.apply(&rows(256)).unwrap()).len(), 256);
    assert_eq!(of_messages(&replica.apply(&rows(257)).unwrap()), &ChangedRows::All);
    let sql = "UPDATE chat.messages SET body = printf('%.*c', 40000, 'x') WHERE id < 104";
    let done = execute(&mut replica, sql, &[]).unwrap();
    assert_eq!(rooms(&done.changed).len(), 6);
    let done = execute(&mut replica, "UPDATE chat.messages SET extra = body WHERE id < 104", &[]);
    assert_eq!(of_messages(&done.unwrap().changed), &ChangedRows::All);
}

/// They expire, their subscription ends, it is loaded anew: nothing says so but the rows.
#[test]
fn rows_that_go_by_themselves_are_told() {
    let place = Place::new();
    let mut replica = place.with_messages();
    tell_rows(&mut replica);
    let row: Row =
        [Value::text("ann").unwrap(), Value::Integer(7), Value::Integer(5)].into_iter().collect();
    let subscribed = step(vec![put(2, known(marks(), &[1, 2, 3]))]);
    assert!(replica.apply(&subscribed).unwrap().schema);
    let expiring = Write::Batch {
        subscription: SubscriptionId(2),
        births: vec![birth(8)],
        rows: vec![row],
        expiries: vec![50],
    };
    replica.apply(&step(vec![expiring])).unwrap();
    let (before, changed) = (shown(&replica), replica.expire(50).unwrap());
    assert!(matches!(&changed.tables["chat__marks"], ChangedRows::These(rows) if rows.len() == 1));
    check(&before, &shown(&replica), &changed).unwrap();
    let ended = step(vec![Write::RemoveSubscription(SubscriptionId(1))]);
    let changed = replica.apply(&ended).unwrap();
    assert_eq!(rooms(&changed), [(Some(7), None), (Some(8), None)]);
}

/// A subscription that knows fewer columns holds the row: what the others were is not known any more.
#[test]
fn of_a_column_that_is_not_known_nobody_can_say() {
    let place = Place::new();
    let mut replica = place.with_messages();
    tell_rows(&mut replica);
    let rows = vec![[Value::Integer(30), Value::text("x").unwrap()].into_iter().collect()];
    let writes = vec![put(2, known(messages(), &[1, 3])), batch(2, &[30], rows)];
    let changed = replica.apply(&step(writes)).unwrap();
    assert!(of_messages(&changed).may_meet(&room_is(7)), "it may be in any room");
    let done = execute(&mut replica, "UPDATE chat.messages SET body = 'y' WHERE id = 2", &[]);
    let changed = done.unwrap().changed;
    assert!(!of_messages(&changed).may_meet(&room_is(7)));
    assert!(of_messages(&changed).may_meet(&room_is(8)));
}

#[test]
fn a_transaction_that_is_undone_leaves_nothing_to_tell() {
    let place = Place::new();
    let mut replica = place.with_messages();
    tell_rows(&mut replica);
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.execute("UPDATE chat.messages SET room = 1", &[]).unwrap();
    drop(transaction);
    write(&mut replica, "UPDATE chat.messages SET room = 2 WHERE id = 1");
    let done = execute(&mut replica, "UPDATE chat.messages SET room = 3 WHERE id = 1", &[]);
    assert_eq!(rooms(&done.unwrap().changed), [(Some(2), Some(3))]);
}
