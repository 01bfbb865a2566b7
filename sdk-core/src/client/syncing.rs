//! Waiting until this device and the server have the same.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Client;
use crate::command::Command;
use crate::error::Error;
use crate::platform::Instant;
use crate::sync::Before;

/// How much of its time a client that was woken has to go to sleep again: a fifth, and no more than this.
const REST_MAX: Duration = Duration::from_secs(5);

impl Client {
    /// Waits until all that was written before the call is decided, and all that the server had at the
    /// call is here, as far as it is subscribed to. For a pull to refresh, or before something that
    /// is to see the latest.
    ///
    /// What was rejected is decided. What is held back until a rejection is dealt with, or cannot be
    /// delivered, is not.
    ///
    /// # Errors
    /// [`Error::Unsynced`] with what is missing, when the time is over; [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped: it only waits.
    pub async fn wait_for_sync(&self, within: Duration) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::WaitForSync { within, done })?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// For a task in the background, to which the system gives a little time: connects, waits as
    /// [`Client::wait_for_sync`] does, and is then as it was before, suspended or paused, all within
    /// the deadline. It may be killed at any point. A client that was running goes on to run, and so does one
    /// that the application resumes meanwhile.
    ///
    /// # Errors
    /// [`Error::Unsynced`] with what is missing: the next time goes on from there. What
    /// [`Client::suspend`] says.
    ///
    /// # Cancel safety
    /// When it is dropped, a client that was suspended runs: suspend it.
    pub async fn sync_once(&self, deadline: Duration) -> Result<(), Error> {
        let until = Instant::now() + deadline;
        let (done, woken) = oneshot::channel();
        self.tell(Command::Wake(done))?;
        let woken = woken.await.map_err(|_| Error::Closed)?;
        let rest = match woken.before {
            Before::Running | Before::Paused => Duration::ZERO,
            Before::Suspended => (deadline / 5).min(REST_MAX),
        };
        let within = until.saturating_duration_since(Instant::now()).saturating_sub(rest);
        let synced = self.wait_for_sync(within).await;
        match woken.before {
            Before::Running => {}
            // It keeps its file, so nothing of it has to end in time.
            Before::Paused => {
                self.tell(Command::Rest(woken, Box::new(|| {})))?;
                self.reached().await?;
            }
            Before::Suspended => {
                let left = until.saturating_duration_since(Instant::now()).max(rest / 2);
                self.rest(left, |done| Command::Rest(woken, done)).await?;
            }
        }
        synced
    }
}
