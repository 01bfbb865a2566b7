//! What does not move: the server is there and says so, and what it owes does not come. Then the
//! connection is made anew, and whoever wants to know is told.
//!
//! A subscription that is not current is looked at from time to time; one at which nothing has happened
//! between two looks is stalled. A lane is stalled whose mutations were sent again and again over one
//! connection.

use protocol::ids::Lane;

use super::{Machine, SubscriptionState};
use crate::connection::FeedState;
use crate::look::{Look, Mark};
use crate::status::{Stall, StatusWord};
use crate::subscription::Subscription;
use crate::time::Millis;

/// How long it is from one look to the next.
const LOOK_MS: u64 = 30_000;

/// How often something is sent over one connection before it is stalled.
const SENT_AGAIN_MAX: u32 = 3;

impl Machine {
    /// When it is to be looked whether something moves.
    pub(super) fn looks_at(&self) -> Option<Millis> {
        self.connection.look.next
    }

    /// Looking begins when something is behind, and ends when nothing is.
    pub(super) fn note_behind(&mut self, now: Millis) {
        let is_behind = self.told.status.word == StatusWord::Behind;
        match self.connection.look.next {
            None if is_behind => self.connection.look.next = Some(now.after(LOOK_MS)),
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
        let next = Some(now.after(LOOK_MS));
        let before = std::mem::replace(&mut self.connection.look, Look { next, seen });
        let stalled = before.seen.iter().find(|it| self.connection.look.seen.contains(it));
        stalled.map(|(id, _)| Stall::Subscription(*id))
    }

    fn mark(&self, subscription: &Subscription) -> Mark {
        let stored = &subscription.stored;
        let feed = stored.lane().and_then(|lane| self.connection.feeds.get(lane));
        Mark {
            is_answered: self.connection.is_answered(stored.id),
            rows_loaded: subscription.rows_loaded,
            floor: stored.floor,
            lane: feed.map(|feed| (feed.state == FeedState::Live, feed.pieces)),
        }
    }

    fn sent_in_vain(&self) -> Option<Lane> {
        let mut lanes = self.outgoing.iter();
        let stalled = lanes.find(|(_, it)| it.delivery.sent_again() >= SENT_AGAIN_MAX);
        stalled.map(|(lane, _)| lane.clone())
    }
}
