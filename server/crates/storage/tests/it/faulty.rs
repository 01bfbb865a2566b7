//! The disk that fails on request, which the tests of other crates rely on.

use server_storage::conformance::{KEYS, ROWS, entries, layout};
use server_storage::faulty::{Fault, FaultyDisk, FaultyStore};
use server_storage::{Batch, Direction, Journal, KeyRange, StorageError, Store};

fn write(store: &FaultyStore, key: u8) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    batch.put(ROWS, [key], vec![key; 10]);
    batch.put(KEYS, b"last", [key]);
    store.write(batch)
}

/// The rows there are, after checking that the families are at the same batch.
fn rows(store: &FaultyStore) -> Vec<u8> {
    let snapshot = store.snapshot();
    let rows = entries(&*snapshot, ROWS, KeyRange::all(), Direction::Forward);
    let rows: Vec<u8> = rows.into_iter().map(|(key, _)| key[0]).collect();
    assert_eq!(snapshot.get(KEYS, b"last").unwrap().map(|last| last[0]), rows.last().copied());
    rows
}

#[test]
fn a_power_cut_leaves_the_persisted_and_a_chosen_number_of_later_batches() {
    for kept in 0..=3 {
        let disk = FaultyDisk::new(layout(Journal::Elsewhere));
        let store = disk.open().unwrap();
        write(&store, 1).unwrap();
        write(&store, 2).unwrap();
        store.persist().unwrap();
        (3..=5).for_each(|key| write(&store, key).unwrap());
        assert_eq!(rows(&store), [1, 2, 3, 4, 5]);
        assert_eq!(disk.unpersisted(), 3);
        assert_eq!(store.get_persisted(KEYS, b"last").unwrap(), Some(vec![2]));

        disk.cut_power(|written| {
            assert_eq!(written, 3);
            kept
        });
        assert!(matches!(store.get(ROWS, &[1]), Err(StorageError::Io { .. })));
        assert!(matches!(write(&store, 6), Err(StorageError::Io { .. })));
        assert!(matches!(store.persist(), Err(StorageError::Io { .. })));
        let after = disk.open().unwrap();
        // The old store, still in somebody's hands, cannot disturb the new one.
        assert!(matches!(write(&store, 6), Err(StorageError::Io { .. })));
        drop(store);
        let mut expected: Vec<u8> = (1..=2 + u8::try_from(kept).unwrap()).collect();
        assert_eq!(rows(&after), expected);
        write(&after, 7).unwrap();
        expected.push(7);
        assert_eq!(rows(&after), expected);
        assert_eq!(disk.open().err(), Some(StorageError::InUse));
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() {
    let disk = FaultyDisk::new(layout(Journal::Own));
    let store = disk.open().unwrap();
    write(&store, 1).unwrap();
    drop(store);
    assert_eq!(rows(&disk.open().unwrap()), [1]);
}

#[test]
fn the_operation_that_is_asked_to_fail_fails_once_and_writes_stop_after_it() {
    let disk = FaultyDisk::new(layout(Journal::Own));
    let store = disk.open().unwrap();
    disk.fail(Fault::Write, 2);
    write(&store, 1).unwrap();
    assert!(matches!(write(&store, 2), Err(StorageError::Io { .. })));
    assert_eq!(write(&store, 3), Err(StorageError::Stopped));
    assert_eq!(store.persist(), Err(StorageError::Stopped));
    assert_eq!(rows(&store), [1]);
    drop(store);

    let store = disk.open().unwrap();
    disk.fail(Fault::Persist, 1);
    write(&store, 2).unwrap();
    assert!(matches!(store.persist(), Err(StorageError::Io { .. })));
    assert_eq!(write(&store, 3), Err(StorageError::Stopped));
    disk.fail(Fault::Get, 1);
    disk.fail(Fault::Scan, 2);
    assert!(matches!(store.get(ROWS, &[1]), Err(StorageError::Io { .. })));
    assert!(store.get(ROWS, &[1]).is_ok());
    let snapshot = store.snapshot();
    let mut walk = snapshot.scan(ROWS, KeyRange::all(), Direction::Forward);
    assert!(walk.next().is_ok());
    assert!(matches!(walk.next(), Err(StorageError::Io { .. })));
    assert!(matches!(walk.next(), Err(StorageError::Io { .. })), "a failed walk stays failed");
}

#[test]
fn a_full_disk_takes_nothing_that_grows_it() {
    let disk = FaultyDisk::new(layout(Journal::Own));
    let store = disk.open().unwrap();
    disk.limit(20);
    write(&store, 1).unwrap();
    assert_eq!(write(&store, 2), Err(StorageError::Full));
    assert_eq!(write(&store, 3), Err(StorageError::Stopped));
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(rows(&store), [1]);
    let mut smaller = Batch::new();
    smaller.delete(ROWS, [1]);
    smaller.delete(KEYS, b"last");
    store.write(smaller).unwrap();
    write(&store, 2).unwrap();
}
