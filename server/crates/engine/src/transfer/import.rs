use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::ids::{Epoch, TableId};
use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Batch, Direction, Family, KeyRange, Snapshot};

use super::{Chain, Record, VERSION, family};
use crate::error::EngineError;
use crate::keys::{self, NodeKind, STATE};
use crate::slot::{ShardNumber, Slot, StoreNumber};
use crate::stores::{self, Stores};
use crate::transaction::ContentSum;

/// A shard that arrives, beside what this node has of it.
///
/// While this lives, [`Stores::reclaim`] leaves alone what has arrived. So keep it until the batch
/// of [`Import::finish`] was written, or until nothing of the transfer is wanted any more.
#[derive(Debug)]
pub struct Import {
    stores: Arc<Stores>,
    shard: ShardNumber,
    tables: BTreeMap<TableId, Vec<u8>>,
    slots: BTreeMap<Slot, (StoreNumber, Epoch)>,
    at: Option<At>,
    chain: Chain,
    /// The sum over what has arrived, counted as it is over what is stored.
    counted: ContentSum,
    /// The sum that was sent, at the end.
    sent: Option<ContentSum>,
    is_damaged: bool,
}

/// Where entries belong.
#[derive(Debug)]
struct At {
    place: u8,
    family: Family,
    store: StoreNumber,
    /// The key before; at first the number alone, which sorts before all that begin with it.
    last: Vec<u8>,
}

impl Import {
    /// Begins to receive `shard`.
    pub fn new(stores: Arc<Stores>, shard: ShardNumber) -> Self {
        Self {
            stores,
            shard,
            tables: BTreeMap::new(),
            slots: BTreeMap::new(),
            at: None,
            chain: Chain::default(),
            counted: ContentSum::default(),
            sent: None,
            is_damaged: false,
        }
    }

    /// The batch that stores the next piece, under numbers that nothing points to. Write it before
    /// the next one.
    ///
    /// # Errors
    /// [`EngineError::TransferDamaged`] when this is not the next piece as it was sent; then
    /// nothing makes this transfer whole any more.
    pub fn piece(&mut self, piece: &[u8]) -> Result<Batch, EngineError> {
        let batch = self.receive(piece);
        self.is_damaged |= batch.is_none();
        batch.ok_or(EngineError::TransferDamaged)
    }

    fn receive(&mut self, piece: &[u8]) -> Option<Batch> {
        if self.is_damaged {
            return None;
        }
        let mut reader = KeyReader::new(self.chain.open(piece)?);
        if reader.u8() != Ok(VERSION) {
            return None;
        }
        let mut batch = Batch::new();
        while !reader.rest().is_empty() {
            self.record(Record::read(&mut reader).ok()?, &mut batch)?;
        }
        Some(batch)
    }

    /// Takes a record, unless it cannot come here. All come in order, so that each key is put once.
    fn record(&mut self, record: Record<'_>, batch: &mut Batch) -> Option<()> {
        if self.sent.is_some() {
            return None;
        }
        match record {
            Record::Table { id, value } => {
                self.counted.add(STATE, &keys::table(self.shard, id), value);
                self.tables.insert(id, value.to_vec()).is_none().then_some(())
            }
            Record::Slot { slot, epoch } => {
                if self.slots.last_key_value().is_some_and(|(last, _)| slot <= *last) {
                    return None;
                }
                let key = keys::of_slot(NodeKind::SlotEpoch, self.shard, slot);
                self.counted.add(STATE, &key, epoch.as_bytes());
                let store = self.stores.receive(batch, self.shard, slot);
                self.slots.insert(slot, (store, epoch));
                self.at = None;
                Some(())
            }
            Record::Family { place } => {
                let (_, (store, _)) = self.slots.last_key_value()?;
                if self.at.as_ref().is_some_and(|at| place <= at.place) {
                    return None;
                }
                let last = KeyWriter::new().u32(store.0).finish();
                self.at = Some(At { place, family: family(place)?, store: *store, last });
                Some(())
            }
            Record::Entry { key, value } => {
                let at = self.at.as_mut()?;
                let key = KeyWriter::new().u32(at.store.0).parts(key).finish();
                if key <= at.last {
                    return None;
                }
                self.counted.add(at.family, &key, value);
                batch.put(at.family, &key, value);
                at.last = key;
                Some(())
            }
            Record::End { sum } => {
                self.sent = Some(sum);
                Some(())
            }
        }
    }

    /// Whether all has arrived, and what was sent.
    ///
    /// # Errors
    /// [`EngineError::TransferDamaged`].
    pub fn check(&self) -> Result<(), EngineError> {
        let is_whole = !self.is_damaged && self.sent == Some(self.counted);
        if is_whole { Ok(()) } else { Err(EngineError::TransferDamaged) }
    }

    /// The batch that makes what has arrived the shard's contents, in place of those that it has in
    /// `snapshot`. Whoever keeps more about the shard adds it, so that all of it changes at once.
    /// What was there before goes with [`Stores::reclaim`], and a [`Shard`](crate::Shard) that was
    /// open is opened anew.
    ///
    /// # Errors
    /// [`EngineError::TransferDamaged`] when not all has arrived, or not what the sum was counted
    /// over; [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn finish(&mut self, snapshot: &dyn Snapshot) -> Result<Batch, EngineError> {
        self.check()?;
        let shard = self.shard;
        let of_slot = |kind, slot| keys::of_slot(kind, shard, slot);
        let mut batch = Batch::new();
        for (slot, _) in stores::slots(snapshot, shard)? {
            if !self.slots.contains_key(&slot) {
                batch.delete(STATE, of_slot(NodeKind::SlotStore, slot));
                batch.delete(STATE, of_slot(NodeKind::SlotEpoch, slot));
            }
        }
        let tables = KeyRange::prefix(keys::of_shard(NodeKind::Table, shard));
        let mut scan = snapshot.scan(STATE, tables, Direction::Forward);
        while let Some(entry) = scan.next()? {
            if !self.tables.contains_key(&keys::read_table(entry.key)?) {
                batch.delete(STATE, entry.key);
            }
        }
        for (slot, (store, epoch)) in &self.slots {
            let (key, value) = stores::pointer(shard, *slot, *store);
            batch.put(STATE, key, value);
            batch.put(STATE, of_slot(NodeKind::SlotEpoch, *slot), epoch.as_bytes());
        }
        for (id, value) in &self.tables {
            batch.put(STATE, keys::table(shard, *id), value);
        }
        batch.put(STATE, keys::of_shard(NodeKind::Sum, shard), self.counted.encode());
        Ok(batch)
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.stores.release(self.slots.values().map(|(store, _)| *store));
    }
}
