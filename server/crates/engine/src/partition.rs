//! What there is once per partition and once per lane.

use protocol::ids::{Epoch, Lane, SeqId, TableId, TenantId};
use server_storage::key::{KeyReader, KeyWriter};

use crate::error::EngineError;
use crate::keys::{self, Partition, STATE};
use crate::slot::StoreNumber;
use crate::transaction::Transaction;

/// Counts of a partition, and from where it can be resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionState {
    /// Rows, of which some may have expired.
    pub rows: u64,
    /// Tombstones of rows and of indexed values.
    pub tombstones: u64,
    /// The oldest position whose successors are all known. Who stands before it starts anew.
    pub oldest_resumable: SeqId,
}

impl PartitionState {
    pub(crate) fn decode(value: Option<&[u8]>) -> Result<Self, EngineError> {
        let Some(value) = value else { return Ok(Self::default()) };
        let mut reader = KeyReader::new(value);
        Ok(Self {
            rows: reader.u64()?,
            tombstones: reader.u64()?,
            oldest_resumable: keys::read_seq(&mut reader)?,
        })
    }

    fn encode(self) -> Vec<u8> {
        let Self { rows, tombstones, oldest_resumable } = self;
        KeyWriter::new().u64(rows).u64(tombstones).u64(oldest_resumable.get()).finish()
    }
}

/// A partition's state while it is worked on.
#[derive(Debug)]
pub(crate) struct OpenPartition {
    pub(crate) partition: Partition,
    pub(crate) state: PartitionState,
    before: Option<Vec<u8>>,
}

impl OpenPartition {
    pub(crate) fn open(tx: &Transaction<'_>, partition: Partition) -> Result<Self, EngineError> {
        let before = tx.get(STATE, &partition.state())?;
        let state = PartitionState::decode(before.as_deref())?;
        Ok(Self { partition, state, before })
    }

    /// Writes the state, if it has changed.
    pub(crate) fn close(self, tx: &mut Transaction<'_>) {
        let after = self.state.encode();
        if self.before.as_ref() != Some(&after) {
            tx.replace(STATE, self.partition.state(), self.before.as_deref(), after);
        }
    }

    /// Removes the record itself.
    pub(crate) fn forget(self, tx: &mut Transaction<'_>) {
        if let Some(before) = self.before {
            tx.remove(STATE, self.partition.state(), &before);
        }
    }
}

/// A lane while it is worked on.
#[derive(Clone, Debug)]
pub(crate) struct OpenLane {
    pub(crate) lane: Lane,
    pub(crate) store: StoreNumber,
    pub(crate) epoch: Epoch,
    /// Its last change.
    pub(crate) seq: SeqId,
}

impl OpenLane {
    pub(crate) fn open(
        tx: &Transaction<'_>,
        lane: &Lane,
        store: StoreNumber,
        epoch: Epoch,
    ) -> Result<Self, EngineError> {
        let seq = keys::seq_or_zero(tx.get(STATE, &keys::lane(store, lane))?)?;
        Ok(Self { lane: lane.clone(), store, epoch, seq })
    }

    /// Moves the lane to its next last change.
    pub(crate) fn advance(&mut self, tx: &mut Transaction<'_>, seq: SeqId) {
        if seq == self.seq {
            return;
        }
        assert!(seq > self.seq, "a lane's order only goes forward (INV-3)");
        let before = (self.seq != SeqId::ZERO).then(|| keys::seq_bytes(self.seq));
        let key = keys::lane(self.store, &self.lane);
        tx.replace(STATE, key, before.as_deref(), keys::seq_bytes(seq));
        self.seq = seq;
    }

    pub(crate) fn partition(&self, table: TableId) -> Partition {
        Partition::new(self.store, table, tenant(&self.lane))
    }
}

/// Whose partitions a lane has; `None` for SHARED tables.
pub(crate) fn tenant(lane: &Lane) -> Option<&TenantId> {
    match lane {
        Lane::User(tenant) => Some(tenant),
        Lane::Shared(_) => None,
    }
}
