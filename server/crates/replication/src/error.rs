use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::{AnyError, StorageIOError};
use server_engine::{EngineError, ShardNumber};
use server_storage::StorageError;
use thiserror::Error;

use crate::ids::{self, NodeId};
use crate::records::Malformed;

/// Why a group has stopped, or a node cannot start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplicationError {
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A database cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is stored or received is not what this version writes.
    #[error(
        "the {what} is damaged, or of a later version: update this server, or restore the data"
    )]
    Damaged {
        /// Which record.
        what: &'static str,
    },
    /// The two databases do not go together (INV-10).
    #[error("the log and the rows of shard {shard} do not fit: {why}")]
    Unfit {
        /// Which shard.
        shard: u16,
        /// What was found, and what to do about it.
        why: String,
    },
    /// The numbers of shards are fixed when a server first starts.
    #[error(
        "the data was founded with {found} {kind} shards, the configuration says {wanted}: \
         set it to {found}"
    )]
    Shards {
        /// Which kind.
        kind: &'static str,
        /// As founded.
        found: u16,
        /// As configured.
        wanted: u16,
    },
    /// A number of shards that cannot be.
    #[error("there are 1 to {max} shards of a kind: change the configuration")]
    ShardsRange {
        /// The most.
        max: u16,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The times by which groups notice that a leader is gone do not go together.
    #[error("the times of heartbeats and elections do not fit: {0}")]
    Timing(String),
    /// The shard is not open on this node at the moment.
    #[error("the shard is not open: try again in a moment")]
    NotOpen,
    /// The group was stopped, or has panicked.
    #[error("the group has stopped: {0}")]
    Stopped(String),
}

impl ReplicationError {
    pub(crate) fn unfit(shard: ShardNumber, why: impl Into<String>) -> Self {
        Self::Unfit { shard: shard.0, why: why.into() }
    }

    /// What openraft says of a group that goes on no longer.
    pub(crate) fn stopped(error: impl Display) -> Self {
        Self::Stopped(error.to_string())
    }

    /// Whether opening everything anew can help. Otherwise the same would be found again.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Storage(error) | Self::Engine(EngineError::Storage(error)) => {
                !matches!(error, StorageError::Corrupt { .. })
            }
            Self::Stopped(_) | Self::NotOpen => true,
            _ => false,
        }
    }
}

impl From<Malformed> for ReplicationError {
    fn from(_: Malformed) -> Self {
        Self::Damaged { what: "log" }
    }
}

/// Why a command was not proposed, or what came of it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// It did not happen: more is waiting than is taken on.
    #[error("too much is waiting to be written: try again in a moment")]
    Overloaded,
    /// It did not happen: another node leads, or none does. Of a client's mutations, the first ones
    /// may be decided.
    #[error("this node does not lead the shard: ask the leader")]
    NotLeader {
        /// The leader, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// It did not happen: the shard is not open on this node at the moment. Of a client's mutations,
    /// the first ones may be decided.
    #[error("the shard is not open: try again in a moment")]
    Unavailable,
    /// It never will: the command does not fit into an entry.
    #[error("the command has {bytes} bytes, an entry holds {bytes_max}: send it in parts")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most there may be.
        bytes_max: usize,
    },
    /// The shard has not been told of the tables in it in time. A statement did not happen; of a
    /// client's mutations, the first ones may be decided.
    #[error("the tables have just changed: try again in a moment")]
    SchemaBehind,
    /// It did not happen in time, and never will. Of a client's mutations, the first ones may be
    /// decided.
    #[error("it was not written in time: try again")]
    Expired,
    /// It may have happened, and may still. Asking again under the same request finds out.
    #[error("no answer came in time, so it may have been written: ask again with the same request")]
    Unknown,
}

/// Where what stopped a group is kept, since openraft passes on a text alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<ReplicationError>>>);

impl Failure {
    /// The first one is kept: those that follow come of it.
    pub(crate) fn note(&self, error: impl Into<ReplicationError>) -> AnyError {
        let error = error.into();
        let told = AnyError::new(&error);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        told
    }

    pub(crate) fn get(&self) -> Option<ReplicationError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes an error of reading or writing the log.
    pub(crate) fn of_log(&self, error: impl Into<ReplicationError>) -> ids::StorageError {
        StorageIOError::write_logs(self.note(error)).into()
    }

    /// Notes an error of the rows.
    pub(crate) fn of_rows(&self, error: impl Into<ReplicationError>) -> ids::StorageError {
        StorageIOError::write_state_machine(self.note(error)).into()
    }
}
