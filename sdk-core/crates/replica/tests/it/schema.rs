//! Tables as the server describes them: types, keys, indexes, and changes in place.

use protocol::frame::v1::RowChange;
use protocol::ids::{ColumnId, SchemaVersion, TableId};
use protocol::schema::{Column, ColumnDefault};
use protocol::value::{ColumnType, Row, Value};
use sdk_machine::{SubscriptionId, Write};

use crate::world::{
    Eyes, Place, batch, birth, column, execute, known, message, messages, put, query, rows, step,
};

#[test]
fn a_table_is_a_real_one_with_the_servers_indexes() {
    let place = Place::new();
    let replica = place.with_messages();
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'chat__messages'";
    assert_eq!(
        rows(&replica, sql),
        ["CREATE TABLE \"chat__messages\" (\"id\" INT NOT NULL, \"room\" INTEGER, \"body\" TEXT, \
          \"extra\" TEXT, \"_seq\" INTEGER, \"_set\" INTEGER NOT NULL DEFAULT -1, PRIMARY KEY \
          (\"id\")) STRICT"]
    );
    let plan =
        "EXPLAIN QUERY PLAN SELECT id FROM chat.messages WHERE room = 7 ORDER BY _seq DESC LIMIT 5";
    let plan = rows(&replica, plan).join("\n");
    assert!(plan.contains("tw_index_64_1") && !plan.contains("TEMP B-TREE"), "{plan}");
    drop(replica);
    let other = place.connect();
    let check: String = other.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn every_type_reads_back() {
    let place = Place::new();
    let mut replica = place.open();
    let mut table = messages();
    let types = [
        ColumnType::Boolean,
        ColumnType::Int,
        ColumnType::BigInt,
        ColumnType::Double,
        ColumnType::Text,
        ColumnType::Bytes,
        ColumnType::Json,
        ColumnType::Timestamp,
        ColumnType::Uuid,
    ];
    table.indexes.clear();
    table.columns.truncate(1);
    for (place, column_type) in (2..).zip(types) {
        table.columns.push(column(place, &format!("c{place}"), column_type));
    }
    let ids: Vec<u16> = (1..=10).collect();
    let text = |text: &str| Value::text(text).unwrap();
    let row: Row = [
        Value::Integer(i64::MIN),
        Value::Boolean(true),
        Value::Integer(-5),
        Value::Integer(i64::MAX),
        Value::double(0.1).unwrap(),
        text("ünï"),
        Value::Bytes(vec![0, 255]),
        text("{\"a\": 1}"),
        Value::Integer(1_769_860_800_000_000),
        Value::Uuid([0xab; 16]),
    ]
    .into_iter()
    .collect();
    replica.apply(&step(vec![put(1, known(table, &ids)), batch(1, &[1], vec![row])])).unwrap();
    let result = query(&replica, "SELECT * FROM chat.messages", &[]).unwrap();
    assert_eq!(
        *result.rows[0],
        [
            Value::Integer(i64::MIN),
            Value::Integer(1),
            Value::Integer(-5),
            Value::Integer(i64::MAX),
            Value::double(0.1).unwrap(),
            text("ünï"),
            Value::Bytes(vec![0, 255]),
            text("{\"a\": 1}"),
            Value::Integer(1_769_860_800_000_000),
            text("abababab-abab-abab-abab-abababababab"),
            Value::Integer(1),
        ]
    );
    assert_eq!(result.columns.last().map(String::as_str), Some("_seq"));
}

#[test]
fn a_table_changes_in_place() {
    let place = Place::new();
    let mut replica = place.with_messages();
    execute(&mut replica, "CREATE VIEW mine AS SELECT id, extra FROM chat.messages", &[]).unwrap();
    // `extra` is dropped, another `extra` of another type comes, and so does `likes`.
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns.pop();
    later.columns.push(column(5, "likes", ColumnType::BigInt));
    later.columns.push(column(6, "extra", ColumnType::BigInt));
    let changed = replica.apply(&step(vec![put(1, known(later.clone(), &[1, 2, 3, 5, 6]))]));
    assert!(changed.unwrap().schema);
    let row: Row = [1, 7]
        .map(Value::Integer)
        .into_iter()
        .chain([Value::text("one").unwrap(), Value::Integer(3), Value::Integer(4)])
        .collect();
    replica.apply(&step(vec![batch(1, &[5], vec![row])])).unwrap();
    assert_eq!(
        rows(&replica, "SELECT id, room, body, likes, extra FROM chat.messages"),
        ["1 7 one 3 4", "2 8 two NULL NULL"]
    );
    // An older description changes nothing.
    let changed = replica.apply(&step(vec![put(2, known(messages(), &[1, 2]))])).unwrap();
    assert!(!changed.schema);
    drop(replica);
    let mut replica = place.open();
    assert_eq!(replica.load().unwrap().subscriptions.len(), 2);
    assert_eq!(rows(&replica, "SELECT likes FROM chat.messages WHERE id = 1"), ["3"]);
}

/// SQLite prepares a statement by the schema that a connection has seen last.
#[test]
fn who_has_read_a_table_sees_its_columns_at_once() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut eyes = Eyes::of(&replica);
    let all = "SELECT * FROM chat.messages";
    let before = eyes.on(&mut replica).query(all, &[]).unwrap();
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns.push(column(5, "likes", ColumnType::BigInt));
    replica.apply(&step(vec![put(1, known(later, &[1, 2, 3, 4, 5]))])).unwrap();
    let now = eyes.on(&mut replica).query(all, &[]).unwrap();
    assert_ne!(before.columns, now.columns);
    assert_eq!(now, query(&replica, all, &[]).unwrap());
}

/// A subscription goes on: its rows are as of before the column, and hold what the server says of
/// such rows. What another one was told of the column stays.
#[test]
fn rows_that_are_here_hold_the_default_of_a_new_column() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut later = messages();
    later.version = SchemaVersion(2);
    for (id, default) in [
        (5, Some(ColumnDefault::Value(Value::Integer(7)))),
        (6, Some(ColumnDefault::Now)),
        (7, None),
    ] {
        let of_type = if id == 6 { ColumnType::Timestamp } else { ColumnType::BigInt };
        later.columns.push(Column { default, ..column(id, &format!("c{id}"), of_type) });
    }
    // Another one has the first row already, as it is by now.
    let row: Row = [Value::Integer(1), Value::Integer(9)].into_iter().collect();
    let other = vec![put(2, known(later.clone(), &[1, 5])), batch(2, &[5], vec![row])];
    replica.apply(&step(other)).unwrap();
    let shown = "SELECT id, c5, c6, c7 FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, shown), ["1 9 NULL NULL", "2 NULL NULL NULL"]);
    // A write waits for the second.
    let update = "UPDATE chat.messages SET body = 'mine', c5 = 1 WHERE id = 2";
    execute(&mut replica, update, &[]).unwrap();
    let all = known(later.clone(), &[1, 2, 3, 4, 5, 6, 7]);
    let changed = replica.apply(&step(vec![put(1, all.clone())])).unwrap();
    assert!(!changed.schema && !changed.tables.is_empty());
    assert_eq!(rows(&replica, shown), ["1 9 NULL NULL", "2 1 NULL NULL"]);
    // Told again, it changes nothing, and neither does a projection.
    replica.apply(&step(vec![put(1, all)])).unwrap();
    replica.apply(&step(vec![put(2, known(later, &[1, 5]))])).unwrap();
    assert_eq!(rows(&replica, shown), ["1 9 NULL NULL", "2 1 NULL NULL"]);
    drop(replica);
    let file = place.connect();
    let base: i64 = file.query_row("SELECT c5 FROM tw_base_64", [], |row| row.get(0)).unwrap();
    assert_eq!(base, 7, "the server's image has it beneath the write");
}

/// What a client sees at once may have taken the server several changes, or the other way round.
#[test]
fn columns_change_their_names_and_come_again() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut table = messages();
    // 3 and 4 have changed names with each other.
    (table.columns[2], table.columns[3]) =
        (column(3, "extra", ColumnType::Text), column(4, "body", ColumnType::Text));
    table.version = SchemaVersion(2);
    replica.apply(&step(vec![put(1, known(table.clone(), &[1, 2, 3, 4]))])).unwrap();
    let all = "SELECT id, room, body, extra FROM chat.messages";
    assert_eq!(rows(&replica, all), ["1 7 NULL one", "2 8 NULL two"]);
    // One goes, and in a later version one of another type comes under its name.
    table.columns.pop();
    table.version = SchemaVersion(3);
    replica.apply(&step(vec![put(1, known(table.clone(), &[1, 2, 3]))])).unwrap();
    table.columns.push(column(5, "body", ColumnType::BigInt));
    table.version = SchemaVersion(4);
    replica.apply(&step(vec![put(1, known(table.clone(), &[1, 2, 3, 5]))])).unwrap();
    let row: Row = [Value::Integer(1), Value::Integer(7), Value::Null, Value::Integer(5)]
        .into_iter()
        .collect();
    replica.apply(&step(vec![batch(1, &[5], vec![row])])).unwrap();
    assert_eq!(rows(&replica, all), ["1 7 5 NULL", "2 8 NULL two"]);
}

#[test]
fn a_table_made_anew_is_another_one() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut anew = messages();
    anew.id = TableId(99);
    anew.columns.pop();
    let writes = vec![
        Write::RemoveSubscription(SubscriptionId(1)),
        put(2, known(anew, &[1, 2, 3])),
        Write::Changes {
            subscription: SubscriptionId(2),
            changes: vec![RowChange::Row(birth(1), Row(message(1, 9, "new").0[..3].to_vec()))],
        },
    ];
    replica.apply(&step(writes)).unwrap();
    assert_eq!(rows(&replica, "SELECT * FROM chat.messages"), ["1 9 new 1"]);
    let beside = "SELECT name FROM sqlite_schema WHERE name LIKE 'tw\\_capture%' OR name LIKE \
                  'tw\\_base\\__%' OR name LIKE 'tw\\_log\\__%' ORDER BY name";
    assert_eq!(
        rows(&replica, beside),
        [
            "tw_base_99",
            "tw_capture_delete_99",
            "tw_capture_insert_99",
            "tw_capture_update_99",
            "tw_log_99",
            "tw_log_direct"
        ]
    );
    let _ = ColumnId(1);
}
