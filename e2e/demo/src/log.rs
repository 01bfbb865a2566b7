//! The log that the demo applies: the same entries whenever it is asked for them.

use protocol::ids::{ColumnId, Epoch, Lane, Name, SchemaVersion, TableId, TenantId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use server_engine::{Actor, Command, Entry, Role, ShardNumber, Slot, Time, Write};

use crate::Outcome;

pub(crate) const SHARD: ShardNumber = ShardNumber(1);
pub(crate) const EPOCH: Epoch = Epoch::from_bytes(*b"a demo's history");
pub(crate) const MESSAGES: TableId = TableId(1);
pub(crate) const ID: ColumnId = ColumnId(0);
pub(crate) const ROOM: ColumnId = ColumnId(1);
pub(crate) const BODY: ColumnId = ColumnId(2);

/// The users, who write in turn.
pub(crate) const USERS: [&str; 2] = ["ann", "bob"];

/// Messages of one entry.
pub(crate) const MESSAGES_AN_ENTRY: u64 = 100;

const BODIES: [&str; 4] =
    ["anyone around?", "the tide is coming in", "see you at the pier", "The Tide Inn, at eight?"];

pub(crate) fn table() -> Outcome<TableSchema> {
    let column = |id, name: &str, column_type| -> Outcome<Column> {
        let (name, merge) = (Name::new(name)?, MergeRule::Last);
        Ok(Column { id, name, column_type, not_null: true, default: None, merge })
    };
    let table = TableSchema {
        id: MESSAGES,
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

pub(crate) fn lane(user: &str) -> Outcome<Lane> {
    Ok(Lane::User(TenantId::new(user)?))
}

/// Whose the n-th message is, from 0.
pub(crate) fn user_of(number: u64) -> &'static str {
    if number.is_multiple_of(2) { USERS[0] } else { USERS[1] }
}

/// The room and the text of the n-th message.
pub(crate) fn message(number: u64) -> (i64, &'static str) {
    let (room, body) = (number / 2 % 10, number / 2 % 4);
    (room.cast_signed(), BODIES[usize::try_from(body).unwrap_or(0)])
}

/// The n-th entry of the log, from 0. The first one founds the shard.
pub(crate) fn entry(number: u64) -> Outcome<Entry> {
    let time = Time(i64::try_from(number)? * 1_000_000);
    let Some(before) = number.checked_sub(1) else {
        let found = Command::Found { slots: Slot::all().collect(), epoch: EPOCH };
        return Ok(Entry::new(time, vec![found, Command::Define(Box::new(table()?))]));
    };
    let first = before * MESSAGES_AN_ENTRY;
    let commands: Outcome<Vec<Command>> = (first..first + MESSAGES_AN_ENTRY)
        .map(|number| {
            let (room, body) = message(number);
            let row =
                [Value::Integer(number.try_into()?), Value::Integer(room), Value::text(body)?];
            let columns = [ID, ROOM, BODY];
            let values = columns.into_iter().zip(row).map(|(column, v)| ColumnValue(column, v));
            write(user_of(number), Action::Insert(values.collect()))
        })
        .collect();
    Ok(Entry::new(time, commands?))
}

/// A message gets another text.
pub(crate) fn edit(user: &str, id: i64, body: String) -> Outcome<Command> {
    let key = Row(vec![Value::Integer(id)]);
    let changes = vec![ColumnChange::Set(ColumnValue(BODY, Value::text(body)?))];
    write(user, Action::Patch { key, changes })
}

pub(crate) fn delete(user: &str, id: i64) -> Outcome<Command> {
    write(user, Action::Delete { key: Row(vec![Value::Integer(id)]) })
}

fn write(user: &str, action: Action) -> Outcome<Command> {
    let operation = Operation { table: MESSAGES, version: SchemaVersion(1), action, guard: None };
    let actor = Actor { user: TenantId::new(user)?, role: Role::User };
    let (lane, operations) = (lane(user)?, vec![operation]);
    Ok(Command::Write(Write { lane, actor, operations, request: None }))
}
