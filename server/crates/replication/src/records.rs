//! The bytes of what is stored beside a log, and sent between nodes: ours, so that another version
//! of openraft changes nothing of them. Entries are in `entry.rs`.

use std::collections::BTreeSet;

use protocol::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use server_storage::key::KeyError;
use thiserror::Error;

use crate::ids::{LeaderId, LogId, Membership, NodeId, SnapshotMeta, StoredMembership, Vote};

/// The version of everything that is stored here and in `entry.rs`.
pub(crate) const VERSION: u8 = 1;

/// Bytes that this version did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not what this version writes: update this server, or restore the data")]
pub(crate) struct Malformed;

impl From<KeyError> for Malformed {
    fn from(_: KeyError) -> Self {
        Self
    }
}

/// Where an entry is, and whose term it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIdRecord {
    term: u64,
    node: NodeId,
    index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        Self::new(LeaderId::new(record.term, record.node), record.index)
    }
}

/// For whom a node has voted, or whom it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoteRecord {
    term: u64,
    node: NodeId,
    committed: bool,
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> Self {
        let Vote { leader_id, committed } = vote;
        Self { term: leader_id.term, node: leader_id.node_id, committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        Self { leader_id: LeaderId::new(record.term, record.node), committed: record.committed }
    }
}

/// Who takes part: one set of voters, or two of which a majority each is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembershipRecord {
    voters: Vec<BTreeSet<NodeId>>,
    nodes: BTreeSet<NodeId>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(node, _)| *node).collect(),
        }
    }
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Self {
        Self::new(record.voters, record.nodes)
    }
}

/// What a shard's rows are the state of. Stored with them in every batch, and sent before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppliedState {
    /// The last entry that was applied.
    pub(crate) log_id: Option<LogId>,
    /// Who takes part, as of that entry.
    pub(crate) membership: StoredMembership,
    /// The entry at which the last snapshot from another node was installed. Only there may the
    /// log end before the rows.
    pub(crate) installed: Option<LogId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppliedRecord {
    version: u8,
    applied: Option<LogIdRecord>,
    member: Option<LogIdRecord>,
    membership: MembershipRecord,
    installed: Option<LogIdRecord>,
}

impl AppliedState {
    pub(crate) fn index(&self) -> Option<u64> {
        self.log_id.map(|id| id.index)
    }

    /// What openraft calls it. Equal states have equal names: nothing is copied for a snapshot, so
    /// there is nothing else to tell apart.
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.log_id,
            last_membership: self.membership.clone(),
            snapshot_id: self.log_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(&AppliedRecord {
            version: VERSION,
            applied: self.log_id.map(LogIdRecord::from),
            member: self.membership.log_id().map(LogIdRecord::from),
            membership: self.membership.membership().into(),
            installed: self.installed.map(LogIdRecord::from),
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let record: AppliedRecord = decode(bytes)?;
        if record.version != VERSION {
            return Err(Malformed);
        }
        let member = record.member.map(LogId::from);
        Ok(Self {
            log_id: record.applied.map(LogId::from),
            membership: StoredMembership::new(member, record.membership.into()),
            installed: record.installed.map(LogId::from),
        })
    }
}

/// A record of a few fields.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    codec::encode(record)
}

/// The record of these bytes. Nothing here is of a user: it was written by this node or another
/// of its cluster.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    codec::decode(bytes, usize::MAX).map_err(|_| Malformed)
}
