//! What ends: rows that expire, tombstones that retire, clients that are forgotten, tables that
//! were dropped. Each is a command with a bound, so every node removes the same and no entry takes
//! long.
//!
//! None of it is a change: it takes no SeqId, and nobody is told.

use protocol::ids::{Lane, SeqId, TableId};
use protocol::value::Value;
use server_storage::key::KeyReader;
use server_storage::{Direction, Snapshot};

use crate::access;
use crate::apply::{Shard, SlotState};
use crate::catalog::{Catalog, Table};
use crate::change_index;
use crate::client;
use crate::command::{Command, Outcome, Time};
use crate::error::EngineError;
use crate::keys::{self, DUE, DueKind, Partition, ROWS, STATE};
use crate::limits::{CLOCKS_DIFFER_MICROS, RETIRE_MAX};
use crate::partition::{OpenLane, OpenPartition, PartitionState};
use crate::rows::{Image, Place, Stored};
use crate::slot::Slot;
use crate::stores::StoreNumber;
use crate::transaction::Transaction;

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

impl Shard {
    /// What the leader should propose about a slot at `now`: nothing, when all that has ended is
    /// gone. What belongs to no slot comes with the first one.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn wanted(
        &self,
        snapshot: &dyn Snapshot,
        slot: Slot,
        now: Time,
        retention: &Retention,
    ) -> Result<Vec<Command>, EngineError> {
        let Some(SlotState { store, .. }) = self.slot(slot) else { return Ok(Vec::new()) };
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
                wanted.extend(self.retire(snapshot, (table, &partition), state, now, retention)?);
            }
        }
        if self.slots().next() == Some(slot) {
            let unswept = self.catalog().unswept();
            wanted
                .extend(unswept.map(|table| Command::Sweep { table: table.schema().id, rows_max }));
        }
        Ok(wanted)
    }

    /// The retirement of tombstones that a partition has too many of, or has had for too long.
    fn retire(
        &self,
        snapshot: &dyn Snapshot,
        (table, partition): (TableId, &Partition),
        state: PartitionState,
        now: Time,
        retention: &Retention,
    ) -> Result<Option<Command>, EngineError> {
        let Some(schema) = self.catalog().table(table).map(Table::schema) else { return Ok(None) };
        let kept_max = retention.tombstones_min.max(2 * state.rows);
        // Half of them, so that it is not wanted again with the next one.
        let too_many =
            if state.tombstones > kept_max { state.tombstones - kept_max / 2 } else { 0 };
        let horizon = now.0.saturating_sub(retention.tombstones_micros);
        // A clock that was ahead says nothing about how old this one is, nor those behind it.
        let ahead = now.0.saturating_add(CLOCKS_DIFFER_MICROS);
        let mut through = None;
        let tombstones = partition.tombstones_through(SeqId::MAX);
        let mut scan = snapshot.scan(DUE, tombstones, Direction::Forward);
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

fn removed(count: usize, count_max: usize) -> Outcome {
    Outcome::Removed { count: count as u64, more: count >= count_max }
}

/// A command removes something, or it would be proposed for ever.
fn bound(count_max: u32) -> usize {
    usize::try_from(count_max).unwrap_or(usize::MAX).max(1)
}

/// Removes rows that have expired by `time`.
pub(crate) fn expire(
    tx: &mut Transaction<'_>,
    catalog: &Catalog,
    store: StoreNumber,
    time: Time,
    rows_max: u32,
) -> Result<Outcome, EngineError> {
    let range = keys::due_before(store, DueKind::Expiry, time.0.saturating_add(1));
    let due = tx.first(DUE, &range, bound(rows_max))?;
    for (key, _) in &due {
        let (place, birth) = keys::read_expiry_due(key)?;
        let image = tx.get(ROWS, &place.1.row(birth))?;
        let image = Image::read(&image.ok_or(EngineError::damaged("expiry"))?)?;
        remove(tx, catalog, place, &Stored { birth, image })?;
    }
    Ok(removed(due.len(), bound(rows_max)))
}

/// Removes a row without a trace.
fn remove(
    tx: &mut Transaction<'_>,
    catalog: &Catalog,
    (table, partition): (TableId, Partition),
    row: &Stored,
) -> Result<(), EngineError> {
    let table = catalog.any(table).ok_or(EngineError::damaged("table"))?;
    let key = row.image.view(table)?.values(&table.schema().primary_key);
    let key = keys::values(key.iter().map(Value::as_ref));
    let mut open = OpenPartition::open(tx, partition.clone())?;
    Place { table, partition: &partition, key: &key }.remove(tx, &mut open.state, row)?;
    open.close(tx);
    Ok(())
}

/// Removes the tombstones of a partition up to and with `through`. Who stands before that can no
/// longer be told what is gone.
pub(crate) fn retire(
    tx: &mut Transaction<'_>,
    catalog: &Catalog,
    lane: &OpenLane,
    table: TableId,
    through: SeqId,
) -> Result<Outcome, EngineError> {
    let known = catalog.table(table).map(Table::schema);
    let partition = lane.partition(table);
    let is_there = known.is_some_and(|schema| access::is_of_lane(schema, &lane.lane))
        && tx.get(STATE, &partition.state())?.is_some();
    if !is_there {
        // Swept, or about to be: nothing may be written about it any more.
        return Ok(removed(0, RETIRE_MAX));
    }
    let through = through.min(lane.seq);
    let due = tx.first(DUE, &partition.tombstones_through(through), RETIRE_MAX)?;
    let mut open = OpenPartition::open(tx, partition)?;
    let count = due.len();
    let mut horizon = if count < RETIRE_MAX { through } else { SeqId::ZERO };
    for (key, made) in due {
        let seq = change_index::remove_tombstone(tx, &open.partition, key, &made)?;
        horizon = horizon.max(seq);
        open.state.tombstones -= 1;
    }
    open.state.oldest_resumable = open.state.oldest_resumable.max(horizon);
    open.close(tx);
    Ok(removed(count, RETIRE_MAX))
}

/// Forgets silent clients and answers that are kept no longer.
pub(crate) fn forget(
    tx: &mut Transaction<'_>,
    store: StoreNumber,
    time: Time,
    silent_since: Time,
    count_max: u32,
) -> Result<Outcome, EngineError> {
    let clients = client::forget(tx, store, silent_since, bound(count_max))?;
    let range = keys::due_before(store, DueKind::Request, time.0);
    let requests = tx.first(DUE, &range, bound(count_max))?;
    let count = clients.max(requests.len());
    for (due, _) in requests {
        let key = keys::request_of_due(&due)?;
        let answer = tx.get(STATE, &key)?.ok_or(EngineError::damaged("request"))?;
        tx.remove(STATE, key, &answer);
        tx.remove(DUE, due, &[]);
    }
    Ok(removed(count, bound(count_max)))
}

/// Removes what a table that was dropped has left: its rows, then tombstones, then counts.
pub(crate) fn sweep(
    tx: &mut Transaction<'_>,
    catalog: &Catalog,
    stores: &[StoreNumber],
    table: TableId,
    rows_max: u32,
) -> Result<Outcome, EngineError> {
    let count_max = bound(rows_max);
    let mut count = 0;
    for store in stores {
        for (key, stored) in
            tx.first(ROWS, &keys::rows_of_table(*store, table), count_max - count)?
        {
            let (place, birth) = keys::read_row(&key)?;
            remove(tx, catalog, place, &Stored { birth, image: Image::read(&stored)? })?;
            count += 1;
        }
        let range = keys::tombstones_of(*store, table);
        for (key, made) in tx.first(DUE, &range, count_max - count)? {
            let (_, partition) = keys::read_place(&key)?;
            let mut open = OpenPartition::open(tx, partition)?;
            change_index::remove_tombstone(tx, &open.partition, key, &made)?;
            open.state.tombstones -= 1;
            open.close(tx);
            count += 1;
        }
        let range = keys::partitions_of_table(*store, table);
        for (key, _) in tx.first(STATE, &range, count_max - count)? {
            let (_, partition) = keys::read_place(&key)?;
            OpenPartition::open(tx, partition)?.forget(tx);
            count += 1;
        }
    }
    Ok(removed(count, count_max))
}
