use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Direction, Entry, Family, KeyRange, Scan, Snapshot, StorageError};

/// A snapshot that counts what is read of it, to state the work that an answer took.
#[derive(Debug)]
pub struct Counted<'a> {
    inner: &'a dyn Snapshot,
    gets: AtomicU64,
    scans: AtomicU64,
    entries: AtomicU64,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Single keys looked up, there or not.
    pub gets: u64,
    /// Walks begun.
    pub scans: u64,
    /// Entries that walks came past.
    pub entries: u64,
}

impl Reads {
    /// Keys looked up and entries passed.
    pub fn keys(self) -> u64 {
        self.gets + self.entries
    }
}

impl<'a> Counted<'a> {
    /// Counts from zero what is read of `inner`.
    pub fn new(inner: &'a dyn Snapshot) -> Self {
        let [gets, scans, entries] = [0; 3].map(AtomicU64::new);
        Self { inner, gets, scans, entries }
    }

    /// What was read up to now.
    pub fn reads(&self) -> Reads {
        let [gets, scans, entries] =
            [&self.gets, &self.scans, &self.entries].map(|count| count.load(Ordering::Relaxed));
        Reads { gets, scans, entries }
    }
}

impl Snapshot for Counted<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(family, key)
    }

    fn scan(&self, family: Family, range: KeyRange, direction: Direction) -> Box<dyn Scan + '_> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        let inner = self.inner.scan(family, range, direction);
        Box::new(CountedScan { inner, entries: &self.entries })
    }

    fn scan_once(
        &self,
        family: Family,
        range: KeyRange,
        direction: Direction,
    ) -> Box<dyn Scan + '_> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        let inner = self.inner.scan_once(family, range, direction);
        Box::new(CountedScan { inner, entries: &self.entries })
    }
}

#[derive(Debug)]
struct CountedScan<'a> {
    inner: Box<dyn Scan + 'a>,
    entries: &'a AtomicU64,
}

impl Scan for CountedScan<'_> {
    fn next(&mut self) -> Result<Option<Entry<'_>>, StorageError> {
        let entry = self.inner.next()?;
        self.entries.fetch_add(u64::from(entry.is_some()), Ordering::Relaxed);
        Ok(entry)
    }
}
