//! A shard's rows, as far as replication marks in them what they are the state of.

use std::sync::Arc;

use server_engine::{ShardNumber, of_replication};
use server_storage::{Batch, Snapshot, Store};

use crate::error::ReplicationError;
use crate::records::AppliedState;

/// Where the state of a shard is marked.
#[derive(Clone, Debug)]
pub(crate) struct ShardRows {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shard: ShardNumber,
}

impl ShardRows {
    pub(crate) fn new(store: Arc<dyn Store>, shard: ShardNumber) -> Self {
        Self { store, shard }
    }

    /// What `snapshot` is the state of.
    pub(crate) fn applied(
        &self,
        snapshot: &dyn Snapshot,
    ) -> Result<AppliedState, ReplicationError> {
        let (family, key) = self.place();
        read(snapshot.get(family, &key)?)
    }

    /// What a crash at this moment would leave, or something older.
    pub(crate) fn persisted(&self) -> Result<AppliedState, ReplicationError> {
        let (family, key) = self.place();
        read(self.store.get_persisted(family, &key)?)
    }

    /// Adds to the batch of an entry that its rows are the state after it.
    pub(crate) fn mark(&self, batch: &mut Batch, state: &AppliedState) {
        let (family, key) = self.place();
        batch.put(family, key, state.encode());
    }

    fn place(&self) -> (server_storage::Family, Vec<u8>) {
        of_replication(self.shard, "applied")
    }
}

fn read(stored: Option<Vec<u8>>) -> Result<AppliedState, ReplicationError> {
    let Some(stored) = stored else { return Ok(AppliedState::default()) };
    AppliedState::decode(&stored).map_err(|_| ReplicationError::Damaged { what: "applied state" })
}
