//! What applications want of what they have written; and calls that are done once (INV-12).

use protocol::error_code::ErrorCode;
use sdk_replica::{Answer, Decision, MutationId, ReplicaError, Request};
use tokio::sync::watch;

use super::Driver;
use crate::command::Command;
use crate::error::Error;
use crate::rows::Rows;
use crate::written::{Answered, MutationState, Wrote};

impl Driver {
    /// What is wanted of what was written.
    pub(super) fn of_writes(&mut self, command: Command) {
        match command {
            Command::Cancel(id, request, done) => {
                let _ = done.send(self.cancel(id, request.as_ref()));
            }
            Command::Pending(done) => {
                let _ = done.send(self.pending());
            }
            Command::Mutation(id, done) => {
                let _ = done.send(self.mutation(id));
            }
            Command::Rejections(after, done) => {
                let _ = done.send(self.rejections(after));
            }
            Command::Discard(id, request, done) => {
                let _ = done.send(self.discard(id, request.as_ref()));
            }
            Command::Answer(client, number, done) => {
                let _ = done.send(self.answer(&client, number));
            }
            Command::KeepRequests(clients, done) => {
                let kept = self.replica.get_mut().and_then(|it| it.keep_requests(&clients));
                let _ = done.send(kept.map_err(Error::from));
            }
            command => self.run_or_rest(command),
        }
    }

    /// What a request has given, if it was done.
    pub(super) fn answer(&mut self, client: &str, number: u64) -> Result<Option<Answered>, Error> {
        let (id, given) = match self.replica.get()?.answer(client, number)? {
            None => return Ok(None),
            Some(Answer::Done(_)) => return Ok(Some(Answered::Done)),
            Some(Answer::Wrote { id, executed }) => (id, executed),
        };
        let state = match id {
            None => watch::channel(MutationState::Local).1,
            Some(id) => match self.mutation(id)? {
                Some(Wrote { state, .. }) => state,
                // So many were decided since that it is not kept any more how this one was.
                None => watch::channel(MutationState::Uncertain).1,
            },
        };
        let rows = Rows::new(given.columns, given.rows);
        Ok(Some(Answered::Wrote(Wrote { id, rows_affected: given.rows_affected, rows, state })))
    }

    /// The write that a request has done already, if it was this call.
    pub(super) fn wrote_before(
        &mut self,
        Request { client, number, .. }: &Request,
        call: Option<[u8; 16]>,
    ) -> Result<Option<Wrote>, Error> {
        match self.answer(client, *number)? {
            None => Ok(None),
            Some(Answered::Wrote(wrote)) if self.replica.get()?.call(client, *number)? == call => {
                Ok(Some(wrote))
            }
            Some(_) => Err(other_call()),
        }
    }

    /// Whether a request has done this already, which is no write.
    fn was_done(&self, request: Option<&Request>, id: MutationId) -> Result<bool, Error> {
        let Some(Request { client, number, .. }) = request else { return Ok(false) };
        match self.replica.get()?.answer(client, *number)? {
            None => Ok(false),
            Some(Answer::Done(done)) if done == id => Ok(true),
            Some(_) => Err(other_call()),
        }
    }

    /// Takes a mutation back. On a full disk that takes what is reserved.
    fn cancel(&mut self, id: MutationId, request: Option<&Request>) -> Result<bool, Error> {
        if self.was_done(request, id)? {
            return Ok(true);
        }
        match self.take_back(id, Decision::Cancelled, request) {
            Err(error) if error == ReplicaError::DiskFull.into() && self.take_reserve() => {
                self.take_back(id, Decision::Cancelled, request)
            }
            done => done,
        }
    }

    /// Forgets what did not happen, in the same way.
    fn discard(&mut self, id: MutationId, request: Option<&Request>) -> Result<bool, Error> {
        if self.was_done(request, id)? {
            return Ok(true);
        }
        let was_there = match self.replica.get_mut()?.discard_once(id, request) {
            Err(ReplicaError::DiskFull) if self.take_reserve() => {
                self.replica.get_mut()?.discard_once(id, request)?
            }
            done => done?,
        };
        self.has_settled |= was_there;
        Ok(was_there)
    }
}

fn other_call() -> Error {
    let message = "this request was another call: count on from one call to the next".to_owned();
    Error::Asked { code: ErrorCode::InvalidRequest, message }
}
