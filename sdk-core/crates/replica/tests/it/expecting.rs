//! Writes that are to happen only where the server has what was expected.

use protocol::mutation::{Action, Guard, Operation};
use protocol::value::Value;
use sdk_machine::Settled;
use sdk_replica::{Change, Expect, MutationId, Replica, ReplicaError, WriteOptions};

use crate::sending::{ALL, apply, rejected, settle};
use crate::world::{Place, put, rows, seq, with, write, writer};

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

/// A write of row 2 that expects something of row 1.
fn expecting(replica: &mut Replica) -> MutationId {
    let mut transaction = replica.begin(writer()).unwrap();
    let one = [("id", Value::Integer(1))];
    transaction.expect("chat.messages", &one, &[("room", Value::Integer(7))]).unwrap();
    transaction.execute("UPDATE chat.messages SET body = 'x' WHERE id = 2", &[]).unwrap();
    transaction.commit().unwrap().id.unwrap()
}

/// A row that is here and not written is the server's, before and after.
#[test]
fn a_row_of_which_something_is_expected_stays() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let all = |replica: &Replica| rows(replica, "SELECT id, room, body, _seq FROM chat.messages");
    let before = all(&replica);
    let ends: [fn(&mut Replica, MutationId); 3] = [
        |replica, id| apply(replica, vec![settle(id, rejected())]),
        |replica, id| assert!(replica.cancel(id).unwrap().is_some()),
        |replica, id| apply(replica, vec![settle(id, Settled::Accepted(seq(9)))]),
    ];
    for end in ends {
        let id = expecting(&mut replica);
        assert_eq!(rows(&replica, ALL), ["1 one 5", "2 x 6"]);
        // What is written on it meanwhile has its image, too.
        let change = "UPDATE chat.messages SET room = 9 WHERE id = 1";
        let later = write(&mut replica, change).unwrap();
        end(&mut replica, id);
        assert_eq!(rows(&replica, "SELECT room FROM chat.messages WHERE id = 1"), ["9"]);
        replica.cancel(later).unwrap().unwrap();
        assert_eq!(all(&replica), before);
    }
    drop(replica);
    let file = place.connect();
    let left = file.query_row("SELECT count(*) FROM tw_base_64", [], |row| row.get::<_, i64>(0));
    assert_eq!(left.unwrap(), 0);
}

/// A row that only this transaction has made has no image of the server.
#[test]
fn a_row_that_is_made_here_and_expected_goes_with_the_write() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut transaction = replica.begin(writer()).unwrap();
    let insert = "INSERT INTO chat.messages (id, body) VALUES (3, 'c')";
    transaction.execute(insert, &[]).unwrap();
    let three = [("id", Value::Integer(3))];
    for room in [Value::Null, Value::Integer(4)] {
        transaction.expect("chat.messages", &three, &[("room", room)]).unwrap();
    }
    let id = transaction.commit().unwrap().id;
    assert_eq!(operations(&replica, id).len(), 2, "one in front");
    replica.cancel(id.unwrap()).unwrap().unwrap();
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6"]);
}

/// A savepoint that is rolled back takes with it what was expected in it, and nothing else.
#[test]
fn what_is_expected_goes_with_its_savepoint() {
    let place = Place::new();
    let mut replica = place.open();
    let writes = [(1, crate::world::messages()), (2, crate::world::posts())];
    let put = |(id, table)| put(id, crate::world::all_columns(table));
    let rows = vec![crate::world::message(1, 7, "one")];
    let mut writes: Vec<_> = writes.map(put).into();
    writes.push(crate::world::batch(1, &[5], rows));
    apply(&mut replica, writes);
    let expect = |transaction: &mut sdk_replica::Transaction<'_>, room| {
        let one = [("id", Value::Integer(1))];
        transaction.expect("chat.messages", &one, &[("room", Value::Integer(room))])
    };
    let post = "INSERT INTO forum.posts (body) VALUES ('x')";
    let change = "UPDATE chat.messages SET body = 'x' WHERE id = 1";
    let savepoint = |transaction: &mut sdk_replica::Transaction<'_>, room| {
        transaction.execute("SAVEPOINT s", &[]).unwrap();
        if let Some(room) = room {
            expect(transaction, room).unwrap();
        }
        transaction.execute("ROLLBACK TO s", &[]).unwrap();
        transaction.execute("RELEASE s", &[]).unwrap();
    };
    // What was expected before it keeps the lane.
    let mut transaction = replica.begin(writer()).unwrap();
    expect(&mut transaction, 7).unwrap();
    savepoint(&mut transaction, None);
    let refused = transaction.execute(post, &[]).unwrap_err();
    assert!(matches!(refused, ReplicaError::TwoLanes { .. }), "{refused}");
    drop(transaction);
    // What was expected in it does not.
    let mut transaction = replica.begin(writer()).unwrap();
    savepoint(&mut transaction, Some(7));
    transaction.execute(post, &[]).unwrap();
    let id = transaction.commit().unwrap().id;
    assert_eq!(operations(&replica, id).len(), 1);
    let mut transaction = replica.begin(writer()).unwrap();
    expect(&mut transaction, 7).unwrap();
    savepoint(&mut transaction, Some(8));
    transaction.execute(change, &[]).unwrap();
    let id = transaction.commit().unwrap().id;
    let [update] = &operations(&replica, id)[..] else { panic!() };
    assert_eq!(values(update), [(2, Value::Integer(7))]);
}
