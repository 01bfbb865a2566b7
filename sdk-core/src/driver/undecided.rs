//! What was written and is not decided, for whoever looks at it; and what becomes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::mutation::Rejection as Verdict;
use sdk_machine::{Event, MutationProgress, Phase, Step, Write};
use sdk_replica::{Decision, LET_GO_AT_ONCE_MAX, MutationId, Replica, Request};
use tokio::sync::watch;

use super::Driver;
use crate::error::Error;
use crate::platform::Instant;
use crate::rejection::Rejection;
use crate::rows::Rows;
use crate::written::{MutationState, Pending, PendingMutation, Wrote};

/// When it is tried again to take back what could not be.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How many rejections are read at once: each may be large.
pub(crate) const REJECTIONS_AT_ONCE: usize = 32;

/// Why what is not to wait for a connection was not written, or not sent.
const OFFLINE: &str =
    "there is no connection, and this write was not to wait for one: write it again when there is";

pub(super) fn offline() -> Error {
    Error::Asked { code: ErrorCode::Offline, message: OFFLINE.to_owned() }
}

/// The writes that somebody looks at, or that do not wait for long.
#[derive(Debug, Default)]
pub(super) struct Mutations {
    states: BTreeMap<MutationId, watch::Sender<MutationState>>,
    /// From how many on it is looked whether somebody still does.
    full_at: usize,
    /// What is to be sent by then, or taken back.
    online: Vec<(MutationId, Instant)>,
    /// When the next one expires, if it is not sent before: microseconds since 1970.
    next_overdue: Option<i64>,
    /// What has expired could not be taken back, and is not tried again before.
    overdue_not_before: Option<Instant>,
}

impl Mutations {
    /// One that waits.
    pub(super) fn follow(
        &mut self,
        id: MutationId,
        state: MutationState,
    ) -> watch::Receiver<MutationState> {
        if self.states.len() >= self.full_at {
            self.states.retain(|_, state| !state.is_closed());
            self.full_at = 2 * self.states.len() + 64;
        }
        self.states.entry(id).or_insert_with(|| watch::Sender::new(state)).subscribe()
    }

    /// It is so with it now, if somebody looks at it.
    fn set(&mut self, id: MutationId, state: MutationState) {
        let is_decided = state.is_decided();
        if let Some(sender) = self.states.get(&id) {
            sender.send_if_modified(|shown| {
                let is_other = *shown != state;
                *shown = state;
                is_other
            });
        }
        if is_decided {
            self.states.remove(&id);
        }
    }

    pub(super) fn sent_by(&mut self, id: MutationId, until: Instant) {
        self.online.push((id, until));
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.online.iter().map(|(_, until)| *until).min()
    }
}

impl Driver {
    /// Takes a mutation back, if it has not left the device; that is how it is decided then.
    pub(super) fn take_back(
        &mut self,
        id: MutationId,
        decision: Decision,
        request: Option<&Request>,
    ) -> Result<bool, Error> {
        let is_held = self.replica.get()?.is_held(id)?;
        if !is_held && !self.machine.may_take_back(id) {
            return Ok(false);
        }
        // Of what is stuck the server says whether it has it.
        let decided = Some(&decision).filter(|_| !self.machine.is_stuck(id));
        let writer = self.writer();
        let replica = self.replica.get_mut()?;
        replica.note_writer(&writer);
        let Some(changed) = replica.cancel_as(id, decided, request)? else { return Ok(false) };
        self.note(changed);
        if !is_held {
            self.event(Event::TakenBack(id));
        }
        if let Some(decided) = decided {
            self.mutations.set(id, self.state_of_decided(decided));
        }
        self.has_settled = true;
        Ok(true)
    }

    /// One was taken back that had not left the device, since another one takes its place.
    pub(super) fn taken_back(&mut self, id: MutationId, was_held: bool) {
        if !was_held {
            self.event(Event::TakenBack(id));
        }
        self.mutations.set(id, MutationState::cancelled());
    }

    /// The machine says how it is with a mutation.
    pub(super) fn mutation_changed(&mut self, id: MutationId, progress: MutationProgress) {
        let state = match progress {
            MutationProgress::Sent => MutationState::Sent,
            MutationProgress::Stuck => MutationState::Stuck,
            MutationProgress::Settled(settled) => self.state_of_decided(&Decision::from(&settled)),
        };
        self.mutations.set(id, state);
    }

    fn rejected(&self, verdict: &Verdict) -> MutationState {
        let schema = self.replica.get().ok().and_then(|it| it.schema(verdict.table));
        MutationState::Rejected { code: verdict.code(), reason: verdict.describe(schema) }
    }

    /// How it is with what is decided.
    fn state_of_decided(&self, decision: &Decision) -> MutationState {
        match decision {
            Decision::Accepted(seq) => MutationState::Accepted { seq: seq.get() },
            Decision::Rejected(verdict) => self.rejected(verdict),
            Decision::Uncertain => MutationState::Uncertain,
            Decision::Cancelled => MutationState::cancelled(),
            Decision::Offline => {
                MutationState::Rejected { code: ErrorCode::Offline, reason: OFFLINE.to_owned() }
            }
            Decision::Expired => MutationState::Expired,
        }
    }

    /// How it is with what is kept as a rejection.
    fn state_of_kept(&self, verdict: Option<&Verdict>) -> MutationState {
        verdict.map_or(MutationState::Uncertain, |verdict| self.rejected(verdict))
    }

    /// A step was done.
    pub(super) fn stepped(&mut self, step: &Step) {
        let is_of = |write: &Write| matches!(write, Write::Settle { .. });
        self.has_settled |= step.writes.iter().any(is_of);
        if step.writes.iter().any(|write| matches!(write, Write::HeldBackUncertain(_))) {
            self.has_settled = true;
            self.look_at_states();
        }
    }

    /// What somebody looks at may have become uncertain.
    pub(super) fn look_at_states(&mut self) {
        let ids: Vec<MutationId> = self.mutations.states.keys().copied().collect();
        for id in ids {
            let kept = self.replica.get().and_then(|replica| replica.rejected(id));
            if matches!(kept, Ok(Some(kept)) if kept.rejection.is_none()) {
                self.mutations.set(id, MutationState::Uncertain);
            }
        }
    }

    /// Something was settled, discarded or taken back: others may have waited for it, and somebody may
    /// want to hear of it.
    pub(super) fn look_at_settled(&mut self) {
        // It is looked at when there is no trouble any more; another failure would only make that later.
        if self.is_stale || self.trouble.is_some() || !std::mem::take(&mut self.has_settled) {
            return;
        }
        match self.replica.get_mut().and_then(Replica::let_go) {
            Ok(free) => {
                // The rest has its turn with whatever comes next: the least is that these are sent.
                self.has_settled = free.len() >= LET_GO_AT_ONCE_MAX;
                for stored in free {
                    self.event(Event::Wrote(stored));
                }
            }
            Err(error) => self.fail(error),
        }
        if let Ok(last) = self.replica.get().and_then(Replica::last_rejected) {
            self.rejections.send_if_modified(|shown| std::mem::replace(shown, last) != last);
        }
    }

    /// Whether what is not to wait can be written.
    pub(super) fn is_online(&self) -> bool {
        self.machine.phase() == Phase::Open && self.trouble.is_none()
    }

    /// Takes back what was not to wait for a connection, and would.
    pub(super) fn look_at_online(&mut self) {
        // What the machine says then is not how it is; it is looked at when it begins anew.
        if self.is_suspended() || self.is_stale {
            return;
        }
        let (is_online, now) = (self.is_online(), Instant::now());
        for (id, until) in std::mem::take(&mut self.mutations.online) {
            if self.machine.is_sent(id) != Some(false) {
                continue;
            }
            if is_online && now < until {
                self.mutations.online.push((id, until));
                continue;
            }
            if self.take_back(id, Decision::Offline, None).is_err() {
                self.mutations.online.push((id, now + TRY_AGAIN));
            }
        }
    }

    /// What was not to wait for a connection when the client was open last.
    pub(super) fn load_online(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.mutations.online =
            self.replica.get()?.online()?.into_iter().map(|id| (id, now)).collect();
        Ok(())
    }

    /// What waits is another one now.
    pub(super) fn note_overdue(&mut self) {
        if let Ok(next) = self.replica.get().and_then(Replica::next_overdue) {
            self.mutations.next_overdue = next;
        }
    }

    /// How long it is until the next write expires.
    pub(super) fn until_overdue(&self) -> Option<Duration> {
        let can_be_done = self.trouble.is_none() && self.replica.is_open();
        let at = self.mutations.next_overdue.filter(|_| can_be_done)?;
        // As with rows that expire: a clock of the device may be wrong by years. Before a server has
        // told the time nothing is sent, either.
        let left = at.saturating_sub(self.server_micros()?).max(0);
        // As far as the clock can count.
        let left = Duration::from_micros(left.unsigned_abs()).min(Duration::from_secs(3_600));
        let pause = self
            .mutations
            .overdue_not_before
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        Some(left.max(pause))
    }

    /// Takes back what has expired before it was sent.
    pub(super) fn expire_writes(&mut self) {
        let Some(now) = self.server_micros() else { return };
        let is_early = self.until_overdue().is_none_or(|left| !left.is_zero());
        if is_early || self.mutations.next_overdue.is_none_or(|at| at > now) {
            return;
        }
        self.mutations.overdue_not_before = None;
        match self.replica.get().and_then(|replica| replica.overdue(now)) {
            Ok(overdue) => {
                for id in overdue {
                    if let Err(error) = self.take_back(id, Decision::Expired, None) {
                        // A disk that is full stays so for a while.
                        self.mutations.overdue_not_before = Some(Instant::now() + TRY_AGAIN);
                        self.log(crate::config::LogLevel::Warn, || error.to_string());
                    }
                }
            }
            Err(error) => self.fail(error),
        }
        self.note_overdue();
    }

    /// What waits.
    pub(super) fn pending(&self) -> Result<Pending, Error> {
        let waiting = self.replica.get()?.pending()?;
        let now = self.writer().now;
        let age = waiting.first().map(|oldest| now.saturating_sub(oldest.written_at).max(0));
        let of = |one: sdk_replica::PendingMutation| {
            let name = |table: Option<_>| table.map_or_else(String::new, |t| format!("{t}"));
            let rows = one.rows.into_iter().map(|(table, key)| (name(table), key)).collect();
            let state = self.state_of(one.id);
            PendingMutation { id: one.id, written_at: one.written_at, rows, state }
        };
        Ok(Pending {
            mutations: waiting.into_iter().map(of).collect(),
            oldest_age: age.map(|age| Duration::from_micros(age.unsigned_abs())),
        })
    }

    /// How it is with a mutation that waits.
    fn state_of(&self, id: MutationId) -> MutationState {
        match self.machine.is_sent(id) {
            _ if self.machine.is_stuck(id) => MutationState::Stuck,
            Some(true) => MutationState::Sent,
            Some(false) | None => MutationState::Queued,
        }
    }

    /// One that waits or did not happen, or of which it is kept how it was decided, by its id.
    pub(super) fn mutation(&mut self, id: MutationId) -> Result<Option<Wrote>, Error> {
        let replica = self.replica.get()?;
        // What was taken back before it was sent is decided.
        let is_undecided = replica.is_waiting(id)?
            && (!replica.is_taken_back(id)? || self.machine.is_sent(id) == Some(true));
        let state = if is_undecided {
            self.mutations.follow(id, self.state_of(id))
        } else {
            let state = match (replica.rejected(id)?, replica.decision(id)?) {
                (Some(kept), _) => self.state_of_kept(kept.rejection.as_ref()),
                (None, Some(decision)) => self.state_of_decided(&decision),
                (None, None) => return Ok(None),
            };
            watch::channel(state).1
        };
        Ok(Some(Wrote { id: Some(id), rows_affected: 0, rows: Rows::default(), state }))
    }

    /// What did not happen and was not dealt with, behind a place, [`REJECTIONS_AT_ONCE`] of it; with the
    /// place of each.
    pub(super) fn rejections(&self, after: i64) -> Result<Vec<(i64, Rejection)>, Error> {
        let replica = self.replica.get()?;
        let kept = replica.rejections(after, REJECTIONS_AT_ONCE)?;
        let named = |one: sdk_replica::RejectedMutation| {
            let state = self.state_of_kept(one.rejection.as_ref());
            (one.place, Rejection::new(one, state, |table| replica.schema(table)))
        };
        Ok(kept.into_iter().map(named).collect())
    }
}
