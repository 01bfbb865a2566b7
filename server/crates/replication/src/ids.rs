//! Names for what openraft counts and compares by.

use std::fmt;

use openraft::EmptyNode;
use serde::{Deserialize, Serialize};

/// Numbers the nodes of a cluster. Drawn by a node when it first starts, and never given again: a
/// node whose data was lost comes back as another one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

pub(crate) type LeaderId = openraft::CommittedLeaderId<NodeId>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Vote = openraft::Vote<NodeId>;
/// Where nodes are is not part of it, or moving one would be a change of every group.
pub(crate) type Membership = openraft::Membership<NodeId, EmptyNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, EmptyNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, EmptyNode>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type Metrics = openraft::RaftMetrics<NodeId, EmptyNode>;
