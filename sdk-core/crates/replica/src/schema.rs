//! Which tables there are for the user, as the server says, also those that nothing is subscribed to:
//! they are made in the file, so that an application can read and write them.
//!
//! A table that is subscribed to follows its subscriptions, and not what is said here: only they say
//! when the rows that are held have the columns that are new. A table that takes the name of another
//! one, which was dropped, waits for what was written to that one and is not decided.

use protocol::codec;
use protocol::frame::v1::AllowedTable;
use protocol::schema::TableSchema;
use rusqlite::params;
use sdk_machine::StoredSchema;

use crate::allowed::Allowed;
use crate::error::ReplicaError;
use crate::outbox;
use crate::replica::Replica;
use crate::rows::Left;

impl Replica {
    /// Stores what the server has said. Tables are made of it at the end of the step.
    pub(crate) fn put_schema(
        &mut self,
        stored: &StoredSchema,
        tables: &[AllowedTable],
    ) -> Result<(), ReplicaError> {
        let connection = &self.connection;
        connection.execute("DELETE FROM tw_schema", [])?;
        let mut insert = connection
            .prepare_cached("INSERT INTO tw_schema (id, writable, schema) VALUES (?1, ?2, ?3)")?;
        for AllowedTable { table, writable } in tables {
            let before = self.allowed.tables.get(&table.id).map(|before| &before.table);
            // What is known of a later version is not forgotten for an earlier one.
            let table = before.filter(|before| before.version > table.version).unwrap_or(table);
            insert.execute(params![table.id.0, writable, codec::encode(table)])?;
        }
        drop(insert);
        let revision = i64::from_ne_bytes(stored.revision.to_ne_bytes());
        connection.execute(
            "UPDATE tw_replica SET schema_version = ?1, schema_revision = ?2",
            params![stored.version.as_bytes(), revision],
        )?;
        self.allowed = Allowed::load(connection, &self.tables)?;
        Ok(())
    }

    /// Makes the tables, and changes those that nothing is subscribed to, as far as nothing is in the
    /// way; what is, is tried again with the next step. Says whether it has done anything.
    pub(crate) fn follow_schema(&mut self) -> Result<bool, ReplicaError> {
        let mut left = Left::default();
        let mut has_changed = false;
        for id in self.allowed.waiting.clone() {
            let Some(schema) = self.allowed.tables.get(&id).map(|it| it.table.clone()) else {
                continue;
            };
            if self.is_in_the_way(&schema)? {
                continue;
            }
            let was_made = self.tables.0.contains_key(&id);
            let is_other = self.ensure_table(&schema)?;
            self.allowed.waiting.remove(&id);
            has_changed |= is_other;
            if is_other && was_made {
                left.changed(id);
            }
        }
        self.with_rows(&mut left, |rows| rows.finish())?;
        Ok(has_changed)
    }

    /// Makes a table, or changes it. Says whether it has done anything.
    pub(crate) fn ensure_table(&mut self, schema: &TableSchema) -> Result<bool, ReplicaError> {
        let done = self.tables.ensure(&self.connection, schema)?;
        let is_other = done.is_some();
        self.note_dropped(done.unwrap_or_default());
        Ok(is_other)
    }

    /// Whether a table cannot be as it is described yet.
    fn is_in_the_way(&self, schema: &TableSchema) -> Result<bool, ReplicaError> {
        let is_subscribed = |id| self.known.values().any(|known| known.table.id == id);
        let made = self.tables.0.get(&schema.id).map(|made| made.schema.version);
        if made.is_some_and(|made| made < schema.version) && is_subscribed(schema.id) {
            return Ok(true);
        }
        match self.tables.named(&schema.name.in_replica()).map(|table| table.schema.id) {
            Some(other) if other != schema.id => {
                Ok(is_subscribed(other) || outbox::has_pending(&self.connection, other)?)
            }
            _ => Ok(false),
        }
    }
}
