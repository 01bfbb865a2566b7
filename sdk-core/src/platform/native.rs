//! Where there are threads.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tokio::sync::oneshot;
pub(crate) use tokio::time::{Instant, sleep, sleep_until};

use super::Done;
use crate::error::Error;
use crate::sync::NOT_SUSPENDED;

/// How long it is since 1970 by the device's clock.
#[expect(clippy::disallowed_methods, reason = "the one place where the device's clock is read")]
pub(crate) fn since_1970() -> Option<Duration> {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()
}

/// Waits until something is done, and has what runs stopped when half of the time has passed; `after`
/// that it may go on. `begin` has it done. Works in any executor.
pub(crate) async fn suspended_within(
    deadline: Duration,
    begin: impl FnOnce(Done) -> Result<(), Error>,
    stop: impl FnOnce() + Send + 'static,
    after: impl FnOnce() + Send + 'static,
) -> Result<(), Error> {
    let (done, answer) = oneshot::channel();
    let (suspended, is_suspended) = channel();
    begin(Box::new(move || {
        // Nobody may wait any more.
        let _ = suspended.send(());
    }))?;
    // The loop may be busy with what is to be stopped, so somebody else has the clock.
    let watching = std::thread::Builder::new().name("tidewire-suspend".to_owned());
    let watching = watching.spawn(move || {
        let mut told = is_suspended.recv_timeout(deadline / 2);
        if told == Err(RecvTimeoutError::Timeout) {
            stop();
            told = is_suspended.recv_timeout(deadline / 2);
            after();
        }
        let _ = done.send(match told {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(NOT_SUSPENDED)),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Closed),
        });
    });
    watching.map_err(|error| Error::Config(format!("the system gives no thread: {error}")))?;
    answer.await.map_err(|_| Error::Closed)?
}
