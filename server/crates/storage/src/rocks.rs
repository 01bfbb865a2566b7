//! The store on RocksDB.

mod options;
mod scan;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::statistics::Ticker;
use rocksdb::{
    ColumnFamily, CompactOptions, DB, ErrorKind, FlushOptions, Options, ReadOptions, ReadTier,
    WriteBatch, WriteOptions,
};

pub use options::RocksOptions;

use crate::{
    Batch, Direction, Family, Journal, KeyRange, Layout, Operation, Removal, Scan, Snapshot,
    StorageError, Store,
};
use scan::RocksScan;

/// A store in a directory of its own.
///
/// Without a journal ([`Journal::Elsewhere`]) it relies on atomic flushes: RocksDB then writes the
/// memory of all families out together, so that after a crash every family is at the same batch.
/// A flush of one family alone would break that, and so would one write with a journal; neither is
/// possible through this type.
pub struct RocksStore {
    database: DB,
    layout: Layout,
    write_options: WriteOptions,
    /// Holds the statistics.
    database_options: Options,
    /// Set by the first write or persist that failed: see [`Store::write`].
    stopped: AtomicBool,
}

impl RocksStore {
    /// Opens the store in `directory`, and creates it where there is none.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when it is open already, in this process or another; otherwise what
    /// keeps it from being read.
    pub fn open(
        directory: &Path,
        layout: Layout,
        options: &RocksOptions,
    ) -> Result<Self, StorageError> {
        let database_options = options.database(layout.journal);
        let families = options.families(&database_options, directory, layout);
        let database =
            DB::open_cf_descriptors(&database_options, directory, families).map_err(|error| {
                match error.kind() {
                    ErrorKind::IOError if is_lock_failure(&error) => StorageError::InUse,
                    _ => storage_error(&error),
                }
            })?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(layout.journal == Journal::Elsewhere);
        let stopped = AtomicBool::new(false);
        Ok(Self { database, layout, write_options, database_options, stopped })
    }

    /// How often the journal was synced since the store was opened; 0 without
    /// [`RocksOptions::statistics`].
    pub fn journal_syncs(&self) -> u64 {
        self.database_options.get_ticker_count(Ticker::WalFileSynced)
    }

    fn column_family(&self, family: Family) -> &ColumnFamily {
        self.layout.expect(family);
        #[expect(clippy::expect_used, reason = "opening opened the whole layout")]
        self.database.cf_handle(family.name).expect("a family of the layout is open")
    }

    fn rocks_batch(&self, batch: &Batch) -> WriteBatch {
        let mut target = WriteBatch::with_capacity_bytes(batch.bytes() + 64);
        for operation in batch.operations() {
            match operation {
                Operation::Put { family, key, value } => {
                    target.put_cf(self.column_family(family), key, value);
                }
                Operation::Delete { family, key } => match family.removal {
                    Removal::Any => target.delete_cf(self.column_family(family), key),
                    Removal::Once => target.single_delete_cf(self.column_family(family), key),
                },
                Operation::DeleteRange { family, start, end } => {
                    target.delete_range_cf(self.column_family(family), start, end);
                }
            }
        }
        target
    }

    /// Runs a write unless an earlier one failed, and remembers a failure.
    fn unless_stopped(
        &self,
        write: impl FnOnce() -> Result<(), rocksdb::Error>,
    ) -> Result<(), StorageError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(StorageError::Stopped);
        }
        write().map_err(|error| {
            self.stopped.store(true, Ordering::Release);
            storage_error(&error)
        })
    }
}

impl Store for RocksStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.database.get_cf(self.column_family(family), key).map_err(|error| storage_error(&error))
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(RocksSnapshot { store: self, snapshot: self.database.snapshot() })
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        let batch = self.rocks_batch(&batch);
        self.unless_stopped(|| self.database.write_opt(batch, &self.write_options))
    }

    fn persist(&self) -> Result<(), StorageError> {
        self.unless_stopped(|| match self.layout.journal {
            Journal::Own => self.database.flush_wal(true),
            Journal::Elsewhere => {
                // All families in one call: this is what makes the flush atomic over them.
                let all: Vec<&ColumnFamily> =
                    self.layout.families.iter().map(|family| self.column_family(*family)).collect();
                self.database.flush_cfs_opt(&all, &FlushOptions::default())
            }
        })
    }

    fn get_persisted(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.layout.expect_no_journal();
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        self.database
            .get_cf_opt(self.column_family(family), key, &options)
            .map_err(|error| storage_error(&error))
    }

    fn compact(&self, family: Family, range: &KeyRange) -> Result<(), StorageError> {
        let column_family = self.column_family(family);
        self.unless_stopped(|| {
            if range.is_empty() {
                return Ok(());
            }
            let mut options = CompactOptions::default();
            // The compactions that writes wait for go on beside it.
            options.set_exclusive_manual_compaction(false);
            let (start, end) = (Some(&range.start), range.end.as_ref());
            // What is in memory is flushed first, and that of all families together.
            self.database.compact_range_cf_opt(column_family, start, end, &options);
            Ok(())
        })
    }
}

struct RocksSnapshot<'a> {
    store: &'a RocksStore,
    snapshot: rocksdb::Snapshot<'a>,
}

impl RocksSnapshot<'_> {
    fn scan_with(
        &self,
        options: ReadOptions,
        family: Family,
        range: KeyRange,
        direction: Direction,
    ) -> Box<dyn Scan + '_> {
        let column_family = self.store.column_family(family);
        Box::new(RocksScan::new(options, range, direction, |options| {
            self.snapshot.raw_iterator_cf_opt(column_family, options)
        }))
    }
}

impl Snapshot for RocksSnapshot<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let column_family = self.store.column_family(family);
        self.snapshot.get_cf(column_family, key).map_err(|error| storage_error(&error))
    }

    fn scan(&self, family: Family, range: KeyRange, direction: Direction) -> Box<dyn Scan + '_> {
        self.scan_with(ReadOptions::default(), family, range, direction)
    }

    fn scan_once(
        &self,
        family: Family,
        range: KeyRange,
        direction: Direction,
    ) -> Box<dyn Scan + '_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        // No readahead of a fixed size: many ranges are short, and RocksDB reads further ahead by
        // itself as a walk goes on.
        self.scan_with(options, family, range, direction)
    }
}

fn is_lock_failure(error: &rocksdb::Error) -> bool {
    let text = error.as_ref();
    text.contains("lock hold by current process") || text.contains("LOCK: Resource temporarily")
}

/// The C interface of RocksDB passes on a kind and a text; that the disk is full is in the text.
fn storage_error(error: &rocksdb::Error) -> StorageError {
    let detail = error.as_ref().to_owned();
    match error.kind() {
        _ if detail.contains("No space left on device") => StorageError::Full,
        ErrorKind::Corruption => StorageError::Corrupt { detail },
        _ => StorageError::Io { detail },
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore")
            .field("directory", &self.database.path())
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RocksSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksSnapshot").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::properties::BLOCK_CACHE_USAGE;

    use super::*;
    use crate::Access;

    const ROWS: Family = Family { name: "rows", access: Access::Ranges, removal: Removal::Any };

    #[test]
    fn a_walk_that_passes_once_is_not_kept_in_memory() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout { families: &[ROWS], journal: Journal::Elsewhere };
        let store = RocksStore::open(directory.path(), layout, &RocksOptions::default()).unwrap();
        let mut batch = Batch::new();
        for key in 0..1000_u32 {
            batch.put(ROWS, key.to_be_bytes(), [0; 1000]);
        }
        store.write(batch).unwrap();
        store.persist().unwrap();
        let cached = || {
            let family = store.column_family(ROWS);
            store.database.property_int_value_cf(family, BLOCK_CACHE_USAGE).unwrap().unwrap()
        };
        let snapshot = store.snapshot();
        let pass = |mut scan: Box<dyn Scan + '_>| {
            let mut count = 0;
            while scan.next().unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 1000);
        };
        let before = cached();
        pass(snapshot.scan_once(ROWS, KeyRange::all(), Direction::Forward));
        let after = cached();
        // An index block at most, which is not among what a walk passes over.
        assert!(after - before < 100_000, "{}", after - before);
        pass(snapshot.scan(ROWS, KeyRange::all(), Direction::Forward));
        assert!(cached() - after > 800_000, "{}", cached() - after);
    }
}
