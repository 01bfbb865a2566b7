//! Conditions of DataFusion as conditions of the engine.
//!
//! What has no such form is left to DataFusion, so nothing here has to be complete; what is given
//! one must mean the same.

use datafusion::common::Column as Named;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Like, Operator};
use protocol::predicate::{CompareOp, LikePattern, Operand, Predicate, Truth};
use protocol::schema::{Column, TableSchema};
use protocol::value::{ColumnType, Value};

use super::{functions, types};

/// The condition of the engine that means the same on rows of `table`.
pub(super) fn predicate(table: &TableSchema, expr: &Expr) -> Option<Predicate> {
    let predicate = condition(table, expr)?;
    predicate.check(table).is_ok().then_some(predicate)
}

fn condition(table: &TableSchema, expr: &Expr) -> Option<Predicate> {
    match expr {
        Expr::Alias(alias) => condition(table, &alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(Predicate::And(vec![condition(table, left)?, condition(table, right)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(either(condition(table, left)?, condition(table, right)?))
        }
        Expr::BinaryExpr(binary) => comparison(table, binary),
        Expr::Not(inner) => Some(Predicate::Not(Box::new(condition(table, inner)?))),
        Expr::IsNull(inner) => Some(Predicate::IsNull(column(table, inner)?.id)),
        Expr::IsNotNull(inner) => {
            Some(Predicate::Not(Box::new(Predicate::IsNull(column(table, inner)?.id))))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let column = column(table, expr)?;
            let values = list.iter().map(|item| value(column, item)).collect::<Option<_>>()?;
            Some(negate(*negated, Predicate::In { column: column.id, values }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let column = column(table, expr)?;
            let between = Predicate::between(column.id, value(column, low)?, value(column, high)?);
            Some(negate(*negated, between))
        }
        Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive: false }) => {
            let column = column(table, expr)?;
            let Value::Text(text) = value(column, pattern)? else { return None };
            let pattern = LikePattern::new(text.into_string()).ok()?;
            Some(negate(*negated, Predicate::Like { column: column.id, pattern }))
        }
        Expr::Literal(constant, _) => match types::value(ColumnType::Boolean, constant)? {
            Value::Boolean(value) => Some(Predicate::Constant(value.into())),
            _ => Some(Predicate::Constant(Truth::Unknown)),
        },
        Expr::Column(_) | Expr::ScalarFunction(_) => {
            let column = column(table, expr)?;
            let operand = Operand::Value(Value::Boolean(true));
            let is_condition = column.column_type == ColumnType::Boolean;
            let op = CompareOp::Equal;
            is_condition.then_some(Predicate::Compare { column: column.id, op, operand })
        }
        _ => None,
    }
}

/// `left OR right`. DataFusion takes a short IN list apart, which would hide the values that an
/// index or a key is asked for.
fn either(left: Predicate, right: Predicate) -> Predicate {
    let values = |part: &Predicate| match part {
        Predicate::Compare { column, op: CompareOp::Equal, operand: Operand::Value(value) } => {
            Some((*column, vec![value.clone()]))
        }
        Predicate::In { column, values } => Some((*column, values.clone())),
        _ => None,
    };
    match (values(&left), values(&right)) {
        (Some((column, mut values)), Some((other, more))) if column == other => {
            values.extend(more);
            Predicate::In { column, values }
        }
        _ => Predicate::Or(vec![left, right]),
    }
}

fn comparison(table: &TableSchema, binary: &BinaryExpr) -> Option<Predicate> {
    let op = match binary.op {
        Operator::Eq => CompareOp::Equal,
        Operator::NotEq => CompareOp::NotEqual,
        Operator::Lt => CompareOp::Less,
        Operator::LtEq => CompareOp::LessOrEqual,
        Operator::Gt => CompareOp::Greater,
        Operator::GtEq => CompareOp::GreaterOrEqual,
        _ => return None,
    };
    let (left, right) = (&*binary.left, &*binary.right);
    if let (Some(left), Some(right)) = (widened(table, left), widened(table, right)) {
        let operand = Operand::Column(right.id);
        return Some(Predicate::Compare { column: left.id, op, operand });
    }
    let (column, op, other) = match (column(table, left), column(table, right)) {
        (Some(column), None) => (column, op, right),
        (None, Some(column)) => (column, op.flipped(), left),
        _ => return None,
    };
    let operand = Operand::Value(value(column, other)?);
    Some(Predicate::Compare { column: column.id, op, operand })
}

fn column<'t>(table: &'t TableSchema, expr: &Expr) -> Option<&'t Column> {
    match expr {
        Expr::Column(Named { name, .. }) => table.column_named(name),
        Expr::Alias(alias) => column(table, &alias.expr),
        other => column(table, functions::of_held(other)?),
    }
}

/// An INT column is compared with a BIGINT one as a BIGINT.
fn widened<'t>(table: &'t TableSchema, expr: &Expr) -> Option<&'t Column> {
    match expr {
        Expr::Cast(Cast { expr, field }) => {
            let is_big = *field.data_type() == types::arrow_type(ColumnType::BigInt);
            column(table, expr).filter(|column| is_big && column.column_type == ColumnType::Int)
        }
        other => column(table, other),
    }
}

fn value(column: &Column, expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal(constant, _) => types::value(column.column_type, constant),
        Expr::Alias(alias) => value(column, &alias.expr),
        _ => None,
    }
}

fn negate(is_negated: bool, predicate: Predicate) -> Predicate {
    if is_negated { Predicate::Not(Box::new(predicate)) } else { predicate }
}
