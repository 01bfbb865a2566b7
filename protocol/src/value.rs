//! What a column can hold.
//!
//! A [`Value`] is what is stored and sent: the storage classes of SQLite, and booleans and UUIDs,
//! which MessagePack can tell apart. What it means is the [`ColumnType`] of its column. What
//! SQLite would change when it stores a value (NaN, −0.0, text with U+0000) cannot be a value, so
//! the server, the live engine and every replica hold the same one.

mod row;
mod serde_form;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use row::{Row, RowRef};

use crate::error_code::ErrorCode;
use crate::timestamp;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit integer.
    Int,
    /// A 64-bit integer.
    BigInt,
    /// A finite 64-bit floating-point number. −0.0 is stored as 0.0.
    Double,
    /// Unicode text without U+0000, compared by its UTF-8 bytes.
    Text,
    /// Bytes, compared one by one.
    Bytes,
    /// A JSON document (RFC 8259) as the text that was written, nested less than 128 levels deep,
    /// its numbers in the range of a DOUBLE. It is not compared.
    Json,
    /// Microseconds since 1970-01-01T00:00:00Z, in the years 1 to 9999.
    Timestamp,
    /// 128 bits, written as lower-case text with hyphens.
    Uuid,
}

/// One value of a row or of a predicate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// No value.
    Null,
    /// Of a BOOLEAN column.
    Boolean(bool),
    /// Of an INT, BIGINT or TIMESTAMP column.
    Integer(i64),
    /// Of a DOUBLE column.
    Double(Double),
    /// Of a TEXT or JSON column.
    Text(Text),
    /// Of a BYTES column.
    Bytes(Vec<u8>),
    /// Of a UUID column.
    Uuid([u8; 16]),
}

/// A [`Value`] that lies somewhere else, for instance in the bytes of a stored row, and was checked
/// there ([`ColumnType::admit`]).
///
/// The order is that of one column type; NULL, which SQL does not order, comes first, as in
/// SQLite's indexes. Between types it is arbitrary and stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueRef<'a> {
    /// See [`Value::Null`].
    Null,
    /// See [`Value::Boolean`].
    Boolean(bool),
    /// See [`Value::Integer`].
    Integer(i64),
    /// See [`Value::Double`].
    Double(Double),
    /// See [`Value::Text`].
    Text(&'a str),
    /// See [`Value::Bytes`].
    Bytes(&'a [u8]),
    /// See [`Value::Uuid`].
    Uuid(&'a [u8; 16]),
}

/// A finite number other than −0.0, which makes equality, order and hash the obvious ones.
#[derive(Clone, Copy, PartialEq)]
pub struct Double(f64);

/// Text without U+0000.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(String);

/// Why something cannot be the value of a column.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// NaN or an infinity.
    #[error("a DOUBLE must be finite: store NULL instead of NaN or infinity")]
    NotFinite,
    /// U+0000 in a text.
    #[error("a TEXT must not contain U+0000: use BYTES for binary data")]
    NulInText,
    /// The value is of another type than the column.
    #[error("the column is {column}, the value {value}: write a value of the column's type")]
    Type {
        /// The type of the column.
        column: ColumnType,
        /// What was given, in words.
        value: &'static str,
    },
    /// An integer that the column cannot hold.
    #[error("{value} does not fit {column}: {advice}")]
    Range {
        /// The type of the column.
        column: ColumnType,
        /// The number.
        value: i64,
        /// What to do about it.
        advice: &'static str,
    },
    /// Not a JSON document.
    #[error(
        "the column is JSON and the text is not a JSON document (line {line}, column {column})"
    )]
    Json {
        /// Where parsing stopped, from 1.
        line: usize,
        /// Where parsing stopped, from 1.
        column: usize,
    },
}

impl ValueError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Constraint
    }
}

impl ColumnType {
    /// All types there are.
    pub const ALL: [Self; 9] = [
        Self::Boolean,
        Self::Int,
        Self::BigInt,
        Self::Double,
        Self::Text,
        Self::Bytes,
        Self::Json,
        Self::Timestamp,
        Self::Uuid,
    ];

    /// Whether a column of this type may hold `value`. NULL is held by every type; whether the
    /// column allows it is another question.
    ///
    /// # Errors
    /// [`ValueError`] says what to write instead.
    pub fn admit(self, value: ValueRef<'_>) -> Result<(), ValueError> {
        match (self, value) {
            (_, ValueRef::Null)
            | (Self::Boolean, ValueRef::Boolean(_))
            | (Self::BigInt, ValueRef::Integer(_))
            | (Self::Double, ValueRef::Double(_))
            | (Self::Bytes, ValueRef::Bytes(_))
            | (Self::Uuid, ValueRef::Uuid(_)) => Ok(()),
            (Self::Int, ValueRef::Integer(number)) => i32::try_from(number)
                .map(drop)
                .map_err(|_| self.out_of_range(number, "declare the column BIGINT")),
            (Self::Timestamp, ValueRef::Integer(micros)) => {
                if (timestamp::MICROS_MIN..=timestamp::MICROS_MAX).contains(&micros) {
                    return Ok(());
                }
                Err(self
                    .out_of_range(micros, "a TIMESTAMP is in microseconds, up to the year 9999"))
            }
            (Self::Text | Self::Json, ValueRef::Text(text)) if text.contains('\0') => {
                Err(ValueError::NulInText)
            }
            (Self::Text, ValueRef::Text(_)) => Ok(()),
            (Self::Json, ValueRef::Text(text)) => admit_json(text),
            (column, value) => Err(ValueError::Type { column, value: value.kind() }),
        }
    }

    /// Whether values of this type have an order, and so may be compared, indexed and be a key.
    pub fn is_ordered(self) -> bool {
        self != Self::Json
    }

    /// Whether a column of this type can be added to (`MERGE ADD`).
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::BigInt | Self::Double)
    }

    fn out_of_range(self, value: i64, advice: &'static str) -> ValueError {
        ValueError::Range { column: self, value, advice }
    }
}

impl Value {
    /// The same value, looked at.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Double(value) => ValueRef::Double(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Bytes(value) => ValueRef::Bytes(value),
            Self::Uuid(value) => ValueRef::Uuid(value),
        }
    }

    /// A text value.
    ///
    /// # Errors
    /// [`ValueError::NulInText`].
    pub fn text(text: impl Into<String>) -> Result<Self, ValueError> {
        Text::new(text).map(Self::Text)
    }

    /// A floating-point value.
    ///
    /// # Errors
    /// [`ValueError::NotFinite`].
    pub fn double(number: f64) -> Result<Self, ValueError> {
        Double::new(number).map(Self::Double)
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

impl ValueRef<'_> {
    /// A copy that stands alone.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(value),
            Self::Integer(value) => Value::Integer(value),
            Self::Double(value) => Value::Double(value),
            Self::Text(value) => Value::Text(Text(value.to_owned())),
            Self::Bytes(value) => Value::Bytes(value.to_vec()),
            Self::Uuid(value) => Value::Uuid(*value),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Null => "is NULL",
            Self::Boolean(_) => "is a boolean",
            Self::Integer(_) => "is an integer",
            Self::Double(_) => "is a floating-point number",
            Self::Text(_) => "is text",
            Self::Bytes(_) => "is bytes",
            Self::Uuid(_) => "is a UUID",
        }
    }
}

impl Double {
    /// Accepts `number`; −0.0 becomes 0.0.
    ///
    /// # Errors
    /// [`ValueError::NotFinite`].
    pub fn new(number: f64) -> Result<Self, ValueError> {
        // Adding 0.0 turns −0.0 into 0.0 and changes nothing else.
        if number.is_finite() { Ok(Self(number + 0.0)) } else { Err(ValueError::NotFinite) }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Text {
    /// Accepts `text`.
    ///
    /// # Errors
    /// [`ValueError::NulInText`].
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        let text = text.into();
        if text.contains('\0') { Err(ValueError::NulInText) } else { Ok(Self(text)) }
    }

    /// The text as an owned string.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Parses it in full: what only skips over a document neither counts its levels nor notices half
/// of a surrogate pair, and there are readers that fail on both.
fn admit_json(text: &str) -> Result<(), ValueError> {
    serde_json::from_str::<serde_json::Value>(text)
        .map(drop)
        .map_err(|error| ValueError::Json { line: error.line(), column: error.column() })
}

// No NaN and no −0.0: equality is an equivalence and agrees with the order and with the bits.
impl Eq for Double {}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Double {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Double {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::Int => "INT",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "TEXT",
            Self::Bytes => "BYTES",
            Self::Json => "JSON",
            Self::Timestamp => "TIMESTAMP",
            Self::Uuid => "UUID",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_would_change_is_no_value() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Double::new(number), Err(ValueError::NotFinite));
        }
        assert_eq!(Double::new(-0.0).unwrap().get().to_bits(), 0.0_f64.to_bits());
        assert_eq!(Double::new(-5e-324).unwrap().get(), -5e-324);
        assert_eq!(Text::new("a\0b"), Err(ValueError::NulInText));
    }

    #[test]
    fn a_column_takes_values_of_its_type_and_null() {
        let takes = |value: &Value| -> Vec<ColumnType> {
            ColumnType::ALL.into_iter().filter(|t| t.admit(value.as_ref()).is_ok()).collect()
        };
        use ColumnType::{BigInt, Boolean, Bytes, Double, Int, Json, Text, Timestamp, Uuid};
        assert_eq!(takes(&Value::Null), ColumnType::ALL);
        assert_eq!(takes(&Value::Boolean(true)), [Boolean]);
        assert_eq!(takes(&Value::Integer(1 << 31)), [BigInt, Timestamp]);
        assert_eq!(takes(&Value::Integer(-1 << 31)), [Int, BigInt, Timestamp]);
        assert_eq!(takes(&Value::Integer(i64::MAX)), [BigInt]);
        assert_eq!(takes(&Value::double(1.0).unwrap()), [Double]);
        assert_eq!(takes(&Value::text("x").unwrap()), [Text]);
        assert_eq!(takes(&Value::text("{\"a\": [1]}").unwrap()), [Text, Json]);
        assert_eq!(takes(&Value::Bytes(vec![0])), [Bytes]);
        assert_eq!(takes(&Value::Uuid([0; 16])), [Uuid]);
    }

    #[test]
    fn the_order_within_a_type_is_that_of_sqlite() {
        let ascending = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Integer(0),
            Value::double(f64::MIN).unwrap(),
            Value::double(-5e-324).unwrap(),
            Value::double(-0.0).unwrap(),
            Value::double(5e-324).unwrap(),
            Value::text("").unwrap(),
            Value::text("Z").unwrap(),
            Value::text("a").unwrap(),
            Value::text("\u{ffff}").unwrap(),
            Value::text("\u{10000}").unwrap(),
        ];
        assert!(ascending.is_sorted());
    }
}
