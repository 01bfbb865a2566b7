use std::collections::VecDeque;

use protocol::ids::Epoch;
use server_storage::{Direction, Entry, KeyRange, Scan, Snapshot};

use super::{Chain, Record, VERSION, family};
use crate::apply;
use crate::error::EngineError;
use crate::keys::{self, LAYOUT, NodeKind, STATE, STORE_BYTES};
use crate::slot::{ShardNumber, Slot, StoreNumber};
use crate::stores;
use crate::transaction::ContentSum;

/// What a snapshot has of a shard, piece by piece.
///
/// It holds one walk open at a time and nothing of what it has passed, so it takes as much memory
/// as a piece.
#[derive(Debug)]
pub struct Export<'a> {
    snapshot: &'a dyn Snapshot,
    shard: ShardNumber,
    /// What comes when the walk has ended.
    sections: VecDeque<Section>,
    walk: Option<Walk<'a>>,
    chain: Chain,
}

#[derive(Clone, Copy, Debug)]
enum Section {
    Tables,
    Slot(Slot, Epoch),
    /// A family of the slot in this store.
    Family(StoreNumber, u8),
    End(ContentSum),
}

#[derive(Debug)]
struct Walk<'a> {
    scan: Box<dyn Scan + 'a>,
    /// Over the tables; over the entries of a slot otherwise.
    of_tables: bool,
}

impl<'a> Export<'a> {
    /// Begins to export `shard`, whole, as `snapshot` has it.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn new(snapshot: &'a dyn Snapshot, shard: ShardNumber) -> Result<Self, EngineError> {
        let mut sections = VecDeque::from([Section::Tables]);
        for (slot, epoch) in stores::slots(snapshot, shard)? {
            let store = stores::of_slot(snapshot, shard, slot)?;
            let store = store.ok_or(EngineError::damaged("slot"))?;
            sections.push_back(Section::Slot(slot, epoch));
            let families = (0..).zip(LAYOUT.families);
            sections.extend(families.map(|(place, _)| Section::Family(store, place)));
        }
        sections.push_back(Section::End(apply::sum(snapshot, shard)?));
        Ok(Self { snapshot, shard, sections, walk: None, chain: Chain::default() })
    }

    /// The next piece, or `None` behind the last one. It has about `bytes_max` bytes: the entry
    /// that goes beyond is the last in it.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`]; then begin anew.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, EngineError> {
        let mut piece = vec![VERSION];
        // A piece has something in it whatever the limit, or it would never end.
        while piece.len() < bytes_max.max(2) {
            if !self.step(&mut piece)? {
                break;
            }
        }
        if piece.len() == 1 {
            return Ok(None);
        }
        self.chain.seal(&mut piece);
        Ok(Some(piece))
    }

    /// Writes what comes next, or ends a walk. Gives whether anything was left to do.
    fn step(&mut self, piece: &mut Vec<u8>) -> Result<bool, EngineError> {
        let Some(Walk { scan, of_tables }) = &mut self.walk else { return self.section(piece) };
        match scan.next()? {
            Some(Entry { key, value }) if *of_tables => {
                Record::Table { id: keys::read_table(key)?, value }.write(piece)?;
            }
            Some(Entry { key, value }) => {
                let key = key.get(STORE_BYTES..).ok_or(EngineError::damaged("key"))?;
                Record::Entry { key, value }.write(piece)?;
            }
            None => self.walk = None,
        }
        Ok(true)
    }

    fn section(&mut self, piece: &mut Vec<u8>) -> Result<bool, EngineError> {
        let Some(section) = self.sections.pop_front() else { return Ok(false) };
        let walk = |family, range, of_tables| {
            let scan = self.snapshot.scan_once(family, range, Direction::Forward);
            Some(Walk { scan, of_tables })
        };
        match section {
            Section::Tables => {
                let range = KeyRange::prefix(keys::of_shard(NodeKind::Table, self.shard));
                self.walk = walk(STATE, range, true);
            }
            Section::Slot(slot, epoch) => Record::Slot { slot, epoch }.write(piece)?,
            Section::Family(store, place) => {
                let family = family(place).ok_or(EngineError::damaged("family"))?;
                Record::Family { place }.write(piece)?;
                self.walk = walk(family, keys::of_store(store), false);
            }
            Section::End(sum) => Record::End { sum }.write(piece)?,
        }
        Ok(true)
    }
}
