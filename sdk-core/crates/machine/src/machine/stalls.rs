//! What does not move: the server is there and says so, and what it owes does not come. Then the
//! connection is made anew, and whoever wants to know is told.
//!
//! A subscription that is not current is looked at from time to time; one at which nothing has happened
//! between two looks is stalled. So is a lane in which something is to be sent, and for which the server
//! does not say what it knows of the client there: before that nothing is sent. And a lane is stalled
//! whose mutations were sent again and again over one connection.

use protocol::ids::Lane;

use super::{Machine, Phase, SubscriptionState};
use crate::connection::FeedState;
use crate::look::{Fed, Look, Mark};
use crate::outgoing::Outgoing;
use crate::status::{Stall, StatusWord};
use crate::subscription::Subscription;
use crate::time::Millis;

/// How often something is sent over one connection before it is stalled.
const SENT_AGAIN_MAX: u32 = 3;

impl Machine {
    /// When it is to be looked whether something moves.
    pub(super) fn looks_at(&self) -> Option<Millis> {
        self.connection.look.next
    }

    /// Looking begins when something is behind or not answered, and ends when nothing is.
    pub(super) fn note_behind(&mut self, now: Millis) {
        let is_open = self.phase() == Phase::Open;
        let is_behind = self.told.status.word == StatusWord::Behind
            || (is_open && self.unanswered().next().is_some());
        match self.connection.look.next {
            None if is_behind => self.connection.look.next = Some(now.after(self.look_ms)),
            Some(_) if !is_behind => self.connection.look = Look::default(),
            None | Some(_) => {}
        }
    }

    /// Looks at what the server owes. Says what does not move.
    pub(super) fn look(&mut self, now: Millis) -> Option<Stall> {
        if let Some(lane) = self.sent_in_vain() {
            return Some(Stall::Outbox(lane));
        }
        if self.looks_at().is_none_or(|at| now < at) {
            return None;
        }
        let is_current = |subscription: &&Subscription| {
            let state = self.state_of(subscription);
            matches!(state, SubscriptionState::Live | SubscriptionState::Refused)
        };
        let owed = self.subscriptions.values().filter(|it| !is_current(it));
        let seen: Vec<_> = owed.map(|it| (it.stored.id, self.mark(it))).collect();
        let lanes = self.unanswered().map(|lane| (lane.clone(), self.fed(lane))).collect();
        let look = Look { next: Some(now.after(self.look_ms)), seen, lanes };
        let before = std::mem::replace(&mut self.connection.look, look);
        let now = &self.connection.look;
        let stalled = before.seen.iter().find(|it| now.seen.contains(it));
        let unanswered = || before.lanes.iter().find(|it| now.lanes.contains(it));
        stalled
            .map(|(id, _)| Stall::Subscription(*id))
            .or_else(|| unanswered().map(|(lane, _)| Stall::Outbox(lane.clone())))
    }

    /// The lanes in which something waits, and of which the server was told and has said nothing yet: it
    /// owes a frontier for each.
    fn unanswered(&self) -> impl Iterator<Item = &Lane> {
        let is_answered = |(lane, outgoing): &(&Lane, &Outgoing)| {
            let known = self.lanes.get(*lane);
            !outgoing.hushed && known.is_some_and(|lane| outgoing.is_of(lane.epoch))
        };
        let told = self.outgoing.iter().filter(|(_, it)| it.is_open && !it.is_empty());
        told.filter(move |it| !is_answered(it)).map(|(lane, _)| lane)
    }

    fn fed(&self, lane: &Lane) -> Option<Fed> {
        let feed = self.connection.feeds.get(lane)?;
        Some(Fed { is_live: feed.state == FeedState::Live, pieces: feed.pieces })
    }

    fn mark(&self, subscription: &Subscription) -> Mark {
        let stored = &subscription.stored;
        Mark {
            is_answered: self.connection.is_answered(stored.id),
            rows_loaded: subscription.rows_loaded,
            floor: stored.floor,
            lane: stored.lane().and_then(|lane| self.fed(lane)),
        }
    }

    fn sent_in_vain(&self) -> Option<Lane> {
        let mut lanes = self.outgoing.iter();
        let stalled = lanes.find(|(_, it)| it.delivery.sent_again() >= SENT_AGAIN_MAX);
        stalled.map(|(lane, _)| lane.clone())
    }
}
