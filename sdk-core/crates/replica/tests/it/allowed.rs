//! Which tables there are for the user: made without a subscription, written as far as the server
//! lets, and changed without harm to what is held and what waits.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::AllowedTable;
use protocol::ids::{SchemaHash, SchemaVersion, TableId};
use protocol::schema::{AccessLevel, Column, ColumnDefault, Sharing, TableKind, TableSchema};
use protocol::value::{ColumnType, Value};
use sdk_machine::{Settled, StoredSchema, SubscriptionId, Write};
use sdk_replica::{Changed, Replica, ReplicaError, WriteOptions};

use crate::sending::{rejected, settle};
use crate::world::{
    Place, column, counters, execute, known, messages, posts, put, rows, seq, step, write, writer,
};

const ALL: &str = "SELECT id, body FROM chat.messages ORDER BY id";
const INSERT: &str = "INSERT INTO chat.messages (id, body) VALUES (9, 'mine')";

fn schema(revision: u64) -> StoredSchema {
    StoredSchema {
        version: SchemaHash::from_bytes([u8::try_from(revision).unwrap(); 16]),
        revision,
    }
}

fn put_schema(revision: u64, tables: Vec<(TableSchema, bool)>) -> Write {
    let allowed = |(table, writable)| AllowedTable { table, writable };
    Write::PutSchema { schema: schema(revision), tables: tables.into_iter().map(allowed).collect() }
}

fn told(replica: &mut Replica, revision: u64, tables: Vec<(TableSchema, bool)>) -> Changed {
    replica.apply(&step(vec![put_schema(revision, tables)])).unwrap()
}

/// `chat.messages` in a later version: `extra` is gone and `likes` has come.
fn later() -> TableSchema {
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns.pop();
    let default = Some(ColumnDefault::Value(Value::Integer(5)));
    later.columns.push(Column { default, ..column(5, "likes", ColumnType::BigInt) });
    later
}

/// Another table that has its name.
fn anew() -> TableSchema {
    let mut anew = messages();
    anew.id = TableId(99);
    anew.columns.pop();
    anew
}

fn readable() -> TableSchema {
    let mut table = posts();
    let sharing = Sharing { access: AccessLevel::Read, owner_column: None };
    table.kind = TableKind::Shared(sharing);
    table
}

#[test]
fn a_table_is_there_without_a_subscription_and_after_a_restart() {
    let place = Place::new();
    let mut replica = place.open();
    assert_eq!(replica.load().unwrap().schema, None);
    let changed = told(&mut replica, 3, vec![(messages(), true), (posts(), true)]);
    assert!(changed.schema, "who waits for a table is told");
    drop(replica);
    let mut replica = place.open();
    assert_eq!(replica.load().unwrap().schema, Some(schema(3)));
    let one = write(&mut replica, INSERT).unwrap();
    write(&mut replica, "INSERT INTO forum.posts (body) VALUES ('by alice')").unwrap();
    assert_eq!(rows(&replica, ALL), ["9 mine"]);
    assert_eq!(rows(&replica, "SELECT author, kind FROM forum.posts"), ["alice plain"]);
    // Nothing holds the row any more when it is decided.
    replica.apply(&step(vec![settle(one, Settled::Accepted(seq(4)))])).unwrap();
    assert_eq!(rows(&replica, ALL), [""; 0]);
    // Told again, it makes nothing.
    assert!(!told(&mut replica, 4, vec![(messages(), true), (posts(), true)]).schema);
}

/// What the access level says is for users, and there are services.
#[test]
fn the_server_says_who_writes() {
    let place = Place::new();
    let mut replica = place.open();
    let insert =
        "INSERT INTO forum.posts (id, body) VALUES ('00000000-0000-0000-0000-000000000001', 'x')";
    told(&mut replica, 1, vec![(readable(), true)]);
    write(&mut replica, insert).unwrap();
    told(&mut replica, 2, vec![(readable(), false)]);
    let refused = execute(&mut replica, "DELETE FROM forum.posts", &[]).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    assert!(
        refused.to_string().starts_with("forum.posts is not written by this user"),
        "{refused}"
    );
    drop(replica);
    let mut replica = place.open();
    assert!(matches!(
        execute(&mut replica, "DELETE FROM forum.posts", &[]),
        Err(ReplicaError::NotWritable(_))
    ));
}

/// A file of before, and a server that has not said anything yet.
#[test]
fn until_the_server_has_said_it_the_access_level_does() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, INSERT).unwrap();
    let columns = readable().columns.iter().map(|column| column.id.0).collect::<Vec<_>>();
    replica.apply(&step(vec![put(2, known(readable(), &columns))])).unwrap();
    assert!(matches!(
        execute(&mut replica, "DELETE FROM forum.posts", &[]),
        Err(ReplicaError::NotWritable(_))
    ));
}

#[test]
fn a_table_that_is_gone_keeps_what_waits_and_takes_nothing_more() {
    let place = Place::new();
    let mut replica = place.with_messages();
    told(&mut replica, 1, vec![(messages(), true)]);
    let waits = write(&mut replica, INSERT).unwrap();
    told(&mut replica, 2, vec![]);
    let refused = execute(&mut replica, "DELETE FROM chat.messages", &[]).unwrap_err();
    assert!(matches!(&refused, ReplicaError::Gone(name) if name == "chat.messages"), "{refused}");
    assert_eq!(refused.code(), ErrorCode::NotFound);
    assert_eq!(rows(&replica, ALL), ["1 one", "2 two", "9 mine"], "all of it is still here");
    assert!(replica.mutation(waits).unwrap().is_some());
    // It cannot be written again either.
    replica.apply(&step(vec![settle(waits, rejected())])).unwrap();
    assert_eq!(rows(&replica, ALL), ["1 one", "2 two"]);
    let mut again = replica.begin(writer()).unwrap();
    again.set_options(WriteOptions { replaces: Some(waits), ..WriteOptions::default() }).unwrap();
    assert!(matches!(again.write_again(waits), Err(ReplicaError::Gone(_))));
    drop(again);
    // Its subscription is refused, and later it comes back.
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    assert_eq!(rows(&replica, ALL), [""; 0]);
    told(&mut replica, 3, vec![(messages(), true)]);
    write(&mut replica, INSERT).unwrap();
}

/// Its rows are as of before the change, and only its subscriptions say when they are not.
#[test]
fn a_table_that_is_subscribed_to_follows_its_subscription() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let changed = told(&mut replica, 1, vec![(later(), true), (counters(), true)]);
    assert!(changed.schema, "of the other one");
    assert_eq!(replica.schema(TableId(64)).unwrap().version, SchemaVersion(1));
    let extra = "UPDATE chat.messages SET extra = 'still' WHERE id = 1";
    write(&mut replica, extra).unwrap();
    drop(replica);
    let mut replica = place.open();
    assert_eq!(rows(&replica, "SELECT extra FROM chat.messages"), ["still", "NULL"]);
    replica.apply(&step(vec![put(1, known(later(), &[1, 2, 3, 5]))])).unwrap();
    assert_eq!(rows(&replica, "SELECT id, likes FROM chat.messages"), ["1 5", "2 5"]);
    assert!(execute(&mut replica, extra, &[]).is_err(), "that column is gone");

    // Without a subscription nothing has to be waited for.
    let mut third = later();
    third.version = SchemaVersion(3);
    third.columns.push(column(6, "more", ColumnType::Text));
    assert!(!told(&mut replica, 2, vec![(third, true)]).schema);
    let changed = replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))]));
    assert!(changed.unwrap().schema);
    write(&mut replica, "INSERT INTO chat.messages (id, more) VALUES (3, 'm')").unwrap();
}

#[test]
fn columns_come_to_a_table_for_which_writes_wait() {
    let place = Place::new();
    let mut replica = place.open();
    told(&mut replica, 1, vec![(messages(), true)]);
    write(&mut replica, "INSERT INTO chat.messages (id, body, extra) VALUES (9, 'mine', 'x')");
    assert!(told(&mut replica, 2, vec![(later(), true)]).schema);
    assert_eq!(rows(&replica, "SELECT body, likes FROM chat.messages").len(), 1);
    write(&mut replica, "INSERT INTO chat.messages (id, likes) VALUES (10, 7)").unwrap();
    write(&mut replica, "UPDATE chat.messages SET body = 'more' WHERE id = 9").unwrap();
    assert_eq!(rows(&replica, ALL), ["9 more", "10 NULL"]);
    // An earlier version of it does not take the column away.
    told(&mut replica, 3, vec![(messages(), true)]);
    drop(replica);
    let mut replica = place.open();
    write(&mut replica, "UPDATE chat.messages SET likes = 8 WHERE id = 10").unwrap();
}

/// What was written is of the table that was dropped: it is decided first.
#[test]
fn a_table_takes_a_name_when_nothing_waits_for_the_one_that_had_it() {
    let place = Place::new();
    let mut replica = place.open();
    told(&mut replica, 1, vec![(messages(), true)]);
    let waits = write(&mut replica, INSERT).unwrap();
    assert!(!told(&mut replica, 2, vec![(anew(), true)]).schema);
    assert!(matches!(
        execute(&mut replica, "DELETE FROM chat.messages", &[]),
        Err(ReplicaError::Gone(_))
    ));
    assert_eq!(rows(&replica, ALL), ["9 mine"]);
    drop(replica);
    let mut replica = place.open();
    let changed = replica.apply(&step(vec![settle(waits, rejected())])).unwrap();
    assert!(changed.schema);
    assert_eq!(replica.rejections(0, usize::MAX).unwrap().len(), 1);
    assert_eq!(rows(&replica, ALL), [""; 0]);
    write(&mut replica, INSERT).unwrap();
    let operations = replica.pending().unwrap();
    assert_eq!(operations.len(), 1);
    assert_eq!(rows(&replica, ALL), ["9 mine"]);
    // What is of the first is not written to the second.
    let mut again = replica.begin(writer()).unwrap();
    again.set_options(WriteOptions { replaces: Some(waits), ..WriteOptions::default() }).unwrap();
    assert!(matches!(again.write_again(waits), Err(ReplicaError::Gone(_))));
}

#[test]
fn a_table_takes_a_name_when_the_subscription_to_the_one_that_had_it_ends() {
    let place = Place::new();
    let mut replica = place.with_messages();
    told(&mut replica, 1, vec![(anew(), true)]);
    assert_eq!(rows(&replica, ALL), ["1 one", "2 two"]);
    let ended = vec![Write::RemoveSubscription(SubscriptionId(1))];
    assert!(replica.apply(&step(ended)).unwrap().schema);
    assert_eq!(rows(&replica, ALL), [""; 0]);
    write(&mut replica, INSERT).unwrap();
}

/// A step is all or nothing, in memory as well.
#[test]
fn a_description_that_finds_no_room_was_not_taken() {
    let place = Place::new();
    let mut replica = place.with_messages();
    replica.limit_pages(Some(1));
    let many = (100..200).map(|id| {
        let mut table = messages();
        (table.id, table.name) = (TableId(id), format!("chat.t{id}").parse().unwrap());
        (table, true)
    });
    let many: Vec<_> = many.collect();
    let full = replica.apply(&step(vec![put_schema(1, many.clone())])).unwrap_err();
    assert!(matches!(full, ReplicaError::DiskFull), "{full}");
    assert_eq!(replica.load().unwrap().schema, None);
    assert!(matches!(
        execute(&mut replica, "DELETE FROM chat.t100", &[]),
        Err(ReplicaError::NoSuchTable(_))
    ));
    replica.limit_pages(None);
    assert!(told(&mut replica, 1, many).schema);
    write(&mut replica, "INSERT INTO chat.t199 (id) VALUES (1)").unwrap();
}
