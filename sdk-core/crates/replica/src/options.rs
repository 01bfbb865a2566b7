//! How a write is done, beside what it does.

use sdk_machine::MutationId;

use crate::error::ReplicaError;
use crate::requests::Request;

/// Most bytes of a queue's name.
const QUEUE_BYTES_MAX: usize = 256;

/// How a write is done, beside what it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// A name for writes whose order matters, for example the room of a chat. It is given together
    /// with [`OnReject::Hold`].
    pub queue: Option<String>,
    /// What becomes of later writes when one is rejected.
    pub on_reject: OnReject,
    /// What the server is to find, for the write to happen.
    pub expect: Expect,
    /// It is not to wait for a connection: without one it fails at once with `offline`, and if the
    /// connection is lost before it is sent, it is taken back.
    pub online: bool,
    /// The write that this one takes the place of, in one transaction; also where this one changes
    /// nothing.
    ///
    /// One that was rejected is dealt with. In the queue of that one this has its turn: it goes before
    /// those that wait there, once nothing of the queue is on its way.
    ///
    /// One that waits and has not left the device is taken back first, so this one finds the rows as
    /// they were before it. It goes behind all that was written since, also in the queue of that one.
    /// What may have left the device, or has rows that were written again since, is refused with
    /// `conflict`, and stays.
    pub replaces: Option<MutationId>,
    /// The write is done once however often it is asked for by this. It is stored with what it does and
    /// what it gives, RETURNING and all, and whoever asks again is given that.
    pub request: Option<Request>,
}

/// What becomes of later writes when one is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReject {
    /// They go on.
    #[default]
    Continue,
    /// Those of its queue wait on this device, until the application has retried or discarded what
    /// was rejected. For that each write of a queue is sent when the one before it is decided.
    Hold,
}

/// What the server is to find, for a write to happen. Otherwise it is rejected with `conflict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is: for each column the last write wins.
    #[default]
    Anything,
    /// Each row that is changed or deleted, in the columns that this device has of it, as it was shown
    /// here before; but what is declared `MERGE ADD` may be another. A row that an upsert makes here is
    /// not to be there.
    Unchanged,
}

impl WriteOptions {
    pub(crate) fn check(&self) -> Result<(), ReplicaError> {
        let told = match (&self.queue, self.on_reject) {
            (Some(_), OnReject::Continue) => {
                "a queue has an effect when its writes are held: give on_reject: hold with it"
            }
            (None, OnReject::Hold) => {
                "which later writes are held says a queue: give one with on_reject: hold"
            }
            (Some(queue), _) if queue.is_empty() || queue.len() > QUEUE_BYTES_MAX => {
                "the name of a queue has 1 to 256 bytes: give another one"
            }
            _ => return Ok(()),
        };
        Err(ReplicaError::Sql(told.to_owned()))
    }
}
