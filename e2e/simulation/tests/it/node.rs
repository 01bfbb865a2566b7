//! A node: storage, what was pushed to its worker, the worker, and the sockets of its clients.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use protocol::codec;
use protocol::error_code::ErrorCode;
use protocol::frame;
use protocol::frame::v1::{
    ClientFrame, Goodbye, Hello, LaneWriter, Mutate, Received, RetryAfter, Schema, ServerFrame,
    Subscribe, Undecided, Welcome, Written, read_client,
};
use protocol::ids::{ClientId, Lane, MutationNumber};
use server_engine::{
    Actor, Command, Confirm, LaneView, Numbered, Outcome, Role, Time, Undecided as Why, View,
};
use server_storage::Store;
use server_subscriptions::{
    Action, Answer, ConnectionId, Cursor, Entry, Outbox, Queries, Read, ReadId, Subscribing,
    Worker, Writing,
};

use crate::log::{Log, Rows, SHARD};
use crate::settings::Plan;
use crate::tables::{self, USER, asked};

/// What waits to be read by a client.
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
    pub(crate) fn pop(&self) -> Option<Bytes> {
        self.0.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// A connection, seen from both ends.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) up: VecDeque<Bytes>,
    pub(crate) down: Queue,
    /// Whether the client has said hello.
    pub(crate) is_greeted: bool,
}

/// The user of all clients.
pub(crate) fn ann() -> Actor {
    Actor { user: USER.parse().unwrap(), role: Role::User }
}

pub(crate) struct Node {
    pub(crate) rows: Rows,
    pub(crate) applied: u64,
    /// Applied, and not pushed yet; `None` is an entry that cannot be said as commits.
    unpushed: VecDeque<(u64, Option<Arc<Entry>>)>,
    queue: VecDeque<(u64, Option<Arc<Entry>>)>,
    queue_max: usize,
    /// The last entry that did not get into the queue.
    lost: u64,
    handled: u64,
    pub(crate) worker: Worker<Queue>,
    queries: Arc<Queries>,
    pub(crate) reads: Vec<Read>,
    answers: Vec<(ReadId, Option<Answer>)>,
    asks: Vec<(ConnectionId, Lane)>,
    pub(crate) sockets: BTreeMap<ConnectionId, Socket>,
    /// What clients have written, on its way to the log.
    pub(crate) proposals: Vec<(ConnectionId, Command)>,
    /// The lanes that connections have opened, and for whom.
    open: BTreeMap<(ConnectionId, Lane), ClientId>,
    /// What time it is.
    pub(crate) now: Time,
}

impl Node {
    pub(crate) fn new(plan: &Plan) -> Self {
        let queries = Arc::new(Queries::default());
        Self {
            rows: Rows::open(server_storage::MemoryStore::new(server_engine::LAYOUT)),
            applied: 0,
            unpushed: VecDeque::new(),
            queue: VecDeque::new(),
            queue_max: plan.queue,
            lost: 0,
            handled: 0,
            worker: Worker::new(plan.settings, Arc::clone(&queries)),
            queries,
            reads: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
            sockets: BTreeMap::new(),
            proposals: Vec::new(),
            open: BTreeMap::new(),
            now: Time(0),
        }
    }

    /// Applies the next item of the log.
    pub(crate) fn apply(&mut self, log: &Log) -> bool {
        let Some(item) = log.items.get(self.applied as usize) else { return false };
        let commits = self.rows.apply(item);
        self.applied += 1;
        let catalog = Arc::clone(self.rows.shard.catalog());
        let entry = commits.map(|commits| Entry::new(SHARD, self.applied, catalog, commits));
        self.unpushed.push_back((self.applied, entry));
        true
    }

    /// Pushes what was applied to the worker, if its queue has room.
    pub(crate) fn push(&mut self) -> bool {
        let Some((index, entry)) = self.unpushed.pop_front() else { return false };
        if self.queue.len() < self.queue_max {
            self.queue.push_back((index, entry));
        } else {
            self.lost = index;
        }
        true
    }

    /// Lets the worker handle what is next in its queue.
    pub(crate) fn handle(&mut self) -> bool {
        let Some((index, entry)) = self.queue.pop_front() else {
            if self.lost > self.handled {
                self.handled = self.lost;
                self.worker.jumped(SHARD, self.lost);
                self.collect();
                return true;
            }
            return false;
        };
        if index > self.handled {
            self.handled = index;
            match entry {
                Some(entry) => self.worker.applied(&entry).unwrap(),
                None => self.worker.jumped(SHARD, index),
            }
            self.collect();
        }
        true
    }

    /// Takes over the rows of another node.
    pub(crate) fn install(&mut self, log: &Log) {
        if self.applied < log.len() {
            self.rows = Rows::open(log.newest.store.fork());
            self.applied = log.len();
            self.unpushed.clear();
            self.lost = self.applied;
        }
    }

    /// The process ends, and another begins with what is stored.
    pub(crate) fn restart(&mut self, plan: &Plan) {
        let (applied, now) = (self.applied, self.now);
        let rows = Rows::open(self.rows.store.fork());
        *self = Self { rows, applied, lost: applied, now, ..Self::new(plan) };
    }

    /// Runs one of the reads that the worker waits for. What it found comes to the worker later.
    pub(crate) fn read(&mut self, choice: usize, fails: bool) -> bool {
        if self.reads.is_empty() {
            return false;
        }
        let read = self.reads.remove(choice % self.reads.len());
        let store = Arc::clone(&self.rows.store);
        let snapshot = store.snapshot();
        let view = View::new(&*snapshot, self.rows.shard.catalog(), SHARD, self.now);
        let answer = read.run(&view, self.applied).ok().filter(|_| !fails);
        self.answers.push((read.id, answer));
        true
    }

    /// Gives the worker one of the answers.
    pub(crate) fn answer(&mut self, choice: usize) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        match self.answers.remove(choice % self.answers.len()) {
            (id, Some(answer)) => self.worker.answer(id, &answer),
            (id, None) => self.worker.unread(id),
        }
        self.collect();
        true
    }

    /// Answers for the leader.
    pub(crate) fn lead(&mut self, log: &Log, is_there: bool) -> bool {
        let Some((connection, lane)) = self.asks.pop() else { return false };
        let store = Arc::clone(&log.newest.store);
        let snapshot = store.snapshot();
        let view = View::new(&*snapshot, log.newest.shard.catalog(), SHARD, self.now);
        let leader: Option<LaneView> = view.lane(&lane).ok().filter(|_| is_there);
        self.worker.leader(connection, &lane, leader);
        self.collect();
        true
    }

    pub(crate) fn tick(&mut self) {
        self.worker.tick();
        self.collect();
    }

    pub(crate) fn progress(&mut self, connection: ConnectionId) {
        if self.sockets.get(&connection).is_some_and(|socket| socket.is_greeted) {
            self.worker.progress(connection);
        }
    }

    pub(crate) fn drained(&mut self, connection: ConnectionId) {
        self.worker.drained(connection);
        self.collect();
    }

    pub(crate) fn connect(&mut self, connection: ConnectionId) {
        let down = Queue::default();
        self.worker.open(connection, ann(), down.clone());
        self.sockets.insert(connection, Socket { up: VecDeque::new(), down, is_greeted: false });
    }

    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        if self.sockets.remove(&connection).is_some() {
            self.worker.close(connection);
            self.open.retain(|(of, _), _| *of != connection);
            self.collect();
        }
    }

    /// Takes the next frame that a client has sent.
    pub(crate) fn receive(&mut self, connection: ConnectionId, log: &mut Log) -> bool {
        let Some(socket) = self.sockets.get_mut(&connection) else { return false };
        let Some(bytes) = socket.up.pop_front() else { return false };
        let Received::Known(frame) = read_client(&bytes).unwrap() else {
            panic!("a frame that the server does not know")
        };
        match frame {
            ClientFrame::Hello(hello) => self.hello(connection, hello),
            ClientFrame::Token(_) | ClientFrame::Sql(_) | ClientFrame::Sync(_) => {}
            ClientFrame::OpenLane(open) => {
                let at = open.at.map(|at| Cursor { epoch: at.epoch, seq: at.seq, cut: 0 });
                let LaneWriter { lane, client, confirmed } = open.writer;
                let writing = Writing { client, confirmed };
                assert!(self.worker.open_lane(connection, SHARD, &lane, at, writing));
                self.opened(connection, lane, writing, at);
            }
            ClientFrame::Mutate(mutate) => self.mutate(connection, *mutate, log),
            ClientFrame::Subscribe(subscribe) => {
                let subscribing = self.compile(subscribe);
                self.worker.subscribe(connection, SHARD, subscribing);
            }
            ClientFrame::Unsubscribe(end) => self.worker.unsubscribe(connection, end.request),
            ClientFrame::LoadOlder(older) => {
                self.worker.load_older(connection, older.request, older.rows);
            }
            ClientFrame::Digest(digest) => {
                self.worker.digest(connection, digest.request, digest.below);
            }
        }
        self.collect();
        true
    }

    /// A client writes in a lane. What it knows, the server need not keep.
    fn opened(
        &mut self,
        connection: ConnectionId,
        lane: Lane,
        writing: Writing,
        at: Option<Cursor>,
    ) {
        let Writing { client, confirmed } = writing;
        self.open.insert((connection, lane.clone()), client);
        if let Some(Cursor { epoch, .. }) = at.filter(|_| confirmed > MutationNumber::ZERO) {
            let confirm = Confirm { lane, user: ann().user, client, epoch, confirmed };
            self.proposals.push((connection, Command::Confirm(confirm)));
        }
    }

    fn mutate(&mut self, connection: ConnectionId, mutate: Mutate, log: &mut Log) {
        let open = self.open.get(&(connection, mutate.lane.clone()));
        assert_eq!(open, Some(&mutate.client), "a lane is opened before it is written to");
        let mut hash = mutate.previous;
        let numbered = |written: Written| {
            let digest = written.digest();
            hash = hash.then(digest);
            log.writes.sent(digest, hash);
            let operations = match written {
                Written::Mutation(mutation) => Some(mutation.operations),
                Written::Cancelled(_) => None,
            };
            Numbered { hash, operations }
        };
        let mutations = mutate.mutations.into_iter().map(numbered).collect();
        let command = Command::Mutate(server_engine::Mutate {
            lane: mutate.lane,
            actor: ann(),
            client: mutate.client,
            client_since: Time(mutate.since),
            epoch: mutate.epoch,
            first: mutate.first,
            previous: mutate.previous,
            mutations,
            confirmed: mutate.confirmed,
        });
        self.proposals.push((connection, command));
    }

    /// Answers what was not decided.
    pub(crate) fn answered(
        &self,
        connection: ConnectionId,
        command: &Command,
        outcome: Option<&Outcome>,
    ) {
        let (Command::Mutate(command), Some(socket)) = (command, self.sockets.get(&connection))
        else {
            return;
        };
        let (lane, client) = (command.lane.clone(), command.client);
        let stopped = |number| Undecided { lane: lane.clone(), client, number };
        let number = |left: &u32| {
            let done = command.mutations.len() as u64 - u64::from(*left);
            MutationNumber::new(command.first.get() + done).unwrap()
        };
        let frame = match outcome {
            Some(Outcome::Mutated { left, stopped: Some(why) }) => match why {
                Why::Expected(number) => ServerFrame::Expected(stopped(*number)),
                Why::Forked => ServerFrame::Forked(stopped(number(left))),
                Why::UnknownClient => ServerFrame::UnknownClient(stopped(number(left))),
                Why::Epoch => return,
                other => panic!("{other:?}"),
            },
            Some(_) => return,
            None => {
                let retry_after_ms = 500;
                ServerFrame::RetryAfter(RetryAfter { lane, client, retry_after_ms })
            }
        };
        socket.down.push(codec::encode(&frame).into());
    }

    fn compile(&self, subscribe: Subscribe) -> Subscribing {
        let query = self.queries.compile(asked(&subscribe.sql));
        let Subscribe { request, sql, held, fetch_last, batch_rows, .. } = subscribe;
        let text = sql.into();
        Subscribing { request, query, text, held, fetch_last, batch_rows }
    }

    fn hello(&mut self, connection: ConnectionId, hello: Hello) {
        let Some(socket) = self.sockets.get_mut(&connection) else { return };
        socket.is_greeted = true;
        let send = |frame: ServerFrame| socket.down.push(codec::encode(&frame).into());
        let Some(version) = frame::negotiate(&hello.versions) else {
            let (code, message) = (ErrorCode::UpdateRequired, "too old".to_owned());
            return send(ServerFrame::Goodbye(Goodbye { code, message, retry_after_ms: None }));
        };
        let welcome =
            Welcome { version, time: self.now.0, silence_ms_max: 20_000, token_expires_ms: None };
        send(ServerFrame::Welcome(welcome));
        let pieces = Schema::pieces(1, tables::all());
        if hello.schema != Some(pieces[0].version) {
            pieces.into_iter().for_each(|piece| send(ServerFrame::Schema(piece)));
        }
        let mut lanes: BTreeMap<Lane, Vec<Subscribing>> = BTreeMap::new();
        for subscribe in hello.subscriptions {
            let subscribing = self.compile(subscribe);
            lanes.entry(subscribing.query.lane.clone()).or_default().push(subscribing);
        }
        for writer in &hello.writers {
            lanes.entry(writer.lane.clone()).or_default();
        }
        for (lane, subscriptions) in lanes {
            let cursor = hello.lanes.iter().find(|cursor| cursor.lane == lane);
            let cursor =
                cursor.map(|at| Cursor { epoch: at.epoch, seq: at.since_seq, cut: at.cut });
            let writer = hello.writers.iter().find(|writer| writer.lane == lane);
            let writing = writer.map(|it| Writing { client: it.client, confirmed: it.confirmed });
            self.worker.resume(connection, SHARD, &lane, cursor, subscriptions, writing);
            if let Some(writing) = writing {
                self.opened(connection, lane, writing, cursor);
            }
        }
    }

    fn collect(&mut self) {
        for action in self.worker.take_actions() {
            match action {
                Action::Read(read) => self.reads.push(read),
                Action::AskLeader { connection, lane, .. } => self.asks.push((connection, lane)),
            }
        }
    }
}
