//! How it is with the connection, and with what is shown.

use std::fmt;

use protocol::error_code::ErrorCode;
use sdk_machine::StatusWord as Machine;

/// How it is, in a word, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// In a word.
    pub word: StatusWord,
    /// Why, where there is a reason.
    pub reason: Option<StatusReason>,
}

/// How it is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StatusWord {
    /// The application does not want a connection.
    Paused,
    /// There is none for now; it is tried again and again.
    Offline,
    /// The first one is being made since the client was opened or resumed.
    Connecting,
    /// There is one, and everything that is subscribed to is here and live.
    Connected,
    /// There is one, and something is still to come.
    Behind,
    /// There is none because of the token. The callback is asked again.
    NeedsAuth,
    /// The callback gave a token of another user. Nothing was sent.
    WrongUser,
    /// There is none because the client is too old.
    UpdateRequired,
    /// The disk of the device is full. It goes on by itself when it is not.
    DiskFull,
    /// The replica cannot be written. It is tried again.
    Error,
    /// The client is closed.
    Closed,
}

/// Why it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReason {
    /// What to match on.
    pub code: ErrorCode,
    /// What is wrong and what to do.
    pub message: String,
}

impl From<Machine> for StatusWord {
    fn from(word: Machine) -> Self {
        match word {
            Machine::Paused => Self::Paused,
            Machine::Offline => Self::Offline,
            Machine::Connecting => Self::Connecting,
            Machine::Connected => Self::Connected,
            Machine::Behind => Self::Behind,
            Machine::NeedsAuth => Self::NeedsAuth,
            Machine::UpdateRequired => Self::UpdateRequired,
            Machine::Closed => Self::Closed,
        }
    }
}

impl StatusWord {
    /// The word as every SDK writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Behind => "behind",
            Self::NeedsAuth => "needs_auth",
            Self::WrongUser => "wrong_user",
            Self::UpdateRequired => "update_required",
            Self::DiskFull => "disk_full",
            Self::Error => "error",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How fresh a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultState {
    /// Not all that it stands on is here yet, and no row is.
    Loading,
    /// Not all that it stands on is here yet, and some rows are.
    Cached,
    /// It is all here, and changes come as they happen. It may be empty.
    Live,
    /// It is all here, as of some time ago. It may be empty.
    Behind,
}
