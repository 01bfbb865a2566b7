//! What an app is shown.

use protocol::error_code::ErrorCode;
use protocol::ids::Lane;

use crate::stored::SubscriptionId;
use crate::violation::ProtocolViolation;

/// How it is with the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// In a word.
    pub word: StatusWord,
    /// Why there is no connection, while there is none and one is wanted.
    pub reason: Option<Reason>,
}

/// How it is with the connection, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusWord {
    /// The app does not want one.
    Paused,
    /// There is none for now; it is tried again and again.
    Offline,
    /// The first one is being made since the client was opened or resumed.
    Connecting,
    /// There is one, and everything that is wanted is here and live.
    Connected,
    /// There is one, and something is still to come.
    Behind,
    /// There is none because of the token. It is asked for again.
    NeedsAuth,
    /// There is none because the client is too old.
    UpdateRequired,
    /// The client is closed.
    Closed,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The app gave no token.
    NoToken,
    /// The server could not be reached, or the connection was lost.
    Unreachable,
    /// Nothing came for too long.
    Silent,
    /// The server has ended it.
    Goodbye {
        /// What an application matches on.
        code: ErrorCode,
        /// Why, for people.
        message: String,
    },
    /// The server owes something that does not come.
    Stalled(Stall),
    /// What the server sent was wrong.
    Violation(ProtocolViolation),
}

impl Reason {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoToken => ErrorCode::NeedsAuth,
            Self::Unreachable => ErrorCode::Offline,
            Self::Silent => ErrorCode::Timeout,
            Self::Stalled(_) => ErrorCode::Stalled,
            Self::Goodbye { code, .. } => *code,
            Self::Violation(_) => ErrorCode::Internal,
        }
    }

    /// Whether a connection that was open may have ended because of what the client had sent. A
    /// server that goes away, or has too much to do, says so.
    pub(crate) fn may_be_of_what_was_sent(&self) -> bool {
        match self {
            Self::NoToken | Self::Silent | Self::Stalled(_) => false,
            Self::Unreachable | Self::Violation(_) => true,
            Self::Goodbye { code, .. } => matches!(
                code,
                ErrorCode::InvalidRequest
                    | ErrorCode::TooLarge
                    | ErrorCode::Unsupported
                    | ErrorCode::Internal
                    | ErrorCode::Unknown
            ),
        }
    }
}

/// What does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The rows of a subscription.
    Subscription(SubscriptionId),
    /// The decisions on what was written in a lane.
    Outbox(Lane),
}

/// How it is with a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// In a word.
    pub state: SubscriptionState,
    /// How many rows its load has brought, since it began or since the machine was made.
    pub rows_loaded: u64,
    /// About how many rows are left to look at, if the server has said so in this load.
    pub remaining: Option<u64>,
    /// Why it is refused, where it is.
    pub refusal: Option<Refusal>,
}

/// How it is with a subscription, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubscriptionState {
    /// Not all rows that it wants are here yet.
    Loading,
    /// All rows are here, and changes come as they happen.
    Live,
    /// All rows are here, as of some time ago.
    Behind,
    /// The server does not grant it.
    Refused,
}

/// Why a subscription is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What an application matches on.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
}
