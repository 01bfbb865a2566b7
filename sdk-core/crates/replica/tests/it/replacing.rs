//! What waits is written anew, before it is sent (C5).

use protocol::error_code::ErrorCode;
use sdk_machine::{MutationId, Write};
use sdk_replica::{OnReject, Replica, ReplicaError, WriteOptions};

use crate::sending::{ALL, apply, writer as sent};
use crate::world::{Place, rows, with, write};

fn replaces(id: MutationId) -> WriteOptions {
    WriteOptions { replaces: Some(id), ..WriteOptions::default() }
}

fn waiting(replica: &Replica) -> Vec<MutationId> {
    replica.pending().unwrap().iter().map(|one| one.id).collect()
}

const INSERT: &str = "INSERT INTO chat.messages (id, body) VALUES (3, 'first')";

#[test]
fn what_waits_is_replaced_in_one_transaction() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let first = write(&mut replica, INSERT).unwrap();
    let other =
        write(&mut replica, "UPDATE chat.messages SET body = 'other' WHERE id = 2").unwrap();
    let better = "INSERT INTO chat.messages (id, body) VALUES (3, 'better')";
    let committed = with(&mut replica, replaces(first), better).unwrap();
    let taken_back = committed.taken_back.unwrap();
    assert_eq!((taken_back.id, taken_back.is_held), (first, false));
    assert!(committed.changed.tables.contains_key("tw_pending"));
    let second = committed.id.unwrap();
    assert_eq!(waiting(&replica), [other, second]);
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 other 6", "3 better NULL"]);
    // It keeps its number, and is sent as one that was taken back.
    let outbox = replica.load().unwrap().outbox;
    let is: Vec<_> = outbox.iter().map(|one| (one.id, one.is_cancelled)).collect();
    assert_eq!(is, [(first, true), (other, false), (second, false)]);
    // By nothing, too.
    let nothing = "DELETE FROM chat.messages WHERE id = 99";
    let committed = with(&mut replica, replaces(second), nothing).unwrap();
    assert_eq!((committed.id, committed.taken_back.map(|it| it.id)), (None, Some(second)));
    assert!(committed.changed.tables.contains_key("tw_pending"));
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 other 6"]);
    let gone = with(&mut replica, replaces(second), nothing).unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound, "{gone}");
    drop(replica);
    assert_eq!(waiting(&place.open()), [other]);
}

/// Where the new one cannot be, the old one stays.
#[test]
fn a_write_that_fails_replaces_nothing() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let first = write(&mut replica, INSERT).unwrap();
    let bytes = replica.outbox_bytes();
    for sql in ["INSERT INTO chat.messages (id) VALUES (1)", "SELECT nothing"] {
        with(&mut replica, replaces(first), sql).unwrap_err();
        assert_eq!(waiting(&replica), [first], "{sql}");
        assert_eq!(replica.outbox_bytes(), bytes);
        assert!(!replica.is_taken_back(first).unwrap());
        assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6", "3 first NULL"]);
    }
}

#[test]
fn what_may_have_left_the_device_is_not_replaced() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let first = write(&mut replica, INSERT).unwrap();
    let second = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 1").unwrap();
    apply(&mut replica, vec![Write::PutWriter(Box::new(sent(first.0)))]);
    let change = "UPDATE chat.messages SET body = 'b' WHERE id = 3";
    let refused = with(&mut replica, replaces(first), change).unwrap_err();
    assert!(matches!(refused, ReplicaError::AlreadySent), "{refused}");
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert_eq!(waiting(&replica), [first, second]);
    // What is behind it is not sent.
    let change = "UPDATE chat.messages SET body = 'b' WHERE id = 1";
    let third = with(&mut replica, replaces(second), change).unwrap().id.unwrap();
    assert_eq!(waiting(&replica), [first, third]);
}

/// What was written on it would be lost.
#[test]
fn what_was_written_again_since_is_not_replaced() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let first = write(&mut replica, INSERT).unwrap();
    let later = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 3").unwrap();
    let better = "INSERT INTO chat.messages (id, body) VALUES (3, 'better')";
    let refused = with(&mut replica, replaces(first), better).unwrap_err();
    assert!(matches!(refused, ReplicaError::WrittenSince), "{refused}");
    assert_eq!(rows(&replica, ALL).last().unwrap(), "3 a NULL");
    let change = "UPDATE chat.messages SET body = 'b' WHERE id = 3";
    let last = with(&mut replica, replaces(later), change).unwrap().id.unwrap();
    assert_eq!(waiting(&replica), [first, last]);
    assert_eq!(rows(&replica, ALL).last().unwrap(), "3 b NULL");
}

/// In its queue the new one goes behind those that wait there.
#[test]
fn what_is_held_back_is_replaced_in_its_queue() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let queue = || WriteOptions {
        queue: Some("room".to_owned()),
        on_reject: OnReject::Hold,
        ..WriteOptions::default()
    };
    let mut ids = Vec::new();
    for id in 3..=5 {
        let insert = format!("INSERT INTO chat.messages (id, body) VALUES ({id}, 'x')");
        ids.push(with(&mut replica, queue(), &insert).unwrap().id.unwrap());
    }
    assert!(!replica.is_held(ids[0]).unwrap() && replica.is_held(ids[1]).unwrap());
    let better = "INSERT INTO chat.messages (id, body) VALUES (4, 'better')";
    let committed = with(&mut replica, replaces(ids[1]), better).unwrap();
    assert!(committed.taken_back.unwrap().is_held && committed.mutation.is_none());
    let last = committed.id.unwrap();
    assert!(!replica.is_waiting(ids[1]).unwrap(), "it had no number, and has none");
    assert_eq!(waiting(&replica), [ids[0], ids[2], last]);
    assert!(replica.is_held(last).unwrap());
    replica.cancel(ids[0]).unwrap().unwrap();
    let free: Vec<_> = replica.let_go().unwrap().iter().map(|one| one.id).collect();
    assert_eq!(free, [ids[2]], "one after the other");
}
