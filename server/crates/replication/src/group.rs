//! One Raft group on this node.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::RaftError;
use openraft::raft::AppendEntriesRequest;
use openraft::{Config, ServerState, SnapshotPolicy};
use server_engine::{Catalog, EncodedCommand, Outcome, ShardNumber, Stores};
use server_storage::Store;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::check;
use crate::error::{Failure, ProposeError, ReplicationError};
use crate::ids::{NodeId, Vote};
use crate::log::{LogWriter, ShardLog};
use crate::proposer::{Clock, Proposer};
use crate::records::{self, VoteRecord};
use crate::rows::ShardRows;
use crate::snapshot::{Receiving, ShardSnapshot};
use crate::state_machine::{Observer, StateMachine, StateMachineParts};
use crate::transport::{Answer, Network, Request, SnapshotPart, TransportError};
use crate::types::{Raft, Snapshot};

/// How often it is looked whether a group is ready.
const READY_RETRY: Duration = Duration::from_millis(5);

/// How long is waited for a snapshot, which is that the rows are written out.
const SNAPSHOT_MAX: Duration = Duration::from_secs(10);

/// After how long without a part a snapshot that is received is given up.
const TRANSFER_IDLE: Duration = Duration::from_secs(60);

/// A running group.
pub(crate) struct Group {
    pub(crate) shard: ShardNumber,
    pub(crate) raft: Raft,
    pub(crate) rows: ShardRows,
    /// The tables as of the last entry. Taken after a snapshot, never before.
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    pub(crate) failure: Failure,
    proposer: Proposer,
    log: ShardLog,
    stores: Arc<Stores>,
    transfer: Mutex<Option<Transfer>>,
    /// The last entry of the log when the group was started.
    last_at_start: Option<u64>,
    /// Up to where a leader has said that entries are committed, if one was heard at all since the
    /// group was started.
    heard: watch::Sender<Option<Option<u64>>>,
    /// Ends when what applies entries is gone, also by a panic, which openraft tells nobody.
    applying: watch::Receiver<()>,
}

/// A snapshot that is being received.
struct Transfer {
    id: u64,
    next: u64,
    /// When its last part came.
    heard: Instant,
    receiving: Receiving,
}

/// What a group is started with.
#[derive(Clone)]
pub(crate) struct GroupParts {
    pub(crate) node: NodeId,
    pub(crate) log: Arc<dyn Store>,
    pub(crate) writer: Arc<LogWriter>,
    pub(crate) rows: Arc<dyn Store>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<Config>,
}

/// How groups notice that a leader is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it is there.
    pub heartbeat: Duration,
    /// After how long a silence, at least, another one is elected.
    pub election_min: Duration,
    /// And at most. A leader's lease is as long.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let [heartbeat, election_min, election_max] = [300, 1500, 3000].map(Duration::from_millis);
        Self { heartbeat, election_min, election_max }
    }
}

impl Timing {
    pub(crate) fn config(&self) -> Result<Arc<Config>, ReplicationError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "tidewire".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            // Entries hold many commands; how many bytes are sent at once, the log limits.
            max_payload_entries: 16,
            // Snapshots and purges are by bytes and not by entries: see `Group::tend`.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            ..Config::default()
        };
        let config = config.validate();
        config.map(Arc::new).map_err(|error| ReplicationError::Timing(error.to_string()))
    }
}

impl Group {
    /// Opens the group as the databases have it, and starts it.
    pub(crate) async fn start(
        parts: GroupParts,
        network: Network,
        catalog: watch::Sender<Arc<Catalog>>,
    ) -> Result<Self, ReplicationError> {
        let shard = network.shard;
        let rows = ShardRows::new(parts.rows, shard);
        let failure = Failure::default();
        // What an earlier group of this shard has sent is written before the log is read.
        blocking(|| parts.writer.settle())?;
        let (installs, applying) = watch::channel(());
        let (log, bounds) = ShardLog::open(
            parts.log,
            parts.writer,
            rows.clone(),
            applying.clone(),
            failure.clone(),
        )?;
        check::check_fit(shard, &bounds, &rows.applied(&*rows.store.snapshot())?)?;
        let machine = StateMachine::open(StateMachineParts {
            rows: rows.clone(),
            stores: Arc::clone(&parts.stores),
            observer: parts.observer,
            failure: failure.clone(),
            installs,
            catalog: catalog.clone(),
        })?;
        let raft = Raft::new(parts.node, parts.config, network, log.clone(), machine).await;
        let raft = raft
            .map_err(|error| failure.get().unwrap_or_else(|| ReplicationError::stopped(error)))?;
        let proposer = Proposer::start(raft.clone(), parts.clock, applying.clone());
        let last_at_start = bounds.entries.map(|(_, last)| last.index);
        let heard = watch::Sender::default();
        let (stores, transfer) = (parts.stores, Mutex::new(None));
        Ok(Self {
            shard,
            raft,
            rows,
            catalog,
            failure,
            proposer,
            log,
            stores,
            transfer,
            last_at_start,
            heard,
            applying,
        })
    }

    /// Makes this node the only member of a group that has none.
    pub(crate) async fn found(&self, node: NodeId) -> Result<(), ReplicationError> {
        if self.raft.is_initialized().await.map_err(ReplicationError::stopped)? {
            return Ok(());
        }
        let members = BTreeSet::from([node]);
        self.raft.initialize(members).await.map_err(ReplicationError::stopped)
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    /// Waits until this node has applied what was committed before it was started.
    ///
    /// After a restart the rows are behind what clients have seen, and what is stored of a leader
    /// says nothing of now. So a leader asks a quorum, and others wait for what their leader tells
    /// them in this life.
    pub(crate) async fn ready(&self) -> Result<(), ReplicationError> {
        loop {
            let wanted = match self.raft.ensure_linearizable().await {
                Ok(_) => Some(None),
                Err(RaftError::Fatal(error)) => return Err(ReplicationError::stopped(error)),
                Err(RaftError::APIError(_)) => *self.heard.borrow(),
            };
            let (applied, last) = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow();
                (metrics.last_applied.map(|id| id.index), metrics.last_log_index)
            };
            // What was logged before may have been committed, and a new leader may not know yet. It
            // will be, or is taken out of the log.
            let logged = self.last_at_start.min(last);
            if wanted.is_some_and(|wanted| applied >= wanted.max(logged)) {
                return Ok(());
            }
            tokio::time::sleep(READY_RETRY).await;
        }
    }

    /// Proposes a command and waits for its outcome; again, while the shard has not been told of
    /// the tables in it.
    pub(crate) async fn propose(
        &self,
        command: &EncodedCommand,
        deadline: Instant,
    ) -> Result<Outcome, ProposeError> {
        let mut catalog = self.catalog.subscribe();
        loop {
            catalog.borrow_and_update();
            match self.proposer.propose(command, deadline).await {
                Err(ProposeError::SchemaBehind) => {}
                answer => return answer,
            }
            tokio::select! {
                told = tokio::time::timeout_at(deadline, catalog.changed()) => match told {
                    Ok(Ok(())) => {}
                    _ => return Err(ProposeError::SchemaBehind),
                },
                // Who waits holds the databases open.
                () = self.ending() => return Err(ProposeError::Unavailable),
            }
        }
    }

    /// Keeps the log short: when its entries take more than `bytes_max`, the rows become durable
    /// and all but the newest `bytes_kept` go.
    pub(crate) async fn tend(
        &self,
        bytes_max: u64,
        bytes_kept: u64,
    ) -> Result<(), ReplicationError> {
        if self.log.bytes() > bytes_max {
            self.shorten(bytes_kept).await?;
        }
        blocking(|| self.log.remove_purged())?;
        Ok(())
    }

    async fn shorten(&self, bytes_kept: u64) -> Result<(), ReplicationError> {
        let applied = self.raft.metrics().borrow().last_applied;
        // A snapshot has what is applied, and no more.
        let before = blocking(|| self.log.index_before(bytes_kept))?;
        let Some(upto) = before.min(applied.map(|id| id.index)) else { return Ok(()) };
        let trigger = self.raft.trigger();
        trigger.snapshot().await.map_err(ReplicationError::stopped)?;
        let has =
            |metrics: &crate::ids::Metrics| metrics.snapshot.is_some_and(|last| last.index >= upto);
        // Later, where it takes longer.
        if self.raft.wait(Some(SNAPSHOT_MAX)).metrics(has, "a snapshot").await.is_ok() {
            trigger.purge_log(upto).await.map_err(ReplicationError::stopped)?;
        }
        Ok(())
    }

    /// Answers a request of the same group on another node.
    pub(crate) async fn handle(&self, request: &[u8]) -> Result<Vec<u8>, TransportError> {
        let request = records::decode(request).map_err(|_| TransportError::Malformed)?;
        let answer = match request {
            Request::Append(append) => {
                let append: AppendEntriesRequest<_> =
                    append.try_into().map_err(|_| TransportError::Malformed)?;
                let committed = append.leader_commit.map(|id| id.index);
                match self.raft.append_entries(append).await {
                    Ok(response) => {
                        if response.is_success() {
                            self.heard.send_replace(Some(committed));
                        }
                        Answer::Appended(response.into())
                    }
                    Err(_) => Answer::Stopped,
                }
            }
            Request::Vote { vote, last } => {
                let request = crate::transport::read_vote_request(vote, last);
                match self.raft.vote(request).await {
                    Ok(response) => crate::transport::voted(&response),
                    Err(_) => Answer::Stopped,
                }
            }
            Request::Snapshot(part) => self.take(part).await,
        };
        Ok(records::encode(&answer))
    }

    /// Takes a part of a snapshot. The rows are stored while the group goes on.
    async fn take(&self, message: SnapshotPart) -> Answer {
        let theirs = Vote::from(message.vote);
        let mine = self.raft.metrics().borrow().vote;
        if mine > theirs {
            return Answer::Taken(VoteRecord::from(mine));
        }
        let mut transfer = self.transfer.lock().await;
        if message.number == 0 {
            let receiving = Receiving::new(self.rows.clone(), Arc::clone(&self.stores));
            *transfer =
                Some(Transfer { id: message.transfer, next: 0, heard: Instant::now(), receiving });
        }
        // Taken out: after an error, what was stored is left over, and the transfer begins anew.
        let expected = |t: &mut Transfer| t.id == message.transfer && t.next == message.number;
        let Some(mut taken) = transfer.take_if(expected) else { return Answer::Again };
        match message.part {
            Some(part) => match blocking(|| taken.receiving.take(part)) {
                Ok(()) => {
                    taken.next += 1;
                    taken.heard = Instant::now();
                    *transfer = Some(taken);
                    Answer::Taken(message.vote)
                }
                Err(error) => {
                    tracing::warn!(shard = self.shard.0, %error, "a snapshot was not taken");
                    Answer::Again
                }
            },
            None => self.install(theirs, taken.receiving).await,
        }
    }

    async fn install(&self, vote: Vote, receiving: Receiving) -> Answer {
        let staged = match receiving.finish() {
            Ok(staged) => staged,
            Err(error) => {
                tracing::warn!(shard = self.shard.0, %error, "a snapshot was not whole");
                return Answer::Again;
            }
        };
        let meta = staged.state.meta();
        let snapshot =
            Snapshot { meta, snapshot: Box::new(ShardSnapshot::Staged(Box::new(staged))) };
        match self.raft.install_full_snapshot(vote, snapshot).await {
            Ok(response) => Answer::Taken(response.vote.into()),
            Err(_) => Answer::Stopped,
        }
    }

    /// Lets go of a snapshot of which nothing more has come for a while.
    pub(crate) fn drop_idle_transfer(&self) {
        // Somebody is at it: then it is not idle.
        let Ok(mut transfer) = self.transfer.try_lock() else { return };
        if transfer.as_ref().is_some_and(|t| t.heard.elapsed() > TRANSFER_IDLE) {
            *transfer = None;
        }
    }

    /// Whether what applies entries is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.applying.has_changed().is_err()
    }

    /// Waits until this node gets the rows of another one, or the group ends: what is waited for then
    /// may never be answered.
    pub(crate) fn installing(&self) -> impl Future<Output = ()> + use<> {
        let mut applying = self.applying.clone();
        applying.borrow_and_update();
        // An error is the end.
        async move { drop(applying.changed().await) }
    }

    /// Waits until what applies entries is gone.
    pub(crate) fn ending(&self) -> impl Future<Output = ()> + use<> {
        let mut applying = self.applying.clone();
        async move { while applying.changed().await.is_ok() {} }
    }

    /// Ends the group, and waits until it writes nothing more: openraft itself does not wait for
    /// what applies entries. What waits for an answer gets none, or learns that it was not proposed.
    pub(crate) async fn stop(&self) {
        // It has ended already when that fails.
        let _ = self.raft.shutdown().await;
        self.ending().await;
    }
}
