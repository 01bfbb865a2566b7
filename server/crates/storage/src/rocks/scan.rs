use std::fmt;

use rocksdb::{DBRawIterator, ReadOptions};

use super::storage_error;
use crate::{Direction, Entry, KeyRange, Scan, StorageError};

/// A walk over a range. RocksDB itself keeps it within the range, so nothing behind it is read.
pub(super) struct RocksScan<'a> {
    entries: DBRawIterator<'a>,
    direction: Direction,
    /// Whether the next step looks at the entry the iterator stands at, or moves on first.
    started: bool,
}

impl<'a> RocksScan<'a> {
    pub(super) fn new(
        mut options: ReadOptions,
        range: KeyRange,
        direction: Direction,
        open: impl FnOnce(ReadOptions) -> DBRawIterator<'a>,
    ) -> Self {
        options.set_iterate_lower_bound(range.start);
        if let Some(end) = range.end {
            options.set_iterate_upper_bound(end);
        }
        Self { entries: open(options), direction, started: false }
    }
}

impl Scan for RocksScan<'_> {
    fn next(&mut self) -> Result<Option<Entry<'_>>, StorageError> {
        match (self.started, self.direction) {
            (false, Direction::Forward) => self.entries.seek_to_first(),
            (false, Direction::Backward) => self.entries.seek_to_last(),
            (true, _) if !self.entries.valid() => {}
            (true, Direction::Forward) => self.entries.next(),
            (true, Direction::Backward) => self.entries.prev(),
        }
        self.started = true;
        // An iterator that met an error is as invalid as one at its end.
        self.entries.status().map_err(|error| storage_error(&error))?;
        Ok(self.entries.item().map(|(key, value)| Entry { key, value }))
    }
}

impl fmt::Debug for RocksScan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksScan").field("direction", &self.direction).finish_non_exhaustive()
    }
}
