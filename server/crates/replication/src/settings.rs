//! What a node is set up with, and what it needs from outside.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use server_engine::Retention;
use server_storage::{StorageError, Store};

use crate::error::ReplicationError;
use crate::group::Timing;
use crate::proposer::Clock;
use crate::state_machine::Observer;
use crate::transport::Transport;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many shards the user lanes are spread over, 1 to 64. Fixed at the first start.
    pub user_shards: u16,
    /// How many shards the shared lanes are spread over, 1 to 64. Fixed at the first start.
    pub shared_shards: u16,
    /// Whether an empty node founds a server of its own. Otherwise it waits to be taken into one.
    pub found: bool,
    /// How groups notice that a leader is gone.
    pub timing: Timing,
    /// Bytes of a shard's log above which it is made shorter.
    pub log_bytes_max: u64,
    /// Bytes of it that stay, for nodes that are a little behind.
    pub log_bytes_kept: u64,
    /// How often that is looked at.
    pub tend_every: Duration,
    /// How long things are kept, and how often what has ended is looked for.
    pub retention: Retention,
    /// How often that is.
    pub sweep_every: Duration,
}

impl Default for Settings {
    /// Four user shards and two shared ones, founded alone; 32 MiB of log for each.
    fn default() -> Self {
        Self {
            user_shards: 4,
            shared_shards: 2,
            found: true,
            timing: Timing::default(),
            log_bytes_max: 32 * 1024 * 1024,
            log_bytes_kept: 8 * 1024 * 1024,
            tend_every: Duration::from_secs(1),
            retention: Retention::default(),
            sweep_every: Duration::from_secs(60),
        }
    }
}

/// Where the databases are.
pub trait Disk: Send + Sync + 'static {
    /// Opens both. They are not open when it is called; after a failure it is called again.
    ///
    /// # Errors
    /// [`StorageError`]: it is tried again, if that can help.
    fn open(&self) -> Result<Databases, StorageError>;
}

/// The two databases of a node.
#[derive(Clone, Debug)]
pub struct Databases {
    /// Of the layout [`LOG_LAYOUT`](crate::LOG_LAYOUT).
    pub log: Arc<dyn Store>,
    /// Of the layout [`server_engine::LAYOUT`].
    pub rows: Arc<dyn Store>,
}

/// What a node works with.
#[derive(Clone)]
pub struct Ports {
    /// Opens the databases.
    pub disk: Arc<dyn Disk>,
    /// Reaches other nodes.
    pub transport: Arc<dyn Transport>,
    /// Is told what was applied.
    pub observer: Arc<dyn Observer>,
    /// Tells the time of entries.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// How a shard is on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It runs.
    Running,
    /// It failed, and is being opened anew.
    Restarting(ReplicationError),
    /// It failed in a way that opening it anew does not mend.
    Down(ReplicationError),
}
