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

use protocol::ids::{
    Birth, ClientId, IndexId, Lane, MutationNumber, RequestId, SeqId, TableId, TenantId,
};
use protocol::value::ValueRef;
use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Access, Family, Journal, KeyRange, Layout, Removal};

use crate::command::Time;
use crate::error::EngineError;
use crate::slot::{ShardNumber, Slot};
use crate::stores::StoreNumber;

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
const NODE: StoreNumber = StoreNumber(0);

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
    /// Shard → up to when silent clients are forgotten.
    Forgotten = 7,
    /// Shard → whatever replication keeps beside.
    Replication = 8,
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

fn node(kind: NodeKind) -> KeyWriter {
    KeyWriter::new().u32(NODE.0).u8(kind as u8)
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
    let mut reader = KeyReader::new(key);
    (reader.u32()?, reader.u8()?);
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
    let mut reader = KeyReader::new(key);
    (reader.u32()?, reader.u8()?, reader.u16()?);
    Slot::new(reader.u16()?).ok_or(EngineError::damaged("slot"))
}

pub(crate) fn table(shard: ShardNumber, table: TableId) -> Vec<u8> {
    node(NodeKind::Table).u16(shard.0).u32(table.0).finish()
}

/// A key for records that replication keeps beside a shard's state, in the same batch.
pub fn of_replication(shard: ShardNumber, name: &str) -> Vec<u8> {
    node(NodeKind::Replication).u16(shard.0).text(name).finish()
}

fn state(store: StoreNumber, kind: StateKind) -> KeyWriter {
    KeyWriter::new().u32(store.0).u8(kind as u8)
}

pub(crate) fn lane(store: StoreNumber, lane: &Lane) -> Vec<u8> {
    state(store, StateKind::Lane).text(&lane.to_string()).finish()
}

/// A client of a user in a lane, as part of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientKey<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) user: &'a TenantId,
    pub(crate) client: ClientId,
}

impl ClientKey<'_> {
    fn parts(self, key: KeyWriter) -> KeyWriter {
        let Self { lane, user, client } = self;
        key.text(&lane.to_string()).text(user.as_str()).array(client.as_bytes())
    }

    pub(crate) fn client(self, store: StoreNumber) -> Vec<u8> {
        self.parts(state(store, StateKind::Client)).finish()
    }

    pub(crate) fn decision(self, store: StoreNumber, number: MutationNumber) -> Vec<u8> {
        self.parts(state(store, StateKind::Decision)).u64(number.get()).finish()
    }

    /// Decisions behind `number`.
    pub(crate) fn decisions(self, store: StoreNumber, number: MutationNumber) -> KeyRange {
        let prefix = self.parts(state(store, StateKind::Decision)).finish();
        let end = KeyRange::prefix(prefix).end;
        KeyRange { start: self.decision(store, number.next()), end }
    }

    pub(crate) fn due(self, store: StoreNumber, day: i64) -> Vec<u8> {
        self.parts(due(store, DueKind::Client).i64(day)).finish()
    }
}

/// The parts of a client's key of [`DUE`].
pub(crate) fn read_client_due(key: &[u8]) -> Result<(Lane, TenantId, ClientId), EngineError> {
    let damaged = || EngineError::damaged("client");
    let mut reader = KeyReader::new(key);
    (reader.u32()?, reader.u8()?, reader.i64()?);
    let lane = reader.text()?.parse().map_err(|_| damaged())?;
    let user = TenantId::new(reader.text()?).map_err(|_| damaged())?;
    Ok((lane, user, ClientId::from_bytes(reader.array()?)))
}

/// A request as the last parts of a key of [`STATE`] and of [`DUE`].
fn request_parts(key: KeyWriter, lane: &Lane, user: &TenantId, request: RequestId) -> KeyWriter {
    key.text(&lane.to_string()).text(user.as_str()).array(request.as_bytes())
}

pub(crate) fn request(
    store: StoreNumber,
    lane: &Lane,
    user: &TenantId,
    request: RequestId,
) -> Vec<u8> {
    request_parts(state(store, StateKind::Request), lane, user, request).finish()
}

pub(crate) fn request_due(
    store: StoreNumber,
    time: Time,
    lane: &Lane,
    user: &TenantId,
    request: RequestId,
) -> Vec<u8> {
    request_parts(due(store, DueKind::Request).i64(time.0), lane, user, request).finish()
}

/// The key of [`STATE`] that a request's key of [`DUE`] belongs to.
pub(crate) fn request_of_due(key: &[u8]) -> Result<Vec<u8>, EngineError> {
    let mut reader = KeyReader::new(key);
    let store = StoreNumber(reader.u32()?);
    (reader.u8()?, reader.i64()?);
    Ok(state(store, StateKind::Request).parts(reader.rest()).finish())
}

fn due(store: StoreNumber, kind: DueKind) -> KeyWriter {
    KeyWriter::new().u32(store.0).u8(kind as u8)
}

/// What is due of one kind before `end`.
pub(crate) fn due_before(store: StoreNumber, kind: DueKind, end: i64) -> KeyRange {
    KeyRange::between(due(store, kind).finish(), due(store, kind).i64(end).finish())
}

/// A partition: the beginning of the keys of everything in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    store: StoreNumber,
    prefix: Vec<u8>,
}

/// Where a tombstone lies beside the changes of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TombstonePlace {
    /// Among the changes of the partition itself.
    Changes,
    /// Among those of an indexed value.
    Index(IndexId, Vec<u8>),
}

impl Partition {
    /// `tenant` is `None` for a SHARED table.
    pub(crate) fn new(store: StoreNumber, table: TableId, tenant: Option<&TenantId>) -> Self {
        let prefix = KeyWriter::new().u32(store.0).u32(table.0);
        Self { store, prefix: prefix.text(tenant.map_or("", TenantId::as_str)).finish() }
    }

    fn start(&self) -> KeyWriter {
        KeyWriter::new().parts(&self.prefix)
    }

    /// Table and tenant.
    fn parts(&self) -> &[u8] {
        &self.prefix[STORE_BYTES..]
    }

    /// Whose it is; `None` for a SHARED table.
    pub(crate) fn tenant(&self) -> Result<Option<TenantId>, EngineError> {
        let mut reader = KeyReader::new(self.parts());
        reader.u32()?;
        read_tenant(&mut reader)
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        state(self.store, StateKind::Partition).parts(self.parts()).finish()
    }

    pub(crate) fn row(&self, birth: Birth) -> Vec<u8> {
        self.start().u64(birth.0.get()).finish()
    }

    /// The rows born before `birth`; all of them without one.
    pub(crate) fn rows_below(&self, birth: Option<Birth>) -> KeyRange {
        below(self.prefix.clone(), birth)
    }

    pub(crate) fn key(&self, key: &[u8]) -> Vec<u8> {
        self.start().parts(key).finish()
    }

    pub(crate) fn change(&self, seq: SeqId) -> Vec<u8> {
        self.start().u64(seq.get()).finish()
    }

    pub(crate) fn changes_after(&self, seq: SeqId) -> KeyRange {
        after(self.prefix.clone(), seq)
    }

    fn value(&self, index: IndexId, value: &[u8]) -> KeyWriter {
        self.start().u16(index.0).parts(value)
    }

    pub(crate) fn index(&self, index: IndexId, value: &[u8], birth: Birth) -> Vec<u8> {
        self.value(index, value).u64(birth.0.get()).finish()
    }

    /// The rows with an indexed value born before `birth`.
    pub(crate) fn index_below(
        &self,
        index: IndexId,
        value: &[u8],
        birth: Option<Birth>,
    ) -> KeyRange {
        below(self.value(index, value).finish(), birth)
    }

    pub(crate) fn index_change(&self, index: IndexId, value: &[u8], seq: SeqId) -> Vec<u8> {
        self.value(index, value).u64(seq.get()).finish()
    }

    pub(crate) fn index_changes_after(&self, index: IndexId, value: &[u8], seq: SeqId) -> KeyRange {
        after(self.value(index, value).finish(), seq)
    }

    pub(crate) fn expiry_due(&self, time: Time, birth: Birth) -> Vec<u8> {
        let key = due(self.store, DueKind::Expiry).i64(time.0).parts(self.parts());
        key.u64(birth.0.get()).finish()
    }

    fn tombstone(&self) -> KeyWriter {
        due(self.store, DueKind::Tombstone).parts(self.parts())
    }

    pub(crate) fn tombstone_due(&self, seq: SeqId, place: &TombstonePlace) -> Vec<u8> {
        let key = self.tombstone().u64(seq.get());
        match place {
            TombstonePlace::Changes => key.finish(),
            TombstonePlace::Index(index, value) => key.u16(index.0).parts(value).finish(),
        }
    }

    /// The tombstones up to and with `seq`.
    pub(crate) fn tombstones_through(&self, seq: SeqId) -> KeyRange {
        let end = self.tombstone().u64(seq.get() + 1).finish();
        KeyRange::between(self.tombstone().finish(), end)
    }

    /// The parts of a key of [`Partition::tombstone_due`].
    pub(crate) fn read_tombstone(
        &self,
        key: &[u8],
    ) -> Result<(SeqId, TombstonePlace), EngineError> {
        let damaged = EngineError::damaged("tombstone");
        let rest = key.strip_prefix(&*self.tombstone().finish()).ok_or(damaged)?;
        let mut reader = KeyReader::new(rest);
        let seq = read_seq(&mut reader)?;
        if reader.rest().is_empty() {
            return Ok((seq, TombstonePlace::Changes));
        }
        let index = IndexId(reader.u16()?);
        Ok((seq, TombstonePlace::Index(index, reader.rest().to_vec())))
    }

    /// What [`Partition::tombstone_due`] points at: a family, and the key in it.
    pub(crate) fn tombstone_at(&self, seq: SeqId, place: &TombstonePlace) -> (Family, Vec<u8>) {
        match place {
            TombstonePlace::Changes => (CHANGES, self.change(seq)),
            TombstonePlace::Index(index, value) => {
                (INDEX_CHANGES, self.index_change(*index, value, seq))
            }
        }
    }

    /// The partition that a key of [`ROWS`], or what follows the time of a key of
    /// [`Partition::expiry_due`], belongs to, and the birth in it.
    fn read(store: StoreNumber, reader: &mut KeyReader<'_>) -> Result<Place, EngineError> {
        let table = TableId(reader.u32()?);
        let tenant = read_tenant(reader)?;
        Ok((table, Self::new(store, table, tenant.as_ref())))
    }
}

fn read_tenant(reader: &mut KeyReader<'_>) -> Result<Option<TenantId>, EngineError> {
    match reader.text()? {
        "" => Ok(None),
        text => TenantId::new(text).map(Some).map_err(|_| EngineError::damaged("tenant")),
    }
}

/// A partition and its table.
pub(crate) type Place = (TableId, Partition);

/// The place and birth of a row, by its key of [`ROWS`].
pub(crate) fn read_row(key: &[u8]) -> Result<(Place, Birth), EngineError> {
    let mut reader = KeyReader::new(key);
    let store = StoreNumber(reader.u32()?);
    Ok((Partition::read(store, &mut reader)?, Birth(read_seq(&mut reader)?)))
}

/// The place and birth of a row, by a key of [`Partition::expiry_due`].
pub(crate) fn read_expiry_due(key: &[u8]) -> Result<(Place, Birth), EngineError> {
    let mut reader = KeyReader::new(key);
    let store = StoreNumber(reader.u32()?);
    (reader.u8()?, reader.i64()?);
    Ok((Partition::read(store, &mut reader)?, Birth(read_seq(&mut reader)?)))
}

/// The place of a tombstone, by a key of [`Partition::tombstone_due`].
pub(crate) fn read_tombstone_place(key: &[u8]) -> Result<Place, EngineError> {
    let mut reader = KeyReader::new(key);
    let store = StoreNumber(reader.u32()?);
    reader.u8()?;
    Partition::read(store, &mut reader)
}

/// The place of a partition, by its key of [`Partition::state`].
pub(crate) fn read_partition(key: &[u8]) -> Result<Place, EngineError> {
    read_tombstone_place(key)
}

/// All rows of a table in a store.
pub(crate) fn rows_of_table(store: StoreNumber, table: TableId) -> KeyRange {
    KeyRange::prefix(KeyWriter::new().u32(store.0).u32(table.0).finish())
}

/// All tombstones of a table in a store.
pub(crate) fn tombstones_of(store: StoreNumber, table: TableId) -> KeyRange {
    KeyRange::prefix(due(store, DueKind::Tombstone).u32(table.0).finish())
}

/// The records of all partitions of a table in a store.
pub(crate) fn partitions_of_table(store: StoreNumber, table: TableId) -> KeyRange {
    KeyRange::prefix(state(store, StateKind::Partition).u32(table.0).finish())
}

/// The records of all partitions in a store.
pub(crate) fn partitions(store: StoreNumber) -> KeyRange {
    KeyRange::prefix(state(store, StateKind::Partition).finish())
}

/// Everything of a store in a family.
pub(crate) fn of_store(store: StoreNumber) -> KeyRange {
    KeyRange::prefix(KeyWriter::new().u32(store.0).finish())
}

/// The keys that begin with `prefix` and go on with a birth below `birth`.
fn below(prefix: Vec<u8>, birth: Option<Birth>) -> KeyRange {
    match birth {
        None => KeyRange::prefix(prefix),
        Some(birth) => {
            let end = KeyWriter::new().parts(&prefix).u64(birth.0.get()).finish();
            KeyRange::between(prefix, end)
        }
    }
}

/// The keys that begin with `prefix` and go on with a SeqId above `seq`.
fn after(prefix: Vec<u8>, seq: SeqId) -> KeyRange {
    let start = KeyWriter::new().parts(&prefix).u64(seq.get() + 1).finish();
    KeyRange { start, end: KeyRange::prefix(prefix).end }
}

/// The SeqId or birth that a key ends with.
pub(crate) fn last_seq(key: &[u8]) -> Result<SeqId, EngineError> {
    let at = key.len().checked_sub(8).ok_or(EngineError::damaged("key"))?;
    read_seq(&mut KeyReader::new(&key[at..]))
}

pub(crate) fn read_seq(reader: &mut KeyReader<'_>) -> Result<SeqId, EngineError> {
    SeqId::new(reader.u64()?).map_err(|_| EngineError::damaged("position"))
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
