//! What is sent of what was written, and what a server says of it.

use protocol::frame::v1::{RowChange, RowNow, TableNow, Written};
use protocol::ids::{ColumnId, ContentHash, Epoch, MutationNumber, TableId};
use protocol::mutation::{MutationDigest, Reason, Rejection};
use protocol::value::{ColumnType, Row, Value};
use sdk_machine::{
    MutationId, Outgoing, Place as Sent, Settled, StoredWriter, SubscriptionId, Write,
};
use sdk_replica::Replica;

use crate::world::{
    CLIENT, Place, batch, birth, column, known, lane, message, messages, put, put_lane, rows, seq,
    step, write,
};

pub(crate) const ALL: &str = "SELECT id, body, _seq FROM chat.messages ORDER BY id";

pub(crate) fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number).unwrap()
}

pub(crate) fn writer(sent: i64) -> StoredWriter {
    StoredWriter {
        lane: lane(),
        client: CLIENT,
        since: 5,
        epoch: Some(Epoch::from_bytes([9; 16])),
        settled: number(1),
        settled_hash: ContentHash::from_bytes([3; 16]),
        sent: number(2),
        sent_place: Sent(sent),
        sent_elsewhere: Sent(0),
        confirmed: number(1),
        stuck: None,
    }
}

pub(crate) fn rejected() -> Settled {
    let (operation, table, column) = (0, TableId(64), None);
    Settled::Rejected(Rejection { operation, table, column, reason: Reason::DuplicateKey })
}

pub(crate) fn settle(id: MutationId, settled: Settled) -> Write {
    Write::Settle { id, settled }
}

fn says(id: i64, body: &str, at: u64) -> Write {
    let changes = vec![RowChange::Row(birth(at), message(id, 1, body))];
    Write::Changes { subscription: SubscriptionId(1), changes }
}

pub(crate) fn now(rows: Vec<RowNow>) -> Write {
    let columns = (1..=4).map(ColumnId).collect();
    Write::RowsNow(vec![TableNow { table: TableId(64), columns, rows }])
}

pub(crate) fn apply(replica: &mut Replica, writes: Vec<Write>) {
    replica.apply(&step(writes)).unwrap();
}

pub(crate) fn outgoing(ids: &[MutationId]) -> Outgoing {
    Outgoing {
        lane: lane(),
        client: CLIENT,
        since: 5,
        epoch: Epoch::from_bytes([9; 16]),
        first: number(2),
        previous: ContentHash::START,
        mutations: ids.to_vec(),
        confirmed: number(1),
    }
}

#[test]
fn what_is_sent_is_what_was_written_and_its_digest_is_known_without_it() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let gone = write(&mut replica, "DELETE FROM chat.messages").unwrap();
    let content = replica.mutation(gone).unwrap().unwrap();
    replica.cancel(gone).unwrap().unwrap();
    let frame = replica.mutate(&outgoing(&[one, gone])).unwrap();
    let mutation = replica.mutation(one).unwrap().unwrap();
    let digest = MutationDigest::of(&content);
    let written = [Written::Mutation(mutation.clone()), Written::Cancelled(digest)];
    assert_eq!(frame.mutations, written);
    drop(replica);
    let stored = place.open().load().unwrap().outbox;
    let known: Vec<_> = stored.iter().map(|it| (it.id, it.digest, it.is_cancelled)).collect();
    assert_eq!(known, [(one, MutationDigest::of(&mutation), false), (gone, digest, true)]);
}

#[test]
fn how_far_it_is_sent_is_there_after_a_restart_and_the_view_says_it() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 1").unwrap();
    write(&mut replica, "UPDATE chat.messages SET body = 'b' WHERE id = 2").unwrap();
    let put = Write::PutWriter(Box::new(writer(one.0)));
    let changed = replica.apply(&step(vec![put, Write::PutSince(77)])).unwrap();
    assert!(changed.tables.contains_key("tw_pending"));
    let states = "SELECT key, state FROM tw_pending ORDER BY mutation";
    assert_eq!(rows(&replica, states), ["1 sent", "2 queued"]);
    drop(replica);
    let stored = place.open().load().unwrap();
    assert_eq!((stored.writers, stored.since), (vec![writer(one.0)], Some(77)));
}

#[test]
fn an_accepted_write_is_the_servers_row_in_one_step() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    apply(
        &mut replica,
        vec![says(1, "mine", 5), put_lane(11), settle(one, Settled::Accepted(seq(11)))],
    );
    assert_eq!(rows(&replica, ALL), ["1 mine 5", "2 two 6"]);
    assert_eq!(replica.pending().unwrap(), []);
    // A number of a mutation is not given twice, also when none waits.
    drop(replica);
    let mut replica = place.open();
    let next = write(&mut replica, "UPDATE chat.messages SET body = 'b' WHERE id = 2").unwrap();
    assert!(next > one);
}

/// Whatever type the key has, the row that the server says and the one that a write has named are the same.
#[test]
fn a_row_with_a_key_of_any_type_stays_when_its_write_is_settled() {
    let keys = [
        (ColumnType::Boolean, Value::Boolean(true)),
        (ColumnType::Int, Value::Integer(7)),
        (ColumnType::Timestamp, Value::Integer(1_000_000)),
        (ColumnType::Text, Value::text("a \"key\"").unwrap()),
        (ColumnType::Bytes, Value::Bytes(vec![0, 0xAB])),
        (ColumnType::Uuid, Value::Uuid([0xAB; 16])),
    ];
    for (of, key) in keys {
        for is_second in [false, true] {
            let place = Place::new();
            let mut replica = place.open();
            let mut table = messages();
            let mut column = column(1, "id", of);
            column.not_null = true;
            table.columns[0] = column;
            table.indexes.clear();
            if is_second {
                table.columns[1].not_null = true;
                table.primary_key = vec![ColumnId(2), ColumnId(1)];
            }
            let row = |body: &str| {
                let values =
                    [key.clone(), Value::Integer(7), Value::text(body).unwrap(), Value::Null];
                Row(values.to_vec())
            };
            let here = vec![put(1, known(table, &[1, 2, 3, 4])), batch(1, &[5], vec![row("one")])];
            apply(&mut replica, here);
            let one = write(&mut replica, "UPDATE chat.messages SET body = 'mine'").unwrap();
            let changes = vec![RowChange::Row(birth(5), row("mine"))];
            let says = Write::Changes { subscription: SubscriptionId(1), changes };
            apply(&mut replica, vec![says, put_lane(11), settle(one, Settled::Accepted(seq(11)))]);
            assert_eq!(rows(&replica, "SELECT body FROM chat.messages"), ["mine"], "{of:?}");
            // And when one is taken back.
            let two = write(&mut replica, "UPDATE chat.messages SET body = 'again'").unwrap();
            replica.cancel(two).unwrap().unwrap();
            assert_eq!(rows(&replica, "SELECT body FROM chat.messages"), ["mine"], "{of:?}");
        }
    }
}

#[test]
fn later_writes_fold_on_what_is_left_when_one_is_rejected() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'a' WHERE id = 1").unwrap();
    write(&mut replica, "UPDATE chat.messages SET room = 9 WHERE id = 1").unwrap();
    let new = write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (3, 'c')").unwrap();
    apply(&mut replica, vec![settle(one, rejected()), settle(new, Settled::Uncertain)]);
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6"]);
    assert_eq!(rows(&replica, "SELECT room FROM chat.messages WHERE id = 1"), ["9"]);
    // What did not happen is kept, with what it was.
    drop(replica);
    let other = place.connect();
    let sql = "SELECT count(*), count(verdict), count(content) FROM tw_rejected";
    let kept = other.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    assert_eq!(kept.unwrap(), (2, 1, 2));
}

#[test]
fn a_row_that_only_writes_hold_is_the_servers_until_none_waits() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (7, 'a')").unwrap();
    let two = write(&mut replica, "UPDATE chat.messages SET room = 4 WHERE id = 7").unwrap();
    let row = RowNow::Row(birth(12), message(7, 3, "theirs"));
    let accepted = settle(one, Settled::Accepted(seq(12)));
    apply(&mut replica, vec![accepted, now(vec![row])]);
    let seven = "SELECT room, body, _seq FROM chat.messages WHERE id = 7";
    assert_eq!(rows(&replica, seven), ["4 theirs 12"]);
    apply(&mut replica, vec![settle(two, Settled::Accepted(seq(13)))]);
    assert_eq!(rows(&replica, seven), [""; 0], "nobody holds it");
    // One that the server does not have.
    let one = write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (7, 'a')").unwrap();
    write(&mut replica, "UPDATE chat.messages SET room = 4 WHERE id = 7").unwrap();
    let key = Row(vec![Value::Integer(7)]);
    apply(&mut replica, vec![settle(one, rejected()), now(vec![RowNow::Gone(key)])]);
    assert_eq!(rows(&replica, seven), [""; 0], "there is nothing to change");
}

/// What a subscription holds is said by its changes: whole rows would bring columns that nobody keeps
/// up to date.
#[test]
fn rows_that_a_subscription_holds_are_not_taken_from_a_decision() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    let row = RowNow::Row(birth(5), message(1, 1, "of later"));
    apply(&mut replica, vec![settle(one, Settled::Accepted(seq(11))), now(vec![row])]);
    assert_eq!(rows(&replica, ALL), ["1 one 5", "2 two 6"]);
    // One that is only shown until it is loaded anew is.
    let one = write(&mut replica, "UPDATE chat.messages SET body = 'mine' WHERE id = 1").unwrap();
    apply(&mut replica, vec![Write::KeepRows(SubscriptionId(1))]);
    let row = RowNow::Row(birth(5), message(1, 1, "as decided"));
    apply(&mut replica, vec![settle(one, Settled::Accepted(seq(11))), now(vec![row])]);
    assert_eq!(rows(&replica, ALL), ["1 as decided 5", "2 two 6"]);
}

/// W8: nothing is left of what is decided.
#[test]
fn what_settles_makes_room() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let mut last = None;
    for _ in 0..3 {
        last = write(&mut replica, "UPDATE chat.messages SET room = room + 1");
    }
    let ids: Vec<_> = replica.pending().unwrap().into_iter().map(|one| one.id).collect();
    let writes = ids.iter().map(|id| settle(*id, Settled::Accepted(seq(9)))).collect();
    apply(&mut replica, writes);
    assert_eq!((replica.load().unwrap().outbox, ids.last().copied()), (vec![], last));
    drop(replica);
    let other = place.connect();
    for table in ["tw_outbox", "tw_operations", "tw_base_64", "tw_log_64"] {
        let count: i64 = other
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 0, "{table}");
    }
}
