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
use crate::limits::{LET_GO_AT_ONCE_MAX, OVERDUE_AT_ONCE_MAX};
use crate::outbox::Draft;
use crate::rejected::DealtWith;
use crate::replica::Replica;
use crate::rows::Left;
use crate::values::{Bound, shown_key};
use crate::writers;

/// The queue behind another one. The index leads there, since there may be many writes in each.
const NEXT_QUEUE: &str = "SELECT min(queue) FROM tw_outbox WHERE queue > ?1";

/// The next of a queue.
const NEXT_HELD: &str = "SELECT min(id) FROM tw_outbox WHERE queue = ?1 AND place IS NULL";

/// What waits for a row only.
const OF_NO_QUEUE: &str = "SELECT id FROM tw_outbox WHERE place IS NULL AND queue IS NULL";

/// Whether one of a row that it writes is held back, and was before it. Before the first that is held
/// back there is none.
const IS_BEHIND: &str = "SELECT 1 FROM tw_operations mine
     JOIN tw_operations other ON other.table_id = mine.table_id AND other.key = mine.key
     JOIN tw_outbox held ON held.id = other.mutation
     WHERE mine.mutation = ?1 AND other.mutation < ?1 AND held.place IS NULL
     AND other.mutation >= (SELECT min(id) FROM tw_outbox WHERE place IS NULL) LIMIT 1";

impl Replica {
    /// Whether a mutation is held back.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn is_held(&self, id: MutationId) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE id = ?1 AND place IS NULL";
        Ok(self.outbox.held > 0 && self.connection.prepare_cached(sql)?.exists([id.0])?)
    }

    /// Lets go what has no reason any more to be held back: it is to be sent now. Where that is
    /// [`LET_GO_AT_ONCE_MAX`] there may be more.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was let go.
    pub fn let_go(&mut self) -> Result<Vec<StoredMutation>, ReplicaError> {
        if self.outbox.held == 0 {
            return Ok(Vec::new());
        }
        let candidates = self.candidates()?;
        let mut first = 0;
        while let Some(candidate) = candidates.get(first)
            && !self.is_free(candidate)?
        {
            first += 1;
        }
        if first == candidates.len() {
            return Ok(Vec::new());
        }
        let released = self.transaction(|replica| {
            let mut released = Vec::new();
            // One that is let go may be what another has waited for, and that is behind it.
            for candidate in &candidates[first..] {
                if released.len() < LET_GO_AT_ONCE_MAX && replica.is_free(candidate)? {
                    replica.give_place(candidate.0)?;
                    released.push(candidate.0);
                }
            }
            Ok(released)
        })?;
        released.iter().map(|id| writers::stored(&self.connection, *id)).collect()
    }

    /// What is held back and is not behind another of its queue, each with its queue, in the order in which
    /// it was written.
    fn candidates(&self) -> Result<Vec<(MutationId, Option<String>)>, ReplicaError> {
        let mut select = self.connection.prepare_cached(OF_NO_QUEUE)?;
        let of_none = select.query_map([], |row| Ok((MutationId(row.get(0)?), None)))?;
        let mut all = of_none.collect::<Result<Vec<_>, _>>()?;
        let mut next_queue = self.connection.prepare_cached(NEXT_QUEUE)?;
        let mut next_held = self.connection.prepare_cached(NEXT_HELD)?;
        // No queue has an empty name.
        let mut last = String::new();
        while let Some(queue) =
            next_queue.query_row([&last], |row| row.get::<_, Option<String>>(0))?
        {
            let held: Option<i64> = next_held.query_row([&queue], |row| row.get(0))?;
            last.clone_from(&queue);
            all.extend(held.map(|id| (MutationId(id), Some(queue))));
        }
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
    }

    fn is_free(&self, (id, queue): &(MutationId, Option<String>)) -> Result<bool, ReplicaError> {
        let is_busy = match queue {
            Some(queue) => self.is_halted(queue)? || self.is_under_way(queue)?,
            None => false,
        };
        Ok(!is_busy && !self.connection.prepare_cached(IS_BEHIND)?.exists([id.0])?)
    }

    fn give_place(&mut self, id: MutationId) -> Result<(), ReplicaError> {
        let place = self.outbox.last.0 + 1;
        let sql = "UPDATE tw_outbox SET place = ?2 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute([id.0, place])?;
        self.outbox.last = MutationId(place);
        self.outbox.held -= 1;
        Ok(())
    }

    /// Whether a mutation is to be held back that is about to be stored. What takes the place of a
    /// rejected one has its turn: it goes before those of its queue that are held back, and before
    /// what was written since on the same rows.
    pub(crate) fn has_to_wait(
        &self,
        queue: Option<&str>,
        drafts: &[Draft],
        replaced: Option<&DealtWith>,
    ) -> Result<bool, ReplicaError> {
        if let Some(queue) = queue {
            let has_turn = replaced.is_some_and(|it| it.queue.as_deref() == Some(queue));
            let is_busy = match has_turn {
                true => self.is_under_way(queue)?,
                false => self.is_halted(queue)? || self.is_waiting_in(queue)?,
            };
            if is_busy {
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
            let row = (draft.operation.table, draft.key.clone());
            if replaced.is_some_and(|it| it.rows.contains(&row)) {
                continue;
            }
            let key = shown_key(&draft.key);
            if of_row.exists(params![draft.operation.table.0, Bound(&key)])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one of the queue is on its way or held back.
    fn is_waiting_in(&self, queue: &str) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE queue = ?1 AND cancelled IS NULL LIMIT 1";
        Ok(self.connection.prepare_cached(sql)?.exists([queue])?)
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

    /// The writes that have not left the device and have expired by now, in microseconds since 1970;
    /// [`OVERDUE_AT_ONCE_MAX`] of them, where there are more.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn overdue(&self, now: i64) -> Result<Vec<MutationId>, ReplicaError> {
        let sql = format!(
            "SELECT o.id {UNSENT} AND o.expires_at <= ?1 ORDER BY o.id LIMIT {OVERDUE_AT_ONCE_MAX}"
        );
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
