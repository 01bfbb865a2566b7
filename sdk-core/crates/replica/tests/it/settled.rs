//! What is settled leaves nothing behind that is looked at again (W8).

// Only Linux says how many bytes were read.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use sdk_machine::{Config, Machine, MutationId, Settled, Stored, Write};
use sdk_replica::{Replica, Tidied};

use crate::sending::{apply, rejected, settle, writer as sent};
use crate::world::{Place, put_lane, seq, write};

/// Writes, of which the server decides each: most are accepted, and of the others the application deals
/// with some and takes some back.
fn settle_many(replica: &mut Replica, count: i64) {
    for first in (0..count).step_by(500) {
        let mut ids: Vec<MutationId> = Vec::new();
        for number in first..count.min(first + 500) {
            let sql = format!("UPDATE chat.messages SET body = 'write {number}' WHERE id = 1");
            ids.extend(write(replica, &sql));
        }
        let is = |id: &MutationId, part: i64| id.0 % 50 == part;
        for id in ids.iter().filter(|id| is(id, 3)) {
            assert!(replica.cancel(*id).unwrap().is_some());
        }
        let verdict = |id: &MutationId| match is(id, 7) {
            true => rejected(),
            false => Settled::Accepted(seq(10)),
        };
        let mut writes: Vec<Write> = ids.iter().map(|id| settle(*id, verdict(id))).collect();
        writes.push(Write::PutWriter(Box::new(sent(ids.last().unwrap().0))));
        writes.push(put_lane(10));
        apply(replica, writes);
        for id in ids.iter().filter(|id| is(id, 7)) {
            assert!(replica.discard(*id).unwrap());
        }
        while replica.tidy().unwrap() == Tidied::Some {}
    }
}

/// How many rows each of the SDK's tables has.
fn rows_of_the_sdk(place: &Place) -> BTreeMap<String, i64> {
    let file = place.connect();
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tw\\_%' ESCAPE '\\'";
    let mut select = file.prepare(tables).unwrap();
    let names = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let counted = |name: String| {
        let sql = format!("SELECT count(*) FROM {name}");
        let count = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        (name, count)
    };
    names.map(|name| counted(name.unwrap())).collect()
}

/// How many bytes this thread has had the system read for it.
fn bytes_read() -> i64 {
    let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

/// What is stored after so many, and how many bytes are read of the file until the client could connect.
fn opened_after(count: i64) -> (BTreeMap<String, i64>, Stored, i64) {
    let place = Place::new();
    let mut replica = place.with_messages();
    settle_many(&mut replica, count);
    assert_eq!(replica.pending().unwrap(), []);
    drop(replica);
    let rows = rows_of_the_sdk(&place);
    let before = bytes_read();
    let mut replica = place.open();
    let stored = replica.load().unwrap();
    let read = bytes_read() - before;
    assert_eq!(
        write(&mut replica, "UPDATE chat.messages SET body = 'more'"),
        Some(MutationId(count + 1))
    );
    (rows, stored, read)
}

#[test]
fn a_replica_that_has_settled_very_many_opens_as_one_that_has_settled_ten() {
    let (few_rows, few, few_read) = opened_after(10);
    let (rows, many, read) = opened_after(20_000);
    assert_eq!(rows, few_rows);
    assert_eq!((rows["tw_outbox"], rows["tw_operations"], rows["tw_rejected"]), (0, 0, 0));
    assert_eq!((many.outbox.len(), many.writers.len()), (0, 1));
    assert_eq!((few.outbox.len(), few.lanes.len()), (0, many.lanes.len()));
    // A page more or less is where the tables have come to lie.
    assert!(few_read > 0 && read <= few_read + 4 * 4_096, "{read} bytes, and {few_read} after ten");
    let config = Config { servers: 1, verify_every_ms: None, stall_ms: 60_000, app_version: 0 };
    assert_eq!(Machine::new(config, many).is_sent(MutationId(5)), None, "it waits no longer");
}
