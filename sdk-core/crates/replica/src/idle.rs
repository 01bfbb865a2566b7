//! How long subscriptions were kept that nobody asks for.

use std::time::Duration;

use rusqlite::params;
use sdk_machine::SubscriptionId;

use crate::error::ReplicaError;
use crate::replica::Replica;

/// How it is with a subscription when nobody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Which.
    pub id: SubscriptionId,
    /// How long it is kept then, where the application has said so.
    pub ttl: Option<Duration>,
    /// How long nobody has asked for it so far, while the client ran.
    pub idle: Duration,
}

impl Replica {
    /// All subscriptions.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn idle(&self) -> Result<Vec<Idle>, ReplicaError> {
        let mut select =
            self.connection.prepare_cached("SELECT id, ttl, idle FROM tw_subscriptions")?;
        let all = select.query_map([], |row| {
            let ttl: Option<i64> = row.get(1)?;
            let id = SubscriptionId(row.get(0)?);
            Ok(Idle { id, ttl: ttl.map(duration), idle: duration(row.get(2)?) })
        })?;
        Ok(all.collect::<Result<_, _>>()?)
    }

    /// Notes how it is with some of them.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was noted.
    pub fn note_idle(&mut self, all: &[Idle]) -> Result<(), ReplicaError> {
        self.transaction(|replica| {
            let sql = "UPDATE tw_subscriptions SET ttl = ?2, idle = ?3 WHERE id = ?1";
            let mut update = replica.connection.prepare_cached(sql)?;
            for Idle { id, ttl, idle } in all {
                update.execute(params![id.0, ttl.map(milliseconds), milliseconds(*idle)])?;
            }
            Ok(())
        })
    }
}

fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.max(0).unsigned_abs())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
