//! Values as SQLite stores them.

use protocol::literal::uuid_text;
use protocol::schema::Column;
use protocol::value::{ColumnType, Value, ValueRef};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef as Sqlite};

/// A value, to be bound.
pub(crate) struct Bound<'a>(pub(crate) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0.as_ref() {
            ValueRef::Null => ToSqlOutput::Borrowed(Sqlite::Null),
            ValueRef::Boolean(value) => ToSqlOutput::Borrowed(Sqlite::Integer(value.into())),
            ValueRef::Integer(number) => ToSqlOutput::Borrowed(Sqlite::Integer(number)),
            ValueRef::Double(number) => ToSqlOutput::Borrowed(Sqlite::Real(number.get())),
            ValueRef::Text(text) => ToSqlOutput::Borrowed(Sqlite::Text(text.as_bytes())),
            ValueRef::Bytes(bytes) => ToSqlOutput::Borrowed(Sqlite::Blob(bytes)),
            ValueRef::Uuid(uuid) => ToSqlOutput::from(uuid_text(*uuid)),
        })
    }
}

/// What a query gave. `None` where it is no value of ours: text that is not UTF-8 or has U+0000,
/// or a number that is none.
pub(crate) fn read(value: Sqlite<'_>) -> Option<Value> {
    match value {
        Sqlite::Null => Some(Value::Null),
        Sqlite::Integer(number) => Some(Value::Integer(number)),
        Sqlite::Real(number) => Value::double(number + 0.0).ok(),
        Sqlite::Text(text) => Value::text(std::str::from_utf8(text).ok()?).ok(),
        Sqlite::Blob(bytes) => Some(Value::Bytes(bytes.to_vec())),
    }
}

/// The type of a column in a STRICT table. That of a key is `INT`: `INTEGER` would make it the
/// rowid, which SQLite gives out by itself.
pub(crate) fn sqlite_type(column: &Column, is_key: bool) -> &'static str {
    match column.column_type {
        ColumnType::Boolean | ColumnType::Int | ColumnType::BigInt | ColumnType::Timestamp => {
            if is_key {
                "INT"
            } else {
                "INTEGER"
            }
        }
        ColumnType::Double => "REAL",
        ColumnType::Text | ColumnType::Json | ColumnType::Uuid => "TEXT",
        ColumnType::Bytes => "BLOB",
    }
}
