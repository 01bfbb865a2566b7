//! Where there is one thread, in a browser.

use std::time::Duration;

use futures::future::{Either, select};
use futures::pin_mut;
use gloo_timers::callback::Timeout;
use gloo_timers::future::TimeoutFuture;
use tokio::sync::oneshot;
pub(crate) use web_time::Instant;

use super::Done;
use crate::error::Error;
use crate::sync::NOT_SUSPENDED;

/// The longest that a timer of a browser may wait.
const TIMER_MS_MAX: u128 = i32::MAX as u128;

/// How long it is since 1970 by the device's clock.
pub(crate) fn since_1970() -> Option<Duration> {
    web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH).ok()
}

/// Waits for so long. Other than [`sleep_until`] it is `Send`, and its timer goes off whether it is still
/// waited for or not: it is for short times.
pub(crate) async fn sleep(duration: Duration) {
    let (over, is_over) = oneshot::channel();
    let tell = move || {
        // Nobody may wait any more.
        let _ = over.send(());
    };
    Timeout::new(millis(duration), tell).forget();
    // A page that is closed has no timers, and nobody who waits.
    let _ = is_over.await;
}

/// Waits until then. When that has passed it lets the worker do what else there is: nobody but this
/// thread would.
pub(crate) async fn sleep_until(at: Instant) {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        TimeoutFuture::new(millis(left)).await;
        if Instant::now() >= at {
            return;
        }
    }
}

/// Whole milliseconds, of which a timer is not early.
fn millis(duration: Duration) -> u32 {
    let millis = duration.as_micros().div_ceil(1_000).min(TIMER_MS_MAX);
    u32::try_from(millis).unwrap_or(u32::MAX)
}

/// Waits until something is done, and has what runs stopped when half of the time has passed; `after`
/// that it may go on. `begin` has it done.
pub(crate) async fn suspended_within(
    deadline: Duration,
    begin: impl FnOnce(Done) -> Result<(), Error>,
    stop: impl FnOnce(),
    after: impl FnOnce(),
) -> Result<(), Error> {
    let (suspended, is_suspended) = oneshot::channel();
    begin(Box::new(move || {
        // Nobody may wait any more.
        let _ = suspended.send(());
    }))?;
    let begun = Instant::now();
    pin_mut!(is_suspended);
    let half = sleep_until(begun + deadline / 2);
    pin_mut!(half);
    if let Either::Left((told, _)) = select(&mut is_suspended, half).await {
        return told.map_err(|_| Error::Closed);
    }
    stop();
    let all = sleep_until(begun + deadline);
    pin_mut!(all);
    let told = select(&mut is_suspended, all).await;
    after();
    match told {
        Either::Left((told, _)) => told.map_err(|_| Error::Closed),
        Either::Right(_) => Err(Error::Timeout(NOT_SUSPENDED)),
    }
}
