//! Calls that are done once, however often they are asked for.
//!
//! Whoever has called and does not hear the answer, since the process has ended that was to give it, asks
//! again by the same [`Request`]: what was done is not done again. A write has it in its
//! [`WriteOptions`](crate::WriteOptions::request), and a statement for the server in its
//! [`RemoteOptions`](crate::RemoteOptions::request_id).

use sdk_replica::{MutationId, Request, WriteOptions};
use tokio::sync::oneshot;

use super::Client;
use crate::command::Command;
use crate::error::Error;
use crate::mutation::{Answer, Mutation};
use crate::transaction::Work;
use crate::written::Answered;

impl Client {
    /// What a request has given, if it was done, and no later one of its client has said that it is
    /// answered. Rows that cannot be read any more are left out.
    ///
    /// The state of a write that was decided long ago, so that this is not kept any more, is
    /// [`MutationState::Uncertain`](crate::MutationState::Uncertain).
    ///
    /// # Errors
    /// [`Error::Replica`] when the replica cannot be read, [`Error::Closed`].
    pub async fn answer(&self, client: &str, number: u64) -> Result<Option<Answer>, Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::Answer(client.to_owned(), number, done))?;
        let answered = answer.await.map_err(|_| Error::Closed)??;
        Ok(answered.map(|answered| match answered {
            Answered::Wrote(wrote) => Answer::Wrote(self.handle(wrote)),
            Answered::Done => Answer::Done,
        }))
    }

    /// Forgets what the requests of all other clients have given: for whoever knows who is still there to
    /// ask. What one of them asks for again all the same is done again. Without that, what the last 1,000
    /// clients were given that have asked for something is kept.
    ///
    /// # Errors
    /// [`Error::Replica`] when that cannot be stored, [`Error::Closed`].
    pub async fn keep_requests(&self, clients: &[String]) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::KeepRequests(clients.to_vec(), done))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// [`Client::retry`], once for this request.
    ///
    /// # Errors
    /// As [`Client::retry`].
    pub async fn retry_with(
        &self,
        id: MutationId,
        request: Option<Request>,
    ) -> Result<Mutation, Error> {
        let options = WriteOptions { replaces: Some(id), request, ..WriteOptions::default() };
        self.work(vec![Work::Again(id)], options).await
    }

    /// [`Client::discard`], once for this request. When there was nothing to be forgotten, nothing is
    /// stored of it.
    ///
    /// # Errors
    /// As [`Client::discard`].
    pub async fn discard_with(
        &self,
        id: MutationId,
        request: Option<Request>,
    ) -> Result<bool, Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::Discard(id, request, done))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// [`Mutation::cancel`] by the id of the write, once for this request. When it could not be taken back,
    /// nothing is stored of it.
    ///
    /// # Errors
    /// As [`Mutation::cancel`].
    pub async fn cancel_with(
        &self,
        id: MutationId,
        request: Option<Request>,
    ) -> Result<bool, Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::Cancel(id, request, done))?;
        answer.await.map_err(|_| Error::Closed)?
    }
}
