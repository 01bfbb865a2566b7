//! A shard on a store, with tables and users to write and read as.

use std::sync::Arc;

use protocol::ids::{
    Birth, ColumnId, ContentHash, Epoch, IndexId, Lane, SchemaVersion, SeqId, TableId, TenantId,
};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Guard, Operation, Reason};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{
    AccessLevel, Column, ColumnDefault, Index, MergeRule, Sharing, TableKind, TableSchema,
};
use protocol::value::{ColumnType, Row, Value};
use server_engine::{
    Actor, Applied, Command, Entry, LAYOUT, LoadLimits, Outcome, Query, Retention, Role,
    ScannedRange, Shard, ShardNumber, Slot, Stores, Time, View, Write, recount,
};
use server_storage::{MemoryStore, Store};

pub(crate) const SHARD: ShardNumber = ShardNumber(3);
pub(crate) const EPOCH: Epoch = Epoch::from_bytes([7; 16]);

/// USER, with an index on `room` and a column that is added to.
pub(crate) const NOTES: TableId = TableId(1);
/// USER, with nothing but a key and a number.
pub(crate) const MARKS: TableId = TableId(2);
/// STREAM, rows live for ten seconds.
pub(crate) const EVENTS: TableId = TableId(3);
/// SHARED, of role user only the owner changes a row.
pub(crate) const POSTS: TableId = TableId(4);

pub(crate) const ID: ColumnId = ColumnId(0);
pub(crate) const ROOM: ColumnId = ColumnId(1);
pub(crate) const RANK: ColumnId = ColumnId(2);
pub(crate) const COUNT: ColumnId = ColumnId(3);
pub(crate) const BODY: ColumnId = ColumnId(4);
pub(crate) const OWNER: ColumnId = ColumnId(1);

pub(crate) const BY_ROOM: IndexId = IndexId(1);

pub(crate) const SECOND: i64 = 1_000_000;

pub(crate) fn column(id: ColumnId, name: &str, column_type: ColumnType) -> Column {
    Column {
        id,
        name: name.parse().unwrap(),
        column_type,
        not_null: id == ID,
        default: None,
        merge: MergeRule::Last,
    }
}

pub(crate) fn notes() -> TableSchema {
    let mut count = column(COUNT, "count", ColumnType::Int);
    count.merge = MergeRule::Add;
    TableSchema {
        id: NOTES,
        name: "app.notes".parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(ID, "id", ColumnType::BigInt),
            column(ROOM, "room", ColumnType::Int),
            column(RANK, "rank", ColumnType::Int),
            count,
            column(BODY, "body", ColumnType::Text),
        ],
        primary_key: vec![ID],
        indexes: vec![Index { id: BY_ROOM, columns: vec![ROOM] }],
        ttl_seconds: None,
    }
}

fn marks() -> TableSchema {
    let columns = vec![column(ID, "id", ColumnType::BigInt), column(ROOM, "room", ColumnType::Int)];
    let name = "app.marks".parse().unwrap();
    TableSchema { id: MARKS, name, columns, indexes: vec![], ..notes() }
}

fn events() -> TableSchema {
    let name = "app.events".parse().unwrap();
    TableSchema { id: EVENTS, name, kind: TableKind::Stream, ttl_seconds: Some(10), ..notes() }
}

pub(crate) fn posts(access: AccessLevel) -> TableSchema {
    let mut made = column(BODY, "made", ColumnType::Timestamp);
    made.default = Some(ColumnDefault::Now);
    TableSchema {
        id: POSTS,
        name: "app.posts".parse().unwrap(),
        kind: TableKind::Shared(Sharing { access, owner_column: Some(OWNER) }),
        columns: vec![
            column(ID, "id", ColumnType::BigInt),
            column(OWNER, "owner", ColumnType::Text),
            column(RANK, "rank", ColumnType::Int),
            made,
        ],
        indexes: vec![],
        ..notes()
    }
}

pub(crate) fn tables() -> Vec<TableSchema> {
    vec![notes(), marks(), events(), posts(AccessLevel::Write)]
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn user(name: &str) -> Actor {
    Actor { user: tenant(name), role: Role::User }
}

pub(crate) fn service() -> Actor {
    Actor { user: tenant("robot"), role: Role::Service }
}

pub(crate) fn lane_of(user: &str) -> Lane {
    Lane::User(tenant(user))
}

pub(crate) fn shared() -> Lane {
    "shared/app".parse().unwrap()
}

pub(crate) fn int(number: i64) -> Value {
    Value::Integer(number)
}

pub(crate) fn text(text: &str) -> Value {
    Value::text(text).unwrap()
}

pub(crate) fn set(column: ColumnId, value: Value) -> ColumnChange {
    ColumnChange::Set(ColumnValue(column, value))
}

pub(crate) fn add(column: ColumnId, number: i64) -> ColumnChange {
    ColumnChange::Add(ColumnValue(column, int(number)))
}

pub(crate) fn key(id: i64) -> Row {
    [int(id)].into_iter().collect()
}

pub(crate) fn values(values: &[(ColumnId, Value)]) -> Vec<ColumnValue> {
    values.iter().map(|(column, value)| ColumnValue(*column, value.clone())).collect()
}

pub(crate) fn operation(table: TableId, action: Action) -> Operation {
    Operation { table, version: SchemaVersion(1), action, guard: None }
}

pub(crate) fn insert(table: TableId, row: &[(ColumnId, Value)]) -> Operation {
    operation(table, Action::Insert(values(row)))
}

pub(crate) fn upsert(table: TableId, row: &[(ColumnId, Value)]) -> Operation {
    operation(table, Action::Upsert(values(row)))
}

pub(crate) fn patch(table: TableId, id: i64, changes: Vec<ColumnChange>) -> Operation {
    operation(table, Action::Patch { key: key(id), changes })
}

pub(crate) fn delete(table: TableId, id: i64) -> Operation {
    operation(table, Action::Delete { key: key(id) })
}

pub(crate) fn guarded(operation: Operation, guard: Guard) -> Operation {
    Operation { guard: Some(guard), ..operation }
}

pub(crate) fn write(lane: Lane, actor: Actor, operations: Vec<Operation>) -> Command {
    Command::Write(Write { lane, actor, operations, request: None })
}

pub(crate) fn hash(number: u8) -> ContentHash {
    ContentHash::from_bytes([number; 16])
}

pub(crate) fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

pub(crate) fn note(id: i64, room: i64) -> Operation {
    insert(NOTES, &[(ID, int(id)), (ROOM, int(room))])
}

pub(crate) fn written(number: u64, rows: u64) -> Outcome {
    Outcome::Written { epoch: EPOCH, seq: seq(number), rows }
}

pub(crate) fn reason(outcome: Outcome) -> (u32, Option<ColumnId>, Reason) {
    match outcome {
        Outcome::Rejected(rejection) => (rejection.operation, rejection.column, rejection.reason),
        other => panic!("not rejected but {other:?}"),
    }
}

pub(crate) fn row(values: impl IntoIterator<Item = Value>) -> Row {
    values.into_iter().collect()
}

/// Reads everything in one batch.
pub(crate) const ALL: LoadLimits =
    LoadLimits { rows: usize::MAX, bytes: usize::MAX, examined: usize::MAX };

pub(crate) fn everything(table: TableId) -> Query {
    let predicate = Predicate::Constant(Truth::True);
    Query { table, range: ScannedRange::Partition, predicate }
}

/// A shard on a store of its own, founded, with [`tables`].
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) shard: Shard,
    pub(crate) now: Time,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new(LAYOUT)))
    }

    /// Founds a shard on `store`.
    pub(crate) fn on(store: Arc<dyn Store>) -> Self {
        let mut world = Self::open(store);
        let lanes = [lane_of("ann"), lane_of("bob"), lane_of("cid"), shared()];
        let slots = lanes.iter().map(Slot::of).collect();
        let mut commands = vec![Command::Found { slots, epoch: EPOCH }];
        commands.extend(tables().into_iter().map(|table| Command::Define(Box::new(table))));
        let outcomes = world.run(commands).outcomes;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
        world
    }

    /// Opens what is in `store`.
    pub(crate) fn open(store: Arc<dyn Store>) -> Self {
        let stores = Arc::new(Stores::open(&*store).unwrap());
        let shard = Shard::open(&*store.snapshot(), SHARD, Arc::clone(&stores)).unwrap();
        Self { store, stores, shard, now: Time(1_000 * SECOND) }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Applied {
        // Through its bytes, as it comes from the log.
        let entry = Entry::decode(&entry.encode()).unwrap();
        let snapshot = self.store.snapshot();
        let mut applied = self.shard.apply(&*snapshot, &entry).unwrap();
        drop(snapshot);
        self.store.write(std::mem::take(&mut applied.batch)).unwrap();
        applied
    }

    pub(crate) fn run(&mut self, commands: Vec<Command>) -> Applied {
        self.apply(&Entry::new(self.now, commands))
    }

    /// Runs one command, and gives its outcome.
    pub(crate) fn one(&mut self, command: Command) -> Outcome {
        self.run(vec![command]).outcomes.remove(0)
    }

    /// Writes to the user's own tables.
    pub(crate) fn write(&mut self, name: &str, operations: Vec<Operation>) -> Outcome {
        self.one(write(lane_of(name), user(name), operations))
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(View<'_>) -> T) -> T {
        let snapshot = self.store.snapshot();
        read(View::new(&*snapshot, self.shard.catalog(), SHARD, self.now))
    }

    /// What the leader should propose now, about all slots.
    pub(crate) fn wanted(&self, retention: &Retention) -> Vec<Command> {
        self.read(|view| {
            let slots = view.slots().unwrap();
            assert_eq!(slots, self.shard.slots().collect::<Vec<_>>());
            slots.into_iter().flat_map(|slot| view.wanted(slot, retention).unwrap()).collect()
        })
    }

    /// All rows of a table, by birth.
    pub(crate) fn rows(&self, lane: &Lane, table: TableId) -> Vec<(Birth, Row)> {
        let batch = self.read(|view| view.load(lane, &everything(table), None, ALL)).unwrap();
        let table = self.shard.catalog().table(table).unwrap();
        let row = |image: &server_engine::Image| image.view(table).unwrap().row(table.schema());
        batch.rows.iter().map(|loaded| (loaded.birth, row(&loaded.image))).collect()
    }

    /// The rows alone.
    pub(crate) fn contents(&self, lane: &Lane, table: TableId) -> Vec<Row> {
        self.rows(lane, table).into_iter().map(|(_, row)| row).collect()
    }

    /// Checks that the sum that was kept is that of what is stored.
    pub(crate) fn check_sum(&self) {
        let found = recount(&*self.store.snapshot(), &self.shard).unwrap();
        assert_eq!(found, self.shard.sum(), "the sum over the contents is kept (INV-6)");
    }
}
