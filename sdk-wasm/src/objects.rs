//! Objects of JavaScript, and errors as such.

use js_sys::{Object, Reflect};
use sdk_core::{Error, ErrorCode};
use wasm_bindgen::JsValue;

/// An object with these properties.
pub(crate) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        // A new object takes every property.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object.into()
}

pub(crate) fn text(text: &str) -> JsValue {
    JsValue::from_str(text)
}

/// A whole number that is as large as a count, a time or a position can be: below 2^53.
#[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
pub(crate) fn number(number: u64) -> JsValue {
    (number as f64).into()
}

pub(crate) fn or_null(value: Option<JsValue>) -> JsValue {
    value.unwrap_or(JsValue::NULL)
}

/// Why something was not done.
pub(crate) fn failure(error: &Error) -> JsValue {
    let retry_after = match error {
        Error::Server { retry_after_ms, .. } => *retry_after_ms,
        _ => None,
    };
    object(&[
        ("code", text(error.code().as_str())),
        ("message", text(&error.to_string())),
        ("documentation", text(&error.documentation())),
        ("retryAfterMs", or_null(retry_after.map(number))),
    ])
}

/// What was given cannot be used: why, for whoever gave it.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<Fault> for Error {
    fn from(Fault(message): Fault) -> Self {
        Self::Asked { code: ErrorCode::InvalidRequest, message }
    }
}

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> Self {
        failure(&fault.into())
    }
}
