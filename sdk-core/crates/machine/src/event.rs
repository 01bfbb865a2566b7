//! What a machine is told.

use protocol::digest::RowsDigest;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ServerFrame, Token};
use protocol::value::Value;
use thiserror::Error;

use crate::check::Comparison;
use crate::statement::StatementId;
use crate::stored::{MutationId, StoredMutation, SubscriptionId};
use crate::sync::SyncId;

/// How a machine is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many addresses of servers the host has. The machine names one by its place among them.
    pub servers: usize,
    /// How often each subscription is compared with the server while this runs, in milliseconds; only
    /// when it is asked for without.
    pub verify_every_ms: Option<u64>,
    /// How long the server may owe something while nothing of it moves, in milliseconds. It is looked
    /// twice in that time, so it may be noticed after half of it.
    pub stall_ms: u64,
    /// The number that the application gives its own code; 0 is none.
    pub app_version: u32,
}

/// Numbers the attempts to have a connection. What comes of an older one is passed over, so the
/// host need not stop anything before it begins the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u64);

/// Something has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The app wants to be connected.
    Resume,
    /// The app does not want to be connected for now.
    Pause,
    /// The end. Nothing has an effect any more.
    Close,
    /// The network has changed, or the app is in front again: a good time to try at once.
    Nudge,
    /// Nobody asks for the subscription any more.
    Unsubscribe(SubscriptionId),
    /// So many more rows of the subscription are wanted.
    LoadOlder(SubscriptionId, u64),
    /// The subscription is to be loaded anew.
    Reset(SubscriptionId),
    /// The app wants to know whether the subscription is as the server has it:
    /// [`Instruction::Verified`](crate::Instruction::Verified) says so.
    Verify(SubscriptionId),
    /// The replica has rows so that were to be compared.
    Compared(Comparison, RowsDigest),
    /// The app has written something, which is stored; or the host has let go what it held back.
    Wrote(StoredMutation),
    /// The app has taken back what [`Machine::may_take_back`](crate::Machine::may_take_back) said
    /// that it can, and the replica has undone it.
    TakenBack(MutationId),
    /// What the machine wanted sent cannot be read.
    Unreadable(MutationId),
    /// It is a good time to send what was written: nobody waits for anything else. Wanted while
    /// [`Machine::has_to_send`](crate::Machine::has_to_send) says so.
    Flush,
    /// Nobody waits for the answer to a statement any more.
    ForgetStatement(StatementId),
    /// Nobody waits any more to hear where the server is.
    ForgetSync(SyncId),
    /// The app has given a token.
    TokenReady {
        /// As it was asked for.
        attempt: Attempt,
        /// The token.
        token: Token,
    },
    /// The app has no token to give.
    TokenFailed {
        /// As it was asked for.
        attempt: Attempt,
    },
    /// There is a socket.
    Connected {
        /// As it was dialled.
        attempt: Attempt,
    },
    /// There is no socket, or no more.
    Disconnected {
        /// As it was dialled.
        attempt: Attempt,
    },
    /// A frame has arrived.
    Frame {
        /// As the socket was dialled.
        attempt: Attempt,
        /// The frame.
        frame: ServerFrame,
    },
    /// The time at which the machine wanted to be woken has come.
    Tick,
}

/// What an app subscribes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The SQL.
    pub sql: String,
    /// A value for each `$n` of it.
    pub params: Vec<Value>,
    /// How many rows it wants in all, the last born ones; all without.
    pub fetch_last: Option<u64>,
    /// Most rows of one batch; as the server likes without.
    pub batch_rows: Option<u32>,
}

/// What cannot be asked for, whatever a server would say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The client is closed.
    #[error("the client is closed: open it again to subscribe")]
    Closed,
    /// A connection takes no more.
    #[error("there are {0} subscriptions, which is the most: end one that is not needed")]
    TooMany(usize),
    /// All that is subscribed to is sent at once when a connection begins.
    #[error(
        "the SQL and parameters of all subscriptions take at most {0} bytes: end one, or ask for less"
    )]
    TooLarge(usize),
    /// So many wait for the server already.
    #[error("{0} questions wait for the server's answer, which is the most: wait for some of them")]
    TooManyStatements(usize),
    /// One frame has it.
    #[error("a statement and its parameters have at most {0} bytes: split it")]
    StatementTooLarge(usize),
    /// A statement takes no more.
    #[error("a statement has at most {0} parameters")]
    TooManyParameters(usize),
}

impl AskError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Closed => ErrorCode::InvalidRequest,
            Self::TooMany(_)
            | Self::TooLarge(_)
            | Self::TooManyParameters(_)
            | Self::StatementTooLarge(_) => ErrorCode::TooLarge,
            Self::TooManyStatements(_) => ErrorCode::Overloaded,
        }
    }
}
