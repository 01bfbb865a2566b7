//! A mutation that cannot be delivered: it is found, and set aside, so that everything else goes on.
//!
//! A connection that ends soon after something was sent, and before any of it was decided, may have
//! ended because of it. After some of those in a row the first of the lane goes alone, while no other
//! lane sends; after some more it is stuck. What is stuck is tried again from time to time, since a
//! network can look the same.

use crate::outgoing::Outgoing;
use crate::stored::MutationId;
use crate::time::Millis;

/// A connection that ends within this time may have ended because of what was sent.
const TRIAL_MS: u64 = 10_000;

/// From how many such ends on the first goes alone, and from how many on it is stuck.
const ALONE_FROM: u32 = 3;
const STUCK_FROM: u32 = 6;

/// For how long a server can put off the first that waits before it is stuck.
const PUT_OFF_MS_MAX: u64 = 10 * 60 * 1_000;

/// When what is stuck is tried again.
const PARKED_MS: u64 = 5 * 60 * 1_000;

/// What is known of the way of the first that waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivery {
    /// When something was sent over this connection.
    pub(crate) posted_at: Option<Millis>,
    /// How many connections in a row may have ended because of it.
    ends: u32,
    /// How long servers have put it off, in all.
    put_off_ms: u64,
    /// It is not tried before.
    parked_until: Option<Millis>,
}

impl Delivery {
    /// Some time has passed.
    pub(crate) fn pass(&mut self, now: Millis) {
        self.parked_until = self.parked_until.filter(|at| now < *at);
    }
}

impl Outgoing {
    /// Whether the first goes alone.
    pub(crate) fn is_suspect(&self) -> bool {
        self.delivery.ends >= ALONE_FROM || self.is_stuck()
    }

    fn is_stuck(&self) -> bool {
        self.writer.stuck.is_some() && self.writer.stuck == self.front()
    }

    /// Until when an end of the connection is taken to be because of what is on its way.
    pub(crate) fn on_trial_until(&self) -> Option<Millis> {
        let posted_at = self.delivery.posted_at.filter(|_| self.posted > self.writer.settled);
        posted_at.map(|at| at.after(TRIAL_MS))
    }

    pub(crate) fn is_on_trial(&self, now: Millis) -> bool {
        self.on_trial_until().is_some_and(|until| now < until)
    }

    /// The connection has ended, which was nobody's wish. Says what is stuck because of that, if it
    /// was not before.
    pub(crate) fn connection_ended(&mut self, now: Millis) -> Option<MutationId> {
        if !self.is_on_trial(now) {
            return None;
        }
        self.delivery.ends = self.delivery.ends.saturating_add(1);
        if self.delivery.ends < STUCK_FROM && !self.is_stuck() {
            return None;
        }
        self.delivery.parked_until = Some(now.after(PARKED_MS));
        self.set_stuck(self.front())
    }

    /// A server does not decide what is on its way for now. It is asked as often as it wants, so that
    /// what was stuck goes on as soon as it can. Says what is stuck, as above.
    pub(crate) fn put_off(&mut self, wait_ms: u64) -> Option<MutationId> {
        if self.posted > self.writer.settled {
            self.delivery.put_off_ms = self.delivery.put_off_ms.saturating_add(wait_ms);
        }
        let is_stuck = self.delivery.put_off_ms >= PUT_OFF_MS_MAX;
        is_stuck.then(|| self.set_stuck(self.front())).flatten()
    }

    /// Says what is stuck, if it was not before.
    pub(crate) fn set_stuck(&mut self, stuck: Option<MutationId>) -> Option<MutationId> {
        let was = std::mem::replace(&mut self.writer.stuck, stuck);
        stuck.filter(|_| was != stuck)
    }

    /// What is stuck was taken back, and goes as that.
    pub(crate) fn set_free(&mut self) {
        (self.writer.stuck, self.delivery) = (None, Delivery::default());
        self.posted = self.writer.settled;
    }

    /// When what is stuck is tried again.
    pub(crate) fn parked_until(&self) -> Option<Millis> {
        self.delivery.parked_until
    }
}
