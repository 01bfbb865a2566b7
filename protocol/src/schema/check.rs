use std::collections::BTreeSet;

use thiserror::Error;

use super::{Column, ColumnDefault, MergeRule, Sharing, TableKind, TableSchema};
use crate::error_code::ErrorCode;
use crate::ids::{ColumnId, Name};
use crate::limits::{COLUMNS_MAX, INDEXES_MAX, KEY_COLUMNS_MAX, TTL_SECONDS_MAX};
use crate::value::{ColumnType, Value, ValueError};

/// Why a table cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No column, or too many.
    #[error("a table has 1 to {COLUMNS_MAX} columns, this one {0}")]
    Columns(usize),
    /// Two columns with one name or number.
    #[error("column {0} is declared twice: rename one of them")]
    ColumnTwice(Name),
    /// A primary key without columns, or with too many.
    #[error("a primary key has 1 to {KEY_COLUMNS_MAX} columns: add PRIMARY KEY (…)")]
    PrimaryKey,
    /// Too many indexes.
    #[error("a table has at most {INDEXES_MAX} indexes, this one {0}")]
    Indexes(usize),
    /// An index without columns, with too many, or with a number that another index has.
    #[error("an index has 1 to {KEY_COLUMNS_MAX} columns and a number of its own")]
    Index,
    /// A key or index names a column that does not exist, or one column twice.
    #[error("a key or index names each column of the table at most once, and no other")]
    KeyColumns,
    /// A key or index over values that have no order.
    #[error("column {column} is {column_type}, which has no order: it cannot be in a key or index")]
    Unordered {
        /// The column.
        column: Name,
        /// Its type.
        column_type: ColumnType,
    },
    /// A primary key column that may be NULL.
    #[error("column {0} is in the primary key: it must be NOT NULL")]
    NullableKey(Name),
    /// A default that the column cannot hold.
    #[error("the default of column {column}: {reason}")]
    Default {
        /// The column.
        column: Name,
        /// Why it cannot hold the default.
        reason: ValueError,
    },
    /// NULL as the default of a column that refuses it.
    #[error("column {0} is NOT NULL, so its default cannot be NULL: leave the default out")]
    NullDefault(Name),
    /// A default function of another type than the column.
    #[error("the default of column {column} gives a {gives}, the column is {column_type}")]
    DefaultFunction {
        /// The column.
        column: Name,
        /// What the function gives.
        gives: ColumnType,
        /// The column's type.
        column_type: ColumnType,
    },
    /// `MERGE ADD` where nothing can be added.
    #[error("column {0} cannot be MERGE ADD: that is for numbers outside of the primary key")]
    Merge(Name),
    /// A STREAM table without a TTL, or one out of range.
    #[error("TTL_SECONDS is 1 to {TTL_SECONDS_MAX}, and every STREAM table has one")]
    Ttl,
    /// A USER table with a TTL.
    #[error("a USER table keeps its rows: declare it STREAM for rows that expire")]
    TtlOfUserTable,
    /// An owner column that cannot hold the writer's id.
    #[error("OWNER_COLUMN names a TEXT column outside of MERGE ADD and without a default")]
    OwnerColumn,
}

impl SchemaError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Columns(count) if *count > COLUMNS_MAX => ErrorCode::TooLarge,
            Self::Indexes(_) => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidRequest,
        }
    }
}

pub(super) fn check(table: &TableSchema) -> Result<(), SchemaError> {
    check_columns(&table.columns)?;
    check_keys(table)?;
    check_ttl(table)?;
    if let TableKind::Shared(Sharing { owner_column: Some(id), .. }) = &table.kind {
        let owner = table.column(*id).ok_or(SchemaError::OwnerColumn)?;
        if owner.column_type != ColumnType::Text || owner.default.is_some() {
            return Err(SchemaError::OwnerColumn);
        }
    }
    Ok(())
}

fn check_columns(columns: &[Column]) -> Result<(), SchemaError> {
    if columns.is_empty() || columns.len() > COLUMNS_MAX {
        return Err(SchemaError::Columns(columns.len()));
    }
    let mut ids = BTreeSet::new();
    let mut names = BTreeSet::new();
    for column in columns {
        if !ids.insert(column.id) || !names.insert(&column.name) {
            return Err(SchemaError::ColumnTwice(column.name.clone()));
        }
        if column.merge == MergeRule::Add && !column.column_type.is_number() {
            return Err(SchemaError::Merge(column.name.clone()));
        }
        check_default(column)?;
    }
    Ok(())
}

fn check_default(column: &Column) -> Result<(), SchemaError> {
    let gives = match &column.default {
        None => return Ok(()),
        Some(ColumnDefault::Value(Value::Null)) if column.not_null => {
            return Err(SchemaError::NullDefault(column.name.clone()));
        }
        Some(ColumnDefault::Value(value)) => {
            return column
                .column_type
                .admit(value.as_ref())
                .map_err(|reason| SchemaError::Default { column: column.name.clone(), reason });
        }
        Some(ColumnDefault::Now) => ColumnType::Timestamp,
        Some(ColumnDefault::SnowflakeId) => ColumnType::BigInt,
        Some(ColumnDefault::UuidV7) => ColumnType::Uuid,
        Some(ColumnDefault::CurrentUser) => ColumnType::Text,
    };
    if gives == column.column_type {
        return Ok(());
    }
    let (name, column_type) = (column.name.clone(), column.column_type);
    Err(SchemaError::DefaultFunction { column: name, gives, column_type })
}

fn check_keys(table: &TableSchema) -> Result<(), SchemaError> {
    let key = &table.primary_key;
    if key.is_empty() || key.len() > KEY_COLUMNS_MAX {
        return Err(SchemaError::PrimaryKey);
    }
    for column in key_columns(table, key)? {
        if !column.not_null {
            return Err(SchemaError::NullableKey(column.name.clone()));
        }
        if column.merge != MergeRule::Last {
            return Err(SchemaError::Merge(column.name.clone()));
        }
    }
    if table.indexes.len() > INDEXES_MAX {
        return Err(SchemaError::Indexes(table.indexes.len()));
    }
    let mut ids = BTreeSet::new();
    for index in &table.indexes {
        let count = index.columns.len();
        if count == 0 || count > KEY_COLUMNS_MAX || !ids.insert(index.id) {
            return Err(SchemaError::Index);
        }
        key_columns(table, &index.columns)?;
    }
    Ok(())
}

/// The columns of a key or index, which must exist, differ, and be ordered.
fn key_columns<'a>(
    table: &'a TableSchema,
    ids: &[ColumnId],
) -> Result<Vec<&'a Column>, SchemaError> {
    let mut seen = BTreeSet::new();
    let mut columns = Vec::with_capacity(ids.len());
    for id in ids {
        let column = table.column(*id).ok_or(SchemaError::KeyColumns)?;
        if !seen.insert(id) {
            return Err(SchemaError::KeyColumns);
        }
        if !column.column_type.is_ordered() {
            let (name, column_type) = (column.name.clone(), column.column_type);
            return Err(SchemaError::Unordered { column: name, column_type });
        }
        columns.push(column);
    }
    Ok(columns)
}

fn check_ttl(table: &TableSchema) -> Result<(), SchemaError> {
    match (&table.kind, table.ttl_seconds) {
        (TableKind::User, Some(_)) => Err(SchemaError::TtlOfUserTable),
        (TableKind::User | TableKind::Shared(_), None) => Ok(()),
        (_, Some(seconds)) if (1..=TTL_SECONDS_MAX).contains(&seconds) => Ok(()),
        _ => Err(SchemaError::Ttl),
    }
}
