//! Lane → slot → shard.

use protocol::ids::Lane;
use server_engine::{SLOTS, ShardNumber, Slot};

use crate::error::ReplicationError;

/// The shard that tables are defined in, and that tells the others of them.
pub const META: ShardNumber = ShardNumber(0);

/// The namespace whose lane is in [`META`], with what the server itself keeps.
const SYSTEM: &str = "system";

/// Numbers of shards by kind are apart, so that shards can be added to each. 1 is for the registry
/// of live subscriptions.
const USER_FIRST: u16 = 0x0100;
const SHARED_FIRST: u16 = 0x1000;

/// Most shards of a kind: each is a Raft group, and few are enough.
const SHARDS_MAX: u16 = 64;

/// Which shard a lane is in.
///
/// Slots are counted for each kind of lane by itself: slot 7 of the user lanes is in a user shard,
/// slot 7 of the shared lanes in a shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    user_shards: u16,
    shared_shards: u16,
}

impl Placement {
    /// A placement over so many shards of each kind.
    ///
    /// # Errors
    /// [`ReplicationError::ShardsRange`] for none, or for more than 64.
    pub fn new(user_shards: u16, shared_shards: u16) -> Result<Self, ReplicationError> {
        let may_be = 1..=SHARDS_MAX;
        if may_be.contains(&user_shards) && may_be.contains(&shared_shards) {
            Ok(Self { user_shards, shared_shards })
        } else {
            Err(ReplicationError::ShardsRange { max: SHARDS_MAX })
        }
    }

    /// The shard of a lane.
    pub fn shard(&self, lane: &Lane) -> ShardNumber {
        let slot = Slot::of(lane).number();
        match lane {
            Lane::User(_) => ShardNumber(USER_FIRST + slot % self.user_shards),
            Lane::Shared(namespace) if namespace.as_str() == SYSTEM => META,
            Lane::Shared(_) => ShardNumber(SHARED_FIRST + slot % self.shared_shards),
        }
    }

    /// All shards, [`META`] first.
    pub fn shards(&self) -> Vec<ShardNumber> {
        let of_kind = |first, count| (first..first + count).map(ShardNumber);
        let others = of_kind(USER_FIRST, self.user_shards);
        [META].into_iter().chain(others).chain(of_kind(SHARED_FIRST, self.shared_shards)).collect()
    }

    /// The slots that a shard is founded with.
    pub(crate) fn slots(&self, shard: ShardNumber) -> Vec<Slot> {
        let (first, count) = match shard.0 {
            number if number >= SHARED_FIRST => (SHARED_FIRST, self.shared_shards),
            number if number >= USER_FIRST => (USER_FIRST, self.user_shards),
            // A shard without a slot is none, and its lane has one like any other.
            _ => return system_lane().iter().map(Slot::of).collect(),
        };
        (0..SLOTS).filter(|slot| first + slot % count == shard.0).filter_map(Slot::new).collect()
    }
}

fn system_lane() -> Option<Lane> {
    SYSTEM.parse().ok().map(Lane::Shared)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_lane_is_in_the_shard_that_has_its_slot() {
        for (users, shared) in [(1, 1), (4, 2), (64, 64)] {
            let placement = Placement::new(users, shared).unwrap();
            for name in ["ann", "bob", "a@b.example", "x"] {
                let lane = Lane::User(name.parse().unwrap());
                let shard = placement.shard(&lane);
                assert!(placement.shards().contains(&shard));
                assert!(placement.slots(shard).contains(&Slot::of(&lane)), "{name}");
            }
            for name in ["shared/app", "shared/system", "shared/chat"] {
                let lane: Lane = name.parse().unwrap();
                let shard = placement.shard(&lane);
                assert!(placement.slots(shard).contains(&Slot::of(&lane)), "{name}");
                assert_eq!(shard == META, name == "shared/system");
            }
        }
    }

    /// Slots of each kind of lane, once over all shards of that kind.
    #[test]
    fn every_slot_is_in_one_shard_of_each_kind() {
        let placement = Placement::new(4, 3).unwrap();
        let mut seen = BTreeMap::new();
        for shard in placement.shards() {
            assert!(!placement.slots(shard).is_empty(), "a shard without slots is not founded");
            for slot in placement.slots(shard) {
                let kind = shard.0 >> 8;
                assert_eq!(seen.insert((kind, slot), shard), None);
            }
        }
        let of = |kind| seen.keys().filter(|(of, _)| *of == kind).count();
        assert_eq!((of(0), of(0x1), of(0x10)), (1, 1024, 1024));
    }
}
