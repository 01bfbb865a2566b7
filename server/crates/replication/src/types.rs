//! The types that openraft is set up with, and names for those of its types that we use.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use openraft::EmptyNode;
use serde::{Deserialize, Serialize};
use server_engine::Outcome;

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

/// An entry of the engine. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Payload {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Set once it is in the log of this node, from where it may happen whatever openraft says.
    pub(crate) logged: Arc<AtomicBool>,
}

impl Payload {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), logged: Arc::default() }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes.len())
    }
}

openraft::declare_raft_types!(
    /// Where nodes are is not part of a membership, or moving one would be a change of every group.
    pub(crate) TypeConfig:
        D = Payload,
        R = Vec<Outcome>,
        NodeId = NodeId,
        Node = EmptyNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = crate::snapshot::ShardSnapshot,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LeaderId = openraft::CommittedLeaderId<NodeId>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Vote = openraft::Vote<NodeId>;
pub(crate) type Membership = openraft::Membership<NodeId, EmptyNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, EmptyNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, EmptyNode>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type Metrics = openraft::RaftMetrics<NodeId, EmptyNode>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;
