//! Live results of local queries.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::watch;

use crate::error::Error;
use crate::rows::Rows;
use crate::status::ResultState;

/// What a watched query gives now.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchResult {
    /// Its rows; those before where there is an error.
    pub rows: Rows,
    /// How fresh they are.
    pub state: ResultState,
    /// What is wrong with the query, if something is.
    pub error: Option<Error>,
}

/// A stream of the results of one query. Whoever is slow gets the latest one. It ends with the
/// client, and the query is not run any more when this is dropped.
pub struct Watch {
    results: BoxStream<'static, WatchResult>,
}

impl Watch {
    pub(crate) fn new(results: watch::Receiver<Option<WatchResult>>) -> Self {
        let results = futures::stream::unfold(results, |mut results| async move {
            loop {
                results.changed().await.ok()?;
                let result = results.borrow_and_update().clone();
                if let Some(result) = result {
                    return Some((result, results));
                }
            }
        });
        Self { results: results.boxed() }
    }

    /// The next result; `None` when the client is closed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<WatchResult> {
        self.results.next().await
    }
}

impl Stream for Watch {
    type Item = WatchResult;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchResult>> {
        self.results.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}
