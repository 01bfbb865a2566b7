//! What did not happen is kept until the application has dealt with it.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::RowNow;
use protocol::ids::TableId;
use protocol::mutation::Reason;
use protocol::value::{Row, Value};
use sdk_machine::{MutationId, Settled};
use sdk_replica::{OUTBOX_BYTES_MAX, OUTBOX_MUTATIONS_MAX, Replica, ReplicaError, WriteOptions};

use crate::capture::told;
use crate::sending::{ALL, apply, now, rejected, settle};
use crate::world::{Place, birth, execute, message, rows, with, write, writer};

fn replaces(id: MutationId) -> WriteOptions {
    WriteOptions { replaces: Some(id), ..WriteOptions::default() }
}

fn again(replica: &mut Replica, id: MutationId) -> Result<MutationId, ReplicaError> {
    let mut transaction = replica.begin(writer())?;
    transaction.set_options(replaces(id))?;
    transaction.write_again(id)?;
    Ok(transaction.commit()?.id.unwrap())
}

/// C1: with what it was, why, and what the server has; also after a restart.
#[test]
fn a_rejection_is_kept_with_all_that_is_known_of_it() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let two = write(&mut replica, "DELETE FROM chat.messages WHERE id = 2").unwrap();
    let content = replica.mutation(one).unwrap().unwrap();
    let theirs = RowNow::Row(birth(5), message(1, 7, "theirs"));
    let gone = RowNow::Gone(Row(vec![Value::Integer(2)]));
    let other = RowNow::Row(birth(6), message(3, 7, "other"));
    let server = now(vec![theirs.clone(), other, gone.clone()]);
    apply(&mut replica, vec![settle(two, Settled::Uncertain), settle(one, rejected()), server]);
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6"], "undone");
    drop(replica);
    let replica = place.open();
    let kept = replica.rejections(0, 9).unwrap();
    assert_eq!(kept.iter().map(|it| (it.id, it.place)).collect::<Vec<_>>(), [(two, 1), (one, 2)]);
    assert_eq!(kept[0].rejection, None);
    assert_eq!(kept[0].server[0].rows, [gone]);
    assert_eq!(kept[1].rejection.as_ref().unwrap().reason, Reason::DuplicateKey);
    assert_eq!((&kept[1].mutation, kept[1].written_at), (&content, writer().now));
    assert_eq!(kept[1].server[0].rows, [theirs]);
    assert_eq!(replica.rejections(1, 9).unwrap(), kept[1..]);
    assert_eq!(replica.rejected(one).unwrap().as_ref(), Some(&kept[1]));
    assert_eq!(replica.last_rejected().unwrap(), 2);
}

#[test]
fn what_is_discarded_is_gone_and_its_place_is_not_used_again() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 1").unwrap();
    apply(&mut replica, vec![settle(one, rejected())]);
    assert!(replica.discard(one).unwrap());
    assert!(!replica.discard(one).unwrap());
    let two = write(&mut replica, "UPDATE chat.messages SET body = 'b' WHERE id = 1").unwrap();
    drop(replica);
    let mut replica = place.open();
    apply(&mut replica, vec![settle(two, rejected())]);
    assert_eq!(replica.rejections(1, 9).unwrap().len(), 1);
}

/// The same again, on what the server has by now.
#[test]
fn a_rejected_write_is_written_again_as_it_was() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let sql = "UPDATE chat.messages SET body = 'mine' WHERE id = 1";
    let one = write(&mut replica, sql).unwrap();
    let new = write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (3, 'c')").unwrap();
    let before = told(&replica.mutation(one).unwrap().unwrap());
    apply(&mut replica, vec![settle(one, rejected()), settle(new, rejected())]);
    let later = write(&mut replica, "UPDATE chat.messages SET room = 1 WHERE id = 1").unwrap();
    let second = again(&mut replica, one).unwrap();
    let third = again(&mut replica, new).unwrap();
    assert!(later < second && second < third);
    assert_eq!(told(&replica.mutation(second).unwrap().unwrap()), before);
    assert_eq!(rows(&replica, ALL), ["1 mine 5", "2 two 6", "3 c NULL"]);
    assert_eq!(replica.rejections(0, 9).unwrap(), []);
    assert!(matches!(again(&mut replica, one), Err(ReplicaError::NoSuchRejection)));
    // The server's rows are there still.
    for id in [third, second, later] {
        replica.cancel(id).unwrap().unwrap();
    }
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6"]);
    assert_eq!(rows(&replica, "SELECT room FROM chat.messages WHERE id = 1"), ["7"]);
}

#[test]
fn a_replacement_deals_with_a_rejection_or_nothing_happens() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 1").unwrap();
    apply(&mut replica, vec![settle(one, rejected())]);
    with(&mut replica, replaces(one), "UPDATE chat.messages SET nothing = 1").unwrap_err();
    assert_eq!(replica.rejections(0, 9).unwrap().len(), 1, "what was typed is not lost");
    with(&mut replica, replaces(one), "UPDATE chat.messages SET body = 'b' WHERE id = 1").unwrap();
    assert_eq!(replica.rejections(0, 9).unwrap(), []);
    let missing = with(&mut replica, replaces(one), "DELETE FROM chat.messages").unwrap_err();
    assert!(matches!(missing, ReplicaError::NoSuchRejection));
    assert_eq!(rows(&replica, "SELECT body FROM chat.messages"), ["b", "two"]);
}

/// A table that is gone says so, and what was typed stays.
#[test]
fn what_cannot_be_written_again_stays() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 1").unwrap();
    apply(&mut replica, vec![settle(one, rejected())]);
    drop(replica);
    let other = place.connect();
    other.execute("DELETE FROM tw_tables WHERE id = 64", []).unwrap();
    drop(other);
    let mut replica = place.open();
    assert!(replica.schema(TableId(64)).is_none());
    let refused = again(&mut replica, one).unwrap_err();
    assert!(matches!(refused, ReplicaError::Gone(_)), "{refused}");
    assert!(refused.to_string().contains("discard"), "{refused}");
    assert_eq!(replica.rejections(0, 9).unwrap().len(), 1);
}

/// W10: what waits has a bound in bytes, too; what is over it is refused at once and with a code, and
/// nothing else is.
#[test]
fn writes_that_wait_fill_the_outbox() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let id = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let room = 1_000;
    drop(replica);
    let other = place.connect();
    let fill = "UPDATE tw_outbox SET bytes = ?1";
    other.execute(fill, [OUTBOX_BYTES_MAX - room]).unwrap();
    drop(other);
    replica = place.open();
    let large = format!("UPDATE chat.messages SET body = '{}' WHERE id = 1", "x".repeat(1_000));
    for _ in 0..3 {
        let full = with(&mut replica, WriteOptions::default(), &large).unwrap_err();
        assert!(matches!(full, ReplicaError::OutboxFull), "{full}");
        assert_eq!(full.code(), ErrorCode::Quota);
        assert!(full.to_string().contains("connect"), "{full}");
    }
    assert_eq!(rows(&replica, "SELECT body FROM chat.messages WHERE id = 1"), ["mine"]);
    assert_eq!(replica.pending().unwrap().len(), 1);
    // What is not sent takes no part in it, and what is small has room.
    execute(&mut replica, "CREATE TABLE drafts (a)", &[]).unwrap();
    write(&mut replica, &format!("INSERT INTO drafts VALUES ('{}')", "x".repeat(5_000)));
    write(&mut replica, "UPDATE chat.messages SET body = 'two' WHERE id = 1").unwrap();
    assert!(replica.cancel(id).unwrap().is_some());
    write(&mut replica, &large).unwrap();
}

/// W10: what was rejected takes room, and the sentence says how to make some.
#[test]
fn rejections_that_nobody_deals_with_fill_the_outbox() {
    let place = Place::new();
    let mut replica = place.with_messages();
    drop(replica);
    let other = place.connect();
    let fill = format!(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO tw_rejected (id, lane, written_at, content, place)
         SELECT i, 'user/alice', 0, x'81aa6f7065726174696f6e7390', i FROM n",
        OUTBOX_MUTATIONS_MAX - 1
    );
    other.execute(&fill, []).unwrap();
    other.execute("UPDATE tw_replica SET last_mutation = 1000000", []).unwrap();
    drop(other);
    replica = place.open();
    let sql = "UPDATE chat.messages SET body = body || 'a' WHERE id = 1";
    write(&mut replica, sql).unwrap();
    let full = with(&mut replica, WriteOptions::default(), sql).unwrap_err();
    assert!(matches!(full, ReplicaError::OutboxFull), "{full}");
    assert!(full.to_string().contains("discard"), "{full}");
    assert!(replica.discard(MutationId(7)).unwrap());
    write(&mut replica, sql).unwrap();
}

/// In pages; and one that cannot be read hides no other.
#[test]
fn rejections_are_read_in_pages() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let sql = "UPDATE chat.messages SET body = body || 'a' WHERE id = 1";
    let ids: Vec<MutationId> = (0..5).map(|_| write(&mut replica, sql).unwrap()).collect();
    apply(&mut replica, ids.iter().map(|id| settle(*id, rejected())).collect());
    let ids_of = |replica: &Replica, after, most| -> Vec<MutationId> {
        replica.rejections(after, most).unwrap().iter().map(|it| it.id).collect()
    };
    assert_eq!(ids_of(&replica, 0, 2), ids[..2]);
    assert_eq!(ids_of(&replica, 2, 2), ids[2..4]);
    assert_eq!(ids_of(&replica, 4, 2), ids[4..]);
    drop(replica);
    let other = place.connect();
    other
        .execute("UPDATE tw_rejected SET content = x'c1', verdict = x'c1' WHERE id = 2", [])
        .unwrap();
    drop(other);
    let mut replica = place.open();
    assert_eq!(ids_of(&replica, 0, 9), ids);
    let kept = replica.rejected(ids[1]).unwrap().unwrap();
    assert_eq!((kept.mutation.operations.len(), kept.rejection), (0, None));
    let refused = again(&mut replica, ids[1]).unwrap_err();
    assert!(matches!(refused, ReplicaError::Unreadable(_)), "{refused}");
    assert!(replica.discard(ids[1]).unwrap());
}

/// The rows of the server and the verdict take room as well.
#[test]
fn all_that_is_kept_of_a_rejection_is_counted() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let sql = "UPDATE chat.messages SET body = 'mine' WHERE id = 1";
    let one = write(&mut replica, sql).unwrap();
    let waiting = replica.outbox_bytes();
    let theirs = RowNow::Row(birth(5), message(1, 7, &"theirs".repeat(100)));
    apply(&mut replica, vec![settle(one, rejected()), now(vec![theirs])]);
    let kept = replica.outbox_bytes();
    assert!(kept > waiting + 600, "{kept}");
    drop(replica);
    let mut replica = place.open();
    assert_eq!(replica.outbox_bytes(), kept);
    assert!(replica.discard(one).unwrap());
    assert_eq!(replica.outbox_bytes(), 0);
}
