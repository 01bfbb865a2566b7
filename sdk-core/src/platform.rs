//! What is another thing in a browser: clocks, and how it is waited.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod web;

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::native::{Instant, since_1970, sleep, sleep_until, suspended_within};
#[cfg(target_family = "wasm")]
pub(crate) use self::web::{Instant, since_1970, sleep, sleep_until, suspended_within};

/// Tells that something is done. Whoever waits hears of it, too, when it is dropped.
pub(crate) type Done = Box<dyn FnOnce() + Send>;
