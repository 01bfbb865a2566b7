//! Writes of a queue go one after the other, and wait for what was rejected.

use sdk_machine::{MutationId, Settled, Write};
use sdk_replica::{OnReject, Replica, ReplicaError, WriteOptions};

use crate::sending::{ALL, apply, rejected, settle, writer};
use crate::world::{Place, lane, rows, seq, with, write};

fn queue(name: &str) -> WriteOptions {
    let queue = Some(name.to_owned());
    WriteOptions { queue, on_reject: OnReject::Hold, ..WriteOptions::default() }
}

fn send(replica: &mut Replica, name: &str, id: i64) -> MutationId {
    let sql = format!("INSERT INTO chat.messages (id, body) VALUES ({id}, 'm{id}')");
    with(replica, queue(name), &sql).unwrap().id.unwrap()
}

fn let_go(replica: &mut Replica) -> Vec<MutationId> {
    replica.let_go().unwrap().iter().map(|stored| stored.id).collect()
}

fn accept(replica: &mut Replica, id: MutationId) {
    apply(replica, vec![settle(id, Settled::Accepted(seq(20)))]);
}

/// The ids of what is to be sent, in that order.
fn to_send(replica: &mut Replica) -> Vec<MutationId> {
    replica.load().unwrap().outbox.iter().map(|stored| stored.id).collect()
}

/// C3: each goes when the one before it is decided; others pass them.
#[test]
fn writes_of_a_queue_go_one_after_the_other() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (one, two, three) =
        (send(&mut replica, "a", 11), send(&mut replica, "a", 12), send(&mut replica, "a", 13));
    let of_b = send(&mut replica, "b", 14);
    let free = write(&mut replica, "UPDATE chat.messages SET body = 'x' WHERE id = 1").unwrap();
    assert_eq!(to_send(&mut replica), [one, of_b, free]);
    assert!(replica.is_held(two).unwrap() && !replica.is_held(one).unwrap());
    let shown = ["1 x 5", "2 two 6", "11 m11 NULL", "12 m12 NULL", "13 m13 NULL", "14 m14 NULL"];
    assert_eq!(rows(&replica, ALL), shown);
    assert_eq!(rows(&replica, "SELECT DISTINCT state FROM tw_pending"), ["queued"]);
    assert_eq!(let_go(&mut replica), []);
    accept(&mut replica, one);
    // Also after a restart.
    drop(replica);
    let mut replica = place.open();
    assert_eq!(let_go(&mut replica), [two]);
    assert_eq!(to_send(&mut replica), [of_b, free, two]);
    assert_eq!(let_go(&mut replica), []);
    apply(&mut replica, vec![settle(two, rejected())]);
    assert_eq!(let_go(&mut replica), [], "until it is dealt with");
    assert!(replica.discard(two).unwrap());
    assert_eq!(let_go(&mut replica), [three]);
    // Of ids and places none is used twice.
    let next = write(&mut replica, "UPDATE chat.messages SET body = 'y' WHERE id = 2").unwrap();
    let stored = replica.load().unwrap().outbox;
    let places: Vec<_> = stored.iter().map(|it| (it.id, it.place.0)).collect();
    assert_eq!(places, [(of_b, 4), (free, 5), (three, 7), (next, 8)]);
}

/// A retry goes before those that have waited for it, and they fold on it.
#[test]
fn what_replaces_a_rejected_write_has_its_turn() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = send(&mut replica, "a", 11);
    let edit = with(&mut replica, queue("a"), "UPDATE chat.messages SET room = 3 WHERE id = 11");
    let edit = edit.unwrap().id.unwrap();
    apply(&mut replica, vec![settle(one, rejected())]);
    let eleven = "SELECT room, body FROM chat.messages WHERE id = 11";
    assert_eq!(rows(&replica, eleven), [""; 0], "there is nothing to change");
    let options = WriteOptions { replaces: Some(one), ..WriteOptions::default() };
    let sql = "INSERT INTO chat.messages (id, body) VALUES (11, 'again')";
    let again = with(&mut replica, options, sql).unwrap().mutation.unwrap();
    assert_eq!(rows(&replica, eleven), ["3 again"], "with what is sent behind it on it");
    assert_eq!(replica.rejections(0, 9).unwrap(), []);
    assert_eq!((let_go(&mut replica), to_send(&mut replica)), (vec![], vec![again.id]));
    apply(&mut replica, vec![settle(again.id, Settled::Accepted(seq(20)))]);
    assert_eq!(let_go(&mut replica), [edit]);
}

fn replaces(id: MutationId) -> WriteOptions {
    WriteOptions { replaces: Some(id), ..WriteOptions::default() }
}

/// What is rejected of a queue, and what is held behind it.
fn halted(replica: &mut Replica) -> (MutationId, MutationId) {
    let (one, two) = (send(replica, "a", 11), send(replica, "a", 12));
    apply(replica, vec![settle(one, rejected())]);
    (one, two)
}

/// The turn is one in its own queue.
#[test]
fn a_replacement_in_another_queue_waits_there() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (_, two) = halted(&mut replica);
    let sql = "UPDATE chat.messages SET body = 'mine' WHERE id = 1";
    let free = write(&mut replica, sql).unwrap();
    apply(&mut replica, vec![settle(free, rejected())]);
    let options = WriteOptions { replaces: Some(free), ..queue("a") };
    let edit = with(&mut replica, options, sql).unwrap();
    assert!(replica.is_held(edit.id.unwrap()).unwrap() && replica.is_held(two).unwrap());
}

/// After a fork there are several, and they go one after the other as ever.
#[test]
fn of_several_rejected_writes_of_a_queue_one_goes_at_a_time() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (one, two) = halted(&mut replica);
    apply(&mut replica, vec![Write::HeldBackUncertain(lane())]);
    let again = |replica: &mut Replica, id: MutationId, row: i64| {
        let sql = format!("INSERT INTO chat.messages (id, body) VALUES ({row}, 'again')");
        with(replica, replaces(id), &sql).unwrap().id.unwrap()
    };
    let first = again(&mut replica, one, 11);
    let second = again(&mut replica, two, 12);
    assert!(!replica.is_held(first).unwrap() && replica.is_held(second).unwrap());
    assert_eq!((let_go(&mut replica), to_send(&mut replica)), (vec![], vec![first]));
    accept(&mut replica, first);
    assert_eq!(let_go(&mut replica), [second]);
}

/// It goes before what was written on the row of the rejected one, and not before what makes a row that
/// it changes.
#[test]
fn a_replacement_waits_for_rows_that_the_rejected_write_did_not_write() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (one, two) = halted(&mut replica);
    let insert = "INSERT INTO chat.messages (id, body) VALUES (11, 'again')";
    let mut transaction = replica.begin(crate::world::writer()).unwrap();
    transaction.set_options(replaces(one)).unwrap();
    transaction.execute(insert, &[]).unwrap();
    transaction.execute("UPDATE chat.messages SET room = 5 WHERE id = 12", &[]).unwrap();
    let edit = transaction.commit().unwrap().id.unwrap();
    assert!(replica.is_held(edit).unwrap());
    assert_eq!(let_go(&mut replica), [two]);
    accept(&mut replica, two);
    assert_eq!(let_go(&mut replica), [edit]);
}

/// It is dealt with, or its queue would wait for ever.
#[test]
fn what_is_replaced_by_nothing_is_dealt_with() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (one, two) = halted(&mut replica);
    let nothing = "UPDATE chat.messages SET body = 'one' WHERE id = 1";
    assert_eq!(with(&mut replica, replaces(one), nothing).unwrap().id, None);
    assert_eq!(replica.rejections(0, 9).unwrap(), []);
    assert_eq!(let_go(&mut replica), [two]);
}

/// Each is looked at once: a row that was written 2,000 times has 2,000,000 pairs.
#[test]
fn many_that_wait_for_one_row_are_let_go_in_one_pass() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let (one, two) = halted(&mut replica);
    let sql = "UPDATE chat.messages SET room = coalesce(room, 0) + 1 WHERE id = 12";
    let ids: Vec<MutationId> = (0..2_000).map(|_| write(&mut replica, sql).unwrap()).collect();
    assert!(replica.discard(one).unwrap());
    let mut gone = Vec::new();
    loop {
        let some = let_go(&mut replica);
        if some.is_empty() {
            break;
        }
        assert!(some.len() <= sdk_replica::LET_GO_AT_ONCE_MAX);
        gone.extend(some);
    }
    assert_eq!((gone[0], &gone[1..]), (two, &ids[..]));
    assert_eq!(to_send(&mut replica), gone);
}

/// What was written on what a held write shows would be sent before it otherwise.
#[test]
fn a_write_of_a_row_waits_for_what_is_held_of_it() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = send(&mut replica, "a", 11);
    let two = send(&mut replica, "a", 12);
    let of_row = write(&mut replica, "UPDATE chat.messages SET room = 3 WHERE id = 12").unwrap();
    let of_it = write(&mut replica, "UPDATE chat.messages SET room = 4 WHERE id > 11").unwrap();
    assert_eq!(to_send(&mut replica), [one]);
    let online = WriteOptions { online: true, ..WriteOptions::default() };
    let sql = "UPDATE chat.messages SET room = 5 WHERE id = 12";
    let refused = with(&mut replica, online, sql).unwrap_err();
    assert!(matches!(refused, ReplicaError::WouldWait), "{refused}");
    accept(&mut replica, one);
    assert_eq!(let_go(&mut replica), [two, of_row, of_it], "in their order");
    assert_eq!(to_send(&mut replica), [two, of_row, of_it]);
    assert_eq!(rows(&replica, "SELECT room FROM chat.messages WHERE id = 12"), ["4"]);
}

#[test]
fn what_is_held_can_be_taken_back_and_leaves_nothing() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = send(&mut replica, "a", 11);
    let two = send(&mut replica, "a", 12);
    let on_two = write(&mut replica, "UPDATE chat.messages SET room = 3 WHERE id = 12").unwrap();
    replica.cancel(two).unwrap().unwrap();
    assert_eq!(replica.cancel(two).unwrap(), None);
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages WHERE id = 12"), ["0"]);
    assert_eq!(let_go(&mut replica), [on_two]);
    assert_eq!(to_send(&mut replica), [one, on_two]);
    replica.cancel(one).unwrap().unwrap();
    let three = send(&mut replica, "a", 13);
    assert!(!replica.is_held(three).unwrap(), "what was taken back keeps nobody waiting");
}

#[test]
fn a_queue_and_hold_are_given_together() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let alone = WriteOptions { on_reject: OnReject::Continue, ..queue("a") };
    let nameless = WriteOptions { queue: None, ..queue("a") };
    for options in [alone, nameless, queue(""), queue(&"q".repeat(257))] {
        let refused = with(&mut replica, options, "DELETE FROM chat.messages").unwrap_err();
        assert!(refused.to_string().contains("queue"), "{refused}");
    }
    assert_eq!(replica.pending().unwrap(), []);
}

/// A copy may have sent it, at another place.
#[test]
fn what_is_held_in_a_copy_is_uncertain() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = send(&mut replica, "a", 11);
    let two = send(&mut replica, "a", 12);
    let writes = vec![settle(one, Settled::Uncertain), Write::HeldBackUncertain(lane())];
    apply(&mut replica, writes);
    let kept: Vec<_> = replica.rejections(0, 9).unwrap();
    let kept: Vec<_> = kept.iter().map(|it| (it.id, it.rejection.is_none(), it.place)).collect();
    assert_eq!(kept, [(one, true, 1), (two, true, 2)]);
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6"]);
    assert!(!replica.is_held(two).unwrap());
    assert_eq!(writer(0).stuck, None);
}
