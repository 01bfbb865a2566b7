//! What the application writes.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::mutation::Rejection;
use sdk_machine::{Event, MutationProgress, Settled};
use sdk_replica::{Committed, Executed, MutationId, Replica, ReplicaError, Transaction, Writer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Driver;
use crate::error::Error;
use crate::readers::{Readers, Waited};
use crate::rows::Rows;
use crate::transaction::{Call, OVER, Outcome, Statement};
use crate::written::{MutationState, Pending, PendingMutation, Wrote};

/// How long a transaction may take, and how long nothing may happen in it.
const TRANSACTION: Duration = Duration::from_secs(5);
const TRANSACTION_PAUSE: Duration = Duration::from_millis(250);

/// How long what was written waits for more, so that an application that writes one thing after the
/// other does not wait for the disk each time.
const TOGETHER: Duration = Duration::from_millis(3);

/// How far the clocks may be apart before it is stored anew, in microseconds.
const CLOCK_STORED_FROM: i64 = 1_000_000;

/// The writes that somebody looks at.
#[derive(Debug, Default)]
pub(super) struct Mutations {
    states: BTreeMap<MutationId, watch::Sender<MutationState>>,
    /// From how many on it is looked whether somebody still does.
    full_at: usize,
}

impl Mutations {
    /// One that waits.
    fn follow(&mut self, id: MutationId, state: MutationState) -> watch::Receiver<MutationState> {
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
}

impl Driver {
    /// Does these statements together.
    pub(super) fn write(&mut self, work: &[Statement], waited: &Waited) -> Result<Wrote, Error> {
        let is_wanted = self.readers.wanted(waited);
        let writer = self.writer();
        let mut transaction = self.replica.begin(writer)?;
        transaction.end_with_a_failure();
        let mut all = Outcome::default();
        transaction.while_wanted(is_wanted);
        for statement in work {
            let outcome = run(&mut transaction, statement)?;
            all.rows_affected += outcome.rows_affected;
            all.rows = outcome.rows;
        }
        let committed = transaction.commit()?;
        Ok(self.wrote(all, committed))
    }

    /// Does what the code of an application wants, as long as it may take.
    pub(super) async fn transact(
        &mut self,
        mut calls: mpsc::UnboundedReceiver<Call>,
        done: oneshot::Sender<Result<Wrote, Error>>,
    ) {
        let writer = self.writer();
        let answer = serve(&mut self.replica, writer, &self.readers, &mut calls).await;
        let answer = answer.map(|done| done.map(|(all, committed)| self.wrote(all, committed)));
        if let Some(answer) = answer {
            // Whoever wanted it may be gone.
            let _ = done.send(answer);
        }
    }

    fn wrote(&mut self, all: Outcome, Committed { mutation, changed }: Committed) -> Wrote {
        self.note(changed);
        let id = mutation.as_ref().map(|stored| stored.id);
        let state = match id {
            Some(id) => self.mutations.follow(id, MutationState::Queued),
            None => watch::channel(MutationState::Local).1,
        };
        if let Some(stored) = mutation {
            // Where the machine has to begin anew, it is told of what is stored.
            self.event(Event::Wrote(stored));
            self.flush_at.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
        Wrote { id, rows_affected: all.rows_affected, rows: all.rows, state }
    }

    /// Who writes, by the clock of the server as it was last.
    pub(super) fn writer(&self) -> Writer {
        let now = device_micros().saturating_add(self.clock_ahead.unwrap_or(0));
        Writer { user: self.user.clone(), now }
    }

    /// Takes a mutation back.
    pub(super) fn cancel(&mut self, id: MutationId) -> Result<bool, Error> {
        if !self.machine.may_take_back(id) {
            return Ok(false);
        }
        self.replica.note_writer(&self.writer());
        let Some(changed) = self.replica.cancel(id)? else { return Ok(false) };
        self.note(changed);
        self.event(Event::TakenBack(id));
        self.mutations.set(id, MutationState::cancelled());
        Ok(true)
    }

    /// The machine says how it is with a mutation.
    pub(super) fn mutation_changed(&mut self, id: MutationId, progress: MutationProgress) {
        let state = match progress {
            MutationProgress::Sent => MutationState::Sent,
            MutationProgress::Settled(Settled::Accepted(seq)) => {
                MutationState::Accepted { seq: seq.get() }
            }
            MutationProgress::Settled(Settled::Rejected(rejection)) => self.rejected(&rejection),
            MutationProgress::Settled(Settled::Uncertain) => MutationState::Uncertain,
        };
        self.mutations.set(id, state);
    }

    fn rejected(&self, rejection: &Rejection) -> MutationState {
        let schema = self.replica.schema(rejection.table);
        MutationState::Rejected { code: rejection.code(), reason: rejection.describe(schema) }
    }

    /// Whether it is time to send what was written.
    pub(super) fn is_flush_due(&self) -> bool {
        !self.is_stale
            && self.flush_at.is_none_or(|at| Instant::now() >= at)
            && self.machine.has_to_send(self.moment().now)
    }

    /// Sends what was written.
    pub(super) fn flush(&mut self) {
        self.flush_at = None;
        self.event(Event::Flush);
    }

    /// What waits.
    pub(super) fn pending(&self) -> Result<Pending, Error> {
        let waiting = self.replica.pending()?;
        let now = self.writer().now;
        let age = waiting.first().map(|oldest| now.saturating_sub(oldest.written_at).max(0));
        let of = |one: sdk_replica::PendingMutation| {
            let name = |table: Option<_>| table.map_or_else(String::new, |t| format!("{t}"));
            let rows = one.rows.into_iter().map(|(table, key)| (name(table), key)).collect();
            PendingMutation { id: one.id, written_at: one.written_at, rows }
        };
        Ok(Pending {
            mutations: waiting.into_iter().map(of).collect(),
            oldest_age: age.map(|age| Duration::from_micros(age.unsigned_abs())),
        })
    }

    /// One that waits, by its id.
    pub(super) fn mutation(&mut self, id: MutationId) -> Result<Option<Wrote>, Error> {
        if self.replica.mutation(id)?.is_none() {
            let Some(verdict) = self.replica.rejected(id)? else { return Ok(None) };
            let state = verdict.map_or(MutationState::Uncertain, |it| self.rejected(&it));
            let state = watch::channel(state).1;
            return Ok(Some(Wrote {
                id: Some(id),
                rows_affected: 0,
                rows: Rows::default(),
                state,
            }));
        }
        let is_sent = self.machine.is_sent(id).unwrap_or(false);
        let state = if is_sent { MutationState::Sent } else { MutationState::Queued };
        let state = self.mutations.follow(id, state);
        Ok(Some(Wrote { id: Some(id), rows_affected: 0, rows: Rows::default(), state }))
    }

    /// The server has said what time it is. Times that are written offline follow it.
    pub(super) fn note_clock(&mut self, server: i64) {
        let ahead = server.saturating_sub(device_micros());
        let differs = |stored: i64| stored.abs_diff(ahead) > CLOCK_STORED_FROM.unsigned_abs();
        let is_new = self.clock_ahead.is_none_or(differs);
        self.clock_ahead = Some(ahead);
        if is_new {
            // Until the next time, it is as if it had not been said.
            let _ = self.replica.note_clock(ahead);
        }
    }
}

/// A transaction that is open, until the code of the application ends it. Nothing when it has gone.
async fn serve(
    replica: &mut Replica,
    writer: Writer,
    readers: &Readers,
    calls: &mut mpsc::UnboundedReceiver<Call>,
) -> Option<Result<(Outcome, Committed), Error>> {
    let mut transaction = match replica.begin(writer) {
        Ok(transaction) => transaction,
        Err(error) => return Some(Err(error.into())),
    };
    let until = Instant::now() + TRANSACTION;
    let mut all = Outcome::default();
    loop {
        let pause = until.min(Instant::now() + TRANSACTION_PAUSE);
        let call = tokio::select! {
            biased;
            call = calls.recv() => call?,
            () = sleep_until(pause) => return Some(Err(Error::Timeout(OVER))),
        };
        let Call::Run { statement, waited, done } = call else { break };
        let wanted = readers.wanted(&waited);
        transaction.while_wanted(move || wanted() && Instant::now() < until);
        let outcome = run(&mut transaction, &statement);
        if Instant::now() >= until {
            return Some(Err(Error::Timeout(OVER)));
        }
        if let Ok(Outcome { rows_affected, .. }) = &outcome {
            all.rows_affected += rows_affected;
        }
        // An application that does not wait for it goes on.
        let _ = done.send(outcome.map_err(Error::from));
    }
    Some(transaction.commit().map(|committed| (all, committed)).map_err(Error::from))
}

fn run(transaction: &mut Transaction<'_>, statement: &Statement) -> Result<Outcome, ReplicaError> {
    Ok(match statement {
        Statement::Sql { sql, params } => {
            let Executed { rows_affected, columns, rows } = transaction.execute(sql, params)?;
            Outcome { rows_affected, rows: Rows::new(columns, rows) }
        }
        Statement::Query { sql, params } => {
            let result = transaction.query(sql, params)?;
            Outcome { rows_affected: 0, rows: Rows::new(result.columns, result.rows) }
        }
        Statement::Insert { table, values } => {
            transaction.insert(table, &borrowed(values))?;
            Outcome { rows_affected: 1, ..Outcome::default() }
        }
        Statement::Update { table, key, changes } => {
            let here = transaction.update(table, &borrowed(key), &borrowed(changes))?;
            Outcome { rows_affected: here, ..Outcome::default() }
        }
        Statement::Delete { table, key } => {
            let here = transaction.delete(table, &borrowed(key))?;
            Outcome { rows_affected: here, ..Outcome::default() }
        }
    })
}

fn borrowed<T: Clone>(named: &[(String, T)]) -> Vec<(&str, T)> {
    named.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

/// What the device says the time is, in microseconds since 1970. Nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the one place where the device's clock is read")]
fn device_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
