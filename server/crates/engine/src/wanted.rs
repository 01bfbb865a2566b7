//! What the leader should propose so that what has ended goes: which of the commands of
//! `retention.rs`, and how far.

use protocol::ids::{Lane, SeqId, TableId};
use server_storage::Direction;
use server_storage::key::KeyReader;

use crate::catalog::Table;
use crate::client;
use crate::command::{Command, Time};
use crate::error::EngineError;
use crate::keys::{self, DUE, DueKind, Partition, STATE};
use crate::limits::{CLOCKS_DIFFER_MICROS, RETIRE_MAX};
use crate::partition::PartitionState;
use crate::slot::Slot;
use crate::stores;
use crate::view::View;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Tombstones, in microseconds: who was away for longer loads anew.
    pub tombstones_micros: i64,
    /// So many tombstones of a partition are kept however few rows it has; beyond that, two for
    /// each row.
    pub tombstones_min: u64,
    /// What is known of a client that is silent, in microseconds.
    pub silence_micros: i64,
    /// Most rows that one command removes.
    pub rows_max: u32,
}

impl Default for Retention {
    /// Tombstones for 30 days and at least 10,000, silent clients for 180 days, 1,000 rows at once.
    fn default() -> Self {
        let day = 24 * 60 * 60 * 1_000_000;
        Self {
            tombstones_micros: 30 * day,
            tombstones_min: 10_000,
            silence_micros: 180 * day,
            rows_max: 1_000,
        }
    }
}

impl View<'_> {
    /// What the leader should propose about a slot: nothing, when all that has ended by now is
    /// gone. What belongs to no slot comes with the first one.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn wanted(&self, slot: Slot, retention: &Retention) -> Result<Vec<Command>, EngineError> {
        let (snapshot, now) = (self.snapshot, self.now);
        let Some(store) = stores::of_slot(snapshot, self.shard, slot)? else {
            return Ok(Vec::new());
        };
        let rows_max = retention.rows_max;
        let mut wanted = Vec::new();
        let any = |range| -> Result<bool, EngineError> {
            Ok(snapshot.scan(DUE, range, Direction::Forward).next()?.is_some())
        };
        if any(keys::due_before(store, DueKind::Expiry, now.0.saturating_add(1)))? {
            wanted.push(Command::Expire { slot, rows_max });
        }
        let silent_since = Time(now.0.saturating_sub(retention.silence_micros));
        let day = client::day(silent_since);
        if any(keys::due_before(store, DueKind::Client, day))?
            || any(keys::due_before(store, DueKind::Request, now.0))?
        {
            wanted.push(Command::Forget { slot, silent_since, count_max: rows_max });
        }
        let mut partitions = snapshot.scan(STATE, keys::partitions(store), Direction::Forward);
        while let Some(entry) = partitions.next()? {
            let state = PartitionState::decode(Some(entry.value))?;
            if state.tombstones > 0 {
                let (table, partition) = keys::read_place(entry.key)?;
                wanted.extend(self.retire((table, &partition), state, retention)?);
            }
        }
        if stores::first_slot(snapshot, self.shard)? == Some(slot) {
            let unswept = self.catalog.unswept();
            wanted
                .extend(unswept.map(|table| Command::Sweep { table: table.schema().id, rows_max }));
        }
        Ok(wanted)
    }

    /// The retirement of tombstones that a partition has too many of, or has had for too long.
    fn retire(
        &self,
        (table, partition): (TableId, &Partition),
        state: PartitionState,
        retention: &Retention,
    ) -> Result<Option<Command>, EngineError> {
        let now = self.now;
        let Some(schema) = self.catalog.table(table).map(Table::schema) else { return Ok(None) };
        let kept_max = retention.tombstones_min.max(2 * state.rows);
        // Half of them, so that it is not wanted again with the next one.
        let too_many =
            if state.tombstones > kept_max { state.tombstones - kept_max / 2 } else { 0 };
        let horizon = now.0.saturating_sub(retention.tombstones_micros);
        // A clock that was ahead says nothing about how old this one is, nor those behind it.
        let ahead = now.0.saturating_add(CLOCKS_DIFFER_MICROS);
        let mut through = None;
        let tombstones = partition.tombstones_through(SeqId::MAX);
        let mut scan = self.snapshot.scan(DUE, tombstones, Direction::Forward);
        let mut count = 0;
        while let Some(entry) = scan.next()?
            && count < RETIRE_MAX as u64
        {
            let made = KeyReader::new(entry.value).i64()?;
            count += 1;
            if count <= too_many || made < horizon {
                through = Some(partition.read_tombstone(entry.key)?.0);
            } else if made <= ahead {
                break;
            }
        }
        let lane = match partition.tenant()? {
            Some(tenant) => Lane::User(tenant),
            None => Lane::Shared(schema.name.namespace.clone()),
        };
        Ok(through.map(|through| Command::Retire { lane, table, through }))
    }
}
