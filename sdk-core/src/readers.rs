//! Threads that read the replica. They wait for nobody who writes, and nobody who writes waits for
//! them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sdk_replica::{Reader, Replica};

use crate::error::Error;

/// How many queries run at once.
const READERS: usize = 2;

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// The threads. Cloning shares them. They end when it is closed, or the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Inner>);

struct Inner {
    jobs: Mutex<Option<Sender<Job>>>,
    is_open: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// How many times queries of watches have run.
    watch_runs: AtomicU64,
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
    pub(crate) fn start(replica: &Replica) -> Result<Self, Error> {
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
            threads.push(
                thread.map_err(|error| {
                    Error::Config(format!("the system gives no thread: {error}"))
                })?,
            );
        }
        let (jobs, threads) = (Mutex::new(Some(jobs)), Mutex::new(threads));
        Ok(Self(Arc::new(Inner { jobs, is_open, threads, watch_runs: AtomicU64::new(0) })))
    }

    /// Has something read.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(crate) fn run(&self, job: impl FnOnce(&mut Reader) + Send + 'static) -> Result<(), Error> {
        let sent = lock(&self.0.jobs).as_ref().and_then(|jobs| jobs.send(Box::new(job)).ok());
        sent.ok_or(Error::Closed)
    }

    /// Says of something that runs whether it is still wanted: it is open, and somebody waits.
    pub(crate) fn wanted(
        &self,
        waited: &Waited,
    ) -> impl Fn() -> bool + Clone + Send + Sync + 'static {
        let (is_open, waited) = (Arc::clone(&self.0.is_open), waited.clone());
        move || is_open.load(Ordering::Relaxed) && waited.0.load(Ordering::Relaxed)
    }

    /// So many queries of watches are about to run.
    pub(crate) fn count_watch_runs(&self, queries: usize) {
        self.0.watch_runs.fetch_add(queries as u64, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn watch_runs(&self) -> u64 {
        self.0.watch_runs.load(Ordering::Relaxed)
    }

    /// Has all end that runs: nothing is wanted any more.
    pub(crate) fn stop(&self) {
        self.0.is_open.store(false, Ordering::Relaxed);
    }

    /// Ends the threads, and waits for them: none has the file any more.
    pub(crate) fn close(&self) {
        self.stop();
        lock(&self.0.jobs).take();
        for thread in std::mem::take(&mut *lock(&self.0.threads)) {
            // One that has panicked has ended, too.
            let _ = thread.join();
        }
    }
}

fn work(mut reader: Reader, queue: &Mutex<Receiver<Job>>, is_open: &AtomicBool) {
    loop {
        // The lock is held while waiting, so one thread waits for a job and the others for it.
        let job = lock(queue).recv();
        match job {
            Ok(job) if is_open.load(Ordering::Relaxed) => job(&mut reader),
            // Whoever waits for it hears that it is over.
            Ok(job) => drop(job),
            Err(_) => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
