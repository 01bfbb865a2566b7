//! The same bytes in RocksDB without a log, a state machine or anybody who decides: one batch of so
//! many rows, written and synced.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use server_storage::{
    Access, Batch, Family, Journal, Layout, Removal, RocksOptions, RocksStore, Store,
};

const fn family(name: &'static str) -> Family {
    Family { name, access: Access::Ranges, removal: Removal::Any }
}

const ENTRIES: Family = family("entries");
const ROWS: Family = family("rows");
const KEYS: Family = family("keys");
const CHANGES: Family = family("changes");
const LAYOUT: Layout = Layout { families: &[ENTRIES, ROWS, KEYS, CHANGES], journal: Journal::Own };

/// Rows a second, in batches of `group` rows with `bytes` bytes each.
pub(crate) fn rows_per_second(folder: &Path, group: usize, bytes: usize) -> Result<f64> {
    let folder = tempfile::tempdir_in(folder)?;
    let store = RocksStore::open(folder.path(), LAYOUT, &RocksOptions::default())?;
    let row = vec![7; bytes];
    let mut count: u64 = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let mut batch = Batch::new();
        let mut entry = Vec::with_capacity(group * bytes);
        for _ in 0..group {
            count += 1;
            let key = [&b"store table tenant..."[..], &count.to_be_bytes()].concat();
            entry.extend(&row);
            batch.put(ROWS, key.clone(), row.clone());
            batch.put(KEYS, key.clone(), count.to_be_bytes());
            batch.put(CHANGES, key, count.to_be_bytes());
        }
        batch.put(ENTRIES, count.to_be_bytes(), entry);
        store.write(batch)?;
        store.persist()?;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
