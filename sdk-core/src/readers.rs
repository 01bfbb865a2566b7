//! Threads that read the replica. They wait for nobody who writes, and nobody who writes waits for
//! them. Where the replica has one connection there are none, and the loop reads between its steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sdk_replica::{Reader, Replica, ReplicaError, View};
use tokio::sync::mpsc;

use crate::error::Error;

/// How many queries run at once.
const READERS: usize = 2;

/// Something that is to be read.
pub(crate) type Job = Box<dyn FnOnce(&mut View<'_>) + Send>;

/// What the loop is to read.
pub(crate) type Jobs = mpsc::UnboundedReceiver<Job>;

/// The threads. Cloning shares them. They end when it is closed or suspended, or the last clone is
/// dropped.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Mutex<State>>);

struct State {
    threads: Running,
    /// Where the loop takes from what it is to read.
    to_loop: mpsc::UnboundedSender<Job>,
    /// How often they were started.
    openings: u64,
    /// How many times queries of watches have run.
    watch_runs: u64,
}

enum Running {
    Open(Threads),
    /// There are none.
    Ended(Ending),
}

/// How the threads end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They can be started again.
    ForNow,
    ForEver,
}

struct Threads {
    queue: Queue,
    is_open: Arc<AtomicBool>,
    /// As it was stopped.
    ending: Ending,
    threads: Vec<JoinHandle<()>>,
}

/// Who takes what is to be read.
enum Queue {
    Threads(Sender<Job>),
    Loop(mpsc::UnboundedSender<Job>),
}

impl Queue {
    fn send(&self, job: Job) -> bool {
        match self {
            Self::Threads(jobs) => jobs.send(job).is_ok(),
            Self::Loop(jobs) => jobs.send(job).is_ok(),
        }
    }
}

/// Somebody waits for what runs, until this is dropped.
#[derive(Clone)]
pub(crate) struct Waited(Arc<AtomicBool>);

impl Default for Waited {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

/// Ends the waiting when it is dropped.
pub(crate) struct WaitedHere(pub(crate) Waited);

impl Drop for WaitedHere {
    fn drop(&mut self) {
        (self.0).0.store(false, Ordering::Relaxed);
    }
}

impl Readers {
    pub(crate) fn start(replica: &Replica) -> Result<(Self, Jobs), ReplicaError> {
        let (to_loop, jobs) = mpsc::unbounded_channel();
        let readers = Self(Arc::new(Mutex::new(State {
            threads: Running::Ended(Ending::ForNow),
            to_loop,
            openings: 0,
            watch_runs: 0,
        })));
        readers.open(replica)?;
        Ok((readers, jobs))
    }

    /// Starts the threads, where they are suspended.
    pub(crate) fn open(&self, replica: &Replica) -> Result<(), ReplicaError> {
        let mut state = lock(&self.0);
        if matches!(state.threads, Running::Ended(Ending::ForNow)) {
            state.threads = Running::Open(match replica.is_alone() {
                true => Threads::none(state.to_loop.clone()),
                false => Threads::start(replica)?,
            });
            state.openings += 1;
        }
        Ok(())
    }

    /// Has something read.
    ///
    /// # Errors
    /// [`Error::Closed`], or that it is suspended.
    pub(crate) fn run(
        &self,
        job: impl FnOnce(&mut View<'_>) + Send + 'static,
    ) -> Result<(), Error> {
        let sent = match &lock(&self.0).threads {
            Running::Open(threads) => threads.queue.send(Box::new(job)),
            Running::Ended(_) => false,
        };
        if sent { Ok(()) } else { Err(self.why_not()) }
    }

    /// Whether there are any.
    pub(crate) fn are_open(&self) -> bool {
        matches!(lock(&self.0).threads, Running::Open(_))
    }

    /// Why something is not read.
    pub(crate) fn why_not(&self) -> Error {
        let ending = match &lock(&self.0).threads {
            Running::Open(threads) => threads.ending,
            Running::Ended(ending) => *ending,
        };
        match ending {
            Ending::ForNow => ReplicaError::Suspended.into(),
            Ending::ForEver => Error::Closed,
        }
    }

    /// How often the file was opened. What is found out about it is of no account after the next time.
    pub(crate) fn openings(&self) -> u64 {
        lock(&self.0).openings
    }

    /// So many queries of watches are about to run.
    pub(crate) fn count_watch_runs(&self, queries: usize) {
        lock(&self.0).watch_runs += queries as u64;
    }

    /// How many there were.
    pub(crate) fn watch_runs(&self) -> u64 {
        lock(&self.0).watch_runs
    }

    /// Says of something that runs whether it is still wanted: it is open, and somebody waits.
    pub(crate) fn wanted(
        &self,
        waited: &Waited,
    ) -> impl Fn() -> bool + Clone + Send + Sync + 'static {
        let is_open = match &lock(&self.0).threads {
            Running::Open(threads) => Arc::clone(&threads.is_open),
            Running::Ended(_) => Arc::default(),
        };
        let waited = waited.clone();
        move || is_open.load(Ordering::Relaxed) && waited.0.load(Ordering::Relaxed)
    }

    /// Has all end that runs: nothing is wanted any more.
    pub(crate) fn stop(&self, ending: Ending) {
        if let Running::Open(threads) = &mut lock(&self.0).threads {
            threads.ending = ending;
            threads.is_open.store(false, Ordering::Relaxed);
        }
    }

    /// Whether what runs is wanted.
    pub(crate) fn is_stopped(&self) -> bool {
        !self.wanted(&Waited::default())()
    }

    /// Whether all that runs was stopped, and the threads are to go on some time.
    pub(crate) fn are_stopped_for_now(&self) -> bool {
        matches!(&lock(&self.0).threads, Running::Open(threads)
            if threads.ending == Ending::ForNow && !threads.is_open.load(Ordering::Relaxed))
    }

    /// Ends the threads, and waits for them: none has the file any more.
    pub(crate) fn end(&self, ending: Ending) {
        self.stop(ending);
        let was = std::mem::replace(&mut lock(&self.0).threads, Running::Ended(ending));
        if let Running::Open(Threads { queue, threads, .. }) = was {
            drop(queue);
            for thread in threads {
                // One that has panicked has ended, too.
                let _ = thread.join();
            }
        }
    }
}

impl Threads {
    fn start(replica: &Replica) -> Result<Self, ReplicaError> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let is_open = Arc::new(AtomicBool::new(true));
        let mut threads = Vec::new();
        for number in 1..=READERS {
            let reader = replica.reader()?;
            let (queue, is_open) = (Arc::clone(&queue), Arc::clone(&is_open));
            let thread = std::thread::Builder::new()
                .name(format!("tidewire-read-{number}"))
                .spawn(move || work(reader, &queue, &is_open));
            threads.push(thread.map_err(|error| {
                ReplicaError::File(format!("the system gives no thread: {error}"))
            })?);
        }
        Ok(Self { queue: Queue::Threads(jobs), is_open, ending: Ending::ForNow, threads })
    }

    /// The loop does what they would.
    fn none(to_loop: mpsc::UnboundedSender<Job>) -> Self {
        let is_open = Arc::new(AtomicBool::new(true));
        Self { queue: Queue::Loop(to_loop), is_open, ending: Ending::ForNow, threads: Vec::new() }
    }
}

fn work(mut reader: Reader, queue: &Mutex<Receiver<Job>>, is_open: &AtomicBool) {
    loop {
        // The lock is held while waiting, so one thread waits for a job and the others for it.
        let job = lock(queue).recv();
        match job {
            Ok(job) if is_open.load(Ordering::Relaxed) => job(&mut reader.view()),
            // Whoever waits for it hears that it is over.
            Ok(job) => drop(job),
            Err(_) => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
