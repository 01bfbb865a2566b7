//! What all requests share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, watch};

use crate::files::Files;
use crate::limits::Limits;
use crate::ports::Ports;

/// What the handlers share.
pub(crate) struct Gateway {
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    /// What is answered where there is no API.
    pub(crate) files: Option<Files>,
    /// A permit for each request that may be under way.
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) numbers: Numbers,
    /// Becomes true when a shutdown waits no longer for what is running.
    pub(crate) given_up: watch::Receiver<bool>,
}

/// Numbers the requests of a process. The first part is drawn at random when it starts, so that
/// two numbers in one log never mean the same.
pub(crate) struct Numbers {
    process: u32,
    given: AtomicU64,
}

impl Numbers {
    /// # Errors
    /// When the operating system has no randomness.
    pub(crate) fn new() -> io::Result<Self> {
        let process = getrandom::u32().map_err(io::Error::other)?;
        Ok(Self { process, given: AtomicU64::new(0) })
    }

    pub(crate) fn next(&self) -> Number {
        let count = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        Number(format!("{:08x}-{count}", self.process).into())
    }
}

/// The number of a request.
#[derive(Clone)]
pub(crate) struct Number(pub(crate) Arc<str>);
