//! `SET column = …`: what becomes of a row that is there.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr};
use protocol::error_code::ErrorCode;
use protocol::ids::ColumnId;
use protocol::mutation::{ColumnChange, ColumnValue};
use protocol::schema::{Column, MergeRule};
use protocol::value::{Row, Value};

use crate::constant::{Binding, Constant, generated};
use crate::error::SqlError;
use crate::select::{RowExpression, Select};
use crate::statement::cut;
use crate::table::{Target, text};

/// The new value of a column.
#[derive(Debug)]
pub(crate) enum Assigned {
    /// This one.
    Value(Value),
    /// The one that the conflicting row of an INSERT has in a column.
    Excluded(ColumnId),
    /// What a column holds, and this added to it or taken from it.
    Sum { of: ColumnId, is_minus: bool, operand: Operand },
    /// What an expression makes of the row.
    Computed(RowExpression),
}

/// The second part of a sum.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Value(Value),
    Excluded(ColumnId),
}

/// An assignment to a column.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) column: Column,
    assigned: Assigned,
}

/// How assignments are read.
#[derive(Clone, Copy)]
pub(crate) struct Assigning<'a> {
    pub(crate) target: &'a Target,
    pub(crate) binding: Binding<'a>,
    /// `None` in ON CONFLICT DO UPDATE, where `EXCLUDED` is the row that was not inserted.
    pub(crate) select: Option<&'a Select>,
}

impl Assigning<'_> {
    pub(crate) fn all(&self, written: &[ast::Assignment]) -> Result<Vec<Assignment>, SqlError> {
        let mut all: Vec<Assignment> = Vec::with_capacity(written.len());
        for ast::Assignment { target, value } in written {
            let ast::AssignmentTarget::ColumnName(name) = target else {
                return Err(SqlError::unsupported("set one column at a time: SET a = 1, b = 2"));
            };
            let column = self.target.column_named(name)?.clone();
            if self.target.schema.primary_key.contains(&column.id) {
                return Err(SqlError::unsupported(format!(
                    "column {} is in the primary key, which a row keeps: delete the row and insert \
                     another",
                    column.name
                )));
            }
            if all.iter().any(|other| other.column.id == column.id) {
                return Err(SqlError::invalid(format!("column {} is set twice", column.name)));
            }
            let assigned = self.one(&column, value)?;
            all.push(Assignment { column, assigned });
        }
        Ok(all)
    }

    fn one(&self, column: &Column, value: &Expr) -> Result<Assigned, SqlError> {
        if is_default(value) {
            let made = generated(column, &self.binding)?;
            let value = made.map_or_else(|| self.target.default(column, &self.binding), Ok)?;
            return Ok(Assigned::Value(value));
        }
        if let Some(constant) = Constant::of(value, self.binding.params)? {
            return constant.value(column, &self.binding).map(Assigned::Value);
        }
        if let Some(excluded) = self.excluded(value)? {
            same_type(column, excluded)?;
            return Ok(Assigned::Excluded(excluded.id));
        }
        if let Some(sum) = self.sum(column, value)? {
            return Ok(sum);
        }
        match self.select {
            Some(select) => RowExpression::new(
                select,
                &self.target.schema,
                &self.target.bare(value)?,
                &self.binding,
                column,
            )
            .map(Assigned::Computed),
            None => Err(SqlError::unsupported(format!(
                "in DO UPDATE SET a column becomes a constant, EXCLUDED.column, or column + either, \
                 and not {}",
                cut(&value.to_string())
            ))),
        }
    }

    /// `EXCLUDED.column`, where there is such a row.
    fn excluded(&self, value: &Expr) -> Result<Option<&Column>, SqlError> {
        let Expr::CompoundIdentifier(parts) = value else { return Ok(None) };
        match &**parts {
            [table, column] if self.select.is_none() && text(table) == "excluded" => {
                self.target.column(std::slice::from_ref(column)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `column + operand`, `operand + column` or `column - operand`, of numbers.
    fn sum(&self, column: &Column, value: &Expr) -> Result<Option<Assigned>, SqlError> {
        let Expr::BinaryOp { left, op, right } = value else { return Ok(None) };
        let is_minus = match op {
            BinaryOperator::Plus => false,
            BinaryOperator::Minus => true,
            _ => return Ok(None),
        };
        if !column.column_type.is_number() {
            return Ok(None);
        }
        let sides = match self.of_column(left)? {
            Some(of) => Some((of, right)),
            None if is_minus => None,
            None => self.of_column(right)?.map(|of| (of, left)),
        };
        let sides = sides.filter(|(of, _)| of.column_type == column.column_type);
        let Some((of, other)) = sides else { return Ok(None) };
        let operand = self.operand(column, other)?;
        Ok(operand.map(|operand| Assigned::Sum { of: of.id, is_minus, operand }))
    }

    fn of_column(&self, value: &Expr) -> Result<Option<&Column>, SqlError> {
        match value {
            Expr::Identifier(ident) => self.target.column(std::slice::from_ref(ident)).map(Some),
            Expr::CompoundIdentifier(_) if self.excluded(value)?.is_some() => Ok(None),
            Expr::CompoundIdentifier(parts) => self.target.column(parts).map(Some),
            _ => Ok(None),
        }
    }

    fn operand(&self, column: &Column, value: &Expr) -> Result<Option<Operand>, SqlError> {
        if let Some(excluded) = self.excluded(value)? {
            same_type(column, excluded)?;
            return Ok(Some(Operand::Excluded(excluded.id)));
        }
        let constant = Constant::of(value, self.binding.params)?;
        let constant = constant.filter(|c| matches!(c, Constant::Number(_) | Constant::Null));
        let value = constant.map(|c| c.value(column, &self.binding));
        Ok(value.transpose()?.map(Operand::Value))
    }
}

impl Assignment {
    /// Whether what becomes of the row depends on what it is.
    pub(crate) fn reads(&self) -> bool {
        match &self.assigned {
            Assigned::Value(_) | Assigned::Excluded(_) => false,
            Assigned::Sum { .. } => !self.is_addition(),
            Assigned::Computed(_) => true,
        }
    }

    /// Whether the column takes what the row that was not inserted has in it.
    pub(crate) fn takes_excluded(&self) -> bool {
        matches!(self.assigned, Assigned::Excluded(id) if id == self.column.id)
    }

    /// Whether the engine adds, wherever the row is by then. It takes NULL for 0, which SQL does
    /// not.
    fn is_addition(&self) -> bool {
        let Column { id, not_null, merge, .. } = &self.column;
        let is_value = |operand: &Operand| !matches!(operand, Operand::Value(Value::Null));
        matches!(&self.assigned, Assigned::Sum { of, operand, .. }
            if of == id && *not_null && *merge == MergeRule::Add && is_value(operand))
    }

    /// The change to a row that holds `value` in a column, where `excluded` gives the values of the
    /// row that was not inserted.
    pub(crate) fn change(
        &self,
        row: &dyn Fn(ColumnId) -> Value,
        whole: &dyn Fn() -> Row,
        excluded: &dyn Fn(ColumnId) -> Value,
    ) -> Result<ColumnChange, SqlError> {
        let set = |value| Ok(ColumnChange::Set(ColumnValue(self.column.id, value)));
        match &self.assigned {
            Assigned::Value(value) => set(value.clone()),
            Assigned::Excluded(id) => set(excluded(*id)),
            Assigned::Computed(expression) => set(expression.value(&whole())?),
            Assigned::Sum { of, is_minus, operand } => {
                let operand = match operand {
                    Operand::Value(value) => value.clone(),
                    Operand::Excluded(id) => excluded(*id),
                };
                let operand = if *is_minus { self.negated(operand)? } else { operand };
                if self.is_addition() && !operand.is_null() {
                    return Ok(ColumnChange::Add(ColumnValue(self.column.id, operand)));
                }
                set(self.sum(&row(*of), &operand)?)
            }
        }
    }

    fn negated(&self, value: Value) -> Result<Value, SqlError> {
        match value {
            Value::Integer(number) => {
                number.checked_neg().map(Value::Integer).ok_or_else(|| self.too_far())
            }
            Value::Double(number) => Value::double(-number.get()).map_err(|_| self.too_far()),
            other => Ok(other),
        }
    }

    fn sum(&self, held: &Value, operand: &Value) -> Result<Value, SqlError> {
        let sum = match (held, operand) {
            (Value::Integer(held), Value::Integer(operand)) => {
                held.checked_add(*operand).map(Value::Integer)
            }
            (Value::Double(held), Value::Double(operand)) => {
                Value::double(held.get() + operand.get()).ok()
            }
            _ => Some(Value::Null),
        };
        let fits = |sum: &Value| self.column.column_type.admit(sum.as_ref()).is_ok();
        sum.filter(fits).ok_or_else(|| self.too_far())
    }

    fn too_far(&self) -> SqlError {
        let Column { name, column_type, .. } = &self.column;
        SqlError::new(
            ErrorCode::Constraint,
            format!("column {name}: the sum is out of the range of {column_type}"),
        )
    }
}

/// The word `DEFAULT` where a value is expected.
pub(crate) fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DEFAULT"))
}

fn same_type(column: &Column, other: &Column) -> Result<(), SqlError> {
    if column.column_type == other.column_type {
        return Ok(());
    }
    Err(SqlError::invalid(format!(
        "column {} is {}, and column {} is {}",
        column.name, column.column_type, other.name, other.column_type
    )))
}
