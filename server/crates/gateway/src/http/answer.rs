//! Rows → the bytes of an answer, straight into one buffer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::timestamp;
use protocol::value::{ColumnType, Value};

use crate::ports::{Position, SqlAnswer, SqlColumn};

/// The answer is not what its own columns say: a defect of whoever gave it.
#[derive(Debug)]
pub(super) struct Mismatch;

/// How much room a value takes, as a first guess.
const VALUE_BYTES: usize = 16;

/// The JSON of an answer.
pub(super) fn encode(answer: &SqlAnswer) -> Result<Vec<u8>, Mismatch> {
    let guessed = answer.rows.len() * answer.columns.len() * VALUE_BYTES;
    let mut json = Vec::with_capacity(256 + guessed);
    json.push(b'{');
    if !answer.columns.is_empty() {
        json.extend_from_slice(b"\"columns\":");
        list(&mut json, &answer.columns, column)?;
        json.extend_from_slice(b",\"rows\":");
        list(&mut json, &answer.rows, |json, row| {
            if row.len() != answer.columns.len() {
                return Err(Mismatch);
            }
            let values = row.iter().zip(&answer.columns);
            list(json, values, |json, (it, column)| value(json, column.column_type, it))
        })?;
        json.push(b',');
    } else if !answer.rows.is_empty() {
        return Err(Mismatch);
    }
    if let Some(affected) = answer.rows_affected {
        json.extend_from_slice(b"\"rows_affected\":");
        number(&mut json, affected);
        json.push(b',');
    }
    json.extend_from_slice(b"\"positions\":");
    list(&mut json, &answer.positions, position)?;
    json.push(b'}');
    Ok(json)
}

fn column(json: &mut Vec<u8>, column: &SqlColumn) -> Result<(), Mismatch> {
    json.extend_from_slice(b"{\"name\":");
    text(json, &column.name);
    json.extend_from_slice(b",\"type\":");
    text(json, &column.column_type.to_string());
    json.push(b'}');
    Ok(())
}

fn position(json: &mut Vec<u8>, position: &Position) -> Result<(), Mismatch> {
    json.extend_from_slice(b"{\"lane\":");
    text(json, &position.lane.to_string());
    json.extend_from_slice(b",\"epoch\":");
    text(json, &position.epoch.to_string());
    json.extend_from_slice(b",\"seq\":");
    number(json, position.seq.get());
    json.push(b'}');
    Ok(())
}

fn value(json: &mut Vec<u8>, column: ColumnType, value: &Value) -> Result<(), Mismatch> {
    match (column, value) {
        (_, Value::Null) => json.extend_from_slice(b"null"),
        (ColumnType::Boolean, Value::Boolean(true)) => json.extend_from_slice(b"true"),
        (ColumnType::Boolean, Value::Boolean(false)) => json.extend_from_slice(b"false"),
        (ColumnType::Int, Value::Integer(it)) => number(json, *it),
        (ColumnType::BigInt, Value::Integer(it)) => quoted(json, |json| number(json, *it)),
        (ColumnType::Double, Value::Double(it)) => number(json, it.get()),
        (ColumnType::Text | ColumnType::Json, Value::Text(it)) => text(json, it),
        (ColumnType::Bytes, Value::Bytes(it)) => quoted(json, |json| base64(json, it)),
        (ColumnType::Timestamp, Value::Integer(micros)) => {
            let written = timestamp::format(*micros).ok_or(Mismatch)?;
            quoted(json, |json| json.extend_from_slice(written.as_bytes()));
        }
        (ColumnType::Uuid, Value::Uuid(it)) => quoted(json, |json| uuid(json, it)),
        _ => return Err(Mismatch),
    }
    Ok(())
}

fn list<T>(
    json: &mut Vec<u8>,
    elements: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), Mismatch>,
) -> Result<(), Mismatch> {
    json.push(b'[');
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write(json, element)?;
    }
    json.push(b']');
    Ok(())
}

fn quoted(json: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    json.push(b'"');
    write(json);
    json.push(b'"');
}

/// A number that is finite: every one of these is.
fn number(json: &mut Vec<u8>, number: impl serde::Serialize) {
    // Memory does not fail to be written to.
    let _ = serde_json::to_writer(json, &number);
}

fn text(json: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(json, text);
}

fn base64(json: &mut Vec<u8>, bytes: &[u8]) {
    let start = json.len();
    json.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // As long as its result is, which was reserved just above.
    let written = STANDARD.encode_slice(bytes, &mut json[start..]);
    debug_assert_eq!(written.ok(), Some(json.len() - start));
}

fn uuid(json: &mut Vec<u8>, bytes: &[u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            json.push(b'-');
        }
        json.push(DIGITS[usize::from(byte >> 4)]);
        json.push(DIGITS[usize::from(byte & 15)]);
    }
}
