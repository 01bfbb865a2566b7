use thiserror::Error;

use super::{Operand, Predicate};
use crate::error_code::ErrorCode;
use crate::ids::{ColumnId, Name};
use crate::limits::{
    IN_LIST_MAX, PREDICATE_DEPTH_MAX, PREDICATE_LIKES_MAX, PREDICATE_NODES_MAX,
    PREDICATE_VALUES_MAX,
};
use crate::schema::{Column, TableSchema};
use crate::value::{ColumnType, Value, ValueError};

/// Why a predicate does not fit a table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PredicateError {
    /// It has too many parts.
    #[error("the WHERE clause has more than {PREDICATE_NODES_MAX} parts: use IN, or ask for less")]
    Nodes,
    /// Its lists have too many values together.
    #[error("the lists of the WHERE clause have more than {PREDICATE_VALUES_MAX} values together")]
    Values,
    /// It has too many `LIKE`s.
    #[error("the WHERE clause has more than {PREDICATE_LIKES_MAX} LIKEs: ask for less")]
    Likes,
    /// It is nested too deeply.
    #[error("the WHERE clause is nested more than {PREDICATE_DEPTH_MAX} levels deep: flatten it")]
    Depth,
    /// It names a column that the table does not have.
    #[error("the table has no column number {}", .0.0)]
    Column(ColumnId),
    /// A constant that the column cannot hold.
    #[error("column {column}: {reason}")]
    Value {
        /// The column.
        column: Name,
        /// Why.
        reason: ValueError,
    },
    /// Two columns of different types.
    #[error("{left} and {right} are of different types, and a comparison converts nothing")]
    Types {
        /// The left column.
        left: Name,
        /// The right column.
        right: Name,
    },
    /// A comparison of what has no order.
    #[error("column {column} is {column_type}: only IS NULL and IS NOT NULL can be asked of it")]
    Unordered {
        /// The column.
        column: Name,
        /// Its type.
        column_type: ColumnType,
    },
    /// `LIKE` on something else than text.
    #[error("column {column} is {column_type}: LIKE is for TEXT")]
    LikeType {
        /// The column.
        column: Name,
        /// Its type.
        column_type: ColumnType,
    },
    /// An empty list, or too long a one.
    #[error("column {column}: IN takes 1 to {IN_LIST_MAX} values, here are {values}")]
    List {
        /// The column.
        column: Name,
        /// How many values it has.
        values: usize,
    },
}

impl Predicate {
    /// Checks that every column exists and every comparison is of one type, and that the whole
    /// keeps within the limits. Only a checked predicate is evaluated or emitted.
    ///
    /// # Errors
    /// The first [`PredicateError`], which names the column.
    pub fn check(&self, table: &TableSchema) -> Result<(), PredicateError> {
        let mut left = Left {
            nodes: PREDICATE_NODES_MAX,
            values: PREDICATE_VALUES_MAX,
            likes: PREDICATE_LIKES_MAX,
        };
        check(self, table, PREDICATE_DEPTH_MAX, &mut left)
    }
}

impl PredicateError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Nodes | Self::Values | Self::Likes | Self::Depth => ErrorCode::TooLarge,
            Self::Column(_) => ErrorCode::NotFound,
            Self::List { values: 0, .. } | Self::Value { .. } => ErrorCode::InvalidRequest,
            Self::List { .. } => ErrorCode::TooLarge,
            Self::Types { .. } | Self::Unordered { .. } | Self::LikeType { .. } => {
                ErrorCode::Unsupported
            }
        }
    }
}

/// How much of its limits a predicate has left.
struct Left {
    nodes: usize,
    values: usize,
    likes: usize,
}

fn check(
    predicate: &Predicate,
    table: &TableSchema,
    depth: usize,
    left: &mut Left,
) -> Result<(), PredicateError> {
    let depth = depth.checked_sub(1).ok_or(PredicateError::Depth)?;
    left.nodes = left.nodes.checked_sub(1).ok_or(PredicateError::Nodes)?;
    match predicate {
        Predicate::Constant(_) => Ok(()),
        Predicate::Compare { column, operand, .. } => match operand {
            Operand::Value(value) => admit(ordered(table, *column)?, value),
            Operand::Column(right) => same_type(ordered(table, *column)?, ordered(table, *right)?),
        },
        Predicate::IsNull(column) => find(table, *column).map(drop),
        Predicate::In { column, values } => {
            let column = ordered(table, *column)?;
            if values.is_empty() || values.len() > IN_LIST_MAX {
                let (column, values) = (column.name.clone(), values.len());
                return Err(PredicateError::List { column, values });
            }
            left.values = left.values.checked_sub(values.len()).ok_or(PredicateError::Values)?;
            values.iter().try_for_each(|value| admit(column, value))
        }
        Predicate::Like { column, .. } => {
            left.likes = left.likes.checked_sub(1).ok_or(PredicateError::Likes)?;
            let Column { name, column_type, .. } = find(table, *column)?;
            if *column_type == ColumnType::Text {
                return Ok(());
            }
            Err(PredicateError::LikeType { column: name.clone(), column_type: *column_type })
        }
        Predicate::Not(inner) => check(inner, table, depth, left),
        Predicate::And(parts) | Predicate::Or(parts) => {
            parts.iter().try_for_each(|part| check(part, table, depth, left))
        }
    }
}

fn find(table: &TableSchema, id: ColumnId) -> Result<&Column, PredicateError> {
    table.column(id).ok_or(PredicateError::Column(id))
}

fn ordered(table: &TableSchema, id: ColumnId) -> Result<&Column, PredicateError> {
    let column = find(table, id)?;
    if column.column_type.is_ordered() {
        return Ok(column);
    }
    let (name, column_type) = (column.name.clone(), column.column_type);
    Err(PredicateError::Unordered { column: name, column_type })
}

fn admit(column: &Column, value: &Value) -> Result<(), PredicateError> {
    column
        .column_type
        .admit(value.as_ref())
        .map_err(|reason| PredicateError::Value { column: column.name.clone(), reason })
}

/// INT and BIGINT are both whole numbers; every other type only meets itself.
fn same_type(left: &Column, right: &Column) -> Result<(), PredicateError> {
    let widened = |column: &Column| match column.column_type {
        ColumnType::Int => ColumnType::BigInt,
        other => other,
    };
    if widened(left) == widened(right) {
        return Ok(());
    }
    Err(PredicateError::Types { left: left.name.clone(), right: right.name.clone() })
}
