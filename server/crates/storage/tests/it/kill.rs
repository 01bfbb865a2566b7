//! A process that is killed while it writes: what is on disk is a moment of its history, the same
//! in every family, and not before what it knew to be durable.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use server_storage::conformance::{KEYS, ROWS, entries, layout};
use server_storage::{Batch, Direction, Journal, KeyRange, RocksOptions, RocksStore, Store};

const DIRECTORY: &str = "TIDEWIRE_KILLED_DIRECTORY";
const JOURNAL: &str = "TIDEWIRE_KILLED_JOURNAL";

/// So small that memory is written out by itself, in the middle of everything, several times.
fn options() -> RocksOptions {
    RocksOptions { write_buffer_bytes: 256 * 1024, ..RocksOptions::default() }
}

/// The n-th batch: one row of many, and the number, in another family.
fn batch(number: u32) -> Batch {
    let mut batch = Batch::new();
    batch.put(ROWS, (number % 1000).to_be_bytes(), [number.to_be_bytes().as_slice(); 50].concat());
    batch.put(KEYS, b"number", number.to_be_bytes());
    batch
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The number of the last batch there is, after checking that exactly the batches up to it are.
fn last_batch(store: &RocksStore) -> u32 {
    let snapshot = store.snapshot();
    let last = snapshot.get(KEYS, b"number").unwrap().map_or(0, |bytes| number(&bytes));
    let rows = entries(&*snapshot, ROWS, KeyRange::all(), Direction::Forward);
    assert_eq!(rows.len(), last.min(1000).try_into().unwrap(), "rows at batch {last}");
    for (key, value) in rows {
        let row = number(&key);
        let written = last - (last + 1000 - row) % 1000;
        assert_eq!(number(&value), written, "row {row} at batch {last}");
    }
    last
}

/// Writes batches behind those there are, and reports what it wrote and what is durable.
fn write(store: &RocksStore, batches_max: u32) {
    let mut out = std::io::stdout();
    let first = last_batch(store) + 1;
    for number in (first..).take(batches_max.try_into().unwrap()) {
        store.write(batch(number)).unwrap();
        // Memory is written out by itself about twice between two persists.
        if number % 2000 == 0 {
            store.persist().unwrap();
            writeln!(out, "durable {number}").unwrap();
        } else if number % 50 == 0 {
            writeln!(out, "wrote {number}").unwrap();
        }
    }
}

/// The kill test runs this in a process of its own, where it writes until it is killed. Among the
/// other tests it writes a little, and checks what the kill test relies on.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the kill test tells it where to write")]
fn batches_are_written_and_found() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        let journal = match std::env::var(JOURNAL).unwrap().as_str() {
            "own" => Journal::Own,
            _ => Journal::Elsewhere,
        };
        let store = RocksStore::open(Path::new(&directory), layout(journal), &options()).unwrap();
        write(&store, u32::MAX);
    }
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path(), layout(Journal::Own), &options()).unwrap();
    assert_eq!(last_batch(&store), 0);
    write(&store, 1_234);
    write(&store, 1);
    assert_eq!(last_batch(&store), 1_235);
}

/// Starts the process, kills it once it has reported `reports` times, and returns what it last
/// reported to be durable, if anything.
fn kill_after(directory: &Path, journal: &str, reports: u64) -> u32 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::batches_are_written_and_found", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(JOURNAL, journal)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut durable = 0;
    let mut seen = 0;
    for line in lines {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("durable ") {
            durable = number.parse().unwrap();
        } else if !line.starts_with("wrote ") {
            continue;
        }
        seen += 1;
        if seen == reports {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= reports, "the process ended by itself");
    durable
}

/// INV-10, the part that storage owes it: flushed ≤ applied, at one point in all families.
#[test]
fn a_killed_store_is_at_one_batch_in_all_families_and_keeps_what_was_durable() {
    seeds::for_each("storage-kill", 6, |seed| {
        let (journal, name) = match seed % 2 {
            0 => (Journal::Own, "own"),
            _ => (Journal::Elsewhere, "elsewhere"),
        };
        let directory = tempfile::tempdir().unwrap();
        let mut before = 0;
        for life in 0..3 {
            let durable = kill_after(directory.path(), name, 1 + (seed * 7 + life * 53) % 120);
            let store = RocksStore::open(directory.path(), layout(journal), &options()).unwrap();
            let last = last_batch(&store);
            assert!(last >= durable, "batch {durable} was durable, {last} is the last there is");
            assert!(last >= before, "what an earlier life left was durable when it was opened");
            before = last;
        }
    });
}
