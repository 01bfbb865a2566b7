//! What was written, on its way out and back: the frames that the machine wants sent, and what becomes
//! of what was in them.

use protocol::codec;
use protocol::frame::v1::{Mutate, RowNow, TableNow, Written};
use protocol::mutation::{Mutation, MutationDigest};
use protocol::value::Row;
use rusqlite::{Connection, OptionalExtension, params};
use sdk_machine::{MutationId, Outgoing, Settled};

use crate::error::ReplicaError;
use crate::outbox::{key_of, operations};
use crate::replica::Replica;
use crate::rows::Left;

impl Replica {
    /// The frame that the machine wants sent.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn mutate(&self, outgoing: &Outgoing) -> Result<Mutate, ReplicaError> {
        let Outgoing { lane, client, since, epoch, first, previous, mutations, confirmed } =
            outgoing.clone();
        let mutations: Result<Vec<_>, _> =
            mutations.iter().map(|id| written(&self.connection, *id)).collect();
        let mutations = mutations?;
        Ok(Mutate { lane, client, since, epoch, first, previous, mutations, confirmed })
    }

    /// A mutation waits no longer; the rows that it names are to be shown anew.
    pub(crate) fn settle(
        &mut self,
        id: MutationId,
        settled: &Settled,
        left: &mut Left,
    ) -> Result<(), ReplicaError> {
        let connection = &self.connection;
        let found = connection
            .prepare_cached("SELECT bytes, cancelled IS NOT NULL FROM tw_outbox WHERE id = ?1")?
            .query_row([id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)));
        let (bytes, is_cancelled) = found?;
        let operations = operations(connection, id)?;
        let verdict = match settled {
            Settled::Accepted(_) => None,
            Settled::Rejected(rejection) => Some(Some(codec::encode(rejection))),
            Settled::Uncertain => Some(None),
        };
        for operation in &operations {
            let Ok(table) = self.tables.get(operation.table) else { continue };
            if let Some(key) = key_of(&table.schema, operation) {
                left.stale(table.schema.id, key);
            }
        }
        if let Some(verdict) = verdict.filter(|_| !is_cancelled) {
            let content = codec::encode(&Mutation { operations });
            connection
                .prepare_cached(
                    "INSERT INTO tw_rejected (id, lane, written_at, content, verdict)
                     SELECT id, lane, written_at, ?2, ?3 FROM tw_outbox WHERE id = ?1",
                )?
                .execute(params![id.0, content, verdict])?;
        }
        connection
            .prepare_cached("DELETE FROM tw_operations WHERE mutation = ?1")?
            .execute([id.0])?;
        connection.prepare_cached("DELETE FROM tw_outbox WHERE id = ?1")?.execute([id.0])?;
        // Its id is used by no other one.
        if id == self.outbox.last {
            connection
                .prepare_cached("UPDATE tw_replica SET last_mutation = max(last_mutation, ?1)")?
                .execute([id.0])?;
        }
        self.outbox.mutations -= 1;
        self.outbox.bytes -= bytes;
        Ok(())
    }
}

impl crate::rows::Rows<'_> {
    /// Rows as the server has them. They count where nobody holds the row, or only until it is loaded
    /// anew, and writes wait for it.
    pub(crate) fn now(&mut self, now: &TableNow) -> Result<(), ReplicaError> {
        // What a device does not know, it does not show.
        let Some(table) = self.tables.0.get(&now.table) else { return Ok(()) };
        for row in &now.rows {
            let (birth, values, expiry) = match row {
                RowNow::Row(birth, row) => (*birth, row, None),
                RowNow::Expiring(birth, row, expiry) => (*birth, row, Some(*expiry)),
                RowNow::Gone(key) => {
                    self.gone_now(table, key)?;
                    continue;
                }
            };
            if values.len() != now.columns.len() {
                return Err(ReplicaError::Inconsistent("a row has other columns than it says"));
            }
            let value = |id| {
                let place = now.columns.iter().position(|column| column == id)?;
                values.0.get(place).cloned()
            };
            let key: Option<Row> = table.schema.primary_key.iter().map(value).collect();
            let key = key.ok_or(ReplicaError::Inconsistent("a row without its primary key"))?;
            self.row_now(table, &key, now, (birth, values, expiry))?;
        }
        Ok(())
    }
}

fn written(connection: &Connection, id: MutationId) -> Result<Written, ReplicaError> {
    let digest = connection
        .prepare_cached("SELECT digest FROM tw_outbox WHERE id = ?1 AND cancelled IS NOT NULL")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    Ok(match digest {
        Some(digest) => Written::Cancelled(MutationDigest(digest)),
        None => Written::Mutation(Mutation { operations: operations(connection, id)? }),
    })
}
