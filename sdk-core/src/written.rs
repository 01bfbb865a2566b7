//! What was written, and how it is with it.

use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::mutation::Reason;
use protocol::value::Value;
use sdk_replica::MutationId;
use tokio::sync::watch;

use crate::rows::Rows;

/// How it is with a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MutationState {
    /// It has written what stays on this device, or changed nothing: there is nothing to decide.
    Local,
    /// It is stored on this device, and waits to be sent.
    Queued,
    /// It may have left the device.
    Sent,
    /// It has happened.
    Accepted {
        /// Where its lane was right after it.
        seq: u64,
    },
    /// It is undone. What was taken back has the code `cancelled`.
    Rejected {
        /// What to match on.
        code: ErrorCode,
        /// Why, for people.
        reason: String,
    },
    /// Its rows had a time to live, which passed before it was sent. It is undone.
    Expired,
    /// It could not be delivered: the connection has ended each time that it was sent, or the server
    /// puts it off, or it cannot be read any more. Later writes of its lane wait for it, and everything
    /// else goes on. It is tried again every five minutes; [`Mutation::cancel`](crate::Mutation::cancel)
    /// gives it up.
    Stuck,
    /// The server does not know any more whether it has happened: a copy of this replica has sent it,
    /// or the device was away for too long. It is undone here; if it did happen, its rows come with
    /// what is subscribed to.
    Uncertain,
}

impl MutationState {
    /// What was taken back.
    pub(crate) fn cancelled() -> Self {
        let why = Reason::Cancelled;
        Self::Rejected { code: why.code(), reason: why.to_string() }
    }

    pub(crate) fn is_decided(&self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Stuck)
    }
}

/// What a write has done here.
#[derive(Clone, Debug)]
pub(crate) struct Wrote {
    pub(crate) id: Option<MutationId>,
    pub(crate) rows_affected: u64,
    pub(crate) rows: Rows,
    pub(crate) state: watch::Receiver<MutationState>,
}

/// What a request has given.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    Wrote(Wrote),
    /// It was no write, and is done.
    Done,
}

/// What is not decided yet.
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
    /// How it is with it: queued, sent or stuck.
    pub state: MutationState,
}

impl Pending {
    /// How much it is.
    pub fn count(&self) -> usize {
        self.mutations.len()
    }
}
