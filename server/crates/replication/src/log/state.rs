use std::sync::atomic::Ordering;

use bytes::Bytes;
use openraft::EntryPayload;
use server_engine::ShardNumber;
use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Batch, Direction, Store};

use super::tail::{Kept, Tail};
use super::{ENTRIES, MARKS, Mark};
use crate::entry;
use crate::error::ReplicationError;
use crate::ids::LogId;
use crate::records::{self, LogIdRecord};
use crate::types::Entry;

/// The bytes of the total that a record begins with.
const TOTAL_BYTES: usize = 8;

/// What the log has, so that nothing is read to answer it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The last entry that openraft does not want any more.
    pub(super) purged: Option<LogId>,
    /// The last entry that is no longer in the database, if only the rows are durable so far.
    pub(super) removed: Option<LogId>,
    /// Whether what was purged replaces all that is in the database, which then goes as a whole.
    pub(super) is_replaced: bool,
    /// The last entry there is, purged or not.
    pub(super) last: Option<LogId>,
    /// The index behind the last entry in the database.
    pub(super) end: u64,
    /// The bytes of all entries up to `removed`, and up to `end`.
    pub(super) start_total: u64,
    pub(super) end_total: u64,
    pub(super) tail: Tail,
}

/// The ends of a log, as they are in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogBounds {
    /// The last entry that was removed.
    pub(crate) removed: Option<LogId>,
    /// The first and the last entry there are.
    pub(crate) entries: Option<(LogId, LogId)>,
}

impl State {
    /// Notes entries, and gives what is to be written of them.
    pub(super) fn append(&mut self, shard: ShardNumber, entries: Vec<Entry>) -> Batch {
        let mut batch = Batch::new();
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let bytes = entry::encode(&entry);
            // The total counts itself, as it does when a record is read.
            self.end_total += (TOTAL_BYTES + bytes.len()) as u64;
            let record = KeyWriter::new().u64(self.end_total).parts(&bytes).finish();
            batch.put(ENTRIES, super::entry(shard, entry.log_id.index), record);
            if let EntryPayload::Normal(payload) = &entry.payload {
                payload.logged.store(true, Ordering::Release);
            }
            self.last = Some(entry.log_id);
            self.end = entry.log_id.index + 1;
            kept.push(Kept { entry, total: self.end_total });
        }
        self.tail.extend(kept);
        batch
    }
}

/// The total and the entry of a record.
pub(super) fn read_record(record: Vec<u8>) -> Result<(u64, Entry), ReplicationError> {
    let record = Bytes::from(record);
    let mut reader = KeyReader::new(&record);
    let damaged = ReplicationError::Damaged { what: "log entry" };
    let total = reader.u64().map_err(|_| damaged.clone())?;
    let entry = entry::decode(&record.slice_ref(reader.rest())).map_err(|_| damaged)?;
    Ok((total, entry))
}

pub(super) fn read_state(
    store: &dyn Store,
    shard: ShardNumber,
) -> Result<(State, LogBounds), ReplicationError> {
    let snapshot = store.snapshot();
    let removed = match snapshot.get(MARKS, &super::mark(Mark::Purged, shard))? {
        Some(record) => Some(LogId::from(records::decode::<LogIdRecord>(&record)?)),
        None => None,
    };
    let end_of = |direction| -> Result<Option<(u64, u64, Entry)>, ReplicationError> {
        let mut scan = snapshot.scan(ENTRIES, super::entries(shard), direction);
        let Some(stored) = scan.next()? else { return Ok(None) };
        let bytes = stored.value.len() as u64;
        let (total, entry) = read_record(stored.value.to_vec())?;
        Ok(Some((total, bytes, entry)))
    };
    let mut state = State { purged: removed, removed, last: removed, ..State::default() };
    state.end = removed.map_or(0, |id| id.index + 1);
    let mut bounds = LogBounds { removed, entries: None };
    if let (Some((first_total, bytes, first)), Some((last_total, _, last))) =
        (end_of(Direction::Forward)?, end_of(Direction::Backward)?)
    {
        state.start_total = first_total - bytes;
        state.end_total = last_total;
        state.last = Some(last.log_id);
        state.end = last.log_id.index + 1;
        bounds.entries = Some((first.log_id, last.log_id));
    }
    Ok((state, bounds))
}
