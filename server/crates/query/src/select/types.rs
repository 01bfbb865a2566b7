//! What a column is in arrow, and back.
//!
//! A UUID and a JSON document are text there, so the type of a column travels in the metadata of
//! its field, through aliases, joins and subqueries.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder,
    Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use protocol::literal::{Literal, uuid_text};
use protocol::schema::Column;
use protocol::value::{ColumnType, Value, ValueRef};

use crate::error::SqlError;

/// Where a field's metadata has the type of the column.
const TYPE: &str = "column_type";

/// The one time zone.
const UTC: &str = "UTC";

/// What a column of this type is in arrow.
pub(crate) fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int => DataType::Int32,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Text | ColumnType::Json | ColumnType::Uuid => DataType::Utf8,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
    }
}

/// The metadata of a field of this type.
pub(crate) fn metadata(column_type: ColumnType) -> HashMap<String, String> {
    HashMap::from([(TYPE.to_owned(), column_type.to_string())])
}

/// The field of a column.
pub(crate) fn field(name: &str, column_type: ColumnType, not_null: bool) -> Field {
    Field::new(name, arrow_type(column_type), !not_null).with_metadata(metadata(column_type))
}

/// The columns of a table.
pub(crate) fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|column| field(column.name.as_str(), column.column_type, column.not_null));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type of what a field holds: the one that it was given, or what its arrow type is for us.
/// A cast keeps the metadata of what it casts, so that counts only while both agree.
pub(crate) fn type_of(field: &Field) -> Option<ColumnType> {
    let given = field.metadata().get(TYPE);
    let given = ColumnType::ALL.into_iter().find(|known| Some(&known.to_string()) == given);
    let given = given.filter(|given| arrow_type(*given) == *field.data_type());
    given.or_else(|| natural(field.data_type()))
}

fn natural(data_type: &DataType) -> Option<ColumnType> {
    match data_type {
        DataType::Boolean => Some(ColumnType::Boolean),
        DataType::Int32 => Some(ColumnType::Int),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(ColumnType::Text),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Some(ColumnType::Bytes),
        DataType::Timestamp(..) => Some(ColumnType::Timestamp),
        DataType::Dictionary(_, values) => natural(values),
        // A sum of integers.
        DataType::Decimal128(_, 0) => Some(ColumnType::BigInt),
        other if other.is_integer() => Some(ColumnType::BigInt),
        other if other.is_floating() || other.is_decimal() => Some(ColumnType::Double),
        _ => None,
    }
}

/// A value as DataFusion compares it with a column of this type.
pub(crate) fn scalar(column_type: ColumnType, value: &Value) -> ScalarValue {
    let integer = match value {
        Value::Integer(number) => Some(*number),
        _ => None,
    };
    match column_type {
        ColumnType::Boolean => ScalarValue::Boolean(match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }),
        ColumnType::Int => ScalarValue::Int32(integer.and_then(|number| number.try_into().ok())),
        ColumnType::BigInt => ScalarValue::Int64(integer),
        ColumnType::Timestamp => ScalarValue::TimestampMicrosecond(integer, Some(UTC.into())),
        ColumnType::Double => ScalarValue::Float64(match value {
            Value::Double(number) => Some(number.get()),
            _ => None,
        }),
        ColumnType::Bytes => ScalarValue::Binary(match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }),
        ColumnType::Text | ColumnType::Json | ColumnType::Uuid => ScalarValue::Utf8(match value {
            Value::Text(text) => Some(text.to_string()),
            Value::Uuid(uuid) => Some(uuid_text(*uuid)),
            _ => None,
        }),
    }
}

/// The value that a constant is in a column of this type; `None` when it is not of this type.
pub(crate) fn value(column_type: ColumnType, scalar: &ScalarValue) -> Option<Value> {
    if scalar.is_null() {
        return Some(Value::Null);
    }
    let value = match (column_type, scalar) {
        (ColumnType::Boolean, ScalarValue::Boolean(Some(value))) => Value::Boolean(*value),
        (ColumnType::Int | ColumnType::BigInt, ScalarValue::Int32(Some(number))) => {
            Value::Integer((*number).into())
        }
        (ColumnType::Int | ColumnType::BigInt, ScalarValue::Int64(Some(number)))
        | (ColumnType::Timestamp, ScalarValue::TimestampMicrosecond(Some(number), _)) => {
            Value::Integer(*number)
        }
        (ColumnType::Double, ScalarValue::Float64(Some(number))) => Value::double(*number).ok()?,
        (ColumnType::Text | ColumnType::Json, ScalarValue::Utf8(Some(text))) => {
            Value::text(text).ok()?
        }
        (ColumnType::Uuid, ScalarValue::Utf8(Some(text))) => {
            // Only text that is written as a UUID is shown can be equal to one, or ordered as one.
            let value = column_type.value_of(Literal::Text(text)).ok()?;
            let Value::Uuid(uuid) = value else { return None };
            (uuid_text(uuid) == *text).then_some(value)?
        }
        (ColumnType::Bytes, ScalarValue::Binary(Some(bytes))) => Value::Bytes(bytes.clone()),
        _ => return None,
    };
    column_type.admit(value.as_ref()).is_ok().then_some(value)
}

/// Rows on their way into a batch.
pub(crate) struct Builders {
    schema: SchemaRef,
    columns: Vec<Builder>,
    pub(crate) rows: usize,
    /// About how many bytes they take.
    pub(crate) bytes: usize,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Builders {
    /// For rows of columns of these types.
    pub(crate) fn new(schema: SchemaRef, types: impl Iterator<Item = ColumnType>) -> Self {
        let columns = types.map(|column_type| match column_type {
            ColumnType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            ColumnType::Int => Builder::Int(Int32Builder::new()),
            ColumnType::BigInt => Builder::BigInt(Int64Builder::new()),
            ColumnType::Double => Builder::Double(Float64Builder::new()),
            ColumnType::Text | ColumnType::Json | ColumnType::Uuid => {
                Builder::Text(StringBuilder::new())
            }
            ColumnType::Bytes => Builder::Bytes(BinaryBuilder::new()),
            ColumnType::Timestamp => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_timezone(UTC))
            }
        });
        Self { schema, columns: columns.collect(), rows: 0, bytes: 0 }
    }

    /// Adds a row with these values.
    pub(crate) fn push<'v>(
        &mut self,
        values: impl Iterator<Item = ValueRef<'v>>,
    ) -> Result<(), SqlError> {
        for (builder, value) in self.columns.iter_mut().zip(values) {
            self.bytes += builder.push(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The batch.
    pub(crate) fn finish(self) -> datafusion::common::Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self.columns.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }
}

impl Builder {
    /// Adds a value, and says about how many bytes it takes.
    fn push(&mut self, value: ValueRef<'_>) -> Result<usize, SqlError> {
        match (self, value) {
            (Self::Boolean(builder), ValueRef::Boolean(value)) => builder.append_value(value),
            (Self::Int(builder), ValueRef::Integer(number)) => {
                builder.append_option(i32::try_from(number).ok());
            }
            (Self::BigInt(builder), ValueRef::Integer(number)) => builder.append_value(number),
            (Self::Timestamp(builder), ValueRef::Integer(micros)) => builder.append_value(micros),
            (Self::Double(builder), ValueRef::Double(number)) => builder.append_value(number.get()),
            (Self::Text(builder), ValueRef::Text(text)) => {
                builder.append_value(text);
                return Ok(8 + text.len());
            }
            (Self::Text(builder), ValueRef::Uuid(uuid)) => {
                builder.append_value(uuid_text(*uuid));
                return Ok(44);
            }
            (Self::Bytes(builder), ValueRef::Bytes(bytes)) => {
                builder.append_value(bytes);
                return Ok(8 + bytes.len());
            }
            (builder, ValueRef::Null) => builder.push_null(),
            _ => {
                tracing::error!("a row has a value that is not of the type of its column");
                return Err(crate::ports::ShardError::Failed.into());
            }
        }
        Ok(8)
    }

    fn push_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        fn finished(mut builder: impl ArrayBuilder) -> ArrayRef {
            builder.finish()
        }
        match self {
            Self::Boolean(builder) => finished(builder),
            Self::Int(builder) => finished(builder),
            Self::BigInt(builder) => finished(builder),
            Self::Double(builder) => finished(builder),
            Self::Text(builder) => finished(builder),
            Self::Bytes(builder) => finished(builder),
            Self::Timestamp(builder) => finished(builder),
        }
    }
}
