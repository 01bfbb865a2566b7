//! What became of a write.

use futures::Stream;
use sdk_replica::MutationId;
use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::error::Error;
use crate::rows::Rows;
use crate::written::{MutationState, Wrote};

/// What a write has done here, and what becomes of it. It is stored on this device; dropping this
/// changes nothing.
#[derive(Clone, Debug)]
pub struct Mutation {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) wrote: Wrote,
}

/// What a request has given: see [`Client::answer`](crate::Client::answer).
#[derive(Clone, Debug)]
pub enum Answer {
    /// It has written, and this is what [`Client::write`](crate::Client::write) gave.
    Wrote(Mutation),
    /// It has taken something back, or discarded it.
    Done,
}

impl Mutation {
    /// By which [`Client::mutation`](crate::Client::mutation) finds it, also after a restart;
    /// nothing of one that is local. If a power cut takes a write that was not sent, another one may
    /// be given its id.
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

    /// The state, and each one that follows, until it is decided. Whoever is slow gets the latest one.
    pub fn states(&self) -> impl Stream<Item = MutationState> + Send + Unpin + use<> {
        let first = (Some(self.wrote.state.clone()), true);
        let stream = futures::stream::unfold(first, |(state, is_first)| async move {
            let mut state = state?;
            if !is_first {
                state.changed().await.ok()?;
            }
            let now = state.borrow_and_update().clone();
            let next = Some(state).filter(|_| !now.is_decided());
            Some((now, (next, false)))
        });
        Box::pin(stream)
    }

    /// Takes it back, as long as it is not sent: what it shows is undone, and later writes stay. Says
    /// whether that was possible. What is stuck is taken back too, unless the server has it already:
    /// [`Mutation::decided`] says which.
    ///
    /// # Errors
    /// [`Error::Replica`] when it cannot be stored, [`Error::Closed`].
    pub async fn cancel(&self) -> Result<bool, Error> {
        let Some(id) = self.wrote.id else { return Ok(false) };
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Cancel(id, None, done)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}
