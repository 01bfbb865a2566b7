//! What DataFusion says, in our words: never its own, never the inside of the server.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use protocol::error_code::ErrorCode;

use crate::error::SqlError;

/// An error of ours on its way through DataFusion.
pub(super) fn through(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
                Ok(own) => *own,
                Err(_) => internal("external"),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                (*inner).into()
            }
            DataFusionError::Collection(mut errors) if !errors.is_empty() => {
                errors.swap_remove(0).into()
            }
            DataFusionError::Shared(shared) => from_shared(&shared),
            DataFusionError::ArrowError(error, _) => from_arrow(*error),
            DataFusionError::SchemaError(error, _) => from_schema(&error),
            DataFusionError::NotImplemented(text) => not_offered(&text),
            DataFusionError::Plan(text) => from_plan(&text),
            DataFusionError::Execution(text) => Self::invalid(sentence(&text)),
            DataFusionError::SQL(error, _) => Self::invalid(sentence(&error.to_string())),
            DataFusionError::ResourcesExhausted(_) => Self::new(
                ErrorCode::Quota,
                "the statements that run have no memory left for this one: add LIMIT or a narrower \
                 WHERE, or try again in a moment",
            ),
            DataFusionError::ExecutionJoin(_) => internal("task"),
            DataFusionError::Internal(_) => internal("internal"),
            _ => internal("other"),
        }
    }
}

/// The same, of an error that somebody else has, too.
fn from_shared(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(own) => own.clone(),
            None => internal("external"),
        },
        DataFusionError::Shared(inner) => from_shared(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_shared(inner)
        }
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::DivideByZero => from_arrow(ArrowError::DivideByZero),
            ArrowError::ArithmeticOverflow(_) => {
                from_arrow(ArrowError::ArithmeticOverflow(String::new()))
            }
            ArrowError::CastError(text) => from_arrow(ArrowError::CastError(text.clone())),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => from_shared(inner),
                None => internal("arrow"),
            },
            _ => internal("arrow"),
        },
        DataFusionError::ResourcesExhausted(_) => {
            DataFusionError::ResourcesExhausted(String::new()).into()
        }
        DataFusionError::Execution(text) => SqlError::invalid(sentence(text)),
        DataFusionError::Plan(text) => from_plan(text),
        DataFusionError::NotImplemented(text) => not_offered(text),
        _ => internal("shared"),
    }
}

fn not_offered(text: &str) -> SqlError {
    if text.contains("Subquery") || text.contains("OuterReference") {
        return SqlError::unsupported(
            "a subquery that refers to the query around it in this way is not offered: write it \
             as a JOIN",
        );
    }
    SqlError::unsupported(sentence(text))
}

fn from_arrow(error: ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new(
            ErrorCode::Constraint,
            "division by zero: write NULLIF(x, 0) for the divisor to get NULL instead",
        ),
        ArrowError::ArithmeticOverflow(_) => SqlError::new(
            ErrorCode::Constraint,
            "a result is out of the range of BIGINT: calculate with CAST(x AS DOUBLE)",
        ),
        ArrowError::CastError(text) | ArrowError::ParseError(text) => {
            SqlError::new(ErrorCode::Constraint, sentence(&text))
        }
        ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(error) => (*error).into(),
            Err(_) => internal("arrow"),
        },
        ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::NotYetImplemented(text) => SqlError::invalid(sentence(&text)),
        _ => internal("arrow"),
    }
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            let name = cut(&field.flat_name());
            SqlError::new(
                ErrorCode::NotFound,
                format!("there is no column {name}: check its spelling, and what FROM names"),
            )
        }
        SchemaError::AmbiguousReference { field } => SqlError::invalid(format!(
            "more than one table has a column {}: write which one, as in table.{}",
            cut(&field.name),
            cut(&field.name)
        )),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => SqlError::invalid(format!(
            "two columns are called {}: give one of them another name with AS",
            cut(name)
        )),
    }
}

fn from_plan(text: &str) -> SqlError {
    let called = |start: &str| {
        let name = text.strip_prefix(start)?;
        Some(cut(name.split('\'').next().unwrap_or_default()))
    };
    if let Some(name) = called("Invalid function '") {
        return SqlError::unsupported(format!("there is no function {name}"));
    }
    if text.contains("unique expression names") {
        return SqlError::invalid("two columns of a SELECT are the same: give one a name with AS");
    }
    SqlError::invalid(sentence(text))
}

/// An error that nobody but us can do anything about. What it says may have values in it, so only
/// its kind is noted.
pub(super) fn internal(kind: &'static str) -> SqlError {
    tracing::error!(kind, "a query could not be run");
    SqlError::new(ErrorCode::Internal, "the server could not run this query: its log says why")
}

/// The first line of a message, with our names for the types.
fn sentence(text: &str) -> String {
    let mut text = text.lines().next().unwrap_or_default().to_owned();
    for (theirs, ours) in [
        ("DataFusion error: ", ""),
        ("Error during planning: ", ""),
        ("Schema error: ", ""),
        ("Execution error: ", ""),
        ("Arrow error: ", ""),
        ("Cast error: ", ""),
        ("SQL error: ", ""),
        ("ParserError", ""),
        ("Timestamp(µs, \"UTC\")", "TIMESTAMP"),
        ("Timestamp(ns)", "TIMESTAMP"),
        ("LargeUtf8", "TEXT"),
        ("Utf8View", "TEXT"),
        ("Utf8", "TEXT"),
        ("UInt64", "BIGINT"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Float64", "DOUBLE"),
        ("LargeBinary", "BYTES"),
        ("Binary", "BYTES"),
        ("Boolean", "BOOLEAN"),
        ("DataFusion", "the server"),
    ] {
        text = text.replace(theirs, ours);
    }
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_lowercase().to_string());
    cut(&(first.unwrap_or_default() + characters.as_str()))
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}
