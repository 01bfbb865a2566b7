//! Store numbers: which part of this node's database holds which slot.
//!
//! They differ from node to node, so nothing about them enters the sum over a shard's contents.

mod reclaim;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ids::Epoch;
use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Batch, Direction, KeyRange, Snapshot, Store};

use crate::error::EngineError;
use crate::keys::{self, NodeKind, STATE};
use crate::slot::{ShardNumber, Slot, StoreNumber};
use crate::transaction::Transaction;

/// The format of everything that this crate stores.
const FORMAT: u64 = 1;

/// Hands out store numbers, for all shards of a node.
///
/// A node has one of these: another would give the same numbers again, and not know what arrives.
#[derive(Debug)]
pub struct Stores {
    next: AtomicU32,
    /// Numbers under which an import stores what no slot points to yet.
    receiving: Mutex<BTreeSet<StoreNumber>>,
}

impl Stores {
    /// Reads which numbers are in use, and marks a store without data with the format of this
    /// version.
    ///
    /// # Errors
    /// [`EngineError::Format`] for data of another format.
    pub fn open(store: &dyn Store) -> Result<Self, EngineError> {
        match store.get(STATE, &keys::format())? {
            None => {
                let mut batch = Batch::new();
                batch.put(STATE, keys::format(), number(FORMAT));
                store.write(batch)?;
            }
            Some(found) => {
                let found = KeyReader::new(&found).u64()?;
                if found != FORMAT {
                    return Err(EngineError::Format { found, known: FORMAT });
                }
            }
        }
        let snapshot = store.snapshot();
        let mut last = snapshot.scan(STATE, keys::stores(), Direction::Backward);
        let last = match last.next()? {
            Some(entry) => keys::read_store(entry.key)?.0,
            None => 0,
        };
        Ok(Self { next: AtomicU32::new(last + 1), receiving: Mutex::default() })
    }

    /// Gives `slot` of `shard` a number that no data on this node has, as of this transaction.
    ///
    /// # Panics
    /// When all 2^32 are used.
    pub(crate) fn allocate(
        &self,
        transaction: &mut Transaction<'_>,
        shard: ShardNumber,
        slot: Slot,
    ) -> StoreNumber {
        let store = self.take();
        transaction.put_of_node(keys::store(store), owner(shard, slot));
        let (key, value) = pointer(shard, slot, store);
        transaction.put_of_node(key, value);
        store
    }

    /// The same for an import: no slot points to the number yet, and it is not reclaimed until
    /// [`Stores::release`].
    pub(crate) fn receive(&self, batch: &mut Batch, shard: ShardNumber, slot: Slot) -> StoreNumber {
        let mut receiving = self.receiving();
        let store = self.take();
        receiving.insert(store);
        batch.put(STATE, keys::store(store), owner(shard, slot));
        store
    }

    /// Says that an import has ended, with slots that point to its numbers or without.
    pub(crate) fn release(&self, stores: impl Iterator<Item = StoreNumber>) {
        let mut receiving = self.receiving();
        for store in stores {
            receiving.remove(&store);
        }
    }

    fn take(&self) -> StoreNumber {
        let store = StoreNumber(self.next.fetch_add(1, Ordering::Relaxed));
        assert_ne!(store.0, u32::MAX, "all store numbers are used");
        store
    }

    fn receiving(&self) -> MutexGuard<'_, BTreeSet<StoreNumber>> {
        // Whole after a panic: one number at a time enters or leaves it.
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a number: whom it was given to; nothing once that was dropped.
fn owner(shard: ShardNumber, slot: Slot) -> Vec<u8> {
    KeyWriter::new().u16(shard.0).u16(slot.number()).finish()
}

/// The record that makes `store` the one of `slot`.
pub(crate) fn pointer(shard: ShardNumber, slot: Slot, store: StoreNumber) -> (Vec<u8>, Vec<u8>) {
    let key = keys::of_slot(NodeKind::SlotStore, shard, slot);
    (key, KeyWriter::new().u32(store.0).finish())
}

/// The slots of a shard and their epochs, in order.
pub(crate) fn slots(
    snapshot: &dyn Snapshot,
    shard: ShardNumber,
) -> Result<Vec<(Slot, Epoch)>, EngineError> {
    let range = KeyRange::prefix(keys::of_shard(NodeKind::SlotEpoch, shard));
    let mut scan = snapshot.scan(STATE, range, Direction::Forward);
    let mut slots = Vec::new();
    while let Some(entry) = scan.next()? {
        let epoch = Epoch::from_bytes(KeyReader::new(entry.value).array()?);
        slots.push((keys::read_slot(entry.key)?, epoch));
    }
    Ok(slots)
}

/// The first of them.
pub(crate) fn first_slot(
    snapshot: &dyn Snapshot,
    shard: ShardNumber,
) -> Result<Option<Slot>, EngineError> {
    let range = KeyRange::prefix(keys::of_shard(NodeKind::SlotEpoch, shard));
    let mut scan = snapshot.scan(STATE, range, Direction::Forward);
    scan.next()?.map(|entry| keys::read_slot(entry.key)).transpose()
}

/// The store of a slot, if it has one on this node.
pub(crate) fn of_slot(
    snapshot: &dyn Snapshot,
    shard: ShardNumber,
    slot: Slot,
) -> Result<Option<StoreNumber>, EngineError> {
    let key = keys::of_slot(NodeKind::SlotStore, shard, slot);
    let Some(value) = snapshot.get(STATE, &key)? else { return Ok(None) };
    Ok(Some(StoreNumber(KeyReader::new(&value).u32()?)))
}

fn number(number: u64) -> Vec<u8> {
    KeyWriter::new().u64(number).finish()
}
