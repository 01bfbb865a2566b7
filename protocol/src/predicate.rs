//! What a subscription may ask of a row: the typed form of its WHERE clause.
//!
//! SQL is compiled into this form once. The live engine evaluates it ([`Predicate::evaluate`]),
//! the replica runs the SQL that it emits ([`Predicate::to_sql`]), DataFusion gets it as a typed
//! expression. All three must select the same rows; a differential test holds them together.
//!
//! Logic is three-valued, as in SQL: a comparison with NULL is unknown, and a row is selected only
//! where the predicate is true.

mod check;
mod evaluate;
mod like;
mod sql;

use serde::{Deserialize, Serialize};

pub use check::PredicateError;
pub use evaluate::Truth;
pub use like::{LikePattern, LikePatternError};
pub use sql::PredicateSql;

use crate::bounded;
use crate::ids::ColumnId;
use crate::limits::{IN_LIST_MAX, PREDICATE_NODES_MAX};
use crate::value::Value;

/// A condition on one row. Valid for a table when [`Predicate::check`] says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    /// `TRUE`, `FALSE` or `NULL`.
    Constant(Truth),
    /// `column op operand`. Unknown when either side is NULL.
    Compare {
        /// The left side.
        column: ColumnId,
        /// The comparison.
        op: CompareOp,
        /// The right side.
        operand: Operand,
    },
    /// `column IS NULL`; never unknown.
    IsNull(ColumnId),
    /// `column IN (values)`. Unknown when the column is NULL, or when a value is NULL and no other
    /// one is equal.
    In {
        /// The left side.
        column: ColumnId,
        /// At least one value.
        #[serde(deserialize_with = "bounded::vec::<_, _, IN_LIST_MAX>")]
        values: Vec<Value>,
    },
    /// `column LIKE pattern`. Unknown when the column is NULL.
    Like {
        /// A TEXT column.
        column: ColumnId,
        /// The pattern.
        pattern: LikePattern,
    },
    /// `NOT …`
    Not(Box<Predicate>),
    /// `… AND …`; true when it is empty.
    And(#[serde(deserialize_with = "bounded::vec::<_, _, PREDICATE_NODES_MAX>")] Vec<Predicate>),
    /// `… OR …`; false when it is empty.
    Or(#[serde(deserialize_with = "bounded::vec::<_, _, PREDICATE_NODES_MAX>")] Vec<Predicate>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// A constant, already of the column's type.
    Value(Value),
    /// Another column of the row.
    Column(ColumnId),
}

impl CompareOp {
    /// The comparison as SQL writes it.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The same comparison with its sides exchanged.
    #[must_use]
    pub const fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same @ (Self::Equal | Self::NotEqual) => same,
        }
    }
}

impl Predicate {
    /// `low <= column AND column <= high`, which is what BETWEEN means.
    #[must_use]
    pub fn between(column: ColumnId, low: Value, high: Value) -> Self {
        let side = |op, value| Self::Compare { column, op, operand: Operand::Value(value) };
        Self::And(vec![side(CompareOp::GreaterOrEqual, low), side(CompareOp::LessOrEqual, high)])
    }

    /// The columns that it names, each as often as it does.
    pub fn columns(&self) -> Vec<ColumnId> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Compare { column, operand: Operand::Column(other), .. } => vec![*column, *other],
            Self::Compare { column, .. }
            | Self::IsNull(column)
            | Self::In { column, .. }
            | Self::Like { column, .. } => vec![*column],
            Self::Not(inner) => inner.columns(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::columns).collect(),
        }
    }
}
