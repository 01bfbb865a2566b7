//! How far what was written is sent and decided, as it is stored.

use std::collections::HashMap;

use protocol::ids::{ClientId, ContentHash, Epoch, MutationNumber};
use protocol::mutation::{Mutation, MutationDigest};
use rusqlite::{Connection, params};
use sdk_machine::{MutationId, Place, StoredMutation, StoredWriter};

use crate::error::ReplicaError;
use crate::outbox::{decode_content, operations};

const ALL: &str = "SELECT id, place, lane, digest, bytes, cancelled IS NOT NULL FROM tw_outbox";

/// What waits to be sent, without what it does.
pub(crate) fn outbox(connection: &Connection) -> Result<Vec<StoredMutation>, ReplicaError> {
    let mut select =
        connection.prepare(&format!("{ALL} WHERE place IS NOT NULL ORDER BY place"))?;
    let mut rows = select.query([])?;
    let mut all: Vec<StoredMutation> = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(mutation(row)?);
    }
    Ok(all)
}

/// One that is to be sent.
pub(crate) fn stored(
    connection: &Connection,
    id: MutationId,
) -> Result<StoredMutation, ReplicaError> {
    let mut select = connection.prepare_cached(&format!("{ALL} WHERE id = ?1"))?;
    let mut rows = select.query([id.0])?;
    mutation(rows.next()?.ok_or(ReplicaError::Inconsistent("a write that is not here"))?)
}

fn mutation(row: &rusqlite::Row<'_>) -> Result<StoredMutation, ReplicaError> {
    let lane: String = row.get(2)?;
    let bytes: i64 = row.get(4)?;
    Ok(StoredMutation {
        id: MutationId(row.get(0)?),
        place: Place(row.get(1)?),
        lane: lane.parse().map_err(|_| ReplicaError::Damaged)?,
        digest: MutationDigest(row.get(3)?),
        bytes: usize::try_from(bytes).unwrap_or(0),
        is_cancelled: row.get(5)?,
    })
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
        "SELECT lane, client, since, epoch, settled, settled_hash, sent, sent_id, confirmed, stuck,
                sent_elsewhere
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
            sent_place: Place(row.get(7)?),
            confirmed: number(row.get(8)?)?,
            stuck: row.get::<_, Option<i64>>(9)?.map(MutationId),
            sent_elsewhere: Place(row.get(10)?),
        });
    }
    Ok(all)
}

/// The place of the last that may have left the device, in each lane; also of a file of an earlier format.
pub(crate) fn sent(connection: &Connection) -> rusqlite::Result<HashMap<String, i64>> {
    let mut select = connection.prepare("SELECT lane, sent_id FROM tw_writers")?;
    let lanes = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    lanes.collect()
}

pub(crate) fn put_writer(
    connection: &Connection,
    writer: &StoredWriter,
) -> Result<(), ReplicaError> {
    let number = |number: MutationNumber| i64::try_from(number.get()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO tw_writers
             (lane, client, since, epoch, settled, settled_hash, sent, sent_id, confirmed, stuck,
              sent_elsewhere)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (lane) DO UPDATE SET client = excluded.client, since = excluded.since,
             epoch = excluded.epoch, settled = excluded.settled,
             settled_hash = excluded.settled_hash, sent = excluded.sent,
             sent_id = excluded.sent_id, confirmed = excluded.confirmed,
             stuck = excluded.stuck, sent_elsewhere = excluded.sent_elsewhere",
        )?
        .execute(params![
            writer.lane.to_string(),
            writer.client.as_bytes(),
            writer.since,
            writer.epoch.as_ref().map(Epoch::as_bytes),
            number(writer.settled),
            writer.settled_hash.as_bytes(),
            number(writer.sent),
            writer.sent_place.0,
            number(writer.confirmed),
            writer.stuck.map(|stuck| stuck.0),
            writer.sent_elsewhere.0,
        ])?;
    Ok(())
}
