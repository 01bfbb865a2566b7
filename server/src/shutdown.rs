//! When somebody wants the server to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The exit code of somebody who did not want to wait.
const AT_ONCE: i32 = 130;

/// Resolves when SIGTERM or SIGINT has come. A second one ends the process at once.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (wanted, receiver) = watch::channel(false);
        tokio::spawn(wait(signals, wanted));
        Ok(Self(receiver))
    }

    /// Waits until it is wanted.
    pub(crate) async fn wanted(&mut self) {
        // The task that sends lives as long as the runtime.
        let _ = self.0.wait_for(|wanted| *wanted).await;
    }
}

async fn wait((mut terminate, mut interrupt): (Signal, Signal), wanted: watch::Sender<bool>) {
    next(&mut terminate, &mut interrupt).await;
    wanted.send_replace(true);
    next(&mut terminate, &mut interrupt).await;
    tracing::warn!("asked a second time to stop: ending at once");
    std::process::exit(AT_ONCE);
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
