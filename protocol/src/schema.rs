//! Tables as the server describes them to its clients.
//!
//! The same description decides on the server what a row may be, in the replica which SQLite table
//! holds it, and offline what an application may write.

mod check;

use serde::{Deserialize, Serialize};

pub use check::SchemaError;

use crate::ids::{ColumnId, IndexId, Lane, Name, SchemaVersion, TableId, TableName, TenantId};
use crate::value::{ColumnType, Value};

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The table's number.
    pub id: TableId,
    /// `namespace.table`.
    pub name: TableName,
    /// Grows with every change of this description.
    pub version: SchemaVersion,
    /// Whose rows it holds.
    pub kind: TableKind,
    /// The columns, in the order in which rows carry their values.
    pub columns: Vec<Column>,
    /// The columns that identify a row within its partition, in key order.
    pub primary_key: Vec<ColumnId>,
    /// What can be looked up without reading the partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// How long a row lives after it was last written, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
}

/// Whose rows a table holds, which decides its partitions and lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Every user has their own partition.
    User,
    /// One partition for everybody.
    Shared(Sharing),
    /// Like [`TableKind::User`], for rows that expire.
    Stream,
}

/// Who may do what with a SHARED table. Service and admin may do everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// What role user may do.
    pub access: AccessLevel,
    /// A TEXT column that the server fills with the writer's user id. Of role user, only that
    /// user may then change or delete the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_column: Option<ColumnId>,
}

/// What role user may do with a SHARED table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// Nothing.
    #[default]
    Private,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The column's number, which a later column of the table never gets again.
    pub id: ColumnId,
    /// Its name.
    pub name: Name,
    /// What it holds.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether NULL is refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_null: bool,
    /// What an INSERT that does not name the column stores; NULL without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ColumnDefault>,
    /// How writes of several devices come together.
    #[serde(default, skip_serializing_if = "MergeRule::is_default")]
    pub merge: MergeRule,
}

/// What an INSERT stores in a column that it does not name. Computed by whoever writes, once, so
/// that all nodes and devices store the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnDefault {
    /// A constant.
    Value(Value),
    /// `NOW()`: the time of the write, for TIMESTAMP.
    Now,
    /// `SNOWFLAKE_ID()`: a number that grows with time, for BIGINT.
    SnowflakeId,
    /// `UUID_V7()`: a UUID that grows with time, for UUID.
    UuidV7,
    /// `CURRENT_USER()`: the writer's user id, for TEXT.
    CurrentUser,
}

/// How writes of several devices to one column come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRule {
    /// The write that the server decides last wins.
    #[default]
    Last,
    /// `MERGE ADD`: what was added is added up.
    Add,
}

/// An index of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The index's number.
    pub id: IndexId,
    /// Its columns, in index order.
    pub columns: Vec<ColumnId>,
}

impl TableSchema {
    /// The column with this number.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The column with this name.
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.as_str() == name)
    }

    /// The lane of a row that `user` reads or writes here.
    pub fn lane(&self, user: &TenantId) -> Lane {
        match self.kind {
            TableKind::User | TableKind::Stream => Lane::User(user.clone()),
            TableKind::Shared(_) => Lane::Shared(self.name.namespace.clone()),
        }
    }

    /// Checks the whole description. A server stores, and a client believes, only what passes.
    ///
    /// # Errors
    /// The first [`SchemaError`].
    pub fn check(&self) -> Result<(), SchemaError> {
        check::check(self)
    }
}

impl MergeRule {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
