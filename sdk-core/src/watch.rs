//! Live results of local queries.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::watch;

use crate::diff::{Diff, NoKey};
use crate::error::Error;
use crate::rows::Rows;
use crate::status::ResultState;

/// How a query is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// The columns of the result by whose values a row is known, so that it is told as updated when
    /// others change. Without any that is the primary key, where the query reads one table and gives
    /// the columns of its key, and no two rows have the same; else rows are compared as wholes.
    ///
    /// Where a column is not in the result, or two rows have the same values in them, the result says
    /// so with [`Error::Key`], and has the rows before.
    pub key: Vec<String>,
}

/// What a watched query gives now.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchResult {
    /// Its rows; those before where there is an error. Rows that are equal to one of the result before
    /// are the same in memory.
    pub rows: Rows,
    /// What is new in them, against the result that this watcher was given before.
    pub diff: Diff,
    /// How fresh they are.
    pub state: ResultState,
    /// What is wrong with the query, if something is.
    pub error: Option<Error>,
}

/// What was found last, whoever has seen it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) rows: Rows,
    pub(crate) state: ResultState,
    pub(crate) error: Option<Error>,
    /// The primary key of the only table that it reads.
    pub(crate) key: Option<Arc<[String]>>,
}

/// A stream of the results of one query. Whoever is slow gets the latest one, with what is new since
/// the one that he has. It ends with the client, and the query is not run any more when this is
/// dropped.
pub struct Watch {
    results: BoxStream<'static, WatchResult>,
}

impl Watch {
    pub(crate) fn new(found: watch::Receiver<Option<Found>>, options: WatchOptions) -> Self {
        let begin = (found, Taken { options, ..Taken::default() });
        let results = futures::stream::unfold(begin, |(mut found, mut taken)| async move {
            loop {
                found.changed().await.ok()?;
                let latest = found.borrow_and_update().clone();
                if let Some(result) = latest.and_then(|latest| taken.take(latest)) {
                    return Some((result, (found, taken)));
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

/// What a watcher was given last.
#[derive(Default)]
struct Taken {
    options: WatchOptions,
    rows: Rows,
    /// How it was; none at first.
    how: Option<(ResultState, Option<Error>)>,
    /// The columns in whose values no two of the rows are the same.
    key: Option<Vec<String>>,
}

impl Taken {
    /// What the watcher is given, if it is anything new to him.
    fn take(&mut self, found: Found) -> Option<WatchResult> {
        let Found { rows, mut state, mut error, key } = found;
        let mut rows = rows.shared_with(&self.rows);
        let (diff, key) = match self.diff(&rows, key.as_deref()) {
            Ok(known) => known,
            Err(wrong) => {
                rows = self.rows.clone();
                (state, error) = (ResultState::Behind, error.or(Some(wrong)));
                let diff = Diff { before: rows.clone(), ..Diff::default() };
                (diff, self.key.clone())
            }
        };
        let how = Some((state, error.clone()));
        if how == self.how && rows.is_same(&self.rows) {
            return None;
        }
        (self.rows, self.how, self.key) = (rows.clone(), how, key);
        Some(WatchResult { rows, diff, state, error })
    }

    fn diff(
        &self,
        rows: &Rows,
        primary: Option<&[String]>,
    ) -> Result<(Diff, Option<Vec<String>>), Error> {
        let is_known = |key: &[String]| self.key.as_deref() == Some(key) || self.rows.is_empty();
        let by = |key: &[String]| Diff::by_key(&self.rows, rows, key, is_known(key));
        let named = &*self.options.key;
        if !named.is_empty() && !rows.columns().is_empty() {
            return match by(named) {
                Ok(diff) => Ok((diff, Some(named.to_vec()))),
                Err(why) => Err(wrong_key(named, why)),
            };
        }
        match primary.filter(|key| !key.is_empty()).map(|key| (key, by(key))) {
            Some((key, Ok(diff))) => Ok((diff, Some(key.to_vec()))),
            // It is no key of these rows, as of a table that is joined with itself.
            Some((_, Err(_))) | None => Ok((Diff::by_rows(&self.rows, rows), None)),
        }
    }
}

fn wrong_key(key: &[String], why: NoKey) -> Error {
    let columns = key.join(", ");
    Error::Key(match why {
        NoKey::Missing => format!(
            "the key of the watch is {columns}, and the query does not give all of that: select it, \
             or name other columns"
        ),
        NoKey::Twice => format!(
            "the key of the watch is {columns}, and two rows have the same: name columns that tell \
             all rows apart, or none"
        ),
    })
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
