//! Expressions that are one value: literals, parameters, and functions of a statement.

use std::borrow::Cow;

use datafusion::sql::sqlparser::ast;
use protocol::ids::TenantId;
use protocol::literal::Literal;
use protocol::schema::{Column, ColumnDefault};
use protocol::value::{ColumnType, Value};
use server_engine::Time;

use crate::error::SqlError;
use crate::ids::Ids;
use crate::request::Param;

/// What the expressions of one execution of a statement take from outside of the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) params: &'a [Param],
    pub(crate) now: Time,
    pub(crate) user: &'a TenantId,
    pub(crate) ids: &'a Ids,
}

/// An expression that is one value, before it has the type of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant<'a> {
    Null,
    Boolean(bool),
    Number(Cow<'a, str>),
    Text(&'a str),
    Bytes(Cow<'a, [u8]>),
    Function(ColumnDefault),
}

impl<'a> Constant<'a> {
    /// About how much of memory it takes as a value.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Number(text) => text.len(),
            Self::Null | Self::Boolean(_) | Self::Function(_) => 0,
        }
    }

    /// The constant that `expression` is; `None` for an expression over rows.
    ///
    /// # Errors
    /// Where it is meant to be one and is not well-formed.
    pub(crate) fn of(
        expression: &'a ast::Expr,
        params: &'a [Param],
    ) -> Result<Option<Self>, SqlError> {
        use ast::{Expr, UnaryOperator};
        match expression {
            Expr::Nested(inner) => Self::of(inner, params),
            Expr::Value(value) => Self::of_value(&value.value, params).map(Some),
            Expr::TypedString(typed) => Self::of_value(&typed.value.value, params).map(Some),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match Self::of(expr, params)? {
                Some(Self::Number(text)) => {
                    let text = match text.strip_prefix('-') {
                        Some(positive) => positive.to_owned(),
                        None => format!("-{text}"),
                    };
                    Ok(Some(Self::Number(text.into())))
                }
                _ => Ok(None),
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => {
                let inner = Self::of(expr, params)?;
                Ok(inner.filter(|inner| matches!(inner, Self::Number(_))))
            }
            Expr::Function(function) => Ok(function_of(function).map(Self::Function)),
            _ => Ok(None),
        }
    }

    fn of_value(value: &'a ast::Value, params: &'a [Param]) -> Result<Self, SqlError> {
        Ok(match value {
            ast::Value::Null => Self::Null,
            ast::Value::Boolean(value) => Self::Boolean(*value),
            ast::Value::Number(text, false) => Self::Number(text.into()),
            ast::Value::SingleQuotedString(text)
            | ast::Value::EscapedStringLiteral(text)
            | ast::Value::UnicodeStringLiteral(text)
            | ast::Value::NationalStringLiteral(text) => Self::Text(text),
            ast::Value::DollarQuotedString(text) => Self::Text(&text.value),
            ast::Value::HexStringLiteral(digits) => Self::Bytes(bytes_of(digits)?.into()),
            ast::Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
                let place = number.and_then(|number: usize| number.checked_sub(1));
                let param = place.and_then(|place| params.get(place));
                param.ok_or_else(|| SqlError::invalid(format!("{name} has no value")))?.constant()
            }
            _ => return Err(SqlError::unsupported("write text as '…' and bytes as X'…'")),
        })
    }

    /// The value that this is in a column of the type.
    ///
    /// # Errors
    /// `invalid_request` or `constraint`, with what to write instead.
    pub(crate) fn value(&self, column: &Column, binding: &Binding<'_>) -> Result<Value, SqlError> {
        if let Self::Function(function) = self {
            return function_value(function, column, binding);
        }
        let literal = match self {
            Self::Null | Self::Function(_) => Literal::Null,
            Self::Boolean(value) => Literal::Boolean(*value),
            Self::Number(text) => Literal::Number(text),
            Self::Text(text) => Literal::Text(text),
            Self::Bytes(bytes) => Literal::Bytes(bytes),
        };
        column.column_type.value_of(literal).map_err(|error| {
            SqlError::new(error.code(), format!("column {}: {error}", column.name))
        })
    }
}

impl Param {
    fn constant(&self) -> Constant<'_> {
        match self {
            Self::Null => Constant::Null,
            Self::Boolean(value) => Constant::Boolean(*value),
            Self::Number(text) => Constant::Number(text.into()),
            Self::Text(text) => Constant::Text(text),
            Self::Bytes(bytes) => Constant::Bytes(bytes.into()),
        }
    }
}

fn bytes_of(digits: &str) -> Result<Vec<u8>, SqlError> {
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        let is_hex = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        is_hex.then(|| u8::from_str_radix(text, 16).ok()).flatten()
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| SqlError::invalid("X'…' has two hexadecimal digits for each byte"))
}

/// The functions without arguments that a default may be, too.
pub(crate) fn function_of(function: &ast::Function) -> Option<ColumnDefault> {
    let has_arguments = match &function.args {
        ast::FunctionArguments::None => false,
        ast::FunctionArguments::List(list) => !list.args.is_empty() || !list.clauses.is_empty(),
        ast::FunctionArguments::Subquery(_) => true,
    };
    if has_arguments || function.over.is_some() || function.filter.is_some() {
        return None;
    }
    let [ast::ObjectNamePart::Identifier(name)] = &*function.name.0 else { return None };
    match &*name.value.to_uppercase() {
        "NOW" | "CURRENT_TIMESTAMP" => Some(ColumnDefault::Now),
        "CURRENT_USER" => Some(ColumnDefault::CurrentUser),
        "SNOWFLAKE_ID" => Some(ColumnDefault::SnowflakeId),
        "UUID_V7" => Some(ColumnDefault::UuidV7),
        _ => None,
    }
}

fn function_value(
    function: &ColumnDefault,
    column: &Column,
    binding: &Binding<'_>,
) -> Result<Value, SqlError> {
    let (name, gives) = match function {
        ColumnDefault::Value(value) => return Ok(value.clone()),
        ColumnDefault::Now => ("NOW()", ColumnType::Timestamp),
        ColumnDefault::CurrentUser => ("CURRENT_USER()", ColumnType::Text),
        ColumnDefault::SnowflakeId => ("SNOWFLAKE_ID()", ColumnType::BigInt),
        ColumnDefault::UuidV7 => ("UUID_V7()", ColumnType::Uuid),
    };
    if gives != column.column_type {
        let (column, column_type) = (&column.name, column.column_type);
        return Err(SqlError::invalid(format!(
            "column {column} is {column_type}, and {name} gives a {gives}"
        )));
    }
    match function {
        ColumnDefault::SnowflakeId => Ok(binding.ids.snowflake(binding.now)),
        ColumnDefault::UuidV7 => binding.ids.uuid_v7(binding.now),
        ColumnDefault::CurrentUser => {
            Value::text(binding.user.as_str()).map_err(|error| SqlError::invalid(error.to_string()))
        }
        ColumnDefault::Now | ColumnDefault::Value(_) => Ok(Value::Integer(binding.now.0)),
    }
}

/// The value of a column that an INSERT does not name and the engine cannot make, because it comes
/// from a clock or from chance.
pub(crate) fn generated(column: &Column, binding: &Binding<'_>) -> Result<Option<Value>, SqlError> {
    match &column.default {
        Some(function @ (ColumnDefault::SnowflakeId | ColumnDefault::UuidV7)) => {
            function_value(function, column, binding).map(Some)
        }
        _ => Ok(None),
    }
}
