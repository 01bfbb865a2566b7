//! A shard's contents on their way to another node.
//!
//! An [`Export`] passes over one snapshot and gives piece after piece; an [`Import`] stores them
//! beside what its node has of the shard, and then switches to them in one batch. What is a node's
//! own does not go over: store numbers, and what replication keeps.
//!
//! A piece is the version, records, and a hash of everything that was sent up to there. So one that
//! was damaged, lost, repeated or exchanged is noticed before any of it is stored. The end says
//! what the sum over the contents is, so nothing counts as received before all of it was, and what
//! was damaged at its source does not spread.
//!
//! | record | parts |
//! | --- | --- |
//! | table | number; description |
//! | slot | number, epoch; what follows is of this slot |
//! | family | place in the layout; what follows is of this family |
//! | entry | key without store number; value |
//! | end | the sum; nothing follows |

mod export;
mod import;

use std::fmt;

use protocol::ids::{Epoch, TableId};
use server_storage::Family;
use server_storage::key::{KeyError, KeyReader};
use xxhash_rust::xxh3::Xxh3;

pub use export::Export;
pub use import::Import;

use crate::error::EngineError;
use crate::keys::LAYOUT;
use crate::slot::Slot;
use crate::transaction::ContentSum;

/// The version of a piece. Both ends have the same, or nothing goes over.
const VERSION: u8 = 1;

const HASH_BYTES: usize = 16;

/// One thing that goes over.
#[derive(Clone, Copy, Debug)]
enum Record<'p> {
    Table { id: TableId, value: &'p [u8] },
    Slot { slot: Slot, epoch: Epoch },
    Family { place: u8 },
    Entry { key: &'p [u8], value: &'p [u8] },
    End { sum: ContentSum },
}

/// What a record begins with.
mod kind {
    pub(super) const TABLE: u8 = 1;
    pub(super) const SLOT: u8 = 2;
    pub(super) const FAMILY: u8 = 3;
    pub(super) const ENTRY: u8 = 4;
    pub(super) const END: u8 = 5;
}

/// The family at a place of the layout, where later versions only add some.
fn family(place: u8) -> Option<Family> {
    LAYOUT.families.get(usize::from(place)).copied()
}

impl<'p> Record<'p> {
    fn write(&self, piece: &mut Vec<u8>) -> Result<(), EngineError> {
        match self {
            Self::Table { id, value } => {
                piece.push(kind::TABLE);
                piece.extend(id.0.to_be_bytes());
                write_bytes(piece, value)?;
            }
            Self::Slot { slot, epoch } => {
                piece.push(kind::SLOT);
                piece.extend(slot.number().to_be_bytes());
                piece.extend(epoch.as_bytes());
            }
            Self::Family { place } => piece.extend([kind::FAMILY, *place]),
            Self::Entry { key, value } => {
                piece.push(kind::ENTRY);
                write_bytes(piece, key)?;
                write_bytes(piece, value)?;
            }
            Self::End { sum } => {
                piece.push(kind::END);
                piece.extend(sum.0.to_be_bytes());
            }
        }
        Ok(())
    }

    fn read(reader: &mut KeyReader<'p>) -> Result<Self, KeyError> {
        match reader.u8()? {
            kind::TABLE => {
                Ok(Self::Table { id: TableId(reader.u32()?), value: read_bytes(reader)? })
            }
            kind::SLOT => {
                let slot = Slot::new(reader.u16()?).ok_or(KeyError)?;
                Ok(Self::Slot { slot, epoch: Epoch::from_bytes(reader.array()?) })
            }
            kind::FAMILY => Ok(Self::Family { place: reader.u8()? }),
            kind::ENTRY => Ok(Self::Entry { key: read_bytes(reader)?, value: read_bytes(reader)? }),
            kind::END => Ok(Self::End { sum: ContentSum(u128::from_be_bytes(reader.array()?)) }),
            _ => Err(KeyError),
        }
    }
}

fn write_bytes(piece: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EngineError> {
    let length = u32::try_from(bytes.len()).map_err(|_| EngineError::damaged("entry"))?;
    piece.extend(length.to_be_bytes());
    piece.extend(bytes);
    Ok(())
}

fn read_bytes<'p>(reader: &mut KeyReader<'p>) -> Result<&'p [u8], KeyError> {
    let length = usize::try_from(reader.u32()?).map_err(|_| KeyError)?;
    let (bytes, rest) = reader.rest().split_at_checked(length).ok_or(KeyError)?;
    *reader = KeyReader::new(rest);
    Ok(bytes)
}

/// The hash over the pieces of a transfer, which each of them ends with.
#[derive(Default)]
struct Chain(Xxh3);

impl Chain {
    fn seal(&mut self, piece: &mut Vec<u8>) {
        self.0.update(piece);
        piece.extend(self.0.digest128().to_be_bytes());
    }

    /// What was sealed, if it is what comes next.
    fn open<'p>(&mut self, piece: &'p [u8]) -> Option<&'p [u8]> {
        let (sealed, hash) = piece.split_last_chunk::<HASH_BYTES>()?;
        self.0.update(sealed);
        (self.0.digest128().to_be_bytes() == *hash).then_some(sealed)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({:032x})", self.0.digest128())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use server_storage::{MemoryStore, Store};

    use super::*;
    use crate::keys::{self, NodeKind, STATE, STORE_BYTES};
    use crate::slot::ShardNumber;
    use crate::stores::Stores;

    const SHARD: ShardNumber = ShardNumber(3);

    /// A transfer in one piece, without its hash.
    fn whole() -> Vec<u8> {
        let slots = [5, 6].map(|number| Slot::new(number).unwrap());
        let (epoch, id) = (Epoch::from_bytes([7; 16]), TableId(1));
        let mut sum = ContentSum::default();
        let mut piece = vec![VERSION];
        let mut write = |record: Record<'_>| record.write(&mut piece).unwrap();
        write(Record::Table { id, value: b"table" });
        sum.add(STATE, &keys::table(SHARD, id), b"table");
        for slot in slots {
            write(Record::Slot { slot, epoch });
            let key = keys::of_slot(NodeKind::SlotEpoch, SHARD, slot);
            sum.add(STATE, &key, epoch.as_bytes());
            for place in 0..LAYOUT.families.len() {
                let place = u8::try_from(place).unwrap();
                write(Record::Family { place });
                for key in [&b"a"[..], b"ab", b"b"] {
                    write(Record::Entry { key, value: &[place; 3] });
                    let stored = [&[0; STORE_BYTES][..], key].concat();
                    sum.add(family(place).unwrap(), &stored, &[place; 3]);
                }
            }
        }
        write(Record::End { sum });
        piece
    }

    /// Whether it is received, with the hash that belongs to it.
    fn is_received(mut piece: Vec<u8>) -> bool {
        Chain::default().seal(&mut piece);
        let store = MemoryStore::new(LAYOUT);
        let stores = Arc::new(Stores::open(&store).unwrap());
        let mut import = Import::new(stores, SHARD);
        let stored = import.piece(&piece);
        let finished = import.finish(&*store.snapshot());
        for result in [&stored, &finished] {
            assert!(matches!(result, Ok(_) | Err(EngineError::TransferDamaged)), "{result:?}");
        }
        stored.is_ok() && finished.is_ok()
    }

    /// The hash keeps damage out; whoever made it anew meets the sum, and breaks nothing.
    #[test]
    fn what_was_changed_and_hashed_again_is_refused() {
        let whole = whole();
        assert!(is_received(whole.clone()));
        for place in 0..whole.len() {
            for change in [1, 0x80, 0xff, whole[place] ^ 5] {
                let mut changed = whole.clone();
                changed[place] ^= change;
                assert!(change == 0 || !is_received(changed), "{change} at {place}");
            }
            assert!(!is_received(whole[..place].to_vec()), "cut at {place}");
            let mut longer = whole.clone();
            longer.insert(place, 1);
            assert!(!is_received(longer), "longer at {place}");
        }
        // Nothing follows the end, not even what says the same.
        let end = &whole[whole.len() - 17..];
        assert!(!is_received([&whole, end].concat()));
    }

    /// A key that is put twice could not be removed as one that was put once.
    #[test]
    fn what_comes_twice_or_out_of_order_is_refused() {
        let slot = |number| Record::Slot {
            slot: Slot::new(number).unwrap(),
            epoch: Epoch::from_bytes([7; 16]),
        };
        let family = |place| Record::Family { place };
        let entry = |key: &'static [u8]| Record::Entry { key, value: b"" };
        let table = |id| Record::Table { id: TableId(id), value: b"" };
        let start = [slot(5), family(1), entry(b"b")];
        let is_taken = |record: Record<'_>| {
            let store = MemoryStore::new(LAYOUT);
            let stores = Arc::new(Stores::open(&store).unwrap());
            let mut import = Import::new(stores, SHARD);
            let mut piece = vec![VERSION];
            for record in start.iter().chain([&record]) {
                record.write(&mut piece).unwrap();
            }
            Chain::default().seal(&mut piece);
            import.piece(&piece).is_ok()
        };
        for taken in [slot(6), family(2), entry(b"ba"), entry(b"c"), table(1)] {
            assert!(is_taken(taken), "{taken:?}");
        }
        let refused = [
            slot(5),
            slot(4),
            family(1),
            family(0),
            family(LAYOUT.families.len() as u8),
            entry(b"b"),
            entry(b"a"),
            entry(b""),
        ];
        for refused in refused {
            assert!(!is_taken(refused), "{refused:?}");
        }
    }
}
