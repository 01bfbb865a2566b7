//! A shard in memory, a worker that is told of it, and one connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use protocol::frame::v1::{Held, Received, ServerFrame, read_server};
use protocol::ids::{
    ClientId, ColumnId, ContentHash, Epoch, Floor, IndexId, Lane, MutationNumber, RequestNumber,
    SchemaVersion, SeqId, TableId,
};
use protocol::mutation::{Action as RowAction, ColumnValue, Mutation, MutationDigest, Operation};
use protocol::predicate::{CompareOp, Operand, Predicate, Truth};
use protocol::schema::{
    AccessLevel, Column, ColumnDefault, Index, MergeRule, Sharing, TableKind, TableSchema,
};
use protocol::value::{ColumnType, Value};
use server_engine::{
    Actor, Command, Entry as LogEntry, LAYOUT, Mutate, Numbered, Role, Shard, ShardNumber, Slot,
    Stores, Time, View, Write,
};
use server_storage::{MemoryStore, Store};
use server_subscriptions::{
    Action, Asked, ConnectionId, Cursor, Entry, LiveQuery, Outbox, Queries, Read, Settings,
    Subscribing, Worker, Writing,
};

pub(crate) const SHARD: ShardNumber = ShardNumber(1);
pub(crate) const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
pub(crate) const NOTES: TableId = TableId(70);
pub(crate) const ID: ColumnId = ColumnId(0);
pub(crate) const ROOM: ColumnId = ColumnId(1);
pub(crate) const BODY: ColumnId = ColumnId(2);
/// The column that the table gets with version 2.
pub(crate) const ADDED: ColumnId = ColumnId(3);
pub(crate) const CONNECTION: ConnectionId = ConnectionId(1);
const NOW: Time = Time(1_000_000_000);

/// What waits for a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Rc<RefCell<VecDeque<Bytes>>>);

impl Outbox for Queue {
    fn waiting(&self) -> usize {
        self.0.borrow().iter().map(Bytes::len).sum()
    }

    fn push(&self, frame: Bytes) {
        self.0.borrow_mut().push_back(frame);
    }
}

impl Queue {
    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Takes all that waits.
    pub(crate) fn take(&self) -> Vec<ServerFrame> {
        let frames = self.0.take();
        let frame = |bytes: Bytes| match read_server(&bytes).unwrap() {
            Received::Known(frame) => frame,
            Received::Unknown { name } => panic!("{name} is no frame"),
        };
        frames.into_iter().map(frame).collect()
    }
}

pub(crate) struct World {
    store: MemoryStore,
    pub(crate) shard: Shard,
    pub(crate) index: u64,
    /// Applied, and not handled yet.
    pub(crate) unhandled: VecDeque<Arc<Entry>>,
    pub(crate) worker: Worker<Queue>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) queue: Queue,
    pub(crate) reads: Vec<Read>,
    pub(crate) asked_leader: usize,
    /// Who writes in the lane that is resumed.
    pub(crate) resumes_as: Option<Writing>,
}

pub(crate) fn lane() -> Lane {
    "shared/app".parse().unwrap()
}

pub(crate) fn ann() -> Actor {
    Actor { user: "ann".parse().unwrap(), role: Role::User }
}

pub(crate) fn identity(client: u8) -> ClientId {
    ClientId::from_bytes([client; 16])
}

pub(crate) fn writing(client: u8, confirmed: u64) -> Writing {
    let confirmed = MutationNumber::new(confirmed).unwrap();
    Writing { client: identity(client), confirmed }
}

/// A new row in room 7.
pub(crate) fn inserted(id: i64) -> Operation {
    let value = |column, value| ColumnValue(column, Value::Integer(value));
    let action = RowAction::Insert(vec![value(ID, id), value(ROOM, 7), value(BODY, 0)]);
    Operation { table: NOTES, version: SchemaVersion(1), action, guard: None }
}

pub(crate) fn notes() -> TableSchema {
    let column = |(id, name): (ColumnId, &str)| Column {
        id,
        name: name.parse().unwrap(),
        column_type: ColumnType::BigInt,
        not_null: id == ID,
        default: None,
        merge: MergeRule::Last,
    };
    TableSchema {
        id: NOTES,
        name: "app.notes".parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::Shared(Sharing { access: AccessLevel::Write, owner_column: None }),
        columns: [(ID, "id"), (ROOM, "room"), (BODY, "body")].map(column).into(),
        primary_key: vec![ID],
        indexes: vec![Index { id: IndexId(1), columns: vec![ROOM] }],
        ttl_seconds: None,
    }
}

/// The table with the columns that [`World::alter`] has given it: [`ADDED`] and those behind it.
pub(crate) fn notes_at(version: u32) -> TableSchema {
    let mut schema = notes();
    for at in 2..=version {
        let (id, name) = (ColumnId(u16::try_from(at).unwrap() + 1), format!("added_{at}"));
        let (name, default) = (name.parse().unwrap(), ColumnDefault::Value(Value::Integer(5)));
        let default = Some(default);
        schema.columns.push(Column { id, name, default, ..schema.columns[2].clone() });
    }
    TableSchema { version: SchemaVersion(version), ..schema }
}

/// The rows of a room; all rows without one.
pub(crate) fn asked(room: Option<i64>, columns: &[ColumnId]) -> Asked {
    let schema = Arc::new(notes());
    let predicate = match room {
        None => Predicate::Constant(Truth::True),
        Some(room) => Predicate::Compare {
            column: ROOM,
            op: CompareOp::Equal,
            operand: Operand::Value(Value::Integer(room)),
        },
    };
    let range = Asked::range_of(&schema, &predicate);
    Asked { lane: lane(), schema, range, predicate, columns: Some(columns.to_vec()) }
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let store = MemoryStore::new(LAYOUT);
        let stores = Arc::new(Stores::open(&store).unwrap());
        let shard = Shard::open(&*store.snapshot(), SHARD, stores).unwrap();
        let (queries, queue) = (Arc::new(Queries::default()), Queue::default());
        let mut worker = Worker::new(settings, Arc::clone(&queries));
        worker.open(CONNECTION, ann(), queue.clone());
        let mut world = Self {
            store,
            shard,
            index: 0,
            unhandled: VecDeque::new(),
            worker,
            queries,
            queue,
            reads: Vec::new(),
            asked_leader: 0,
            resumes_as: None,
        };
        let slots = vec![Slot::of(&lane())];
        world.run(vec![Command::Found { slots, epoch: EPOCH }, Command::Define(Box::new(notes()))]);
        world.handle();
        world
    }

    pub(crate) fn run(&mut self, commands: Vec<Command>) {
        let snapshot = self.store.snapshot();
        let entry = LogEntry::new(NOW, commands);
        let mut applied = self.shard.apply(&*snapshot, &entry).unwrap();
        drop(snapshot);
        self.store.write(std::mem::take(&mut applied.batch)).unwrap();
        self.index += 1;
        let catalog = Arc::clone(self.shard.catalog());
        self.unhandled.push_back(Entry::new(SHARD, self.index, catalog, applied.commits));
    }

    /// Writes a row for each id, in one commit.
    pub(crate) fn write(&mut self, ids: impl IntoIterator<Item = i64>, room: i64, body: i64) {
        let value = |column, value| ColumnValue(column, Value::Integer(value));
        let operation = |id| {
            let row = vec![value(ID, id), value(ROOM, room), value(BODY, body)];
            let action = RowAction::Upsert(row);
            Operation { table: NOTES, version: SchemaVersion(1), action, guard: None }
        };
        let operations = ids.into_iter().map(operation).collect();
        let actor = ann();
        self.run(vec![Command::Write(Write { lane: lane(), actor, operations, request: None })]);
    }

    /// The table gets another column, whose default is 5, and is in this version then.
    pub(crate) fn alter(&mut self, version: u32) {
        self.run(vec![Command::Define(Box::new(notes_at(version)))]);
    }

    /// Lets the worker handle all that was applied.
    pub(crate) fn handle(&mut self) {
        while let Some(entry) = self.unhandled.pop_front() {
            self.worker.applied(&entry).unwrap();
        }
        self.collect();
    }

    /// The worker was told nothing of what was applied.
    pub(crate) fn jump(&mut self) {
        self.unhandled.clear();
        self.worker.jumped(SHARD, self.index);
        self.collect();
    }

    pub(crate) fn view<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        let snapshot = self.store.snapshot();
        read(&View::new(&*snapshot, self.shard.catalog(), SHARD, NOW))
    }

    /// Runs all reads that wait, and answers them.
    pub(crate) fn answer(&mut self) {
        for read in std::mem::take(&mut self.reads) {
            let answer = self.view(|view| read.run(view, self.index)).unwrap();
            self.worker.answer(read.id, &answer);
        }
        self.collect();
    }

    /// Answers reads until there are none.
    pub(crate) fn settle(&mut self) {
        while !self.reads.is_empty() {
            self.answer();
        }
    }

    pub(crate) fn unread(&mut self) {
        for read in std::mem::take(&mut self.reads) {
            self.worker.unread(read.id);
        }
        self.collect();
    }

    pub(crate) fn lead(&mut self) {
        let leader = self.view(|view| view.lane(&lane())).unwrap();
        self.worker.leader(CONNECTION, &lane(), Some(leader));
        self.collect();
    }

    pub(crate) fn query(&self, room: Option<i64>) -> Arc<LiveQuery> {
        self.queries.compile(asked(room, &[ROOM, BODY]))
    }

    pub(crate) fn subscribe(&mut self, request: u64, room: Option<i64>, fetch_last: Option<u64>) {
        self.subscribe_at(CONNECTION, request, room, fetch_last);
    }

    pub(crate) fn subscribe_at(
        &mut self,
        connection: ConnectionId,
        request: u64,
        room: Option<i64>,
        fetch_last: Option<u64>,
    ) {
        let subscribing = self.subscribing(request, room, fetch_last);
        self.worker.subscribe(connection, SHARD, subscribing);
        self.collect();
    }

    /// Another connection of the same user.
    pub(crate) fn connect(&mut self, connection: ConnectionId) -> Queue {
        self.connect_as(connection, ann())
    }

    pub(crate) fn connect_as(&mut self, connection: ConnectionId, actor: Actor) -> Queue {
        let queue = Queue::default();
        self.worker.open(connection, actor, queue.clone());
        queue
    }

    /// The client of this number writes in the lane, and knows the decisions up to `confirmed`.
    pub(crate) fn open_lane(&mut self, client: u8, confirmed: u64) -> bool {
        self.open_lane_at(CONNECTION, client, confirmed, None)
    }

    pub(crate) fn open_lane_at(
        &mut self,
        connection: ConnectionId,
        client: u8,
        confirmed: u64,
        at: Option<Cursor>,
    ) -> bool {
        let writing = writing(client, confirmed);
        let is_open = self.worker.open_lane(connection, SHARD, &lane(), at, writing);
        self.collect();
        is_open
    }

    /// Has the next mutation of a client decided: rows with these ids, which must be new ones.
    pub(crate) fn mutate(&mut self, client: u8, ids: impl IntoIterator<Item = i64>) {
        self.mutate_as(ann(), client, ids.into_iter().map(inserted).collect());
    }

    pub(crate) fn mutate_as(&mut self, actor: Actor, client: u8, operations: Vec<Operation>) {
        let client = identity(client);
        let known = self.view(|view| view.client(&lane(), &actor.user, client)).unwrap();
        let (last, previous) =
            known.map_or((MutationNumber::ZERO, ContentHash::START), |it| (it.last, it.last_hash));
        let digest = MutationDigest::of(&Mutation { operations: operations.clone() });
        let mutations =
            vec![Numbered { hash: previous.then(digest), operations: Some(operations) }];
        self.run(vec![Command::Mutate(Mutate {
            lane: lane(),
            actor,
            client,
            client_since: NOW,
            epoch: EPOCH,
            first: last.next(),
            previous,
            mutations,
            confirmed: MutationNumber::ZERO,
        })]);
    }

    fn subscribing(&self, request: u64, room: Option<i64>, fetch_last: Option<u64>) -> Subscribing {
        let (request, query) = (RequestNumber(request), self.query(room));
        let text = "".into();
        Subscribing { request, query, text, held: None, fetch_last, batch_rows: None }
    }

    /// Resumes with one row loaded, at a position in an epoch.
    pub(crate) fn resume(&mut self, epoch: Epoch, seq: SeqId) {
        self.resume_cut(epoch, seq, 0);
    }

    pub(crate) fn resume_cut(&mut self, epoch: Epoch, seq: SeqId, cut: u8) {
        self.resume_at(CONNECTION, self.resumes_as, Cursor { epoch, seq, cut });
    }

    pub(crate) fn resume_at(
        &mut self,
        connection: ConnectionId,
        writer: Option<Writing>,
        cursor: Cursor,
    ) {
        let Cursor { seq, .. } = cursor;
        let mut subscribing = self.subscribing(1, None, Some(1));
        let basis = subscribing.query.basis;
        subscribing.held = Some(Held { basis, floor: Floor(seq), missing: Some(0) });
        self.worker.resume(connection, SHARD, &lane(), Some(cursor), vec![subscribing], writer);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        for action in self.worker.take_actions() {
            match action {
                Action::Read(read) => self.reads.push(read),
                Action::AskLeader { .. } => self.asked_leader += 1,
            }
        }
    }

    pub(crate) fn state(&self) -> &'static str {
        self.worker.states(CONNECTION).first().map_or("none", |(_, state)| state)
    }
}
