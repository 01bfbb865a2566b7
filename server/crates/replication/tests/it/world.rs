//! Nodes to start, break and look at.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::ids::{
    ColumnId, ContentHash, Lane, RequestId, SchemaVersion, SeqId, TableId, TenantId,
};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use server_engine::{
    Actor, Command, Commit, Image, LAYOUT, LoadLimits, Outcome, Query, Request, Role, ScannedRange,
    ShardNumber, Time, Write,
};
use server_replication::{
    Alone, Clock, Databases, Disk, LOG_LAYOUT, META, Node, Observer, Ports, ProposeError,
    ReplicationError, Settings, Timing, Transport,
};
use server_storage::faulty::FaultyDisk;
use server_storage::{RocksOptions, RocksStore, StorageError, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;

pub(crate) const NOTES: TableId = TableId(7);
pub(crate) const ID: ColumnId = ColumnId(0);
pub(crate) const COUNT: ColumnId = ColumnId(1);
pub(crate) const BODY: ColumnId = ColumnId(2);

/// USER; a number that is added to, and a text.
pub(crate) fn notes() -> TableSchema {
    let column = |id, name: &str, column_type, merge| Column {
        id,
        name: name.parse().unwrap(),
        column_type,
        not_null: id == ID,
        default: None,
        merge,
    };
    TableSchema {
        id: NOTES,
        name: "app.notes".parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(ID, "id", ColumnType::BigInt, MergeRule::Last),
            column(COUNT, "count", ColumnType::BigInt, MergeRule::Add),
            column(BODY, "body", ColumnType::Text, MergeRule::Last),
        ],
        primary_key: vec![ID],
        indexes: vec![],
        ttl_seconds: None,
    }
}

pub(crate) fn lane(user: &str) -> Lane {
    Lane::User(user.parse().unwrap())
}

/// A time that only goes on.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now(&self) -> Time {
        Time(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a node said that it applied.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) commits: Mutex<BTreeMap<(ShardNumber, u64), Vec<Commit>>>,
    pub(crate) skipped: Mutex<Vec<(ShardNumber, u64)>>,
    /// Done when the next snapshot is installed, and its log not removed yet.
    pub(crate) at_install: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Observer for Told {
    fn applied(&self, shard: ShardNumber, index: u64, commits: Vec<Commit>) {
        self.commits.lock().unwrap().insert((shard, index), commits);
    }

    fn skipped(&self, shard: ShardNumber, index: u64) {
        self.skipped.lock().unwrap().push((shard, index));
        if let Some(at_install) = self.at_install.lock().unwrap().take() {
            at_install();
        }
    }
}

/// Two disks in memory that fail on request, under one node.
#[derive(Clone)]
pub(crate) struct Disks {
    pub(crate) log: FaultyDisk,
    pub(crate) rows: FaultyDisk,
    pub(crate) has_power: Arc<AtomicBool>,
}

impl Disks {
    pub(crate) fn new() -> Self {
        let (log, rows) = (FaultyDisk::new(LOG_LAYOUT), FaultyDisk::new(LAYOUT));
        Self { log, rows, has_power: Arc::new(AtomicBool::new(true)) }
    }

    /// Cuts the power of both. The node on them does not get them open again; the next does, on
    /// what this returns.
    pub(crate) fn cut(&self, choose: &mut impl FnMut(usize) -> usize) -> Self {
        self.has_power.store(false, Ordering::SeqCst);
        self.log.cut_power(&mut *choose);
        self.rows.cut_power(&mut *choose);
        Self { has_power: Arc::new(AtomicBool::new(true)), ..self.clone() }
    }
}

impl Disk for Disks {
    fn open(&self) -> Result<Databases, StorageError> {
        if !self.has_power.load(Ordering::SeqCst) {
            return Err(StorageError::Io { detail: "the power was cut".to_owned() });
        }
        Ok(Databases { log: Arc::new(self.log.open()?), rows: Arc::new(self.rows.open()?) })
    }
}

/// Two databases in a directory.
pub(crate) struct Directory<'a>(pub(crate) &'a Path);

impl Directory<'_> {
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        struct Opens(std::path::PathBuf);
        impl Disk for Opens {
            fn open(&self) -> Result<Databases, StorageError> {
                let options = RocksOptions::default();
                let open = |name, layout| RocksStore::open(&self.0.join(name), layout, &options);
                let log = Arc::new(open("log", LOG_LAYOUT)?);
                Ok(Databases { log, rows: Arc::new(open("rows", LAYOUT)?) })
            }
        }
        Arc::new(Opens(self.0.to_owned()))
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Few shards and short times.
pub(crate) fn settings() -> Settings {
    let [heartbeat, election_min, election_max] = [40, 200, 400].map(Duration::from_millis);
    Settings {
        user_shards: 1,
        shared_shards: 1,
        timing: Timing { heartbeat, election_min, election_max },
        tend_every: Duration::from_millis(50),
        ..Settings::default()
    }
}

pub(crate) fn ports(disk: Arc<dyn Disk>) -> (Ports, Arc<Told>) {
    let told = Arc::<Told>::default();
    let transport: Arc<dyn Transport> = Arc::new(Alone);
    let observer: Arc<dyn Observer> = Arc::<Told>::clone(&told);
    (Ports { disk, transport, observer, clock: Arc::<Ticks>::default() }, told)
}

/// Starts a node that is alone, with the table, and waits until it takes writes.
pub(crate) async fn start(disk: Arc<dyn Disk>, settings: Settings) -> Arc<Node> {
    let node = Node::start(settings, ports(disk).0).await.unwrap();
    node.ready().await.unwrap();
    define(&node, notes()).await;
    node
}

pub(crate) async fn define(node: &Node, schema: TableSchema) {
    let defined = node.propose(META, &Command::Define(Box::new(schema)), soon()).await;
    assert_eq!(defined, Ok(Outcome::Done));
}

/// So late that only what is stuck comes later.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(crate) fn shard_of(node: &Node, user: &str) -> ShardNumber {
    node.placement().shard(&lane(user))
}

/// A statement, which is the same one whenever it has this number.
pub(crate) fn statement(user: &str, number: u64, action: Action) -> Command {
    let operation = Operation { table: NOTES, version: SchemaVersion(1), action, guard: None };
    let id: RequestId = format!("{number:032x}").parse().unwrap();
    let request = Request { id, hash: ContentHash::from_bytes([1; 16]), rows: 1 };
    let tenant: TenantId = user.parse().unwrap();
    Command::Write(Write {
        lane: lane(user),
        actor: Actor { user: tenant, role: Role::User },
        operations: vec![operation],
        request: Some(request),
    })
}

pub(crate) fn insert(id: i64, body: &str) -> Action {
    let values = [(ID, Value::Integer(id)), (COUNT, Value::Integer(0))];
    let body = (BODY, Value::text(body).unwrap());
    let values = values.into_iter().chain([body]);
    Action::Insert(values.map(|(column, value)| ColumnValue(column, value)).collect())
}

/// Adds one to a row's number.
pub(crate) fn count_up(id: i64) -> Action {
    let changes = vec![ColumnChange::Add(ColumnValue(COUNT, Value::Integer(1)))];
    Action::Patch { key: Row(vec![Value::Integer(id)]), changes }
}

/// Writes until it is known that it was written, as somebody does who asks again.
pub(crate) async fn write(node: &Node, user: &str, number: u64, action: Action) -> SeqId {
    let command = statement(user, number, action);
    loop {
        match node.propose(shard_of(node, user), &command, soon()).await {
            Ok(Outcome::Written { seq, .. }) => return seq,
            Err(ProposeError::Overloaded | ProposeError::Unknown | ProposeError::Unavailable) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// All rows of a user, as (id, count), and the position of the lane.
pub(crate) fn rows(node: &Node, user: &str) -> Result<(Vec<(i64, i64)>, SeqId), ReplicationError> {
    let everything = Query {
        table: NOTES,
        range: ScannedRange::Partition,
        predicate: Predicate::Constant(Truth::True),
    };
    let all = LoadLimits { rows: usize::MAX, bytes: usize::MAX, examined: usize::MAX };
    node.read(shard_of(node, user), |view, _| {
        let lane = lane(user);
        let Ok(batch) = view.load(&lane, &everything, None, all) else {
            return (vec![], SeqId::ZERO);
        };
        let table = view.table(&lane, NOTES).unwrap();
        let read = |image: &Image| {
            let row = image.view(table).unwrap().row(table.schema());
            match (&row[0], &row[1]) {
                (Value::Integer(id), Value::Integer(count)) => (*id, *count),
                other => panic!("{other:?}"),
            }
        };
        (batch.rows.iter().map(|loaded| read(&loaded.image)).collect(), batch.seq)
    })
}

/// Chance that a seed decides. What runs at the same time does not come out the same twice all the
/// same: a seed says where something breaks, not what else happens then.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`. (xorshift64*, Vigna 2016)
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// Somebody who counts up a row, and asks again what came of a request until it is known.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    user: String,
    id: i64,
    known: Arc<AtomicI64>,
}

impl Writer {
    /// So many writers, on rows of three users.
    pub(crate) fn some(count: i64) -> Vec<Self> {
        let new = |id: i64| Self { user: format!("u{}", id % 3), id, known: Arc::default() };
        (0..count).map(new).collect()
    }

    /// How many requests are known to have happened.
    fn known(&self) -> i64 {
        self.known.load(Ordering::SeqCst)
    }

    /// How many requests of the one with the most are known to have happened.
    pub(crate) fn most(writers: &[Self]) -> i64 {
        writers.iter().map(Self::known).max().unwrap_or(0)
    }

    /// Makes requests until `last` of them have happened.
    pub(crate) async fn run(&self, node: &Node, last: i64) {
        while self.known() < last {
            let number = self.known();
            let action = if number == 0 { insert(self.id, "") } else { count_up(self.id) };
            let request = u64::try_from(self.id * 1_000_000 + number).unwrap();
            write(node, &self.user, request, action).await;
            self.known.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Runs all of them at the same time.
    pub(crate) async fn run_all(writers: &[Self], node: &Arc<Node>, last: i64) {
        let mut tasks = tokio::task::JoinSet::new();
        for writer in writers {
            let (writer, node) = (writer.clone(), Arc::clone(node));
            tasks.spawn(async move { writer.run(&node, last).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }

    /// Checks that each request that is known to have happened did once, and that at most the one
    /// whose answer did not come has happened besides (INV-1).
    pub(crate) fn check(writers: &[Self], node: &Node) {
        for user in ["u0", "u1", "u2"] {
            let (rows, seq) = rows(node, user).unwrap();
            let mut changes = 0;
            for writer in writers.iter().filter(|writer| writer.user == user) {
                let row = rows.iter().find(|(id, _)| *id == writer.id);
                let happened = row.map_or(0, |(_, count)| count + 1);
                let known = writer.known();
                assert!((known..=known + 1).contains(&happened), "{writer:?}: {row:?}");
                changes += happened;
            }
            assert_eq!(seq.get(), u64::try_from(changes).unwrap(), "each has taken one SeqId");
        }
    }
}

/// Checks that what is stored has the sum that was kept over it, after a crash.
pub(crate) fn check_sums(disks: &Disks) {
    let store = disks.rows.open().unwrap();
    let stores = Arc::new(server_engine::Stores::open(&store).unwrap());
    let snapshot = store.snapshot();
    for shard in server_replication::Placement::new(1, 1).unwrap().shards() {
        let opened = server_engine::Shard::open(&*snapshot, shard, Arc::clone(&stores)).unwrap();
        let counted = server_engine::recount(&*snapshot, &opened).unwrap();
        assert_eq!(counted, opened.sum(), "{shard:?}");
    }
}
