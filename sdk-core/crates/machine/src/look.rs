//! How far subscriptions were when it was looked last whether they move.

use protocol::ids::Floor;

use crate::stored::SubscriptionId;
use crate::time::Millis;

/// The last look, at what was not current then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// When the next one is.
    pub(crate) next: Option<Millis>,
    pub(crate) seen: Vec<(SubscriptionId, Mark)>,
}

/// How far a subscription is: whatever the server sends of it moves that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) is_answered: bool,
    pub(crate) rows_loaded: u64,
    pub(crate) floor: Option<Floor>,
    /// Whether its lane is live, and how many pieces of what was missed have come before.
    pub(crate) lane: Option<(bool, u64)>,
}
