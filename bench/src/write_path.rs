//! Commands from the proposer to the rows, in process: what a write costs without SQL and sockets.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use protocol::ids::{ColumnId, Lane, SchemaVersion, TableId};
use protocol::mutation::{Action, ColumnValue, Operation};
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Value};
use server_engine::{Actor, Command, LAYOUT, Outcome, Role, Time, Write};
use server_replication::{
    Alone, Clock, Databases, Disk, LOG_LAYOUT, META, Node, Ports, ProposeError, Settings,
};
use server_storage::{
    Batch, Family, KeyRange, RocksOptions, RocksStore, Snapshot, StorageError, Store,
};
use tokio::time::Instant as Deadline;

use crate::limits::{fsync, kv};
use crate::report::{Figure, Reach, Report, Round};

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(4);
const TABLE: TableId = TableId(64);
const TEXT_BYTES: usize = 110;

/// A command with this text has about 150 bytes.
const ROW_BYTES: usize = 150;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for writers in [1, 32, 256] {
        let (mut rounds, mut syncs, mut waits) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let fsync = fsync::micros(folder.path())?;
            let seen = runtime.block_on(measure(folder.path(), writers))?;
            let per_sync = seen.writes as f64 / seen.syncs as f64;
            let group = per_sync.round().max(1.0) as usize;
            let limit = kv::rows_per_second(folder.path(), group, ROW_BYTES)?;
            let per_second = seen.writes as f64 / seen.time.as_secs_f64();
            rounds.push(Round { value: per_second, limit: Some(limit) });
            syncs.push(Round { value: per_sync, limit: None });
            let micros = seen.time.as_secs_f64() * 1e6 * writers as f64 / seen.writes as f64;
            waits.push(Round { value: micros, limit: Some(fsync) });
        }
        let is_judged = writers == 32;
        let figure = |what: &str, unit, rounds, reach| Figure {
            benchmark: "write-path",
            what: format!("{writers} writers: {what}"),
            unit,
            rounds,
            reach,
        };
        let at_least = |least| is_judged.then_some(Reach::AtLeast(least));
        report.add(figure("durable rows, against kv in such groups", "/s", rounds, at_least(0.5)));
        report.add(figure("rows per sync of the log", "", syncs, at_least(24.0)));
        report.add(figure("mean wait, against append + fdatasync", "µs", waits, None));
    }
    Ok(())
}

struct Seen {
    writes: u64,
    syncs: u64,
    time: Duration,
}

async fn measure(folder: &Path, writers: i64) -> Result<Seen> {
    let folder = tempfile::tempdir_in(folder)?;
    let syncs = Arc::<AtomicU64>::default();
    let disk = OnDisk { folder: folder.path().to_owned(), syncs: Arc::clone(&syncs) };
    let ports = Ports {
        disk: Arc::new(disk),
        transport: Arc::new(Alone),
        observer: Arc::new(()),
        clock: Arc::new(SystemClock),
    };
    let node = Node::start(Settings::default(), ports).await?;
    node.ready().await?;
    let define = Command::Define(Box::new(schema()?));
    let defined = node.propose(META, &define, later()).await;
    anyhow::ensure!(matches!(defined, Ok(Outcome::Done)), "{defined:?}");
    let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicU64>::default());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (node, is_over) = (Arc::clone(&node), Arc::clone(&is_over));
        let done = Arc::clone(&done);
        tasks.spawn(async move {
            let text = "x".repeat(TEXT_BYTES);
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                insert(&node, writer, writer << 32 | number, &text).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(TIME / 4).await;
    let (writes, synced) = (done.load(Ordering::Relaxed), syncs.load(Ordering::Relaxed));
    let start = Instant::now();
    tokio::time::sleep(TIME).await;
    let writes = done.load(Ordering::Relaxed) - writes;
    let (syncs, time) = (syncs.load(Ordering::Relaxed) - synced, start.elapsed());
    is_over.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    node.stop().await?;
    Ok(Seen { writes, syncs, time })
}

async fn insert(node: &Node, writer: i64, id: i64, text: &str) -> Result<()> {
    let user = format!("user-{writer}");
    let lane: Lane = Lane::User(user.parse()?);
    let values = vec![
        ColumnValue(ColumnId(0), Value::Integer(id)),
        ColumnValue(ColumnId(1), Value::text(text)?),
    ];
    let action = Action::Insert(values);
    let operation = Operation { table: TABLE, version: SchemaVersion(1), action, guard: None };
    let write = Write {
        lane: lane.clone(),
        actor: Actor { user: user.parse()?, role: Role::User },
        operations: vec![operation],
        request: None,
    };
    let shard = node.placement().shard(&lane);
    match node.propose(shard, &Command::Write(write), later()).await {
        Ok(Outcome::Written { .. }) => Ok(()),
        // The shard has not been told of the table yet.
        Err(ProposeError::SchemaBehind) => Ok(()),
        other => bail!("{other:?}"),
    }
}

fn later() -> Deadline {
    Deadline::now() + Duration::from_secs(30)
}

fn schema() -> Result<TableSchema> {
    let column = |id, name: &str, column_type| -> Result<Column> {
        let name = name.parse()?;
        let id = ColumnId(id);
        let (default, merge) = (None, MergeRule::Last);
        Ok(Column { id, name, column_type, not_null: true, default, merge })
    };
    Ok(TableSchema {
        id: TABLE,
        name: "bench.rows".parse()?,
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![column(0, "id", ColumnType::BigInt)?, column(1, "body", ColumnType::Text)?],
        primary_key: vec![ColumnId(0)],
        indexes: Vec::new(),
        ttl_seconds: None,
    })
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

struct OnDisk {
    folder: std::path::PathBuf,
    syncs: Arc<AtomicU64>,
}

impl Disk for OnDisk {
    fn open(&self) -> Result<Databases, StorageError> {
        let options = RocksOptions::default();
        let log = RocksStore::open(&self.folder.join("log"), LOG_LAYOUT, &options)?;
        let rows = RocksStore::open(&self.folder.join("rows"), LAYOUT, &options)?;
        let log = CountedSyncs { inner: log, syncs: Arc::clone(&self.syncs) };
        Ok(Databases { log: Arc::new(log), rows: Arc::new(rows) })
    }
}

/// A store that counts how often it is synced.
#[derive(Debug)]
struct CountedSyncs {
    inner: RocksStore,
    syncs: Arc<AtomicU64>,
}

impl Store for CountedSyncs {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(family, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        self.inner.snapshot()
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        self.inner.write(batch)
    }

    fn persist(&self) -> Result<(), StorageError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.persist()
    }

    fn get_persisted(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get_persisted(family, key)
    }

    fn compact(&self, family: Family, range: &KeyRange) -> Result<(), StorageError> {
        self.inner.compact(family, range)
    }
}
