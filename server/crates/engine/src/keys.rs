//! Where everything lies: the families of the rows' database and the keys in them.
//!
//! Every key begins with a store number. Store 0 holds what belongs to the node and to its shards;
//! every other one holds one slot, so that a slot can be received beside the old data, switched by
//! one small write, and dropped as a range.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `rows` | partition, birth | SeqId, schema version, expiry, row |
//! | `keys` | partition, primary key | birth |
//! | `changes` | partition, SeqId | birth, and the primary key where the row is gone |
//! | `index` | partition, index, value, birth | – |
//! | `index_changes` | partition, index, value, SeqId | birth, and the primary key where the row left |
//! | `due` | store, kind, time or partition and SeqId, what | – |
//! | `state` | store, kind, … | see [`StateKind`] |
//!
//! A partition is a store, a table and a tenant (empty for SHARED).

mod client;
mod partition;

use protocol::ids::{Lane, SeqId, TableId};
use protocol::value::{Row, Value, ValueRef};
use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Access, Family, Journal, KeyRange, Layout, Removal};

pub(crate) use client::{ClientKey, read_client_due, request, request_due, request_of_due};
pub(crate) use partition::{
    At, Partition, partitions, partitions_of_table, read_expiry_due, read_place, read_row,
    rows_of_table, tombstones_of,
};

use crate::error::EngineError;
use crate::slot::{ShardNumber, Slot, StoreNumber};

const fn family(name: &'static str, access: Access, removal: Removal) -> Family {
    Family { name, access, removal }
}

/// Rows in order of birth.
pub(crate) const ROWS: Family = family("rows", Access::Ranges, Removal::Any);
/// Births by primary key.
pub(crate) const KEYS: Family = family("keys", Access::Points, Removal::Once);
/// The latest change of each row, in order.
pub(crate) const CHANGES: Family = family("changes", Access::Ranges, Removal::Once);
/// Births by indexed value.
pub(crate) const INDEX: Family = family("index", Access::Ranges, Removal::Once);
/// The latest change of each row with an indexed value, in order.
pub(crate) const INDEX_CHANGES: Family = family("index_changes", Access::Ranges, Removal::Once);
/// What expires or retires, and when.
pub(crate) const DUE: Family = family("due", Access::Ranges, Removal::Once);
/// Everything that there is one of: per shard, slot, lane, partition or client.
pub(crate) const STATE: Family = family("state", Access::Points, Removal::Any);

/// The rows' database. It has no journal: the Raft log is its journal.
pub const LAYOUT: Layout = Layout {
    families: &[ROWS, KEYS, CHANGES, INDEX, INDEX_CHANGES, DUE, STATE],
    journal: Journal::Elsewhere,
};

/// The bytes of a store number, in which keys of equal content differ from node to node.
pub(crate) const STORE_BYTES: usize = 4;

/// The store of the node and its shards.
pub(crate) const NODE: StoreNumber = StoreNumber(0);

/// What a key of [`STATE`] in store 0 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// Format of the data → number.
    Format = 1,
    /// Store number → the shard and slot it was given to.
    Store = 2,
    /// Shard → the sum over its contents.
    Sum = 3,
    /// Shard, slot → its store on this node.
    SlotStore = 4,
    /// Shard, slot → its epoch.
    SlotEpoch = 5,
    /// Shard, table → its description.
    Table = 6,
    /// Shard → whatever replication keeps beside.
    Replication = 7,
}

/// What a key of [`STATE`] in the store of a slot is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateKind {
    /// Lane → SeqId of its last change.
    Lane = 1,
    /// Partition → counts and `oldest_resumable`.
    Partition = 2,
    /// Lane, user, client → numbers and hashes.
    Client = 3,
    /// Lane, user, client, number → decision.
    Decision = 4,
    /// Lane, user, request → what came of it.
    Request = 5,
    /// Lane, user → the last day on which a client was heard of that is forgotten.
    Forgotten = 6,
}

/// What a key of [`DUE`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DueKind {
    /// Time, partition, birth: a row expires.
    Expiry = 1,
    /// Partition, SeqId, where: a tombstone, with the time at which it was made.
    Tombstone = 2,
    /// Day, client: when a client was last heard of.
    Client = 3,
    /// Time, request: an answer is not kept any longer.
    Request = 4,
}

/// Reads the store and passes over the kind that a key of [`STATE`] or [`DUE`] begins with.
fn open(key: &[u8]) -> Result<(StoreNumber, KeyReader<'_>), EngineError> {
    let mut reader = KeyReader::new(key);
    let store = StoreNumber(reader.u32()?);
    reader.u8()?;
    Ok((store, reader))
}

/// The store and kind that a key of [`STATE`] or [`DUE`] begins with.
fn start(store: StoreNumber, kind: u8) -> KeyWriter {
    KeyWriter::new().u32(store.0).u8(kind)
}

fn node(kind: NodeKind) -> KeyWriter {
    start(NODE, kind as u8)
}

pub(crate) fn format() -> Vec<u8> {
    node(NodeKind::Format).finish()
}

pub(crate) fn stores() -> KeyRange {
    KeyRange::prefix(node(NodeKind::Store).finish())
}

pub(crate) fn store(number: StoreNumber) -> Vec<u8> {
    node(NodeKind::Store).u32(number.0).finish()
}

pub(crate) fn read_store(key: &[u8]) -> Result<StoreNumber, EngineError> {
    let (_, mut reader) = open(key)?;
    Ok(StoreNumber(reader.u32()?))
}

pub(crate) fn of_shard(kind: NodeKind, shard: ShardNumber) -> Vec<u8> {
    node(kind).u16(shard.0).finish()
}

pub(crate) fn of_slot(kind: NodeKind, shard: ShardNumber, slot: Slot) -> Vec<u8> {
    node(kind).u16(shard.0).u16(slot.number()).finish()
}

/// The slot that a key of [`of_slot`] names.
pub(crate) fn read_slot(key: &[u8]) -> Result<Slot, EngineError> {
    let (_, mut reader) = open(key)?;
    reader.u16()?;
    Slot::new(reader.u16()?).ok_or(EngineError::damaged("slot"))
}

pub(crate) fn table(shard: ShardNumber, table: TableId) -> Vec<u8> {
    node(NodeKind::Table).u16(shard.0).u32(table.0).finish()
}

pub(crate) fn read_table(key: &[u8]) -> Result<TableId, EngineError> {
    let (_, mut reader) = open(key)?;
    reader.u16()?;
    Ok(TableId(reader.u32()?))
}

/// Where replication keeps a record beside a shard's state, in the same batch.
pub fn of_replication(shard: ShardNumber, name: &str) -> (Family, Vec<u8>) {
    (STATE, node(NodeKind::Replication).u16(shard.0).text(name).finish())
}

fn state(store: StoreNumber, kind: StateKind) -> KeyWriter {
    start(store, kind as u8)
}

pub(crate) fn lane(store: StoreNumber, lane: &Lane) -> Vec<u8> {
    state(store, StateKind::Lane).text(&lane.to_string()).finish()
}

fn due(store: StoreNumber, kind: DueKind) -> KeyWriter {
    start(store, kind as u8)
}

/// What is due of one kind before `end`.
pub(crate) fn due_before(store: StoreNumber, kind: DueKind, end: i64) -> KeyRange {
    KeyRange::between(due(store, kind).finish(), due(store, kind).i64(end).finish())
}

/// Everything of a store in a family.
pub(crate) fn of_store(store: StoreNumber) -> KeyRange {
    KeyRange::prefix(KeyWriter::new().u32(store.0).finish())
}

/// The same of several stores with numbers one behind the other.
pub(crate) fn of_stores(first: StoreNumber, last: StoreNumber) -> KeyRange {
    let number = |number| KeyWriter::new().u32(number).finish();
    KeyRange::between(number(first.0), number(last.0.saturating_add(1)))
}

/// The SeqId or birth that a key ends with.
pub(crate) fn last_seq(key: &[u8]) -> Result<SeqId, EngineError> {
    let at = key.len().checked_sub(8).ok_or(EngineError::damaged("key"))?;
    read_seq(&mut KeyReader::new(&key[at..]))
}

pub(crate) fn read_seq(reader: &mut KeyReader<'_>) -> Result<SeqId, EngineError> {
    SeqId::new(reader.u64()?).map_err(|_| EngineError::damaged("position"))
}

/// A SeqId as a value.
pub(crate) fn seq_bytes(seq: SeqId) -> Vec<u8> {
    KeyWriter::new().u64(seq.get()).finish()
}

/// A SeqId that is kept as a value; the one before the first where there is none.
pub(crate) fn seq_or_zero(value: Option<Vec<u8>>) -> Result<SeqId, EngineError> {
    value.map_or(Ok(SeqId::ZERO), |value| read_seq(&mut KeyReader::new(&value)))
}

/// The values of a primary key, or of an index, as parts of a key.
pub(crate) fn of_row(row: &Row) -> Vec<u8> {
    values(row.iter().map(Value::as_ref))
}

/// Values as parts of a key, in their order: NULL first, as in SQLite's indexes.
pub(crate) fn values<'v>(values: impl IntoIterator<Item = ValueRef<'v>>) -> Vec<u8> {
    let mut key = KeyWriter::new();
    for value in values {
        key = match value {
            ValueRef::Null => key.u8(0),
            ValueRef::Boolean(value) => key.u8(1).u8(value.into()),
            ValueRef::Integer(value) => key.u8(1).i64(value),
            ValueRef::Double(value) => key.u8(1).f64(value.get()),
            ValueRef::Text(value) => key.u8(1).text(value),
            ValueRef::Bytes(value) => key.u8(1).bytes(value),
            ValueRef::Uuid(value) => key.u8(1).array(value),
        };
    }
    key.finish()
}
