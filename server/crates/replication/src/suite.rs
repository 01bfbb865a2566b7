//! openraft's own tests of a log and a state machine, on ours.

use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{EntryPayload, RaftLogReader};
use server_engine::{LAYOUT, ShardNumber, Stores};
use server_storage::faulty::{Fault, FaultyDisk};
use server_storage::{Batch, MemoryStore, RocksOptions, RocksStore, Store};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::check::check_fit;
use crate::error::Failure;
use crate::ids::{LeaderId, LogId, NodeId, StorageError};
use crate::log::{LOG_LAYOUT, LogWriter, ShardLog};
use crate::records::AppliedState;
use crate::rows::ShardRows;
use crate::state_machine::{StateMachine, StateMachineParts};
use crate::types::{Entry, TypeConfig};

fn open(log: Arc<dyn Store>, rows: Arc<dyn Store>) -> (ShardLog, StateMachine) {
    let stores = Arc::new(Stores::open(&*rows).unwrap());
    let writer = Arc::new(LogWriter::start(Arc::clone(&log)).unwrap());
    let rows = ShardRows::new(rows, ShardNumber(3));
    let (installs, installed) = watch::channel(());
    let failure = Failure::default();
    let (log, _) = ShardLog::open(log, writer, rows.clone(), installed, failure.clone()).unwrap();
    let machine = StateMachine::open(StateMachineParts {
        rows,
        stores,
        observer: Arc::new(()),
        failure,
        installs,
        catalog: watch::Sender::default(),
    });
    (log, machine.unwrap())
}

struct InMemory;

impl StoreBuilder<TypeConfig, ShardLog, StateMachine, ()> for InMemory {
    async fn build(&self) -> Result<((), ShardLog, StateMachine), StorageError> {
        let stores = (MemoryStore::new(LOG_LAYOUT), MemoryStore::new(LAYOUT));
        let (log, machine) = open(Arc::new(stores.0), Arc::new(stores.1));
        Ok(((), log, machine))
    }
}

struct OnRocks;

impl StoreBuilder<TypeConfig, ShardLog, StateMachine, TempDir> for OnRocks {
    async fn build(&self) -> Result<(TempDir, ShardLog, StateMachine), StorageError> {
        let directory = tempfile::tempdir().unwrap();
        let open_store = |name, layout| -> Arc<dyn Store> {
            let options = RocksOptions::default();
            Arc::new(RocksStore::open(&directory.path().join(name), layout, &options).unwrap())
        };
        let (log, machine) = open(open_store("log", LOG_LAYOUT), open_store("rows", LAYOUT));
        Ok((directory, log, machine))
    }
}

#[test]
fn openraft_is_content_in_memory() {
    Suite::test_all(InMemory).unwrap();
}

#[test]
fn openraft_is_content_on_rocksdb() {
    Suite::test_all(OnRocks).unwrap();
}

/// The log of a node that has crashed between the rows of a snapshot and the removal of entries that
/// they replace, some of them behind it: none of those may come back.
#[test]
fn what_a_snapshot_replaces_is_gone_as_a_whole() {
    let (log_disk, rows_disk) = (FaultyDisk::new(LOG_LAYOUT), FaultyDisk::new(LAYOUT));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let life = |check: &dyn Fn(ShardLog, ShardRows)| {
        let (log, rows) = (log_disk.open().unwrap(), rows_disk.open().unwrap());
        let (log, rows): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(log), Arc::new(rows));
        let writer = Arc::new(LogWriter::start(Arc::clone(&log)).unwrap());
        let rows = ShardRows::new(rows, ShardNumber(3));
        let (_installs, installed) = watch::channel(());
        let opened = ShardLog::open(log, writer, rows.clone(), installed, Failure::default());
        let (log, bounds) = opened.unwrap();
        let applied = rows.applied(&*rows.store.snapshot()).unwrap();
        check_fit(ShardNumber(3), &bounds, &applied).unwrap();
        check(log, rows);
    };
    life(&|mut log, rows| {
        let entries = (0..=20).map(|index| blank(id(1, index)));
        runtime.block_on(log.blocking_append(entries)).unwrap();
        let installed = Some(id(2, 15));
        let state = AppliedState { log_id: installed, installed, ..AppliedState::default() };
        let mut batch = Batch::new();
        rows.mark(&mut batch, &state);
        rows.store.write(batch).unwrap();
        rows.store.persist().unwrap();
    });
    life(&|mut log, _| {
        runtime.block_on(log.purge(id(2, 15))).unwrap();
        runtime.block_on(log.blocking_append([blank(id(2, 16))])).unwrap();
    });
    life(&|mut log, _| {
        let state = runtime.block_on(log.get_log_state()).unwrap();
        assert_eq!(
            (state.last_purged_log_id, state.last_log_id),
            (Some(id(2, 15)), Some(id(2, 16)))
        );
        let entries = runtime.block_on(log.try_get_log_entries(0..)).unwrap();
        assert_eq!(entries, [blank(id(2, 16))]);
    });
}

/// A log on disks that may fail, whose rows nobody has applied anything to; and what tells it of
/// installs.
fn on_disks(log: &FaultyDisk, rows: &FaultyDisk) -> (ShardLog, ShardRows, watch::Sender<()>) {
    let (log, rows) = (log.open().unwrap(), rows.open().unwrap());
    let (log, rows): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(log), Arc::new(rows));
    let writer = Arc::new(LogWriter::start(Arc::clone(&log)).unwrap());
    let rows = ShardRows::new(rows, ShardNumber(3));
    let (installs, installed) = watch::channel(());
    let opened = ShardLog::open(log, writer, rows.clone(), installed, Failure::default());
    (opened.unwrap().0, rows, installs)
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, NodeId(term)), index)
}

fn blank(id: LogId) -> Entry {
    Entry { log_id: id, payload: EntryPayload::Blank }
}

/// INV-10: what is purged goes once the rows that have it are durable, and entries behind a
/// snapshot are not written before.
#[test]
fn nothing_goes_before_its_rows_are_durable() {
    let (log_disk, rows_disk) = (FaultyDisk::new(LOG_LAYOUT), FaultyDisk::new(LAYOUT));
    let (mut log, rows, installs) = on_disks(&log_disk, &rows_disk);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entries = (0..=5).map(|index| blank(id(1, index)));
    runtime.block_on(log.blocking_append(entries)).unwrap();
    let bytes = log.bytes();
    runtime.block_on(log.purge(id(2, 15))).unwrap();
    assert_eq!((log.remove_purged(), log.bytes()), (Ok(false), bytes));
    let mut appending = log.clone();
    let append =
        runtime.spawn(async move { appending.blocking_append([blank(id(2, 16))]).await.is_ok() });
    let mut batch = Batch::new();
    rows.mark(&mut batch, &AppliedState { log_id: Some(id(2, 15)), ..AppliedState::default() });
    rows.store.write(batch).unwrap();
    assert_eq!((log.remove_purged(), log.bytes()), (Ok(false), bytes));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!append.is_finished(), "it would leave a hole");
    rows.store.persist().unwrap();
    installs.send_replace(());
    assert!(runtime.block_on(append).unwrap());
    assert!(log.bytes() < bytes);
}

/// What is truncated is gone for good before anything is answered.
#[test]
fn what_is_truncated_is_durably_gone() {
    let (log_disk, rows_disk) = (FaultyDisk::new(LOG_LAYOUT), FaultyDisk::new(LAYOUT));
    let (mut log, _, _installs) = on_disks(&log_disk, &rows_disk);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entries = (0..=5).map(|index| blank(id(1, index)));
    runtime.block_on(log.blocking_append(entries)).unwrap();
    log_disk.fail(Fault::Persist, 1);
    runtime.block_on(log.truncate(id(1, 3))).unwrap_err();
}
