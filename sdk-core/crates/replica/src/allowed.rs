//! Which tables there are for the user, as the server has said last, and which of them may be written.

use std::collections::{BTreeMap, BTreeSet};

use protocol::codec;
use protocol::frame::v1::AllowedTable;
use protocol::ids::{SchemaHash, TableId};
use protocol::limits::FRAME_BYTES_MAX;
use protocol::schema::{AccessLevel, TableKind, TableSchema};
use rusqlite::{Connection, OptionalExtension};
use sdk_machine::StoredSchema;

use crate::error::ReplicaError;
use crate::table::{Table, Tables};

/// The tables that the server has named.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    /// Which description it is; the server has not said without.
    stored: Option<StoredSchema>,
    pub(crate) tables: BTreeMap<TableId, AllowedTable>,
    /// Those that are not in the file as they are described.
    pub(crate) waiting: BTreeSet<TableId>,
}

impl Allowed {
    /// What a file has.
    pub(crate) fn load(connection: &Connection, made: &Tables) -> Result<Self, ReplicaError> {
        let mut select = connection.prepare_cached("SELECT writable, schema FROM tw_schema")?;
        let mut rows = select.query([])?;
        let mut tables = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(1)?;
            let table: TableSchema =
                codec::decode(&bytes, FRAME_BYTES_MAX).map_err(|_| ReplicaError::Damaged)?;
            tables.insert(table.id, AllowedTable { writable: row.get(0)?, table });
        }
        let is_made = |table: &TableSchema| {
            made.0.get(&table.id).is_some_and(|made| made.schema.version >= table.version)
        };
        let waiting = tables.values().filter(|allowed| !is_made(&allowed.table));
        let waiting = waiting.map(|allowed| allowed.table.id).collect();
        Ok(Self { stored: stored(connection)?, tables, waiting })
    }

    pub(crate) fn stored(&self) -> Option<StoredSchema> {
        self.stored
    }

    /// Whether the user may write rows of a table.
    pub(crate) fn check_writable(&self, table: &Table) -> Result<(), ReplicaError> {
        let name = || table.schema.name.to_string();
        match self.tables.get(&table.schema.id) {
            Some(allowed) if allowed.writable => Ok(()),
            Some(_) => Err(ReplicaError::NotWritable(name())),
            None if self.stored.is_some() => Err(ReplicaError::Gone(name())),
            // A file of before, which the server has not described its tables to.
            None => match &table.schema.kind {
                TableKind::Shared(sharing) if sharing.access != AccessLevel::Write => {
                    Err(ReplicaError::NotWritable(name()))
                }
                _ => Ok(()),
            },
        }
    }
}

fn stored(connection: &Connection) -> Result<Option<StoredSchema>, ReplicaError> {
    let sql = "SELECT schema_version, schema_revision FROM tw_replica
               WHERE schema_version IS NOT NULL";
    let stored = connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    Ok(stored.map(|(version, revision)| StoredSchema {
        version: SchemaHash::from_bytes(version),
        revision: u64::from_ne_bytes(revision.to_ne_bytes()),
    }))
}
