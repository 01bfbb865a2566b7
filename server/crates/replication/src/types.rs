//! The types that openraft is set up with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use openraft::EmptyNode;
use server_engine::Outcome;

use crate::ids::NodeId;

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
    /// How the groups of this crate are made.
    pub(crate) TypeConfig:
        D = Payload,
        R = Vec<Outcome>,
        NodeId = NodeId,
        Node = EmptyNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = crate::snapshot::ShardSnapshot,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;
