use protocol::ids::Lane;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many slots there are. It never changes: a lane's slot is part of what is stored.
pub const SLOTS: u16 = 1024;

/// One of the [`SLOTS`] places that lanes are spread over. What moves between shards is a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot(u16);

/// Numbers the shards of a cluster. A shard is a Raft group with a log of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardNumber(pub u16);

/// Numbers the incarnations of slots on a node. It is part of every key of the slot's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StoreNumber(pub(crate) u32);

impl Slot {
    /// The slot of a lane: the first 16 bits of the SHA-256 of its name, modulo [`SLOTS`].
    pub fn of(lane: &Lane) -> Self {
        let digest = Sha256::digest(lane.to_string());
        Self(u16::from_be_bytes([digest[0], digest[1]]) % SLOTS)
    }

    /// The slot with this number, if there is one.
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOTS).then_some(Self(number))
    }

    /// All slots, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// The number, below [`SLOTS`].
    pub fn number(self) -> u16 {
        self.0
    }
}
