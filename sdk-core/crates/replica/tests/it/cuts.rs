//! The power goes, and with it the last of what was written and not synced: at every frame of the
//! journal, and within each. What is left is what was there after some transaction, whole.

use protocol::frame::v1::RowChange;
use sdk_machine::{SubscriptionId, Write};
use sdk_replica::{Decision, Replica, Request, WriteOptions};

use crate::capture::told;
use crate::world::{CLIENT, Place, birth, message, rows, step, write, writer};

/// What is in a frame of the journal before its page, and what is before the first frame, in bytes.
const FRAME_HEADER: usize = 24;
const JOURNAL_HEADER: usize = 32;

/// All that can be seen of a replica.
#[derive(Debug, PartialEq)]
struct State {
    shown: Vec<String>,
    local: Vec<String>,
    waiting: Vec<Vec<String>>,
    /// INV-12: the requests that are known to be done are those that are.
    done: Vec<u64>,
}

fn state(replica: &Replica) -> State {
    let pending = replica.pending().unwrap();
    State {
        shown: rows(replica, "SELECT id, room, body, _seq FROM chat.messages ORDER BY id"),
        local: rows(replica, "SELECT * FROM notes"),
        waiting: pending
            .iter()
            .map(|one| told(&replica.mutation(one.id).unwrap().unwrap()))
            .collect(),
        done: (0..18).filter(|it| replica.answer("tab", *it).unwrap().is_some()).collect(),
    }
}

fn says(replica: &mut Replica, change: RowChange) {
    let changes = vec![change];
    let write = Write::Changes { subscription: SubscriptionId(1), changes };
    replica.apply(&step(vec![write])).unwrap();
}

/// Transactions of all kinds, one a number.
fn act(replica: &mut Replica, number: u64) {
    let id = i64::try_from(number).unwrap();
    let request = Request { client: "tab".to_owned(), number, answered: number.saturating_sub(7) };
    match number % 6 {
        0 => {
            let mut transaction = replica.begin(writer()).unwrap();
            let request = Some(request);
            transaction.set_options(WriteOptions { request, ..WriteOptions::default() }).unwrap();
            let insert = format!("INSERT INTO chat.messages (id, body) VALUES ({}, 'x')", 100 + id);
            transaction.execute(&insert, &[]).unwrap();
            transaction.execute("INSERT INTO notes VALUES (1)", &[]).unwrap();
            transaction.execute("UPDATE chat.messages SET room = room + 1", &[]).unwrap();
            transaction.commit().unwrap();
        }
        1 => drop(write(replica, &format!("UPDATE chat.messages SET body = 'b{id}' WHERE id = 1"))),
        2 => says(replica, RowChange::Row(birth(5), message(1, id, "theirs"))),
        3 => drop(write(replica, "DELETE FROM chat.messages WHERE id = 2")),
        4 => says(replica, RowChange::Row(birth(100 + number), message(id, 7, "new"))),
        _ => {
            let first = replica.pending().unwrap()[0].id;
            let cancelled = Some(&Decision::Cancelled);
            replica.cancel_as(first, cancelled, Some(&request)).unwrap().unwrap();
        }
    }
}

#[test]
fn what_a_power_cut_leaves_is_whole() {
    let place = Place::new();
    let mut replica = place.with_messages();
    write(&mut replica, "CREATE TABLE notes (a)");
    drop(replica);
    let mut replica = place.open();
    let mut states = vec![state(&replica)];
    for number in 0..18 {
        act(&mut replica, number);
        states.push(state(&replica));
    }
    let (file, journal) = (place.bytes(""), place.bytes("-wal"));
    let frame = FRAME_HEADER + 4_096;
    let frames = (journal.len() - JOURNAL_HEADER) / frame;
    assert!((50..900).contains(&frames), "all of it is in the journal: {frames} frames");
    let mut reached = 0;
    for cut in (0..=frames).flat_map(|whole| [whole * frame, whole * frame + frame / 3]) {
        let left = Place::new();
        left.put("", &file);
        let end = journal.len().min(JOURNAL_HEADER + cut);
        left.put("-wal", &journal[..end]);
        let mut replica = Replica::open(&left, CLIENT).unwrap();
        let found = state(&replica);
        let place = states.iter().skip(reached).position(|state| *state == found);
        reached += place.unwrap_or_else(|| panic!("after {cut} bytes: {found:?}"));
        // And it goes on: no number of a mutation was given twice, nothing of the log is left.
        let before = replica.pending().unwrap().last().map(|last| last.id);
        assert!(
            write(&mut replica, "UPDATE chat.messages SET body = 'after' WHERE id = 1") > before
        );
    }
    assert_eq!(reached, states.len() - 1);
}
