//! Values as SQLite stores them.

use protocol::literal::{Literal, uuid_text};
use protocol::schema::{Column, TableSchema};
use protocol::value::{ColumnType, Row, Value, ValueRef};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef as Sqlite};

/// A value, to be bound.
pub(crate) struct Bound<'a>(pub(crate) &'a Value);

impl Bound<'_> {
    /// Whether this is what SQLite has.
    pub(crate) fn is(&self, stored: Sqlite<'_>) -> bool {
        match self.to_sql() {
            Ok(ToSqlOutput::Borrowed(value)) => value == stored,
            Ok(ToSqlOutput::Owned(value)) => Sqlite::from(&value) == stored,
            _ => false,
        }
    }
}

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

/// A value, to be given back by a function.
pub(crate) fn owned(value: Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Owned;
    match value {
        Value::Null => Owned::Null,
        Value::Boolean(value) => Owned::Integer(value.into()),
        Value::Integer(number) => Owned::Integer(number),
        Value::Double(number) => Owned::Real(number.get()),
        Value::Text(text) => Owned::Text(text.into_string()),
        Value::Bytes(bytes) => Owned::Blob(bytes),
        Value::Uuid(uuid) => Owned::Text(uuid_text(uuid)),
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

/// Whether [`read`] gives this.
pub(crate) fn is_read(value: &Value, of: Sqlite<'_>) -> bool {
    match (value, of) {
        (Value::Null, Sqlite::Null) => true,
        (Value::Integer(value), Sqlite::Integer(number)) => *value == number,
        (Value::Double(value), Sqlite::Real(number)) => value.get() == number,
        (Value::Text(value), Sqlite::Text(text)) => value.as_bytes() == text,
        (Value::Bytes(value), Sqlite::Blob(bytes)) => value == bytes,
        _ => false,
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

/// What an application has stored in a column, as a value of the column's type. `Err` says why it
/// is none.
pub(crate) fn typed(of: ColumnType, value: Sqlite<'_>) -> Result<Value, String> {
    let value = match (of, value) {
        (ColumnType::Boolean, Sqlite::Integer(number @ (0 | 1))) => Value::Boolean(number == 1),
        (ColumnType::Boolean, Sqlite::Integer(_)) => {
            return Err("a BOOLEAN is 0 or 1, FALSE or TRUE".to_owned());
        }
        (ColumnType::Uuid, Sqlite::Text(text)) => {
            let told = || "a UUID is written in lower case, with hyphens".to_owned();
            let text = std::str::from_utf8(text).map_err(|_| told())?;
            let value = ColumnType::Uuid.value_of(Literal::Text(text)).map_err(|_| told())?;
            match &value {
                Value::Uuid(uuid) if uuid_text(*uuid) == text => value,
                _ => return Err(told()),
            }
        }
        (_, value) => {
            read(value).ok_or("it is text that is not UTF-8 or has U+0000, or no finite number")?
        }
    };
    of.admit(value.as_ref()).map_err(|error| error.to_string())?;
    Ok(value)
}

/// A row's key as applications see it beside a write that waits: the value of the primary key, and
/// of one of several columns the JSON array of the values.
pub(crate) fn shown_key(key: &Row) -> Value {
    let plain = |value: &Value| match value {
        Value::Boolean(value) => Value::Integer((*value).into()),
        Value::Uuid(uuid) => text(uuid_text(*uuid)),
        other => other.clone(),
    };
    if let [one] = &**key {
        return plain(one);
    }
    let json = |value: &Value| match plain(value) {
        Value::Integer(number) => serde_json::Value::from(number),
        Value::Double(number) => serde_json::Value::from(number.get()),
        Value::Text(text) => serde_json::Value::from(&*text),
        Value::Bytes(bytes) => {
            let digit = |byte: &u8| format!("{byte:02X}");
            serde_json::Value::from(bytes.iter().map(digit).collect::<String>())
        }
        Value::Null | Value::Boolean(_) | Value::Uuid(_) => serde_json::Value::Null,
    };
    text(serde_json::Value::from(key.iter().map(json).collect::<Vec<_>>()).to_string())
}

/// The key of which [`shown_key`] gives this.
pub(crate) fn key_of_shown(schema: &TableSchema, shown: &Value) -> Option<Row> {
    let types = schema.primary_key.iter().map(|id| Some(schema.column(*id)?.column_type));
    let types: Vec<ColumnType> = types.collect::<Option<_>>()?;
    // As a column of the type has it: a row that the server says has the same key.
    let of_type = |(of, value): (&ColumnType, Value)| typed(*of, (&owned(value)).into()).ok();
    if let [of] = types[..] {
        return Some(Row(vec![of_type((&of, shown.clone()))?]));
    }
    let Value::Text(json) = shown else { return None };
    let values: Vec<serde_json::Value> = serde_json::from_str(json).ok()?;
    let plain = |(of, value): (&ColumnType, serde_json::Value)| match (of, value) {
        (ColumnType::Double, value) => Value::double(value.as_f64()?).ok(),
        (ColumnType::Bytes, value) => bytes_of_hex(value.as_str()?).map(Value::Bytes),
        (_, serde_json::Value::String(text)) => Value::text(text).ok(),
        (_, value) => value.as_i64().map(Value::Integer),
    };
    let value = |(of, value)| of_type((of, plain((of, value))?));
    let is_whole = values.len() == types.len();
    is_whole.then(|| types.iter().zip(values).map(value).collect()).flatten()
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    digits.map(byte).collect()
}

fn text(text: String) -> Value {
    // JSON writes U+0000 as \u0000.
    Value::text(text).unwrap_or(Value::Null)
}
