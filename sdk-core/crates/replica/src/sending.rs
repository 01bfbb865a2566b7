//! What was written, on its way out and back: the frames that the machine wants sent, and what is
//! stored of how far they are.

use protocol::codec;
use protocol::frame::v1::{Mutate, RowNow, TableNow, Written};
use protocol::ids::{ClientId, ContentHash, Epoch, Lane, MutationNumber};
use protocol::mutation::{Mutation, MutationDigest};
use protocol::value::Row;
use rusqlite::{Connection, OptionalExtension, params};
use sdk_machine::{MutationId, Outgoing, Settled, StoredMutation, StoredWriter};

use crate::error::ReplicaError;
use crate::outbox::{decode_content, key_of, operations};
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

/// What waits, without what it does.
pub(crate) fn outbox(connection: &Connection) -> Result<Vec<StoredMutation>, ReplicaError> {
    let mut select = connection.prepare(
        "SELECT id, lane, digest, bytes, cancelled IS NOT NULL FROM tw_outbox ORDER BY id",
    )?;
    let mut rows = select.query([])?;
    let mut all: Vec<StoredMutation> = Vec::new();
    while let Some(row) = rows.next()? {
        let lane: String = row.get(1)?;
        let bytes: i64 = row.get(3)?;
        all.push(StoredMutation {
            id: MutationId(row.get(0)?),
            lane: lane.parse().map_err(|_| ReplicaError::Damaged)?,
            digest: MutationDigest(row.get(2)?),
            bytes: usize::try_from(bytes).unwrap_or(0),
            is_cancelled: row.get(4)?,
        });
    }
    Ok(all)
}

/// What an earlier format has left without.
pub(crate) fn fill_digests(connection: &Connection) -> Result<(), ReplicaError> {
    let mut select =
        connection.prepare("SELECT id, cancelled FROM tw_outbox WHERE digest IS NULL")?;
    let mut rows = select.query([])?;
    let mut digests = Vec::new();
    while let Some(row) = rows.next()? {
        let id = MutationId(row.get(0)?);
        let mutation = match row.get::<_, Option<Vec<u8>>>(1)? {
            Some(content) => decode_content(&content)?,
            None => Mutation { operations: operations(connection, id)? },
        };
        digests.push((id, MutationDigest::of(&mutation)));
    }
    for (id, digest) in digests {
        let sql = "UPDATE tw_outbox SET digest = ?2 WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![id.0, digest.0])?;
    }
    Ok(())
}

pub(crate) fn writers(connection: &Connection) -> Result<Vec<StoredWriter>, ReplicaError> {
    let mut select = connection.prepare(
        "SELECT lane, client, since, epoch, settled, settled_hash, sent, sent_id, confirmed
         FROM tw_writers",
    )?;
    let mut rows = select.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let lane: String = row.get(0)?;
        let number = |number: i64| {
            let number = u64::try_from(number).map_err(|_| ReplicaError::Damaged)?;
            MutationNumber::new(number).map_err(|_| ReplicaError::Damaged)
        };
        all.push(StoredWriter {
            lane: lane.parse().map_err(|_| ReplicaError::Damaged)?,
            client: ClientId::from_bytes(row.get(1)?),
            since: row.get(2)?,
            epoch: row.get::<_, Option<[u8; 16]>>(3)?.map(Epoch::from_bytes),
            settled: number(row.get(4)?)?,
            settled_hash: ContentHash::from_bytes(row.get(5)?),
            sent: number(row.get(6)?)?,
            sent_id: MutationId(row.get(7)?),
            confirmed: number(row.get(8)?)?,
        });
    }
    Ok(all)
}

pub(crate) fn put_writer(
    connection: &Connection,
    writer: &StoredWriter,
) -> Result<(), ReplicaError> {
    let number = |number: MutationNumber| i64::try_from(number.get()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO tw_writers
             (lane, client, since, epoch, settled, settled_hash, sent, sent_id, confirmed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (lane) DO UPDATE SET client = excluded.client, since = excluded.since,
             epoch = excluded.epoch, settled = excluded.settled,
             settled_hash = excluded.settled_hash, sent = excluded.sent,
             sent_id = excluded.sent_id, confirmed = excluded.confirmed",
        )?
        .execute(params![
            writer.lane.to_string(),
            writer.client.as_bytes(),
            writer.since,
            writer.epoch.as_ref().map(Epoch::as_bytes),
            number(writer.settled),
            writer.settled_hash.as_bytes(),
            number(writer.sent),
            writer.sent_id.0,
            number(writer.confirmed),
        ])?;
    Ok(())
}

/// What is stored beside a mutation that waits, by which it is known again.
pub(crate) fn stored(
    id: MutationId,
    lane: &Lane,
    digest: MutationDigest,
    bytes: i64,
) -> StoredMutation {
    let bytes = usize::try_from(bytes).unwrap_or(0);
    StoredMutation { id, lane: lane.clone(), digest, bytes, is_cancelled: false }
}
