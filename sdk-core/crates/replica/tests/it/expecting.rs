//! Writes that are to happen only where the server has what was expected.

use protocol::mutation::{Action, Guard, Operation};
use protocol::value::Value;
use sdk_replica::{Change, Expect, Replica, ReplicaError, WriteOptions};

use crate::world::{Place, put, with, write, writer};

fn unchanged() -> WriteOptions {
    WriteOptions { expect: Expect::Unchanged, ..WriteOptions::default() }
}

fn operations(replica: &Replica, id: Option<sdk_replica::MutationId>) -> Vec<Operation> {
    replica.mutation(id.unwrap()).unwrap().unwrap().operations
}

fn text(text: &str) -> Value {
    Value::text(text).unwrap()
}

/// The columns and values that are expected.
fn values(operation: &Operation) -> Vec<(u16, Value)> {
    match &operation.guard {
        Some(Guard::Values(values)) => values.iter().map(|it| (it.0.0, it.1.clone())).collect(),
        other => panic!("{other:?}"),
    }
}

/// W12, C6: compare and set, of what is shown here.
#[test]
fn rows_are_expected_as_they_were_shown() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "UPDATE chat.messages SET room = 9 WHERE id = 1").unwrap();
    let sql = "UPDATE chat.messages SET body = 'mine' WHERE id = 1";
    let id = with(&mut replica, unchanged(), sql).unwrap().id;
    let room = (2, Value::Integer(9));
    let (body, at) = ((3, text("one")), (4, Value::Null));
    assert_eq!(values(&operations(&replica, id)[0]), [room, body, at], "with what waits");
    let id = with(&mut replica, unchanged(), "DELETE FROM chat.messages WHERE id = 2").unwrap().id;
    assert_eq!(values(&operations(&replica, id)[0]).len(), 3);
    // A row that an upsert makes here is not to be there.
    let upsert = "INSERT INTO chat.messages (id, body) VALUES (8, 'x')
                  ON CONFLICT (id) DO UPDATE SET body = excluded.body";
    let id = with(&mut replica, unchanged(), upsert).unwrap().id;
    assert_eq!(operations(&replica, id)[0].guard, Some(Guard::Absent));
    // Of a row that is only here there is nothing to compare.
    let id = with(&mut replica, unchanged(), "UPDATE chat.messages SET room = 1 WHERE id = 8");
    assert_eq!(operations(&replica, id.unwrap().id)[0].guard, None);
}

/// What the device does not know of a row, it cannot compare.
#[test]
fn only_columns_that_are_here_are_compared() {
    let place = Place::new();
    let mut replica = place.open();
    let known = crate::world::known(crate::world::messages(), &[1, 3]);
    let row = [Value::Integer(1), text("one")].into_iter().collect();
    let writes = vec![put(1, known), crate::world::batch(1, &[5], vec![row])];
    replica.apply(&crate::world::step(writes)).unwrap();
    let sql = "UPDATE chat.messages SET room = 9 WHERE id = 1";
    let id = with(&mut replica, unchanged(), sql).unwrap().id;
    assert_eq!(values(&operations(&replica, id)[0]), [(3, text("one"))]);
}

#[test]
fn a_row_that_is_not_here_cannot_be_expected_to_be_unchanged() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.set_options(unchanged()).unwrap();
    let key = [("id", Value::Integer(77))];
    let change = [("body", Change::Set(text("x")))];
    let refused = transaction.update("chat.messages", &key, &change).unwrap_err();
    assert!(matches!(refused, ReplicaError::NothingExpected(_)), "{refused}");
}

#[test]
fn what_is_named_is_expected_of_any_row() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut transaction = replica.begin(writer()).unwrap();
    let of = |id: i64| [("id", Value::Integer(id))];
    transaction.expect("chat.messages", &of(1), &[("room", Value::Integer(7))]).unwrap();
    transaction.expect("chat.messages", &of(50), &[("body", Value::Null)]).unwrap();
    let change = [("body", Change::Set(text("x")))];
    transaction.update("chat.messages", &of(1), &change).unwrap();
    let id = transaction.commit().unwrap().id;
    let [in_front, update] = &operations(&replica, id)[..] else { panic!() };
    let is_empty = matches!(&in_front.action, Action::Patch { changes, .. } if changes.is_empty());
    assert!(is_empty, "{in_front:?}");
    assert_eq!(values(in_front), [(3, Value::Null)]);
    assert_eq!(values(update), [(2, Value::Integer(7))]);
    // Where nothing is written, nothing is expected.
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.expect("chat.messages", &of(1), &[("room", Value::Integer(7))]).unwrap();
    assert_eq!(transaction.commit().unwrap().id, None);
    // A column that is none, a value that is none of it.
    let mut transaction = replica.begin(writer()).unwrap();
    transaction.expect("chat.messages", &of(1), &[("rum", Value::Integer(7))]).unwrap_err();
    transaction.expect("chat.messages", &of(1), &[("room", text("x"))]).unwrap_err();
}
