//! What a server must not do.

use protocol::ids::{Lane, QueryNumber, RequestNumber, SeqId};
use thiserror::Error;

/// A frame contradicts what came before it. Nothing of it is applied and the connection is given
/// up: what is stored is right, and going on from there is always safe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// A frame that does not belong there, such as a second `welcome`.
    #[error("`{0}` came where it cannot be")]
    Misplaced(&'static str),
    /// A version that was not offered.
    #[error("version {0} of the protocol was not offered")]
    Version(u16),
    /// An answer to what was not asked, or a second one.
    #[error("there is no open request {}", .0.0)]
    Request(RequestNumber),
    /// A description of the tables that cannot be.
    #[error("the description of the tables contradicts itself: {0}")]
    Schema(&'static str),
    /// A query that `subscribed` has not named.
    #[error("query {} was never named", .0.0)]
    Query(QueryNumber),
    /// A query is described so that it cannot be.
    #[error("query {} is not described consistently", .0.0)]
    Description(QueryNumber),
    /// A lane in which nothing was asked.
    #[error("nothing was asked in lane {0}")]
    Lane(Lane),
    /// What only a lane that is live has.
    #[error("lane {0} is not live")]
    NotLive(Lane),
    /// Pieces of what was missed, where nothing was held.
    #[error("lane {0} was not resumed")]
    NotResumed(Lane),
    /// Something is missing, or came twice.
    #[error("lane {lane} is at {frontier}, not at {previous}")]
    Gap {
        /// The lane.
        lane: Lane,
        /// Where it is.
        frontier: SeqId,
        /// Where the server took it to be.
        previous: SeqId,
    },
    /// A lane only goes forward.
    #[error("lane {lane} is at {frontier} and cannot go back to {to}")]
    Back {
        /// The lane.
        lane: Lane,
        /// Where it is.
        frontier: SeqId,
        /// Where the server wants it.
        to: SeqId,
    },
    /// Another history, while something of the old one is held.
    #[error("lane {0} has another history, and was not reset")]
    Epoch(Lane),
    /// The lane became live while a subscription that holds rows of it was not answered.
    #[error("lane {0} became live without all that is held of it")]
    LeftBehind(Lane),
    /// Something came between the parts of a commit.
    #[error("a commit of lane {0} was not ended")]
    OpenCommit(Lane),
    /// The rows of a batch are not what the batch says they are.
    #[error("a batch of query {} does not fit what is loaded", .0.0)]
    Batch(QueryNumber),
    /// A digest of what is not loaded.
    #[error("a digest of query {} is of more than what is loaded", .0.0)]
    Digest(QueryNumber),
}
