//! What was written and did not happen.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use sdk_replica::MutationId;
use tokio::sync::{mpsc, oneshot, watch};

use super::Client;
use crate::command::Command;
use crate::error::Error;
use crate::mutation::Mutation;
use crate::platform::sleep;
use crate::rejection::Rejection;

/// When it is tried again to read what could not be.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Client {
    /// What was rejected, or is uncertain, and not dealt with yet, in the order in which that was heard;
    /// also from before a restart. It takes room of the outbox: retry it, replace it
    /// ([`WriteOptions::replaces`](crate::WriteOptions::replaces)) or discard it.
    ///
    /// # Errors
    /// [`Error::Replica`] when the replica cannot be read, [`Error::Closed`].
    pub async fn rejections(&self) -> Result<Vec<Rejection>, Error> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let some = kept(&self.inner.commands, after).await?;
            let Some((last, _)) = some.last() else { return Ok(all) };
            after = *last;
            all.extend(some.into_iter().map(|(_, rejection)| rejection));
        }
    }

    /// Each of [`Client::rejections`] once, and then each further one as it happens. It ends when the
    /// client is closed, and waits while it is suspended.
    pub fn rejected(&self) -> impl Stream<Item = Rejection> + Send + Unpin + use<> {
        let (commands, last) = (self.inner.commands.clone(), self.inner.shown.rejections.clone());
        let begun = Rejected { commands, last, after: 0, next: VecDeque::new() };
        let stream = futures::stream::unfold(begun, |mut rejected| async move {
            let rejection = rejected.next().await?;
            Some((rejection, rejected))
        });
        Box::pin(stream)
    }

    /// Writes what was rejected again as it was; it is dealt with when that is stored.
    ///
    /// # Errors
    /// As [`Client::execute`]; [`Error::Replica`] with `not_found` where it was dealt with already.
    pub async fn retry(&self, id: MutationId) -> Result<Mutation, Error> {
        self.retry_with(id, None).await
    }

    /// Forgets what was rejected. Says whether it was there. What a queue has held back because of it
    /// goes on.
    ///
    /// # Errors
    /// [`Error::Replica`] when that cannot be stored, [`Error::Closed`].
    pub async fn discard(&self, id: MutationId) -> Result<bool, Error> {
        self.discard_with(id, None).await
    }
}

/// Whoever wants to hear of all of them. It does not keep the client open.
struct Rejected {
    commands: mpsc::UnboundedSender<Command>,
    last: watch::Receiver<i64>,
    /// The place up to which they were given.
    after: i64,
    next: VecDeque<(i64, Rejection)>,
}

impl Rejected {
    async fn next(&mut self) -> Option<Rejection> {
        loop {
            if let Some((place, rejection)) = self.next.pop_front() {
                self.after = place;
                return Some(rejection);
            }
            let last = *self.last.borrow_and_update();
            if last <= self.after {
                self.last.changed().await.ok()?;
                continue;
            }
            match kept(&self.commands, self.after).await {
                Ok(kept) => self.next.extend(kept),
                Err(Error::Closed) => return None,
                // The client is suspended, or the disk is in trouble: that ends some time.
                Err(_) => {
                    sleep(TRY_AGAIN).await;
                    continue;
                }
            }
            // Those that are missing were dealt with.
            if self.next.is_empty() {
                self.after = last;
            }
        }
    }
}

/// What is kept from a place on, with the place of each.
async fn kept(
    commands: &mpsc::UnboundedSender<Command>,
    after: i64,
) -> Result<Vec<(i64, Rejection)>, Error> {
    let (done, answer) = oneshot::channel();
    commands.send(Command::Rejections(after, done)).map_err(|_| Error::Closed)?;
    answer.await.map_err(|_| Error::Closed)?
}
