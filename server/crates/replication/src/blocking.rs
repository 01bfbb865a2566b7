use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs what waits for the disk so that other tasks go on meanwhile. Where there is one thread for
/// everything, as in simulations, it simply runs.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
