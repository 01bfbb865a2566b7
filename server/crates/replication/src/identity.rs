//! Who this node is, and how its server was founded: drawn once, and stored in both databases
//! before anything else is.

use protocol::ids::Epoch;
use serde::{Deserialize, Serialize};
use server_engine::of_replication;
use server_storage::{Batch, Family, Store};

use crate::error::ReplicationError;
use crate::ids::NodeId;
use crate::log;
use crate::placement::{META, Placement};
use crate::records;

/// What does not change as long as there is the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    version: u8,
    pub(crate) node: NodeId,
    /// The epoch that the server is founded with, if this node founds it. It is here before any
    /// shard has it, so that a crash between two shards does not give them two.
    pub(crate) epoch: Epoch,
    user_shards: u16,
    shared_shards: u16,
}

impl Identity {
    /// Reads the identity, or draws it when there is no data at all.
    pub(crate) fn of(
        log: &dyn Store,
        rows: &dyn Store,
        (user_shards, shared_shards): (u16, u16),
    ) -> Result<Self, ReplicationError> {
        let in_log = read(log, log::identity())?;
        let in_rows = read(rows, of_replication(META, "identity"))?;
        let identity = match (in_log, in_rows) {
            (None, None) => Self::draw(user_shards, shared_shards)?,
            // The log's is written first, and durable before the rows have anything.
            (Some(identity), None) => identity,
            (Some(identity), Some(same)) if identity == same => identity,
            (Some(_), Some(_)) => {
                let why = "they are of two nodes: restore both from one backup";
                return Err(ReplicationError::unfit(META, why));
            }
            (None, Some(_)) => {
                let why = "the log is gone: restore both from one backup, or add this node anew";
                return Err(ReplicationError::unfit(META, why));
            }
        };
        identity.check(user_shards, shared_shards)?;
        if in_log.is_none() {
            identity.write(log, log::identity())?;
        }
        if in_rows.is_none() {
            identity.write(rows, of_replication(META, "identity"))?;
        }
        Ok(identity)
    }

    pub(crate) fn placement(&self) -> Result<Placement, ReplicationError> {
        Placement::new(self.user_shards, self.shared_shards)
    }

    fn draw(user_shards: u16, shared_shards: u16) -> Result<Self, ReplicationError> {
        Placement::new(user_shards, shared_shards)?;
        let (mut node, mut epoch) = ([0; 8], [0; 16]);
        getrandom::fill(&mut node)
            .and_then(|()| getrandom::fill(&mut epoch))
            .map_err(|error| ReplicationError::Random(error.to_string()))?;
        let (node, epoch) = (NodeId(u64::from_be_bytes(node)), Epoch::from_bytes(epoch));
        Ok(Self { version: 1, node, epoch, user_shards, shared_shards })
    }

    fn check(&self, user_shards: u16, shared_shards: u16) -> Result<(), ReplicationError> {
        let pairs = [
            ("user", self.user_shards, user_shards),
            ("shared", self.shared_shards, shared_shards),
        ];
        for (kind, found, wanted) in pairs {
            if found != wanted {
                return Err(ReplicationError::Shards { kind, found, wanted });
            }
        }
        Ok(())
    }

    fn write(&self, store: &dyn Store, place: (Family, Vec<u8>)) -> Result<(), ReplicationError> {
        let mut batch = Batch::new();
        batch.put(place.0, place.1, records::encode(self));
        store.write(batch)?;
        Ok(store.persist()?)
    }
}

fn read(
    store: &dyn Store,
    (family, key): (Family, Vec<u8>),
) -> Result<Option<Identity>, ReplicationError> {
    let Some(stored) = store.get(family, &key)? else { return Ok(None) };
    match records::decode::<Identity>(&stored) {
        Ok(identity) if identity.version == 1 => Ok(Some(identity)),
        _ => Err(ReplicationError::Damaged { what: "identity of this node" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use server_storage::MemoryStore;

    #[test]
    fn databases_of_two_nodes_are_refused() {
        let new = || (MemoryStore::new(log::LOG_LAYOUT), MemoryStore::new(server_engine::LAYOUT));
        let (ours, theirs, empty) = (new(), new(), new());
        let first = Identity::of(&ours.0, &ours.1, (1, 1)).unwrap();
        Identity::of(&theirs.0, &theirs.1, (1, 1)).unwrap();
        assert_eq!(Identity::of(&ours.0, &ours.1, (1, 1)), Ok(first));
        for (log, rows) in [(&ours.0, &theirs.1), (&empty.0, &ours.1)] {
            let refused = Identity::of(log, rows, (1, 1)).unwrap_err();
            assert!(matches!(refused, ReplicationError::Unfit { .. }), "{refused}");
        }
        // A crash right after the log was written.
        assert_eq!(Identity::of(&ours.0, &empty.1, (1, 1)), Ok(first));
    }
}
