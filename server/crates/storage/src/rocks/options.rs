use std::collections::BTreeSet;
use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, LogLevel, Options,
};

use crate::{Access, Journal, Layout};

/// What RocksDB may use. The defaults suit one of the two databases of a small server.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Most bytes of written data held in memory before it is written out. What a restart has to
    /// repeat grows with it.
    pub write_buffer_bytes: usize,
    /// Bytes of blocks kept in memory for reading, index and filter blocks included.
    pub block_cache_bytes: usize,
    /// Most files held open.
    pub open_files_max: i32,
    /// Whether RocksDB counts what it does, for tests and benchmarks.
    pub statistics: bool,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            write_buffer_bytes: 32 * 1024 * 1024,
            block_cache_bytes: 64 * 1024 * 1024,
            open_files_max: 512,
            statistics: false,
        }
    }
}

/// Bits of Bloom filter per key: one of a hundred absent keys costs a read.
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// Bytes of the same for keys that are still in memory, as a part of the buffer they are in.
const MEMTABLE_FILTER_RATIO: f64 = 0.02;

impl RocksOptions {
    pub(super) fn database(&self, journal: Journal) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_atomic_flush(journal == Journal::Elsewhere);
        options.set_db_write_buffer_size(self.write_buffer_bytes);
        options.set_max_open_files(self.open_files_max);
        options.set_max_background_jobs(2);
        // What is written waits in the process until `persist` writes and syncs all of it.
        options.set_manual_wal_flush(true);
        // Of the journals that are closed, one that went missing or shrank is an error. The one
        // that is written ends where it is not whole: see `Journal::Own`.
        options.set_track_and_verify_wals_in_manifest(true);
        if self.statistics {
            options.enable_statistics();
        }
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(1024 * 1024);
        options.set_keep_log_file_num(2);
        options
    }

    /// The families of the layout, and those that the store has besides: RocksDB opens all or
    /// none. `default` is always there, and stays empty.
    pub(super) fn families(
        &self,
        database: &Options,
        directory: &Path,
        layout: Layout,
    ) -> Vec<ColumnFamilyDescriptor> {
        let cache = Cache::new_lru_cache(self.block_cache_bytes);
        let known = layout.families.iter().map(|family| {
            ColumnFamilyDescriptor::new(family.name, self.family(family.access, &cache))
        });
        // A directory without a database has nothing to list.
        let mut others: BTreeSet<String> =
            DB::list_cf(database, directory).unwrap_or_default().into_iter().collect();
        for family in layout.families {
            others.remove(family.name);
        }
        let others = others
            .into_iter()
            .map(|name| ColumnFamilyDescriptor::new(name, self.family(Access::Ranges, &cache)));
        known.chain(others).collect()
    }

    fn family(&self, access: Access, cache: &Cache) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(cache);
        blocks.set_cache_index_and_filter_blocks(true);
        let mut options = Options::default();
        if access == Access::Points {
            blocks.set_bloom_filter(FILTER_BITS_PER_KEY, false);
            // Most keys that are looked up before they are written are not there.
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
        }
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        options
    }
}
