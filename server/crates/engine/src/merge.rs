//! What an operation makes of a row. The one statement of patches, defaults and `MERGE ADD`.

use protocol::ids::{ColumnId, TenantId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Reason};
use protocol::schema::{Column, ColumnDefault, MergeRule, TableSchema};
use protocol::value::{ColumnType, Row, Value};

use crate::access;
use crate::command::Time;

/// What is wrong, and with which column.
pub(crate) type Refused = (Reason, Option<ColumnId>);

/// Who writes, and when: what defaults are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) user: &'a TenantId,
    pub(crate) time: Time,
}

/// The values of the primary key that `action` names, in key order.
pub(crate) fn key(
    schema: &TableSchema,
    action: &Action,
    writer: Writer<'_>,
) -> Result<Row, Refused> {
    let named = match action {
        Action::Patch { key, .. } | Action::Delete { key } => {
            if key.len() != schema.primary_key.len() {
                return Err((Reason::KeyIncomplete, None));
            }
            key.clone()
        }
        Action::Insert(values) | Action::Upsert(values) => schema
            .primary_key
            .iter()
            .map(|id| match (named(values, *id), schema.column(*id)) {
                (Some(value), _) => value.clone(),
                (None, Some(column)) => default(schema, column, writer),
                (None, None) => Value::Null,
            })
            .collect(),
    };
    for (value, id) in named.iter().zip(&schema.primary_key) {
        let Some(column) = schema.column(*id) else { return Err((Reason::KeyIncomplete, None)) };
        if value.is_null() {
            return Err((Reason::KeyIncomplete, Some(*id)));
        }
        admit(column, value)?;
    }
    Ok(named)
}

/// The row after `action`, where `current` is the one before it.
pub(crate) fn act(
    schema: &TableSchema,
    current: Option<&Row>,
    action: &Action,
    writer: Writer<'_>,
) -> Result<Option<Row>, Refused> {
    match (action, current) {
        (Action::Insert(_), Some(_)) => Err((Reason::DuplicateKey, None)),
        (Action::Insert(values) | Action::Upsert(values), None) => {
            insert(schema, values, writer).map(Some)
        }
        (Action::Upsert(values), Some(current)) => {
            let mut row = current.clone();
            for (place, value) in places(schema, values)? {
                row.0[place] = value.clone();
            }
            check_nulls(schema, &row)?;
            Ok(Some(row))
        }
        (Action::Patch { .. }, None) => Err((Reason::RowMissing, None)),
        (Action::Patch { changes, .. }, Some(current)) => patch(schema, current, changes).map(Some),
        (Action::Delete { .. }, _) => Ok(None),
    }
}

fn insert(
    schema: &TableSchema,
    values: &[ColumnValue],
    writer: Writer<'_>,
) -> Result<Row, Refused> {
    let mut row: Row =
        schema.columns.iter().map(|column| default(schema, column, writer)).collect();
    for (place, value) in places(schema, values)? {
        row.0[place] = value.clone();
    }
    check_nulls(schema, &row)?;
    Ok(row)
}

fn patch(schema: &TableSchema, current: &Row, changes: &[ColumnChange]) -> Result<Row, Refused> {
    let mut row = current.clone();
    let operands = changes.iter().map(ColumnChange::operand);
    for ((place, operand), change) in places(schema, operands)?.into_iter().zip(changes) {
        let column = &schema.columns[place];
        let value = match change {
            ColumnChange::Set(_) => operand.clone(),
            ColumnChange::Add(_) => add(column, &current[place], operand)?,
        };
        if value != current[place] && schema.primary_key.contains(&column.id) {
            return Err((Reason::KeyChanged, Some(column.id)));
        }
        row.0[place] = value;
    }
    check_nulls(schema, &row)?;
    Ok(row)
}

fn add(column: &Column, current: &Value, operand: &Value) -> Result<Value, Refused> {
    let refused = |reason| (reason, Some(column.id));
    if column.merge != MergeRule::Add {
        return Err(refused(Reason::NotAdded));
    }
    let sum = match (current, operand) {
        (Value::Null, operand) if !operand.is_null() => Some(operand.clone()),
        (Value::Integer(current), Value::Integer(operand)) => {
            current.checked_add(*operand).map(Value::Integer)
        }
        (Value::Double(current), Value::Double(operand)) => {
            Value::double(current.get() + operand.get()).ok()
        }
        _ => return Err(refused(Reason::Value)),
    };
    let sum = sum.filter(|sum| column.column_type.admit(sum.as_ref()).is_ok());
    sum.ok_or(refused(Reason::Sum))
}

/// The places of named columns in a row, with their values.
fn places<'v>(
    schema: &TableSchema,
    values: impl IntoIterator<Item = &'v ColumnValue>,
) -> Result<Vec<(usize, &'v Value)>, Refused> {
    let mut places: Vec<(usize, &Value)> = Vec::new();
    for ColumnValue(id, value) in values {
        let place = schema.columns.iter().position(|column| column.id == *id);
        let place = place.ok_or((Reason::ColumnUnknown, Some(*id)))?;
        if places.iter().any(|(other, _)| *other == place) {
            return Err((Reason::ColumnTwice, Some(*id)));
        }
        admit(&schema.columns[place], value)?;
        places.push((place, value));
    }
    Ok(places)
}

fn admit(column: &Column, value: &Value) -> Result<(), Refused> {
    let admitted = column.column_type.admit(value.as_ref());
    admitted.map_err(|_| (Reason::Value, Some(column.id)))
}

fn check_nulls(schema: &TableSchema, row: &Row) -> Result<(), Refused> {
    let null = schema.columns.iter().zip(row.iter()).find(|(c, v)| c.not_null && v.is_null());
    null.map_or(Ok(()), |(column, _)| Err((Reason::NotNull, Some(column.id))))
}

fn named(values: &[ColumnValue], id: ColumnId) -> Option<&Value> {
    values.iter().find(|ColumnValue(named, _)| *named == id).map(|ColumnValue(_, value)| value)
}

/// What a column holds that an insert does not name. Numbers that only a clock or chance can give
/// were filled in before the command entered the log; without them the column is NULL.
fn default(schema: &TableSchema, column: &Column, writer: Writer<'_>) -> Value {
    let user = || Value::text(writer.user.as_str()).unwrap_or(Value::Null);
    match &column.default {
        _ if access::owner_column(schema) == Some(column.id) => user(),
        Some(ColumnDefault::Value(value)) => value.clone(),
        Some(ColumnDefault::Now) => {
            let now = Value::Integer(writer.time.0);
            let fits = ColumnType::Timestamp.admit(now.as_ref()).is_ok();
            if fits { now } else { Value::Null }
        }
        Some(ColumnDefault::CurrentUser) => user(),
        Some(ColumnDefault::SnowflakeId | ColumnDefault::UuidV7) | None => Value::Null,
    }
}
