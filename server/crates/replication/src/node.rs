//! All groups of this node, on two databases.

pub(crate) mod core;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use server_engine::{Catalog, Command, Outcome, ShardNumber, View};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::core::Core;
use crate::blocking::blocking;
use crate::error::{ProposeError, ReplicationError};
use crate::identity::Identity;
use crate::ids::NodeId;
use crate::membership;
use crate::placement::Placement;
use crate::settings::{Health, Ports, Settings};
use crate::supervisor;
use crate::tending;
use crate::transport::TransportError;

/// How often it is tried again to propose, while there is no leader.
const RETRY: Duration = Duration::from_millis(10);

/// The groups of this node. It needs a runtime of several threads, since it waits for disks.
pub struct Node {
    core: Arc<Core>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Opens the databases and starts all groups.
    ///
    /// # Errors
    /// [`ReplicationError`]: what the databases have cannot be gone on with.
    pub async fn start(settings: Settings, ports: Ports) -> Result<Arc<Self>, ReplicationError> {
        let databases = blocking(|| ports.disk.open())?;
        let shards = (settings.user_shards, settings.shared_shards);
        let identity = Identity::of(&*databases.log, &*databases.rows, shards)?;
        let placement = identity.placement()?;
        let config = settings.timing.config()?;
        let (ended, endings) = mpsc::unbounded_channel();
        let catalogs = placement.shards().into_iter().map(|s| (s, watch::Sender::default()));
        let core = Arc::new(Core {
            ports,
            settings,
            placement,
            identity,
            config,
            catalogs: catalogs.collect(),
            running: RwLock::default(),
            lifecycle: Mutex::default(),
            ended,
        });
        if let Err(error) = core.start_on(databases).await {
            // The error that is told is the one that came first.
            let _ = core.close().await;
            return Err(error);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(supervisor::run(Arc::clone(&core), endings));
        tasks.spawn(tending::keep_logs_short(Arc::clone(&core)));
        tasks.spawn(tending::remove_what_ended(Arc::clone(&core)));
        tasks.spawn(tending::tell_tables(Arc::clone(&core)));
        Ok(Arc::new(Self { core, tasks }))
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.core.identity.node
    }

    /// Which shard a lane is in.
    pub fn placement(&self) -> &Placement {
        &self.core.placement
    }

    /// How each shard is on this node.
    pub fn health(&self) -> BTreeMap<ShardNumber, Health> {
        self.core.read_running(|running| running.health.clone())
    }

    /// Waits until every shard runs, knows a leader, and has applied what was committed before.
    ///
    /// # Errors
    /// What keeps a shard down.
    pub async fn ready(&self) -> Result<(), ReplicationError> {
        for shard in self.core.placement.shards() {
            ready(&self.core, shard).await?;
        }
        Ok(())
    }

    /// Proposes a command to a shard that this node leads, and waits for what comes of it.
    ///
    /// # Errors
    /// [`ProposeError`], which says whether it may have happened.
    pub async fn propose(
        &self,
        shard: ShardNumber,
        command: &Command,
        deadline: Instant,
    ) -> Result<Outcome, ProposeError> {
        let command = command.encode();
        loop {
            let answer = match self.core.group(shard) {
                Some(group) => group.propose(&command, deadline).await,
                None => Err(ProposeError::Unavailable),
            };
            // It did not happen, and soon there may be somebody who can.
            let may_pass = matches!(
                answer,
                Err(ProposeError::Unavailable | ProposeError::NotLeader { leader: None })
            );
            if !may_pass || self.is_down(shard) || Instant::now() + RETRY > deadline {
                return answer;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn is_down(&self, shard: ShardNumber) -> bool {
        self.core
            .read_running(|running| matches!(running.health.get(&shard), Some(Health::Down(_))))
    }

    /// Reads a shard as this node has it, with the index of the last entry in it. It waits for the
    /// disk, so it is not for a task that others wait for.
    ///
    /// # Errors
    /// [`ReplicationError::NotOpen`], or [`ReplicationError::Storage`].
    pub fn read<T>(
        &self,
        shard: ShardNumber,
        read: impl FnOnce(View<'_>, Option<u64>) -> T,
    ) -> Result<T, ReplicationError> {
        self.core.read(shard, read)
    }

    /// The tables of a shard as of the last entry that this node has applied; none for a number
    /// that is no shard. It reads no disk, and answers while the shard is opened anew.
    pub fn catalog(&self, shard: ShardNumber) -> Option<Arc<Catalog>> {
        self.core.catalogs.get(&shard).map(|catalog| Arc::clone(&catalog.borrow()))
    }

    /// Whether this node leads a shard.
    pub fn is_leader(&self, shard: ShardNumber) -> bool {
        self.core.group(shard).is_some_and(|group| group.is_leader())
    }

    /// The bytes of a shard's log on this node; 0 where it is not open.
    pub fn log_bytes(&self, shard: ShardNumber) -> u64 {
        self.core.group(shard).map_or(0, |group| group.log_bytes())
    }

    /// Makes these nodes the voters of a shard that this node leads. Repeat it after an error.
    ///
    /// # Errors
    /// [`ReplicationError::NotOpen`] or [`ReplicationError::Stopped`].
    pub async fn set_voters(
        &self,
        shard: ShardNumber,
        voters: &BTreeSet<NodeId>,
    ) -> Result<(), ReplicationError> {
        let group = self.core.group(shard).ok_or(ReplicationError::NotOpen)?;
        membership::set_voters(&group, voters).await
    }

    /// Sends all of a shard that this node leads to these nodes too, without a vote.
    ///
    /// # Errors
    /// [`ReplicationError::NotOpen`] or [`ReplicationError::Stopped`].
    pub async fn add_learners(
        &self,
        shard: ShardNumber,
        nodes: &BTreeSet<NodeId>,
    ) -> Result<(), ReplicationError> {
        let group = self.core.group(shard).ok_or(ReplicationError::NotOpen)?;
        membership::add_learners(&group, nodes, false).await
    }

    /// Lets this node try to lead a shard.
    ///
    /// # Errors
    /// [`ReplicationError::NotOpen`] or [`ReplicationError::Stopped`].
    pub async fn elect(&self, shard: ShardNumber) -> Result<(), ReplicationError> {
        let group = self.core.group(shard).ok_or(ReplicationError::NotOpen)?;
        let elected = group.raft.trigger().elect().await;
        elected.map_err(ReplicationError::stopped)
    }

    /// Answers a request that a [`Transport`](crate::Transport) has brought from another node.
    ///
    /// # Errors
    /// [`TransportError`].
    pub async fn handle(
        &self,
        shard: ShardNumber,
        request: &[u8],
    ) -> Result<Vec<u8>, TransportError> {
        match self.core.group(shard) {
            Some(group) => group.handle(request).await,
            None => Err(TransportError::NotOpen),
        }
    }

    /// Ends all groups, writes out the rows, so that the next start has nothing to apply again, and
    /// closes the databases. Without it groups go on until the runtime ends.
    ///
    /// # Errors
    /// [`ReplicationError::Storage`]: the next start applies again what was not written.
    pub async fn stop(&self) -> Result<(), ReplicationError> {
        self.core.close().await
    }
}

/// Waits until a shard is ready. The leader of one that is not founded founds it.
async fn ready(core: &Core, shard: ShardNumber) -> Result<(), ReplicationError> {
    loop {
        let down = core.read_running(|running| match running.health.get(&shard) {
            Some(Health::Down(error)) => Some(error.clone()),
            _ => running.is_closed.then_some(ReplicationError::NotOpen),
        });
        if let Some(error) = down {
            return Err(error);
        }
        if let Some(group) = core.group(shard)
            && group.ready().await.is_ok()
            && tending::found(core, &group).await
        {
            return Ok(());
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.core.identity.node)
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}
