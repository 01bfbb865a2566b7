//! Committed entries become rows: one entry, one atomic batch, with the mark of that entry in it.

use std::sync::Arc;
use std::time::Duration;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use server_engine::{self as engine, Catalog, Commit, Outcome, Shard, ShardNumber, Stores};
use server_storage::Batch;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::error::{Failure, ReplicationError};
use crate::ids::{LogId, SnapshotMeta, StorageError, StoredMembership};
use crate::records::AppliedState;
use crate::rows::ShardRows;
use crate::snapshot::{self, ShardSnapshot, Staged};
use crate::types::{Entry, Snapshot, TypeConfig};

/// Applying takes a fraction of this, and giving way to other tasks meanwhile would cost as much
/// again. Where it took longer, the next entries give way.
const QUICK_MAX: Duration = Duration::from_millis(5);

/// Who is told what a node has applied, in the order of each shard's log.
///
/// It is called where entries are applied, so it must not wait: what it cannot take, it passes
/// over, and reads from the rows later. Rows can be read before it is told of them. After a crash,
/// or when the databases were opened anew, it is told again what was not durable, from an earlier
/// index on.
pub trait Observer: Send + Sync + 'static {
    /// The entry `index` was applied, and its rows can be read.
    fn applied(&self, shard: ShardNumber, index: u64, commits: Vec<Commit>);

    /// The rows are those after the entry `index` now, and nothing was told of what lies between.
    fn skipped(&self, shard: ShardNumber, index: u64);
}

/// Nobody.
impl Observer for () {
    fn applied(&self, _: ShardNumber, _: u64, _: Vec<Commit>) {}
    fn skipped(&self, _: ShardNumber, _: u64) {}
}

/// What a state machine works with.
pub(crate) struct StateMachineParts {
    pub(crate) rows: ShardRows,
    pub(crate) stores: Arc<Stores>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) failure: Failure,
    /// Told when the rows of a snapshot are durable.
    pub(crate) installs: watch::Sender<()>,
    /// What readers take after their snapshot.
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
}

/// A shard as this node applies it.
pub(crate) struct StateMachine {
    parts: StateMachineParts,
    shard: Shard,
    applied: AppliedState,
    /// Whether the last entries took long: the database is stalled, or much is read of the disk.
    is_slow: bool,
}

impl StateMachine {
    /// Opens the shard as the rows have it.
    pub(crate) fn open(parts: StateMachineParts) -> Result<Self, ReplicationError> {
        let store = Arc::clone(&parts.rows.store);
        let snapshot = store.snapshot();
        let applied = parts.rows.applied(&*snapshot)?;
        let shard = Shard::open(&*snapshot, parts.rows.shard, Arc::clone(&parts.stores))?;
        parts.catalog.send_replace(Arc::clone(shard.catalog()));
        Ok(Self { parts, shard, applied, is_slow: false })
    }

    fn number(&self) -> ShardNumber {
        self.parts.rows.shard
    }

    fn apply_entry(&mut self, entry: Entry) -> Result<Vec<Outcome>, ReplicationError> {
        let store = Arc::clone(&self.parts.rows.store);
        let mut commits = Vec::new();
        let mut outcomes = Vec::new();
        let mut batch = Batch::new();
        let mut is_new_history = false;
        self.applied.log_id = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.applied.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(payload) => {
                let entry = engine::Entry::decode(&payload.bytes)?;
                let applied = self.shard.apply(&*store.snapshot(), &entry)?;
                is_new_history = applied.is_new_history;
                (batch, outcomes, commits) = (applied.batch, applied.outcomes, applied.commits);
            }
        }
        self.parts.rows.mark(&mut batch, &self.applied);
        // Before the rows: whoever reads takes its snapshot first, and the tables after it.
        self.publish();
        store.write(batch)?;
        let (shard, index) = (self.number(), entry.log_id.index);
        if is_new_history {
            self.parts.observer.skipped(shard, index);
        } else {
            self.parts.observer.applied(shard, index, commits);
        }
        Ok(outcomes)
    }

    fn publish(&self) {
        let catalog = self.shard.catalog();
        self.parts.catalog.send_if_modified(|published| {
            let is_new = !Arc::ptr_eq(published, catalog);
            if is_new {
                *published = Arc::clone(catalog);
            }
            is_new
        });
    }

    /// Switches to what was received, in one durable write.
    fn install(&mut self, meta: &SnapshotMeta, staged: Staged) -> Result<(), ReplicationError> {
        let store = Arc::clone(&self.parts.rows.store);
        let state = AppliedState {
            log_id: meta.last_log_id,
            membership: meta.last_membership.clone(),
            installed: meta.last_log_id,
        };
        let Staged { mut import, .. } = staged;
        let mut batch = import.finish(&*store.snapshot())?;
        self.parts.rows.mark(&mut batch, &state);
        store.write(batch)?;
        // Until here its rows must not be taken for left over.
        drop(import);
        self.applied = state;
        self.shard =
            Shard::open(&*store.snapshot(), self.number(), Arc::clone(&self.parts.stores))?;
        // Before they are durable, which takes a while: until then who reads is told to try again.
        self.publish();
        store.persist()?;
        self.parts.observer.skipped(self.number(), self.applied.index().unwrap_or(0));
        self.parts.installs.send_replace(());
        snapshot::reclaim_behind(&self.parts.stores, store);
        Ok(())
    }

    /// The rows as they are, which are a snapshot by themselves.
    fn view(&self) -> Snapshot {
        let snapshot = Box::new(ShardSnapshot::View(self.parts.rows.clone()));
        Snapshot { meta: self.applied.meta(), snapshot }
    }

    fn failed(&self, error: impl Into<ReplicationError>) -> StorageError {
        self.parts.failure.of_rows(error)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Flush;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Outcome>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let (start, is_slow) = (Instant::now(), self.is_slow);
        let apply = || entries.into_iter().map(|entry| self.apply_entry(entry)).collect();
        let applied: Result<_, ReplicationError> = if is_slow { blocking(apply) } else { apply() };
        self.is_slow = start.elapsed() > QUICK_MAX;
        applied.map_err(|error| self.failed(error))
    }

    async fn get_snapshot_builder(&mut self) -> Flush {
        let (rows, failure) = (self.parts.rows.clone(), self.parts.failure.clone());
        Flush { meta: self.applied.meta(), rows, failure }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<ShardSnapshot>, StorageError> {
        Ok(Box::new(ShardSnapshot::Nothing))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<ShardSnapshot>,
    ) -> Result<(), StorageError> {
        let installed = blocking(|| {
            let staged = match *snapshot {
                ShardSnapshot::Staged(staged) => *staged,
                ShardSnapshot::View(source) => {
                    snapshot::copy(&source, &self.parts.rows, &self.parts.stores)?
                }
                ShardSnapshot::Nothing => {
                    return Err(ReplicationError::Damaged { what: "snapshot" });
                }
            };
            self.install(meta, staged)
        });
        installed.map_err(|error| self.failed(error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.applied.log_id.map(|_| self.view()))
    }
}

/// Makes a snapshot: what is applied becomes durable. Nothing is copied; the snapshot is the rows.
pub(crate) struct Flush {
    meta: SnapshotMeta,
    rows: ShardRows,
    failure: Failure,
}

impl RaftSnapshotBuilder<TypeConfig> for Flush {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let (meta, rows) = (&self.meta, &self.rows);
        blocking(|| flush(rows, meta.last_log_id)).map_err(|error| self.failure.of_rows(error))?;
        Ok(Snapshot { meta: meta.clone(), snapshot: Box::new(ShardSnapshot::View(rows.clone())) })
    }
}

/// Writes the rows out, unless another shard's snapshot has done that just before.
fn flush(rows: &ShardRows, upto: Option<LogId>) -> Result<(), ReplicationError> {
    if rows.persisted()?.log_id < upto {
        rows.store.persist()?;
    }
    Ok(())
}
