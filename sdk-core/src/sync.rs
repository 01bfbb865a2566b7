//! Whether all is here that the server had, and all is there that this device had.

use std::fmt;

use crate::status::StatusWord;

/// Why suspending is not over.
pub(crate) const NOT_SUSPENDED: &str =
    "the client is not suspended yet: its disk is slow, or the deadline is short; it goes on";

/// What was missing when the time was over. All of it is still waited for, and comes when it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// How it is with the connection.
    pub status: StatusWord,
    /// How many writes are not decided, of those from before the call; also what is stuck, or held back
    /// until a rejection is dealt with.
    pub undecided: u64,
    /// The SQL of subscriptions whose rows are not all here, without the values of their parameters.
    pub subscriptions: Vec<String>,
    /// Lanes (`user/<user id>`, `shared/<namespace>`) that are not where the server had them.
    pub lanes: Vec<String>,
}

impl fmt::Display for Unsynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, undecided, subscriptions, lanes } = self;
        write!(f, "not all was synced in time: the client is {status}")?;
        if *undecided > 0 {
            write!(f, ", {undecided} writes are not decided")?;
        }
        if !subscriptions.is_empty() {
            write!(f, ", rows are missing of `{}`", subscriptions.join("`, `"))?;
        }
        if !lanes.is_empty() {
            write!(f, ", what is new in {} is not here", lanes.join(", "))?;
        }
        f.write_str("; wait again, or go on with what is here")
    }
}

/// How a client was before it was woken for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// As it is now.
    Running,
    Paused,
    Suspended,
}

/// Of a client that was woken: how it was, and how often the application had resumed it by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Woken {
    pub(crate) before: Before,
    pub(crate) resumed: u64,
}
