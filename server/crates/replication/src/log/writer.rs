use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use server_storage::{Batch, StorageError, Store};

use super::Cohort;

/// Called once a batch is durable, or is known not to have become so.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// The one thread that writes the log: one sync for all groups that wait.
///
/// What a group sends is written in its order. After a failure nothing more is written: the
/// database has to be opened anew.
#[derive(Debug)]
pub(crate) struct LogWriter {
    /// `None` only while it is dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    batch: Batch,
    /// `None` once it was called.
    done: Option<Done>,
}

impl Job {
    fn answer(mut self, result: Result<(), StorageError>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

/// What is dropped was not written: the thread has panicked. Nobody may wait for it for ever.
impl Drop for Job {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(StorageError::Stopped));
        }
    }
}

impl LogWriter {
    /// Starts the thread. It ends when the writer is dropped, after writing what it was sent.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the system gives no thread.
    pub(crate) fn start(store: Arc<dyn Store>) -> Result<Self, StorageError> {
        let (sender, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || run(&*store, &jobs))
            .map_err(|error| StorageError::Io { detail: error.to_string() })?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }

    /// Writes a batch behind those sent before. A group waits for each of its appends, so no more
    /// is queued than there are groups.
    pub(crate) fn write(&self, batch: Batch, done: Done) {
        if let Some(jobs) = &self.jobs {
            // One that cannot be sent is dropped, and answered by that.
            let _ = jobs.send(Job { batch, done: Some(done) });
        }
    }
}

impl LogWriter {
    /// Waits until all that was sent before is written. It waits for the disk.
    ///
    /// # Errors
    /// [`StorageError::Stopped`] when the log takes no more writes, or the thread is gone.
    pub(crate) fn settle(&self) -> Result<(), StorageError> {
        let (sender, settled) = mpsc::channel();
        self.write(Batch::new(), Box::new(move |result| drop(sender.send(result))));
        settled.recv().unwrap_or(Err(StorageError::Stopped))
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has answered nobody, and they notice that by themselves.
            let _ = thread.join();
        }
    }
}

fn run(store: &dyn Store, jobs: &Receiver<Job>) {
    let mut cohort = Cohort::default();
    let mut waiting: Vec<Job> = Vec::new();
    loop {
        if waiting.is_empty() {
            match jobs.recv() {
                Ok(job) => waiting.push(job),
                Err(mpsc::RecvError) => return,
            }
        }
        let start = now();
        gather(jobs, &mut waiting, &cohort, start);
        let result = waiting
            .iter_mut()
            .try_for_each(|job| store.write(std::mem::take(&mut job.batch)))
            .and_then(|()| store.persist());
        let answered = waiting.len();
        for job in waiting.drain(..) {
            job.answer(result.clone());
        }
        waiting.extend(jobs.try_iter());
        cohort.done(answered, waiting.len(), start.elapsed());
    }
}

/// Takes what waits, and what comes while it is worth waiting.
fn gather(jobs: &Receiver<Job>, waiting: &mut Vec<Job>, cohort: &Cohort, start: Instant) {
    loop {
        waiting.extend(jobs.try_iter());
        let left = cohort.patience(waiting.len()).saturating_sub(start.elapsed());
        if left == Duration::ZERO {
            return;
        }
        match jobs.recv_timeout(left) {
            Ok(job) => waiting.push(job),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long to wait is no part of what is written")]
fn now() -> Instant {
    Instant::now()
}
