//! A body → the statement it asks for.
//!
//! The text of a number and of nested JSON is kept or refused where it stands: nothing here
//! recurses, and nothing is built that is larger than the body by more than a small factor.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::error_code::ErrorCode;
use protocol::ids::RequestId;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::limits::{Limits, NUMBER_BYTES_MAX, QUOTE_CHARACTERS_MAX};
use crate::ports::Param;

/// What a body says.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) params: Vec<Param>,
    pub(super) request_id: Option<RequestId>,
}

/// The same, as it is written. Unknown fields and fields that come twice are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    sql: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
}

/// A parameter that JSON has no form for.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tagged<'a> {
    Bytes(#[serde(borrow)] Cow<'a, str>),
    BigInt(#[serde(borrow)] Cow<'a, str>),
}

impl Statement {
    pub(super) fn parse(body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            Refusal::invalid(format!("the body is not UTF-8 at byte {at}: send JSON in UTF-8"))
        })?;
        let written: Written<'_> =
            serde_json::from_str(text).map_err(|error| not_json("the body", &error))?;
        check_sql(&written.sql, limits)?;
        let request_id = written.request_id.map(|id| id.parse()).transpose().map_err(|_| {
            Refusal::invalid("`request_id`: write 32 hexadecimal digits, drawn at random")
        })?;
        let params = written.params.map_or(Ok(Vec::new()), |raw| params(raw, limits))?;
        Ok(Self { sql: written.sql, params, request_id })
    }
}

/// The whole text of an error about one parameter too many, by which it is known again.
const TOO_MANY: &str = "more parameters than are allowed";

fn params(raw: &RawValue, limits: &Limits) -> Result<Vec<Param>, Refusal> {
    if !raw.get().starts_with('[') {
        return Err(Refusal::invalid("`params` must be a list: [value of $1, value of $2, …]"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    let list = AtMost(limits.params_max).deserialize(&mut deserializer).map_err(|error| {
        if error.to_string().starts_with(TOO_MANY) {
            return too_many_params(limits);
        }
        not_json("`params`", &error)
    })?;
    list.into_iter().enumerate().map(|(index, raw)| param(raw.get(), index + 1)).collect()
}

/// Whether a statement's text is of a length that is run.
pub(crate) fn check_sql(sql: &str, limits: &Limits) -> Result<(), Refusal> {
    let max = limits.sql_bytes_max;
    if sql.len() <= max {
        return Ok(());
    }
    let told = format!("`sql` has at most {max} bytes: send values as `params`, or split it");
    Err(Refusal::new(ErrorCode::TooLarge, told))
}

pub(crate) fn too_many_params(limits: &Limits) -> Refusal {
    let max = limits.params_max;
    let told = format!("a statement has at most {max} parameters: split it");
    Refusal::new(ErrorCode::TooLarge, told)
}

/// Reads a list, and stops behind its last allowed element.
struct AtMost(usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == self.0 {
                return Err(A::Error::custom(TOO_MANY));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// The parameter `$place`, of which `text` is known to be JSON.
fn param(text: &str, place: usize) -> Result<Param, Refusal> {
    let refused = |told: &str| Err(Refusal::invalid(format!("parameter ${place}: {told}")));
    match text.as_bytes().first() {
        Some(b'n') => Ok(Param::Null),
        Some(b't') => Ok(Param::Boolean(true)),
        Some(b'f') => Ok(Param::Boolean(false)),
        Some(b'-' | b'0'..=b'9') if text.len() <= NUMBER_BYTES_MAX => {
            Ok(Param::Number(text.to_owned()))
        }
        Some(b'-' | b'0'..=b'9') => refused("a number has at most 1024 characters"),
        Some(b'"') => {
            serde_json::from_str(text).map(Param::Text).or_else(|error| refused(&clipped(&error)))
        }
        Some(b'{') => match serde_json::from_str(text) {
            Ok(Tagged::Bytes(base64)) => STANDARD
                .decode(base64.as_bytes())
                .map(Param::Bytes)
                .or_else(|_| refused("`bytes` must be base64 (A-Z a-z 0-9 + /) with its padding")),
            Ok(Tagged::BigInt(digits)) if is_bigint(&digits) => {
                Ok(Param::Number(digits.into_owned()))
            }
            Ok(Tagged::BigInt(_)) => refused(
                "`bigint` must be the digits of a number from -9223372036854775808 to \
                 9223372036854775807",
            ),
            Err(_) => refused(
                "an object must be {\"bytes\": \"<base64>\"} or {\"bigint\": \"<digits>\"}; send \
                 JSON as a string",
            ),
        },
        _ => refused("a list cannot be a value: send JSON as a string"),
    }
}

/// Digits as JSON would write them, in the range of a BIGINT.
fn is_bigint(digits: &str) -> bool {
    digits.parse::<i64>().is_ok_and(|number| number.to_string() == digits)
}

fn not_json(what: &str, error: &serde_json::Error) -> Refusal {
    let told = clipped(error);
    Refusal::invalid(match error.classify() {
        serde_json::error::Category::Data => format!(
            "{what} must be {{\"sql\": \"…\", \"params\": […], \"request_id\": \"…\"}}: {told}"
        ),
        _ => format!("{what} is not JSON: {told}"),
    })
}

/// What a parser said, without most of what it quotes.
fn clipped(error: &serde_json::Error) -> String {
    error.to_string().chars().take(QUOTE_CHARACTERS_MAX).collect()
}
