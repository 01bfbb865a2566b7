//! Writing on the device: what is refused at once, what is filled in, what waits, what is shown
//! meanwhile.

use protocol::frame::v1::RowChange;
use protocol::ids::{SchemaVersion, TableId};
use protocol::limits::{COMMIT_BYTES_MAX, OPERATIONS_MAX};
use protocol::mutation::{Action, ColumnValue};
use protocol::schema::{AccessLevel, ColumnDefault, Sharing, TableKind};
use protocol::value::{ColumnType, Value};
use sdk_machine::{SubscriptionId, Write};
use sdk_replica::{Change, Replica, ReplicaError, ResultRow};

use crate::capture::told;
use crate::world::{
    Eyes, Place, all_columns, batch, birth, counters, execute, message, messages, posts, put,
    query, rows, step, write, writer,
};

fn text(text: &str) -> Value {
    Value::text(text).unwrap()
}

fn with_posts(place: &Place) -> Replica {
    let mut replica = place.with_messages();
    let writes = vec![put(2, all_columns(posts())), put(3, all_columns(counters()))];
    replica.apply(&step(writes)).unwrap();
    replica
}

fn waiting(replica: &Replica) -> Vec<Vec<String>> {
    let pending = replica.pending().unwrap();
    pending.iter().map(|one| told(&replica.mutation(one.id).unwrap().unwrap())).collect()
}

/// The server's word on messages, of subscription 1.
fn says(replica: &mut Replica, change: RowChange) {
    let changes = vec![change];
    let write = Write::Changes { subscription: SubscriptionId(1), changes };
    replica.apply(&step(vec![write])).unwrap();
}

#[test]
fn what_breaks_a_rule_is_refused_at_once_with_table_column_and_reason() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    for (set, expected) in [
        ("body = NULL", "forum.posts, column body: it is NOT NULL"),
        ("body = 5, is_open = 2", "forum.posts, column is_open: a BOOLEAN is 0 or 1"),
        ("size = 3000000000", "forum.posts, column size: 3000000000"),
        ("content = '{'", "forum.posts, column content: "),
        ("weight = 9e999", "forum.posts, column weight: "),
        ("body = 'a' || char(0)", "forum.posts, column body: "),
        ("at = 9000000000000000000", "forum.posts, column at: "),
        ("id = 'not one'", "forum.posts, column id: a UUID"),
        ("id = upper(id)", "forum.posts, column id: a UUID"),
        ("id = NULL", "NOT NULL constraint failed: forum.posts.id"),
        ("size = 'five'", "cannot store TEXT value in INTEGER column forum.posts.size"),
        ("file = 'text'", "cannot store TEXT value in BLOB column forum.posts.file"),
    ] {
        let mut transaction = replica.begin(writer()).unwrap();
        transaction.execute("INSERT INTO forum.posts (body) VALUES ('x')", &[]).unwrap();
        let update = format!("UPDATE forum.posts SET {set}");
        let refused = match transaction.execute(&update, &[]) {
            Ok(_) => transaction.commit().unwrap_err(),
            Err(error) => {
                drop(transaction);
                error
            }
        };
        assert!(matches!(refused, ReplicaError::Constraint(_)), "{set}: {refused:?}");
        assert!(refused.to_string().starts_with(expected), "{set}: {refused}");
    }
    let twice = "INSERT INTO chat.messages (id) VALUES (1)";
    let refused = execute(&mut replica, twice, &[]).unwrap_err();
    assert_eq!(refused.code().as_str(), "constraint");
    assert!(refused.to_string().contains("chat.messages.id"), "{refused}");
    assert_eq!(rows(&replica, "SELECT count(*) FROM forum.posts"), ["0"]);
    assert!(replica.pending().unwrap().is_empty());
}

#[test]
fn who_may_not_write_and_what_does_not_go_together_is_told_before_it_is_done() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    let mut read_only = posts();
    (read_only.id, read_only.name) = (TableId(70), "forum.rules".parse().unwrap());
    read_only.kind = TableKind::Shared(Sharing { access: AccessLevel::Read, owner_column: None });
    replica.apply(&step(vec![put(4, all_columns(read_only))])).unwrap();

    let sql = "INSERT INTO forum.rules (body) VALUES ('x')";
    let refused = execute(&mut replica, sql, &[]).unwrap_err();
    assert!(
        refused.to_string().starts_with("forum.rules is not written by this user"),
        "{refused}"
    );
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.execute("DELETE FROM chat.messages WHERE id = 1", &[]).unwrap();
    let other = transaction.execute("INSERT INTO forum.posts (body) VALUES ('x')", &[]);
    let refused = other.unwrap_err().to_string();
    assert!(
        refused.starts_with("chat.messages and forum.posts are not written together"),
        "{refused}"
    );
    transaction.update("forum.posts", &[("id", text("x"))], &[]).unwrap_err();
    // What could be done stays.
    transaction.commit().unwrap();
    assert_eq!(waiting(&replica), [["delete 1"]]);
    // What was taken back joins with anything.
    let mut transaction = replica.begin(writer()).unwrap();
    for sql in [
        "SAVEPOINT a",
        "UPDATE chat.messages SET room = 1",
        "ROLLBACK TO a",
        "INSERT INTO forum.posts (body) VALUES ('x')",
    ] {
        transaction.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    drop(transaction);
    let sql = "INSERT INTO forum.posts (body, size) VALUES ('x', SNOWFLAKE_ID())";
    let refused = execute(&mut replica, sql, &[]).unwrap_err().to_string();
    assert!(refused.contains("UUID_V7"), "{refused}");
    let sql = "WITH tw_capture_x(i) AS (SELECT SNOWFLAKE_ID())
               INSERT INTO forum.posts (body, size) SELECT 'x', i FROM tw_capture_x";
    let refused = execute(&mut replica, sql, &[]).unwrap_err().to_string();
    assert!(refused.contains("UUID_V7"), "{refused}");
    assert_eq!(rows(&replica, "SELECT count(*) FROM forum.posts"), ["0"]);
}

/// Two devices may draw the same id, so a default that draws one is for tables of one user.
#[test]
fn a_snowflake_by_default_is_only_for_tables_of_the_user() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    for (id, kind) in [(70, posts().kind), (71, TableKind::User)] {
        let mut table = posts();
        table.id = TableId(id);
        table.name = format!("forum.t{id}").parse().unwrap();
        table.kind = kind;
        table.columns[0].column_type = ColumnType::BigInt;
        table.columns[0].default = Some(ColumnDefault::SnowflakeId);
        replica.apply(&step(vec![put(id, all_columns(table))])).unwrap();
    }
    let by_default = "INSERT INTO forum.t70 (body) VALUES ('x')";
    let refused = execute(&mut replica, by_default, &[]).unwrap_err();
    assert!(refused.to_string().contains("only for tables of its user"), "{refused}");
    let mut transaction = replica.begin(writer()).unwrap();
    let refused = transaction.insert("forum.t70", &[("body", text("x"))]).unwrap_err();
    assert!(refused.to_string().contains("UUID_V7"), "{refused}");
    transaction.commit().unwrap();
    assert!(replica.pending().unwrap().is_empty());
    // One that the application gives is one, and so is a default of the user's own.
    write(&mut replica, "INSERT INTO forum.t70 (id, body) VALUES (5, 'x')").unwrap();
    write(&mut replica, "INSERT INTO forum.t71 (body) VALUES ('x'), ('y')").unwrap();
    assert_eq!(rows(&replica, "SELECT count(*) FROM forum.t71 WHERE id > 1000000"), ["2"]);
}

#[test]
fn what_is_too_large_is_refused_and_a_thousand_rows_are_not() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    let many = |count: usize| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < {})
             INSERT INTO chat.messages (id, body) SELECT i, 'x' FROM n",
            count + 9
        )
    };
    write(&mut replica, &many(1_000)).unwrap();
    write(&mut replica, "DELETE FROM chat.messages").unwrap();
    for (sql, limit) in [
        (many(OPERATIONS_MAX + 1), OPERATIONS_MAX),
        (
            format!("INSERT INTO chat.messages (id, body) VALUES (9, '{}')", "x".repeat(600_000)),
            524_288,
        ),
        (
            format!(
                "INSERT INTO chat.messages (id, body) VALUES (9, '{0}'), (10, '{0}'), (11, '{0}')",
                "x".repeat(400_000)
            ),
            COMMIT_BYTES_MAX,
        ),
    ] {
        let refused = execute(&mut replica, &sql, &[]).unwrap_err();
        assert_eq!(refused.code().as_str(), "too_large");
        assert!(refused.to_string().contains(&limit.to_string()), "{refused}");
    }
    assert_eq!(replica.pending().unwrap().len(), 2);
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["0"]);
}

#[test]
fn defaults_are_filled_in_on_the_device() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    write(&mut replica, "INSERT INTO forum.posts (body) VALUES ('a'), ('b')").unwrap();
    let shown = "SELECT author, body, at, kind, size FROM forum.posts ORDER BY body";
    let at = writer().now;
    assert_eq!(
        rows(&replica, shown),
        [format!("alice a {at} plain NULL"), format!("alice b {at} plain NULL")]
    );
    let mutation = replica.mutation(replica.pending().unwrap()[0].id).unwrap().unwrap();
    let Action::Insert(values) = &mutation.operations[0].action else { panic!("{mutation:?}") };
    assert!(matches!(values[0], ColumnValue(_, Value::Uuid(uuid)) if uuid[6] >> 4 == 7));
    let named: Vec<u16> = values.iter().map(|ColumnValue(id, _)| id.0).collect();
    assert_eq!(named, [1, 2, 3, 4, 5], "what has no default and no value is not sent");
    // NULL where there is a default is meant.
    write(&mut replica, "INSERT INTO forum.posts (body, kind) VALUES ('c', NULL)").unwrap();
    assert!(waiting(&replica)[1][0].ends_with("5=NULL"), "{:?}", waiting(&replica));
    // An upsert leaves the others as they are on the server.
    let sql = "INSERT INTO forum.posts (id, author, body) VALUES
                 ('018f0000-0000-7000-8000-000000000000', 'alice', 'd')
               ON CONFLICT (id) DO UPDATE SET body = excluded.body";
    write(&mut replica, sql).unwrap();
    let upsert = &waiting(&replica)[2][0];
    assert!(upsert.starts_with("upsert") && upsert.ends_with("2=alice 3=d"), "{upsert}");
    let sql = "SELECT NOW() = at, CURRENT_USER() = author, length(UUID_V7()) FROM forum.posts";
    let mut transaction = replica.begin(writer()).unwrap();
    let read = transaction.query(sql, &[]).unwrap();
    let yes = Value::Integer(1);
    assert_eq!(*read.rows[0], [yes.clone(), yes, Value::Integer(36)]);
    drop(transaction);
    write(&mut replica, "INSERT INTO chat.messages (id) VALUES (SNOWFLAKE_ID()), (SNOWFLAKE_ID())");
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages WHERE id > 1000000"), ["2"]);
}

/// The other columns of a row that is there stay as they are, and what is added up is added to.
#[test]
fn an_upsert_says_what_it_names() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    let upsert = |columns: &str, values: &str| {
        format!(
            "INSERT INTO forum.posts ({columns}) VALUES ({values})
             ON CONFLICT (id) DO UPDATE SET body = excluded.body"
        )
    };
    let id = |last: u8| format!("'018f0000-0000-7000-8000-00000000000{last}'");
    let mut transaction = replica.begin(writer()).unwrap();
    for sql in [
        upsert("id, author, body", &format!("{}, 'alice', 'a'", id(1))),
        upsert("id, author, body, kind", &format!("{}, 'alice', 'b', 'plain'", id(2))),
        upsert("id, author, body, size", &format!("{}, 'alice', 'c', NULL", id(3))),
        upsert("id, author, body", &format!("{}, 'alice', 'd'", id(4))),
        format!("UPDATE forum.posts SET kind = 'other' WHERE id = {}", id(4)),
    ] {
        transaction.execute(&sql, &[]).unwrap();
    }
    transaction.commit().unwrap();
    let told = waiting(&replica).remove(0);
    let ends = ["2=alice 3=a", "3=b 5=plain", "3=c 9=NULL", "3=d 5=other"];
    assert!(told.iter().zip(ends).all(|(told, end)| told.ends_with(end)), "{told:?}");
    let sql = "INSERT INTO chat.counters (id, likes, name) VALUES (9, 1, 'a')
               ON CONFLICT (id) DO UPDATE SET likes = likes + 1";
    write(&mut replica, sql).unwrap();
    assert_eq!(waiting(&replica)[1], ["upsert 1=9 4=a", "patch 9: 2+=1"]);
    let row = [Value::Integer(9), Value::Integer(10), Value::Null, text("theirs")];
    replica.apply(&step(vec![batch(3, &[5], vec![row.into_iter().collect()])])).unwrap();
    assert_eq!(rows(&replica, "SELECT likes, name FROM chat.counters"), ["11 a"]);
}

/// Also what was said of the row later in the transaction, be it NULL.
#[test]
fn an_upsert_says_what_was_said_later() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    let mut transaction = replica.begin(writer()).unwrap();
    for sql in [
        "REPLACE INTO chat.messages (id, body) VALUES (11, 'a')",
        "UPDATE chat.messages SET room = NULL WHERE id = 11",
        "REPLACE INTO chat.messages (id, body) VALUES (12, 'a')",
        "REPLACE INTO chat.messages (id, extra) VALUES (12, NULL)",
        "INSERT INTO chat.messages (id) VALUES (13)",
        "DELETE FROM chat.messages WHERE id = 13",
        "; \u{feff} REPLACE INTO 'chat__messages' ('id') VALUES (13)",
        "REPLACE INTO main.chat__messages (id, body) VALUES (14, 'a')",
    ] {
        transaction.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    transaction.commit().unwrap();
    let expected = ["1=11 2=NULL 3=a", "1=12 3=NULL 4=NULL", "1=13", "1=14 3=a"];
    assert_eq!(waiting(&replica)[0], expected.map(|row| format!("upsert {row}")));
    let mut sums = counters();
    sums.version = SchemaVersion(2);
    sums.columns[1].default = Some(ColumnDefault::Value(Value::Integer(0)));
    replica.apply(&step(vec![put(3, all_columns(sums))])).unwrap();
    for (sql, expected) in [
        ("REPLACE INTO chat.counters (id, likes) VALUES (1, NULL)", "upsert 1=1 2=NULL"),
        ("REPLACE INTO chat.counters (id, name) VALUES (2, 'a')", "upsert 1=2 4=a"),
    ] {
        let id = write(&mut replica, sql).unwrap();
        assert_eq!(told(&replica.mutation(id).unwrap().unwrap()), [expected], "{sql}");
    }
}

/// A name of the server's is good wherever one is.
#[test]
fn columns_may_be_called_by_their_tables() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    for sql in [
        "UPDATE chat.messages SET room = messages.room + 1 WHERE messages.id = 1",
        "UPDATE chat.messages SET room = chat.messages.room + 1 WHERE chat.messages.id = 1",
        "UPDATE chat.messages SET room = room + 1 WHERE chat.messages.id = 1 RETURNING id",
        "UPDATE OR IGNORE chat.messages AS m SET room = m.room + 1 WHERE m.id = 1",
        "INSERT INTO chat.messages (id, room) VALUES (1, 5)
         ON CONFLICT (id) DO UPDATE SET room = messages.room + excluded.room",
        "DELETE FROM chat.messages WHERE messages.id = 2",
    ] {
        execute(&mut replica, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(rows(&replica, "SELECT id, room FROM chat.messages"), ["1 16"]);
}

/// A row that a write waits for is there all the time, for triggers of the application, too.
#[test]
fn a_row_that_a_write_holds_does_not_go_and_come_again() {
    let place = Place::new();
    let mut replica = place.with_messages();
    execute(&mut replica, "CREATE TABLE gone (id INTEGER)", &[]).unwrap();
    let sql = "CREATE TRIGGER g AFTER DELETE ON chat.messages BEGIN
                 INSERT INTO gone VALUES (old.id + NOW() * 0); END";
    execute(&mut replica, sql, &[]).unwrap();
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let changed = replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    assert_eq!(changed.dropped, Vec::<String>::new());
    assert_eq!(rows(&replica, "SELECT id FROM gone"), ["2"]);
}

/// A default of a column that came later is shown of what waits already.
#[test]
fn what_waits_is_shown_by_the_tables_of_now() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "REPLACE INTO chat.messages (id, body) VALUES (3, 'x')").unwrap();
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns[1].default = Some(ColumnDefault::Value(Value::Integer(5)));
    replica.apply(&step(vec![put(1, all_columns(later))])).unwrap();
    assert_eq!(rows(&replica, "SELECT room FROM chat.messages WHERE id = 3"), ["5"]);
}

/// What a subscription does not bring is not known, and no default stands in for it.
#[test]
fn the_servers_rows_have_no_defaults_of_the_device() {
    let place = Place::new();
    let mut replica = place.open();
    let row = [Value::Uuid([1; 16]), text("theirs")];
    let known = crate::world::known(posts(), &[1, 3]);
    replica
        .apply(&step(vec![put(2, known), batch(2, &[5], vec![row.into_iter().collect()])]))
        .unwrap();
    let shown = "SELECT author, body, at, kind FROM forum.posts";
    assert_eq!(rows(&replica, shown), ["NULL theirs NULL NULL"]);
}

#[test]
fn a_column_that_the_server_has_dropped_is_not_written() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns.pop();
    replica.apply(&step(vec![put(1, all_columns(later))])).unwrap();
    for sql in [
        "UPDATE chat.messages SET extra = 'x'",
        "INSERT INTO chat.messages (id, extra) VALUES (3, 'x')",
        "INSERT INTO chat.messages (id) VALUES (1) ON CONFLICT DO UPDATE SET extra = 'x'",
    ] {
        let refused = execute(&mut replica, sql, &[]).unwrap_err().to_string();
        assert!(refused.contains("no column extra in chat.messages"), "{sql}: {refused}");
    }
    write(&mut replica, "INSERT INTO chat.messages VALUES (3, 7, 'x')").unwrap();
    assert_eq!(waiting(&replica), [["insert 1=3 2=7 3=x"]]);
}

/// A column with a default comes to a table that has rows, which SQLite's ALTER TABLE refuses.
#[test]
fn a_column_that_came_later_has_its_default() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 2").unwrap();
    let mut later = messages();
    later.version = SchemaVersion(2);
    let mut kind = crate::world::column(9, "kind", protocol::value::ColumnType::Text);
    kind.default = Some(ColumnDefault::Value(text("plain")));
    later.columns.push(kind);
    let mut eyes = Eyes::of(&replica);
    eyes.on(&mut replica).query("SELECT * FROM chat.messages", &[]).unwrap();
    replica.apply(&step(vec![put(1, all_columns(later))])).unwrap();
    write(&mut replica, "INSERT INTO chat.messages (id) VALUES (3)").unwrap();
    let shown = eyes
        .on(&mut replica)
        .query("SELECT id, body, kind FROM chat.messages ORDER BY id", &[])
        .unwrap();
    let three = |id, body: Option<&str>, kind: Option<&str>| -> ResultRow {
        let or_null = |of: Option<&str>| of.map_or(Value::Null, text);
        [Value::Integer(id), or_null(body), or_null(kind)].into()
    };
    let plain = Some("plain");
    assert_eq!(
        shown.rows,
        [three(1, Some("one"), plain), three(2, Some("mine"), plain), three(3, None, plain)]
    );
    let check =
        rows(&replica, "SELECT * FROM pragma_table_info('chat__messages') WHERE name = 'kind'");
    assert!(check[0].contains("tidewire_default(64, 9)"), "{check:?}");
    drop(replica);
    let other = place.connect();
    let check: String = other.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn a_row_is_written_by_its_key_though_it_is_not_here() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    let id = |id| [("id", Value::Integer(id))];
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.insert("chat.messages", &[("id", Value::Integer(3)), ("body", text("x"))]).unwrap();
    transaction.update("chat.messages", &id(1), &[("body", Change::Set(text("y")))]).unwrap();
    transaction.update("chat.messages", &id(50), &[("body", Change::Set(text("z")))]).unwrap();
    transaction.execute("SAVEPOINT a", &[]).unwrap();
    transaction.delete("chat.messages", &id(52)).unwrap();
    transaction.execute("ROLLBACK TO a", &[]).unwrap();
    transaction.delete("chat.messages", &id(51)).unwrap();
    transaction.delete("chat.messages", &id(2)).unwrap();
    transaction.commit().unwrap();
    let mut transaction = replica.begin(writer()).unwrap();
    let one = || Change::Add(Value::Integer(1));
    transaction.insert("chat.counters", &[("id", Value::Integer(1))]).unwrap();
    transaction.update("chat.counters", &id(1), &[("likes", one())]).unwrap();
    transaction.update("chat.counters", &id(2), &[("likes", one())]).unwrap();
    transaction.commit().unwrap();
    let expected: [&[&str]; 2] = [
        &["patch 50: 3=z", "delete 51", "insert 1=3 3=x", "patch 1: 3=y", "delete 2"],
        &["patch 2: 2+=1", "insert 1=1 2=1"],
    ];
    assert_eq!(waiting(&replica), expected);
    assert_eq!(rows(&replica, "SELECT id, body FROM chat.messages ORDER BY id"), ["1 y", "3 x"]);
    // What has ended stays so.
    let mut transaction = replica.begin(writer()).unwrap();
    let insert = [("id", Value::Integer(1)), ("body", text("y"))];
    transaction.delete("chat.messages", &id(1)).unwrap();
    transaction.delete("chat.messages", &id(1)).unwrap();
    transaction.update("chat.messages", &id(1), &[("body", Change::Set(text("no")))]).unwrap();
    transaction.insert("chat.messages", &insert).unwrap();
    transaction.delete("chat.messages", &id(60)).unwrap();
    transaction.update("chat.messages", &id(60), &[("body", Change::Set(text("no")))]).unwrap();
    transaction.update("chat.messages", &id(51), &[("body", Change::Set(text("no")))]).unwrap();
    transaction.commit().unwrap();
    assert_eq!(waiting(&replica)[2], ["delete 60", "patch 1: 2=NULL"]);
    // It is shown when the row comes.
    says(&mut replica, RowChange::Row(birth(9), message(50, 7, "theirs")));
    says(&mut replica, RowChange::Row(birth(10), message(51, 7, "gone")));
    let shown = "SELECT id, body, _seq FROM chat.messages WHERE id >= 50";
    assert_eq!(rows(&replica, shown), ["50 z 9"]);
    let mut transaction = replica.begin(writer()).unwrap();
    for (key, change) in [
        (("id", Value::Integer(1)), ("id", Change::Set(Value::Integer(2)))),
        (("id", Value::Integer(1)), ("nowhere", Change::Set(Value::Integer(2)))),
        (("id", Value::Integer(1)), ("room", Change::Set(text("x")))),
        (("id", Value::Integer(1)), ("room", one())),
        (("id", text("x")), ("room", Change::Set(Value::Null))),
        (("room", Value::Integer(1)), ("body", Change::Set(Value::Null))),
    ] {
        let refused = transaction.update("chat.messages", &[key], &[change]);
        assert!(refused.unwrap_err().to_string().contains("chat.messages"));
    }
}

/// M9: two devices that count both count.
#[test]
fn what_is_added_is_added() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    let row = [Value::Integer(1), Value::Integer(10), Value::Null, text("a")];
    replica.apply(&step(vec![batch(3, &[5], vec![row.into_iter().collect()])])).unwrap();
    write(&mut replica, "UPDATE chat.counters SET likes = likes + 5, name = 'b'").unwrap();
    write(&mut replica, "UPDATE chat.counters SET likes = likes - 1, mean = 0.5").unwrap();
    write(&mut replica, "UPDATE chat.counters SET mean = NULL").unwrap();
    assert_eq!(waiting(&replica)[0], ["patch 1: 2+=5 4=b"]);
    assert_eq!(waiting(&replica)[1], ["patch 1: 2+=-1 3+=0.5"]);
    assert_eq!(waiting(&replica)[2], ["patch 1: 3=NULL"]);
    // A difference that is no number of the column is set.
    let full = "INSERT INTO chat.counters (id, likes) VALUES (7, -2000000000)";
    crate::world::write(&mut replica, full).unwrap();
    let full = "UPDATE chat.counters SET likes = 2000000000 WHERE id = 7";
    crate::world::write(&mut replica, full).unwrap();
    assert_eq!(waiting(&replica)[4], ["patch 7: 2=2000000000"]);
    // Somebody else has added, too.
    let row = [Value::Integer(1), Value::Integer(100), Value::double(1.0).unwrap(), text("c")];
    let changes = vec![RowChange::Row(birth(5), row.into_iter().collect())];
    let write = Write::Changes { subscription: SubscriptionId(3), changes };
    replica.apply(&step(vec![write])).unwrap();
    let shown = "SELECT likes, mean, name FROM chat.counters WHERE id = 1";
    assert_eq!(rows(&replica, shown), ["104 NULL b"]);
}

#[test]
fn what_waits_is_there_after_a_restart_and_is_shown_to_the_application() {
    let place = Place::new();
    let mut replica = with_posts(&place);
    write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let second = write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (3, 'new')");
    let sql = "CREATE VIEW mine AS SELECT m.id, m.body, p.state FROM chat.messages m
               JOIN tw_pending p ON p.\"table\" = 'chat.messages' AND p.key = m.id";
    execute(&mut replica, sql, &[]).unwrap();
    drop(replica);
    let mut replica = place.open();
    assert_eq!(rows(&replica, "SELECT * FROM mine ORDER BY id"), ["1 mine queued", "3 new queued"]);
    let ordered = "SELECT id, _seq FROM chat.messages ORDER BY _seq IS NULL, _seq";
    assert_eq!(rows(&replica, ordered), ["1 5", "2 6", "3 NULL"]);
    assert_eq!(waiting(&replica), [["patch 1: 3=mine"], ["insert 1=3 3=new"]]);
    let read = query(&replica, "SELECT count(*) FROM mine", &[]).unwrap();
    assert!(read.reads.contains("tw_pending") && read.reads.contains("chat__messages"));
    for sql in [
        "SELECT count(*) FROM tw_pending",
        "SELECT key FROM tw_pending",
        "SELECT \"table\" FROM tw_pending",
        "SELECT 1 FROM tw_pending LIMIT 1",
    ] {
        let read = query(&replica, sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(read.reads.contains("tw_pending"), "{sql}: {:?}", read.reads);
    }
    assert!(!read.reads.contains("tw_outbox"), "{:?}", read.reads);
    let changed = replica.cancel(second.unwrap()).unwrap().unwrap();
    let tables: Vec<&str> = changed.tables.keys().map(String::as_str).collect();
    assert_eq!(tables, ["chat__messages", "tw_pending"]);
    // No id is used twice.
    assert!(write(&mut replica, "UPDATE chat.messages SET body = 'x' WHERE id = 1") > second);
}

/// INV-9: what the server says goes under what waits.
#[test]
fn the_servers_rows_go_under_what_waits() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let shown = "SELECT id, room, body, _seq FROM chat.messages ORDER BY id";
    let mine = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let gone = write(&mut replica, "DELETE FROM chat.messages WHERE id = 2").unwrap();
    says(&mut replica, RowChange::Row(birth(5), message(1, 70, "theirs")));
    says(&mut replica, RowChange::Row(birth(6), message(2, 80, "theirs")));
    assert_eq!(rows(&replica, shown), ["1 70 mine 5"]);
    // It leaves the subscription, and writes that wait hold it.
    says(&mut replica, RowChange::Left(birth(5), [Value::Integer(1)].into_iter().collect()));
    assert_eq!(rows(&replica, shown), ["1 70 mine 5"]);
    says(&mut replica, RowChange::Row(birth(5), message(1, 71, "theirs")));
    // It was deleted: there is nothing to patch.
    says(&mut replica, RowChange::Deleted(birth(5), [Value::Integer(1)].into_iter().collect()));
    assert_eq!(rows(&replica, shown), Vec::<String>::new());
    // It is another one, and what waits is for its key.
    says(&mut replica, RowChange::Row(birth(9), message(1, 72, "again")));
    assert_eq!(rows(&replica, shown), ["1 72 mine 9"]);
    replica.cancel(mine).unwrap().unwrap();
    replica.cancel(gone).unwrap().unwrap();
    assert_eq!(rows(&replica, shown), ["1 72 again 9", "2 80 theirs 6"]);
    assert_eq!(replica.cancel(gone).unwrap(), None);
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    assert_eq!(rows(&replica, shown), Vec::<String>::new());
    let mut other = place.connect();
    let transaction = other.transaction().unwrap();
    let base = transaction.query_row("SELECT count(*) FROM tw_base_64", [], |row| row.get(0));
    assert_eq!(base, Ok(0));
}

#[test]
fn a_write_that_is_taken_back_leaves_those_behind_it() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let shown = "SELECT id, room, body FROM chat.messages ORDER BY id";
    let first =
        write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (3, 'a')").unwrap();
    write(&mut replica, "UPDATE chat.messages SET room = 5 WHERE id IN (1, 3)").unwrap();
    let third = write(&mut replica, "INSERT INTO chat.messages (id) VALUES (4)").unwrap();
    replica.cancel(first).unwrap().unwrap();
    assert_eq!(rows(&replica, shown), ["1 5 one", "2 8 two", "4 NULL NULL"]);
    replica.cancel(third).unwrap().unwrap();
    drop(replica);
    let replica = place.open();
    assert_eq!(rows(&replica, shown), ["1 5 one", "2 8 two"]);
    assert_eq!(waiting(&replica), [["patch 1: 2=5", "patch 3: 2=5"]]);
}

#[test]
fn rows_that_writes_wait_for_do_not_go_with_the_subscription() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mine = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    write(&mut replica, "INSERT INTO chat.messages (id) VALUES (3)").unwrap();
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    let shown = "SELECT id, body FROM chat.messages ORDER BY id";
    assert_eq!(rows(&replica, shown), ["1 mine", "3 NULL"]);
    replica.cancel(mine).unwrap().unwrap();
    assert_eq!(rows(&replica, shown), ["3 NULL"]);
}
