use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use server_engine::ShardNumber;
use server_storage::{Batch, Direction, Store};
use tokio::sync::{oneshot, watch};

use super::state::{LogBounds, State, read_record, read_state};
use super::writer::LogWriter;
use super::{ENTRIES, MARKS, Mark};
use crate::blocking::blocking;
use crate::error::{Failure, ReplicationError};
use crate::ids::{LogId, StorageError, Vote};
use crate::records::{self, LogIdRecord, VoteRecord};
use crate::rows::ShardRows;
use crate::types::{Entry, TypeConfig};

/// Bytes of entries that are sent to another node at once, unless one entry alone is larger.
const SENT_BYTES_MAX: u64 = 1024 * 1024;

/// The log of one group, as openraft uses it. Clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct ShardLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shard: ShardNumber,
    store: Arc<dyn Store>,
    writer: Arc<LogWriter>,
    rows: ShardRows,
    /// Changes when the rows of a snapshot are durable; ends with the state machine.
    installs: watch::Receiver<()>,
    failure: Failure,
    state: Mutex<State>,
}

impl ShardLog {
    /// Opens the log of a shard, as the database has it.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        writer: Arc<LogWriter>,
        rows: ShardRows,
        installs: watch::Receiver<()>,
        failure: Failure,
    ) -> Result<(Self, LogBounds), ReplicationError> {
        let shard = rows.shard;
        let (state, bounds) = read_state(&*store, shard)?;
        let state = Mutex::new(state);
        let shared = Shared { shard, store, writer, rows, installs, failure, state };
        Ok((Self { shared: Arc::new(shared) }, bounds))
    }

    /// The bytes of all entries that are still there.
    pub(crate) fn bytes(&self) -> u64 {
        let state = self.state();
        state.end_total.saturating_sub(state.start_total)
    }

    /// The last index that can go when the newest `bytes` stay.
    pub(crate) fn index_before(&self, bytes: u64) -> Result<Option<u64>, ReplicationError> {
        let (first, end, wanted) = {
            let state = self.state();
            let first = state.purged.map_or(0, |id| id.index + 1);
            (first, state.end, state.end_total.saturating_sub(bytes))
        };
        // The first entry whose total is above what is wanted stays.
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.total(middle)? {
                Some(total) if total > wanted => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok((low > first).then(|| low - 1))
    }

    /// Removes what was purged, if the rows are durable up to there. Returns whether they are.
    ///
    /// An entry may only go once a crash leaves rows that have it (INV-10). openraft purges before
    /// a snapshot is installed, so this is not always at once.
    pub(crate) fn remove_purged(&self) -> Result<bool, ReplicationError> {
        let Shared { shard, rows, writer, .. } = &*self.shared;
        let purged = {
            let state = self.state();
            if state.purged == state.removed {
                return Ok(true);
            }
            state.purged
        };
        let Some(purged) = purged else { return Ok(true) };
        if rows.persisted()?.log_id < Some(purged) {
            return Ok(false);
        }
        let total = self.total(purged.index)?;
        let mut state = self.state();
        if state.purged != Some(purged) || state.removed >= Some(purged) {
            return Ok(true);
        }
        let mut batch = Batch::new();
        if state.is_replaced {
            // Also what lies behind: it is of an older term than what was purged.
            batch.delete_range(ENTRIES, &super::entries(*shard));
            state.is_replaced = false;
            state.start_total = state.end_total;
            state.end = purged.index + 1;
        } else {
            batch.delete_range(ENTRIES, &super::entries_between(*shard, 0, purged.index + 1));
            state.start_total = total.unwrap_or(state.end_total);
        }
        let record = records::encode(&LogIdRecord::from(purged));
        batch.put(MARKS, super::mark(Mark::Purged, *shard), record);
        state.removed = Some(purged);
        // Nobody waits: until it is durable the entries are still there, and do no harm.
        writer.write(batch, Box::new(|_| {}));
        Ok(true)
    }

    /// Removes what was purged, once it is durable. Where the rows have all of it and nothing else
    /// would make them durable, they are written out.
    fn remove_or_flush(&self) -> Result<(), ReplicationError> {
        if self.remove_purged()? {
            return Ok(());
        }
        let rows = &self.shared.rows;
        let is_applied = rows.applied(&*rows.store.snapshot())?.log_id >= self.state().purged;
        if is_applied {
            rows.store.persist()?;
            self.remove_purged()?;
        }
        Ok(())
    }

    /// Waits until entries behind a snapshot leave no hole in the database: openraft has purged what
    /// the snapshot replaces, but until its rows are durable a crash leaves the entries before it.
    async fn wait_for_install(&self) -> Result<(), StorageError> {
        let mut installs = self.shared.installs.clone();
        loop {
            installs.borrow_and_update();
            {
                let state = self.state();
                if !state.is_replaced {
                    return Ok(());
                }
            }
            if blocking(|| self.remove_purged()).map_err(|e| self.failed(e))? {
                return Ok(());
            }
            if installs.changed().await.is_err() {
                let told = "a snapshot was not installed".to_owned();
                return Err(self.failed(ReplicationError::Stopped(told)));
            }
        }
    }

    /// Writes behind what was sent before, and waits until it is durable.
    async fn write_durably(&self, batch: Batch) -> Result<(), StorageError> {
        let (sender, durable) = oneshot::channel();
        self.shared.writer.write(batch, Box::new(|result| drop(sender.send(result))));
        match durable.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.failed(server_storage::StorageError::Stopped)),
        }
    }

    /// The bytes of all entries up to and with `index`.
    fn total(&self, index: u64) -> Result<Option<u64>, ReplicationError> {
        if let Some(kept) = self.state().tail.get(index) {
            return Ok(Some(kept.total));
        }
        let Shared { shard, store, .. } = &*self.shared;
        match store.get(ENTRIES, &super::entry(*shard, index))? {
            Some(record) => Ok(Some(read_record(record)?.0)),
            None => Ok(None),
        }
    }

    /// The entries of `start..end` that there are.
    fn read(&self, start: u64, end: u64, bytes_max: u64) -> Result<Vec<Entry>, ReplicationError> {
        let (start, end, tail) = {
            let state = self.state();
            let start = start.max(state.purged.map_or(0, |id| id.index + 1));
            let end = end.min(state.last.map_or(0, |id| id.index + 1));
            let tail = state.tail.start().unwrap_or(u64::MAX).clamp(start, end.max(start));
            (start, end, tail)
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        let mut push = |entry: Entry, more: u64| {
            bytes += more;
            let fits = entries.is_empty() || bytes <= bytes_max;
            if fits {
                entries.push(entry);
            }
            fits
        };
        if start < tail && !self.read_stored(start, tail, &mut push)? {
            return Ok(entries);
        }
        let state = self.state();
        for index in tail..end {
            // Truncated or let go of meanwhile: whoever reads asks for what is there.
            let Some(kept) = state.tail.get(index) else { break };
            let before = state.tail.get(index.wrapping_sub(1)).map_or(kept.total, |k| k.total);
            if !push(kept.entry.clone(), kept.total - before) {
                break;
            }
        }
        Ok(entries)
    }

    /// The same, giving way to other tasks if the disk is waited for. What is asked for is nearly
    /// always in memory, and giving way costs more than that takes.
    fn read_quickly(
        &self,
        start: u64,
        end: u64,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, ReplicationError> {
        let is_here = self.state().tail.start().is_some_and(|tail| tail <= start);
        let read = || self.read(start, end, bytes_max);
        if is_here { read() } else { blocking(read) }
    }

    /// Reads entries of the database until `push` has enough.
    fn read_stored(
        &self,
        start: u64,
        end: u64,
        push: &mut dyn FnMut(Entry, u64) -> bool,
    ) -> Result<bool, ReplicationError> {
        let Shared { shard, store, .. } = &*self.shared;
        let snapshot = store.snapshot();
        let range = super::entries_between(*shard, start, end);
        let mut scan = snapshot.scan(ENTRIES, range, Direction::Forward);
        let mut expected = None;
        while let Some(stored) = scan.next()? {
            let bytes = stored.value.len() as u64;
            let (_, entry) = read_record(stored.value.to_vec())?;
            let index = entry.log_id.index;
            if expected.is_some_and(|expected| expected != index) {
                let why = "has no predecessor: restore the data from a backup or another node";
                return Err(ReplicationError::unfit(*shard, format!("entry {index} {why}")));
            }
            expected = Some(index + 1);
            if !push(entry, bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: impl Into<ReplicationError>) -> StorageError {
        self.shared.failure.of_log(error)
    }
}

impl RaftLogReader<TypeConfig> for ShardLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read_quickly(start, end, u64::MAX).map_err(|error| self.failed(error))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read_quickly(start, end, SENT_BYTES_MAX).map_err(|error| self.failed(error))
    }
}

impl RaftLogStorage<TypeConfig> for ShardLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let shard = &self.shared.shard;
        let mut batch = Batch::new();
        let record = records::encode(&VoteRecord::from(*vote));
        batch.put(MARKS, super::mark(Mark::Vote, *shard), record);
        self.write_durably(batch).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let Shared { shard, store, .. } = &*self.shared;
        let stored = store.get(MARKS, &super::mark(Mark::Vote, *shard));
        let Some(stored) = stored.map_err(|e| self.failed(e))? else { return Ok(None) };
        let record: VoteRecord = records::decode(&stored).map_err(|e| self.failed(e))?;
        Ok(Some(record.into()))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.wait_for_install().await?;
        let Shared { shard, writer, failure, .. } = &*self.shared;
        let batch = self.state().append(*shard, entries);
        let failure = failure.clone();
        let done = move |result: Result<(), server_storage::StorageError>| {
            callback.log_io_completed(result.map_err(|error| {
                failure.note(error.clone());
                io::Error::other(error)
            }));
        };
        writer.write(batch, Box::new(done));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let found = blocking(|| -> Result<_, ReplicationError> {
            let Some(index) = since.index.checked_sub(1) else { return Ok((None, None)) };
            Ok((self.read(index, since.index, u64::MAX)?.pop(), self.total(index)?))
        });
        let (entry, total) = found.map_err(|e| self.failed(e))?;
        let batch = {
            let mut state = self.state();
            if since.index >= state.end {
                return Ok(());
            }
            state.tail.truncate(since.index);
            state.last = entry.map(|entry| entry.log_id).or(state.purged);
            state.end_total = total.unwrap_or(state.start_total);
            let mut batch = Batch::new();
            let range = super::entries_between(self.shared.shard, since.index, state.end);
            batch.delete_range(ENTRIES, &range);
            state.end = since.index;
            batch
        };
        // Rows that replace them must not become durable before.
        self.write_durably(batch).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        {
            let mut state = self.state();
            state.purged = state.purged.max(Some(upto));
            state.is_replaced |= state.last < Some(upto);
            state.last = state.last.max(Some(upto));
            state.tail.purge(upto.index);
        }
        blocking(|| self.remove_or_flush()).map_err(|e| self.failed(e))
    }
}
