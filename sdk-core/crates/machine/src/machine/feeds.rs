//! What the server sends of a lane: rows, and where the lane is with them.
//!
//! Each frame is checked first, wholly. Only then does it change memory and become at most one
//! step, in which the frontier moves together with the rows (INV-5).

use std::collections::BTreeMap;

use protocol::frame::v1::{
    CatchUp, Delta, Frontier, InitialDataBatch, LanePosition, Progress, RowChange,
};
use protocol::ids::{Epoch, Lane, QueryNumber, SeqId};

use super::writes::tell_left;
use super::{Machine, apply};
use crate::connection::{Commit, Feed, FeedState, Part};
use crate::instruction::{Instruction, Write};
use crate::stored::{StoredLane, SubscriptionId};
use crate::subscription::Subscription;
use crate::violation::ProtocolViolation;

impl Machine {
    /// The subscriptions that hold something of the lane.
    pub(super) fn holders(&self, lane: &Lane) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values().filter(move |subscription| {
            subscription.stored.floor.is_some() && subscription.stored.lane() == Some(lane)
        })
    }

    pub(super) fn batch(
        &mut self,
        batch: InitialDataBatch,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let query = self.connection.query(batch.query)?.clone();
        let feed = self.connection.feed(&query.lane)?;
        let position = self.live_position(&query.lane, feed, batch.seq)?;
        let mut writes = Vec::new();
        let wanted = query.subscription.and_then(|id| self.subscriptions.get_mut(&id));
        if let Some(subscription) = wanted {
            if !fits(subscription, &batch) {
                return Err(ProtocolViolation::Batch(batch.query));
            }
            let count = u64::try_from(batch.rows.len()).unwrap_or(u64::MAX);
            let stored = &mut subscription.stored;
            stored.floor = Some(batch.floor);
            stored.missing = stored.missing.map(|missing| missing.saturating_sub(count));
            subscription.rows_loaded = subscription.rows_loaded.saturating_add(count);
            subscription.remaining = Some(batch.remaining);
            if count > 0 {
                let InitialDataBatch { births, rows, expiries, .. } = batch;
                writes.push(Write::Batch { subscription: stored.id, births, rows, expiries });
            }
            stored.ready |= stored.is_complete();
            if stored.resetting && stored.is_complete() {
                stored.resetting = false;
                // Whatever it was for: now it can be seen whether it has helped.
                self.checks.entry(stored.id).or_default().is_wanted = true;
                writes.push(Write::DropGhosts(stored.id));
            }
            writes.push(Write::PutSubscription(Box::new(stored.clone())));
        }
        self.move_lane(&query.lane, position, &mut writes);
        apply(writes, out);
        Ok(())
    }

    /// Where a live lane goes.
    pub(super) fn live_position(
        &self,
        lane: &Lane,
        feed: &Feed,
        to: SeqId,
    ) -> Result<SeqId, ProtocolViolation> {
        let frontier = match (feed.state, self.lanes.get(lane)) {
            (FeedState::Live, Some(stored)) => stored.seq,
            _ => return Err(ProtocolViolation::NotLive(lane.clone())),
        };
        if to < frontier {
            return Err(ProtocolViolation::Back { lane: lane.clone(), frontier, to });
        }
        Ok(to)
    }

    /// Moves the frontier of a live lane, where that is a move.
    pub(super) fn move_lane(&mut self, lane: &Lane, to: SeqId, writes: &mut Vec<Write>) {
        if let Some(stored) = self.lanes.get_mut(lane)
            && stored.seq < to
        {
            stored.seq = to;
            writes.push(Write::PutLane(stored.clone()));
        }
    }

    pub(super) fn delta(
        &mut self,
        delta: Delta,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let Delta { previous, seq, end, query: number, changes } = delta;
        let query = self.connection.query(number)?.clone();
        let lane = &query.lane;
        let feed = self.connection.feeds.get(lane);
        let frontier = match (feed.map(|feed| feed.state), self.lanes.get(lane)) {
            (Some(FeedState::Live), Some(stored)) => stored.seq,
            _ => return Err(ProtocolViolation::NotLive(lane.clone())),
        };
        if previous != frontier {
            return Err(ProtocolViolation::Gap { lane: lane.clone(), frontier, previous });
        }
        if seq <= previous {
            return Err(ProtocolViolation::Back { lane: lane.clone(), frontier, to: seq });
        }
        let open = feed.and_then(|feed| feed.commit.as_ref());
        if open.is_some_and(|open| (open.previous, open.seq) != (previous, seq)) {
            return Err(ProtocolViolation::OpenCommit(lane.clone()));
        }
        self.check_changes(number, query.subscription, &changes)?;
        let Some(feed) = self.connection.feeds.get_mut(lane) else { return Ok(()) };
        let commit = feed.commit.get_or_insert(Commit { previous, seq, parts: Vec::new() });
        if let Some(subscription) = query.subscription {
            commit.parts.push(Part { subscription, changes });
        }
        if end {
            let parts = feed.commit.take().map_or(Vec::new(), |commit| commit.parts);
            let mut writes = Vec::new();
            self.show_commit(lane, seq, parts, &mut writes);
            apply(writes, out);
        }
        Ok(())
    }

    /// Shows a whole commit, and nothing of it before (INV-3).
    pub(super) fn show_commit(
        &mut self,
        lane: &Lane,
        seq: SeqId,
        parts: Vec<Part>,
        writes: &mut Vec<Write>,
    ) {
        for Part { subscription: id, changes } in parts {
            // The app may have ended it since, or begun it anew: then nothing of it is loaded.
            let Some(subscription) = self.subscriptions.get(&id) else { continue };
            let changes = subscription.loaded_part(changes);
            if !changes.is_empty() {
                writes.push(Write::Changes { subscription: id, changes });
            }
        }
        self.move_lane(lane, seq, writes);
    }

    pub(super) fn catch_up(
        &mut self,
        piece: CatchUp,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let CatchUp { query: number, changes } = piece;
        let query = self.connection.query(number)?.clone();
        let state = self.connection.feed(&query.lane)?.state;
        if state == FeedState::Opening {
            return Err(ProtocolViolation::NotResumed(query.lane));
        }
        self.check_changes(number, query.subscription, &changes)?;
        if let Some(feed) = self.connection.feeds.get_mut(&query.lane) {
            feed.pieces += 1;
        }
        let mut writes = Vec::new();
        let subscription = query.subscription.and_then(|id| self.subscriptions.get(&id));
        let staged = subscription.and_then(|subscription| {
            let changes = subscription.loaded_part(changes);
            (!changes.is_empty()).then_some((subscription.stored.id, changes))
        });
        if state != FeedState::CatchingUp
            && let Some(stored) = self.lanes.get_mut(&query.lane)
        {
            // Taken back with the frontier. A resume that is cut again and again becomes a load.
            stored.cut = stored.cut.saturating_add(1);
            writes.push(Write::PutLane(stored.clone()));
        }
        if let Some(feed) = self.connection.feeds.get_mut(&query.lane) {
            feed.state = FeedState::CatchingUp;
            feed.staged |= staged.is_some();
        }
        if let Some((subscription, changes)) = staged {
            writes.push(Write::Stage { lane: query.lane, subscription, changes });
        }
        apply(writes, out);
        Ok(())
    }

    pub(super) fn frontier(
        &mut self,
        frontier: Frontier,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let Frontier { lane, epoch, seq, writer } = frontier;
        let staged = self.connection.feed(&lane)?.staged;
        self.check_frontier(&lane, epoch, seq)?;
        let mut writes = Vec::new();
        if staged {
            writes.push(Write::ShowStaged { lane: lane.clone() });
        }
        let feed = Feed { state: FeedState::Live, ..Feed::default() };
        self.connection.feeds.insert(lane.clone(), feed);
        let stored = StoredLane { lane: lane.clone(), epoch, seq, cut: 0 };
        if self.lanes.get(&lane) != Some(&stored) {
            writes.push(Write::PutLane(stored.clone()));
            self.lanes.insert(lane.clone(), stored);
        }
        let left = match writer {
            Some(state) => self.caught_up(&lane, epoch, *state, &mut writes)?,
            None => Vec::new(),
        };
        apply(writes, out);
        tell_left(left, out);
        Ok(())
    }

    /// Checks that what is held of the lane is as of a position from which this one follows. Where
    /// nothing is held, any history and any place in it will do.
    fn check_frontier(
        &self,
        lane: &Lane,
        epoch: Epoch,
        seq: SeqId,
    ) -> Result<(), ProtocolViolation> {
        for holder in self.holders(lane) {
            if !self.connection.is_answered(holder.stored.id) {
                return Err(ProtocolViolation::LeftBehind(lane.clone()));
            }
            let stored = self.lanes.get(lane).filter(|stored| stored.epoch == epoch);
            let Some(stored) = stored else { return Err(ProtocolViolation::Epoch(lane.clone())) };
            if seq < stored.seq {
                let frontier = stored.seq;
                return Err(ProtocolViolation::Back { lane: lane.clone(), frontier, to: seq });
            }
        }
        Ok(())
    }

    pub(super) fn progress(
        &mut self,
        progress: Progress,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let mut moves = BTreeMap::new();
        for LanePosition(lane, seq) in progress.lanes {
            let feed = self.connection.feed(&lane)?;
            let to = self.live_position(&lane, feed, seq)?;
            // Named twice, the further one counts.
            let further = moves.entry(lane).or_insert(to);
            *further = to.max(*further);
        }
        let mut writes = Vec::new();
        for (lane, to) in moves {
            self.move_lane(&lane, to, &mut writes);
        }
        apply(writes, out);
        Ok(())
    }

    /// Checks that rows have the columns and keys that the query has.
    fn check_changes(
        &self,
        number: QueryNumber,
        id: Option<SubscriptionId>,
        changes: &[RowChange],
    ) -> Result<(), ProtocolViolation> {
        let subscription = id.and_then(|id| self.subscriptions.get(&id));
        let known = subscription.and_then(|subscription| subscription.stored.known.as_ref());
        let Some(known) = known else { return Ok(()) };
        let fits = |change: &RowChange| match change {
            RowChange::Row(_, row) | RowChange::Expiring(_, row, _) => {
                row.len() == known.columns.len()
            }
            RowChange::Left(_, key) | RowChange::Deleted(_, key) => {
                key.len() == known.table.primary_key.len()
            }
        };
        match changes.iter().all(fits) {
            true => Ok(()),
            false => Err(ProtocolViolation::Description(number)),
        }
    }
}

/// Whether a batch goes on from where the load of the subscription is (INV-4).
fn fits(subscription: &Subscription, batch: &InitialDataBatch) -> bool {
    let InitialDataBatch { seq, floor, births, rows, expiries, .. } = batch;
    let columns = subscription.stored.known.as_ref().map_or(0, |known| known.columns.len());
    let before = subscription.stored.floor;
    let is_below = |birth| before.is_none_or(|before| !before.holds(birth));
    rows.len() == births.len()
        && (expiries.is_empty() || expiries.len() == births.len())
        && rows.iter().all(|row| row.len() == columns)
        && births.is_sorted_by(|one, next| one < next)
        && births.iter().all(|birth| floor.holds(*birth) && is_below(*birth) && birth.0 <= *seq)
        && before.is_none_or(|before| *floor <= before)
}
