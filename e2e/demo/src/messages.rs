//! The messages of the demo, and how they lie in its store.

use std::path::Path;

use protocol::codec::{decode as decode_message, encode};
use protocol::ids::{ColumnId, Name, SchemaVersion, TableId};
use protocol::limits::ROW_BYTES_MAX;
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use server_storage::key::KeyWriter;
use server_storage::{Access, Batch, Family, Journal, Layout, Removal, RocksOptions, RocksStore};

use crate::Outcome;

pub(crate) const MESSAGES: Family =
    Family { name: "messages", access: Access::Ranges, removal: Removal::Any };
pub(crate) const COUNT: Family =
    Family { name: "count", access: Access::Points, removal: Removal::Any };
pub(crate) const COUNT_KEY: &[u8] = b"messages";

pub(crate) const ID: ColumnId = ColumnId(0);
pub(crate) const ROOM: ColumnId = ColumnId(1);
pub(crate) const BODY: ColumnId = ColumnId(2);

const BODIES: [&str; 4] =
    ["anyone around?", "the tide is coming in", "see you at the pier", "The Tide Inn, at eight?"];

pub(crate) fn open(directory: &Path) -> Outcome<RocksStore> {
    let layout = Layout { families: &[MESSAGES, COUNT], journal: Journal::Elsewhere };
    Ok(RocksStore::open(directory, layout, &RocksOptions::default())?)
}

pub(crate) fn table() -> Outcome<TableSchema> {
    let column = |id, name: &str, column_type| -> Outcome<Column> {
        let (name, merge) = (Name::new(name)?, MergeRule::Last);
        Ok(Column { id, name, column_type, not_null: true, default: None, merge })
    };
    let table = TableSchema {
        id: TableId(1),
        name: "chat.messages".parse()?,
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(ID, "id", ColumnType::BigInt)?,
            column(ROOM, "room", ColumnType::BigInt)?,
            column(BODY, "body", ColumnType::Text)?,
        ],
        primary_key: vec![ID],
        indexes: Vec::new(),
        ttl_seconds: None,
    };
    table.check()?;
    Ok(table)
}

/// The n-th message, from 1.
pub(crate) fn message(number: u64) -> Outcome<Row> {
    let body = BODIES[usize::try_from(number)? % BODIES.len()];
    let room = i64::try_from(number % 10)?;
    Ok(Row(vec![Value::Integer(number.try_into()?), Value::Integer(room), Value::text(body)?]))
}

/// Which of the first `count` messages are in room 7 and speak of the tide, in lower case.
pub(crate) fn numbers_with_tide_in_room_7(count: u64) -> impl Iterator<Item = i64> {
    (1..=count).filter(|number| number % 10 == 7 && number % 4 == 1).map(u64::cast_signed)
}

/// The batch that stores the n-th message and counts it.
pub(crate) fn batch(number: u64) -> Outcome<Batch> {
    let mut batch = Batch::new();
    batch.put(MESSAGES, KeyWriter::new().u64(number).finish(), encode(&message(number)?));
    batch.put(COUNT, COUNT_KEY, number.to_be_bytes());
    Ok(batch)
}

pub(crate) fn decode(bytes: &[u8]) -> Outcome<Row> {
    Ok(decode_message(bytes, ROW_BYTES_MAX)?)
}
