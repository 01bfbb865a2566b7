//! What the tasks of a node share: its databases, and the groups that run on them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use openraft::Config;
use server_engine::{Catalog, ShardNumber, Stores, View};
use server_storage::Store;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::error::ReplicationError;
use crate::group::{Group, GroupParts};
use crate::identity::Identity;
use crate::log::LogWriter;
use crate::placement::Placement;
use crate::settings::{Databases, Health, Ports, Settings};
use crate::transport::Network;

/// How long databases are waited for that somebody reads. Opening them while they are open fails,
/// and is tried again.
const CLOSE_MAX: Duration = Duration::from_secs(10);

const CLOSE_RETRY: Duration = Duration::from_millis(2);

/// What the tasks of a node share.
pub(crate) struct Core {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) placement: Placement,
    pub(crate) identity: Identity,
    pub(crate) config: Arc<Config>,
    /// Lives longer than a group, so that who waits for a change goes on waiting.
    pub(crate) catalogs: BTreeMap<ShardNumber, watch::Sender<Arc<Catalog>>>,
    pub(crate) running: RwLock<Running>,
    /// Held by who opens or closes something.
    pub(crate) lifecycle: Mutex<()>,
    /// Takes the numbers of groups that have ended.
    pub(crate) ended: mpsc::UnboundedSender<ShardNumber>,
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

    /// Lets go of the databases, and waits a while for those who still read.
    pub(crate) async fn close(self) {
        let Self { databases: Databases { log, rows }, writer, stores } = self;
        let left: [Weak<dyn Store>; 2] = [Arc::downgrade(&log), Arc::downgrade(&rows)];
        // The writer's thread ends here, and waits for a sync that may be under way.
        blocking(|| drop((log, rows, writer, stores)));
        let limit = Instant::now() + CLOSE_MAX;
        while left.iter().any(|store| store.strong_count() > 0) && Instant::now() < limit {
            tokio::time::sleep(CLOSE_RETRY).await;
        }
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
    pub(crate) async fn start_on(&self, databases: Databases) -> Result<(), ReplicationError> {
        self.use_databases(databases)?;
        for shard in self.placement.shards() {
            self.start_group(shard).await?;
        }
        Ok(())
    }

    /// Opens the databases again.
    pub(crate) fn open(&self) -> Result<(), ReplicationError> {
        if self.read_running(|running| running.is_closed) {
            return Err(ReplicationError::NotOpen);
        }
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
        watch(&group, self.ended.clone());
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

    /// Ends all groups, and lets go of the databases after writing out the rows.
    pub(crate) async fn close(&self) -> Result<(), ReplicationError> {
        self.change_running(|running| running.is_closed = true);
        let _alone = self.lifecycle.lock().await;
        let (open, groups) = self.change_running(|running| {
            running.health.clear();
            (running.open.take(), std::mem::take(&mut running.groups))
        });
        for group in groups.values() {
            group.stop().await;
        }
        drop(groups);
        let Some(open) = open else { return Ok(()) };
        let persisted = blocking(|| open.databases.rows.persist());
        open.close().await;
        Ok(persisted?)
    }
}

/// Tells when a group has ended.
fn watch(group: &Group, ended: mpsc::UnboundedSender<ShardNumber>) {
    let shard = group.shard;
    let mut metrics = group.raft.server_metrics();
    let ending = group.ending();
    tokio::spawn(async move {
        let ended_first = async { while metrics.changed().await.is_ok() {} };
        tokio::select! {
            () = ended_first => {}
            () = ending => {}
        }
        // Nobody is told after the node was dropped.
        let _ = ended.send(shard);
    });
}
