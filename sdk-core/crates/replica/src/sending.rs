//! What was written, on its way out and back: the frames that the machine wants sent, and what becomes
//! of what was in them.

use protocol::frame::v1::{Mutate, RowNow, TableNow, Written};
use protocol::mutation::{Mutation, MutationDigest};
use protocol::value::Row;
use rusqlite::Connection;
use sdk_machine::{MutationId, Outgoing, Settled};

use crate::decisions::Decision;
use crate::error::ReplicaError;
use crate::outbox::{operations, take_operations};
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
        if !matches!(settled, Settled::Accepted(_)) {
            let content = match written(&self.connection, id) {
                Ok(Written::Mutation(content)) => Some(content),
                Ok(Written::Cancelled(_)) => None,
                // What it was is not known any more, and it must not be written again as another one.
                Err(ReplicaError::Unreadable(_)) => Some(Mutation { operations: Vec::new() }),
                Err(error) => return Err(error),
            };
            if let Some(content) = content {
                self.keep_rejected(id, &content, settled)?;
            }
        }
        self.decide(id, &Decision::from(settled))?;
        for (table, key) in take_operations(&self.connection, &self.tables, id)? {
            left.stale(table, key);
        }
        self.forget(id)
    }

    /// It is not in the outbox any more. Its id and its place are used by no other one.
    pub(crate) fn forget(&mut self, id: MutationId) -> Result<(), ReplicaError> {
        let sql = "DELETE FROM tw_outbox WHERE id = ?1 RETURNING bytes, place";
        let gone = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (bytes, place): (i64, Option<i64>) =
            self.connection.prepare_cached(sql)?.query_row([id.0], gone)?;
        let last = self.outbox.last.0;
        if id.0 == last || place == Some(last) {
            self.connection
                .prepare_cached("UPDATE tw_replica SET last_mutation = max(last_mutation, ?1)")?
                .execute([last])?;
        }
        self.outbox.mutations -= 1;
        self.outbox.bytes -= bytes;
        self.outbox.held -= i64::from(place.is_none());
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

/// A mutation as it is sent. What it does has to be what was stored: the chained hash is over that.
fn written(connection: &Connection, id: MutationId) -> Result<Written, ReplicaError> {
    let sql = "SELECT digest, cancelled IS NOT NULL FROM tw_outbox WHERE id = ?1";
    let stored = |row: &rusqlite::Row<'_>| Ok((MutationDigest(row.get(0)?), row.get(1)?));
    let (digest, is_cancelled) = connection.prepare_cached(sql)?.query_row([id.0], stored)?;
    if is_cancelled {
        return Ok(Written::Cancelled(digest));
    }
    match operations(connection, id) {
        Ok(operations) => {
            let written = Written::Mutation(Mutation { operations });
            let is_whole = written.digest() == digest;
            is_whole.then_some(written).ok_or(ReplicaError::Unreadable(id))
        }
        Err(ReplicaError::Damaged) => Err(ReplicaError::Unreadable(id)),
        Err(error) => Err(error),
    }
}
