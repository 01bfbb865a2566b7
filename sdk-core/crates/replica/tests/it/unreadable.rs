//! What cannot be read any more is undone all the same, and is in the way of nothing else.

use sdk_machine::{MutationId, Settled, Write};
use sdk_replica::{Replica, ReplicaError};

use crate::sending::{ALL, apply, outgoing, rejected, settle};
use crate::world::{Place, all_columns, batch, lane, marks, message, put, rows, seq, write};

/// Bytes that are no operation, and those of another one.
const SPOILS: [&str; 2] = ["x'c1'", "(SELECT operation FROM tw_operations WHERE mutation <> ?1)"];

fn spoil(replica: Replica, place: &Place, with: &str, id: MutationId) -> Replica {
    drop(replica);
    let file = place.connect();
    let sql = format!("UPDATE tw_operations SET operation = {with} WHERE mutation = ?1");
    assert!(file.execute(&sql, [id.0]).unwrap() > 0);
    drop(file);
    place.open()
}

fn count(place: &Place, table: &str) -> i64 {
    let file = place.connect();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Two writes, of which the second cannot be read.
fn spoiled(place: &Place, with: &str) -> (Replica, MutationId) {
    let mut replica = place.with_messages();
    write(&mut replica, "UPDATE chat.messages SET body = 'fine' WHERE id = 2").unwrap();
    let bad = write(&mut replica, "UPDATE chat.messages SET body = 'bad' WHERE id = 1").unwrap();
    let replica = spoil(replica, place, with, bad);
    let unreadable = replica.mutate(&outgoing(&[bad])).unwrap_err();
    assert!(matches!(unreadable, ReplicaError::Unreadable(id) if id == bad));
    (replica, bad)
}

#[test]
fn what_cannot_be_read_can_be_taken_back() {
    for with in SPOILS {
        let place = Place::new();
        let (mut replica, bad) = spoiled(&place, with);
        replica.cancel(bad).unwrap().unwrap();
        assert_eq!(rows(&replica, ALL), ["1 one 5", "2 fine 6"]);
        assert_eq!(count(&place, "tw_base_64"), 1, "that of the other one");
        assert!(replica.is_waiting(bad).unwrap(), "its number is not decided");
    }
}

#[test]
fn what_cannot_be_read_settles_and_is_not_written_again() {
    for with in SPOILS {
        for settled in [Settled::Accepted(seq(9)), rejected(), Settled::Uncertain] {
            let place = Place::new();
            let (mut replica, bad) = spoiled(&place, with);
            apply(&mut replica, vec![settle(bad, settled.clone())]);
            assert_eq!(rows(&replica, ALL), ["1 one 5", "2 fine 6"]);
            let kept = replica.rejections(0, 9).unwrap();
            assert_eq!(kept.len(), usize::from(!matches!(settled, Settled::Accepted(_))));
            for one in kept {
                assert_eq!(one.mutation.operations, [], "that would be something else");
                let mut transaction = replica.begin(crate::world::writer()).unwrap();
                let refused = transaction.write_again(one.id).unwrap_err();
                assert!(matches!(refused, ReplicaError::Unreadable(_)), "{refused}");
            }
        }
    }
}

/// Steps, writes and a new description of its table are possible.
#[test]
fn what_cannot_be_read_is_in_the_way_of_nothing() {
    for with in SPOILS {
        let place = Place::new();
        let (mut replica, bad) = spoiled(&place, with);
        write(&mut replica, "UPDATE chat.messages SET room = 3 WHERE id = 1").unwrap();
        let mut later = crate::world::messages();
        later.version = protocol::ids::SchemaVersion(2);
        later.columns.push(crate::world::column(5, "new", protocol::value::ColumnType::Text));
        apply(&mut replica, vec![put(1, all_columns(later))]);
        let mut theirs = message(1, 7, "theirs");
        theirs.0.push(protocol::value::Value::Null);
        apply(&mut replica, vec![batch(1, &[5], vec![theirs])]);
        assert!(replica.is_waiting(bad).unwrap());
        assert_eq!(rows(&replica, ALL), ["1 theirs 5", "2 fine 6"], "it shows nothing");
        apply(&mut replica, vec![Write::HeldBackUncertain(lane())]);
    }
}

/// The row is known by the key that is stored beside what is written.
#[test]
fn a_key_of_several_columns_is_found_without_what_was_written() {
    let place = Place::new();
    let mut replica = place.open();
    apply(&mut replica, vec![put(1, all_columns(marks()))]);
    let sql = "INSERT INTO chat.marks (user, room, at) VALUES ('it''s \"me\"', 7, 1)";
    let bad = write(&mut replica, sql).unwrap();
    let mut replica = spoil(replica, &place, SPOILS[0], bad);
    replica.cancel(bad).unwrap().unwrap();
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.marks"), ["0"]);
}
