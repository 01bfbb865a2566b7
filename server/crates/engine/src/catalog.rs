//! The tables as this shard's log describes them.

mod toward;

use std::collections::BTreeMap;

use protocol::codec;
use protocol::ids::{ColumnId, SchemaVersion, TableId, TableName};
use protocol::mutation::ColumnValue;
use protocol::schema::{Column, ColumnDefault, TableKind, TableSchema};
use protocol::value::{Value, ValueRef};
use serde::{Deserialize, Serialize};
use server_storage::{Direction, KeyRange, Snapshot};

use crate::error::EngineError;
use crate::keys::{self, NodeKind, STATE};
use crate::slot::ShardNumber;

/// All tables of a shard, also those that were dropped.
///
/// Whoever reads a snapshot takes the catalog after it: one that is newer knows all that an older
/// one knew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    tables: BTreeMap<TableId, Table>,
    /// Those that are not dropped, by name.
    names: BTreeMap<TableName, TableId>,
}

/// A table and how its rows were laid out in every version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    schema: TableSchema,
    /// The columns in the order of a row's values, from a version on.
    layouts: Vec<(SchemaVersion, Vec<ColumnId>)>,
    /// What rows hold that are older than a column: its constant default. NULL where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fills: Vec<ColumnValue>,
    life: Life,
}

/// How far a table is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Life {
    Used,
    /// Its rows may still be there.
    Dropped,
    /// Nothing is left of it but its number, which no other table gets.
    Swept,
}

impl Catalog {
    pub(crate) fn read(snapshot: &dyn Snapshot, shard: ShardNumber) -> Result<Self, EngineError> {
        let mut catalog = Self::default();
        let range = KeyRange::prefix(keys::of_shard(NodeKind::Table, shard));
        let mut scan = snapshot.scan(STATE, range, Direction::Forward);
        while let Some(entry) = scan.next()? {
            catalog.insert(Table::decode(entry.value)?);
        }
        Ok(catalog)
    }

    /// The table with this number, unless it was dropped.
    pub fn table(&self, id: TableId) -> Option<&Table> {
        self.tables.get(&id).filter(|table| table.is_used())
    }

    /// The table with this name, unless it was dropped.
    pub fn named(&self, name: &TableName) -> Option<&Table> {
        self.names.get(name).and_then(|id| self.table(*id))
    }

    /// A number that no table has or had.
    pub fn free_id(&self) -> Option<TableId> {
        let last = self.tables.last_key_value().map_or(0, |(id, _)| id.0);
        last.checked_add(1).map(TableId)
    }

    /// Grows with every change of any table. Nodes with the same tables have the same one.
    pub fn revision(&self) -> u64 {
        let of = |table: &Table| u64::from(table.schema.version.0) + u64::from(!table.is_used());
        self.tables.values().map(of).sum()
    }

    /// The same, dropped or not.
    pub(crate) fn any(&self, id: TableId) -> Option<&Table> {
        self.tables.get(&id)
    }

    /// All tables, in the order of their numbers, without those that were dropped.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values().filter(|table| table.is_used())
    }

    /// Tables that were dropped and may have rows left.
    pub(crate) fn unswept(&self) -> impl Iterator<Item = &Table> {
        self.tables.values().filter(|table| table.life == Life::Dropped)
    }

    /// What `schema` makes of the table it describes: `None` when it may not replace what there
    /// is, and the same when it is known already.
    pub(crate) fn define(&self, schema: &TableSchema) -> Option<Table> {
        if schema.check().is_err() {
            return None;
        }
        let is_taken = self
            .tables()
            .any(|table| table.schema.name == schema.name && table.schema.id != schema.id);
        if is_taken {
            return None;
        }
        let Some(known) = self.tables.get(&schema.id) else {
            let (layouts, fills) = (vec![(schema.version, layout(schema))], Vec::new());
            return Some(Table { schema: schema.clone(), layouts, fills, life: Life::Used });
        };
        if known.schema == *schema && known.is_used() {
            return Some(known.clone());
        }
        if known.life != Life::Used
            || schema.version <= known.schema.version
            || !known.may_become(schema)
        {
            return None;
        }
        let mut next = known.clone();
        let is_new = |column: &&Column| known.schema.column(column.id).is_none();
        let fill = |column: &Column| Some(ColumnValue(column.id, constant(column)?.clone()));
        next.fills.extend(schema.columns.iter().filter(is_new).filter_map(fill));
        next.fills.retain(|ColumnValue(id, _)| schema.column(*id).is_some());
        if next.layouts.last().is_none_or(|(_, columns)| *columns != layout(schema)) {
            next.layouts.push((schema.version, layout(schema)));
        }
        next.schema = schema.clone();
        Some(next)
    }

    pub(crate) fn with(&self, table: Table) -> Self {
        let mut next = self.clone();
        next.insert(table);
        next
    }

    fn insert(&mut self, table: Table) {
        let id = table.schema.id;
        self.names.retain(|_, named| *named != id);
        if table.is_used() {
            self.names.insert(table.schema.name.clone(), id);
        }
        self.tables.insert(id, table);
    }
}

/// What a column holds by default, where that is the same for every row.
fn constant(column: &Column) -> Option<&Value> {
    match &column.default {
        Some(ColumnDefault::Value(value)) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn layout(schema: &TableSchema) -> Vec<ColumnId> {
    schema.columns.iter().map(|column| column.id).collect()
}

impl Table {
    /// The present description.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// The columns of a row that was stored under `version`, in the order of its values.
    pub(crate) fn layout(&self, version: SchemaVersion) -> Result<&[ColumnId], EngineError> {
        if version > self.schema.version {
            return Err(EngineError::CatalogOlder);
        }
        // The last one is almost always it.
        let layout = self.layouts.iter().rev().find(|(known, _)| *known <= version);
        layout.map(|(_, columns)| &**columns).ok_or(EngineError::damaged("schema version"))
    }

    /// What a row holds of a column that is younger than the row.
    pub(crate) fn fill(&self, column: ColumnId) -> ValueRef<'_> {
        let fill = self.fills.iter().find(|ColumnValue(id, _)| *id == column);
        fill.map_or(ValueRef::Null, |ColumnValue(_, value)| value.as_ref())
    }

    /// A number that no column has or had: rows of before may still have a value under it.
    pub fn free_column(&self) -> Option<ColumnId> {
        let used = self.layouts.iter().flat_map(|(_, columns)| columns);
        let last = used.max().map_or(0, |id| id.0);
        last.checked_add(1).map(ColumnId)
    }

    pub(crate) fn is_used(&self) -> bool {
        self.life == Life::Used
    }

    pub(crate) fn dropped(&self) -> Self {
        Self { life: Life::Dropped, ..self.clone() }
    }

    pub(crate) fn swept(&self) -> Self {
        Self { life: Life::Swept, ..self.clone() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        codec::decode(bytes, usize::MAX).map_err(|_| EngineError::damaged("table"))
    }

    /// Whether rows that are stored fit `next`, which rewrites none of them: nothing that they lie by
    /// changes (so an index is declared with its table), no column changes its type, and what they
    /// do not have is a constant, or NULL (so a new column that is NOT NULL has a constant default,
    /// and keeps it).
    fn may_become(&self, next: &TableSchema) -> bool {
        let now = &self.schema;
        let same_kind = matches!(
            (&now.kind, &next.kind),
            (TableKind::User, TableKind::User)
                | (TableKind::Stream, TableKind::Stream)
                | (TableKind::Shared(_), TableKind::Shared(_))
        );
        let columns_fit = next.columns.iter().all(|column| {
            let known = now.column(column.id);
            let was_used = self.layouts.iter().any(|(_, columns)| columns.contains(&column.id));
            match known {
                Some(known) => {
                    let is_filled = self.fills.iter().any(|ColumnValue(id, _)| *id == column.id);
                    known.column_type == column.column_type
                        && (known.not_null || !column.not_null)
                        && (!is_filled || known.default == column.default)
                }
                None => !was_used && (!column.not_null || constant(column).is_some()),
            }
        });
        same_kind
            && columns_fit
            && now.name.namespace == next.name.namespace
            && now.primary_key == next.primary_key
            && now.indexes == next.indexes
    }
}
