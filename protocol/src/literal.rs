//! How what people write becomes a value: a literal in SQL, a parameter in JSON.
//!
//! A literal takes the type of the column it is stored in or compared with, exactly, or it is
//! refused. So no comparison ever depends on how an engine would have converted one side: SQLite,
//! DataFusion and the live engine do it in three different ways.

use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::timestamp;
use crate::value::{ColumnType, Double, Text, Value, ValueError};

/// A constant as it was written, before it has a column's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal<'a> {
    /// `NULL`.
    Null,
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// A number as its text: `12`, `-0.5`, `1e3`. The text, because `9007199254740993` must not
    /// pass through a floating-point number on its way to a BIGINT.
    Number(&'a str),
    /// `'text'`.
    Text(&'a str),
    /// `X'00ff'`.
    Bytes(&'a [u8]),
}

/// Why a literal cannot take the type of its column.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LiteralError {
    /// It is of a type that is never converted to the column's.
    #[error("a {column} is written as {form}")]
    Form {
        /// The type of the column.
        column: ColumnType,
        /// How to write it.
        form: &'static str,
    },
    /// A number that the column would round.
    #[error("{number} is not exactly a {column}: write {form}")]
    Inexact {
        /// The type of the column.
        column: ColumnType,
        /// The number as it was written.
        number: String,
        /// What to write instead.
        form: &'static str,
    },
    /// The value is none of this column's.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl LiteralError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Form { .. } | Self::Inexact { .. } => ErrorCode::InvalidRequest,
            Self::Value(reason) => reason.code(),
        }
    }
}

impl ColumnType {
    /// The value that `literal` is in a column of this type.
    ///
    /// # Errors
    /// [`LiteralError`] says how to write a literal of this type.
    ///
    /// # Example
    /// ```
    /// use protocol::literal::Literal;
    /// use protocol::value::{ColumnType, Value};
    ///
    /// let exact = ColumnType::BigInt.value_of(Literal::Number("9007199254740993"));
    /// assert_eq!(exact, Ok(Value::Integer(9_007_199_254_740_993)));
    /// assert!(ColumnType::Double.value_of(Literal::Number("9007199254740993")).is_err());
    /// ```
    pub fn value_of(self, literal: Literal<'_>) -> Result<Value, LiteralError> {
        let value = match (self, literal) {
            (_, Literal::Null) => Value::Null,
            (Self::Boolean, Literal::Boolean(value)) => Value::Boolean(value),
            (Self::Int | Self::BigInt, Literal::Number(text)) => self.integer(text)?,
            (Self::Double, Literal::Number(text)) => self.double(text)?,
            (Self::Text | Self::Json, Literal::Text(text)) => Value::Text(Text::new(text)?),
            (Self::Bytes, Literal::Bytes(bytes)) => Value::Bytes(bytes.to_vec()),
            (Self::Timestamp, Literal::Number(text)) => self.integer(text)?,
            (Self::Timestamp, Literal::Text(text)) => {
                Value::Integer(timestamp::parse(text).ok_or_else(|| self.form())?)
            }
            (Self::Uuid, Literal::Text(text)) => self.uuid(text)?,
            _ => return Err(self.form()),
        };
        self.admit(value.as_ref())?;
        Ok(value)
    }

    fn integer(self, text: &str) -> Result<Value, LiteralError> {
        match text.parse::<i64>() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) if text.parse::<f64>().is_err() => Err(self.form()),
            Err(_) => Err(self.inexact(text, "a whole number of at most 64 bits")),
        }
    }

    fn double(self, text: &str) -> Result<Value, LiteralError> {
        let number: f64 = text.parse().map_err(|_| self.form())?;
        // `parse` also takes the words "inf" and "nan", which are no numbers here.
        let value = Double::new(number)?;
        let whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+');
        // Whoever writes a whole number means that very number; 2^127 bounds the check.
        if whole && text.parse::<i128>().ok() != Some(number as i128) {
            return Err(self.inexact(text, "it with a decimal point, to accept the nearest one"));
        }
        Ok(Value::Double(value))
    }

    fn uuid(self, text: &str) -> Result<Value, LiteralError> {
        // The length leaves one of the four spellings that the parser knows.
        let uuid = (text.len() == 36).then(|| uuid::Uuid::try_parse(text).ok()).flatten();
        uuid.map(|uuid| Value::Uuid(uuid.into_bytes())).ok_or_else(|| self.form())
    }

    fn inexact(self, number: &str, form: &'static str) -> LiteralError {
        let number = number.chars().take(40).collect();
        LiteralError::Inexact { column: self, number, form }
    }

    fn form(self) -> LiteralError {
        let form = match self {
            Self::Boolean => "TRUE or FALSE",
            Self::Int | Self::BigInt => "a whole number",
            Self::Double => "a number",
            Self::Text => "text in single quotes",
            Self::Json => "a JSON document in single quotes",
            Self::Bytes => "X'…' with two hexadecimal digits per byte",
            Self::Timestamp => {
                "'2026-01-31 12:00:00' (UTC), '2026-01-31T12:00:00+01:00', or microseconds since 1970"
            }
            Self::Uuid => "'01234567-89ab-cdef-0123-456789abcdef'",
        };
        LiteralError::Form { column: self, form }
    }
}

/// A UUID as the text that SQL and the replica show: lower case, with hyphens.
pub fn uuid_text(bytes: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(bytes).hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ColumnType::{BigInt, Boolean, Bytes, Double, Int, Json, Timestamp, Uuid};

    fn number(column: ColumnType, text: &str) -> Result<Value, LiteralError> {
        column.value_of(Literal::Number(text))
    }

    #[test]
    fn integers_are_exact_or_refused() {
        assert_eq!(number(BigInt, "9007199254740993"), Ok(Value::Integer(9_007_199_254_740_993)));
        assert_eq!(number(BigInt, "-9223372036854775808"), Ok(Value::Integer(i64::MIN)));
        for text in ["9223372036854775808", "1.5", "1.0", "1e3"] {
            assert!(matches!(number(BigInt, text), Err(LiteralError::Inexact { .. })), "{text}");
        }
        assert!(matches!(number(Int, "2147483648"), Err(LiteralError::Value(_))));
        assert!(matches!(number(Int, "x"), Err(LiteralError::Form { .. })));
    }

    #[test]
    fn a_double_is_the_nearest_of_a_decimal_and_exactly_a_whole_number() {
        assert_eq!(number(Double, "0.1"), Ok(Value::double(0.1).unwrap()));
        assert_eq!(number(Double, "-0.0"), Ok(Value::double(0.0).unwrap()));
        assert_eq!(number(Double, "9007199254740992"), Ok(Value::double(2f64.powi(53)).unwrap()));
        assert_eq!(number(Double, "9007199254740993.0"), Ok(Value::double(2f64.powi(53)).unwrap()));
        assert!(matches!(number(Double, "9007199254740993"), Err(LiteralError::Inexact { .. })));
        let huge = "9".repeat(60);
        assert!(matches!(number(Double, &huge), Err(LiteralError::Inexact { .. })));
        for text in ["1e999", "inf", "nan"] {
            assert_eq!(number(Double, text), Err(LiteralError::Value(ValueError::NotFinite)));
        }
    }

    #[test]
    fn nothing_is_converted_between_types() {
        for (column, literal) in [
            (Boolean, Literal::Number("1")),
            (Boolean, Literal::Text("true")),
            (Int, Literal::Text("1")),
            (Int, Literal::Boolean(true)),
            (ColumnType::Text, Literal::Number("1")),
            (Bytes, Literal::Text("ab")),
            (Uuid, Literal::Bytes(&[0; 16])),
            (Timestamp, Literal::Boolean(false)),
        ] {
            let refused = column.value_of(literal);
            assert!(matches!(refused, Err(LiteralError::Form { .. })), "{column} {literal:?}");
            assert_eq!(column.value_of(Literal::Null), Ok(Value::Null));
        }
    }

    #[test]
    fn a_timestamp_is_text_or_microseconds() {
        let written = Timestamp.value_of(Literal::Text("1970-01-01T00:00:01Z"));
        assert_eq!(written, number(Timestamp, "1000000"));
        assert!(matches!(
            Timestamp.value_of(Literal::Text("noon")),
            Err(LiteralError::Form { .. })
        ));
        assert!(number(Timestamp, "9223372036854775807").is_err());
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        let text = "01234567-89AB-cdef-0123-456789abcdef";
        let Ok(Value::Uuid(bytes)) = Uuid.value_of(Literal::Text(text)) else { panic!("refused") };
        assert_eq!(uuid_text(bytes), text.to_lowercase());
        for other in
            ["0123456789abcdef0123456789abcdef", "{01234567-89ab-cdef-0123-456789abcdef}", "x"]
        {
            assert!(Uuid.value_of(Literal::Text(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn a_json_document_is_checked_and_kept_as_written() {
        let text = "{ \"b\": 1.00, \"a\": [] }";
        assert_eq!(Json.value_of(Literal::Text(text)), Ok(Value::text(text).unwrap()));
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(Json.value_of(Literal::Text(&nested(127))).is_ok());
        for text in ["", "{", "1e400", "\"\\ud800\"", &nested(128), &nested(100_000), "1 2"] {
            assert!(Json.value_of(Literal::Text(text)).is_err(), "{text:.20}");
        }
    }
}
