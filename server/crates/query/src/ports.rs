use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::ids::{Lane, TableName, TenantId};
use server_engine::{Catalog, Command, Outcome, Time, View};
use thiserror::Error;
use tokio::time::Instant;

/// What SQL needs of the shards. The wiring implements it, and tests do.
pub trait Shards: fmt::Debug + Send + Sync + 'static {
    /// The tables as they were decided last.
    fn catalog(&self) -> Arc<Catalog>;

    /// Shows the shard of a lane as it is now. It waits for the disk.
    ///
    /// # Errors
    /// [`ShardError::Unavailable`] or [`ShardError::Failed`]; then `look` was not called.
    fn read(&self, lane: &Lane, look: &mut dyn FnMut(View<'_>)) -> Result<(), ShardError>;

    /// Has a command decided by the shard of its lane; one that is about no lane, where tables are
    /// defined.
    ///
    /// # Errors
    /// [`ShardError`] says whether it may have happened.
    fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, ShardError>> + Send + '_>>;

    /// The time.
    fn now(&self) -> Time;
}

/// The live queries of this node. Both calls may wait a moment: they are made where that is no harm.
pub trait LiveQueries: fmt::Debug + Send + Sync + 'static {
    /// Those of a user; all without.
    ///
    /// # Errors
    /// When they cannot be asked now.
    fn list(&self, of: Option<&TenantId>) -> Result<Vec<RunningQuery>, TooBusy>;

    /// Ends one of them, and says whether it was there.
    ///
    /// # Errors
    /// When there was no answer in time: it may end all the same.
    fn kill(&self, id: &str, of: Option<&TenantId>) -> Result<bool, TooBusy>;
}

/// What has the live queries did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBusy;

/// None at all.
impl LiveQueries for () {
    fn list(&self, _: Option<&TenantId>) -> Result<Vec<RunningQuery>, TooBusy> {
        Ok(Vec::new())
    }

    fn kill(&self, _: &str, _: Option<&TenantId>) -> Result<bool, TooBusy> {
        Ok(false)
    }
}

/// A live query that somebody has subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningQuery {
    /// What `KILL LIVE QUERY` calls it.
    pub id: String,
    /// Who has subscribed.
    pub user: TenantId,
    /// The table.
    pub table: TableName,
    /// The lane.
    pub lane: Lane,
    /// The beginning of what was written.
    pub sql: String,
    /// How it is with it, in a word.
    pub state: &'static str,
}

/// Why a shard has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShardError {
    /// It did not happen: more is waiting than is taken on.
    #[error("the server has too much to write at the moment: try again in a moment")]
    Overloaded,
    /// It did not happen: the shard has no leader here, or is not open.
    #[error("this part of the server is starting or moving: try again in a moment")]
    Unavailable,
    /// It never will: it is larger than an entry of the log.
    #[error("the statement writes more than one commit holds: write fewer rows at once")]
    TooLarge,
    /// It did not happen in time.
    #[error("the statement was not written in time: try again")]
    Expired,
    /// It may have happened, and may still.
    #[error(
        "no answer came in time, so it may have been written: repeat it with the same request_id, \
         which finds out"
    )]
    Unknown,
    /// The shard is damaged or stopped.
    #[error("this part of the server has failed: its log says why")]
    Failed,
}
