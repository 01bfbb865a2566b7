//! A statement that is being run: who asks, for what, and until when; and what can go wrong with
//! any of them.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::ids::{ContentHash, RequestId};
use server_engine::{Actor, Outcome, ReadError, Time};
use tokio::time::Instant;

use crate::constant::Binding;
use crate::error::SqlError;
use crate::ids::Ids;
use crate::ports::{ShardError, TooBusy};
use crate::request::Param;

/// A statement that is being run.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) actor: Actor,
    pub(crate) params: Vec<Param>,
    pub(crate) request: Option<(RequestId, ContentHash)>,
    pub(crate) deadline: Instant,
    pub(crate) now: Time,
    pub(crate) ids: Arc<Ids>,
}

impl Running {
    pub(crate) fn binding(&self) -> Binding<'_> {
        let Self { actor, params, now, ids, .. } = self;
        Binding { params, now: *now, user: &actor.user, ids }
    }

    pub(crate) fn is_late(&self) -> bool {
        Instant::now() > self.deadline
    }
}

/// An outcome that such a command never has.
pub(crate) fn unexpected(outcome: &Outcome) -> SqlError {
    tracing::error!(?outcome, "a command had an outcome that it cannot have");
    SqlError::new(ErrorCode::Internal, "the server could not do this: its log says why")
}

/// Does what waits for the disk where nobody else has to wait for it.
pub(crate) async fn on_another_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            // What a panic says may have values in it.
            let is_panic = error.is_panic();
            tracing::error!(is_panic, "a statement was not finished");
            Err(SqlError::new(
                ErrorCode::Internal,
                "the server could not finish the statement: its log says why",
            ))
        }
    }
}

impl From<ShardError> for SqlError {
    fn from(error: ShardError) -> Self {
        let code = match error {
            ShardError::Overloaded | ShardError::Unavailable => ErrorCode::Overloaded,
            ShardError::TooLarge => ErrorCode::TooLarge,
            ShardError::Expired | ShardError::Unknown => ErrorCode::Timeout,
            ShardError::Failed => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TooBusy> for SqlError {
    fn from(TooBusy: TooBusy) -> Self {
        let told = "the live queries are too busy to be listed or ended now: try again";
        Self::new(ErrorCode::Overloaded, told)
    }
}

impl From<ReadError> for SqlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Predicate(error) => Self::new(error.code(), error.to_string()),
            ReadError::TableUnknown => ShardError::Unavailable.into(),
            other => {
                tracing::error!(error = %other, "a shard could not be read");
                ShardError::Failed.into()
            }
        }
    }
}
