//! A million updates of one row, then a catch-up: without the socket, from the rows on disk.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use protocol::ids::{ColumnId, Epoch, Floor, Lane, SchemaVersion, SeqId, TableId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use server_engine::{
    Actor, CatchUpLimits, Command, Entry, LAYOUT, Query, Resuming, Role, ScannedRange, Shard,
    ShardNumber, Slot, Stores, Time, View, Write,
};
use server_storage::{Counted, RocksOptions, RocksStore, Store};

use crate::report::{Figure, Reach, Report, Round};

const ROWS: i64 = 1_000;
/// The row that is updated so often.
const HOT: i64 = 7;
const UPDATES: u64 = 1_000_000;
/// Commits of an entry, as a busy server packs them.
const ENTRY: u64 = 500;
const ROUNDS: usize = 101;
const SHARD: ShardNumber = ShardNumber(0);
const TABLE: TableId = TableId(64);
const ID: ColumnId = ColumnId(0);
const COUNT: ColumnId = ColumnId(1);

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = RocksStore::open(folder.path(), LAYOUT, &RocksOptions::default())?;
    let stores = Arc::new(Stores::open(&store)?);
    let shard = Shard::open(&*store.snapshot(), SHARD, stores)?;
    let mut bench = Bench { store, shard, lane: "user/ann".parse()?, commits: 0 };
    let slots = vec![Slot::of(&bench.lane)];
    bench.apply(vec![
        Command::Found { slots, epoch: Epoch::from_bytes([1; 16]) },
        Command::Define(Box::new(schema()?)),
    ])?;
    bench.apply((0..ROWS).map(|id| bench.insert(id)).collect::<Result<_>>()?)?;
    // One update, then a catch-up from right before it.
    bench.apply(vec![bench.update(HOT)?])?;
    bench.store.persist()?;
    let one = bench.catch_up(bench.ago(1)?)?;
    for _ in 0..UPDATES / ENTRY {
        bench.apply((0..ENTRY).map(|_| bench.update(HOT)).collect::<Result<_>>()?)?;
    }
    bench.store.persist()?;
    let many = bench.catch_up(bench.ago(UPDATES)?)?;
    bench.apply((0..ROWS).map(|id| bench.update(id)).collect::<Result<_>>()?)?;
    bench.store.persist()?;
    let all = bench.catch_up(bench.ago(UPDATES)?)?;
    let mut add = |what: &str, unit, values: &[f64], limits: &[f64]| {
        let round = |(value, limit): (&f64, &f64)| Round { value: *value, limit: Some(*limit) };
        let rounds = values.iter().zip(limits).map(round).collect();
        let (what, reach) = (what.to_owned(), Some(Reach::AtMost(2.0)));
        report.add(Figure { benchmark: "hot-row", what, unit, rounds, reach });
    };
    add("catch-up behind 1,000,000 updates, against one", "µs", &many.micros, &one.micros);
    add("its keys read, against one", "keys", &many.keys, &one.keys);
    // Some keys say where the lane and the partition are, once.
    let further: Vec<f64> = all.keys.iter().zip(&many.keys).map(|(all, one)| all - one).collect();
    let rows = vec![ROWS as f64 - 1.0; ROUNDS];
    add("keys read for 999 further rows, against rows", "keys", &further, &rows);
    Ok(())
}

/// What catch-ups took, each in its place.
struct Seen {
    keys: Vec<f64>,
    micros: Vec<f64>,
}

struct Bench {
    store: RocksStore,
    shard: Shard,
    lane: Lane,
    /// How many commits there were.
    commits: u64,
}

impl Bench {
    /// The position before the last so many commits.
    fn ago(&self, count: u64) -> Result<SeqId> {
        Ok(SeqId::new(self.commits - count)?)
    }

    fn apply(&mut self, commands: Vec<Command>) -> Result<()> {
        let entry = Entry::new(Time(1_000_000), commands);
        let snapshot = self.store.snapshot();
        let mut applied = self.shard.apply(&*snapshot, &entry)?;
        drop(snapshot);
        self.commits += applied.commits.len() as u64;
        self.store.write(std::mem::take(&mut applied.batch))?;
        Ok(())
    }

    fn insert(&self, id: i64) -> Result<Command> {
        let values = [(ID, Value::Integer(id)), (COUNT, Value::Integer(0))];
        let values = values.into_iter().map(|(id, value)| ColumnValue(id, value)).collect();
        self.write(Action::Insert(values))
    }

    fn update(&self, id: i64) -> Result<Command> {
        let add = ColumnChange::Add(ColumnValue(COUNT, Value::Integer(1)));
        self.write(Action::Patch { key: Row(vec![Value::Integer(id)]), changes: vec![add] })
    }

    fn write(&self, action: Action) -> Result<Command> {
        let operation = Operation { table: TABLE, version: SchemaVersion(1), action, guard: None };
        Ok(Command::Write(Write {
            lane: self.lane.clone(),
            actor: Actor { user: "ann".parse()?, role: Role::User },
            operations: vec![operation],
            request: None,
        }))
    }

    /// Catches up from `position`, several times.
    fn catch_up(&self, position: SeqId) -> Result<Seen> {
        let query = Query {
            table: TABLE,
            range: ScannedRange::Partition,
            predicate: Predicate::Constant(Truth::True),
        };
        let resuming = [Resuming { query: &query, floor: Floor::COMPLETE }];
        let limits = CatchUpLimits { changes: 1_000, bytes: 1 << 20 };
        let (mut keys, mut micros) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let snapshot = self.store.snapshot();
            let counted = Counted::new(&*snapshot);
            let view = View::new(&counted, self.shard.catalog(), SHARD, Time(1_000_000));
            let epoch = view.lane(&self.lane)?.epoch;
            let told = view.catch_up(&self.lane, epoch, position, &resuming, limits)?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            let _ = std::hint::black_box(told);
            keys.push(counted.reads().keys() as f64);
        }
        Ok(Seen { keys, micros })
    }
}

fn schema() -> Result<TableSchema> {
    let column = |id, name: &str, merge| -> Result<Column> {
        let (name, column_type) = (name.parse()?, ColumnType::BigInt);
        Ok(Column { id, name, column_type, not_null: true, default: None, merge })
    };
    Ok(TableSchema {
        id: TABLE,
        name: "bench.rows".parse().context("a name")?,
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![column(ID, "id", MergeRule::Last)?, column(COUNT, "n", MergeRule::Add)?],
        primary_key: vec![ID],
        indexes: Vec::new(),
        ttl_seconds: None,
    })
}
