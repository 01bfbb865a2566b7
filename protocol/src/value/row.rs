use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{Value, ValueRef};
use crate::bounded;
use crate::limits::COLUMNS_MAX;

/// The values of a row, in the order of its table's columns: an array on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Row(
    #[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")]
    /// One value a column.
    pub Vec<Value>,
);

impl Deref for Row {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0
    }
}

impl FromIterator<Value> for Row {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A [`Row`] that lies in the bytes it was encoded to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RowRef<'a>(
    /// One value a column.
    #[serde(borrow, deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")]
    pub Vec<ValueRef<'a>>,
);

impl<'a> RowRef<'a> {
    /// The row that `bytes` are, without copying what is in it; `None` when they are none.
    ///
    /// For bytes that we have encoded ourselves: what would be hostile in them is not looked for.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        rmp_serde::from_slice(bytes).ok()
    }

    /// A copy that stands alone.
    pub fn to_row(&self) -> Row {
        self.0.iter().map(|value| value.to_value()).collect()
    }
}

impl<'a> Deref for RowRef<'a> {
    type Target = [ValueRef<'a>];

    fn deref(&self) -> &[ValueRef<'a>] {
        &self.0
    }
}
