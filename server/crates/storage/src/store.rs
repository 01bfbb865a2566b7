use std::fmt;

use crate::{Batch, Direction, KeyRange, StorageError};

/// A part of a store with an order of its own: a column family, in RocksDB's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// Its name on disk, which never changes.
    pub name: &'static str,
    /// How it is mostly read.
    pub access: Access,
    /// What is known of a key that is removed.
    pub removal: Removal,
}

/// How a family is mostly read, which decides what is kept in memory about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// In ranges.
    Ranges,
    /// By single keys that are often absent: a Bloom filter saves most of those reads.
    Points,
}

/// What is known of a key that is removed.
///
/// A property of the family and not of the single removal, because RocksDB keeps its two ways of
/// removing apart only where they never meet on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Removal {
    /// Nothing.
    Any,
    /// It was put exactly once since it last was absent. Key and removal then vanish as soon as
    /// they meet, where the trace of another removal stays in the way of scans for long.
    Once,
}

/// The families of a store, and what makes it durable.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// All families. A family that an existing store does not have yet is added when it is opened.
    pub families: &'static [Family],
    /// Where a batch is durable first.
    pub journal: Journal,
}

impl Layout {
    /// Checks that a family is of this layout.
    ///
    /// # Panics
    /// When it is not.
    pub(crate) fn expect(&self, family: Family) {
        self.place(family);
    }

    /// The place of a family among those of this layout.
    ///
    /// # Panics
    /// When it is not of this layout.
    pub(crate) fn place(&self, family: Family) -> usize {
        let place = self.families.iter().position(|known| *known == family);
        place.unwrap_or_else(|| panic!("{} is not in the layout", family.name))
    }

    /// Checks that it is known of every key whether it is durable.
    ///
    /// # Panics
    /// When the store has a journal of its own.
    pub(crate) fn expect_no_journal(&self) {
        assert!(self.journal == Journal::Elsewhere, "only without a journal of its own");
    }
}

/// Where a batch is durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// In the store's own write-ahead log; [`Store::persist`] costs one write and one sync of it.
    ///
    /// When the store is opened, the log ends at the first record that is not whole. That is how a
    /// power cut ends it, and nobody can tell that from damage in the middle. So who keeps what
    /// must not vanish counts it: the Raft log has to reach what the rows say was applied.
    Own,
    /// Somewhere else: whoever writes can write again what a crash takes away. The store has no
    /// log, and [`Store::persist`] writes out all that is in memory.
    Elsewhere,
}

/// An ordered key-value store. Shared between threads; every method may block on the disk.
pub trait Store: fmt::Debug + Send + Sync {
    /// The value of `key` now.
    ///
    /// # Errors
    /// [`StorageError::Io`] or [`StorageError::Corrupt`].
    ///
    /// # Panics
    /// Here and everywhere: when the family is not of this store's [`Layout`].
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// A view of all families as they are now, which later writes do not change.
    ///
    /// It keeps old versions of what is overwritten from being removed: hold it for a piece of
    /// work, not across a send to a client. It borrows the store, so a long transfer has a thread
    /// of its own that takes the snapshot and hands out what it reads.
    fn snapshot(&self) -> Box<dyn Snapshot + '_>;

    /// Makes all operations of `batch` visible at once, in their order.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing of the batch is visible. After any error of a write or a
    /// persist the store takes no more writes ([`StorageError::Stopped`]): what is on disk is only
    /// certain again once it has been opened anew. Reading goes on.
    fn write(&self, batch: Batch) -> Result<(), StorageError>;

    /// Makes every batch written before the call durable.
    ///
    /// # Errors
    /// As [`Store::write`]; then it is unknown which of the batches are durable.
    fn persist(&self) -> Result<(), StorageError>;

    /// The durable value of `key`: what a crash at this moment would leave, or something older.
    ///
    /// # Errors
    /// [`StorageError::Io`] or [`StorageError::Corrupt`].
    ///
    /// # Panics
    /// When the store has a journal of its own, where this is not known per key.
    fn get_persisted(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Gives back the space of what was removed in `range`. It changes nothing that is read, and
    /// keeps what a snapshot still sees.
    ///
    /// For what was dropped as a whole: the work grows with all that lies in the range, and single
    /// keys go by themselves in time. A failure in the background is met by the next write.
    ///
    /// # Errors
    /// [`StorageError::Stopped`] after a failed write.
    fn compact(&self, family: Family, range: &KeyRange) -> Result<(), StorageError>;
}

/// A view of a store at one moment.
pub trait Snapshot: fmt::Debug + Send + Sync {
    /// The value of `key` at that moment.
    ///
    /// # Errors
    /// [`StorageError::Io`] or [`StorageError::Corrupt`].
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The entries of `range` at that moment, in the order of their keys or against it.
    fn scan(&self, family: Family, range: KeyRange, direction: Direction) -> Box<dyn Scan + '_>;

    /// The same, for passing over much of the store once: what is read does not push out of memory
    /// what others read again and again.
    fn scan_once(
        &self,
        family: Family,
        range: KeyRange,
        direction: Direction,
    ) -> Box<dyn Scan + '_> {
        self.scan(family, range, direction)
    }
}

/// A walk over the entries of a range. Entries are lent, so that passing over one copies nothing.
pub trait Scan: fmt::Debug + Send {
    /// The next entry, or `None` behind the last one.
    ///
    /// # Errors
    /// [`StorageError::Io`] or [`StorageError::Corrupt`]; every later step gives an error too.
    fn next(&mut self) -> Result<Option<Entry<'_>>, StorageError>;
}

/// A key and its value.
pub type OwnedEntry = (Vec<u8>, Vec<u8>);

/// A key and its value, lent by a [`Scan`] until its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}
