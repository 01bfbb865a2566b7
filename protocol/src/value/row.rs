use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::Value;
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
