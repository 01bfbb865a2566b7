//! All groups of this node, on two databases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use openraft::Config;
use server_engine::{Catalog, Command, Outcome, Retention, ShardNumber, Stores, View};
use server_storage::{StorageError, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::error::{ProposeError, ReplicationError};
use crate::group::{Group, GroupParts, Timing};
use crate::identity::Identity;
use crate::log::LogWriter;
use crate::membership;
use crate::placement::Placement;
use crate::proposer::Clock;
use crate::state_machine::Observer;
use crate::supervisor;
use crate::tending;
use crate::transport::{Network, Transport, TransportError};
use crate::types::NodeId;

/// How often it is tried again to propose, while there is no leader.
const RETRY: Duration = Duration::from_millis(10);

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

/// The groups of this node. It needs a runtime of several threads, since it waits for disks.
pub struct Node {
    core: Arc<Core>,
    tasks: JoinSet<()>,
}

/// What the tasks of a node share.
pub(crate) struct Core {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) placement: Placement,
    pub(crate) identity: Identity,
    config: Arc<Config>,
    /// Lives longer than a group, so that who waits for a change goes on waiting.
    catalogs: BTreeMap<ShardNumber, watch::Sender<Arc<Catalog>>>,
    running: RwLock<Running>,
    /// Takes the numbers of groups that have ended.
    ended: mpsc::UnboundedSender<ShardNumber>,
}

/// What is replaced when something is opened anew.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) open: Option<Open>,
    /// Nothing is opened any more.
    pub(crate) is_closed: bool,
    pub(crate) groups: BTreeMap<ShardNumber, Arc<Group>>,
    pub(crate) health: BTreeMap<ShardNumber, Health>,
}

/// The databases, and what belongs to them as a whole.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) databases: Databases,
    pub(crate) writer: Arc<LogWriter>,
    pub(crate) stores: Arc<Stores>,
}

impl Open {
    /// Opens what the engine and the log keep for all shards.
    fn new(databases: Databases) -> Result<Self, ReplicationError> {
        let stores = Arc::new(Stores::open(&*databases.rows)?);
        // What a crash left of snapshots that were being received or replaced.
        stores.reclaim(&*databases.rows)?;
        let writer = Arc::new(LogWriter::start(Arc::clone(&databases.log))?);
        Ok(Self { databases, writer, stores })
    }
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
            self.core.ready(shard).await?;
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
            if !may_pass || Instant::now() + RETRY > deadline {
                return answer;
            }
            tokio::time::sleep(RETRY).await;
        }
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
        elected.map_err(|error| ReplicationError::Stopped(error.to_string()))
    }

    /// Answers a request that a [`Transport`] has brought from another node.
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

impl Core {
    pub(crate) fn read_running<T>(&self, read: impl FnOnce(&Running) -> T) -> T {
        read(&self.running.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_running<T>(&self, change: impl FnOnce(&mut Running) -> T) -> T {
        change(&mut self.running.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn group(&self, shard: ShardNumber) -> Option<Arc<Group>> {
        self.read_running(|running| running.groups.get(&shard).map(Arc::clone))
    }

    pub(crate) fn catalog(&self, shard: ShardNumber) -> watch::Receiver<Arc<Catalog>> {
        self.catalogs[&shard].subscribe()
    }

    pub(crate) fn read<T>(
        &self,
        shard: ShardNumber,
        read: impl FnOnce(View<'_>, Option<u64>) -> T,
    ) -> Result<T, ReplicationError> {
        let group = self.group(shard).ok_or(ReplicationError::NotOpen)?;
        let snapshot = group.rows.store.snapshot();
        // After the snapshot: an older catalog would not know all of its rows.
        let catalog = Arc::clone(&group.catalog.borrow());
        let applied = group.rows.applied(&*snapshot)?;
        let view = View::new(&*snapshot, &catalog, shard, self.ports.clock.now());
        Ok(read(view, applied.index()))
    }

    /// Starts all groups on databases that were just opened.
    async fn start_on(&self, databases: Databases) -> Result<(), ReplicationError> {
        self.use_databases(databases)?;
        for shard in self.placement.shards() {
            self.start_group(shard).await?;
        }
        Ok(())
    }

    /// Opens the databases again.
    pub(crate) fn open(&self) -> Result<(), ReplicationError> {
        let databases = blocking(|| self.ports.disk.open())?;
        self.use_databases(databases)
    }

    fn use_databases(&self, databases: Databases) -> Result<(), ReplicationError> {
        let open = blocking(|| Open::new(databases))?;
        let is_closed = self.change_running(|running| {
            if !running.is_closed {
                running.open = Some(open);
            }
            running.is_closed
        });
        if is_closed { Err(ReplicationError::NotOpen) } else { Ok(()) }
    }

    /// Starts one group on the databases as they are open.
    pub(crate) async fn start_group(&self, shard: ShardNumber) -> Result<(), ReplicationError> {
        let open = self.read_running(|running| running.open.clone());
        let Open { databases, writer, stores } = open.ok_or(ReplicationError::NotOpen)?;
        let parts = GroupParts {
            node: self.identity.node,
            log: databases.log,
            writer,
            rows: databases.rows,
            stores,
            observer: Arc::clone(&self.ports.observer),
            clock: Arc::clone(&self.ports.clock),
            config: Arc::clone(&self.config),
        };
        let retry = self.settings.timing.heartbeat;
        let network = Network { shard, transport: Arc::clone(&self.ports.transport), retry };
        let group = Group::start(parts, network, self.catalogs[&shard].clone()).await?;
        if self.settings.found
            && let Err(error) = group.found(self.identity.node).await
        {
            group.stop().await;
            return Err(error);
        }
        let group = Arc::new(group);
        supervisor::watch(&group, self.ended.clone());
        let unwanted = self.change_running(|running| {
            if running.is_closed {
                return Some(group);
            }
            running.health.insert(shard, Health::Running);
            running.groups.insert(shard, group)
        });
        if let Some(unwanted) = unwanted {
            unwanted.stop().await;
        }
        Ok(())
    }

    /// Gives back what no slot uses: of snapshots that were replaced, or given up.
    pub(crate) fn reclaim(&self) {
        let open = self.read_running(|running| running.open.clone());
        if let Some(Open { databases, stores, .. }) = open
            && let Err(error) = blocking(|| stores.reclaim(&*databases.rows))
        {
            tracing::warn!(%error, "the space of rows that nobody uses was not given back");
        }
    }

    /// Waits until a shard is ready. The leader of one that is not founded founds it.
    async fn ready(&self, shard: ShardNumber) -> Result<(), ReplicationError> {
        loop {
            let down = self.read_running(|running| match running.health.get(&shard) {
                Some(Health::Down(error)) => Some(error.clone()),
                _ => running.is_closed.then_some(ReplicationError::NotOpen),
            });
            if let Some(error) = down {
                return Err(error);
            }
            if let Some(group) = self.group(shard)
                && group.ready().await.is_ok()
                && tending::found(self, &group).await
            {
                return Ok(());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Ends all groups, and lets go of the databases after writing out the rows.
    pub(crate) async fn close(&self) -> Result<(), ReplicationError> {
        let (open, groups) = self.change_running(|running| {
            running.is_closed = true;
            running.health.clear();
            (running.open.take(), std::mem::take(&mut running.groups))
        });
        for group in groups.values() {
            group.stop().await;
        }
        drop(groups);
        let Some(open) = open else { return Ok(()) };
        let persisted = blocking(|| open.databases.rows.persist());
        supervisor::let_go(open).await;
        Ok(persisted?)
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
