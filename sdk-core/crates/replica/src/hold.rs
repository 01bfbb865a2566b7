//! Writes that are held back on the device: they have no place in the order of sending before it is
//! their turn.
//!
//! Writes of a queue go one after the other, and those behind a rejected one wait until that is dealt
//! with. Whatever writes a row for which a write is held back waits too: it was written on what that one
//! shows, and would be sent before it.

use protocol::ids::Lane;
use rusqlite::{OptionalExtension, params};
use sdk_machine::{MutationId, Settled, StoredMutation};

use crate::error::ReplicaError;
use crate::outbox::Draft;
use crate::replica::Replica;
use crate::rows::Left;
use crate::values::{Bound, shown_key};
use crate::writers;
/// The next of each queue, and those that wait for a row only.
const CANDIDATES: &str = "SELECT o.id, o.queue FROM tw_outbox o WHERE o.place IS NULL AND (o.queue IS NULL OR o.id = \
     (SELECT min(i.id) FROM tw_outbox i WHERE i.queue = o.queue AND i.place IS NULL)) ORDER BY o.id";

/// Whether one of a row that it writes is held back, and was before it.
const IS_BEHIND: &str = "SELECT 1 FROM tw_operations mine
     JOIN tw_operations other ON other.table_id = mine.table_id AND other.key = mine.key
     JOIN tw_outbox held ON held.id = other.mutation
     WHERE mine.mutation = ?1 AND other.mutation < ?1 AND held.place IS NULL LIMIT 1";

impl Replica {
    /// Whether a mutation is held back.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn is_held(&self, id: MutationId) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE id = ?1 AND place IS NULL";
        Ok(self.outbox.held > 0 && self.connection.prepare_cached(sql)?.exists([id.0])?)
    }

    /// Lets go what has no reason any more to be held back: it is to be sent now.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was let go.
    pub fn let_go(&mut self) -> Result<Vec<StoredMutation>, ReplicaError> {
        let mut released = Vec::new();
        if self.outbox.held == 0 || self.free()?.is_empty() {
            return Ok(Vec::new());
        }
        self.transaction(|replica| {
            // One that is let go may be what the next has waited for.
            loop {
                let free = replica.free()?;
                if free.is_empty() {
                    return Ok(());
                }
                for id in free {
                    let place = replica.outbox.last.0 + 1;
                    let sql = "UPDATE tw_outbox SET place = ?2 WHERE id = ?1";
                    replica.connection.prepare_cached(sql)?.execute([id.0, place])?;
                    replica.outbox.last = MutationId(place);
                    replica.outbox.held -= 1;
                    released.push(id);
                }
            }
        })?;
        released.iter().map(|id| writers::stored(&self.connection, *id)).collect()
    }

    /// What is held back and may go.
    fn free(&self) -> Result<Vec<MutationId>, ReplicaError> {
        let mut select = self.connection.prepare_cached(CANDIDATES)?;
        let mut rows = select.query([])?;
        let mut free = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, queue): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
            let is_busy = match &queue {
                Some(queue) => self.is_under_way(queue)? || self.is_halted(queue)?,
                None => false,
            };
            if !is_busy && !self.connection.prepare_cached(IS_BEHIND)?.exists([id])? {
                free.push(MutationId(id));
            }
        }
        Ok(free)
    }

    /// Whether a mutation is to be held back that is about to be stored.
    pub(crate) fn has_to_wait(
        &self,
        queue: Option<&str>,
        drafts: &[Draft],
    ) -> Result<bool, ReplicaError> {
        if let Some(queue) = queue {
            let sql = "SELECT 1 FROM tw_outbox WHERE queue = ?1 AND cancelled IS NULL LIMIT 1";
            if self.connection.prepare_cached(sql)?.exists([queue])? || self.is_halted(queue)? {
                return Ok(true);
            }
        }
        if self.outbox.held == 0 {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM tw_operations p JOIN tw_outbox o ON o.id = p.mutation
                   WHERE p.table_id = ?1 AND p.key = ?2 AND o.place IS NULL LIMIT 1";
        let mut of_row = self.connection.prepare_cached(sql)?;
        for draft in drafts {
            let key = shown_key(&draft.key);
            if of_row.exists(params![draft.operation.table.0, Bound(&key)])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one of the queue is on its way.
    fn is_under_way(&self, queue: &str) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE queue = ?1 AND place IS NOT NULL
                   AND cancelled IS NULL LIMIT 1";
        Ok(self.connection.prepare_cached(sql)?.exists([queue])?)
    }

    /// Whether one of the queue was rejected, and is not dealt with.
    fn is_halted(&self, queue: &str) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_rejected WHERE queue = ?1 LIMIT 1";
        Ok(self.connection.prepare_cached(sql)?.exists([queue])?)
    }

    /// What is held back of a lane is uncertain.
    pub(crate) fn give_up_held(
        &mut self,
        lane: &Lane,
        left: &mut Left,
    ) -> Result<(), ReplicaError> {
        let sql = "SELECT id FROM tw_outbox WHERE place IS NULL AND lane = ?1 ORDER BY id";
        let mut select = self.connection.prepare(sql)?;
        let held = select.query_map([lane.to_string()], |row| row.get(0).map(MutationId))?;
        let held: Vec<MutationId> = held.collect::<Result<_, _>>()?;
        drop(select);
        for id in held {
            self.settle(id, &Settled::Uncertain, left)?;
        }
        Ok(())
    }

    /// When the next write expires that has not left the device: microseconds since 1970.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn next_overdue(&self) -> Result<Option<i64>, ReplicaError> {
        let sql = format!("SELECT o.expires_at {UNSENT} ORDER BY o.expires_at LIMIT 1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?)
    }

    /// The writes that have not left the device and have expired by now, in microseconds since 1970.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn overdue(&self, now: i64) -> Result<Vec<MutationId>, ReplicaError> {
        let sql = format!("SELECT o.id {UNSENT} AND o.expires_at <= ?1 ORDER BY o.id");
        let mut select = self.connection.prepare_cached(&sql)?;
        let ids = select.query_map([now], |row| row.get(0).map(MutationId))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The writes that were not to wait for a connection and are still here.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn online(&self) -> Result<Vec<MutationId>, ReplicaError> {
        let sql = "SELECT id FROM tw_outbox WHERE online <> 0 AND cancelled IS NULL";
        let mut select = self.connection.prepare(sql)?;
        let ids = select.query_map([], |row| row.get(0).map(MutationId))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

/// What expires, and has not left the device.
const UNSENT: &str = "FROM tw_outbox o LEFT JOIN tw_writers w ON w.lane = o.lane
     WHERE o.expires_at IS NOT NULL AND o.cancelled IS NULL
     AND (o.place IS NULL OR o.place > coalesce(w.sent_id, 0))";
