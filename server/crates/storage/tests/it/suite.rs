//! The conformance suite on every store, and what is particular to one of them.

use std::sync::Arc;

use server_storage::conformance::{CHANGES, KEYS, ROWS, check_all, layout};
use server_storage::faulty::FaultyDisk;
use server_storage::{
    Access, Batch, Family, Journal, KeyRange, Layout, MemoryStore, Removal, RocksOptions,
    RocksStore, StorageError, Store,
};
use tempfile::TempDir;

fn open_rocks(directory: &TempDir, layout: Layout) -> RocksStore {
    RocksStore::open(directory.path(), layout, &RocksOptions::default()).unwrap()
}

#[test]
fn rocksdb_conforms() {
    check_all(|layout| {
        let directory = tempfile::tempdir().unwrap();
        move || Arc::new(open_rocks(&directory, layout)) as Arc<dyn Store>
    });
}

#[test]
fn memory_conforms() {
    check_all(|layout| {
        let store = Arc::new(MemoryStore::new(layout));
        move || Arc::clone(&store) as Arc<dyn Store>
    });
}

#[test]
fn a_disk_without_faults_conforms() {
    check_all(|layout| {
        let disk = FaultyDisk::new(layout);
        move || Arc::new(disk.open().unwrap()) as Arc<dyn Store>
    });
}

#[test]
fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_rocks(&directory, layout(Journal::Own));
    let again =
        || RocksStore::open(directory.path(), layout(Journal::Own), &RocksOptions::default()).err();
    assert_eq!(again(), Some(StorageError::InUse));
    drop(store);
    assert_eq!(again(), None);
}

#[test]
fn a_family_is_added_to_an_existing_store_and_one_that_is_gone_stays_readable() {
    const LATER: Family = Family { name: "later", access: Access::Ranges, removal: Removal::Any };
    let directory = tempfile::tempdir().unwrap();
    let old = layout(Journal::Elsewhere);
    let new = Layout { families: &[ROWS, LATER], ..old };

    let store = open_rocks(&directory, old);
    let mut batch = Batch::new();
    batch.put(ROWS, b"a", b"1");
    batch.put(KEYS, b"k", b"1");
    store.write(batch).unwrap();
    store.persist().unwrap();
    drop(store);

    let store = open_rocks(&directory, new);
    assert_eq!(store.get(ROWS, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    let mut batch = Batch::new();
    batch.put(LATER, b"l", b"2");
    store.write(batch).unwrap();
    store.persist().unwrap();
    drop(store);

    let store = open_rocks(&directory, old);
    assert_eq!(store.get(KEYS, b"k").unwrap().as_deref(), Some(&b"1"[..]));
}

/// RocksDB opens every family that it finds; that alone does not make them the layout's.
#[test]
fn a_family_outside_of_the_layout_is_a_broken_rule_in_every_store() {
    let directory = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 3] = [
        Box::new(open_rocks(&directory, layout(Journal::Own))),
        Box::new(MemoryStore::new(layout(Journal::Own))),
        Box::new(FaultyDisk::new(layout(Journal::Own)).open().unwrap()),
    ];
    for store in stores {
        let of_rocksdb = Family { name: "default", ..ROWS };
        let otherwise = Family { removal: Removal::Once, ..ROWS };
        for family in [of_rocksdb, otherwise] {
            let get = std::panic::AssertUnwindSafe(|| store.get(family, b"a"));
            assert!(std::panic::catch_unwind(get).is_err(), "{family:?} in {store:?}");
        }
    }
}

/// RocksDB would bring the first value back, at once or after a compaction.
#[test]
#[should_panic(expected = "put 2 times")]
fn the_store_in_memory_refuses_to_remove_as_once_what_was_put_twice() {
    let store = MemoryStore::new(layout(Journal::Own));
    let mut batch = Batch::new();
    batch.put(CHANGES, b"a", b"1");
    batch.put(CHANGES, b"a", b"2");
    batch.delete(CHANGES, b"a");
    let _ = store.write(batch);
}

/// A killed process keeps what the system holds for it, so no kill test notices a `persist` that
/// does not sync; RocksDB counts its syncs.
#[test]
fn persisting_a_journal_syncs_it_once_for_all_that_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let options = RocksOptions { statistics: true, ..RocksOptions::default() };
    let store = RocksStore::open(directory.path(), layout(Journal::Own), &options).unwrap();
    let before = store.journal_syncs();
    for key in 0..10_u8 {
        let mut batch = Batch::new();
        batch.put(ROWS, [key], b"");
        store.write(batch).unwrap();
    }
    assert_eq!(store.journal_syncs(), before);
    store.persist().unwrap();
    assert_eq!(store.journal_syncs(), before + 1);
}

/// A failed flush leaves nobody knowing what is on disk. The store must not go on as if nothing
/// had happened, which would turn one lost batch into a hole before later ones.
#[test]
fn a_store_whose_disk_fails_takes_no_more_writes_and_still_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_rocks(&directory, layout(Journal::Elsewhere));
    let write = |key: u8| {
        let mut batch = Batch::new();
        batch.put(ROWS, [key], b"");
        store.write(batch)
    };
    write(1).unwrap();
    store.persist().unwrap();
    write(2).unwrap();
    std::fs::remove_dir_all(directory.path()).unwrap();
    assert!(matches!(store.persist(), Err(StorageError::Io { .. })));
    assert_eq!(store.persist(), Err(StorageError::Stopped));
    assert_eq!(write(3), Err(StorageError::Stopped));
    assert_eq!(store.get(ROWS, &[2]).unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(store.get(ROWS, &[3]).unwrap(), None);
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_wrong_answer() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_rocks(&directory, layout(Journal::Elsewhere));
    let mut batch = Batch::new();
    for key in 0..1000_u32 {
        batch.put(ROWS, key.to_be_bytes(), key.to_be_bytes());
    }
    store.write(batch).unwrap();
    store.persist().unwrap();
    drop(store);
    let mut files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let table = files.find(|path| path.extension().is_some_and(|e| e == "sst")).unwrap();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&table, bytes).unwrap();

    let store = open_rocks(&directory, layout(Journal::Elsewhere));
    let read = store.get(ROWS, &0_u32.to_be_bytes());
    assert!(matches!(read, Err(StorageError::Corrupt { .. })), "{read:?}");
}

#[test]
fn compaction_gives_back_the_space_of_a_range_that_was_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let size = || -> u64 {
        let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap());
        let tables = files.filter(|file| file.path().extension().is_some_and(|e| e == "sst"));
        tables.map(|table| table.metadata().unwrap().len()).sum()
    };
    let store = open_rocks(&directory, layout(Journal::Elsewhere));
    // Numbers in an order that does not compress.
    let mut number = 1_u64;
    for part in [*b"a", *b"b"] {
        let mut batch = Batch::new();
        for _ in 0..10_000 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            batch.put(
                ROWS,
                [&part[..], &number.to_be_bytes()].concat(),
                [number.to_be_bytes(); 4].concat(),
            );
        }
        store.write(batch).unwrap();
        store.persist().unwrap();
    }
    let before = size();
    let dropped = KeyRange::prefix(*b"a");
    let mut batch = Batch::new();
    batch.delete_range(ROWS, &dropped);
    store.write(batch).unwrap();
    store.compact(ROWS, &dropped).unwrap();
    // Closing it removes the files that are not in use any more.
    drop(store);
    assert!(size() < before * 6 / 10, "{} of {before}", size());
}
