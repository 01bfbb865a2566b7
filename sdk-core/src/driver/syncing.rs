//! Who waits until all that was written is decided, and all that the server had is here; and when that was
//! so for the last time.

use std::time::Duration;

use protocol::frame::v1::Position;
use sdk_machine::{Event, StatusWord as Word, SubscriptionState, SyncId};
use sdk_replica::{MutationId, Replica};
use tokio::sync::oneshot;

use super::Driver;
use crate::error::Error;
use crate::platform::Instant;
use crate::sync::{Before, Unsynced, Woken};

/// Everybody who waits.
#[derive(Default)]
pub(super) struct Syncing(Vec<ForSync>);

struct ForSync {
    id: SyncId,
    /// The last that was written before.
    last: MutationId,
    /// Where the server was since, once it has said so.
    positions: Option<Vec<Position>>,
    until: Instant,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Syncing {
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.0.iter().map(|waits| waits.until).min()
    }

    /// The server has said where it is. What was said before may be of another history.
    pub(super) fn server_is(&mut self, id: SyncId, positions: Vec<Position>) {
        if let Some(waits) = self.0.iter_mut().find(|waits| waits.id == id) {
            waits.positions = Some(positions);
        }
    }

    pub(super) fn close(&mut self) {
        self.0.clear();
    }
}

/// How often it is stored that all is live, in microseconds.
const SYNCED_STORED_EVERY: i64 = 60_000_000;

impl Driver {
    /// Whatever comes while all is live says that it is.
    pub(super) fn note_synced(&mut self) {
        let is_synced = self.machine.status().word == Word::Connected && self.trouble.is_none();
        let now = self.server_micros().filter(|_| is_synced);
        if now > *self.synced_at.borrow() {
            self.synced_at.send_replace(now);
            self.store_synced(SYNCED_STORED_EVERY);
        }
    }

    /// Stores it, if it is so many microseconds later than what is stored.
    pub(super) fn store_synced(&mut self, later: i64) {
        let Some(at) = *self.synced_at.borrow() else { return };
        let is_later = self.synced_at_stored.is_none_or(|stored| at - stored > later);
        // It is no reason to stop: the next one may be possible.
        if is_later && self.replica.get_mut().and_then(|it| it.note_synced(at)).is_ok() {
            self.synced_at_stored = Some(at);
        }
    }

    pub(super) fn wait_for_sync(
        &mut self,
        within: Duration,
        done: oneshot::Sender<Result<(), Error>>,
    ) {
        let now = self.moment().now;
        let last = self.replica.get().map(Replica::last_mutation).map_err(Error::from);
        let begun = last.and_then(|last| Ok((last, self.machine.sync(now)?)));
        match begun {
            Ok((last, (id, instructions))) => {
                let until = Instant::now() + within;
                self.syncing.0.push(ForSync { id, last, positions: None, until, done });
                self.follow(instructions);
            }
            Err(error) => {
                let _ = done.send(Err(error));
            }
        }
    }

    /// Tells those who have what they wait for, and those whose time is over.
    pub(super) fn look_at_syncs(&mut self) {
        if self.syncing.0.is_empty() {
            return;
        }
        let now = Instant::now();
        for waits in std::mem::take(&mut self.syncing.0) {
            let unsynced = self.unsynced(&waits);
            let is_over = waits.until <= now || waits.done.is_closed();
            match unsynced {
                Some(_) if !is_over => {
                    self.syncing.0.push(waits);
                    continue;
                }
                Some(unsynced) => {
                    let _ = waits.done.send(Err(Error::Unsynced(Box::new(unsynced))));
                }
                None => {
                    let _ = waits.done.send(Ok(()));
                }
            }
            self.wish(Event::ForgetSync(waits.id));
        }
    }

    /// What is missing, if anything.
    fn unsynced(&self, waits: &ForSync) -> Option<Unsynced> {
        let status = self.status.borrow().word;
        let mut subscriptions = Vec::new();
        for stored in self.machine.subscriptions() {
            let state = self.machine.subscription(stored.id).map(|view| view.state);
            if !matches!(state, Some(SubscriptionState::Live | SubscriptionState::Refused)) {
                subscriptions.extend(stored.texts.first().map(|text| text.sql.clone()));
            }
        }
        let is_there = |position: &&Position| match self.machine.lane(&position.lane) {
            Some(lane) => lane.epoch == position.epoch && lane.seq >= position.seq,
            // Nothing of it is subscribed to any more.
            None => true,
        };
        let (has_answer, lanes) = match &waits.positions {
            Some(all) => {
                let behind = all.iter().filter(|position| !is_there(position));
                (true, behind.map(|position| position.lane.to_string()).collect())
            }
            None => (false, Vec::new()),
        };
        let undecided = self.replica.get().and_then(|replica| replica.undecided(waits.last));
        // Otherwise the machine does not speak of what is stored.
        let can_be_told = undecided.is_ok() && !self.is_stale;
        let undecided = undecided.unwrap_or(0);
        let is_synced = can_be_told
            && has_answer
            && undecided == 0
            && subscriptions.is_empty()
            && lanes.is_empty();
        (!is_synced).then_some(Unsynced { status, undecided, subscriptions, lanes })
    }

    /// Goes on for a while, if it does not anyway.
    pub(super) fn wake_for_sync(&mut self) -> Woken {
        let resumed = self.resumed;
        let before = match () {
            () if self.is_suspended() => Before::Suspended,
            () if self.is_paused => Before::Paused,
            () => Before::Running,
        };
        if before != Before::Running {
            self.resume();
        }
        Woken { before, resumed }
    }

    /// It is as it was before, if the application has not wanted it otherwise meanwhile.
    pub(super) fn rest(&mut self, woken: Woken) {
        match woken.before {
            _ if self.resumed != woken.resumed => {}
            Before::Running => {}
            Before::Paused => self.pause(),
            Before::Suspended => self.suspend(),
        }
    }
}
