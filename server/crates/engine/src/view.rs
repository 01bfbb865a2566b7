//! Reading a shard at one moment.

use protocol::ids::{ClientId, Epoch, IndexId, Lane, MutationNumber, SeqId, TableId, TenantId};
use protocol::mutation::Decision;
use protocol::predicate::Predicate;
use protocol::value::{Row, Value};
use server_storage::key::KeyReader;
use server_storage::{Direction, Snapshot};
use thiserror::Error;

use crate::catalog::{Catalog, Table};
use crate::client::{self, ClientState};
use crate::command::Time;
use crate::error::EngineError;
use crate::keys::{self, ClientKey, NodeKind, Partition, STATE};
use crate::partition::{self, PartitionState};
use crate::slot::{ShardNumber, Slot};
use crate::stores::{self, StoreNumber};

/// A shard at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) catalog: &'a Catalog,
    shard: ShardNumber,
    pub(crate) now: Time,
}

/// A lane at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneView {
    store: StoreNumber,
    /// The epoch of its history.
    pub epoch: Epoch,
    /// Its last change.
    pub seq: SeqId,
}

/// What a subscription reads, without what it shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The table.
    pub table: TableId,
    /// Where its rows can lie. The keys in it may be named to the subscriber.
    pub range: ScannedRange,
    /// Which of them it wants.
    pub predicate: Predicate,
}

/// The part of a partition that a query reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScannedRange {
    /// All of it.
    Partition,
    /// The rows in which the columns of an index have one of these values.
    Index {
        /// The index.
        index: IndexId,
        /// A value for each column of the index, each time.
        values: Vec<Row>,
    },
}

/// Why nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The lane is in another shard, or this one was not founded yet.
    #[error("the lane is not in this shard: ask where it is")]
    WrongShard,
    /// There is no such table.
    #[error("there is no such table any more")]
    TableUnknown,
    /// There is no such index, or it has another number of columns.
    #[error("the table has no index of these columns")]
    IndexUnknown,
}

impl From<server_storage::StorageError> for ReadError {
    fn from(error: server_storage::StorageError) -> Self {
        Self::Engine(error.into())
    }
}

/// A query with what it names found.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    pub(crate) table: &'a Table,
    pub(crate) partition: Partition,
    /// The indexed values to read, each once; the whole partition without.
    pub(crate) values: Option<(IndexId, Vec<Vec<u8>>)>,
}

impl<'a> View<'a> {
    /// Looks at `shard` through `snapshot`. Rows that have expired by `now` are not seen.
    ///
    /// `catalog` is taken after the snapshot: see [`Catalog`].
    pub fn new(
        snapshot: &'a dyn Snapshot,
        catalog: &'a Catalog,
        shard: ShardNumber,
        now: Time,
    ) -> Self {
        Self { snapshot, catalog, shard, now }
    }

    /// Where a lane stands.
    ///
    /// # Errors
    /// [`ReadError::WrongShard`] or [`ReadError::Engine`].
    pub fn lane(&self, lane: &Lane) -> Result<LaneView, ReadError> {
        let slot = Slot::of(lane);
        let store = stores::of_slot(self.snapshot, self.shard, slot)?;
        let store = store.ok_or(ReadError::WrongShard)?;
        let epoch = keys::of_slot(NodeKind::SlotEpoch, self.shard, slot);
        let epoch = self.snapshot.get(STATE, &epoch)?.ok_or(ReadError::WrongShard)?;
        let epoch = KeyReader::new(&epoch).array().map_err(EngineError::from)?;
        let seq = match self.snapshot.get(STATE, &keys::lane(store, lane))? {
            Some(value) => keys::read_seq(&mut KeyReader::new(&value))?,
            None => SeqId::ZERO,
        };
        Ok(LaneView { store, epoch: Epoch::from_bytes(epoch), seq })
    }

    /// Counts of the partition of `table` in `lane`.
    ///
    /// # Errors
    /// [`ReadError::WrongShard`] or [`ReadError::Engine`].
    pub fn partition(&self, lane: &Lane, table: TableId) -> Result<PartitionState, ReadError> {
        let store = self.lane(lane)?.store;
        Ok(self.partition_state(&Partition::new(store, table, partition::tenant(lane)))?)
    }

    pub(crate) fn partition_state(
        &self,
        partition: &Partition,
    ) -> Result<PartitionState, EngineError> {
        PartitionState::decode(self.snapshot.get(STATE, &partition.state())?.as_deref())
    }

    /// What is remembered of a client; `None` when it has written nothing in this lane.
    ///
    /// # Errors
    /// [`ReadError::WrongShard`] or [`ReadError::Engine`].
    pub fn client(
        &self,
        lane: &Lane,
        user: &TenantId,
        client: ClientId,
    ) -> Result<Option<ClientState>, ReadError> {
        let key = ClientKey { lane, user, client }.client(self.lane(lane)?.store);
        let value = self.snapshot.get(STATE, &key)?;
        Ok(value.map(|value| ClientState::decode(&value)).transpose()?)
    }

    /// The decisions about a client's mutations behind `after`, at most `count`, in order.
    ///
    /// # Errors
    /// [`ReadError::WrongShard`] or [`ReadError::Engine`].
    pub fn decisions(
        &self,
        lane: &Lane,
        user: &TenantId,
        client: ClientId,
        after: MutationNumber,
        count: usize,
    ) -> Result<Vec<(MutationNumber, Decision)>, ReadError> {
        let range = ClientKey { lane, user, client }.decisions(self.lane(lane)?.store, after);
        let mut scan = self.snapshot.scan(STATE, range, Direction::Forward);
        let mut decisions = Vec::new();
        while decisions.len() < count
            && let Some(entry) = scan.next()?
        {
            let number = MutationNumber::new(keys::last_seq(entry.key)?.get());
            let number = number.map_err(|_| EngineError::damaged("mutation number"))?;
            decisions.push((number, client::decode_decision(entry.value)?));
        }
        Ok(decisions)
    }

    /// Finds what `query` names, in `lane`.
    pub(crate) fn resolve(
        &self,
        lane: &Lane,
        at: LaneView,
        query: &Query,
    ) -> Result<Resolved<'a>, ReadError> {
        let table = self.catalog.table(query.table).ok_or(ReadError::TableUnknown)?;
        let values = match &query.range {
            ScannedRange::Partition => None,
            ScannedRange::Index { index, values } => {
                let mut known = table.schema().indexes.iter();
                let known = known.find(|known| known.id == *index);
                let known = known.ok_or(ReadError::IndexUnknown)?;
                if values.iter().any(|value| value.len() != known.columns.len()) {
                    return Err(ReadError::IndexUnknown);
                }
                let encode = |value: &Row| keys::values(value.iter().map(Value::as_ref));
                let mut values: Vec<_> = values.iter().map(encode).collect();
                // Twice the same value would give its rows twice.
                values.sort();
                values.dedup();
                Some((*index, values))
            }
        };
        let partition = Partition::new(at.store, query.table, partition::tenant(lane));
        Ok(Resolved { table, partition, values })
    }
}
