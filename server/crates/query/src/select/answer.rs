//! Batches as the rows of an answer.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use protocol::error_code::ErrorCode;
use protocol::literal::Literal;
use protocol::value::{ColumnType, Row, Value};

use super::types;
use crate::error::SqlError;
use crate::request::{Answer, ResultColumn};

/// The answer to a query as far as it has come.
pub(super) struct Rows {
    columns: Vec<ResultColumn>,
    rows: Vec<Row>,
    bytes: usize,
    limits: Limits,
}

/// How large an answer may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Rows {
    pub(super) fn new(schema: &Schema, limits: Limits) -> Self {
        let columns = schema.fields().iter().map(|field| ResultColumn {
            name: field.name().clone(),
            // What has no type of ours is shown as text.
            column_type: types::type_of(field).unwrap_or(ColumnType::Text),
        });
        Self { columns: columns.collect(), rows: Vec::new(), bytes: 0, limits }
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        if self.rows.len() + batch.num_rows() > self.limits.rows {
            return Err(self.too_large());
        }
        let columns = self.columns.iter().zip(batch.columns());
        let mut columns = columns
            .map(|(column, array)| Values::new(array, column))
            .collect::<Result<Vec<_>, _>>()?;
        for at in 0..batch.num_rows() {
            let row = columns.iter_mut().map(|values| values.get(at));
            let row = row.collect::<Result<Row, _>>()?;
            self.bytes += row.iter().map(bytes).sum::<usize>();
            if self.bytes > self.limits.bytes {
                return Err(self.too_large());
            }
            self.rows.push(row);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Answer {
        Answer { columns: self.columns, rows: self.rows, ..Answer::default() }
    }

    fn too_large(&self) -> SqlError {
        let Limits { rows, bytes } = self.limits;
        SqlError::too_large(format!(
            "an answer has at most {rows} rows and {bytes} bytes: add LIMIT, and ask for the rest \
             with a WHERE on the key"
        ))
    }
}

fn bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => 8 + text.len(),
        Value::Bytes(bytes) => 8 + bytes.len(),
        Value::Uuid(_) => 16,
        _ => 8,
    }
}

/// The values of one column.
pub(super) struct Values<'a> {
    column: &'a ResultColumn,
    array: ArrayRef,
}

impl<'a> Values<'a> {
    pub(super) fn new(array: &ArrayRef, column: &'a ResultColumn) -> Result<Self, SqlError> {
        let wanted = match (column.column_type, array.data_type()) {
            (ColumnType::Int, _) => DataType::Int64,
            (ColumnType::Timestamp, DataType::Timestamp(_, zone)) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            (column_type, _) => types::arrow_type(column_type),
        };
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let array = cast_with_options(array, &wanted, &options).map_err(|_| {
            let is_number = array.data_type().is_numeric();
            let code = if is_number { ErrorCode::Constraint } else { ErrorCode::Unsupported };
            let (name, column_type) = (&column.name, column.column_type);
            SqlError::new(code, format!("column {name} of the answer cannot be a {column_type}"))
        })?;
        Ok(Self { column, array })
    }

    pub(super) fn get(&self, at: usize) -> Result<Value, SqlError> {
        if self.array.is_null(at) {
            return Ok(Value::Null);
        }
        let text = || self.array.as_string::<i32>().value(at);
        let column_type = self.column.column_type;
        let value = match column_type {
            ColumnType::Boolean => Ok(Value::Boolean(self.array.as_boolean().value(at))),
            ColumnType::Int | ColumnType::BigInt => {
                Ok(Value::Integer(self.array.as_primitive::<Int64Type>().value(at)))
            }
            ColumnType::Double => Value::double(self.array.as_primitive::<Float64Type>().value(at)),
            ColumnType::Text | ColumnType::Json => Value::text(text()),
            ColumnType::Bytes => Ok(Value::Bytes(self.array.as_binary::<i32>().value(at).to_vec())),
            ColumnType::Timestamp => {
                let times = self.array.as_primitive::<TimestampMicrosecondType>();
                Ok(Value::Integer(times.value(at)))
            }
            ColumnType::Uuid => {
                return column_type
                    .value_of(Literal::Text(text()))
                    .map_err(|error| self.refused(error.code(), &error.to_string()));
            }
        };
        let value = value.map_err(|error| self.refused(error.code(), &error.to_string()))?;
        if matches!(column_type, ColumnType::Int | ColumnType::Timestamp) {
            column_type
                .admit(value.as_ref())
                .map_err(|error| self.refused(error.code(), &error.to_string()))?;
        }
        Ok(value)
    }

    fn refused(&self, code: ErrorCode, why: &str) -> SqlError {
        SqlError::new(code, format!("column {} of the answer: {why}", self.column.name))
    }
}
