//! A WHERE clause as the typed form that the engine evaluates.

use std::cell::Cell;

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, UnaryOperator};
use protocol::ids::ColumnId;
use protocol::limits::IN_LIST_MAX;
use protocol::predicate::{CompareOp, LikePattern, Operand, Predicate, Truth};
use protocol::schema::Column;
use protocol::value::{ColumnType, Value};

use crate::constant::{Binding, Constant};
use crate::error::SqlError;
use crate::limits::CONDITION_BYTES_MAX;
use crate::statement::cut;
use crate::table::Target;

/// Why there is no typed form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NotTyped {
    /// The statement is wrong.
    Wrong(SqlError),
    /// It is more than the typed form can say: this construct.
    Construct(String),
}

impl From<SqlError> for NotTyped {
    fn from(error: SqlError) -> Self {
        Self::Wrong(error)
    }
}

impl NotTyped {
    fn construct(construct: impl Into<String>) -> Self {
        Self::Construct(construct.into())
    }
}

/// What an operand of a comparison is.
enum Side<'a> {
    Column(&'a Column),
    Constant(Constant<'a>),
}

/// Compiles conditions on the rows of one table.
pub(crate) struct Compiler<'a> {
    target: &'a Target,
    binding: Binding<'a>,
    /// What all values have by now. A parameter counts, and is copied, each time it is used.
    bytes: Cell<usize>,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(target: &'a Target, binding: Binding<'a>) -> Self {
        Self { target, binding, bytes: Cell::new(0) }
    }

    /// The typed form of a condition, checked against the table.
    pub(crate) fn predicate(&self, expression: &'a Expr) -> Result<Predicate, NotTyped> {
        let predicate = self.condition(expression)?;
        predicate
            .check(&self.target.schema)
            .map_err(|error| SqlError::new(error.code(), error.to_string()))?;
        Ok(predicate)
    }

    fn condition(&self, expression: &'a Expr) -> Result<Predicate, NotTyped> {
        match expression {
            Expr::Nested(inner) => self.condition(inner),
            Expr::BinaryOp { op: BinaryOperator::And, .. } => {
                let parts = chain(expression, &BinaryOperator::And);
                parts
                    .into_iter()
                    .map(|part| self.condition(part))
                    .collect::<Result<_, _>>()
                    .map(Predicate::And)
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                let parts = chain(expression, &BinaryOperator::Or);
                parts
                    .into_iter()
                    .map(|part| self.condition(part))
                    .collect::<Result<_, _>>()
                    .map(Predicate::Or)
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                self.condition(expr).map(|inner| Predicate::Not(Box::new(inner)))
            }
            Expr::BinaryOp { left, op, right } => self.comparison(left, op, right),
            Expr::IsNull(inner) => self.column(inner, "IS NULL").map(Predicate::IsNull),
            Expr::IsNotNull(inner) => {
                let column = self.column(inner, "IS NOT NULL")?;
                Ok(Predicate::Not(Box::new(Predicate::IsNull(column))))
            }
            Expr::InList { expr, list, negated } => {
                let column = self.typed_column(expr, "IN")?;
                if list.len() > IN_LIST_MAX {
                    return Err(SqlError::too_large(format!(
                        "column {}: IN takes at most {IN_LIST_MAX} values, here are {}",
                        column.name,
                        list.len()
                    ))
                    .into());
                }
                let value = |item| self.value(item, column, "an expression in an IN list");
                let values = list.iter().map(value).collect::<Result<_, _>>()?;
                Ok(negate(*negated, Predicate::In { column: column.id, values }))
            }
            Expr::Between { expr, negated, low, high } => {
                let column = self.typed_column(expr, "BETWEEN")?;
                let bound = |bound| self.value(bound, column, "an expression in BETWEEN");
                let predicate = Predicate::between(column.id, bound(low)?, bound(high)?);
                Ok(negate(*negated, predicate))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let is_known = escape_char.as_ref().is_none_or(|escape| {
                    matches!(&escape.value, ast::Value::SingleQuotedString(text) if text == "\\")
                });
                if !is_known {
                    return Err(SqlError::unsupported("LIKE takes ESCAPE '\\' and no other").into());
                }
                let predicate = self.like(expr, pattern)?;
                Ok(negate(*negated, predicate))
            }
            _ => self.boolean(expression),
        }
    }

    fn like(&self, expression: &'a Expr, pattern: &'a Expr) -> Result<Predicate, NotTyped> {
        let column = self.typed_column(expression, "LIKE")?;
        let text = match self.constant(pattern)? {
            Some(Constant::Text(text)) => text,
            Some(Constant::Null) => return Ok(Predicate::Constant(Truth::Unknown)),
            Some(_) => return Err(SqlError::invalid("a LIKE pattern is text").into()),
            None => return Err(NotTyped::construct("a LIKE pattern that is an expression")),
        };
        let pattern =
            LikePattern::new(text).map_err(|error| SqlError::invalid(error.to_string()))?;
        Ok(Predicate::Like { column: column.id, pattern })
    }

    /// `TRUE`, `FALSE`, `NULL`, or a BOOLEAN column by itself.
    fn boolean(&self, expression: &'a Expr) -> Result<Predicate, NotTyped> {
        match self.side(expression)? {
            Some(Side::Constant(Constant::Boolean(value))) => Ok(Predicate::Constant(value.into())),
            Some(Side::Constant(Constant::Null)) => Ok(Predicate::Constant(Truth::Unknown)),
            Some(Side::Column(column)) if column.column_type == ColumnType::Boolean => {
                let operand = Operand::Value(Value::Boolean(true));
                Ok(Predicate::Compare { column: column.id, op: CompareOp::Equal, operand })
            }
            Some(Side::Column(column)) => {
                let (name, column_type) = (&column.name, column.column_type);
                let told = format!("column {name} is {column_type}: a condition is a BOOLEAN");
                Err(SqlError::invalid(told).into())
            }
            Some(Side::Constant(_)) => {
                Err(SqlError::invalid("a condition is a BOOLEAN, and not a value").into())
            }
            None => Err(NotTyped::construct(cut(&expression.to_string()))),
        }
    }

    fn comparison(
        &self,
        left: &'a Expr,
        op: &BinaryOperator,
        right: &'a Expr,
    ) -> Result<Predicate, NotTyped> {
        let op = match op {
            BinaryOperator::Eq => CompareOp::Equal,
            BinaryOperator::NotEq => CompareOp::NotEqual,
            BinaryOperator::Lt => CompareOp::Less,
            BinaryOperator::LtEq => CompareOp::LessOrEqual,
            BinaryOperator::Gt => CompareOp::Greater,
            BinaryOperator::GtEq => CompareOp::GreaterOrEqual,
            other => return Err(NotTyped::construct(format!("the operator {other}"))),
        };
        let (column, op, other) = match (self.side(left)?, self.side(right)?) {
            (Some(Side::Column(column)), Some(other)) => (column, op, other),
            (Some(other), Some(Side::Column(column))) => (column, op.flipped(), other),
            (Some(_), Some(_)) => return Err(NotTyped::construct("a comparison of two constants")),
            (None, _) => return Err(NotTyped::construct(cut(&left.to_string()))),
            (_, None) => return Err(NotTyped::construct(cut(&right.to_string()))),
        };
        let operand = match other {
            Side::Column(other) => Operand::Column(other.id),
            Side::Constant(constant) => Operand::Value(constant.value(column, &self.binding)?),
        };
        Ok(Predicate::Compare { column: column.id, op, operand })
    }

    fn side(&self, expression: &'a Expr) -> Result<Option<Side<'a>>, NotTyped> {
        let column = match expression {
            Expr::Nested(inner) => return self.side(inner),
            Expr::Identifier(ident) => self.target.column(std::slice::from_ref(ident))?,
            Expr::CompoundIdentifier(parts) => self.target.column(parts)?,
            _ => return Ok(self.constant(expression)?.map(Side::Constant)),
        };
        Ok(Some(Side::Column(column)))
    }

    /// The constant that an expression is, before anything of it is copied.
    fn constant(&self, expression: &'a Expr) -> Result<Option<Constant<'a>>, NotTyped> {
        let constant = Constant::of(expression, self.binding.params)?;
        self.bytes.set(self.bytes.get() + constant.as_ref().map_or(0, Constant::bytes));
        if self.bytes.get() > CONDITION_BYTES_MAX {
            return Err(SqlError::too_large(format!(
                "the values of a condition have at most {CONDITION_BYTES_MAX} bytes, each counted \
                 as often as it is used: compare with less"
            ))
            .into());
        }
        Ok(constant)
    }

    fn typed_column(&self, expression: &'a Expr, of: &str) -> Result<&'a Column, NotTyped> {
        match self.side(expression)? {
            Some(Side::Column(column)) => Ok(column),
            _ => Err(NotTyped::construct(format!("{of} of something else than a column"))),
        }
    }

    fn column(&self, expression: &'a Expr, of: &str) -> Result<ColumnId, NotTyped> {
        self.typed_column(expression, of).map(|column| column.id)
    }

    fn value(
        &self,
        expression: &'a Expr,
        column: &Column,
        construct: &str,
    ) -> Result<Value, NotTyped> {
        match self.constant(expression)? {
            Some(constant) => Ok(constant.value(column, &self.binding)?),
            None => Err(NotTyped::construct(construct)),
        }
    }
}

/// The parts of `a AND b AND c`, whichever way they are joined. Not by recursion: a chain is as
/// deep as it is long.
pub(crate) fn chain<'a>(expression: &'a Expr, joined_by: &BinaryOperator) -> Vec<&'a Expr> {
    let mut parts = Vec::new();
    let mut left = vec![expression];
    while let Some(next) = left.pop() {
        match next {
            Expr::BinaryOp { left: first, op, right } if op == joined_by => {
                left.push(right);
                left.push(first);
            }
            Expr::Nested(inner) => left.push(inner),
            part => parts.push(part),
        }
    }
    parts
}

fn negate(is_negated: bool, predicate: Predicate) -> Predicate {
    if is_negated { Predicate::Not(Box::new(predicate)) } else { predicate }
}
