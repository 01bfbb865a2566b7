//! The system tables that are not stored: what the catalog says, of tables that one may read, and
//! what runs just then.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use protocol::ids::TenantId;
use protocol::schema::{
    AccessLevel, Column, ColumnDefault, MergeRule, Sharing, TableKind, TableSchema,
};
use protocol::timestamp;
use protocol::value::{ColumnType, Value, ValueRef};
use server_engine::{Actor, Catalog, Role, may_read};

use crate::error::SqlError;
use crate::ports::{LiveQueries, RunningQuery};
use crate::select::types::{self, Builders};
use crate::table::SYSTEM;

const TABLES: &[(&str, ColumnType, bool)] = &[
    ("namespace", ColumnType::Text, true),
    ("name", ColumnType::Text, true),
    ("kind", ColumnType::Text, true),
    ("version", ColumnType::BigInt, true),
    ("primary_key", ColumnType::Text, true),
    ("ttl_seconds", ColumnType::BigInt, false),
    ("access_level", ColumnType::Text, false),
    ("owner_column", ColumnType::Text, false),
];

const COLUMNS: &[(&str, ColumnType, bool)] = &[
    ("namespace", ColumnType::Text, true),
    ("table_name", ColumnType::Text, true),
    ("name", ColumnType::Text, true),
    ("position", ColumnType::Int, true),
    ("type", ColumnType::Text, true),
    ("not_null", ColumnType::Boolean, true),
    ("default_value", ColumnType::Text, false),
    ("merge", ColumnType::Text, true),
];

const LIVE_QUERIES: &[(&str, ColumnType, bool)] = &[
    ("id", ColumnType::Text, true),
    ("user_id", ColumnType::Text, true),
    ("namespace", ColumnType::Text, true),
    ("table_name", ColumnType::Text, true),
    ("lane", ColumnType::Text, true),
    ("sql", ColumnType::Text, true),
    ("state", ColumnType::Text, true),
];

/// The rows of a table of this name, if it is one of these.
pub(crate) fn table(
    namespace: &str,
    name: &str,
    catalog: &Catalog,
    live: &dyn LiveQueries,
    actor: &Actor,
) -> Option<Result<RecordBatch, SqlError>> {
    let readable = catalog.tables().map(server_engine::Table::schema);
    let readable = readable.filter(|schema| may_read(schema, &schema.lane(&actor.user), actor));
    match (namespace, name) {
        (SYSTEM, "tables") => Some(batch(TABLES, readable.map(table_row))),
        (SYSTEM, "columns") => Some(batch(COLUMNS, readable.flat_map(column_rows))),
        (SYSTEM, "live_queries") => {
            let shown = live.list(whose(actor)).map_err(SqlError::from);
            Some(shown.and_then(|shown| batch(LIVE_QUERIES, shown.iter().map(live_row))))
        }
        _ => None,
    }
}

/// Whose live queries an actor sees, and may end: his own, and of role admin all.
pub(crate) fn whose(actor: &Actor) -> Option<&TenantId> {
    (actor.role < Role::Admin).then_some(&actor.user)
}

fn live_row(query: &RunningQuery) -> Vec<Value> {
    let RunningQuery { id, user, table, lane, sql, state } = query;
    vec![
        text(id),
        text(user.as_str()),
        text(table.namespace.as_str()),
        text(table.table.as_str()),
        text(&lane.to_string()),
        text(sql),
        text(state),
    ]
}

fn batch(
    columns: &[(&str, ColumnType, bool)],
    rows: impl Iterator<Item = Vec<Value>>,
) -> Result<RecordBatch, SqlError> {
    let fields = columns
        .iter()
        .map(|(name, column_type, not_null)| types::field(name, *column_type, *not_null));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut builders =
        Builders::new(schema, columns.iter().map(|(_, column_type, _)| *column_type));
    for row in rows {
        builders.push(row.iter().map(Value::as_ref))?;
    }
    Ok(builders.finish()?)
}

fn table_row(schema: &TableSchema) -> Vec<Value> {
    let column = |id| schema.column(id).map(|column| column.name.as_str());
    let key: Vec<_> = schema.primary_key.iter().filter_map(|id| column(*id)).collect();
    let (kind, sharing) = match &schema.kind {
        TableKind::User => ("USER", None),
        TableKind::Stream => ("STREAM", None),
        TableKind::Shared(sharing) => ("SHARED", Some(sharing)),
    };
    let level = |sharing: &Sharing| match sharing.access {
        AccessLevel::Private => "PRIVATE",
        AccessLevel::Read => "READ",
        AccessLevel::Write => "WRITE",
    };
    let owner = sharing.and_then(|sharing| sharing.owner_column).and_then(column);
    vec![
        text(schema.name.namespace.as_str()),
        text(schema.name.table.as_str()),
        text(kind),
        Value::Integer(schema.version.0.into()),
        text(&key.join(", ")),
        schema.ttl_seconds.map_or(Value::Null, |seconds| Value::Integer(seconds.into())),
        sharing.map_or(Value::Null, |sharing| text(level(sharing))),
        owner.map_or(Value::Null, text),
    ]
}

fn column_rows(schema: &TableSchema) -> impl Iterator<Item = Vec<Value>> {
    (1..).zip(&schema.columns).map(|(position, column)| {
        vec![
            text(schema.name.namespace.as_str()),
            text(schema.name.table.as_str()),
            text(column.name.as_str()),
            Value::Integer(position),
            text(&column.column_type.to_string()),
            Value::Boolean(column.not_null),
            column.default.as_ref().map_or(Value::Null, |default| text(&written(column, default))),
            text(match column.merge {
                MergeRule::Last => "LAST",
                MergeRule::Add => "ADD",
            }),
        ]
    })
}

/// A default as one writes it.
fn written(column: &Column, default: &ColumnDefault) -> String {
    let value = match default {
        ColumnDefault::Now => return "NOW()".to_owned(),
        ColumnDefault::SnowflakeId => return "SNOWFLAKE_ID()".to_owned(),
        ColumnDefault::UuidV7 => return "UUID_V7()".to_owned(),
        ColumnDefault::CurrentUser => return "CURRENT_USER()".to_owned(),
        ColumnDefault::Value(value) => value,
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match value.as_ref() {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Boolean(value) => value.to_string().to_uppercase(),
        ValueRef::Integer(micros) if column.column_type == ColumnType::Timestamp => {
            timestamp::format(micros).map_or_else(|| micros.to_string(), |text| quoted(&text))
        }
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Double(number) => format!("{:?}", number.get()),
        ValueRef::Text(text) => quoted(text),
        ValueRef::Bytes(bytes) => {
            let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X'{}'", digits.concat())
        }
        ValueRef::Uuid(uuid) => quoted(&protocol::literal::uuid_text(*uuid)),
    }
}

/// Names and literals have no U+0000.
fn text(text: &str) -> Value {
    Value::text(text).unwrap_or(Value::Null)
}
