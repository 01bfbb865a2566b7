//! Replicated tables: made, and changed in place, as the server describes them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::codec;
use protocol::ids::TableId;
use protocol::limits::FRAME_BYTES_MAX;
use protocol::schema::{Column, TableSchema};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::ReplicaError;
use crate::local::made_on;
use crate::names::quoted;
use crate::surroundings::{create, declare, drop_triggers, renew};
use crate::table::{Table, Tables};
use crate::values::sqlite_type;

impl Tables {
    /// Those that a file has.
    pub(crate) fn load(connection: &Connection) -> Result<Self, ReplicaError> {
        let mut statement = connection.prepare("SELECT schema FROM tw_tables")?;
        let mut rows = statement.query([])?;
        let mut tables = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(0)?;
            let schema: TableSchema =
                codec::decode(&bytes, FRAME_BYTES_MAX).map_err(|_| ReplicaError::Damaged)?;
            tables.insert(schema.id, Table::new(schema));
        }
        Ok(Self(tables))
    }

    /// Makes a table, or changes it to what it is by now. Where anything was done, says what of the
    /// application has gone with another table that had its name.
    pub(crate) fn ensure(
        &mut self,
        connection: &Connection,
        schema: &TableSchema,
    ) -> Result<Option<Vec<String>>, ReplicaError> {
        if self.0.get(&schema.id).is_some_and(|known| known.schema.version >= schema.version) {
            return Ok(None);
        }
        let table = Table::new(schema.clone());
        let mut dropped = Vec::new();
        let known = match self.0.entry(schema.id) {
            Entry::Occupied(mut known) => Some(known.insert(table.clone())),
            Entry::Vacant(vacant) => {
                vacant.insert(table.clone());
                None
            }
        };
        match known {
            Some(known) => {
                connection.execute_batch(&drop_triggers(&table))?;
                change(connection, &known, &table, &table.name)?;
                change(connection, &known, &table, &table.base())?;
                declare(connection, &table)?;
            }
            None => {
                dropped = self.remove_named(connection, &table)?;
                create(connection, &table)?;
            }
        }
        renew(connection, &table)?;
        connection.execute(
            "INSERT INTO tw_tables (id, name, schema) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, schema = excluded.schema",
            params![schema.id.0, table.name, codec::encode(schema)],
        )?;
        Ok(Some(dropped))
    }

    /// Brings what lies around all tables to the present format of the file.
    pub(crate) fn renew(&self, connection: &Connection) -> Result<(), ReplicaError> {
        for table in self.0.values() {
            declare(connection, table)?;
            renew(connection, table)?;
        }
        Ok(())
    }

    /// Another table of the same name was dropped on the server, and with it what it had. Says what of that
    /// was the application's.
    fn remove_named(
        &mut self,
        connection: &Connection,
        by: &Table,
    ) -> Result<Vec<String>, ReplicaError> {
        let id = by.schema.id;
        let is_it = |(other, table): &(&TableId, &Table)| **other != id && table.name == by.name;
        let Some((old, table)) = self.0.iter().find(is_it) else { return Ok(Vec::new()) };
        let dropped = made_on(connection, &table.name)?;
        let (old, name, base, log) = (*old, by.quoted(), table.base(), table.log());
        connection
            .execute_batch(&format!("DROP TABLE {name}; DROP TABLE {base}; DROP TABLE {log}"))?;
        connection.execute("DELETE FROM tw_tables WHERE id = ?1", [old.0])?;
        self.0.remove(&old);
        Ok(dropped)
    }
}

/// Columns are added and never dropped: an index or view of the application may name them. What the
/// server has dropped reads as NULL, and gives its name back.
/// `place` is the table itself, or its base.
fn change(
    connection: &Connection,
    known: &Table,
    table: &Table,
    place: &str,
) -> Result<(), ReplicaError> {
    let name = quoted(place);
    for old in &known.schema.columns {
        if table.schema.column(old.id).is_none() {
            let column = quoted(old.name.as_str());
            connection.execute_batch(&format!("UPDATE {name} SET {column} = NULL"))?;
        }
    }
    let rename = |from: &str, to: &str| {
        let (from, to) = (quoted(from), quoted(to));
        connection.execute_batch(&format!("ALTER TABLE {name} RENAME COLUMN {from} TO {to}"))
    };
    let between = |column: &Column| format!("_renamed_{}", column.id.0);
    // Two columns may have changed names with each other.
    for column in &table.schema.columns {
        let old = known.schema.column(column.id).filter(|old| old.name != column.name);
        if let Some(old) = old {
            rename(old.name.as_str(), &between(column))?;
        }
    }
    for column in &table.schema.columns {
        let (wanted, old) = (column.name.as_str(), known.schema.column(column.id));
        if old.is_some_and(|old| old.name == column.name) {
            continue;
        }
        // One that was dropped, now or earlier, and may be of another type.
        if has_column(connection, place, wanted)? {
            rename(wanted, &format!("_dropped_{}", column.id.0))?;
        }
        match old {
            Some(_) => rename(&between(column), wanted)?,
            None => {
                let (wanted, of_type) = (quoted(wanted), sqlite_type(column, false));
                connection
                    .execute_batch(&format!("ALTER TABLE {name} ADD COLUMN {wanted} {of_type}"))?;
            }
        }
    }
    if table.has_expiry() && !known.has_expiry() {
        connection.execute_batch(&format!("ALTER TABLE {name} ADD COLUMN _expires INTEGER"))?;
    }
    Ok(())
}

fn has_column(connection: &Connection, place: &str, column: &str) -> Result<bool, ReplicaError> {
    let sql = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2";
    let found = connection.query_row(sql, [place, column], |_| Ok(()));
    Ok(found.optional()?.is_some())
}
