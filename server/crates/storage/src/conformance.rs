//! What every store does, as one suite of cases.
//!
//! A store's own tests call [`check_all`] with a way to open it; what only one of them can do (a
//! power cut, a directory that is in use) is tested beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    Access, Batch, Direction, Family, Journal, KeyRange, Layout, OwnedEntry, Removal, Snapshot,
    Store,
};

/// A family that is read in ranges.
pub const ROWS: Family = Family { name: "rows", access: Access::Ranges, removal: Removal::Any };
/// A family that is read by single keys.
pub const KEYS: Family = Family { name: "keys", access: Access::Points, removal: Removal::Any };
/// A family whose keys are put once and removed once.
pub const CHANGES: Family =
    Family { name: "changes", access: Access::Ranges, removal: Removal::Once };

/// The layout of the stores that the suite opens.
pub const fn layout(journal: Journal) -> Layout {
    Layout { families: &[ROWS, KEYS, CHANGES], journal }
}

/// Opens one store again and again: empty at first, later with what it had when the last opened
/// one was dropped.
pub type Open<'a> = &'a mut dyn FnMut() -> Arc<dyn Store>;

type Case = fn(Open<'_>, Journal);

const CASES: &[(&str, Case)] = &[
    ("what_is_put_is_read", what_is_put_is_read),
    ("operations_of_a_batch_happen_in_order", operations_of_a_batch_happen_in_order),
    ("families_are_apart", families_are_apart),
    ("scans_keep_within_their_range", scans_keep_within_their_range),
    ("a_snapshot_does_not_change", a_snapshot_does_not_change),
    ("a_deleted_range_ends_before_its_end", a_deleted_range_ends_before_its_end),
    ("a_key_lives_again_after_its_removal", a_key_lives_again_after_its_removal),
    ("persisted_is_durable", persisted_is_durable),
    ("a_reopened_store_has_everything", a_reopened_store_has_everything),
    ("compaction_changes_nothing_that_is_read", compaction_changes_nothing_that_is_read),
    ("readers_see_batches_whole", readers_see_batches_whole),
];

/// Runs every case on a store of its own. `new` gives the way to open a new, empty one.
///
/// # Panics
/// At the first case that fails, after naming it.
#[expect(clippy::print_stdout, reason = "the test harness shows it with a failure")]
pub fn check_all<F: FnMut() -> Arc<dyn Store>>(mut new: impl FnMut(Layout) -> F) {
    for journal in [Journal::Own, Journal::Elsewhere] {
        for (name, case) in CASES {
            println!("conformance case {name}, journal {journal:?}");
            case(&mut new(layout(journal)), journal);
        }
    }
}

/// All entries of a range, in the order of the walk.
///
/// # Panics
/// When reading fails.
pub fn entries(
    snapshot: &dyn Snapshot,
    family: Family,
    range: KeyRange,
    direction: Direction,
) -> Vec<OwnedEntry> {
    let mut scan = snapshot.scan(family, range, direction);
    let mut entries = Vec::new();
    while let Some(entry) = ok(scan.next()) {
        entries.push((entry.key.to_vec(), entry.value.to_vec()));
    }
    assert_eq!(ok(scan.next()), None, "a walk that has ended has no further entry");
    entries
}

/// The same, with a walk of the other kind: both bring the same.
fn entries_once(
    snapshot: &dyn Snapshot,
    family: Family,
    range: KeyRange,
    direction: Direction,
) -> Vec<OwnedEntry> {
    let mut scan = snapshot.scan_once(family, range, direction);
    let mut entries = Vec::new();
    while let Some(entry) = ok(scan.next()) {
        entries.push((entry.key.to_vec(), entry.value.to_vec()));
    }
    entries
}

fn keys(store: &dyn Store, range: KeyRange, direction: Direction) -> Vec<Vec<u8>> {
    let snapshot = store.snapshot();
    let entries = entries(&*snapshot, ROWS, range.clone(), direction);
    assert_eq!(entries_once(&*snapshot, ROWS, range, direction), entries);
    entries.into_iter().map(|(key, _)| key).collect()
}

fn ok<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error:?}"),
    }
}

fn put(store: &dyn Store, pairs: &[(&[u8], &[u8])]) {
    let mut batch = Batch::new();
    for (key, value) in pairs {
        batch.put(ROWS, key, value);
    }
    ok(store.write(batch));
}

fn get(store: &dyn Store, key: &[u8]) -> Option<Vec<u8>> {
    let now = ok(store.get(ROWS, key));
    assert_eq!(now, ok(store.snapshot().get(ROWS, key)), "a snapshot and the store agree");
    now
}

fn what_is_put_is_read(open: Open<'_>, _: Journal) {
    let store = open();
    assert_eq!(get(&*store, b"a"), None);
    put(&*store, &[(b"a", b"1"), (b"", b"empty key"), (b"empty value", b"")]);
    assert_eq!(get(&*store, b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(get(&*store, b"").as_deref(), Some(&b"empty key"[..]));
    assert_eq!(get(&*store, b"empty value").as_deref(), Some(&b""[..]));
    put(&*store, &[(b"a", &[0, 255])]);
    assert_eq!(get(&*store, b"a").as_deref(), Some(&[0, 255][..]));
    ok(store.write(Batch::new()));
    let large = vec![7; 3 * 1024 * 1024];
    put(&*store, &[(b"large", &large)]);
    assert_eq!(get(&*store, b"large"), Some(large));
}

fn operations_of_a_batch_happen_in_order(open: Open<'_>, _: Journal) {
    let store = open();
    put(&*store, &[(b"a", b"old"), (b"b", b"old"), (b"c", b"old")]);
    let mut batch = Batch::new();
    batch.delete(ROWS, b"a");
    batch.put(ROWS, b"a", b"new");
    batch.put(ROWS, b"b", b"new");
    batch.delete(ROWS, b"b");
    batch.delete_range(ROWS, &KeyRange::prefix(*b"c"));
    batch.put(ROWS, b"c", b"new");
    batch.delete(ROWS, b"absent");
    ok(store.write(batch));
    assert_eq!(get(&*store, b"a").as_deref(), Some(&b"new"[..]));
    assert_eq!(get(&*store, b"b"), None);
    assert_eq!(get(&*store, b"c").as_deref(), Some(&b"new"[..]));
}

fn families_are_apart(open: Open<'_>, _: Journal) {
    let store = open();
    let mut batch = Batch::new();
    batch.put(ROWS, b"a", b"row");
    batch.put(KEYS, b"a", b"key");
    ok(store.write(batch));
    let mut batch = Batch::new();
    batch.delete_range(KEYS, &KeyRange::between(*b"", *b"z"));
    ok(store.write(batch));
    assert_eq!(get(&*store, b"a").as_deref(), Some(&b"row"[..]));
    assert_eq!(ok(store.get(KEYS, b"a")), None);
}

fn scans_keep_within_their_range(open: Open<'_>, _: Journal) {
    let store = open();
    let all: Vec<&[u8]> = vec![b"", b"a", b"a\0", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\0"];
    put(&*store, &all.iter().map(|key| (*key, *key)).collect::<Vec<_>>());
    let ranges = [
        KeyRange::all(),
        KeyRange::prefix(*b"a"),
        KeyRange::prefix(*b"a\xff"),
        KeyRange::prefix(*b"\xff"),
        KeyRange::prefix(*b"absent"),
        KeyRange::between(*b"", *b""),
        KeyRange::between(*b"a", *b"a\0"),
        KeyRange::between(*b"a\0", *b"b"),
        KeyRange::between(*b"b", *b"a"),
        KeyRange { start: b"b".to_vec(), end: None },
    ];
    for range in ranges {
        let mut expected: Vec<&[u8]> = all.clone();
        expected.retain(|key| range.contains(key));
        assert_eq!(keys(&*store, range.clone(), Direction::Forward), expected, "{range:?}");
        expected.reverse();
        assert_eq!(keys(&*store, range.clone(), Direction::Backward), expected, "{range:?}");
    }
}

fn a_snapshot_does_not_change(open: Open<'_>, _: Journal) {
    let store = open();
    put(&*store, &[(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]);
    let before = store.snapshot();
    let mut walk = before.scan(ROWS, KeyRange::all(), Direction::Forward);
    assert_eq!(ok(walk.next()).map(|entry| entry.key), Some(&b"a"[..]));
    let mut batch = Batch::new();
    batch.put(ROWS, b"a", b"2");
    batch.delete(ROWS, b"b");
    batch.put(ROWS, b"bb", b"2");
    batch.put(KEYS, b"k", b"2");
    ok(store.write(batch));
    ok(store.persist());
    assert_eq!(ok(walk.next()).map(|entry| entry.key), Some(&b"b"[..]));
    assert_eq!(ok(walk.next()).map(|entry| entry.key), Some(&b"c"[..]));
    assert_eq!(ok(walk.next()), None);
    assert_eq!(ok(before.get(ROWS, b"a")).as_deref(), Some(&b"1"[..]));
    assert_eq!(ok(before.get(KEYS, b"k")), None);
    assert_eq!(keys(&*store, KeyRange::all(), Direction::Forward), [&b"a"[..], b"bb", b"c"]);
}

fn a_deleted_range_ends_before_its_end(open: Open<'_>, _: Journal) {
    let store = open();
    put(&*store, &[(b"a", b""), (b"b", b""), (b"ba", b""), (b"c", b"")]);
    let mut batch = Batch::new();
    batch.delete_range(ROWS, &KeyRange::between(*b"b", *b"c"));
    batch.delete_range(ROWS, &KeyRange::between(*b"z", *b"a"));
    ok(store.write(batch));
    assert_eq!(keys(&*store, KeyRange::all(), Direction::Forward), [b"a", b"c"]);
    put(&*store, &[(b"b", b"again")]);
    assert_eq!(get(&*store, b"b").as_deref(), Some(&b"again"[..]));
}

fn a_key_lives_again_after_its_removal(open: Open<'_>, _: Journal) {
    let store = open();
    for round in 0..6_u8 {
        let mut batch = Batch::new();
        for family in [ROWS, CHANGES] {
            batch.put(family, b"a", [round]);
        }
        ok(store.write(batch));
        if round == 2 {
            ok(store.persist());
        }
        for family in [ROWS, CHANGES] {
            assert_eq!(ok(store.get(family, b"a")), Some(vec![round]));
        }
        let mut batch = Batch::new();
        batch.delete(ROWS, b"a");
        if round % 2 == 0 {
            batch.delete(CHANGES, b"a");
        } else {
            batch.delete_range(CHANGES, &KeyRange::prefix(*b"a"));
        }
        ok(store.write(batch));
        for family in [ROWS, CHANGES] {
            assert_eq!(ok(store.get(family, b"a")), None);
        }
    }
}

fn persisted_is_durable(open: Open<'_>, journal: Journal) {
    let store = open();
    put(&*store, &[(b"a", b"1")]);
    ok(store.persist());
    put(&*store, &[(b"a", b"2")]);
    if journal == Journal::Elsewhere {
        let durable = ok(store.get_persisted(ROWS, b"a")).unwrap_or_default();
        assert!(durable == b"1" || durable == b"2", "{durable:?}");
        assert_eq!(get(&*store, b"a").as_deref(), Some(&b"2"[..]));
        ok(store.persist());
        assert_eq!(ok(store.get_persisted(ROWS, b"a")).as_deref(), Some(&b"2"[..]));
    }
}

fn a_reopened_store_has_everything(open: Open<'_>, _: Journal) {
    for round in 0..4_u8 {
        let store = open();
        let expected: Vec<Vec<u8>> = (0..round).map(|key| vec![key]).collect();
        assert_eq!(keys(&*store, KeyRange::all(), Direction::Forward), expected);
        assert_eq!(ok(store.get(KEYS, b"rounds")).map_or(0, |rounds| rounds[0]), round);
        let mut batch = Batch::new();
        batch.put(ROWS, [round], b"");
        batch.put(KEYS, b"rounds", [round + 1]);
        ok(store.write(batch));
        ok(store.persist());
    }
}

fn compaction_changes_nothing_that_is_read(open: Open<'_>, _: Journal) {
    const FAMILIES: [Family; 3] = [ROWS, KEYS, CHANGES];
    let all = |snapshot: &dyn Snapshot| {
        FAMILIES.map(|family| entries(snapshot, family, KeyRange::all(), Direction::Forward))
    };
    let store = open();
    let mut batch = Batch::new();
    for key in [b"a", b"b", b"c", b"d"] {
        FAMILIES.iter().for_each(|family| batch.put(*family, key, b"1"));
    }
    ok(store.write(batch));
    ok(store.persist());
    let before = store.snapshot();
    let (seen, mut walk) = (all(&*before), before.scan(ROWS, KeyRange::all(), Direction::Forward));
    assert_eq!(ok(walk.next()).map(|entry| entry.key), Some(&b"a"[..]));
    let mut batch = Batch::new();
    for family in FAMILIES {
        batch.delete_range(family, &KeyRange::between(*b"b", *b"d"));
        batch.delete(family, b"a");
        batch.put(family, b"c", b"2");
    }
    ok(store.write(batch));
    let now = all(&*store.snapshot());
    let ranges =
        [KeyRange::prefix(*b"b"), KeyRange::between(*b"d", *b"a"), KeyRange::all()].into_iter();
    for (family, range) in FAMILIES.into_iter().zip(ranges.cycle()).cycle().take(9) {
        ok(store.compact(family, &range));
        assert_eq!(all(&*store.snapshot()), now);
        assert_eq!(all(&*before), seen, "a snapshot keeps what it sees");
    }
    assert_eq!(ok(walk.next()).map(|entry| entry.key), Some(&b"b"[..]));
    drop(walk);
    drop(before);
    FAMILIES.iter().for_each(|family| ok(store.compact(*family, &KeyRange::all())));
    assert_eq!(all(&*store.snapshot()), now);
    drop(store);
    let store = open();
    ok(store.compact(ROWS, &KeyRange::all()));
    assert_eq!(ok(store.get(CHANGES, b"d")).as_deref(), Some(&b"1"[..]));
}

fn readers_see_batches_whole(open: Open<'_>, _: Journal) {
    let store = open();
    let done = AtomicBool::new(false);
    let write = |number: u32| {
        let mut batch = Batch::new();
        batch.put(ROWS, b"first", number.to_be_bytes());
        batch.put(KEYS, b"second", number.to_be_bytes());
        ok(store.write(batch));
    };
    write(0);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut last = Vec::new();
                while !done.load(Ordering::Acquire) {
                    let snapshot = store.snapshot();
                    let first = ok(snapshot.get(ROWS, b"first")).unwrap_or_default();
                    assert_eq!(Some(&first), ok(snapshot.get(KEYS, b"second")).as_ref());
                    assert!(first >= last, "time goes on");
                    last = first;
                }
            });
        }
        (1..=500).for_each(write);
        done.store(true, Ordering::Release);
    });
}
