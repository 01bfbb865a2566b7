//! A stored row, and what it means to write one: row, key, change, indexes and expiry together.

use std::iter;
use std::sync::Arc;

use protocol::ids::{Birth, ColumnId, IndexId, SchemaVersion, SeqId};
use protocol::schema::{Index, TableSchema};
use protocol::value::{Row, RowRef, Value, ValueRef};
use server_storage::Family;
use server_storage::key::{KeyReader, KeyWriter};

use crate::catalog::Table;
use crate::change_index::{self, Mark};
use crate::command::Time;
use crate::error::EngineError;
use crate::keys::{self, INDEX, KEYS, Partition, ROWS};
use crate::partition::PartitionState;
use crate::transaction::Transaction;

/// SeqId, schema version and expiry, before the values.
const HEADER_BYTES: usize = 8 + 4 + 8;

/// The expiry of a row that has none.
const NEVER: i64 = i64::MAX;

/// A row as it is stored: cheap to share and to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    stored: Arc<[u8]>,
    seq: SeqId,
    version: SchemaVersion,
    expiry: Time,
}

impl Image {
    pub(crate) fn new(
        seq: SeqId,
        version: SchemaVersion,
        expiry: Option<Time>,
        row: &[u8],
    ) -> Self {
        let expiry = expiry.unwrap_or(Time(NEVER));
        let header = KeyWriter::new().u64(seq.get()).u32(version.0).i64(expiry.0);
        Self { stored: header.parts(row).finish().into(), seq, version, expiry }
    }

    pub(crate) fn read(stored: &[u8]) -> Result<Self, EngineError> {
        let Header { seq, version, expiry } = Header::read(stored)?;
        Ok(Self { stored: stored.into(), seq, version, expiry })
    }

    /// The last change of the row.
    pub fn seq(&self) -> SeqId {
        self.seq
    }

    /// The version of the schema that says what its values are.
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    /// When it expires.
    pub fn expiry(&self) -> Option<Time> {
        (self.expiry.0 != NEVER).then_some(self.expiry)
    }

    /// Whether nobody sees it any more.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expiry <= now
    }

    /// The values as MessagePack, in the order of the columns of [`Image::version`].
    pub fn row_bytes(&self) -> &[u8] {
        &self.stored[HEADER_BYTES..]
    }

    /// The values by column.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when the bytes are no row of `table`.
    pub fn view<'a>(&'a self, table: &'a Table) -> Result<RowView<'a>, EngineError> {
        RowView::read(&self.stored, self.version, table)
    }

    fn stored(&self) -> &[u8] {
        &self.stored
    }
}

/// What a stored row begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) seq: SeqId,
    pub(crate) version: SchemaVersion,
    pub(crate) expiry: Time,
}

impl Header {
    pub(crate) fn read(stored: &[u8]) -> Result<Self, EngineError> {
        let mut reader = KeyReader::new(stored);
        let seq = keys::read_seq(&mut reader)?;
        let version = SchemaVersion(reader.u32()?);
        Ok(Self { seq, version, expiry: Time(reader.i64()?) })
    }
}

/// The values of a stored row by column.
#[derive(Clone, Debug)]
pub struct RowView<'a> {
    row: RowRef<'a>,
    layout: &'a [ColumnId],
    table: &'a Table,
}

impl<'a> RowView<'a> {
    pub(crate) fn read(
        stored: &'a [u8],
        version: SchemaVersion,
        table: &'a Table,
    ) -> Result<Self, EngineError> {
        let layout = table.layout(version)?;
        let row = stored.get(HEADER_BYTES..).and_then(RowRef::read);
        let row = row.filter(|row| row.len() == layout.len());
        Ok(Self { row: row.ok_or(EngineError::damaged("row"))?, layout, table })
    }

    /// The value of a column. A row that is older than the column has its constant default; without
    /// one, NULL.
    pub fn get(&self, column: ColumnId) -> ValueRef<'a> {
        // Columns are numbered in their order until one is dropped.
        let guess = usize::from(column.0);
        let place = match self.layout.get(guess) {
            Some(at) if *at == column => Some(guess),
            _ => self.layout.iter().position(|at| *at == column),
        };
        place.map_or_else(|| self.table.fill(column), |place| self.row[place])
    }

    /// The values of `columns`.
    pub fn values(&self, columns: &[ColumnId]) -> Row {
        columns.iter().map(|column| self.get(*column).to_value()).collect()
    }

    /// The values of all columns of `schema`, in its order.
    pub fn row(&self, schema: &TableSchema) -> Row {
        schema.columns.iter().map(|column| self.get(column.id).to_value()).collect()
    }
}

/// The values of `columns` in a row of `schema`.
pub(crate) fn values_of<'r>(
    schema: &TableSchema,
    row: &'r Row,
    columns: &[ColumnId],
) -> Vec<&'r Value> {
    let value = |id: &ColumnId| {
        let place = schema.columns.iter().position(|column| column.id == *id);
        place.and_then(|place| row.get(place)).unwrap_or(&Value::Null)
    };
    columns.iter().map(value).collect()
}

/// The same as part of a key.
pub(crate) fn key_of(schema: &TableSchema, row: &Row, columns: &[ColumnId]) -> Vec<u8> {
    keys::values(values_of(schema, row, columns).into_iter().map(Value::as_ref))
}

/// A row that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) birth: Birth,
    pub(crate) image: Image,
}

/// Where single values are read: in a transaction or in a snapshot.
pub(crate) trait Get: Fn(Family, &[u8]) -> Result<Option<Vec<u8>>, EngineError> {}

impl<F: Fn(Family, &[u8]) -> Result<Option<Vec<u8>>, EngineError>> Get for F {}

/// Where a row lies and what it lies by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a Table,
    pub(crate) partition: &'a Partition,
    /// The primary key's part of a key.
    pub(crate) key: &'a [u8],
}

impl Place<'_> {
    /// The row's value in each index of the table, in their order.
    fn index_values(&self, image: &Image) -> Result<Vec<(IndexId, Vec<u8>)>, EngineError> {
        let indexes = &self.table.schema().indexes;
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let view = image.view(self.table)?;
        let value = |index: &Index| keys::values(index.columns.iter().map(|id| view.get(*id)));
        Ok(indexes.iter().map(|index| (index.id, value(index))).collect())
    }

    /// The row with this key, expired or not.
    pub(crate) fn find(&self, get: impl Get) -> Result<Option<Stored>, EngineError> {
        let Some(birth) = get(KEYS, &self.partition.key(self.key))? else { return Ok(None) };
        let birth = Birth(keys::read_seq(&mut KeyReader::new(&birth))?);
        let image = get(ROWS, &self.partition.row(birth))?;
        let image = Image::read(&image.ok_or(EngineError::damaged("row"))?)?;
        Ok(Some(Stored { birth, image }))
    }

    /// The row with this key as who reads at `now` sees it.
    pub(crate) fn find_seen(
        &self,
        now: Time,
        get: impl Get,
    ) -> Result<Option<(Birth, Image)>, EngineError> {
        let seen = self.find(get)?.filter(|found| !found.image.is_expired(now));
        Ok(seen.map(|Stored { birth, image }| (birth, image)))
    }

    /// Writes a row that was not there. Its birth is its first change.
    pub(crate) fn insert(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut PartitionState,
        image: &Image,
    ) -> Result<(), EngineError> {
        let (partition, seq) = (self.partition, image.seq());
        let birth = Birth(seq);
        tx.insert(ROWS, partition.row(birth), image.stored().to_vec());
        tx.insert(KEYS, partition.key(self.key), keys::seq_bytes(seq));
        change_index::insert(tx, partition, None, seq, birth);
        for (index, value) in self.index_values(image)? {
            tx.insert(INDEX, partition.index(index, &value, birth), Vec::new());
            change_index::insert(tx, partition, Some((index, &value)), seq, birth);
        }
        self.put_due(tx, birth, image);
        state.rows += 1;
        Ok(())
    }

    /// Writes the next image of a row that is there.
    pub(crate) fn update(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut PartitionState,
        old: &Stored,
        new: &Image,
        mark: &Mark<'_>,
    ) -> Result<(), EngineError> {
        let (partition, birth) = (self.partition, old.birth);
        let (before, seq) = (old.image.seq(), new.seq());
        let key = partition.row(birth);
        tx.replace(ROWS, key, Some(old.image.stored()), new.stored().to_vec());
        change_index::remove(tx, partition, None, before, birth);
        change_index::insert(tx, partition, None, seq, birth);
        let values = self.index_values(&old.image)?.into_iter().zip(self.index_values(new)?);
        for ((index, from), (_, to)) in values {
            let at = Some((index, &*from));
            change_index::remove(tx, partition, at, before, birth);
            change_index::insert(tx, partition, Some((index, &to)), seq, birth);
            if from != to {
                tx.remove(INDEX, partition.index(index, &from, birth), &[]);
                tx.insert(INDEX, partition.index(index, &to, birth), Vec::new());
                change_index::leave_tombstone(tx, partition, at, seq, birth, mark);
                state.tombstones += 1;
            }
        }
        if old.image.expiry != new.expiry {
            self.remove_due(tx, birth, &old.image);
            self.put_due(tx, birth, new);
        }
        Ok(())
    }

    /// Deletes a row, as the change `seq`: whoever holds it can still be told.
    pub(crate) fn delete(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut PartitionState,
        old: &Stored,
        seq: SeqId,
        mark: &Mark<'_>,
    ) -> Result<(), EngineError> {
        let values = self.index_values(&old.image)?;
        self.remove_with(tx, state, old, &values);
        let each = values.iter().map(|(index, value)| Some((*index, &**value)));
        for at in iter::once(None).chain(each) {
            change_index::leave_tombstone(tx, self.partition, at, seq, old.birth, mark);
            state.tombstones += 1;
        }
        Ok(())
    }

    /// Removes a row without a trace: expired, or of a table that was dropped.
    pub(crate) fn remove(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut PartitionState,
        old: &Stored,
    ) -> Result<(), EngineError> {
        self.remove_with(tx, state, old, &self.index_values(&old.image)?);
        Ok(())
    }

    fn remove_with(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut PartitionState,
        old: &Stored,
        values: &[(IndexId, Vec<u8>)],
    ) {
        let (partition, birth, before) = (self.partition, old.birth, old.image.seq());
        tx.remove(ROWS, partition.row(birth), old.image.stored());
        tx.remove(KEYS, partition.key(self.key), &keys::seq_bytes(birth.0));
        change_index::remove(tx, partition, None, before, birth);
        for (index, value) in values {
            tx.remove(INDEX, partition.index(*index, value, birth), &[]);
            change_index::remove(tx, partition, Some((*index, value)), before, birth);
        }
        self.remove_due(tx, birth, &old.image);
        state.rows -= 1;
    }

    fn put_due(&self, tx: &mut Transaction<'_>, birth: Birth, image: &Image) {
        if let Some(expiry) = image.expiry() {
            tx.insert(keys::DUE, self.partition.expiry_due(expiry, birth), Vec::new());
        }
    }

    fn remove_due(&self, tx: &mut Transaction<'_>, birth: Birth, image: &Image) {
        if let Some(expiry) = image.expiry() {
            tx.remove(keys::DUE, self.partition.expiry_due(expiry, birth), &[]);
        }
    }
}
