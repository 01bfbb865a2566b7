//! What applications have written and the server has not decided.

use std::collections::HashSet;

use protocol::codec;
use protocol::ids::{Lane, TableId, TableName};
use protocol::limits::{COMMIT_BYTES_MAX, OPERATIONS_MAX};
use protocol::mutation::{Action, ColumnValue, Mutation, Operation};
use protocol::schema::TableSchema;
use protocol::value::{Row, Value};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::ReplicaError;
use crate::rebase;
use crate::replica::{Changed, Replica};
use crate::tables::Tables;
use crate::values::{Bound, read, shown_key};

/// Most mutations that wait on a device.
pub const OUTBOX_MUTATIONS_MAX: i64 = 100_000;

/// Most bytes of operations that wait on a device.
pub const OUTBOX_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// Names a mutation on this device, as long as the replica exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MutationId(pub i64);

/// A mutation that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingMutation {
    /// Which.
    pub id: MutationId,
    /// Its lane.
    pub lane: Lane,
    /// When it was written: microseconds since 1970, UTC.
    pub written_at: i64,
    /// The rows that it writes: the table, and the key as `tw_pending` has it. A table that is not
    /// here any more has no name.
    pub rows: Vec<(Option<TableName>, Value)>,
}

/// How large the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutboxSize {
    /// The last one that was ever in it.
    pub(crate) last: MutationId,
    pub(crate) mutations: i64,
    /// Those of the operations.
    pub(crate) bytes: i64,
}

/// An operation on its way to the outbox, and the row that it is about.
pub(crate) struct Draft {
    pub(crate) operation: Operation,
    pub(crate) key: Row,
}

/// Stores a mutation behind all others, of which `size` is said. Says how large it is.
pub(crate) fn add(
    connection: &Connection,
    size: OutboxSize,
    lane: &Lane,
    written_at: i64,
    drafts: &[Draft],
) -> Result<(MutationId, i64), ReplicaError> {
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
    connection
        .prepare_cached(
            "INSERT INTO tw_outbox (id, lane, written_at, bytes) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, lane.to_string(), written_at, added])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO tw_operations (mutation, place, table_id, key, operation)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (place, (draft, bytes)) in (0_i64..).zip(drafts.iter().zip(&encoded)) {
        let (table, key) = (draft.operation.table.0, shown_key(&draft.key));
        insert.execute(params![id, place, table, Bound(&key), bytes])?;
    }
    Ok((MutationId(id), added))
}

/// How much is stored: what was taken back is there until it has been told.
pub(crate) fn size(connection: &Connection) -> Result<OutboxSize, ReplicaError> {
    let sql = "SELECT max(coalesce(max(id), 0), (SELECT last_mutation FROM tw_replica)), count(*),
               coalesce(sum(bytes), 0) FROM tw_outbox";
    let size = |row: &rusqlite::Row<'_>| {
        let last = MutationId(row.get(0)?);
        Ok(OutboxSize { last, mutations: row.get(1)?, bytes: row.get(2)? })
    };
    Ok(connection.query_row(sql, [], size)?)
}

/// Whether writes wait for rows of a table.
pub(crate) fn has_pending(connection: &Connection, table: TableId) -> Result<bool, ReplicaError> {
    let sql = "SELECT 1 FROM tw_operations WHERE table_id = ?1 LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([table.0], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// Whether writes wait for a row.
pub(crate) fn is_pending(
    connection: &Connection,
    table: TableId,
    key: &Row,
) -> Result<bool, ReplicaError> {
    let sql = "SELECT 1 FROM tw_operations WHERE table_id = ?1 AND key = ?2 LIMIT 1";
    let key = shown_key(key);
    let found =
        connection.prepare_cached(sql)?.query_row(params![table.0, Bound(&key)], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// The operations that wait for a row, in their order, each with the time at which it was written.
pub(crate) fn of_row(
    connection: &Connection,
    table: TableId,
    key: &Row,
) -> Result<Vec<(i64, Operation)>, ReplicaError> {
    let mut select = connection.prepare_cached(
        "SELECT o.written_at, p.operation FROM tw_operations p JOIN tw_outbox o ON o.id = p.mutation
         WHERE p.table_id = ?1 AND p.key = ?2 ORDER BY p.mutation, p.place",
    )?;
    let key = shown_key(key);
    let mut rows = select.query(params![table.0, Bound(&key)])?;
    let mut operations = Vec::new();
    while let Some(row) = rows.next()? {
        operations.push((row.get(0)?, decode(&row.get::<_, Vec<u8>>(1)?)?));
    }
    Ok(operations)
}

/// The keys of the rows of a table for which writes wait, each once.
pub(crate) fn keys(
    connection: &Connection,
    schema: &TableSchema,
) -> Result<Vec<Row>, ReplicaError> {
    let mut select = connection
        .prepare_cached("SELECT operation FROM tw_operations WHERE table_id = ?1 GROUP BY key")?;
    let mut rows = select.query([schema.id.0])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let operation: Operation = decode(&row.get::<_, Vec<u8>>(0)?)?;
        keys.extend(key_of(schema, &operation));
    }
    Ok(keys)
}

/// The row that an operation is about.
fn key_of(schema: &TableSchema, operation: &Operation) -> Option<Row> {
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

fn decode(bytes: &[u8]) -> Result<Operation, ReplicaError> {
    codec::decode(bytes, COMMIT_BYTES_MAX).map_err(|_| ReplicaError::Damaged)
}

/// Notes an operation on a row that is not here.
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
    table: TableId,
    key: &Row,
) -> Result<bool, ReplicaError> {
    let shown = shown_key(key);
    let last = connection
        .prepare_cached(
            "SELECT operation FROM tw_log_direct WHERE table_id = ?1 AND key = ?2
             ORDER BY place DESC LIMIT 1",
        )?
        .query_row(params![table.0, Bound(&shown)], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    let last = match last {
        Some(last) => Some(decode(&last)?),
        None => of_row(connection, table, key)?.pop().map(|(_, operation)| operation),
    };
    Ok(last.is_some_and(|last| matches!(last.action, Action::Delete { .. })))
}

/// What a transaction does to rows that are not here. It is in the log no longer.
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
fn operations(connection: &Connection, id: MutationId) -> Result<Vec<Operation>, ReplicaError> {
    let mut select = connection
        .prepare_cached("SELECT operation FROM tw_operations WHERE mutation = ?1 ORDER BY place")?;
    let mut rows = select.query([id.0])?;
    let mut operations = Vec::new();
    while let Some(row) = rows.next()? {
        operations.push(decode(&row.get::<_, Vec<u8>>(0)?)?);
    }
    Ok(operations)
}

impl Replica {
    /// Takes a mutation back, and undoes what it shows; those behind it stay. Says what has changed,
    /// or nothing where it is not waiting any more.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was done.
    pub fn cancel(&mut self, id: MutationId) -> Result<Option<Changed>, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE id = ?1 AND cancelled IS NULL";
        let found = self.connection.query_row(sql, [id.0], |_| Ok(()));
        if found.optional()?.is_none() {
            return Ok(None);
        }
        let mut changed = self.despite_the_app(|replica| {
            let connection = &replica.connection;
            let operations = operations(connection, id)?;
            connection.execute("DELETE FROM tw_operations WHERE mutation = ?1", [id.0])?;
            let mut done = HashSet::new();
            for operation in &operations {
                let Ok(table) = replica.tables.get(operation.table) else { continue };
                let Some(key) = key_of(&table.schema, operation) else { continue };
                // Once no write waits for it, a row is as any other.
                if done.insert((operation.table, key.clone())) {
                    rebase::row(connection, table, &key)?;
                }
            }
            // It takes its number when its turn comes, and that needs all that it was.
            let content = codec::encode(&Mutation { operations });
            let sql = "UPDATE tw_outbox SET cancelled = ?2 WHERE id = ?1";
            connection.execute(sql, params![id.0, content])?;
            Ok(false)
        })?;
        changed.tables.insert(crate::guard::PENDING.to_owned());
        Ok(Some(changed))
    }

    /// What waits, in the order in which it was written.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn pending(&self) -> Result<Vec<PendingMutation>, ReplicaError> {
        let mut select = self.connection.prepare_cached(
            "SELECT o.id, o.lane, o.written_at, p.table_id, p.key
             FROM tw_outbox o JOIN tw_operations p ON p.mutation = o.id
             WHERE o.cancelled IS NULL ORDER BY o.id, p.place",
        )?;
        let mut rows = select.query([])?;
        let mut pending: Vec<PendingMutation> = Vec::new();
        while let Some(row) = rows.next()? {
            let id = MutationId(row.get(0)?);
            let lane: String = row.get(1)?;
            let key = read(row.get_ref(4)?).ok_or(ReplicaError::Damaged)?;
            let written = (name(&self.tables, TableId(row.get(3)?)), key);
            match pending.last_mut().filter(|last| last.id == id) {
                Some(last) => last.rows.push(written),
                None => pending.push(PendingMutation {
                    id,
                    lane: lane.parse().map_err(|_| ReplicaError::Damaged)?,
                    written_at: row.get(2)?,
                    rows: vec![written],
                }),
            }
        }
        Ok(pending)
    }

    /// What a mutation that waits does, as it will be sent. `None` where it does not wait.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn mutation(&self, id: MutationId) -> Result<Option<Mutation>, ReplicaError> {
        let operations = operations(&self.connection, id)?;
        Ok((!operations.is_empty()).then_some(Mutation { operations }))
    }
}

fn name(tables: &Tables, id: TableId) -> Option<TableName> {
    tables.0.get(&id).map(|table| table.schema.name.clone())
}
