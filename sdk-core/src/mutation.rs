//! What became of a write.

use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::value::Value;
use sdk_replica::MutationId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::command::Command;
use crate::error::Error;
use crate::rows::Rows;

/// How it is with a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MutationState {
    /// It has written what stays on this device, or changed nothing: there is nothing to decide.
    Local,
    /// It is stored on this device, and waits to be sent.
    Queued,
    /// It is undone. What was taken back has the code `cancelled`.
    Rejected {
        /// What to match on.
        code: ErrorCode,
        /// Why, for people.
        reason: String,
    },
}

impl MutationState {
    /// What was taken back.
    pub(crate) fn cancelled() -> Self {
        let reason = "it was taken back before it was decided".to_owned();
        Self::Rejected { code: ErrorCode::Cancelled, reason }
    }

    fn is_decided(&self) -> bool {
        !matches!(self, Self::Queued)
    }
}

/// What a write has done here, and what becomes of it. It is stored on this device; dropping this
/// changes nothing.
#[derive(Clone, Debug)]
pub struct Mutation {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) wrote: Wrote,
}

/// What a write has done here.
#[derive(Clone, Debug)]
pub(crate) struct Wrote {
    pub(crate) id: Option<MutationId>,
    pub(crate) rows_affected: u64,
    pub(crate) rows: Rows,
    pub(crate) state: watch::Receiver<MutationState>,
}

impl Mutation {
    /// By which [`Client::mutation`](crate::Client::mutation) finds it, also after a restart;
    /// nothing of one that is local.
    pub fn id(&self) -> Option<MutationId> {
        self.wrote.id
    }

    /// How many rows its statements have written here.
    pub fn rows_affected(&self) -> u64 {
        self.wrote.rows_affected
    }

    /// What RETURNING of its last statement has given.
    pub fn rows(&self) -> &Rows {
        &self.wrote.rows
    }

    /// How it is with it.
    pub fn state(&self) -> MutationState {
        self.wrote.state.borrow().clone()
    }

    /// Waits until it is decided, and says how. That may take as long as the device is offline.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// # Cancel safety
    /// It only waits.
    pub async fn decided(&self) -> Result<MutationState, Error> {
        let mut state = self.wrote.state.clone();
        let decided = state.wait_for(MutationState::is_decided).await;
        decided.map(|state| state.clone()).map_err(|_| Error::Closed)
    }

    /// Takes it back, as long as it is not sent: what it shows is undone, and later writes stay. Says
    /// whether that was possible.
    ///
    /// # Errors
    /// [`Error::Replica`] when it cannot be stored, [`Error::Closed`].
    pub async fn cancel(&self) -> Result<bool, Error> {
        let Some(id) = self.wrote.id else { return Ok(false) };
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Cancel(id, done)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// What waits to be sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// In the order in which it was written.
    pub mutations: Vec<PendingMutation>,
    /// How long the oldest has waited.
    pub oldest_age: Option<Duration>,
}

/// A write that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingMutation {
    /// Which: see [`Client::mutation`](crate::Client::mutation).
    pub id: MutationId,
    /// When it was written: microseconds since 1970, UTC.
    pub written_at: i64,
    /// The rows that it writes: `namespace.table`, and the key as the view `tw_pending` has it.
    pub rows: Vec<(String, Value)>,
}

impl Pending {
    /// How much it is.
    pub fn count(&self) -> usize {
        self.mutations.len()
    }
}
