//! What has gone takes no room and is not left in the files (E3, Z3), and the journal has a bound.

#[cfg(not(target_family = "wasm"))]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(target_family = "wasm"))]
use std::time::Duration;

use protocol::value::Row;
use sdk_machine::{SubscriptionId, Write};
use sdk_replica::{Replica, Tidied};

use crate::world::{
    Eyes, Place, batch, execute, known, message, messages, put, rows, step, write, writer,
};

/// What is in every row of these tests, and in nothing else.
const MARK: &str = "to be found again";

/// How often the mark is in the file, and in the journal.
fn marks(place: &Place) -> (usize, usize) {
    let count = |end| {
        let all = place.bytes(end);
        all.windows(MARK.len()).filter(|bytes| *bytes == MARK.as_bytes()).count()
    };
    (count(""), count("-wal"))
}

/// As the loop does it when there is nothing else to do.
fn tidy(replica: &mut Replica) -> Tidied {
    for _ in 0..10_000 {
        if replica.is_journal_long() {
            replica.shorten_journal().unwrap();
        }
        match replica.tidy().unwrap() {
            Tidied::Some => {}
            done => return done,
        }
    }
    panic!("there is no end of it");
}

/// So many rows of 1,000 bytes come with a subscription.
fn load(replica: &mut Replica, count: u64) {
    let body = format!("{MARK} {}", "x".repeat(1_000));
    let all = |from: u64| -> (Vec<u64>, Vec<Row>) {
        let numbers = from..(from + 500).min(count);
        let row = |number: u64| message(i64::try_from(number).unwrap(), 7, &body);
        (numbers.clone().map(|number| number + 5).collect(), numbers.map(row).collect())
    };
    replica.apply(&step(vec![put(1, known(messages(), &[1, 2, 3, 4]))])).unwrap();
    for from in (0..count).step_by(500) {
        let (births, rows) = all(from);
        replica.apply(&step(vec![batch(1, &births, rows)])).unwrap();
        if replica.is_journal_long() {
            replica.shorten_journal().unwrap();
        }
    }
}

fn evict(replica: &mut Replica) {
    replica.apply(&step(vec![Write::RemoveSubscription(SubscriptionId(1))])).unwrap();
    if replica.is_journal_long() {
        replica.shorten_journal().unwrap();
    }
}

#[test]
fn what_was_made_and_deleted_again_and_again_takes_no_room() {
    let place = Place::new();
    let mut replica = place.open();
    for cycle in 0..6 {
        load(&mut replica, 5_000);
        assert!(place.size("") > 3_000_000);
        evict(&mut replica);
        assert_eq!(tidy(&mut replica), Tidied::All);
        let file = place.size("");
        assert!(file < 1_500_000, "{file} bytes after {cycle}");
        assert_eq!(place.size("-wal"), 0, "after {cycle}");
    }
    assert_eq!(rows(&replica, "SELECT count(*) FROM chat.messages"), ["0"]);
    drop(replica);
    let check = place.connect();
    let check: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// A few free pages are not worth the work: what comes next takes them.
#[test]
fn a_part_of_the_file_may_be_free() {
    let place = Place::new();
    let mut replica = place.open();
    load(&mut replica, 2_000);
    execute(&mut replica, "CREATE TABLE drafts (id INTEGER PRIMARY KEY, body TEXT)", &[]).unwrap();
    let body = "x".repeat(100_000);
    write(&mut replica, &format!("INSERT INTO drafts VALUES (1, '{body}')"));
    write(&mut replica, "DELETE FROM drafts");
    let before = Eyes::of(&replica).on(&mut replica).storage(|| true).unwrap();
    assert!(before.free > 90_000, "{before:?}");
    assert_eq!(tidy(&mut replica), Tidied::All);
    let after = Eyes::of(&replica).on(&mut replica).storage(|| true).unwrap();
    assert_eq!((after.free, after.file), (before.free, before.file));
}

#[test]
fn what_has_gone_is_in_no_file() {
    let place = Place::new();
    let mut replica = place.open();
    load(&mut replica, 200);
    assert_eq!(tidy(&mut replica), Tidied::All);
    let (file, in_journal) = marks(&place);
    assert!(file + in_journal >= 200, "nothing has gone yet");
    evict(&mut replica);
    assert_ne!(marks(&place), (0, 0), "it is there until it is tidied up");
    assert_eq!(tidy(&mut replica), Tidied::All);
    assert_eq!(marks(&place), (0, 0));
    // What was taken back, and a local table whose rows SQLite lets go without a word.
    load(&mut replica, 1);
    let made = execute(&mut replica, "CREATE TABLE drafts (id INTEGER PRIMARY KEY, a TEXT)", &[]);
    made.unwrap();
    evict(&mut replica);
    assert_eq!(tidy(&mut replica), Tidied::All);
    let insert = format!("INSERT INTO chat.messages (id, body) VALUES (900, '{MARK}')");
    let id = write(&mut replica, &insert).unwrap();
    write(&mut replica, &format!("INSERT INTO drafts VALUES (1, '{MARK}')"));
    assert!(replica.cancel(id).unwrap().is_some());
    assert_eq!(tidy(&mut replica), Tidied::All);
    assert_eq!(marks(&place), (1, 0), "that of the draft");
    write(&mut replica, "DELETE FROM drafts");
    assert_eq!(tidy(&mut replica), Tidied::All);
    assert_eq!(marks(&place), (0, 0));
    // A file that is closed has no journal.
    load(&mut replica, 10);
    evict(&mut replica);
    assert_ne!(marks(&place), (0, 0));
    drop(replica);
    assert_eq!(marks(&place), (0, 0));
}

/// A process that was killed leaves a journal.
#[test]
fn what_another_process_has_left_goes() {
    let place = Place::new();
    let mut replica = place.open();
    load(&mut replica, 1);
    evict(&mut replica);
    let killed = Place::new();
    for end in ["", "-wal"] {
        killed.put(end, &place.bytes(end));
    }
    let mut replica = killed.open();
    assert_ne!(marks(&killed), (0, 0));
    assert_eq!(tidy(&mut replica), Tidied::All);
    assert_eq!(marks(&killed), (0, 0));
}

// In a browser: nobody else has the file open.
#[cfg(not(target_family = "wasm"))]
#[test]
fn who_reads_what_is_to_go_keeps_it_so_long() {
    let place = Place::new();
    let mut replica = place.open();
    load(&mut replica, 10);
    let other = place.connect();
    other.execute_batch("BEGIN; SELECT * FROM sqlite_schema").unwrap();
    evict(&mut replica);
    assert_eq!(tidy(&mut replica), Tidied::NotYet);
    assert_ne!(marks(&place), (0, 0));
    // Nobody else waits for who reads.
    write(&mut replica, "INSERT INTO chat.messages (id, body) VALUES (900, 'mine')");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(tidy(&mut replica), Tidied::All);
    assert_eq!(marks(&place), (0, 0));
}

/// Whoever writes all the time, and looks between writes whether the journal is long, has a short one.
// In a browser: nobody else has the file open.
#[cfg(not(target_family = "wasm"))]
#[test]
fn the_journal_has_a_bound_while_somebody_writes() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let other = place.connect();
    let body = "x".repeat(20_000);
    let mut longest = [0; 3];
    for (at, longest) in longest.iter_mut().enumerate() {
        if at == 1 {
            other.execute_batch("BEGIN; SELECT * FROM sqlite_schema").unwrap();
        }
        for number in 0..1_000 {
            let update = format!("UPDATE chat.messages SET body = '{body}{number}' WHERE id = 1");
            write(&mut replica, &update);
            if replica.is_journal_long() {
                replica.shorten_journal().unwrap();
            }
            *longest = place.size("-wal").max(*longest);
        }
        if at == 1 {
            other.execute_batch("ROLLBACK").unwrap();
        }
    }
    assert!(longest[0] < 5_000_000, "{longest:?}");
    assert!(longest[1] > 20_000_000, "somebody reads: {longest:?}");
    let last = place.size("-wal");
    assert!(last < 5_000_000, "it is short again: {last}");
}

/// Also where at every moment somebody reads, as long as each does so for a short time.
// In a browser: nobody else has the file open.
#[cfg(not(target_family = "wasm"))]
#[test]
fn the_journal_has_a_bound_while_others_read() {
    let place = Place::new();
    let mut replica = place.with_messages();
    let is_over = AtomicBool::new(false);
    let body = "x".repeat(20_000);
    let longest = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let other = place.connect();
                while !is_over.load(Ordering::Relaxed) {
                    other.execute_batch("BEGIN; SELECT * FROM sqlite_schema").unwrap();
                    std::thread::sleep(Duration::from_millis(10));
                    other.execute_batch("ROLLBACK").unwrap();
                }
            });
        }
        let mut longest = 0;
        for number in 0..2_400 {
            let update = format!("UPDATE chat.messages SET body = '{body}{number}' WHERE id = 1");
            write(&mut replica, &update);
            if replica.is_journal_long() {
                replica.shorten_journal().unwrap();
            }
            longest = longest.max(place.size("-wal"));
        }
        is_over.store(true, Ordering::Relaxed);
        longest
    });
    assert!(longest < 30_000_000, "{longest}");
}

/// Only if nobody does it for long does SQLite take the journal in within a write.
#[test]
fn a_journal_that_nobody_looks_at_has_a_bound_too() {
    let place = Place::new();
    let mut replica = place.open();
    execute(&mut replica, "CREATE TABLE drafts (id INTEGER PRIMARY KEY, a BLOB)", &[]).unwrap();
    for _ in 0..30 {
        let (_, committed) = replica
            .execute(writer(), "INSERT OR REPLACE INTO drafts VALUES (1, randomblob(4000000))", &[])
            .unwrap();
        assert!(committed.id.is_none());
    }
    let journal = place.size("-wal");
    assert!(journal < 80_000_000, "{journal}");
}
