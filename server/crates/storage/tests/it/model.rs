//! RocksDB against the store in memory: the same operations, the same answers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use server_storage::conformance::{CHANGES, KEYS, ROWS, entries, layout};
use server_storage::{
    Batch, Counted, Direction, Family, Journal, KeyRange, MemoryStore, Operation, Overlay,
    OwnedEntry, Reads, Removal, RocksOptions, RocksStore, Snapshot, Store,
};

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Change>),
    Persist,
    /// Opens a snapshot, or compares the one that is open with its twin and closes it.
    Snapshot,
    Compare(KeyRange),
    Compact(u8, KeyRange),
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, Vec<u8>, u8),
    /// Left out in a family of [`Removal::Once`] where the key was not put once.
    Delete(u8, Vec<u8>),
    DeleteRange(u8, Vec<u8>, Vec<u8>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255_u8)], 0..3)
}

fn range() -> impl Strategy<Value = KeyRange> {
    (key(), prop::option::of(key())).prop_map(|(start, end)| KeyRange { start, end })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..3_u8, key(), any::<u8>()).prop_map(|(f, k, v)| Change::Put(f, k, v)),
        3 => (0..3_u8, key()).prop_map(|(f, k)| Change::Delete(f, k)),
        1 => (0..3_u8, key(), key()).prop_map(|(f, a, b)| Change::DeleteRange(f, a, b)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(change(), 0..6).prop_map(Step::Write),
        1 => Just(Step::Persist),
        2 => Just(Step::Snapshot),
        2 => range().prop_map(Step::Compare),
        1 => (0..3_u8, range()).prop_map(|(family, range)| Step::Compact(family, range)),
    ]
}

const FAMILIES: [Family; 3] = [ROWS, KEYS, CHANGES];

/// Builds the batch of a step, keeping count of how often each key was put.
fn batch(changes: Vec<Change>, puts: &mut BTreeMap<(u8, Vec<u8>), u32>) -> Batch {
    let mut batch = Batch::new();
    for change in changes {
        match change {
            Change::Put(family, key, value) => {
                *puts.entry((family, key.clone())).or_default() += 1;
                batch.put(FAMILIES[usize::from(family)], key, [value]);
            }
            Change::Delete(number, key) => {
                let family = FAMILIES[usize::from(number)];
                let puts = puts.entry((number, key.clone())).or_default();
                if family.removal == Removal::Any || *puts == 1 {
                    *puts = 0;
                    batch.delete(family, key);
                }
            }
            Change::DeleteRange(family, start, end) => {
                let range = KeyRange::between(start, end);
                puts.retain(|(f, key), _| *f != family || !range.contains(key));
                batch.delete_range(FAMILIES[usize::from(family)], &range);
            }
        }
    }
    batch
}

fn compare(left: &dyn Snapshot, right: &dyn Snapshot, range: &KeyRange) -> TestCaseResult {
    for family in FAMILIES {
        for direction in [Direction::Forward, Direction::Backward] {
            let of = |snapshot| entries(snapshot, family, range.clone(), direction);
            prop_assert_eq!(of(left), of(right));
        }
        prop_assert_eq!(left.get(family, &range.start), right.get(family, &range.start));
    }
    Ok(())
}

/// Every life of the store begins with opening it.
fn run(journal: Journal, lives: Vec<Vec<Step>>) -> TestCaseResult {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new(layout(journal));
    let mut puts = BTreeMap::new();
    for life in lives {
        let options = RocksOptions::default();
        let rocks = RocksStore::open(directory.path(), layout(journal), &options).unwrap();
        compare(&*rocks.snapshot(), &*memory.snapshot(), &KeyRange::all())?;
        let mut twins: Option<(Box<dyn Snapshot>, Box<dyn Snapshot>)> = None;
        for step in life {
            match step {
                Step::Write(changes) => {
                    let batch = batch(changes, &mut puts);
                    rocks.write(batch.clone()).unwrap();
                    memory.write(batch).unwrap();
                }
                Step::Persist => rocks.persist().unwrap(),
                Step::Snapshot => match twins.take() {
                    None => twins = Some((rocks.snapshot(), memory.snapshot())),
                    Some((left, right)) => compare(&*left, &*right, &KeyRange::all())?,
                },
                Step::Compare(range) => compare(&*rocks.snapshot(), &*memory.snapshot(), &range)?,
                Step::Compact(family, range) => {
                    rocks.compact(FAMILIES[usize::from(family)], &range).unwrap();
                }
            }
        }
    }
    Ok(())
}

#[test]
fn rocksdb_answers_like_the_store_in_memory() {
    let journal = prop_oneof![Just(Journal::Own), Just(Journal::Elsewhere)];
    let life = prop::collection::vec(step(), 1..25);
    let strategy = (journal, prop::collection::vec(life, 1..4));
    seeds::check("stores", 40, &strategy, |(journal, lives)| run(journal, lives));
}

/// What [`Overlay`] does to a batch, one operation after another, and answers before it is written.
fn overlaid(
    base: &dyn Snapshot,
    batch: &Batch,
    ranges: &[KeyRange],
) -> (Batch, Vec<Vec<OwnedEntry>>) {
    let mut overlay = Overlay::new(base);
    for operation in batch.operations() {
        match operation {
            Operation::Put { family, key, value } => {
                overlay.put(family, key.to_vec(), value.to_vec());
                assert_eq!(overlay.get(family, key).unwrap().as_deref(), Some(value));
            }
            Operation::Delete { family, key } => {
                overlay.delete(family, key.to_vec());
                assert_eq!(overlay.get(family, key).unwrap(), None);
            }
            Operation::DeleteRange { family, start, end } => {
                let range = KeyRange::between(start, end);
                for (key, _) in overlay.first(family, &range, usize::MAX).unwrap() {
                    overlay.delete(family, key);
                }
            }
        }
    }
    let found = FAMILIES.iter().flat_map(|family| {
        ranges.iter().map(|range| overlay.first(*family, range, 3).unwrap()).collect::<Vec<_>>()
    });
    let found = found.collect();
    (overlay.into_batch(), found)
}

#[test]
fn an_overlay_reads_what_its_batch_writes() {
    let changes = prop::collection::vec(change(), 0..12);
    let ranges = prop::collection::vec((key(), prop::option::of(key())), 1..4);
    let strategy = (prop::collection::vec(changes, 1..8), ranges);
    seeds::check("overlay", 200, &strategy, |(batches, ranges)| {
        let ranges: Vec<_> =
            ranges.into_iter().map(|(start, end)| KeyRange { start, end }).collect();
        let (direct, through) = [(); 2].map(|()| MemoryStore::new(layout(Journal::Own))).into();
        let mut puts = BTreeMap::new();
        for mut changes in batches {
            // An overlay removes key by key, which a key that was put twice does not allow there.
            changes.retain(|change| !matches!(change, Change::DeleteRange(2, ..)));
            let batch = batch(changes, &mut puts);
            let (overlaid, found) = overlaid(&*through.snapshot(), &batch, &ranges);
            direct.write(batch).unwrap();
            through.write(overlaid).unwrap();
            compare(&*direct.snapshot(), &*through.snapshot(), &KeyRange::all())?;
            let snapshot = direct.snapshot();
            let mut found = found.into_iter();
            for family in FAMILIES {
                for range in &ranges {
                    let mut first = entries(&*snapshot, family, range.clone(), Direction::Forward);
                    first.truncate(3);
                    prop_assert_eq!(found.next(), Some(first));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn what_is_read_is_counted() {
    let store = MemoryStore::new(layout(Journal::Own));
    let mut batch = Batch::new();
    for key in 0..5 {
        batch.put(ROWS, [key], []);
    }
    store.write(batch).unwrap();
    let snapshot = store.snapshot();
    let counted = Counted::new(&*snapshot);
    counted.get(ROWS, &[0]).unwrap();
    counted.get(ROWS, &[9]).unwrap();
    entries(&counted, ROWS, KeyRange::between([1], [3]), Direction::Backward);
    assert_eq!(counted.reads(), Reads { gets: 2, scans: 1, entries: 2 });
    assert_eq!(counted.reads().keys(), 4);
    let mut once = counted.scan_once(ROWS, KeyRange::all(), Direction::Forward);
    assert!(once.next().unwrap().is_some());
    drop(once);
    assert_eq!(counted.reads(), Reads { gets: 2, scans: 2, entries: 3 });
}
