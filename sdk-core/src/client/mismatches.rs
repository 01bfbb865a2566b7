//! What was not as the server had it.

use futures::Stream;
use tokio::sync::watch;

use super::Client;
use crate::driver::Found;
use crate::verify::{Mismatch, Verifications};

impl Client {
    /// Each time that rows of a subscription were found to be other than the server has them, from the
    /// opening of the client on. They are loaded anew without anybody's doing. Of a hundred that were not
    /// taken the first go. It ends when the client is closed.
    pub fn mismatches(&self) -> impl Stream<Item = Mismatch> + Send + Unpin + use<> {
        let first = (self.inner.shown.found.clone(), 0);
        let stream = futures::stream::unfold(first, |(mut found, taken)| async move {
            loop {
                if let Some((next, at)) = next(&found, taken) {
                    return Some((next, (found, at)));
                }
                found.changed().await.ok()?;
            }
        });
        Box::pin(stream)
    }

    /// What came of comparing subscriptions with the server since the client was opened.
    pub fn verifications(&self) -> Verifications {
        self.inner.shown.found.borrow().counts
    }
}

/// The first mismatch that is kept behind those that were taken, and how many are taken with it.
fn next(found: &watch::Receiver<Found>, taken: u64) -> Option<(Mismatch, u64)> {
    let found = found.borrow();
    let gone = found.counts.different - found.mismatches.len() as u64;
    let place = taken.saturating_sub(gone);
    let mismatch = found.mismatches.get(usize::try_from(place).ok()?)?;
    Some((mismatch.clone(), gone + place + 1))
}
