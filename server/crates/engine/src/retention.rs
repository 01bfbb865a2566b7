//! What ends: rows that expire, tombstones that retire, clients that are forgotten, tables that
//! were dropped. Each is a command with a bound, so every node removes the same and no entry takes
//! long.
//!
//! None of it is a change: it takes no SeqId, and nobody is told.

use protocol::ids::{SeqId, TableId};

use crate::access;
use crate::catalog::{Catalog, Table};
use crate::change_index;
use crate::client;
use crate::command::{Outcome, Time};
use crate::error::EngineError;
use crate::keys::{self, DUE, DueKind, Partition, ROWS, STATE};
use crate::limits::RETIRE_MAX;
use crate::partition::{OpenLane, OpenPartition};
use crate::rows::{Image, Place, Stored};
use crate::slot::StoreNumber;
use crate::transaction::Transaction;

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
    let key = keys::of_row(&row.image.view(table)?.values(&table.schema().primary_key));
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
