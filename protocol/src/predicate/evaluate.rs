use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{CompareOp, Operand, Predicate};
use crate::ids::ColumnId;
use crate::value::ValueRef;

/// What a predicate says of a row.
///
/// The order False < Unknown < True makes AND the minimum and OR the maximum (Kleene's strong
/// logic of indeterminacy, which is SQL's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It does not hold.
    False,
    /// A NULL decides, so nobody can say.
    Unknown,
    /// It holds: the row is selected.
    True,
}

impl Truth {
    /// Whether a row is selected.
    pub fn is_true(self) -> bool {
        self == Self::True
    }

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl Predicate {
    /// What this predicate says of a row, whose columns `column` gives. A column that the row
    /// does not have yet is NULL.
    ///
    /// Takes a step per node, and per value of a list; `LIKE` takes at most pattern × text.
    pub fn evaluate<'row>(&self, column: &impl Fn(ColumnId) -> ValueRef<'row>) -> Truth {
        match self {
            Self::Constant(truth) => *truth,
            Self::Compare { column: left, op, operand } => {
                let right = match operand {
                    Operand::Value(value) => value.as_ref(),
                    Operand::Column(id) => column(*id),
                };
                compare(column(*left), *op, right)
            }
            Self::IsNull(id) => (column(*id) == ValueRef::Null).into(),
            Self::In { column: left, values } => {
                let left = column(*left);
                any(values.iter().map(|value| compare(left, CompareOp::Equal, value.as_ref())))
            }
            Self::Like { column: left, pattern } => match column(*left) {
                ValueRef::Text(text) => pattern.matches(text).into(),
                _ => Truth::Unknown,
            },
            Self::Not(inner) => inner.evaluate(column).not(),
            Self::And(all) => {
                let mut result = Truth::True;
                for predicate in all {
                    result = result.min(predicate.evaluate(column));
                    if result == Truth::False {
                        break;
                    }
                }
                result
            }
            Self::Or(alternatives) => any(alternatives.iter().map(|p| p.evaluate(column))),
        }
    }
}

fn any(alternatives: impl Iterator<Item = Truth>) -> Truth {
    let mut result = Truth::False;
    for truth in alternatives {
        result = result.max(truth);
        if result == Truth::True {
            break;
        }
    }
    result
}

fn compare(left: ValueRef<'_>, op: CompareOp, right: ValueRef<'_>) -> Truth {
    if left == ValueRef::Null || right == ValueRef::Null {
        return Truth::Unknown;
    }
    let order = left.cmp(&right);
    let holds = match op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Less => order == Ordering::Less,
        CompareOp::LessOrEqual => order != Ordering::Greater,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::GreaterOrEqual => order != Ordering::Less,
    };
    holds.into()
}
