//! Subscriptions that nobody asks for any more: they are kept for a while, and that time passes only while
//! the client runs. Whoever comes back finds them up to date.

use std::collections::BTreeMap;
use std::time::Duration;

use sdk_machine::{Event, SubscriptionId};
use sdk_replica::{Idle, Replica, ReplicaError};

use super::Driver;
use crate::platform::Instant;

/// How long one is kept that nobody asks for, unless the application says otherwise.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How much of it may be forgotten when the process is ended.
const STORED_EVERY: Duration = Duration::from_secs(600);

/// Less than this is not stored: an application may come to the front and go every few seconds, and each
/// time would write to the disk.
const STORED_FROM: Duration = Duration::from_secs(10);

/// All subscriptions, and how long nobody has asked for each.
#[derive(Debug)]
pub(super) struct IdleTimes {
    all: BTreeMap<SubscriptionId, Idle>,
    /// Up to when it was counted.
    counted: Instant,
    stored: Instant,
}

impl IdleTimes {
    pub(super) fn load(replica: &Replica) -> Result<Self, ReplicaError> {
        let all = replica.idle()?.into_iter().map(|one| (one.id, one)).collect();
        let now = Instant::now();
        Ok(Self { all, counted: now, stored: now })
    }

    /// What has passed up to now does not count.
    pub(super) fn pass_over(&mut self) {
        self.counted = Instant::now();
    }
}

fn is_near(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) < STORED_FROM
}

fn kept(one: &Idle) -> Duration {
    one.ttl.unwrap_or(KEPT)
}

impl Driver {
    /// Somebody asks for a subscription, for so long after that. The longest counts.
    pub(super) fn asked_for(&mut self, id: SubscriptionId, ttl: Option<Duration>) {
        let fresh = Idle { id, ttl: None, idle: Duration::ZERO };
        let before = self.idle.all.get(&id).copied();
        let known = before.filter(|_| self.machine.subscription(id).is_some()).unwrap_or(fresh);
        let longest = match (known.ttl, ttl) {
            (Some(known), Some(ttl)) => Some(known.max(ttl)),
            (known, ttl) => ttl.or(known),
        };
        let now = Idle { id, ttl: longest, idle: Duration::ZERO };
        self.idle.all.insert(id, now);
        if now != fresh || before.is_some_and(|before| before != now) {
            // Where it cannot be stored, it is with the others.
            let _ = self.replica.get_mut().and_then(|replica| replica.note_idle(&[now]));
        }
    }

    fn is_idle(&self, id: SubscriptionId) -> bool {
        self.subscriptions.get(&id).is_none_or(|shown| shown.receiver_count() == 0)
    }

    /// Counts the time that has passed, and ends what was kept for long enough.
    pub(super) fn count_idle(&mut self) {
        let now = Instant::now();
        let passed = now.duration_since(std::mem::replace(&mut self.idle.counted, now));
        if self.is_suspended() || self.is_stale {
            return;
        }
        let ids: Vec<SubscriptionId> = self.machine.subscriptions().map(|it| it.id).collect();
        self.idle.all.retain(|id, _| ids.contains(id));
        for id in ids {
            let is_idle = self.is_idle(id);
            let fresh = Idle { id, ttl: None, idle: Duration::ZERO };
            let one = self.idle.all.entry(id).or_insert(fresh);
            if !is_idle {
                one.idle = Duration::ZERO;
                continue;
            }
            one.idle = one.idle.saturating_add(passed);
            if one.idle >= kept(one) {
                self.wish(Event::Unsubscribe(id));
            }
        }
        if now.duration_since(self.idle.stored) >= STORED_EVERY {
            self.store_idle();
        }
    }

    /// Stores how long it was, which is not much work: nobody waits for it.
    pub(super) fn store_idle(&mut self) {
        self.idle.stored = Instant::now();
        let all: Vec<Idle> = self.idle.all.values().copied().collect();
        // The next time may be better.
        let _ = self.replica.get_mut().and_then(|replica| {
            let is_known = replica.idle()?.iter().all(|known| {
                let one = all.iter().find(|one| one.id == known.id);
                one.is_none_or(|one| one.ttl == known.ttl && is_near(one.idle, known.idle))
            });
            if is_known { Ok(()) } else { replica.note_idle(&all) }
        });
    }

    /// When the next one has been kept for long enough.
    pub(super) fn idle_wakes_at(&self) -> Option<Instant> {
        if self.is_suspended() || self.is_stale {
            return None;
        }
        let idle = self.idle.all.values().filter(|one| self.is_idle(one.id));
        let left = idle.map(|one| kept(one).saturating_sub(one.idle)).min()?;
        self.idle.counted.checked_add(left)
    }
}
