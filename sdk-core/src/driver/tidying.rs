//! What is done beside everything else: rows whose time has passed go, what has gone leaves nothing
//! behind, and the journal stays short. Each is done in pieces, so that others get their turn.

use std::time::Duration;

use sdk_replica::{Replica, ReplicaError, Tidied};

use super::Driver;
use crate::config::LogLevel;
use crate::platform::Instant;

/// How long after something has changed it is looked whether there is something to be tidied up.
const AFTER: Duration = Duration::from_secs(2);

/// How long it is from one time to the next: each time the disk is waited for, and a device wakes up.
const EVERY: Duration = Duration::from_secs(60);

/// When it is tidied up.
#[derive(Debug)]
pub(super) struct Tidying {
    at: Option<Instant>,
    not_before: Instant,
}

impl Tidying {
    /// The file may have been left untidy.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { at: Some(now + AFTER), not_before: now }
    }

    /// Something has changed.
    pub(super) fn wanted(&mut self) {
        if self.at.is_none() {
            self.at = Some(self.not_before.max(Instant::now() + AFTER));
        }
    }
}

impl Driver {
    /// Takes the journal into the file. It must not be in the way of what somebody writes on a full disk,
    /// so it is tried then, too.
    pub(super) fn shorten_journal(&mut self) {
        let done = self.replica.get_mut().and_then(Replica::shorten_journal);
        if let Err(error) = done {
            self.not_tidied(error);
        }
    }

    /// Whether that is to be done, before anything else.
    pub(super) fn is_journal_long(&self) -> bool {
        self.replica.get().is_ok_and(Replica::is_journal_long)
    }

    /// When it is tidied up, if it is to be.
    pub(super) fn tidies_at(&self) -> Option<Instant> {
        self.tidying.at.filter(|_| self.trouble.is_none() && self.replica.is_open())
    }

    /// Tidies up a piece, if it is time to.
    pub(super) fn tidy(&mut self) {
        let now = Instant::now();
        if self.tidies_at().is_none_or(|at| now < at) {
            return;
        }
        // It may have had none since whatever was in the way.
        let reserve = self.replica.get().and_then(Replica::keep_reserve);
        let has_reserve = reserve.is_ok();
        let tidied = match reserve {
            Err(error @ ReplicaError::DiskFull) => Err(error),
            Ok(()) | Err(_) => self.replica.get_mut().and_then(Replica::tidy),
        };
        self.tidying.at = match tidied {
            Ok(Tidied::All) => (!has_reserve).then(|| now + EVERY),
            Ok(Tidied::Some) => Some(now),
            Ok(Tidied::NotYet) => Some(now + AFTER),
            Err(error) => {
                self.not_tidied(error);
                Some(now + EVERY)
            }
        };
        self.tidying.not_before = now + EVERY;
    }

    /// Nothing is lost by that, unless the file is damaged. When there is no room in it, what the server has
    /// waits: the journal would become longer, and take the room that there is for what somebody writes.
    fn not_tidied(&mut self, error: ReplicaError) {
        match error {
            ReplicaError::Damaged | ReplicaError::DiskFull => self.fail(error),
            error => self.log(LogLevel::Warn, || format!("the replica is not tidied up: {error}")),
        }
    }

    /// Drops what has expired by the server's clock.
    pub(super) fn expire(&mut self) {
        let Some(now) = self.server_micros().filter(|_| self.trouble.is_none()) else { return };
        if self.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        match self.expire_until(now) {
            Ok(next) => self.next_expiry = next,
            Err(error) => self.fail(error),
        }
    }

    /// Says when the next one expires.
    fn expire_until(&mut self, now: i64) -> Result<Option<i64>, ReplicaError> {
        let writer = self.writer();
        let replica = self.replica.get_mut()?;
        replica.note_writer(&writer);
        let changed = replica.expire(now)?;
        if changed.tables.is_empty() {
            return Err(ReplicaError::Inconsistent("rows that have expired do not go"));
        }
        let next = replica.next_expiry();
        self.note(changed);
        next
    }
}
