//! A replicated table: its names in SQLite, its columns, what is beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::ids::{ColumnId, TableId};
use protocol::mutation::Reason;
use protocol::schema::{Column, ColumnDefault, TableKind, TableSchema};
use protocol::value::Value;
use rusqlite::types::{Value as Sqlite, ValueRef as SqliteRef};

use crate::error::ReplicaError;
use crate::names::quoted;
use crate::statements::{Statements, base, is_row, log};
use crate::values::typed;

/// The tables that every replica has.
const OWN: &[&str] = &[
    "tw_replica",
    "tw_lanes",
    "tw_subscriptions",
    "tw_tables",
    "tw_schema",
    "tw_staged",
    "tw_sets",
    "tw_outbox",
    "tw_operations",
    "tw_log_direct",
    "tw_writers",
    "tw_rejected",
    "tw_requests",
    "tw_decisions",
];

/// A replicated table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) schema: TableSchema,
    /// Its SQLite name.
    pub(crate) name: String,
    /// What runs for each of its rows.
    pub(crate) sql: Arc<Statements>,
}

/// The replicated tables, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables(pub(crate) BTreeMap<TableId, Table>);

impl Table {
    pub(crate) fn new(schema: TableSchema) -> Self {
        let name = schema.name.in_replica();
        let key = names(&schema, &schema.primary_key);
        let sql = Arc::new(Statements::new(&schema, &name, &all(&schema), &key));
        Self { schema, name, sql }
    }

    /// Its name in SQL.
    pub(crate) fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// Where the server's images are of rows that have writes waiting.
    pub(crate) fn base(&self) -> String {
        base(self.schema.id)
    }

    /// Where triggers note what a transaction touches.
    pub(crate) fn log(&self) -> String {
        log(self.schema.id)
    }

    pub(crate) fn is_key(&self, column: ColumnId) -> bool {
        self.schema.primary_key.contains(&column)
    }

    /// The quoted names of the columns of its key.
    pub(crate) fn key(&self) -> Vec<String> {
        self.names(&self.schema.primary_key)
    }

    /// The quoted names of columns; those that it does not have are left out.
    pub(crate) fn names(&self, columns: &[ColumnId]) -> Vec<String> {
        names(&self.schema, columns)
    }

    /// The column with this name.
    pub(crate) fn column(&self, name: &str) -> Result<&Column, ReplicaError> {
        self.schema.column_named(name).ok_or_else(|| {
            let table = &self.schema.name;
            ReplicaError::Sql(format!("there is no column {name} in {table}: check its spelling"))
        })
    }

    /// What an application has stored in a column, as a value of the column's type.
    pub(crate) fn typed(&self, column: &Column, stored: &Sqlite) -> Result<Value, ReplicaError> {
        let value = typed(column.column_type, stored.into());
        value.map_err(|reason| self.refused(column, &reason))
    }

    /// What is stored in a column, as a value of the column's type, if it is one.
    pub(crate) fn stored(&self, column: &Column, stored: SqliteRef<'_>) -> Option<Value> {
        typed(column.column_type, stored).ok()
    }

    /// A column does not take what was written.
    pub(crate) fn refused(&self, column: &Column, reason: &str) -> ReplicaError {
        let (table, column) = (&self.schema.name, &column.name);
        ReplicaError::Constraint(format!("{table}, column {column}: {reason}"))
    }

    /// NULL is not for every column.
    pub(crate) fn check_null(&self, column: &Column, value: &Value) -> Result<(), ReplicaError> {
        match column.not_null && value.is_null() {
            true => Err(self.refused(column, &Reason::NotNull.to_string())),
            false => Ok(()),
        }
    }

    /// The columns that the SDK adds.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &'static str> + use<> {
        hidden(&self.schema)
    }

    /// How many columns a row has, with the SDK's.
    pub(crate) fn width(&self) -> usize {
        self.schema.columns.len() + self.hidden().count()
    }

    /// The quoted names of all columns: those of the server in its order, then the SDK's.
    pub(crate) fn all(&self) -> Vec<String> {
        all(&self.schema)
    }

    /// That a row has the key whose values are the parameters behind `before` others.
    pub(crate) fn is_row(&self, before: usize) -> String {
        is_row(&self.key(), before)
    }

    pub(crate) fn has_expiry(&self) -> bool {
        self.schema.ttl_seconds.is_some()
    }

    /// The column that has the writer's user id.
    pub(crate) fn owner_column(&self) -> Option<ColumnId> {
        match &self.schema.kind {
            TableKind::Shared(sharing) => sharing.owner_column,
            TableKind::User | TableKind::Stream => None,
        }
    }

    /// What an INSERT that does not name the column stores.
    pub(crate) fn default_of(&self, column: ColumnId) -> Option<ColumnDefault> {
        if self.owner_column() == Some(column) {
            return Some(ColumnDefault::CurrentUser);
        }
        self.schema.column(column)?.default.clone()
    }
}

fn names(schema: &TableSchema, columns: &[ColumnId]) -> Vec<String> {
    let name = |id: &ColumnId| schema.column(*id).map(|column| quoted(column.name.as_str()));
    columns.iter().filter_map(name).collect()
}

fn hidden(schema: &TableSchema) -> impl Iterator<Item = &'static str> + use<> {
    ["_seq", "_set"].into_iter().chain(schema.ttl_seconds.map(|_| "_expires"))
}

fn all(schema: &TableSchema) -> Vec<String> {
    let columns = schema.columns.iter().map(|column| quoted(column.name.as_str()));
    columns.chain(hidden(schema).map(str::to_owned)).collect()
}

impl Tables {
    pub(crate) fn get(&self, id: TableId) -> Result<&Table, ReplicaError> {
        self.0.get(&id).ok_or(ReplicaError::Inconsistent("rows of a table that is not here"))
    }

    /// The table that SQLite calls so.
    pub(crate) fn named(&self, name: &str) -> Option<&Table> {
        self.0.values().find(|table| table.name == name)
    }

    /// Whether a table that is called so is the SDK's.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        let beside = |table: &Table| name == table.base() || name == table.log();
        OWN.contains(&name) || self.0.values().any(beside)
    }
}
