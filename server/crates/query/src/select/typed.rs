//! What a query compares, made of one type.
//!
//! DataFusion converts whichever side of a comparison it can. Here a literal becomes a value of the
//! type of what it is compared with, by the rules of [`protocol::literal`], or the query is refused;
//! nothing else is converted. That is what the engine and every replica do.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, Case, InList, InSubquery, ScalarFunction, WindowFunctionDefinition,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, Join, Like, LogicalPlan, Operator,
};
use protocol::error_code::ErrorCode;
use protocol::ids::TenantId;
use protocol::literal::Literal;
use protocol::predicate::LikePattern;
use protocol::value::{ColumnType, Value};
use server_engine::Time;

use super::bounds::Texts;
use super::failure::through;
use super::{functions, types};
use crate::error::SqlError;
use crate::statement::cut;

/// What stays the same throughout a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed<'a> {
    pub(super) now: Time,
    pub(super) user: &'a TenantId,
    /// The last tag that was given to an operand.
    pub(super) tags: &'a Cell<i64>,
    pub(super) texts: &'a Texts,
}

/// The plan with everything that it compares made of one type.
pub(super) fn plan(plan: LogicalPlan, fixed: Fixed<'_>) -> Result<LogicalPlan> {
    let typed = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        if let LogicalPlan::Join(join) = &node {
            check_join(join)?;
        }
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expression(expr, &schema, fixed)?;
            Ok(Transformed::yes(name.restore(changed)))
        })?;
        Ok(Transformed::yes(node.data.recompute_schema()?))
    })?;
    Ok(typed.data)
}

/// The same for an expression over rows of `schema`.
pub(super) fn expression(expr: Expr, schema: &DFSchema, fixed: Fixed<'_>) -> Result<Expr> {
    let typed = expr.transform_up(|part| {
        let typing = Typing { schema, fixed };
        Ok(Transformed::yes(typing.part(part).map_err(through)?))
    })?;
    Ok(typed.data)
}

fn check_join(join: &Join) -> Result<()> {
    for (left, right) in &join.on {
        let (left_field, right_field) =
            (left.to_field(join.left.schema())?.1, right.to_field(join.right.schema())?.1);
        let (left_type, right_type) = (types::type_of(&left_field), types::type_of(&right_field));
        check_pair(left, left_type, right, right_type).map_err(through)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Typing<'a> {
    schema: &'a DFSchema,
    fixed: Fixed<'a>,
}

impl Typing<'_> {
    fn part(&self, expr: Expr) -> Result<Expr, SqlError> {
        match expr {
            Expr::BinaryExpr(binary) => self.binary(binary),
            Expr::InList(InList { expr, list, negated }) => {
                let list = list.into_iter().map(|item| Ok(self.pair(&expr, item)?.1));
                let list = list.collect::<Result<_, SqlError>>()?;
                let expr = Box::new(self.held(*expr));
                Ok(Expr::InList(InList { expr, list, negated }))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let low = Box::new(self.pair(&expr, *low)?.1);
                let high = Box::new(self.pair(&expr, *high)?.1);
                Ok(Expr::Between(Between { expr, negated, low, high }))
            }
            Expr::Like(like) => self.like(like),
            Expr::SimilarTo(_) => Err(SqlError::unsupported("SIMILAR TO is not offered")),
            Expr::SetComparison(_) => Err(SqlError::unsupported("ANY and ALL are not offered")),
            Expr::Case(Case { expr: Some(expr), when_then_expr, else_expr }) => {
                let typed = |(when, then): (Box<Expr>, Box<Expr>)| {
                    Ok((Box::new(self.pair(&expr, *when)?.1), then))
                };
                let when_then_expr: Result<_, SqlError> =
                    when_then_expr.into_iter().map(typed).collect();
                let when_then_expr = when_then_expr?;
                Ok(Expr::Case(Case { expr: Some(expr), when_then_expr, else_expr }))
            }
            Expr::InSubquery(subquery) => {
                let InSubquery { expr, subquery: inner, .. } = &subquery;
                let right = inner.subquery.schema().fields().first();
                let right_type = right.and_then(|field| types::type_of(field));
                let other = Expr::Column(datafusion::common::Column::from_name(
                    right.map_or("", |field| field.name()),
                ));
                check_pair(expr, self.type_of(expr)?, &other, right_type)?;
                Ok(Expr::InSubquery(subquery))
            }
            Expr::Cast(cast) => cast_to(cast),
            Expr::Negative(inner) if constant(&inner).is_none() && self.is_integer(&inner)? => {
                let zero = Expr::Literal(ScalarValue::Int64(Some(0)), None);
                Ok(functions::checked(Operator::Minus, zero, widened(*inner)))
            }
            Expr::ScalarFunction(function) => Ok(self.function(function)),
            Expr::AggregateFunction(function) => self.aggregate(function),
            Expr::WindowFunction(mut window) => {
                if let WindowFunctionDefinition::AggregateUDF(function) = &window.fun
                    && function.name() == "sum"
                {
                    let args = std::mem::take(&mut window.params.args);
                    window.params.args = self.summed(args)?;
                }
                Ok(Expr::WindowFunction(window))
            }
            other => Ok(other),
        }
    }

    fn binary(&self, BinaryExpr { left, op, right }: BinaryExpr) -> Result<Expr, SqlError> {
        match op {
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => {
                let (left, right) = if constant(&left).is_some() {
                    let (right, left) = self.pair(&right, *left)?;
                    (left, right)
                } else {
                    self.pair(&left, *right)?
                };
                let (left, right) = match (&left, &right) {
                    (_, Expr::Literal(..)) => (self.held(left), right),
                    (Expr::Literal(..), _) => (left, self.held(right)),
                    _ => (left, right),
                };
                Ok(Expr::BinaryExpr(BinaryExpr { left: left.into(), op, right: right.into() }))
            }
            Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo => {
                if self.is_integer(&left)? && self.is_integer(&right)? {
                    return Ok(functions::checked(op, widened(*left), widened(*right)));
                }
                for side in [&left, &right] {
                    if let Some(ColumnType::Text | ColumnType::Json | ColumnType::Uuid) =
                        self.type_of(side)?
                    {
                        return Err(SqlError::invalid(format!("{} is no number", named(side))));
                    }
                }
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Operator::StringConcat => {
                for side in [&left, &right] {
                    let is_text = matches!(
                        self.type_of(side)?,
                        Some(ColumnType::Text | ColumnType::Json | ColumnType::Uuid)
                    );
                    if !is_text {
                        return Err(SqlError::invalid(format!(
                            "{} is no text: || takes CAST(x AS TEXT)",
                            named(side)
                        )));
                    }
                }
                Ok(functions::joined(*left, *right, self.fixed.texts))
            }
            Operator::And | Operator::Or => Ok(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            other => Err(SqlError::unsupported(format!("the operator {other} is not offered"))),
        }
    }

    /// A column as an operand that no other condition is put together with.
    fn held(&self, expr: Expr) -> Expr {
        if !matches!(expr, Expr::Column(_)) {
            return expr;
        }
        self.fixed.tags.set(self.fixed.tags.get() + 1);
        functions::held(expr, self.fixed.tags.get())
    }

    /// Two sides of a comparison, the second of the type of the first.
    fn pair(&self, left: &Expr, right: Expr) -> Result<(Expr, Expr), SqlError> {
        let left_type = self.type_of(left)?;
        match (constant(left), constant(&right)) {
            (None, Some(scalar)) => {
                let Some(column_type) = left_type else { return Ok((left.clone(), right)) };
                Ok((left.clone(), typed(left, column_type, &scalar)?))
            }
            (Some(scalar), None) => {
                let Some(column_type) = self.type_of(&right)? else {
                    return Ok((left.clone(), right));
                };
                Ok((typed(&right, column_type, &scalar)?, right))
            }
            (Some(left_scalar), Some(right_scalar)) => {
                let kinds = [&left_scalar, &right_scalar].map(ScalarValue::data_type);
                let is_number = kinds.iter().all(DataType::is_numeric);
                let is_null = left_scalar.is_null() || right_scalar.is_null();
                if kinds[0] != kinds[1] && !is_number && !is_null {
                    return Err(SqlError::invalid(
                        "two constants of different types are compared: a comparison converts \
                         nothing",
                    ));
                }
                Ok((left.clone(), right))
            }
            (None, None) => {
                check_pair(left, left_type, &right, self.type_of(&right)?)?;
                Ok((left.clone(), right))
            }
        }
    }

    fn like(&self, mut like: Like) -> Result<Expr, SqlError> {
        if like.case_insensitive {
            return Err(SqlError::unsupported("ILIKE is not offered"));
        }
        if like.escape_char.take().is_some_and(|escape| escape != '\\') {
            return Err(SqlError::unsupported("LIKE takes ESCAPE '\\' and no other"));
        }
        if let Some(column_type) = self.type_of(&like.expr)?
            && column_type != ColumnType::Text
            && constant(&like.expr).is_none()
        {
            return Err(SqlError::unsupported(format!(
                "{} is {column_type}: LIKE is for TEXT",
                named(&like.expr)
            )));
        }
        match constant(&like.pattern) {
            Some(ScalarValue::Utf8(Some(text))) => {
                LikePattern::new(text).map_err(|error| SqlError::invalid(error.to_string()))?;
            }
            Some(scalar) if scalar.is_null() => {
                like.pattern = Box::new(Expr::Literal(ScalarValue::Utf8(None), None));
            }
            Some(_) => return Err(SqlError::invalid("a LIKE pattern is text")),
            None => {
                return Err(SqlError::unsupported(
                    "a LIKE pattern that is an expression is not offered: write it as text or as a \
                     parameter",
                ));
            }
        }
        Ok(Expr::Like(like))
    }

    fn function(&self, function: ScalarFunction) -> Expr {
        let (column_type, value) = match (function.func.name(), &*function.args) {
            ("now", []) => (ColumnType::Timestamp, Value::Integer(self.fixed.now.0)),
            ("current_user", []) => match Value::text(self.fixed.user.as_str()) {
                Ok(user) => (ColumnType::Text, user),
                Err(_) => return Expr::ScalarFunction(function),
            },
            _ => return Expr::ScalarFunction(function),
        };
        // The metadata tells it from a literal that was written, which has no type of its own.
        let metadata = FieldMetadata::from(types::metadata(column_type));
        Expr::Literal(types::scalar(column_type, &value), Some(metadata))
    }

    fn aggregate(&self, mut function: AggregateFunction) -> Result<Expr, SqlError> {
        if function.func.name() == "sum" {
            let args = std::mem::take(&mut function.params.args);
            function.params.args = self.summed(args)?;
        }
        Ok(Expr::AggregateFunction(function))
    }

    /// What is summed up: DataFusion's sum of integers goes round at the end of the range, its sum
    /// of decimals does not.
    fn summed(&self, args: Vec<Expr>) -> Result<Vec<Expr>, SqlError> {
        let summed = |arg: Expr| {
            let is_integer = self.is_integer(&arg)?;
            Ok(if is_integer { cast(arg, DataType::Decimal128(20, 0)) } else { arg })
        };
        args.into_iter().map(summed).collect()
    }

    fn type_of(&self, expr: &Expr) -> Result<Option<ColumnType>, SqlError> {
        Ok(types::type_of(&expr.to_field(self.schema)?.1))
    }

    fn is_integer(&self, expr: &Expr) -> Result<bool, SqlError> {
        Ok(expr.to_field(self.schema)?.1.data_type().is_integer())
    }
}

/// The constant that was written here, which has no type of its own yet.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(scalar, None) => match scalar {
            ScalarValue::Null
            | ScalarValue::Boolean(_)
            | ScalarValue::Int64(_)
            | ScalarValue::Float64(_)
            | ScalarValue::Utf8(_)
            | ScalarValue::Binary(_) => Some(scalar.clone()),
            _ => None,
        },
        Expr::Negative(inner) => match constant(inner)? {
            scalar @ (ScalarValue::Int64(_) | ScalarValue::Float64(_)) => {
                scalar.arithmetic_negate().ok()
            }
            _ => None,
        },
        _ => None,
    }
}

/// A constant as a value of this type.
fn typed(other: &Expr, column_type: ColumnType, scalar: &ScalarValue) -> Result<Expr, SqlError> {
    if column_type == ColumnType::Json {
        return Err(unordered(other));
    }
    let number;
    let literal = match scalar {
        ScalarValue::Boolean(Some(value)) => Literal::Boolean(*value),
        ScalarValue::Int64(Some(value)) => {
            number = value.to_string();
            Literal::Number(&number)
        }
        ScalarValue::Float64(Some(value)) => {
            number = format!("{value:?}");
            Literal::Number(&number)
        }
        ScalarValue::Utf8(Some(text)) => Literal::Text(text),
        ScalarValue::Binary(Some(bytes)) => Literal::Bytes(bytes),
        _ => Literal::Null,
    };
    let value = column_type
        .value_of(literal)
        .map_err(|error| SqlError::new(error.code(), format!("{}: {error}", named(other))))?;
    Ok(Expr::Literal(types::scalar(column_type, &value), None))
}

/// Whether two sides may be compared.
fn check_pair(
    left: &Expr,
    left_type: Option<ColumnType>,
    right: &Expr,
    right_type: Option<ColumnType>,
) -> Result<(), SqlError> {
    let (Some(left_type), Some(right_type)) = (left_type, right_type) else { return Ok(()) };
    let is_integer = |t| matches!(t, ColumnType::Int | ColumnType::BigInt);
    for (side, column_type) in [(left, left_type), (right, right_type)] {
        if column_type == ColumnType::Json {
            return Err(unordered(side));
        }
    }
    if left_type == right_type || (is_integer(left_type) && is_integer(right_type)) {
        return Ok(());
    }
    Err(SqlError::unsupported(format!(
        "{} is {left_type} and {} is {right_type}, and a comparison converts nothing: write \
         CAST(x AS {left_type})",
        named(left),
        named(right)
    )))
}

fn unordered(side: &Expr) -> SqlError {
    SqlError::new(
        ErrorCode::Unsupported,
        format!("{} is JSON: only IS NULL and IS NOT NULL can be asked of it", named(side)),
    )
}

fn named(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => {
            format!("column {}", cut(&column.name))
        }
        Expr::Alias(alias) => named(&alias.expr),
        _ => "an expression".to_owned(),
    }
}

/// A cast says what its result is, whatever its source was.
fn cast_to(Cast { expr, field }: Cast) -> Result<Expr, SqlError> {
    let column_type = types::type_of(&field);
    if column_type == Some(ColumnType::Timestamp) {
        if let Some(scalar @ ScalarValue::Utf8(_)) = constant(&expr) {
            let Expr::Literal(scalar, _) = typed(&expr, ColumnType::Timestamp, &scalar)? else {
                return Err(super::failure::internal("cast"));
            };
            let metadata = FieldMetadata::from(types::metadata(ColumnType::Timestamp));
            return Ok(Expr::Literal(scalar, Some(metadata)));
        }
        return Ok(cast(*expr, types::arrow_type(ColumnType::Timestamp)));
    }
    Ok(cast(*expr, field.data_type().clone()))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    let field = Field::new("", data_type, true);
    let column_type = types::type_of(&field);
    let metadata = column_type.map(types::metadata).unwrap_or_default();
    Expr::Cast(Cast { expr: Box::new(expr), field: Arc::new(field.with_metadata(metadata)) })
}

fn widened(expr: Expr) -> Expr {
    match expr {
        literal @ Expr::Literal(ScalarValue::Int64(_), _) => literal,
        other => cast(other, DataType::Int64),
    }
}
