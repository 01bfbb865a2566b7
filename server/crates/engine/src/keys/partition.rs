use protocol::ids::{Birth, IndexId, SeqId, TableId, TenantId};
use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Direction, Family, KeyRange};

use super::{CHANGES, DueKind, INDEX_CHANGES, STORE_BYTES, StateKind, due, open, read_seq, state};
use crate::command::Time;
use crate::error::EngineError;
use crate::slot::StoreNumber;

/// A partition: the beginning of the keys of everything in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    store: StoreNumber,
    prefix: Vec<u8>,
}

/// Which changes are meant: those of an indexed value; of the whole partition without one.
pub(crate) type At<'a> = Option<(IndexId, &'a [u8])>;

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

    /// The rows born beyond `birth`, before or after it; all of them without one.
    pub(crate) fn rows(&self, direction: Direction, birth: Option<Birth>) -> KeyRange {
        beyond(self.prefix.clone(), direction, birth)
    }

    pub(crate) fn key(&self, key: &[u8]) -> Vec<u8> {
        self.start().parts(key).finish()
    }

    /// Where the change `seq` is noted: a family, and the key in it.
    pub(crate) fn change(&self, seq: SeqId, at: At<'_>) -> (Family, Vec<u8>) {
        match at {
            None => (CHANGES, self.start().u64(seq.get()).finish()),
            Some((index, value)) => {
                (INDEX_CHANGES, self.value(index, value).u64(seq.get()).finish())
            }
        }
    }

    fn value(&self, index: IndexId, value: &[u8]) -> KeyWriter {
        self.start().u16(index.0).parts(value)
    }

    pub(crate) fn index(&self, index: IndexId, value: &[u8], birth: Birth) -> Vec<u8> {
        self.value(index, value).u64(birth.0.get()).finish()
    }

    /// The same, of the rows with an indexed value.
    pub(crate) fn births(
        &self,
        index: IndexId,
        value: &[u8],
        direction: Direction,
        birth: Option<Birth>,
    ) -> KeyRange {
        beyond(self.value(index, value).finish(), direction, birth)
    }

    /// The changes behind `seq`: a family, and the keys in it.
    pub(crate) fn changes_after(&self, seq: SeqId, at: At<'_>) -> (Family, KeyRange) {
        match at {
            None => (CHANGES, after(self.prefix.clone(), seq)),
            Some((index, value)) => (INDEX_CHANGES, after(self.value(index, value).finish(), seq)),
        }
    }

    pub(crate) fn expiry_due(&self, time: Time, birth: Birth) -> Vec<u8> {
        let key = due(self.store, DueKind::Expiry).i64(time.0).parts(self.parts());
        key.u64(birth.0.get()).finish()
    }

    fn tombstone(&self) -> KeyWriter {
        due(self.store, DueKind::Tombstone).parts(self.parts())
    }

    pub(crate) fn tombstone_due(&self, seq: SeqId, at: At<'_>) -> Vec<u8> {
        let key = self.tombstone().u64(seq.get());
        match at {
            None => key.finish(),
            Some((index, value)) => key.u16(index.0).parts(value).finish(),
        }
    }

    /// The tombstones up to and with `seq`.
    pub(crate) fn tombstones_through(&self, seq: SeqId) -> KeyRange {
        let end = self.tombstone().u64(seq.get() + 1).finish();
        KeyRange::between(self.tombstone().finish(), end)
    }

    /// The parts of a key of [`Partition::tombstone_due`].
    pub(crate) fn read_tombstone<'k>(&self, key: &'k [u8]) -> Result<(SeqId, At<'k>), EngineError> {
        let damaged = EngineError::damaged("tombstone");
        let rest = key.strip_prefix(&*self.tombstone().finish()).ok_or(damaged)?;
        let mut reader = KeyReader::new(rest);
        let seq = read_seq(&mut reader)?;
        if reader.rest().is_empty() {
            return Ok((seq, None));
        }
        let index = IndexId(reader.u16()?);
        Ok((seq, Some((index, reader.rest()))))
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
    let (store, mut reader) = open(key)?;
    reader.i64()?;
    Ok((Partition::read(store, &mut reader)?, Birth(read_seq(&mut reader)?)))
}

/// The place of a partition, by its key of [`Partition::state`] or a key of
/// [`Partition::tombstone_due`].
pub(crate) fn read_place(key: &[u8]) -> Result<Place, EngineError> {
    let (store, mut reader) = open(key)?;
    Partition::read(store, &mut reader)
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

/// The keys that begin with `prefix` and go on with a birth below `birth`.
fn beyond(prefix: Vec<u8>, direction: Direction, birth: Option<Birth>) -> KeyRange {
    match (direction, birth) {
        (Direction::Forward, Some(birth)) => after(prefix, birth.0),
        (_, birth) => below(prefix, birth),
    }
}

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
