//! Values of columns, as JavaScript has them.
//!
//! | SQL | to JavaScript | from JavaScript |
//! | --- | --- | --- |
//! | NULL | `null` | `null`, `undefined` |
//! | integers, TIMESTAMP | `number`, or `bigint` where that is not exact | a whole `number` that is exact, `bigint`, `Date` (microseconds) |
//! | DOUBLE | `number` | any other `number` |
//! | TEXT, JSON, UUID | `string` | `string` |
//! | BYTES | `Uint8Array` | `Uint8Array` |
//! | BOOLEAN | `boolean`; 0 and 1 from the replica | `boolean` |

use js_sys::{Array, BigInt, Date, Number, Uint8Array};
use sdk_core::{Row, Rows, Value, uuid_text};
use wasm_bindgen::{JsCast, JsValue};

use crate::objects::Fault;

/// The largest integer that JavaScript has exactly as a `number`.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// A value of an application.
pub(crate) fn value(js: &JsValue) -> Result<Value, Fault> {
    if js.is_null() || js.is_undefined() {
        return Ok(Value::Null);
    }
    if let Some(value) = js.as_bool() {
        return Ok(Value::Boolean(value));
    }
    if let Some(number) = js.as_f64() {
        return match Number::is_safe_integer(js) {
            // The one integer that it is not.
            true if number == 0.0 => Ok(Value::Integer(0)),
            #[expect(clippy::cast_possible_truncation, reason = "it is a safe integer")]
            true => Ok(Value::Integer(number as i64)),
            false => Value::double(number).map_err(|error| Fault::new(error.to_string())),
        };
    }
    if let Some(text) = js.as_string() {
        return Value::text(text).map_err(|error| Fault::new(error.to_string()));
    }
    if let Some(bytes) = js.dyn_ref::<Uint8Array>() {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    if let Some(date) = js.dyn_ref::<Date>() {
        let millis = date.get_time();
        #[expect(clippy::cast_possible_truncation, reason = "a date is within 8.64e15 ms")]
        return match millis.is_nan() {
            true => Err(Fault::new("the date is none: give one that is valid, or null")),
            false => Ok(Value::Integer((millis as i64).saturating_mul(1_000))),
        };
    }
    if let Some(integer) = js.dyn_ref::<BigInt>() {
        let text = integer.to_string(10).map(String::from).unwrap_or_default();
        return text.parse().map(Value::Integer).map_err(|_| {
            Fault::new(format!(
                "{text} is no integer of 64 bits: write it as text, or in two columns"
            ))
        });
    }
    let told = "a value is null, a boolean, a number, a bigint, a string, a Uint8Array or a Date: give \
                JSON as text";
    Err(Fault::new(told))
}

/// Several of them.
pub(crate) fn values(js: &[JsValue]) -> Result<Vec<Value>, Fault> {
    js.iter().map(value).collect()
}

/// A value for an application.
pub(crate) fn js(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(number) if number.unsigned_abs() <= EXACT_MAX => {
            #[expect(clippy::cast_precision_loss, reason = "it is exact")]
            let number = *number as f64;
            number.into()
        }
        Value::Integer(number) => BigInt::from(*number).into(),
        Value::Double(number) => number.get().into(),
        Value::Text(text) => JsValue::from_str(text),
        Value::Bytes(bytes) => Uint8Array::from(&**bytes).into(),
        Value::Uuid(uuid) => JsValue::from_str(&uuid_text(*uuid)),
    }
}

/// The values of a row.
pub(crate) fn row(row: Row<'_>) -> JsValue {
    row.values().iter().map(js).collect::<Array>().into()
}

/// The names of columns.
pub(crate) fn columns(rows: &Rows) -> JsValue {
    rows.columns().iter().map(|name| JsValue::from_str(name)).collect::<Array>().into()
}
