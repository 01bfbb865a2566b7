//! Reading a shard at one moment.

use protocol::ids::{
    Birth, ClientId, ColumnId, Epoch, IndexId, Lane, MutationNumber, RequestId, SchemaVersion,
    SeqId, TableId, TenantId,
};
use protocol::mutation::Decision;
use protocol::predicate::{Predicate, PredicateError};
use protocol::schema::{Index, TableSchema};
use protocol::value::{Row, Value};
use server_storage::key::KeyReader;
use server_storage::{Direction, Snapshot};
use thiserror::Error;

use crate::access;
use crate::apply;
use crate::catalog::{Catalog, Table};
use crate::client::{self, ClientState};
use crate::command::{Outcome, Request, Time};
use crate::error::EngineError;
use crate::keys::{self, ClientKey, NodeKind, Partition, STATE};
use crate::limits::SCANNED_VALUES_MAX;
use crate::partition::{self, PartitionState};
use crate::rows::{Image, Place, RowView};
use crate::slot::{ShardNumber, Slot, StoreNumber};
use crate::stores;
use crate::transaction::ContentSum;

/// A shard at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) catalog: &'a Catalog,
    pub(crate) shard: ShardNumber,
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
    /// Where its rows lie. The keys that ever were in it may be named to the subscriber, the rows
    /// in it shown.
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
    /// The table has no rows in this lane.
    #[error("the table is of another lane")]
    LaneOfTable,
    /// There is no such index, or its columns do not take these values.
    #[error("the table has no index of such values")]
    IndexUnknown,
    /// More values than one query may scan.
    #[error("a query scans at most {SCANNED_VALUES_MAX} indexed values: scan the partition")]
    ValuesTooMany,
    /// The predicate does not fit the table any more.
    #[error(transparent)]
    Predicate(#[from] PredicateError),
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
    /// The indexed values to read; the whole partition without.
    pub(crate) values: Option<ScannedValues<'a>>,
    predicate: &'a Predicate,
}

/// Values of an index, encoded, each once and in order.
#[derive(Debug)]
pub(crate) struct ScannedValues<'a> {
    pub(crate) index: &'a Index,
    pub(crate) encoded: Vec<Vec<u8>>,
}

impl Resolved<'_> {
    /// Whether the query holds a row: it is where the query reads, and meets its predicate.
    pub(crate) fn holds(&self, row: &RowView<'_>) -> bool {
        let is_in_range = self.values.as_ref().is_none_or(|ScannedValues { index, encoded }| {
            let value = keys::values(index.columns.iter().map(|column| row.get(*column)));
            encoded.binary_search(&value).is_ok()
        });
        is_in_range && self.predicate.evaluate(&|column| row.get(column)).is_true()
    }
}

/// The values of `range`, held to the columns of their index.
fn scanned_values<'a>(
    schema: &'a TableSchema,
    range: &ScannedRange,
) -> Result<Option<ScannedValues<'a>>, ReadError> {
    let ScannedRange::Index { index, values } = range else { return Ok(None) };
    let index = schema.indexes.iter().find(|known| known.id == *index);
    let index = index.ok_or(ReadError::IndexUnknown)?;
    if values.len() > SCANNED_VALUES_MAX {
        return Err(ReadError::ValuesTooMany);
    }
    let admits = |(id, value): (&ColumnId, &Value)| {
        let column = schema.column(*id);
        column.is_some_and(|column| column.column_type.admit(value.as_ref()).is_ok())
    };
    let fits = |value: &Row| {
        value.len() == index.columns.len() && index.columns.iter().zip(value.iter()).all(admits)
    };
    if !values.iter().all(fits) {
        return Err(ReadError::IndexUnknown);
    }
    let mut encoded: Vec<_> = values.iter().map(keys::of_row).collect();
    // Twice the same value would give its rows twice.
    encoded.sort();
    encoded.dedup();
    Ok(Some(ScannedValues { index, encoded }))
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

    /// The sum over the contents: equal on nodes that have applied the same entries.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn sum(&self) -> Result<ContentSum, EngineError> {
        apply::sum(self.snapshot, self.shard)
    }

    /// The slots that lie in the shard, in order; none before it was founded.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn slots(&self) -> Result<Vec<Slot>, EngineError> {
        let slots = stores::slots(self.snapshot, self.shard)?;
        Ok(slots.into_iter().map(|(slot, _)| slot).collect())
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
        let seq = keys::seq_or_zero(self.snapshot.get(STATE, &keys::lane(store, lane))?)?;
        Ok(LaneView { store, epoch: Epoch::from_bytes(epoch), seq })
    }

    /// The version that a table had at this moment: [`View::table`] may describe a later one.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn version(&self, table: TableId) -> Result<Option<SchemaVersion>, EngineError> {
        let stored = self.snapshot.get(STATE, &keys::table(self.shard, table))?;
        let table = stored.map(|stored| Table::decode(&stored)).transpose()?;
        Ok(table.map(|table| table.schema().version))
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

    /// What was answered to a request of `user`, while it is kept.
    ///
    /// # Errors
    /// [`ReadError::WrongShard`] or [`ReadError::Engine`].
    pub fn answer(
        &self,
        lane: &Lane,
        user: &TenantId,
        id: RequestId,
    ) -> Result<Option<(Request, Outcome)>, ReadError> {
        let key = keys::request(self.lane(lane)?.store, lane, user, id);
        let kept = self.snapshot.get(STATE, &key)?;
        Ok(kept.map(|kept| apply::read_answer(&kept)).transpose()?)
    }

    /// A row by its primary key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn row(
        &self,
        lane: &Lane,
        table: TableId,
        key: &Row,
    ) -> Result<Option<(Birth, Image)>, ReadError> {
        let table = self.table(lane, table)?;
        let store = self.lane(lane)?.store;
        let partition = Partition::new(store, table.schema().id, partition::tenant(lane));
        let place = Place { table, partition: &partition, key: &keys::of_row(key) };
        Ok(place.find_seen(self.now, |family, key| Ok(self.snapshot.get(family, key)?))?)
    }

    /// A table with rows in this lane.
    ///
    /// # Errors
    /// [`ReadError::TableUnknown`] or [`ReadError::LaneOfTable`].
    pub fn table(&self, lane: &Lane, table: TableId) -> Result<&'a Table, ReadError> {
        let table = self.catalog.table(table).ok_or(ReadError::TableUnknown)?;
        let is_of_lane = access::is_of_lane(table.schema(), lane);
        if is_of_lane { Ok(table) } else { Err(ReadError::LaneOfTable) }
    }

    /// Finds what `query` names, in `lane`.
    pub(crate) fn resolve<'q>(
        &self,
        lane: &Lane,
        at: LaneView,
        query: &'q Query,
    ) -> Result<Resolved<'q>, ReadError>
    where
        'a: 'q,
    {
        let table = self.table(lane, query.table)?;
        query.predicate.check(table.schema())?;
        let values = scanned_values(table.schema(), &query.range)?;
        let partition = Partition::new(at.store, query.table, partition::tenant(lane));
        Ok(Resolved { table, partition, values, predicate: &query.predicate })
    }
}
