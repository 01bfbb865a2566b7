//! What applications make for themselves (M2), and what they may not touch.

use protocol::frame::v1::RowChange;
use protocol::ids::{Name, SchemaVersion, TableId};
use protocol::value::{Row, Value};
use sdk_machine::{SubscriptionId, Write};
use sdk_replica::ReplicaError;

use crate::world::{
    Place, all_columns, batch, birth, execute, known, message, messages, put, rows, step, write,
    writer,
};

#[test]
fn local_tables_join_with_replicated_ones_and_stay() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let made =
        execute(&mut replica, "CREATE TABLE drafts (room INTEGER PRIMARY KEY, body TEXT)", &[]);
    assert!(made.unwrap().changed.schema);
    let values = [Value::Integer(7), Value::text("later").unwrap()];
    let written = execute(&mut replica, "INSERT INTO drafts VALUES ($1, $2)", &values).unwrap();
    assert_eq!(written.rows_affected, 1);
    assert_eq!(written.changed.tables.into_keys().collect::<Vec<_>>(), ["drafts"]);
    execute(&mut replica, "CREATE INDEX by_body ON chat.messages (body)", &[]).unwrap();
    execute(
        &mut replica,
        "CREATE VIEW both AS SELECT m.id, d.body FROM chat.messages m JOIN drafts d USING (room)",
        &[],
    )
    .unwrap();
    assert_eq!(rows(&replica, "SELECT * FROM both"), ["1 later"]);
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    drop(replica);
    let replica = place.open();
    assert_eq!(rows(&replica, "SELECT body FROM drafts"), ["later"]);
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["0"]);
}

/// M7: the room of a message is in no subscription, and later goes from one. Neither that nor what the
/// application declares keeps a message out, or takes it away.
#[test]
fn a_child_without_its_parent_is_shown_and_blocks_nothing() {
    let place = Place::new();
    let mut replica = place.open();
    let mut rooms = messages();
    (rooms.id, rooms.name) = (TableId(70), "chat.rooms".parse().unwrap());
    let room = vec![batch(2, &[3], vec![message(7, 0, "seven")])];
    let writes = vec![put(1, all_columns(messages())), put(2, all_columns(rooms))];
    replica.apply(&step(writes.into_iter().chain(room).collect())).unwrap();
    let sql = "CREATE TABLE stars (message INT REFERENCES chat__messages (id) ON DELETE CASCADE)";
    execute(&mut replica, sql, &[]).unwrap();
    let of_rooms = vec![message(1, 7, "here"), message(2, 8, "of another room")];
    replica.apply(&step(vec![batch(1, &[5, 6], of_rooms)])).unwrap();
    let joined = "SELECT m.id, r.body FROM chat.messages m LEFT JOIN chat.rooms r ON r.id = m.room
                  ORDER BY m.id";
    assert_eq!(rows(&replica, joined), ["1 seven", "2 NULL"]);
    // The device writes one of its own, and one that it only knows of.
    write(&mut replica, "INSERT INTO chat.messages (id, room, body) VALUES (3, 9, 'mine')")
        .unwrap();
    execute(&mut replica, "INSERT INTO stars VALUES (2), (40)", &[]).unwrap();
    let key = |id| Row(vec![Value::Integer(id)]);
    let gone = |id, of: u32, born| Write::Changes {
        subscription: SubscriptionId(of),
        changes: vec![RowChange::Deleted(birth(born), key(id))],
    };
    replica.apply(&step(vec![gone(7, 2, 3), gone(2, 1, 6)])).unwrap();
    assert_eq!(rows(&replica, joined), ["1 NULL", "3 NULL"]);
    assert_eq!(rows(&replica, "SELECT message FROM stars"), ["2", "40"]);
}

#[test]
fn all_rows_of_a_local_table_can_go_and_it_is_told() {
    let place = Place::new();
    let mut replica = place.open();
    execute(&mut replica, "CREATE TABLE notes (a)", &[]).unwrap();
    execute(&mut replica, "INSERT INTO notes VALUES (1), (2)", &[]).unwrap();
    let gone = execute(&mut replica, "DELETE FROM notes", &[]).unwrap();
    assert_eq!(gone.rows_affected, 2);
    assert!(gone.changed.tables.contains_key("notes"));
}

#[test]
fn what_is_replicated_or_the_sdks_is_not_written() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for allowed in ["CREATE TABLE own (a)", "CREATE TABLE __own (a)", "PRAGMA table_info(own)"] {
        let done = execute(&mut replica, allowed, &[]);
        done.unwrap_or_else(|error| panic!("{allowed}: {error}"));
    }
    for sql in [
        "UPDATE chat.messages SET _seq = 1",
        "INSERT INTO chat.messages (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET _set = 5",
        "DROP TABLE chat.messages",
        "ALTER TABLE chat.messages ADD COLUMN x",
        "DROP INDEX tw_index_64_1",
        "DROP TRIGGER tw_capture_insert_64",
        "DROP TABLE tw_log_64",
        "DROP VIEW tw_pending",
        "INSERT INTO tw_log_64 (_how) VALUES (0)",
        "SELECT * FROM tw_base_64",
        "SELECT * FROM tw_outbox",
        "CREATE TABLE tw_mine (a)",
        "DELETE FROM tw_subscriptions",
        "SELECT * FROM tw_lanes",
        "BEGIN",
        "SAVEPOINT a",
        "ATTACH ':memory:' AS x",
        "PRAGMA foreign_keys = ON",
        "PRAGMA USER_VERSION = 2",
        "PRAGMA user_version(0)",
        "CREATE UNIQUE INDEX one_lane ON tw_lanes (cut)",
        "CREATE TRIGGER lanes AFTER UPDATE ON tw_lanes BEGIN SELECT 1; END",
        "CREATE TABLE Chat__rooms (id)",
        "CREATE TABLE chat___rooms (id)",
        "CREATE VIEW chat__rooms AS SELECT 1",
        "ALTER TABLE own RENAME TO chat__rooms",
        "CREATE TRIGGER t BEFORE INSERT ON chat.messages BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TRIGGER t AFTER UPDATE ON chat.messages BEGIN SELECT raise ( /**/ IGNORE); END",
        "ALTER TABLE own RENAME TO tw_base_70",
        "ALTER TABLE own RENAME TO tw_log_70",
        "WITH tw_pending AS (SELECT * FROM tw_outbox) SELECT * FROM tw_pending",
        "WITH tw_capture_x AS (SELECT * FROM tw_lanes) SELECT * FROM tw_capture_x",
        "WITH 'tw_x' AS (SELECT * FROM tw_lanes) SELECT * FROM tw_x",
        "CREATE TRIGGER t /* AFTER */ DELETE ON chat.messages BEGIN SELECT RAISE(IGNORE); END",
    ] {
        let refused = execute(&mut replica, sql, &[]).unwrap_err();
        assert!(matches!(refused, ReplicaError::Refused(_)), "{sql}: {refused:?}");
    }
    execute(&mut replica, "VACUUM", &[]).unwrap_err();
    execute(&mut replica, "DELETE FROM tw_pending", &[]).unwrap_err();
    for sql in [
        "INSERT INTO chat.messages (id, _seq) VALUES (9, 1)",
        "INSERT INTO chat.messages (id, _set) VALUES (9, 1)",
        "REPLACE INTO chat.messages (id, _seq) VALUES (1, 1)",
    ] {
        let told = execute(&mut replica, sql, &[]).unwrap_err().to_string();
        assert!(told.contains("begin with _"), "{sql}: {told}");
    }
    // Nor through a trigger of the application.
    execute(&mut replica, "CREATE TABLE notes (a)", &[]).unwrap();
    let sql = "CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM chat__messages; END";
    execute(&mut replica, sql, &[]).unwrap();
    execute(&mut replica, "INSERT INTO notes VALUES (1)", &[]).unwrap_err();
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["2"]);
    assert_eq!(rows(&replica, "SELECT count(*) FROM notes"), ["0"]);
}

#[test]
fn what_is_refused_is_undone_where_a_transaction_goes_on() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut transaction = replica.begin(writer()).unwrap();
    for sql in [
        "CREATE TRIGGER t BEFORE INSERT ON chat.messages BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TABLE chat__rooms (id)",
    ] {
        assert!(matches!(transaction.execute(sql, &[]), Err(ReplicaError::Refused(_))), "{sql}");
    }
    transaction.commit().unwrap();
    execute(&mut replica, "CREATE TABLE another (a)", &[]).unwrap();
}

#[test]
fn what_is_in_the_way_of_the_servers_rows_goes() {
    let place = Place::new();
    for object in [
        "CREATE UNIQUE INDEX mine ON chat.messages (room)",
        "CREATE TRIGGER mine AFTER INSERT ON chat.messages BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TRIGGER mine AFTER INSERT ON chat.messages BEGIN DELETE FROM chat__messages; END",
        "CREATE INDEX mine ON chat.messages (json_extract(body, '$.a'))",
    ] {
        let place_of_object = Place::new();
        let mut replica = match object.contains("json") {
            true => place_of_object.open(),
            false => place_of_object.with_messages(),
        };
        if object.contains("json") {
            replica
                .apply(&step(vec![crate::world::put(
                    1,
                    crate::world::known(crate::world::messages(), &[1, 2, 3, 4]),
                )]))
                .unwrap();
        }
        execute(&mut replica, object, &[]).unwrap_or_else(|error| panic!("{object}: {error}"));
        let rows_of = vec![message(3, 7, "three"), message(4, 7, "four")];
        let changed = replica.apply(&step(vec![batch(1, &[7, 8], rows_of)])).unwrap();
        assert_eq!(changed.dropped, ["mine"], "{object}");
        assert!(changed.schema);
        assert!(
            rows(&replica, "SELECT id FROM chat.messages").ends_with(&["3".into(), "4".into()])
        );
    }
    drop(place);
}

/// It was filled with nothing, and SQLite takes it for damaged.
#[test]
fn a_full_text_index_that_was_never_built_is_in_the_way() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for sql in [
        "CREATE VIRTUAL TABLE words USING fts5(body, content='chat__messages', content_rowid='rowid')",
        "CREATE TRIGGER words_u AFTER UPDATE ON chat.messages BEGIN
           INSERT INTO words(words, rowid, body) VALUES ('delete', old.rowid, old.body); END",
    ] {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let changes = vec![batch(1, &[5], vec![message(1, 7, "uno")])];
    let changed = replica.apply(&step(changes)).unwrap();
    assert_eq!(changed.dropped, ["words_u"]);
    assert_eq!(rows(&replica, "SELECT body FROM chat.messages WHERE id = 1"), ["uno"]);
}

/// What was not the reason stays.
#[test]
fn a_step_that_cannot_be_done_at_all_takes_nothing_of_the_application() {
    let place = Place::new();
    let mut replica = place.with_messages();
    execute(&mut replica, "CREATE INDEX mine ON chat.messages (body)", &[]).unwrap();
    let unknown = batch(9, &[7], vec![message(3, 7, "three")]);
    assert!(matches!(replica.apply(&step(vec![unknown])), Err(ReplicaError::Inconsistent(_))));
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'";
    assert_eq!(rows(&replica, sql), ["1"]);
}

/// SQLite says nothing of a table without row ids.
#[test]
fn what_a_trigger_writes_is_told() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for sql in [
        "CREATE TABLE unread (room INTEGER PRIMARY KEY, n INTEGER) WITHOUT ROWID",
        "CREATE TRIGGER counts AFTER INSERT ON chat.messages BEGIN
           INSERT INTO unread VALUES (new.room, 1) ON CONFLICT DO UPDATE SET n = n + 1; END",
    ] {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for (id, expected) in [(3, "7 1"), (4, "7 2")] {
        let more = batch(1, &[id], vec![message(i64::try_from(id).unwrap() + 10, 7, "x")]);
        let changed = replica.apply(&step(vec![more])).unwrap();
        assert!(changed.tables.contains_key("unread"), "{changed:?}");
        assert_eq!(rows(&replica, "SELECT * FROM unread"), [expected]);
    }
}

/// A view keeps no row out. But SQLite reads all views when a column gets another name, and fails at one
/// that it cannot read.
#[test]
fn a_view_that_cannot_be_read_is_in_the_way_of_another_name() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for sql in [
        "CREATE VIEW in_seven AS SELECT id, body FROM chat.messages WHERE room = 7",
        "CREATE INDEX by_body ON chat.messages (body)",
    ] {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let mut table = messages();
    table.columns[2].name = Name::new("content").unwrap();
    table.version = SchemaVersion(2);
    let changed = replica.apply(&step(vec![put(1, known(table.clone(), &[1, 2, 3, 4]))])).unwrap();
    assert_eq!(changed.dropped, Vec::<String>::new());
    assert_eq!(rows(&replica, "SELECT * FROM in_seven"), ["1 one"], "it follows");
    for sql in ["CREATE TABLE own (a)", "CREATE VIEW of_own AS SELECT a FROM own", "DROP TABLE own"]
    {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    table.columns[2].name = Name::new("text").unwrap();
    table.version = SchemaVersion(3);
    let mut changed = replica.apply(&step(vec![put(1, known(table, &[1, 2, 3, 4]))])).unwrap();
    changed.dropped.sort();
    assert_eq!(changed.dropped, ["by_body", "in_seven", "of_own"]);
    assert_eq!(rows(&replica, "SELECT text FROM chat.messages"), ["one", "two"]);
}

/// The server has dropped a table and made another one of its name.
#[test]
fn what_was_made_on_a_table_goes_with_it_and_is_told() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for sql in [
        "CREATE TABLE counts (n)",
        "CREATE INDEX by_body ON chat.messages (body)",
        "CREATE TRIGGER counted AFTER INSERT ON chat.messages BEGIN INSERT INTO counts VALUES (1); END",
    ] {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let mut anew = messages();
    anew.id = TableId(99);
    let writes = vec![
        Write::RemoveSubscription(SubscriptionId(1)),
        put(2, known(anew, &[1, 2, 3, 4])),
        batch(2, &[7], vec![message(3, 7, "three")]),
    ];
    let changed = replica.apply(&step(writes)).unwrap();
    assert_eq!(changed.dropped, ["by_body", "counted"]);
    assert_eq!(rows(&replica, "SELECT id FROM chat.messages"), ["3"]);
    let again = replica.apply(&step(vec![batch(2, &[8], vec![message(4, 7, "four")])])).unwrap();
    assert_eq!(again.dropped, Vec::<String>::new(), "it is told once");
    assert_eq!(rows(&replica, "SELECT count(*) FROM counts"), ["0"]);
}

#[test]
fn only_a_statement_that_writes_rows_counts_some() {
    let place = Place::new();
    let mut replica = place.open();
    execute(&mut replica, "CREATE TABLE notes (a)", &[]).unwrap();
    for (sql, expected) in [
        ("INSERT INTO notes VALUES (1), (2), (3)", 3),
        ("CREATE TABLE other (a)", 0),
        ("SELECT * FROM notes", 0),
        ("UPDATE notes SET a = 1 WHERE a = 9", 0),
        ("DELETE FROM notes WHERE a > 1", 2),
        ("DROP TABLE notes", 0),
    ] {
        assert_eq!(execute(&mut replica, sql, &[]).unwrap().rows_affected, expected, "{sql}");
    }
}

#[test]
fn a_full_text_index_follows_the_servers_rows() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for sql in [
        "CREATE VIRTUAL TABLE words USING fts5(body, content='chat__messages', content_rowid='rowid')",
        "INSERT INTO words(words) VALUES ('rebuild')",
        "CREATE TRIGGER words_i AFTER INSERT ON chat.messages BEGIN
           INSERT INTO words(rowid, body) VALUES (new.rowid, new.body); END",
        "CREATE TRIGGER words_d AFTER DELETE ON chat.messages BEGIN
           INSERT INTO words(words, rowid, body) VALUES ('delete', old.rowid, old.body); END",
        "CREATE TRIGGER words_u AFTER UPDATE ON chat.messages BEGIN
           INSERT INTO words(words, rowid, body) VALUES ('delete', old.rowid, old.body);
           INSERT INTO words(rowid, body) VALUES (new.rowid, new.body); END",
    ] {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let changes = vec![batch(1, &[5, 7], vec![message(1, 7, "uno"), message(3, 7, "tres")])];
    let changed = replica.apply(&step(changes)).unwrap();
    assert_eq!(changed.dropped, Vec::<String>::new());
    assert!(changed.tables.contains_key("words"), "{changed:?}");
    let found = |word: &str| {
        let sql = format!(
            "SELECT m.id FROM words JOIN chat.messages m ON m.rowid = words.rowid WHERE words MATCH '{word}'"
        );
        rows(&replica, &sql)
    };
    assert_eq!(found("uno"), ["1"]);
    assert_eq!(found("one"), Vec::<String>::new());
    assert_eq!(found("tres"), ["3"]);
}
