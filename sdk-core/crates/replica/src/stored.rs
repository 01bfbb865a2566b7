//! What the machine starts from.

use protocol::codec;
use protocol::frame::v1::RowChange;
use protocol::ids::{Basis, ColumnId, Epoch, Floor, Lane, SeqId};
use protocol::limits::{FRAME_BYTES_MAX, SERVER_FRAME_BYTES_MAX};
use protocol::predicate::Predicate;
use protocol::schema::TableSchema;
use protocol::value::Value;
use rusqlite::{Connection, Row, params};
use sdk_machine::{Known, SqlText, Staged, StoredLane, StoredSubscription, SubscriptionId};

use crate::error::ReplicaError;

pub(crate) fn lanes(connection: &Connection) -> Result<Vec<StoredLane>, ReplicaError> {
    let mut statement = connection.prepare("SELECT lane, epoch, seq, cut FROM tw_lanes")?;
    let mut rows = statement.query([])?;
    let mut lanes = Vec::new();
    while let Some(row) = rows.next()? {
        lanes.push(lane(row)?);
    }
    Ok(lanes)
}

fn lane(row: &Row<'_>) -> Result<StoredLane, ReplicaError> {
    let (lane, epoch): (String, [u8; 16]) = (row.get(0)?, row.get(1)?);
    Ok(StoredLane {
        lane: lane.parse().map_err(|_| ReplicaError::Damaged)?,
        epoch: Epoch::from_bytes(epoch),
        seq: seq(row.get(2)?)?,
        cut: row.get(3)?,
    })
}

fn seq(number: i64) -> Result<SeqId, ReplicaError> {
    let number = u64::try_from(number).map_err(|_| ReplicaError::Damaged)?;
    SeqId::new(number).map_err(|_| ReplicaError::Damaged)
}

type Text = (String, Vec<Value>);
type KnownParts = (Basis, Lane, TableSchema, Vec<ColumnId>, Predicate);

pub(crate) fn subscriptions(
    connection: &Connection,
) -> Result<Vec<StoredSubscription>, ReplicaError> {
    let mut statement = connection.prepare(
        "SELECT id, texts, fetch_last, batch_rows, known, floor, missing, ready, resetting
         FROM tw_subscriptions ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let texts: Vec<Text> = decode(&row.get::<_, Vec<u8>>(1)?)?;
        let known: Option<Vec<u8>> = row.get(4)?;
        let known = known.map(|bytes| decode::<KnownParts>(&bytes)).transpose()?;
        let floor: Option<i64> = row.get(5)?;
        all.push(StoredSubscription {
            id: SubscriptionId(row.get(0)?),
            texts: texts.into_iter().map(|(sql, params)| SqlText { sql, params }).collect(),
            fetch_last: count(row.get(2)?)?,
            batch_rows: row.get(3)?,
            known: known.map(|(basis, lane, table, columns, predicate)| Known {
                basis,
                lane,
                table,
                columns,
                predicate,
            }),
            floor: floor.map(seq).transpose()?.map(Floor),
            missing: count(row.get(6)?)?,
            ready: row.get(7)?,
            resetting: row.get(8)?,
        });
    }
    Ok(all)
}

/// A number of rows. SQLite's numbers have a sign, so the highest bit is stored as one.
fn count(number: Option<i64>) -> Result<Option<u64>, ReplicaError> {
    Ok(number.map(|number| u64::from_ne_bytes(number.to_ne_bytes())))
}

fn stored_count(number: Option<u64>) -> Option<i64> {
    number.map(|number| i64::from_ne_bytes(number.to_ne_bytes()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ReplicaError> {
    codec::decode(bytes, 2 * FRAME_BYTES_MAX).map_err(|_| ReplicaError::Damaged)
}

pub(crate) fn put_subscription(
    connection: &Connection,
    stored: &StoredSubscription,
) -> Result<(), ReplicaError> {
    let texts: Vec<(&str, &[Value])> =
        stored.texts.iter().map(|text| (&*text.sql, &*text.params)).collect();
    let known = stored.known.as_ref().map(|known| {
        let Known { basis, lane, table, columns, predicate } = known;
        codec::encode(&(basis, lane, table, columns, predicate))
    });
    let floor = stored.floor.map(|floor| stored_seq(floor.0));
    connection
        .prepare_cached(
            "INSERT INTO tw_subscriptions
             (id, texts, fetch_last, batch_rows, known, floor, missing, ready, resetting)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET texts = excluded.texts,
             fetch_last = excluded.fetch_last, batch_rows = excluded.batch_rows,
             known = excluded.known, floor = excluded.floor, missing = excluded.missing,
             ready = excluded.ready, resetting = excluded.resetting",
        )?
        .execute(params![
            stored.id.0,
            codec::encode(&texts),
            stored_count(stored.fetch_last),
            stored.batch_rows,
            known,
            floor,
            stored_count(stored.missing),
            stored.ready,
            stored.resetting,
        ])?;
    Ok(())
}

pub(crate) fn stored_seq(seq: SeqId) -> i64 {
    // A SeqId lies below 2^53.
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

pub(crate) fn remove_lane(connection: &Connection, lane: &Lane) -> Result<(), ReplicaError> {
    connection.execute("DELETE FROM tw_lanes WHERE lane = ?1", [lane.to_string()])?;
    Ok(())
}

pub(crate) fn put_lane(connection: &Connection, lane: &StoredLane) -> Result<(), ReplicaError> {
    connection
        .prepare_cached(
            "INSERT INTO tw_lanes (lane, epoch, seq, cut) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (lane) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
             cut = excluded.cut",
        )?
        .execute(params![
            lane.lane.to_string(),
            lane.epoch.as_bytes(),
            stored_seq(lane.seq),
            lane.cut
        ])?;
    Ok(())
}

pub(crate) fn stage(
    connection: &Connection,
    lane: &Lane,
    id: SubscriptionId,
    changes: &[RowChange],
) -> Result<(), ReplicaError> {
    connection
        .prepare_cached("INSERT INTO tw_staged (lane, subscription, changes) VALUES (?1, ?2, ?3)")?
        .execute(params![lane.to_string(), id.0, codec::encode(changes)])?;
    Ok(())
}

/// The pieces of a lane, in the order in which they came. They are not staged any more.
pub(crate) fn unstage(
    connection: &Connection,
    lane: &Lane,
) -> Result<Vec<(SubscriptionId, Vec<RowChange>)>, ReplicaError> {
    let lane = lane.to_string();
    let mut pieces = Vec::new();
    let mut select = connection.prepare_cached(
        "SELECT subscription, changes FROM tw_staged WHERE lane = ?1 ORDER BY place",
    )?;
    let mut rows = select.query([&lane])?;
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(1)?;
        let changes = codec::decode(&bytes, 2 * SERVER_FRAME_BYTES_MAX);
        pieces.push((SubscriptionId(row.get(0)?), changes.map_err(|_| ReplicaError::Damaged)?));
    }
    connection.execute("DELETE FROM tw_staged WHERE lane = ?1", [&lane])?;
    Ok(pieces)
}

pub(crate) fn drop_staged(connection: &Connection, staged: &Staged) -> Result<(), ReplicaError> {
    match staged {
        Staged::OfLane(lane) => {
            connection.execute("DELETE FROM tw_staged WHERE lane = ?1", [lane.to_string()])?
        }
        Staged::OfSubscription(id) => {
            connection.execute("DELETE FROM tw_staged WHERE subscription = ?1", [id.0])?
        }
    };
    Ok(())
}
