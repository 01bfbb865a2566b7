//! How it is with all of a client.

use futures::Stream;

use super::Client;
use crate::status::Status;
use crate::subscription::Progress;

/// How often it is told that all is live, in microseconds.
const SYNCED_TOLD_EVERY: i64 = 1_000_000;

/// How it is with all of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// With the connection.
    pub status: Status,
    /// How far all loads are together.
    pub progress: Progress,
    /// When all was here and live for the last time: see
    /// [`Client::last_synced_at`](crate::Client::last_synced_at).
    pub last_synced_at: Option<i64>,
}

impl Client {
    /// How it is with all of it, and each time that this is another. That it is still live is told once a
    /// second at most. Whoever is slow gets the latest one.
    pub fn overviews(&self) -> impl Stream<Item = Overview> + Send + Unpin + use<> {
        let shown = &self.inner.shown;
        let of = (shown.status.clone(), shown.progress.clone(), shown.synced_at.clone());
        let stream = futures::stream::unfold((of, None), |(mut of, mut told)| async move {
            let next = loop {
                let (status, progress, synced_at) = &mut of;
                let now = Overview {
                    status: status.borrow_and_update().clone(),
                    progress: *progress.borrow_and_update(),
                    last_synced_at: *synced_at.borrow_and_update(),
                };
                if told.as_ref().is_none_or(|told| is_news(told, &now)) {
                    break now;
                }
                tokio::select! {
                    changed = status.changed() => changed.ok()?,
                    changed = progress.changed() => changed.ok()?,
                    changed = synced_at.changed() => changed.ok()?,
                }
            };
            told.clone_from(&Some(next.clone()));
            Some((next, (of, told)))
        });
        Box::pin(stream)
    }
}

/// Whether somebody who was told this is told that.
fn is_news(told: &Overview, now: &Overview) -> bool {
    let since = now.last_synced_at.unwrap_or(0) - told.last_synced_at.unwrap_or(0);
    now.status != told.status || now.progress != told.progress || since >= SYNCED_TOLD_EVERY
}
