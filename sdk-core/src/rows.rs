//! Rows of results.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::value::Value;
use sdk_replica::ResultRow;

use crate::error::Error;

/// Rows with named columns. Cloning shares them, and results of a watch share the rows that are
/// equal: see [`Row::is_same`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    columns: Arc<[String]>,
    rows: Arc<[ResultRow]>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a ResultRow,
}

impl Rows {
    pub(crate) fn new<R: Into<ResultRow>>(columns: Vec<String>, rows: Vec<R>) -> Self {
        Self { columns: columns.into(), rows: rows.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn parts(&self) -> (&[String], &[ResultRow]) {
        (&self.columns, &self.rows)
    }

    /// The same rows, of which those that `before` has, too, are the same in memory. If they all are,
    /// it is all of `before`.
    pub(crate) fn shared_with(mut self, before: &Self) -> Self {
        if self.columns != before.columns {
            return self;
        }
        let (old, count) = (&before.rows, self.rows.len());
        let is_same = |(old, new): &(&ResultRow, &ResultRow)| Arc::ptr_eq(old, new) || old == new;
        let begin = old.iter().zip(&*self.rows).take_while(is_same).count();
        if begin == old.len() && begin == count {
            return before.clone();
        }
        // Most often little has changed, and what lies between is short.
        let behind = old[begin..].iter().rev().zip(self.rows[begin..].iter().rev());
        let end = behind.take_while(is_same).count();
        let (old_end, new_end) = (old.len() - end, count - end);
        let known: HashMap<&[Value], &ResultRow> = match begin < new_end {
            true => old[begin..old_end].iter().map(|row| (&**row, row)).collect(),
            false => HashMap::new(),
        };
        for place in 0..count {
            let row = &self.rows[place];
            let same = match place {
                place if place < begin => Some(&old[place]),
                place if place >= new_end => Some(&old[place - new_end + old_end]),
                _ => known.get(&**row).copied(),
            };
            if let Some(same) = same.filter(|same| !Arc::ptr_eq(same, row)) {
                Arc::make_mut(&mut self.rows)[place] = Arc::clone(same);
            }
        }
        Self { columns: Arc::clone(&before.columns), rows: self.rows }
    }

    /// Whether it is the very same result: as cheap as to compare two pointers. Two that are not may
    /// still be equal, unless a watch has given them one after the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rows, &other.rows) && self.columns == other.columns
    }

    pub(crate) fn values(&self, place: usize) -> &ResultRow {
        &self.rows[place]
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row at this place.
    pub fn get(&self, place: usize) -> Option<Row<'_>> {
        let values = self.rows.get(place)?;
        Some(Row { columns: &self.columns, values })
    }

    /// All rows, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }
}

impl<'a> Row<'a> {
    /// The value of a column, as a type of Rust: `i64`, `i32`, `f64`, `bool`, `&str`, `String`,
    /// `&[u8]`, `Vec<u8>`, or an `Option` of one where it may be NULL.
    ///
    /// # Errors
    /// [`Error::Value`] names the column that is not there, or is of another type.
    pub fn get<T: FromValue<'a>>(&self, column: &str) -> Result<T, Error> {
        let place = self.columns.iter().position(|name| name == column);
        let value = place.and_then(|place| self.values.get(place)).ok_or_else(|| {
            Error::Value(format!(
                "the result has no column {column}: it has {}",
                self.columns.join(", ")
            ))
        })?;
        T::from_value(value).ok_or_else(|| {
            let kind = kind(value);
            Error::Value(format!("column {column} has {kind}, which is no {}", T::NAME))
        })
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }

    /// Whether this is the very same row as another one: as cheap as to compare two pointers. A row
    /// of a result is the same as that of the result before, if they are equal: what was made of it
    /// can be kept.
    pub fn is_same(&self, other: &Row<'_>) -> bool {
        Arc::ptr_eq(self.values, other.values)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Double(_) => "a double",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Uuid(_) => "a UUID",
    }
}

/// A type of Rust that a value can be read as.
pub trait FromValue<'a>: Sized {
    /// What it is called in an error.
    const NAME: &'static str;

    /// The value as this type, if it is one.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $name:literal, $pattern:pat => $result:expr;)*) => {$(
        impl<'a> FromValue<'a> for $type {
            const NAME: &'static str = $name;

            fn from_value(value: &'a Value) -> Option<Self> {
                match value {
                    $pattern => $result,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    i64, "integer", Value::Integer(number) => Some(*number);
    i32, "32-bit integer", Value::Integer(number) => i32::try_from(*number).ok();
    f64, "double", Value::Double(number) => Some(number.get());
    &'a str, "text", Value::Text(text) => Some(text);
    String, "text", Value::Text(text) => Some(text.to_string());
    &'a [u8], "bytes", Value::Bytes(bytes) => Some(bytes);
    Vec<u8>, "bytes", Value::Bytes(bytes) => Some(bytes.clone());
}

impl<'a> FromValue<'a> for bool {
    const NAME: &'static str = "boolean";

    /// The replica has 0 and 1.
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            _ => None,
        }
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
