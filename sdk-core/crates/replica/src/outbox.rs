//! What applications have written and the server has not decided.

use protocol::codec;
use protocol::ids::{Lane, TableId};
use protocol::limits::{COMMIT_BYTES_MAX, OPERATIONS_MAX};
use protocol::mutation::{Action, ColumnValue, Mutation, MutationDigest, Operation};
use protocol::schema::TableSchema;
use protocol::value::Row;
use rusqlite::{Connection, params};
use sdk_machine::{MutationId, Place, StoredMutation};

use crate::error::ReplicaError;
use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_MUTATIONS_MAX};
use crate::table::{Table, Tables};
use crate::values::{Bound, key_of_shown, read, shown_key};

/// How large the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutboxSize {
    /// The last id or place that was ever in it.
    pub(crate) last: MutationId,
    /// With what was rejected and is not dealt with.
    pub(crate) mutations: i64,
    /// Those of the operations, and all that is kept of what was rejected.
    pub(crate) bytes: i64,
    /// How many are held back.
    pub(crate) held: i64,
}

impl OutboxSize {
    /// One more.
    pub(crate) fn count(&mut self, added: &Added) {
        self.last = added.id;
        self.mutations += 1;
        self.bytes += i64::try_from(added.bytes).unwrap_or(i64::MAX);
        self.held += i64::from(added.stored.is_none());
    }
}

/// How a mutation is stored, beside what it does.
pub(crate) struct Adding<'a> {
    pub(crate) lane: &'a Lane,
    /// Microseconds since 1970.
    pub(crate) written_at: i64,
    pub(crate) queue: Option<&'a str>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) online: bool,
    pub(crate) is_held: bool,
    /// Whether it has a request.
    pub(crate) requested: bool,
}

/// A mutation that was stored.
pub(crate) struct Added {
    pub(crate) id: MutationId,
    bytes: usize,
    /// What is to be sent, unless it is held back.
    pub(crate) stored: Option<StoredMutation>,
}

/// An operation on its way to the outbox, and the row that it is about.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) operation: Operation,
    pub(crate) key: Row,
}

impl Draft {
    pub(crate) fn new(table: &Table, key: Row, action: Action) -> Self {
        let TableSchema { id: table, version, .. } = table.schema;
        Self { operation: Operation { table, version, action, guard: None }, key }
    }
}

/// Stores a mutation behind all others, of which `size` is said.
pub(crate) fn add(
    connection: &Connection,
    size: OutboxSize,
    adding: &Adding<'_>,
    drafts: &[Draft],
) -> Result<Added, ReplicaError> {
    let encoded: Vec<Vec<u8>> =
        drafts.iter().map(|draft| codec::encode(&draft.operation)).collect();
    let bytes: usize = encoded.iter().map(Vec::len).sum();
    if drafts.len() > OPERATIONS_MAX || bytes > COMMIT_BYTES_MAX {
        return Err(ReplicaError::TooLarge(format!(
            "one write has at most {OPERATIONS_MAX} rows and {COMMIT_BYTES_MAX} bytes, this one {} \
             and {bytes}: split it into several",
            drafts.len()
        )));
    }
    let added = i64::try_from(bytes).unwrap_or(i64::MAX);
    let is_full = size.bytes.saturating_add(added) > OUTBOX_BYTES_MAX;
    if is_full || size.mutations >= OUTBOX_MUTATIONS_MAX {
        return Err(ReplicaError::OutboxFull);
    }
    let id = size.last.0 + 1;
    let operations = drafts.iter().map(|draft| draft.operation.clone()).collect();
    let digest = MutationDigest::of(&Mutation { operations });
    // How another one was decided that had its id says nothing of it.
    connection.prepare_cached("DELETE FROM tw_decisions WHERE id = ?1")?.execute([id])?;
    connection
        .prepare_cached(
            "INSERT INTO tw_outbox
             (id, lane, written_at, bytes, digest, place, queue, expires_at, online, requested)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            id,
            adding.lane.to_string(),
            adding.written_at,
            added,
            digest.0,
            (!adding.is_held).then_some(id),
            adding.queue,
            adding.expires_at,
            adding.online,
            adding.requested
        ])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO tw_operations (mutation, place, table_id, key, operation)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (place, (draft, bytes)) in (0_i64..).zip(drafts.iter().zip(&encoded)) {
        let (table, key) = (draft.operation.table.0, shown_key(&draft.key));
        insert.execute(params![id, place, table, Bound(&key), bytes])?;
    }
    let (place, id, lane) = (Place(id), MutationId(id), adding.lane.clone());
    let stored = StoredMutation { id, place, lane, digest, bytes, is_cancelled: false };
    Ok(Added { id, bytes, stored: (!adding.is_held).then_some(stored) })
}

/// How much is stored: what was taken back is there until it has been told.
pub(crate) fn size(connection: &Connection) -> Result<OutboxSize, ReplicaError> {
    let sql = "SELECT (SELECT last_mutation FROM tw_replica), coalesce(max(id), 0),
               coalesce(max(place), 0), count(*), coalesce(sum(bytes), 0), count(*) - count(place),
               (SELECT count(*) FROM tw_rejected),
               (SELECT coalesce(sum(length(content) + coalesce(length(verdict), 0)
                                    + coalesce(length(server), 0)), 0)
                FROM tw_rejected) FROM tw_outbox";
    let size = |row: &rusqlite::Row<'_>| {
        let last: i64 = row.get::<_, i64>(0)?.max(row.get(1)?).max(row.get(2)?);
        let mutations = row.get::<_, i64>(3)? + row.get::<_, i64>(6)?;
        let bytes = row.get::<_, i64>(4)? + row.get::<_, i64>(7)?;
        Ok(OutboxSize { last: MutationId(last), mutations, bytes, held: row.get(5)? })
    };
    Ok(connection.query_row(sql, [], size)?)
}

/// Whether writes wait for rows of a table.
pub(crate) fn has_pending(connection: &Connection, table: TableId) -> Result<bool, ReplicaError> {
    let sql = "SELECT 1 FROM tw_operations WHERE table_id = ?1 LIMIT 1";
    Ok(connection.prepare_cached(sql)?.exists([table.0])?)
}

/// Whether writes wait for a row.
pub(crate) fn is_pending(
    connection: &Connection,
    table: TableId,
    key: &Row,
) -> Result<bool, ReplicaError> {
    let sql = "SELECT 1 FROM tw_operations WHERE table_id = ?1 AND key = ?2 LIMIT 1";
    let key = shown_key(key);
    Ok(connection.prepare_cached(sql)?.exists(params![table.0, Bound(&key)])?)
}

/// The operations that wait for a row, in the order in which they are sent and with what is held back
/// behind all others, each with the time at which it was written.
/// What cannot be read, or is of another row by what it says, shows nothing.
pub(crate) fn of_row(
    connection: &Connection,
    schema: &TableSchema,
    key: &Row,
) -> Result<Vec<(i64, Operation)>, ReplicaError> {
    let mut select = connection.prepare_cached(
        "SELECT o.written_at, p.operation FROM tw_operations p JOIN tw_outbox o ON o.id = p.mutation
         WHERE p.table_id = ?1 AND p.key = ?2
         ORDER BY o.place IS NULL, o.place, o.id, p.place",
    )?;
    let key = shown_key(key);
    let is_its =
        |operation: &Operation| key_of(schema, operation).is_some_and(|it| shown_key(&it) == key);
    let mut rows = select.query(params![schema.id.0, Bound(&key)])?;
    let mut operations = Vec::new();
    while let Some(row) = rows.next()? {
        let operation = decode(&row.get::<_, Vec<u8>>(1)?).ok().filter(is_its);
        if let Some(operation) = operation {
            operations.push((row.get(0)?, operation));
        }
    }
    Ok(operations)
}

/// The keys of the rows of a table for which writes wait, each once.
pub(crate) fn keys(
    connection: &Connection,
    schema: &TableSchema,
) -> Result<Vec<Row>, ReplicaError> {
    let mut select =
        connection.prepare_cached("SELECT DISTINCT key FROM tw_operations WHERE table_id = ?1")?;
    let mut rows = select.query([schema.id.0])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.extend(read(row.get_ref(0)?).and_then(|shown| key_of_shown(schema, &shown)));
    }
    Ok(keys)
}

/// What a mutation does is not in the outbox any more. Gives the rows that it wrote, each once: what it did
/// need not be readable for that.
pub(crate) fn take_operations(
    connection: &Connection,
    tables: &Tables,
    id: MutationId,
) -> Result<Vec<(TableId, Row)>, ReplicaError> {
    let mut select = connection
        .prepare_cached("SELECT DISTINCT table_id, key FROM tw_operations WHERE mutation = ?1")?;
    let mut rows = select.query([id.0])?;
    let mut written = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(table) = tables.get(TableId(row.get(0)?)) else { continue };
        let key = read(row.get_ref(1)?).and_then(|shown| key_of_shown(&table.schema, &shown));
        written.extend(key.map(|key| (table.schema.id, key)));
    }
    let sql = "DELETE FROM tw_operations WHERE mutation = ?1";
    connection.prepare_cached(sql)?.execute([id.0])?;
    Ok(written)
}

/// The row that an operation is about.
pub(crate) fn key_of(schema: &TableSchema, operation: &Operation) -> Option<Row> {
    match &operation.action {
        Action::Patch { key, .. } | Action::Delete { key } => Some(key.clone()),
        Action::Insert(values) | Action::Upsert(values) => {
            let value = |id| {
                let named = values.iter().find(|ColumnValue(column, _)| column == id);
                named.map(|ColumnValue(_, value)| value.clone())
            };
            schema.primary_key.iter().map(value).collect()
        }
    }
}

/// One operation.
pub(crate) fn decode(bytes: &[u8]) -> Result<Operation, ReplicaError> {
    codec::decode(bytes, COMMIT_BYTES_MAX).map_err(|_| ReplicaError::Damaged)
}

/// A whole mutation.
pub(crate) fn decode_content(bytes: &[u8]) -> Result<Mutation, ReplicaError> {
    codec::decode(bytes, 2 * COMMIT_BYTES_MAX).map_err(|_| ReplicaError::Damaged)
}

/// Notes an operation on a row that is not here, or what is expected of a row: that has a guard.
pub(crate) fn add_direct(connection: &Connection, draft: &Draft) -> Result<(), ReplicaError> {
    let key = shown_key(&draft.key);
    connection
        .prepare_cached("INSERT INTO tw_log_direct (table_id, key, operation) VALUES (?1, ?2, ?3)")?
        .execute(params![draft.operation.table.0, Bound(&key), codec::encode(&draft.operation)])?;
    Ok(())
}

/// Whether the last that waits for a row, in this transaction or before it, is its end.
pub(crate) fn is_deleted(
    connection: &Connection,
    schema: &TableSchema,
    key: &Row,
) -> Result<bool, ReplicaError> {
    let shown = shown_key(key);
    let mut select = connection.prepare_cached(
        "SELECT operation FROM tw_log_direct WHERE table_id = ?1 AND key = ?2 ORDER BY place DESC",
    )?;
    let mut rows = select.query(params![schema.id.0, Bound(&shown)])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let operation = decode(&row.get::<_, Vec<u8>>(0)?)?;
        // What is expected of it is in the same log.
        if operation.guard.is_none() {
            last = Some(operation);
            break;
        }
    }
    let last = match last {
        Some(last) => Some(last),
        None => of_row(connection, schema, key)?.pop().map(|(_, operation)| operation),
    };
    Ok(last.is_some_and(|last| matches!(last.action, Action::Delete { .. })))
}

/// What a transaction does to rows that are not here, and what it expects. It is in the log no longer.
pub(crate) fn take_direct(
    connection: &Connection,
    tables: &Tables,
) -> Result<Vec<Draft>, ReplicaError> {
    let mut drafts = Vec::new();
    let mut select = connection
        .prepare_cached("SELECT table_id, operation FROM tw_log_direct ORDER BY place")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let schema = &tables.get(TableId(row.get(0)?))?.schema;
        let operation = decode(&row.get::<_, Vec<u8>>(1)?)?;
        let key = key_of(schema, &operation).ok_or(ReplicaError::Damaged)?;
        drafts.push(Draft { operation, key });
    }
    connection.prepare_cached("DELETE FROM tw_log_direct")?.execute([])?;
    Ok(drafts)
}

/// What a mutation does.
pub(crate) fn operations(
    connection: &Connection,
    id: MutationId,
) -> Result<Vec<Operation>, ReplicaError> {
    let mut select = connection
        .prepare_cached("SELECT operation FROM tw_operations WHERE mutation = ?1 ORDER BY place")?;
    let mut rows = select.query([id.0])?;
    let mut operations = Vec::new();
    while let Some(row) = rows.next()? {
        operations.push(decode(&row.get::<_, Vec<u8>>(0)?)?);
    }
    Ok(operations)
}

/// Puts what is expected of rows to the first operation on each; in front of all others, as an operation
/// that changes nothing, where there is none or it expects something already. Where nothing is
/// written, there is nothing to expect.
pub(crate) fn guard(drafts: &mut Vec<Draft>, expected: &[Draft]) {
    if drafts.is_empty() {
        return;
    }
    let mut in_front = Vec::new();
    for wanted in expected {
        let table = wanted.operation.table;
        let first =
            drafts.iter_mut().find(|it| it.operation.table == table && it.key == wanted.key);
        match first {
            Some(first) if first.operation.guard.is_none() => {
                first.operation.guard.clone_from(&wanted.operation.guard);
            }
            _ => in_front.push(wanted.clone()),
        }
    }
    drafts.splice(0..0, in_front);
}
