//! How far subscriptions were when it was looked last whether they move.

use protocol::ids::{Floor, Lane};

use crate::stored::SubscriptionId;
use crate::time::Millis;

/// The last look, at what was not current or not answered then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// When the next one is.
    pub(crate) next: Option<Millis>,
    pub(crate) seen: Vec<(SubscriptionId, Mark)>,
    /// The lanes that the server had not answered for, and how far they were.
    pub(crate) lanes: Vec<(Lane, Option<Fed>)>,
}

/// How far a subscription is: whatever the server sends of it moves that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) is_answered: bool,
    pub(crate) rows_loaded: u64,
    pub(crate) floor: Option<Floor>,
    pub(crate) lane: Option<Fed>,
}

/// How far a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fed {
    pub(crate) is_live: bool,
    /// How many pieces of what was missed have come before.
    pub(crate) pieces: u64,
}
