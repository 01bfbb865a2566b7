//! Statements that are run again: they mean what they would mean if nobody had run them before.

use protocol::ids::SchemaVersion;
use protocol::mutation::Action;
use protocol::value::ColumnType;
use sdk_replica::{Replica, ReplicaError};

use crate::world::{Place, column, execute, known, messages, put, rows, step, write, writer};

/// Runs it often enough to be kept, and prepared.
fn often(replica: &mut Replica, sql: &str) {
    for _ in 0..3 {
        write(replica, sql);
    }
}

/// The table of messages when the server has dropped `extra`, and added `likes`.
fn altered() -> Vec<sdk_machine::Write> {
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns.pop();
    later.columns.push(column(5, "likes", ColumnType::BigInt));
    vec![put(1, known(later, &[1, 2, 3, 5]))]
}

#[test]
fn a_statement_follows_the_table() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let adds = "INSERT INTO chat.messages SELECT max(id) + 1, 7, 'x', 'e' FROM chat.messages";
    let changes = "UPDATE chat.messages SET extra = coalesce(extra, '') || 'x' WHERE id = 1";
    often(&mut replica, adds);
    often(&mut replica, changes);
    replica.apply(&step(altered())).unwrap();
    // The fourth column is another one.
    let refused = execute(&mut replica, adds, &[]).unwrap_err();
    assert!(matches!(refused, ReplicaError::Constraint(_)), "{refused:?}");
    let refused = execute(&mut replica, changes, &[]).unwrap_err();
    assert!(refused.to_string().contains("no column extra"), "{refused}");
}

/// SQLite says the names of the columns before it finds out that a table has got one.
#[test]
fn what_a_statement_returns_follows_the_table() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "CREATE TABLE mine (id INTEGER PRIMARY KEY, n INTEGER)");
    write(&mut replica, "INSERT INTO mine VALUES (1, 0)");
    let local = "UPDATE mine SET n = n + 1 RETURNING *";
    let replicated = "UPDATE chat.messages SET body = body || 'x' WHERE id = 1 RETURNING *";
    let width = |replica: &mut Replica, sql| {
        let widths = [(); 3].map(|()| execute(replica, sql, &[]).unwrap().rows[0].len());
        assert_eq!(widths, [widths[0]; 3], "{sql}");
        widths[0]
    };
    assert_eq!(width(&mut replica, local), 2);
    assert_eq!(width(&mut replica, replicated), 5);
    write(&mut replica, "ALTER TABLE mine ADD COLUMN more TEXT");
    let mut later = messages();
    later.version = SchemaVersion(2);
    later.columns.push(column(5, "likes", ColumnType::BigInt));
    replica.apply(&step(vec![put(1, known(later, &[1, 2, 3, 4, 5]))])).unwrap();
    assert_eq!(width(&mut replica, local), 3);
    assert_eq!(width(&mut replica, replicated), 6);
    write(&mut replica, "ALTER TABLE mine DROP COLUMN more");
    assert_eq!(width(&mut replica, local), 2);
}

#[test]
fn what_a_transaction_may_do_alone_another_may_not() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for _ in 0..3 {
        let mut transaction = replica.begin(writer()).unwrap();
        for sql in ["SAVEPOINT here", "RELEASE here", "SAVEPOINT here", "RELEASE here"] {
            transaction.execute(sql, &[]).unwrap();
        }
        transaction.commit().unwrap();
    }
    for sql in ["SAVEPOINT here", "RELEASE here"] {
        let refused = execute(&mut replica, sql, &[]).unwrap_err();
        assert!(matches!(refused, ReplicaError::Refused(_)), "{refused:?}");
    }
}

#[test]
fn what_was_undone_is_not_remembered() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "CREATE TABLE mine (id INTEGER PRIMARY KEY, n INTEGER)");
    let insert = "INSERT INTO mine (n) VALUES (1)";
    often(&mut replica, insert);
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.execute("CREATE TABLE other (n INTEGER)", &[]).unwrap();
    let copies = "CREATE TRIGGER copies AFTER INSERT ON mine
                  BEGIN INSERT INTO other VALUES (NEW.n); END";
    transaction.execute(copies, &[]).unwrap();
    transaction.execute(insert, &[]).unwrap();
    drop(transaction);
    write(&mut replica, insert);
    assert_eq!(rows(&replica, "SELECT count(*) FROM mine"), ["4"]);
    for sql in ["CREATE TABLE other (n INTEGER)", copies] {
        write(&mut replica, sql);
    }
    let changed = execute(&mut replica, insert, &[]).unwrap().changed;
    assert_eq!(changed.tables.keys().collect::<Vec<_>>(), ["mine", "other"]);
}

#[test]
fn the_same_upsert_twice_is_two() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let upsert = "INSERT INTO chat.messages (id, body) VALUES ($1, 'x')
                  ON CONFLICT (id) DO UPDATE SET body = excluded.body";
    for first in [10, 20, 30] {
        let mut transaction = replica.begin(writer()).unwrap();
        transaction.end_with_a_failure();
        for id in [first, first + 1] {
            transaction.execute(upsert, &[protocol::value::Value::Integer(id)]).unwrap();
        }
        let id = transaction.commit().unwrap().id.unwrap();
        let operations = replica.mutation(id).unwrap().unwrap().operations;
        let is_upsert =
            |action: &Action| matches!(action, Action::Upsert(values) if values.len() == 2);
        assert_eq!(operations.len(), 2);
        assert!(operations.iter().all(|it| is_upsert(&it.action)), "{operations:?}");
    }
}

#[test]
fn any_number_of_statements_can_be_run() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for round in 0..2 {
        for number in 0..200 {
            let body = format!("UPDATE chat.messages SET body = '{round} {number}' WHERE id = 1");
            write(&mut replica, &body);
        }
    }
    assert_eq!(rows(&replica, "SELECT body FROM chat.messages WHERE id = 1"), ["1 199"]);
}
