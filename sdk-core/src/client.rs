//! The client: what applications call.

mod diagnosing;
mod opening;
mod overviews;
mod rejections;
mod requests;
mod syncing;
mod writes;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::Stream;
use protocol::frame::v1::{Position, SqlColumn};
use protocol::ids::RequestId;
use protocol::value::{Row, Value};
use sdk_machine::{Ask, SqlAsk};
use sdk_replica::ReplicaError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{Command, SignOut};
use crate::driver::ShownOfAll;
use crate::error::Error;
use crate::incident::Incident;
use crate::platform::{Done, suspended_within};
use crate::readers::{Ending, Readers, Waited, WaitedHere};
use crate::rows::Rows;
use crate::status::Status;
use crate::subscription::{Progress, SubscribeOptions, Subscription};
use crate::verify::Verifications;
use crate::watch::{Watch, WatchOptions};

pub use self::overviews::Overview;

/// How long a statement for the server is waited for, unless it is said otherwise.
const REMOTE_WITHIN: Duration = Duration::from_secs(30);

/// And at most.
const REMOTE_WITHIN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A local replica, and the connection that keeps it in step. Cloning shares it; it is closed by
/// [`Client::close`], or when the last clone is dropped. Its methods work in any executor.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    commands: mpsc::UnboundedSender<Command>,
    readers: Readers,
    shown: ShownOfAll,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a statement is sent to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// How long the answer is waited for; 30 seconds without, a day at most.
    pub timeout: Option<Duration>,
    /// Under which the server keeps the answer of a write for 24 hours. Drawn at random without:
    /// give one of your own to ask again after a restart of the application.
    pub request_id: Option<[u8; 16]>,
}

/// What the server has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteAnswer {
    /// The columns, with their types on the server; none of a statement that gives no rows.
    pub columns: Vec<SqlColumn>,
    /// The rows.
    pub rows: Rows,
    /// How many rows were written, by a statement that writes.
    pub rows_affected: Option<u64>,
    /// Up to where lanes were written: see [`Client::wait_for`].
    pub positions: Vec<Position>,
}

impl Client {
    /// Subscribes: the rows of `SELECT columns FROM namespace.table WHERE …` come to this device
    /// and stay up to date. Done when the subscription is stored; [`Subscription::ready`] says when
    /// the rows are here.
    ///
    /// # Errors
    /// [`Error::Asked`] when there are too many, [`Error::Replica`] when it cannot be stored. What
    /// the server refuses is told by the subscription.
    pub async fn subscribe(
        &self,
        sql: &str,
        params: &[Value],
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        let (done, answer) = oneshot::channel();
        let SubscribeOptions { fetch_last, batch_rows, ttl } = options;
        let ask = Ask { sql: sql.to_owned(), params: params.to_vec(), fetch_last, batch_rows };
        self.tell(Command::Subscribe(ask, ttl, done))?;
        let shown = answer.await.map_err(|_| Error::Closed)??;
        Ok(Subscription::new(self.inner.commands.clone(), shown))
    }

    /// Reads the replica, once: any SQL, offline too.
    ///
    /// # Errors
    /// [`Error::Replica`] says what is wrong with the query.
    ///
    /// # Cancel safety
    /// When it is dropped the query is stopped; but in a browser one that runs comes to its end, and nothing
    /// else happens meanwhile.
    pub async fn query(&self, sql: &str, params: &[Value]) -> Result<Rows, Error> {
        self.be_reached().await?;
        let (done, answer) = oneshot::channel();
        let (sql, params) = (sql.to_owned(), params.to_vec());
        let here = WaitedHere(Waited::default());
        let opening = self.inner.readers.openings();
        let is_wanted = self.inner.readers.wanted(&here.0);
        self.inner.readers.run(move |reader| {
            let result = reader.run(&[(&sql, &params, Default::default())], is_wanted).pop();
            // Nobody may wait any more.
            let _ = result.map(|result| done.send(result));
        })?;
        let result = answer.await.map_err(|_| self.inner.readers.why_not())?;
        if matches!(result, Err(ReplicaError::Damaged)) {
            self.tell(Command::Damaged(opening))?;
        }
        let result = result?;
        Ok(Rows::new(result.columns, result.rows))
    }

    /// Where nobody can read now, that may be because the client is about to be resumed: then it is.
    async fn be_reached(&self) -> Result<(), Error> {
        match self.inner.readers.are_open() {
            true => Ok(()),
            false => self.reached().await,
        }
    }

    /// All that was wanted before is done.
    async fn reached(&self) -> Result<(), Error> {
        let (done, reached) = oneshot::channel();
        self.tell(Command::Reached(done))?;
        reached.await.map_err(|_| Error::Closed)
    }

    /// Reads the replica, and again whenever a table that the query reads has changed. The first
    /// result comes at once, from what is here. All results that one step has changed come
    /// together. Each says what of it is new, by the primary key where the query reads one table.
    ///
    /// A query that is the SQL of a subscription, with its values and at most ORDER BY and LIMIT
    /// behind it, does not run for changes of rows that the subscription does not select.
    ///
    /// # Errors
    /// [`Error::Closed`]. What is wrong with the query is in its results.
    pub fn watch(&self, sql: &str, params: &[Value]) -> Result<Watch, Error> {
        self.watch_with(sql, params, WatchOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub fn watch_with(
        &self,
        sql: &str,
        params: &[Value],
        options: WatchOptions,
    ) -> Result<Watch, Error> {
        let (results, receiver) = watch::channel(None);
        self.tell(Command::Watch { sql: sql.to_owned(), params: params.to_vec(), results })?;
        Ok(Watch::new(receiver, options))
    }

    /// How many times queries of watches have run since the client was opened: for tests, and to see
    /// what the watches of an application cost.
    pub fn watch_runs(&self) -> u64 {
        self.inner.readers.watch_runs()
    }

    /// Has the server run a statement, and waits for the answer. When the connection is cut it is
    /// asked again, and what it writes is written once.
    ///
    /// # Errors
    /// What the server says; [`Error::Timeout`] after 30 seconds, and then a write may have
    /// happened.
    pub async fn remote(&self, sql: &str, params: &[Value]) -> Result<RemoteAnswer, Error> {
        self.remote_with(sql, params, RemoteOptions::default()).await
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::remote`].
    ///
    /// # Cancel safety
    /// When it is dropped nobody waits for the answer, and a write may have happened.
    pub async fn remote_with(
        &self,
        sql: &str,
        params: &[Value],
        options: RemoteOptions,
    ) -> Result<RemoteAnswer, Error> {
        let within = options.timeout.unwrap_or(REMOTE_WITHIN).min(REMOTE_WITHIN_MAX);
        let id = options.request_id.map_or_else(random, Ok)?;
        let ask = SqlAsk {
            sql: sql.to_owned(),
            params: params.to_vec(),
            request_id: Some(RequestId::from_bytes(id)),
            timeout_ms: u32::try_from(within.as_millis()).ok(),
        };
        let (done, answer) = oneshot::channel();
        self.tell(Command::Run { ask, within, done })?;
        let answer = answer.await.map_err(|_| Error::Closed)??;
        let names = answer.columns.iter().map(|column| column.name.clone()).collect();
        let rows = answer.rows.into_iter().map(|Row(values)| values).collect();
        Ok(RemoteAnswer {
            columns: answer.columns,
            rows: Rows::new(names, rows),
            rows_affected: answer.rows_affected,
            positions: answer.positions,
        })
    }

    /// Waits until the replica has come to these positions: then it shows what a statement has
    /// written, as far as its subscriptions select it.
    ///
    /// # Errors
    /// [`Error::Asked`] for a lane of which nothing is subscribed to; [`Error::Timeout`] after 30
    /// seconds.
    ///
    /// # Cancel safety
    /// It only waits.
    pub async fn wait_for(&self, positions: &[Position]) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::WaitFor { positions: positions.to_vec(), within: REMOTE_WITHIN, done })?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// How it is with the connection.
    pub fn status(&self) -> Status {
        self.inner.shown.status.borrow().clone()
    }

    /// How far all loads are together.
    pub fn progress(&self) -> Progress {
        *self.inner.shown.progress.borrow()
    }

    /// When all that is subscribed to was here and live for the last time, in microseconds since
    /// 1970 by the server's clock. It never goes back, and is kept over restarts; `None` when it
    /// never was.
    pub fn last_synced_at(&self) -> Option<i64> {
        *self.inner.shown.synced_at.borrow()
    }

    /// The status, and each one that follows. Whoever is slow gets the latest one.
    pub fn statuses(&self) -> impl Stream<Item = Status> + Send + Unpin + use<> {
        let first = (self.inner.shown.status.clone(), true);
        let stream = futures::stream::unfold(first, |(mut status, is_first)| async move {
            if !is_first {
                status.changed().await.ok()?;
            }
            let present = status.borrow_and_update().clone();
            Some((present, (status, false)))
        });
        Box::pin(stream)
    }

    /// What has gone wrong and was mended: the last ones since the client was opened, and each further
    /// one. For a log, or whoever looks after the application. It ends when the client is closed.
    pub fn incidents(&self) -> impl Stream<Item = Incident> + Send + Unpin + use<> {
        let begun = (self.inner.shown.incidents.clone(), 0);
        let stream = futures::stream::unfold(begun, |(mut incidents, seen)| async move {
            loop {
                let next = incidents.borrow_and_update().after(seen);
                match next {
                    Some((number, incident)) => return Some((incident, (incidents, number))),
                    None => incidents.changed().await.ok()?,
                }
            }
        });
        Box::pin(stream)
    }

    /// What came of comparing subscriptions with the server since the client was opened.
    pub fn verifications(&self) -> Verifications {
        *self.inner.shown.verifications.borrow()
    }

    /// Ends the connection until [`Client::resume`]. Reading goes on.
    pub fn pause(&self) {
        let _ = self.tell(Command::Pause);
    }

    /// Connects again, after [`Client::pause`] or [`Client::suspend`].
    pub fn resume(&self) {
        let _ = self.tell(Command::Resume);
    }

    /// Lets go of everything before the system stops the process: the connection, and every lock of
    /// the file. What runs has until about half of the deadline, and is stopped then; a transaction
    /// that is open is undone. Until [`Client::resume`], reading and writing fail with `cancelled`,
    /// and watches, subscriptions and whoever waits stay. It ends with the deadline, too, if the
    /// disk is slower than that.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the deadline has passed: it is done as soon as it can.
    /// [`Error::Closed`].
    pub async fn suspend(&self, deadline: Duration) -> Result<(), Error> {
        self.rest(deadline, Command::Suspend).await
    }

    async fn rest(
        &self,
        deadline: Duration,
        command: impl FnOnce(Done) -> Command,
    ) -> Result<(), Error> {
        let (readers, commands) = (self.inner.readers.clone(), self.inner.commands.clone());
        let begin = |done| self.tell(command(done));
        let stop = move || readers.stop(Ending::ForNow);
        // The application may have resumed it meanwhile. If it is closed, nobody reads.
        let after = move || drop(commands.send(Command::ReadOn));
        suspended_within(deadline, begin, stop, after).await
    }

    /// The network of the device is another one: connects at once where it waits to do so.
    pub fn network_changed(&self) {
        let _ = self.tell(Command::Nudge);
    }

    /// The application is in front again: connects at once where it waits to do so.
    pub fn foreground(&self) {
        let _ = self.tell(Command::Nudge);
    }

    /// Ends everything: the connection, queries, whoever waits, and the lock of the file. Is done
    /// when another client can open it.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        self.inner.readers.stop(Ending::ForEver);
        if self.tell(Command::Close(done)).is_ok() {
            // It is dropped when the driver has ended.
            let _ = closed.await;
        }
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has nothing left to do but to drop what it has.
            let _ = thread.join();
        }
    }

    /// Ends everything, as [`Client::close`] does, because the user signs out. With
    /// [`SignOut::Keep`] the replica stays for when they come back, with what waits to be sent; with
    /// [`SignOut::Wipe`] its files are removed, and what they had is not left on the disk. What waits
    /// or was rejected is lost then, and has to be given up by `discard_pending`.
    ///
    /// # Errors
    /// [`Error::Asked`] with `conflict` when something waits that was not given up: nothing was done,
    /// and the client is open. [`Error::Replica`] when files could not be removed; the client is
    /// closed then. [`Error::Closed`].
    pub async fn sign_out(&self, data: SignOut, discard_pending: bool) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::SignOut { data, discard_pending, done })?;
        answer.await.map_err(|_| Error::Closed)??;
        self.close().await;
        Ok(())
    }

    fn tell(&self, command: Command) -> Result<(), Error> {
        self.inner.commands.send(command).map_err(|_| Error::Closed)
    }
}

/// A subscription can still be in use, and does not keep the client open.
impl Drop for Inner {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.commands.send(Command::Close(oneshot::channel().0));
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// Bytes that nobody else draws.
fn random() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Config(format!("no randomness: {error}")))?;
    Ok(bytes)
}
