//! What the application writes, and when it is sent.

use std::time::Duration;

use sdk_machine::Event;
use sdk_replica::{
    Committed, Executed, Replica, ReplicaError, TakenBack, Transaction, WriteOptions, Writer,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::Driver;
use super::undecided::offline;
use crate::error::Error;
use crate::platform::{Instant, since_1970, sleep_until};
use crate::readers::{Readers, Waited};
use crate::rows::Rows;
use crate::transaction::{Call, OVER, Outcome, Statement, Work, call_of};
use crate::written::{MutationState, Wrote};

/// How long a transaction may take, and how long nothing may happen in it.
const TRANSACTION: Duration = Duration::from_secs(5);
const TRANSACTION_PAUSE: Duration = Duration::from_millis(250);

/// How long it is at least from one sending to the next while something is on its way, so that an
/// application that writes one thing after the other does not wait for the disk each time.
const TOGETHER: Duration = Duration::from_millis(3);

/// How long a write that is not to wait for a connection may wait to be sent over it.
const ONLINE: Duration = Duration::from_secs(10);

/// How far the clocks may be apart before it is stored anew, in microseconds.
const CLOCK_STORED_FROM: i64 = 1_000_000;

impl Driver {
    /// Does these statements together, if their request has not done so before. On a full disk they take
    /// what is reserved for them.
    pub(super) fn write(
        &mut self,
        work: &[Work],
        options: WriteOptions,
        waited: &Waited,
    ) -> Result<Wrote, Error> {
        if let Some(request) = &options.request
            && let Some(wrote) =
                self.wrote_before(request, Some(call_of(work, options.replaces)))?
        {
            return Ok(wrote);
        }
        let online = self.online(&options)?;
        // A queue may have waited for what is dealt with so.
        let replaces = options.replaces.is_some();
        let done = match self.run_all(work, &options, waited) {
            Err(ReplicaError::DiskFull) if self.take_reserve() => {
                self.run_all(work, &options, waited)
            }
            done => done,
        };
        let (all, committed) = done?;
        self.has_settled |= replaces;
        Ok(self.wrote(all, committed, online))
    }

    fn run_all(
        &mut self,
        work: &[Work],
        options: &WriteOptions,
        waited: &Waited,
    ) -> Result<(Outcome, Committed), ReplicaError> {
        let is_wanted = self.readers.wanted(waited);
        let writer = self.writer();
        let mut transaction = self.replica.get_mut()?.begin(writer)?;
        transaction.set_options(options.clone())?;
        transaction.end_with_a_failure();
        let mut all = Outcome::default();
        transaction.while_wanted(is_wanted);
        for one in work {
            let outcome = run(&mut transaction, one)?;
            all.rows_affected += outcome.rows_affected;
            all.rows = outcome.rows;
        }
        if options.request.is_some() {
            transaction.set_call(call_of(work, options.replaces));
            transaction.set_given(all.given());
        }
        Ok((all, transaction.commit()?))
    }

    /// Takes what is reserved, if it is there. What the server has waits until there is room again.
    pub(super) fn take_reserve(&mut self) -> bool {
        let was_there = self.replica.get().is_ok_and(Replica::give_reserve);
        if was_there {
            self.fail(ReplicaError::DiskFull);
            // Whoever has written looks at it.
            self.show_status();
        }
        was_there
    }

    /// How long a write may wait to be sent, if it is not to wait for a connection.
    fn online(&self, options: &WriteOptions) -> Result<Option<Instant>, Error> {
        match options.online {
            true if !self.is_online() => Err(offline()),
            true => Ok(Some(Instant::now() + ONLINE)),
            false => Ok(None),
        }
    }

    /// The same of a transaction. What the code of one that was done has given is not known here.
    fn may_transact(&mut self, options: &WriteOptions) -> Result<Option<Instant>, Error> {
        if let Some(request) = &options.request
            && self.wrote_before(request, None)?.is_some()
        {
            return Err(ReplicaError::AlreadyDone.into());
        }
        self.online(options)
    }

    /// Does what the code of an application wants, as long as it may take.
    pub(super) async fn transact(
        &mut self,
        mut calls: mpsc::UnboundedReceiver<Call>,
        options: WriteOptions,
        done: oneshot::Sender<Result<Wrote, Error>>,
    ) {
        let online = match self.may_transact(&options) {
            Ok(online) => online,
            Err(error) => {
                let _ = done.send(Err(error));
                return;
            }
        };
        let replaces = options.replaces.is_some();
        let begun = (self.writer(), options);
        let answer = match self.replica.get_mut() {
            Ok(replica) => serve(replica, begun, &self.readers, &mut calls).await,
            Err(error) => Some(Err(error.into())),
        };
        if let Some(Err(error)) = &answer
            && *error == Error::from(ReplicaError::DiskFull)
        {
            // It cannot be done once more by itself. The next one has room.
            self.take_reserve();
        }
        let answer =
            answer.map(|done| done.map(|(all, committed)| self.wrote(all, committed, online)));
        if let Some(answer) = answer {
            self.has_settled |= replaces && answer.is_ok();
            // Whoever wanted it may be gone.
            let _ = done.send(answer);
        }
    }

    fn wrote(&mut self, all: Outcome, committed: Committed, online: Option<Instant>) -> Wrote {
        let Committed { id, mutation, changed, taken_back } = committed;
        self.note(changed);
        if let Some(TakenBack { id, is_held, .. }) = taken_back {
            self.taken_back(id, is_held);
        }
        let state = match id {
            Some(id) => self.mutations.follow(id, MutationState::Queued),
            None => watch::channel(MutationState::Local).1,
        };
        if let Some(stored) = mutation {
            // Where the machine has to begin anew, it is told of what is stored.
            self.event(Event::Wrote(stored));
            self.flush_at.get_or_insert(self.flushed_at + TOGETHER);
        }
        if let Some((id, until)) = id.zip(online) {
            self.mutations.sent_by(id, until);
            self.flush_at = None;
        }
        Wrote { id, rows_affected: all.rows_affected, rows: all.rows, state }
    }

    /// Who writes, by the clock of the server as it was last.
    pub(super) fn writer(&self) -> Writer {
        let now = device_micros().saturating_add(self.clock_ahead.unwrap_or(0));
        Writer { user: self.user.clone(), now }
    }

    /// Whether it is time to send what was written.
    pub(super) fn is_flush_due(&self) -> bool {
        !self.is_stale
            && (self.flush_at.is_none_or(|at| Instant::now() >= at) || !self.machine.is_sending())
            && self.machine.has_to_send(self.moment().now)
    }

    /// Sends what was written.
    pub(super) fn flush(&mut self) {
        // After a while without a connection, or suspended, much may have expired; not all of it goes at
        // once.
        self.expire_writes();
        if self.until_overdue().is_some_and(|left| left.is_zero()) {
            return;
        }
        (self.flush_at, self.flushed_at) = (None, Instant::now());
        self.event(Event::Flush);
    }

    /// The server has said what time it is. Times that are written offline follow it.
    pub(super) fn note_clock(&mut self, server: i64) {
        let ahead = server.saturating_sub(device_micros());
        let differs = |stored: i64| stored.abs_diff(ahead) > CLOCK_STORED_FROM.unsigned_abs();
        let is_new = self.clock_ahead.is_none_or(differs);
        self.clock_ahead = Some(ahead);
        if is_new {
            // Until the next time, it is as if it had not been said.
            let _ = self.replica.get_mut().and_then(|replica| replica.note_clock(ahead));
        }
    }
}

/// A transaction that is open, until the code of the application ends it. Nothing when it has gone.
async fn serve(
    replica: &mut Replica,
    (writer, options): (Writer, WriteOptions),
    readers: &Readers,
    calls: &mut mpsc::UnboundedReceiver<Call>,
) -> Option<Result<(Outcome, Committed), Error>> {
    let mut transaction = match replica.begin(writer) {
        Ok(transaction) => transaction,
        Err(error) => return Some(Err(error.into())),
    };
    if let Err(error) = transaction.set_options(options) {
        return Some(Err(error.into()));
    }
    let until = Instant::now() + TRANSACTION;
    let mut all = Outcome::default();
    loop {
        let pause = until.min(Instant::now() + TRANSACTION_PAUSE);
        let call = tokio::select! {
            biased;
            call = calls.recv() => call?,
            () = sleep_until(pause) => return Some(Err(Error::Timeout(OVER))),
        };
        let Call::Run { work, waited, done } = call else { break };
        let wanted = readers.wanted(&waited);
        transaction.while_wanted(move || wanted() && Instant::now() < until);
        let outcome = run(&mut transaction, &work);
        if Instant::now() >= until {
            return Some(Err(Error::Timeout(OVER)));
        }
        if let Ok(Outcome { rows_affected, .. }) = &outcome {
            all.rows_affected += rows_affected;
        }
        // An application that does not wait for it goes on.
        let _ = done.send(outcome.map_err(Error::from));
        if readers.is_stopped() {
            return Some(Err(ReplicaError::Suspended.into()));
        }
    }
    transaction.set_given(all.given());
    Some(transaction.commit().map(|committed| (all, committed)).map_err(Error::from))
}

fn run(transaction: &mut Transaction<'_>, work: &Work) -> Result<Outcome, ReplicaError> {
    match work {
        Work::Statement(statement) => write(transaction, statement),
        Work::Query { sql, params } => {
            let result = transaction.query(sql, params)?;
            Ok(Outcome { rows_affected: 0, rows: Rows::new(result.columns, result.rows) })
        }
        Work::Again(id) => {
            Ok(Outcome { rows_affected: transaction.write_again(*id)?, ..Outcome::default() })
        }
    }
}

fn write(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
) -> Result<Outcome, ReplicaError> {
    let rows_affected = match statement {
        Statement::Sql { sql, params } => {
            let Executed { rows_affected, columns, rows } = transaction.execute(sql, params)?;
            return Ok(Outcome { rows_affected, rows: Rows::new(columns, rows) });
        }
        Statement::Insert { table, values } => {
            transaction.insert(table, &borrowed(values))?;
            1
        }
        Statement::Update { table, key, changes } => {
            transaction.update(table, &borrowed(key), &borrowed(changes))?
        }
        Statement::Delete { table, key } => transaction.delete(table, &borrowed(key))?,
        Statement::Expect { table, key, values } => {
            transaction.expect(table, &borrowed(key), &borrowed(values))?;
            0
        }
    };
    Ok(Outcome { rows_affected, ..Outcome::default() })
}

fn borrowed<T: Clone>(named: &[(String, T)]) -> Vec<(&str, T)> {
    named.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

/// What the device says the time is, in microseconds since 1970. Nothing is decided by it.
fn device_micros() -> i64 {
    since_1970().map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
