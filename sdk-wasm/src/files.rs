//! Where replicas are: on the private files of an origin, or on files that the host has.

mod host;
mod origin;

use std::sync::Arc;

use sdk_core::Error;
use sdk_core::ports::Pool;
use tokio::sync::MutexGuard;

pub use self::host::Files;

/// Opens the files, so that SQLite uses them: those of the host, or else those of the origin in this
/// directory.
pub(crate) async fn open(directory: &str, files: Option<Files>) -> Result<Arc<dyn Pool>, Error> {
    match files {
        Some(files) => host::open(files),
        None => origin::open(directory).await,
    }
}

/// Lets the files of the origin go, so that another worker can open them. Those of a host it has for as
/// long as the worker lives.
pub(crate) async fn let_go() -> Result<(), Error> {
    origin::let_go().await
}

/// Waits until nobody else opens the files of the origin or lets them go, and keeps others from that: meanwhile
/// none can be removed or made.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    origin::turn().await
}

/// The same, where nobody does now.
pub(crate) fn try_turn() -> Option<MutexGuard<'static, ()>> {
    origin::try_turn()
}
