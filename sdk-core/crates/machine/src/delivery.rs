//! A mutation that cannot be delivered: it is found, and set aside, so that everything else goes on.
//!
//! A connection that ends soon after something was sent, and before any of it was decided, may have
//! ended because of it. After some of those in a row the first of the lane goes alone, while no other
//! lane sends; after some more it is stuck. What is stuck is tried again from time to time, since a
//! network can look the same.

use crate::time::Millis;

/// A connection that ends within this time, and what the network takes for it, may have ended because of
/// what was sent.
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
    /// Until when an end of the connection is taken to be because of what is on its way.
    on_trial_until: Option<Millis>,
    /// How many connections in a row may have ended because of it.
    ends: u32,
    /// How long servers have put it off, in all.
    put_off_ms: u64,
    /// It is not tried before.
    parked_until: Option<Millis>,
    /// How often it was sent again over this connection.
    sent_again: u32,
}

impl Delivery {
    /// Some time has passed.
    pub(crate) fn pass(&mut self, now: Millis) {
        self.parked_until = self.parked_until.filter(|at| now < *at);
        self.on_trial_until = self.on_trial_until.filter(|at| now < *at);
    }

    /// Whether the first goes alone.
    pub(crate) fn is_suspect(&self) -> bool {
        self.ends >= ALONE_FROM
    }

    /// Something was sent, and the network takes so long for all that is on its way.
    pub(crate) fn post(&mut self, now: Millis, on_the_way_ms: u64) {
        self.on_trial_until = Some(now.after(TRIAL_MS + on_the_way_ms));
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&mut self) {
        (self.on_trial_until, self.sent_again) = (None, 0);
    }

    /// Until when an end of the connection is taken to be because of what is on its way.
    pub(crate) fn on_trial_until(&self) -> Option<Millis> {
        self.on_trial_until
    }

    /// It is sent again, since nothing came of it.
    pub(crate) fn send_again(&mut self) {
        self.sent_again += 1;
    }

    /// How often it was, over this connection.
    pub(crate) fn sent_again(&self) -> u32 {
        self.sent_again
    }

    /// A connection has ended because of it, it seems. Says whether that is enough to be stuck.
    pub(crate) fn ended(&mut self) -> bool {
        self.ends = self.ends.saturating_add(1);
        self.ends >= STUCK_FROM
    }

    /// What is stuck is not tried for a while.
    pub(crate) fn park(&mut self, now: Millis) {
        self.parked_until = Some(now.after(PARKED_MS));
    }

    /// A server has put it off. Says whether that is enough to be stuck.
    pub(crate) fn put_off(&mut self, wait_ms: u64) -> bool {
        self.sent_again = 0;
        self.put_off_ms = self.put_off_ms.saturating_add(wait_ms);
        self.put_off_ms >= PUT_OFF_MS_MAX
    }

    /// When what is stuck is tried again.
    pub(crate) fn parked_until(&self) -> Option<Millis> {
        self.parked_until
    }
}
