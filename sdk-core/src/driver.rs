//! The loop: the machine, and everything around it that it has not.
//!
//! ```text
//!   commands ──┐                 ┌──► the socket
//!   the socket ├──► the machine ─┼──► the replica ──► watchers
//!   timers ────┘                 └──► who waits
//! ```
//!
//! It is the sole owner of the replica, on a thread of its own, so a step may wait for the disk.
//! When a step cannot be done, everything stops there: a new machine begins on what is stored, and
//! connects after a pause.

mod diagnosing;
mod file;
mod follow;
mod gathering;
mod idle;
mod incidents;
mod requests;
mod suspending;
mod syncing;
mod tidying;
mod token;
mod undecided;
mod verifying;
mod waiting;
mod watches;
mod writing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::frame::v1::ServerFrame;
use protocol::ids::TenantId;
use sdk_machine::{Ask, Attempt, Event, Machine, Millis, Moment, Stall, SubscriptionId};
use sdk_replica::{Changed, ReplicaError};
use tokio::select;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::file::ReplicaFile;
use self::gathering::Gathered;
use self::idle::IdleTimes;
use self::syncing::Syncing;
use self::tidying::Tidying;
use self::token::TokenOutcome;
use self::undecided::Mutations;
use self::verifying::Verifying;
use self::waiting::Waiting;
use self::watches::{Finished, Watches};
use crate::command::{Command, Shown, SignOut};
use crate::config::{Config, LogLevel};
use crate::error::Error;
use crate::incident::Incidents;
use crate::platform::{Instant, sleep_until};
use crate::ports::{Socket, SocketEvent, Transport};
use crate::readers::{Ending, Job, Jobs, Readers};
use crate::status::{Status, StatusReason, StatusWord};
use crate::subscription::Progress;
use crate::verify::Verifications;

/// How many frames wait between the socket and this loop.
const FRAMES_WAITING_MAX: usize = 16;

/// How long it is waited after a step that could not be done, at first and at most.
const TRY_AGAIN: Duration = Duration::from_millis(500);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(30);

/// Something has happened besides.
enum Happened {
    Command(Option<Command>),
    Socket(Attempt, SocketEvent),
    Token(Attempt, TokenOutcome),
    Job(Job),
    Read(Finished),
    Flush,
    LongJournal,
    Time,
    /// Something beside is over.
    Over,
}

/// How it ends.
enum End {
    /// Whoever waits for it, is told by its drop.
    Closed(Option<oneshot::Sender<()>>),
    SignedOut(SignOut, oneshot::Sender<Result<(), Error>>),
}

/// What is shown of the client as a whole.
#[derive(Clone, Debug)]
pub(crate) struct ShownOfAll {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) synced_at: watch::Receiver<Option<i64>>,
    /// The place of the last rejection.
    pub(crate) rejections: watch::Receiver<i64>,
    pub(crate) incidents: watch::Receiver<Incidents>,
    pub(crate) verifications: watch::Receiver<Verifications>,
}

pub(crate) struct Driver {
    config: Config,
    transport: Box<dyn Transport>,
    readers: Readers,
    machine: Machine,
    replica: ReplicaFile,
    begun: Instant,
    /// The server's clock at `begun`, in microseconds since 1970, once a server has told it. The
    /// device's own may be wrong, and what it let go would not come again.
    time_at_begin: Option<i64>,

    socket: Option<(Attempt, Box<dyn Socket>, mpsc::Receiver<SocketEvent>)>,
    /// What goes on beside: among it, what the application was asked for.
    beside: FuturesUnordered<BoxFuture<'static, Happened>>,
    /// What is to be read by the connection that writes, where there is no other.
    jobs: Jobs,
    reads: mpsc::UnboundedReceiver<Finished>,

    subscriptions: HashMap<SubscriptionId, watch::Sender<Shown>>,
    watches: Watches,
    /// What the machine wants stored.
    gathered: Gathered,
    waiting: Waiting,
    verifying: Verifying,
    syncing: Syncing,
    mutations: Mutations,
    incidents: watch::Sender<Incidents>,
    /// What does not move, as it was told.
    told_stall: Option<Stall>,
    /// Something that was written does not wait any longer, and not everybody knows of it yet.
    has_settled: bool,
    /// The place of the last rejection.
    rejections: watch::Sender<i64>,
    /// What was written is not sent before.
    flush_at: Option<Instant>,
    /// When something was sent last.
    flushed_at: Instant,
    /// Whose replica it is.
    user: TenantId,
    /// By how many microseconds the server's clock is ahead of the device's.
    clock_ahead: Option<i64>,
    /// Subscriptions are not as they were, and not everybody was told of it yet.
    has_shown: bool,
    /// What steps have changed, and nobody was told of yet.
    changed: Changed,
    next_expiry: Option<i64>,

    status: watch::Sender<Status>,
    progress: watch::Sender<Progress>,
    /// When all was live for the last time, and what of that is stored.
    synced_at: watch::Sender<Option<i64>>,
    synced_at_stored: Option<i64>,
    idle: IdleTimes,
    tidying: Tidying,
    /// The application does not want to be connected for now.
    is_paused: bool,
    /// How often the application has resumed it.
    resumed: u64,
    /// The machine has something in mind that could not be stored. There is none to replace it yet.
    is_stale: bool,
    /// A step could not be done: why, and when it is tried again.
    trouble: Option<(StatusReason, StatusWord, Instant)>,
    pause: Duration,
    failed_at: Option<Instant>,
    /// What the application wanted and could not be stored. It is done as soon as it can.
    wishes: Vec<Event>,
    /// Why there was no token last time.
    no_token: Option<StatusReason>,
    is_wrong_user: bool,
    /// A command was done just now.
    was_command: bool,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        transport: Box<dyn Transport>,
        mut file: ReplicaFile,
    ) -> Result<Self, Error> {
        let replica = file.get_mut()?;
        let (readers, jobs) = Readers::start(replica)?;
        let machine = Machine::new(config.machine(), replica.load()?);
        let (finished, reads) = mpsc::unbounded_channel();
        let next_expiry = replica.next_expiry()?;
        let idle = IdleTimes::load(replica)?;
        let synced_at_stored = replica.synced_at()?;
        let clock_ahead = replica.clock_ahead()?;
        let last_rejected = replica.last_rejected()?;
        let user = config.tenant()?;
        let status = Status { word: StatusWord::Connecting, reason: None };
        let mut driver = Self {
            config,
            transport,
            watches: Watches::new(readers.clone(), finished),
            readers,
            machine,
            replica: file,
            begun: Instant::now(),
            time_at_begin: None,
            socket: None,
            beside: FuturesUnordered::new(),
            jobs,
            reads,
            subscriptions: HashMap::new(),
            gathered: Gathered::default(),
            waiting: Waiting::default(),
            verifying: Verifying::default(),
            syncing: Syncing::default(),
            mutations: Mutations::default(),
            incidents: watch::Sender::default(),
            told_stall: None,
            has_settled: true,
            rejections: watch::Sender::new(last_rejected),
            flush_at: None,
            flushed_at: Instant::now(),
            user,
            clock_ahead,
            has_shown: true,
            changed: Changed::default(),
            next_expiry,
            status: watch::Sender::new(status),
            progress: watch::Sender::new(Progress::of(&[])),
            synced_at: watch::Sender::new(synced_at_stored),
            synced_at_stored,
            idle,
            tidying: Tidying::new(),
            is_paused: false,
            resumed: 0,
            is_stale: false,
            trouble: None,
            pause: TRY_AGAIN,
            failed_at: None,
            wishes: Vec::new(),
            no_token: None,
            is_wrong_user: false,
            was_command: false,
        };
        driver.load_online()?;
        driver.note_overdue();
        Ok(driver)
    }

    pub(crate) fn readers(&self) -> Readers {
        self.readers.clone()
    }

    pub(crate) fn shown(&self) -> ShownOfAll {
        ShownOfAll {
            status: self.status.subscribe(),
            progress: self.progress.subscribe(),
            synced_at: self.synced_at.subscribe(),
            rejections: self.rejections.subscribe(),
            incidents: self.incidents.subscribe(),
            verifications: self.verifying.counts.subscribe(),
        }
    }

    /// Runs until it is closed, or nobody could command it any more.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        self.try_again();
        let end = loop {
            self.tell();
            match self.next(&mut commands).await {
                Happened::Command(None) => break End::Closed(None),
                Happened::Command(Some(Command::Close(done))) => break End::Closed(Some(done)),
                Happened::Command(Some(Command::SignOut { data, discard_pending, done })) => {
                    match self.may_sign_out(data, discard_pending) {
                        Ok(()) => break End::SignedOut(data, done),
                        Err(error) => {
                            let _ = done.send(Err(error));
                        }
                    }
                }
                Happened::Command(Some(Command::Transact { calls, options, done })) => {
                    self.transact(calls, options, done).await;
                }
                Happened::Command(Some(command)) => self.command(command),
                Happened::Socket(attempt, event) => self.socket_event(attempt, event),
                Happened::Token(attempt, outcome) => self.token(attempt, outcome),
                Happened::Job(job) => self.read(job),
                Happened::Read(finished) => {
                    if self.watches.finished(finished, &self.machine) {
                        self.fail(ReplicaError::Damaged);
                    }
                }
                Happened::Flush => self.flush(),
                Happened::LongJournal => self.shorten_journal(),
                Happened::Time => self.time(),
                Happened::Over => {}
            }
        };
        self.store_synced(0);
        self.count_idle();
        self.store_idle();
        self.event(Event::Close);
        self.readers.end(Ending::ForEver);
        self.waiting.close();
        self.verifying.close();
        self.syncing.close();
        self.show_status();
        let Self { replica, .. } = self;
        // The file is free, or gone, before anybody hears of the end.
        match end {
            End::Closed(done) => drop((replica, done)),
            End::SignedOut(SignOut::Keep, done) => {
                drop(replica);
                let _ = done.send(Ok(()));
            }
            End::SignedOut(SignOut::Wipe, done) => {
                let _ = done.send(replica.wipe().map_err(Error::from));
            }
        }
    }

    async fn next(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Happened {
        // The application waits for one thing at most that came by itself, and keeps back none.
        if !std::mem::replace(&mut self.was_command, false)
            && let Ok(command) = commands.try_recv()
        {
            self.was_command = true;
            return Happened::Command(Some(command));
        }
        if self.is_flush_due() {
            return Happened::Flush;
        }
        if self.is_journal_long() {
            return Happened::LongJournal;
        }
        let wakes_at = self.wakes_at();
        let socket = &mut self.socket;
        let frames = async {
            match socket {
                Some((attempt, _, events)) => match events.recv().await {
                    Some(event) => Happened::Socket(*attempt, event),
                    None => {
                        let why = "its task has ended".to_owned();
                        Happened::Socket(*attempt, SocketEvent::Disconnected(why))
                    }
                },
                None => std::future::pending().await,
            }
        };
        let wakes = async {
            match wakes_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        select! {
            command = commands.recv() => Happened::Command(command),
            happened = frames => happened,
            Some(happened) = self.beside.next() => happened,
            Some(job) = self.jobs.recv() => Happened::Job(job),
            Some(finished) = self.reads.recv() => Happened::Read(finished),
            () = wakes => Happened::Time,
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Subscribe(ask, ttl, done) => {
                // Whoever asked may have gone; then it is subscribed to all the same.
                let _ = done.send(self.subscribe(ask, ttl));
            }
            Command::Unsubscribe(id) => self.wish(Event::Unsubscribe(id)),
            Command::LoadOlder(id, rows) => self.wish(Event::LoadOlder(id, rows)),
            Command::Reset(id) => self.wish(Event::Reset(id)),
            Command::Verify(id, done) => {
                self.verifying.add(id, done);
                self.wish(Event::Verify(id));
            }
            Command::Watch { sql, params, results } => self.watches.add(sql, params, results),
            Command::Write { work, options, waited, done } => {
                let _ = done.send(self.write(&work, options, &waited));
            }
            Command::Run { ask, within, done } => match self.machine.run(ask) {
                // It waits, as it would for a connection.
                Ok((id, instructions)) => {
                    self.waiting.add_statement(id, Instant::now() + within, done);
                    self.follow(instructions);
                }
                Err(error) => {
                    let _ = done.send(Err(error.into()));
                }
            },
            Command::WaitFor { positions, within, done } => {
                self.waiting.add_positions(positions, Instant::now() + within, done);
            }
            Command::Subscribed(done) => {
                let _ = done.send(self.subscribed());
            }
            Command::Diagnose(done) => {
                let _ = done.send(self.diagnosis());
            }
            Command::WaitForSync { within, done } => self.wait_for_sync(within, done),
            Command::Damaged(opening) => self.found_damage(opening),
            Command::LookAtIdle => self.count_idle(),
            command => self.of_writes(command),
        }
    }

    /// The application is in front or goes, and the network comes and goes.
    fn run_or_rest(&mut self, command: Command) {
        match command {
            Command::Wake(done) => {
                let _ = done.send(self.wake_for_sync());
            }
            Command::Rest(woken, done) => {
                self.rest(woken);
                self.show_status();
                done();
            }
            Command::ReadOn => self.read_on(),
            Command::Pause => self.pause(),
            Command::Resume => {
                self.resumed += 1;
                self.resume();
            }
            Command::Suspend(done) => {
                self.suspend();
                // Whoever hears of it sees it.
                self.show_status();
                done();
            }
            Command::Reached(done) => {
                let _ = done.send(());
            }
            Command::Nudge => {
                self.event(Event::Nudge);
            }
            // Handled in the loop.
            _ => {}
        }
    }

    fn subscribe(
        &mut self,
        ask: Ask,
        ttl: Option<Duration>,
    ) -> Result<watch::Receiver<Shown>, Error> {
        self.replica.get()?;
        if let Some((StatusReason { code, message }, ..)) = self.trouble.clone()
            && self.is_stale
        {
            return Err(Error::Replica { code, message });
        }
        let (id, instructions) = self.machine.subscribe(ask)?;
        let view = self.machine.subscription(id).ok_or(Error::Closed)?;
        let shown = self.subscriptions.entry(id).or_insert_with(|| watch::Sender::new((id, view)));
        let receiver = shown.subscribe();
        self.follow(instructions);
        match &self.trouble {
            // It was not stored, and the machine that knew of it is gone.
            Some((reason, ..)) if self.machine.subscription(id).is_none() => {
                self.subscriptions.remove(&id);
                let StatusReason { code, message } = reason.clone();
                Err(Error::Replica { code, message })
            }
            _ => {
                self.asked_for(id, ttl);
                Ok(receiver)
            }
        }
    }

    fn socket_event(&mut self, attempt: Attempt, event: SocketEvent) {
        match event {
            SocketEvent::Connected => {
                self.event(Event::Connected { attempt });
            }
            SocketEvent::Frame(_) => self.frames(attempt, event),
            SocketEvent::Disconnected(why) => {
                self.socket = None;
                self.store_synced(0);
                self.count_idle();
                self.store_idle();
                self.log(LogLevel::Info, || format!("disconnected: {why}"));
                self.event(Event::Disconnected { attempt });
            }
        }
    }

    /// What a frame says to all of the client.
    fn note_frame(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Welcome(welcome) => {
                let since = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(0);
                self.time_at_begin = Some(welcome.time.saturating_sub(since));
                self.note_clock(welcome.time);
                self.log(LogLevel::Info, || "connected".to_owned());
            }
            ServerFrame::Goodbye(goodbye) => {
                let (code, message) = (goodbye.code, &goodbye.message);
                self.log(LogLevel::Info, || format!("the server says goodbye: {code}: {message}"));
            }
            _ => {}
        }
    }

    fn time(&mut self) {
        if self.trouble.as_ref().is_some_and(|(.., until)| Instant::now() >= *until) {
            self.try_again();
        }
        self.event(Event::Tick);
        for id in self.waiting.expired(Instant::now()) {
            self.wish(Event::ForgetStatement(id));
        }
        self.count_idle();
        if self.replica.is_open() {
            self.expire();
            self.expire_writes();
            self.tidy();
        }
    }

    fn server_micros(&self) -> Option<i64> {
        let since = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.time_at_begin.map(|time| time.saturating_add(since))
    }

    /// When something is to be done, if nothing happens.
    fn wakes_at(&self) -> Option<Instant> {
        let machine = self.machine.wakes_at().filter(|_| !self.is_stale);
        let machine = machine.map(|Millis(at)| self.begun + Duration::from_millis(at));
        let trouble = self.trouble.as_ref().map(|(.., until)| *until);
        let now = self.server_micros().filter(|_| self.trouble.is_none());
        let expiry = self.next_expiry.zip(now).map(|(at, now)| {
            let left = at.saturating_sub(now).max(0);
            // As far as the clock can count.
            let left = Duration::from_micros(left.unsigned_abs()).min(Duration::from_secs(3_600));
            Instant::now() + left
        });
        let flush = self.flush_at.filter(|_| self.machine.has_to_send(self.moment().now));
        let overdue = self.until_overdue().map(|left| Instant::now() + left);
        // They are looked at when the machine begins anew.
        let online = self.mutations.wakes_at().filter(|_| !self.is_stale);
        let asked = [self.waiting.wakes_at(), self.syncing.wakes_at()];
        let waits = asked.into_iter().chain([online, self.idle_wakes_at(), self.tidies_at()]);
        let all = [machine, trouble, expiry, flush, overdue].into_iter().chain(waits);
        all.flatten().min()
    }

    fn moment(&self) -> Moment {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Without randomness, everybody comes back at the same time.
        Moment { now: Millis(now), chance: getrandom::u64().unwrap_or(u64::MAX / 2) }
    }

    fn log(&self, level: LogLevel, line: impl FnOnce() -> String) {
        if let Some(log) = &self.config.log {
            let (log, line) = (Arc::clone(log), line());
            // What an application does wrong in it ends nothing else.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log(level, &line)));
        }
    }
}
