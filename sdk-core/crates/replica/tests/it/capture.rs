//! What a transaction of the application has done is its net effect, as operations.

use protocol::mutation::{Action, ColumnChange, ColumnValue, Mutation};
use protocol::value::{Row, Value};
use sdk_replica::{Replica, ReplicaError};

use crate::world::{Place, execute, rows, write, writer};

/// What a mutation does, each operation as one text.
pub(crate) fn told(mutation: &Mutation) -> Vec<String> {
    let value = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Double(number) => number.get().to_string(),
        other => format!("{other:?}"),
    };
    let key = |Row(values): &Row| values.iter().map(value).collect::<Vec<_>>().join(",");
    let set = |ColumnValue(id, new): &ColumnValue| format!("{}={}", id.0, value(new));
    let sets = |values: &[ColumnValue]| values.iter().map(set).collect::<Vec<_>>().join(" ");
    let change = |change: &ColumnChange| match change {
        ColumnChange::Set(operand) => set(operand),
        ColumnChange::Add(ColumnValue(id, new)) => format!("{}+={}", id.0, value(new)),
    };
    let action = |action: &Action| match action {
        Action::Insert(values) => format!("insert {}", sets(values)),
        Action::Upsert(values) => format!("upsert {}", sets(values)),
        Action::Patch { key: of, changes } => {
            let changes: Vec<String> = changes.iter().map(change).collect();
            format!("patch {}: {}", key(of), changes.join(" "))
        }
        Action::Delete { key: of } => format!("delete {}", key(of)),
    };
    mutation.operations.iter().map(|operation| action(&operation.action)).collect()
}

/// What these statements, in one transaction, come to. Those that begin with `!` must fail.
fn effect(replica: &mut Replica, statements: &[&str]) -> Vec<String> {
    let mut transaction = replica.begin(writer()).unwrap();
    for sql in statements {
        match sql.strip_prefix('!') {
            Some(sql) => {
                let failed = transaction.execute(sql, &[]);
                assert!(failed.is_err(), "{sql}");
            }
            None => {
                let done = transaction.execute(sql, &[]);
                done.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }
    let committed = transaction.commit();
    let committed = committed.unwrap_or_else(|error| panic!("{statements:?}: {error}"));
    let mutation = committed.mutation;
    mutation.map_or(vec![], |stored| told(&replica.mutation(stored.id).unwrap().unwrap()))
}

/// There are `1, 7, 'one'` and `2, 8, 'two'`; columns are 1 id, 2 room, 3 body, 4 extra.
const CASES: &[(&[&str], &[&str])] = &[
    (&["INSERT INTO chat.messages (id, room) VALUES (3, 7)"], &["insert 1=3 2=7"]),
    (
        &["INSERT INTO chat.messages (id) SELECT id + 10 FROM chat.messages"],
        &["insert 1=11", "insert 1=12"],
    ),
    (&["UPDATE chat.messages SET body = 'x' WHERE id = 1"], &["patch 1: 3=x"]),
    // Only what is other.
    (&["UPDATE chat.messages SET body = 'one', room = 9 WHERE id = 1"], &["patch 1: 2=9"]),
    (&["UPDATE chat.messages SET body = body, room = room"], &[]),
    (
        &[
            "UPDATE chat.messages SET body = 'x'",
            "UPDATE chat.messages SET body = 'two' WHERE id = 2",
        ],
        &["patch 1: 3=x"],
    ),
    (&["DELETE FROM chat.messages"], &["delete 1", "delete 2"]),
    (&["DELETE FROM chat.messages WHERE id IN (SELECT max(id) FROM chat.messages)"], &["delete 2"]),
    (&["INSERT INTO chat.messages (id) VALUES (3)", "DELETE FROM chat.messages WHERE id = 3"], &[]),
    (
        &[
            "DELETE FROM chat.messages WHERE id = 1",
            "INSERT INTO chat.messages (id, room, body) VALUES (1, 7, 'new')",
        ],
        &["patch 1: 3=new"],
    ),
    (
        &[
            "DELETE FROM chat.messages WHERE id = 1",
            "INSERT INTO chat.messages (id, room, body) VALUES (1, 7, 'one')",
        ],
        &[],
    ),
    (&["REPLACE INTO chat.messages (id, body) VALUES (1, 'new')"], &["patch 1: 2=NULL 3=new"]),
    (&["INSERT OR REPLACE INTO chat.messages (id, body) VALUES (5, 'new')"], &["upsert 1=5 3=new"]),
    // What it kills is told, too.
    (
        &["UPDATE OR REPLACE chat.messages SET id = 2 WHERE id = 1"],
        &["patch 2: 2=7 3=one", "delete 1"],
    ),
    (&["UPDATE chat.messages SET id = 3 WHERE id = 1"], &["delete 1", "insert 1=3 2=7 3=one"]),
    (
        &[
            "UPDATE chat.messages SET id = 9 WHERE id = 1",
            "UPDATE chat.messages SET id = 1 WHERE id = 2",
            "UPDATE chat.messages SET id = 2 WHERE id = 9",
        ],
        &["patch 1: 2=8 3=two", "patch 2: 2=7 3=one"],
    ),
    (
        &[
            "INSERT INTO chat.messages (id, body) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        ],
        &["patch 1: 3=x"],
    ),
    (
        &[
            "INSERT INTO chat.messages (id, body) VALUES (3, 'x') ON CONFLICT DO UPDATE SET body = excluded.body",
        ],
        &["upsert 1=3 3=x"],
    ),
    (
        &["INSERT OR IGNORE INTO chat.messages (id, body) VALUES (1, 'x'), (3, 'y')"],
        &["insert 1=3 3=y"],
    ),
    (&["!INSERT INTO chat.messages (id, body) VALUES (3, 'x'), (1, 'y')"], &[]),
    (
        &[
            "UPDATE chat.messages SET room = 1 WHERE id = 1",
            "!UPDATE chat.messages SET id = 1, room = 5",
        ],
        &["patch 1: 2=1"],
    ),
    (
        &[
            "SAVEPOINT a",
            "UPDATE chat.messages SET room = 1",
            "ROLLBACK TO a",
            "UPDATE chat.messages SET room = 2 WHERE id = 2",
            "RELEASE a",
        ],
        &["patch 2: 2=2"],
    ),
    (
        &[
            "INSERT INTO chat.messages (id) VALUES (3)",
            "UPDATE chat.messages SET body = 'x' WHERE id = 3",
        ],
        &["insert 1=3 3=x"],
    ),
    (
        &["WITH r AS (SELECT 5 AS n) UPDATE chat.messages SET room = n FROM r WHERE id = 2"],
        &["patch 2: 2=5"],
    ),
];

/// W6: what a statement did not change does not travel.
#[test]
fn the_net_effect_is_what_is_sent() {
    for (statements, expected) in CASES {
        let place = Place::new();
        let mut replica = place.with_messages();
        let effect = effect(&mut replica, statements);
        assert_eq!(effect, *expected, "{statements:?}");
        let hidden = "SELECT count(*) FROM sqlite_schema WHERE name = 'tw_log_64'";
        assert_eq!(rows(&replica, hidden), ["1"]);
    }
}

/// A statement that has failed has done nothing, also where SQLite would leave what it had done.
#[test]
fn a_statement_that_fails_in_a_transaction_leaves_nothing() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let statements = [
        "!UPDATE chat.messages SET room = 5 RETURNING CAST(x'ff' AS TEXT)",
        "!INSERT OR FAIL INTO chat.messages (id) VALUES (9), (1)",
        "UPDATE chat.messages SET room = 6 WHERE id = 2",
    ];
    assert_eq!(effect(&mut replica, &statements), ["patch 2: 2=6"]);
    assert_eq!(rows(&replica, "SELECT id, room FROM chat.messages"), ["1 7", "2 6"]);
    // A write that is stopped ends its transaction, and one that reads does not.
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.while_wanted(|| false);
    let stopped = transaction.query(endless, &[]);
    assert!(matches!(stopped, Err(ReplicaError::Interrupted)), "{stopped:?}");
    let write = format!("INSERT INTO chat.messages (id) {endless} WHERE i < 0");
    let stopped = transaction.execute(&write, &[]);
    assert!(matches!(stopped, Err(ReplicaError::Interrupted)), "{stopped:?}");
    transaction.while_wanted(|| true);
    let after = transaction.execute("SELECT 1", &[]);
    assert!(matches!(after, Err(ReplicaError::RolledBack)), "{after:?}");
}

/// What is done to SDK's columns beside is nobody else's affair.
#[test]
fn triggers_of_the_application_see_a_change_once() {
    let place = Place::new();
    let mut replica = place.with_messages();
    for sql in [
        "CREATE TABLE seen (what TEXT)",
        "CREATE TRIGGER i AFTER INSERT ON chat.messages BEGIN INSERT INTO seen VALUES ('insert'); END",
        "CREATE TRIGGER u AFTER UPDATE ON chat.messages BEGIN INSERT INTO seen VALUES ('update'); END",
        "CREATE TRIGGER d AFTER DELETE ON chat.messages BEGIN INSERT INTO seen VALUES ('delete'); END",
    ] {
        write(&mut replica, sql);
    }
    let seen = "SELECT what FROM seen ORDER BY rowid";
    write(&mut replica, "UPDATE chat.messages SET room = 1 WHERE id = 1").unwrap();
    write(&mut replica, "INSERT INTO chat.messages (id) VALUES (3)").unwrap();
    write(&mut replica, "DELETE FROM chat.messages WHERE id = 2").unwrap();
    assert_eq!(rows(&replica, seen), ["update", "insert", "delete"]);
    // The server says what is shown already.
    let same = protocol::frame::v1::RowChange::Row(
        crate::world::birth(5),
        crate::world::message(1, 1, "one"),
    );
    let changes = vec![same];
    let subscription = sdk_machine::SubscriptionId(1);
    let step = crate::world::step(vec![sdk_machine::Write::Changes { subscription, changes }]);
    let changed = replica.apply(&step).unwrap();
    assert!(!changed.tables.contains_key("chat__messages"), "{changed:?}");
    assert_eq!(rows(&replica, "SELECT count(*) FROM seen"), ["3"]);
}

/// What came back as it was is still held by whoever held it, and goes with it.
#[test]
fn what_came_back_is_whose_it_was() {
    let place = Place::new();
    let mut replica = place.with_messages();
    assert_eq!(
        write(&mut replica, "REPLACE INTO chat.messages (id, room, body) VALUES (1, 7, 'one')"),
        None
    );
    assert_eq!(rows(&replica, "SELECT _seq, id FROM chat.messages ORDER BY id"), ["5 1", "6 2"]);
    let gone = sdk_machine::Write::RemoveSubscription(sdk_machine::SubscriptionId(1));
    replica.apply(&crate::world::step(vec![gone])).unwrap();
    assert_eq!(rows(&replica, "SELECT id FROM chat.messages"), Vec::<String>::new());
}

#[test]
fn a_transaction_that_is_dropped_or_rolled_back_is_nothing() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.execute("DELETE FROM chat.messages", &[]).unwrap();
    drop(transaction);
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.execute("UPDATE chat.messages SET room = 1", &[]).unwrap();
    let sql = "INSERT OR ROLLBACK INTO chat.messages (id) VALUES (1)";
    assert!(matches!(transaction.execute(sql, &[]), Err(ReplicaError::RolledBack)));
    // Nothing more comes of it, not even outside of a transaction.
    let sql = "UPDATE chat.messages SET room = 2";
    assert!(matches!(transaction.execute(sql, &[]), Err(ReplicaError::RolledBack)));
    assert!(matches!(transaction.commit(), Err(ReplicaError::RolledBack)));
    assert_eq!(rows(&replica, "SELECT id, room FROM chat.messages"), ["1 7", "2 8"]);
    assert!(replica.pending().unwrap().is_empty());
    // The log was undone with it.
    assert_eq!(
        effect(&mut replica, &["UPDATE chat.messages SET room = 3 WHERE id = 2"]),
        ["patch 2: 2=3"]
    );
}

#[test]
fn a_statement_gives_what_it_returns() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let sql = "INSERT INTO chat.messages (id, body) VALUES ($1, $2) RETURNING id, body";
    let values = [Value::Integer(3), Value::text("x").unwrap()];
    let done = execute(&mut replica, sql, &values).unwrap();
    assert_eq!((done.rows_affected, done.rows), (1, vec![values.into()]));
    let done = execute(&mut replica, "DELETE FROM chat.messages RETURNING *", &[]).unwrap();
    assert_eq!(done.rows_affected, 3);
    assert_eq!(done.rows[0].len(), 5, "the columns of the table, and _seq");
}
