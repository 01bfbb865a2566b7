use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use server_storage::key::KeyReader;
use server_storage::{Batch, Direction, Snapshot, Store};

use super::{Stores, of_slot};
use crate::error::EngineError;
use crate::keys::{self, LAYOUT, NODE, STATE};
use crate::slot::{ShardNumber, Slot, StoreNumber};

/// What the record of a number says after what was stored under it was dropped.
const NOBODY: &[u8] = &[];

impl Stores {
    /// Drops what is stored under numbers that no slot points to: what an import has replaced, and
    /// what one has left that did not come to its end. Gives how many stores that were.
    ///
    /// One batch drops all of it, so a crash leaves it to the next time or finds it done.
    ///
    /// The record of the highest number stays as long as it is that, since numbers go on behind it
    /// when the node starts again. A number is never given twice. Whoever still means the old store
    /// would mean the new one: another call of this that has read its list, or a removal that is
    /// not compacted yet.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn reclaim(&self, store: &dyn Store) -> Result<u64, EngineError> {
        // What may go is decided before the snapshot is taken. A number that was taken by then is
        // still being received, or has its last word in the snapshot: who applies an entry writes
        // the number and what points to it at once, and an import is released after it was switched
        // to. Numbers that are taken later are none of this.
        let (end, receiving) = {
            let receiving = self.receiving();
            (StoreNumber(self.next.load(Ordering::Relaxed)), receiving.clone())
        };
        let snapshot = store.snapshot();
        let Unused { left, dropped, highest } = Unused::read(&*snapshot, end, &receiving)?;
        drop(snapshot);
        let ranges: Vec<_> =
            runs(&left).into_iter().map(|(first, last)| keys::of_stores(first, last)).collect();
        let mut batch = Batch::new();
        for family in LAYOUT.families {
            for range in &ranges {
                batch.delete_range(*family, range);
            }
        }
        for number in left.iter().chain(&dropped) {
            if Some(*number) != highest {
                batch.delete(STATE, keys::store(*number));
            } else if left.contains(number) {
                batch.put(STATE, keys::store(*number), NOBODY);
            }
        }
        if batch.is_empty() {
            return Ok(0);
        }
        store.write(batch)?;
        for family in LAYOUT.families {
            for range in &ranges {
                store.compact(*family, range)?;
            }
        }
        Ok(left.len() as u64)
    }
}

/// Numbers that nothing points to, in order.
struct Unused {
    /// Under which something may be stored.
    left: Vec<StoreNumber>,
    /// Whose record was kept when that was dropped.
    dropped: Vec<StoreNumber>,
    /// The highest of all numbers.
    highest: Option<StoreNumber>,
}

impl Unused {
    /// Reads those before `end`.
    fn read(
        snapshot: &dyn Snapshot,
        end: StoreNumber,
        receiving: &BTreeSet<StoreNumber>,
    ) -> Result<Self, EngineError> {
        let mut unused = Self { left: Vec::new(), dropped: Vec::new(), highest: None };
        let mut scan = snapshot.scan(STATE, keys::stores(), Direction::Forward);
        while let Some(entry) = scan.next()? {
            let number = keys::read_store(entry.key)?;
            if number == NODE {
                return Err(EngineError::damaged("store number"));
            }
            unused.highest = Some(number);
            if entry.value == NOBODY {
                unused.dropped.push(number);
                continue;
            }
            let (shard, slot) = read_owner(entry.value)?;
            let is_used = of_slot(snapshot, shard, slot)? == Some(number);
            if number < end && !is_used && !receiving.contains(&number) {
                unused.left.push(number);
            }
        }
        Ok(unused)
    }
}

fn read_owner(value: &[u8]) -> Result<(ShardNumber, Slot), EngineError> {
    let mut reader = KeyReader::new(value);
    let shard = ShardNumber(reader.u16()?);
    let slot = Slot::new(reader.u16()?).ok_or(EngineError::damaged("slot"))?;
    Ok((shard, slot))
}

/// The first and last of numbers that follow one another, so that stores which were received
/// together go together.
fn runs(numbers: &[StoreNumber]) -> Vec<(StoreNumber, StoreNumber)> {
    let mut runs: Vec<(StoreNumber, StoreNumber)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.0 + 1 == number.0 => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}
