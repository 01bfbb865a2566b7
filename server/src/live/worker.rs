//! A worker, and the thread that it has to itself: what it evaluates may take a while, and nobody
//! else shall wait for it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::Goodbye;
use protocol::ids::{Birth, Lane, RequestNumber, SchemaHash, TenantId};
use server_engine::{Actor, Catalog, LaneView, Role, ShardNumber};
use server_gateway::SendQueue;
use server_subscriptions::{
    Action, Answer, ConnectionId, Cursor, Entry, Listed, Outbox, Queries, ReadId, Settings,
    Subscribing, Worker, Writing,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::queue::{Entered, EntryQueue};
use super::reads::Reads;
use super::schema::Schemas;

/// When feeds that wait for this node try again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What a worker is told besides entries.
pub(super) enum Message {
    /// A connection begins.
    Open { id: ConnectionId, actor: Actor, queue: SendQueue },
    /// A client holds this description of tables, and is told another one where it is not so.
    Schema { id: ConnectionId, held: Option<SchemaHash> },
    /// The tables have changed.
    SchemaChanged,
    /// A client goes on in a lane.
    Resume {
        id: ConnectionId,
        shard: ShardNumber,
        lane: Lane,
        cursor: Option<Cursor>,
        subscriptions: Vec<Subscribing>,
        writer: Option<Writing>,
        /// Whether the writer may write.
        done: oneshot::Sender<bool>,
    },
    /// A client writes in a lane, which is open for it then, or cannot be.
    OpenLane {
        id: ConnectionId,
        shard: ShardNumber,
        lane: Lane,
        at: Option<Cursor>,
        writing: Writing,
        done: oneshot::Sender<bool>,
    },
    /// A subscription begins.
    Subscribe {
        id: ConnectionId,
        shard: ShardNumber,
        subscribing: Box<Subscribing>,
        done: oneshot::Sender<()>,
    },
    /// A subscription ends.
    Unsubscribe { id: ConnectionId, request: RequestNumber, done: oneshot::Sender<()> },
    /// A window becomes wider.
    LoadOlder { id: ConnectionId, request: RequestNumber, rows: u64, done: oneshot::Sender<()> },
    /// Rows are to be compared.
    Digest {
        id: ConnectionId,
        request: RequestNumber,
        below: Option<Birth>,
        done: oneshot::Sender<()>,
    },
    /// In which lanes does a connection have a subscription?
    Lanes { id: ConnectionId, done: oneshot::Sender<Vec<Lane>> },
    /// How far has it come in a shard?
    Handled { shard: ShardNumber, done: oneshot::Sender<u64> },
    /// There is room for a connection again.
    Drained(ConnectionId),
    /// A sign of life is due.
    Progress(ConnectionId),
    /// A connection has ended.
    Close(ConnectionId),
    /// What was read, if it could be.
    Read(ReadId, Option<Answer>),
    /// Where the leader of a lane is, if it has said so.
    Leader(ConnectionId, Lane, Option<LaneView>),
    /// Entries up to this one are not told.
    Jumped(ShardNumber, u64),
    /// The tables of a shard, before anything else of it.
    Tables(ShardNumber, Arc<Catalog>),
    /// Which subscriptions are there, of a user or of all?
    List { of: Option<TenantId>, done: oneshot::Sender<Vec<(TenantId, Listed)>> },
    /// Somebody wants a subscription to end, of a user or of anybody. Is answered whether there was
    /// one.
    Kill {
        id: ConnectionId,
        request: RequestNumber,
        of: Option<TenantId>,
        done: oneshot::Sender<bool>,
    },
}

/// A worker, for those who tell it something.
#[derive(Clone, Debug)]
pub(super) struct WorkerHandle {
    messages: mpsc::UnboundedSender<Message>,
    pub(super) entries: Arc<EntryQueue>,
}

/// The queue of a socket, as the live engine needs it.
#[derive(Clone, Debug)]
struct Out(SendQueue);

impl Outbox for Out {
    fn waiting(&self) -> usize {
        self.0.waiting()
    }

    fn push(&self, frame: Bytes) {
        self.0.push(frame);
    }
}

impl WorkerHandle {
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        settings: Settings,
        queries: &Arc<Queries>,
        reads: &Arc<Reads>,
        schemas: &Arc<Schemas>,
    ) -> std::io::Result<Self> {
        let (messages, received) = mpsc::unbounded_channel();
        let (entries, entered) = EntryQueue::new();
        let task = Task {
            worker: Worker::new(settings, Arc::clone(queries)),
            reads: Arc::clone(reads),
            schemas: Arc::clone(schemas),
            connections: BTreeMap::new(),
            handled: BTreeMap::new(),
            messages: messages.downgrade(),
            server: Handle::current(),
        };
        let own = Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new()
            .name("live".to_owned())
            .spawn(move || own.block_on(task.run(received, entered)))?;
        Ok(Self { messages, entries: Arc::new(entries) })
    }

    /// Tells it something. Who waits for an answer tells it nothing else meanwhile, and of the rest
    /// there is at most one a connection at a time or a read: so no queue grows without bound.
    pub(super) fn tell(&self, message: Message) {
        // One that has ended has nothing to tell.
        let _ = self.messages.send(message);
    }
}

struct Task {
    worker: Worker<Out>,
    reads: Arc<Reads>,
    schemas: Arc<Schemas>,
    connections: BTreeMap<ConnectionId, Served>,
    /// Where each shard was last, for a worker that takes over.
    handled: BTreeMap<ShardNumber, u64>,
    /// To itself. When nobody else tells it anything any more, it ends.
    messages: mpsc::WeakUnboundedSender<Message>,
    /// Where it has something read.
    server: Handle,
}

/// A connection, as far as it is no matter of its feeds.
struct Served {
    user: TenantId,
    role: Role,
    queue: SendQueue,
    schema: Told,
}

/// What a client was told of the tables.
enum Told {
    /// Nothing yet: it has not said what it holds.
    Unasked,
    /// This.
    Is(Option<SchemaHash>),
}

impl Served {
    /// The client has said what it holds.
    fn holds(&mut self, held: Option<SchemaHash>, schemas: &Schemas) {
        self.schema = Told::Is(held);
        self.describe(schemas);
    }

    /// Describes the tables, if they are not as the client was told. Whoever reads slowly is told how
    /// they are when there is room, however often they have changed until then.
    fn describe(&mut self, schemas: &Schemas) {
        let Told::Is(held) = self.schema else { return };
        if !self.queue.has_room() {
            return;
        }
        let Some(now) = schemas.of(self.role) else { return };
        self.schema = Told::Is(Some(now.version));
        if held != Some(now.version) {
            for frame in &now.frames {
                self.queue.push(frame.clone());
            }
        }
    }
}

impl Task {
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>, mut entries: Entered) {
        let mut ticks = interval(TRY_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.guarded(|task| task.told(message)),
                    None => return,
                },
                Some(entry) = entries.next() => self.guarded(|task| task.applied(&entry)),
                _ = ticks.tick(), if self.worker.waits() => {
                    self.guarded(|task| task.worker.tick());
                }
            }
            for (shard, index) in entries.take_lost() {
                self.guarded(|task| task.jumped(shard, index));
            }
            for action in self.worker.take_actions() {
                self.act(action);
            }
        }
    }

    /// A panic is a defect. The clients of this worker come back, to one that begins anew.
    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        tracing::error!("a worker of live queries panicked: this is a defect, report it");
        self.worker.begin_anew();
        for (shard, index) in &self.handled {
            self.worker.jumped(*shard, *index);
        }
        for (_, served) in std::mem::take(&mut self.connections) {
            served.queue.close(Goodbye {
                code: ErrorCode::Internal,
                message: "the server has made a mistake, which its log has: come back".to_owned(),
                retry_after_ms: None,
            });
        }
    }

    fn applied(&mut self, entry: &Arc<Entry>) {
        self.has_handled(entry.shard, entry.index);
        if let Err(error) = self.worker.applied(entry) {
            tracing::error!(shard = entry.shard.0, %error, "what was applied cannot be told");
        }
    }

    fn jumped(&mut self, shard: ShardNumber, index: u64) {
        self.has_handled(shard, index);
        self.worker.jumped(shard, index);
    }

    /// What was lost may be told later than what came after it, and what was skipped earlier than
    /// what came before.
    fn has_handled(&mut self, shard: ShardNumber, index: u64) {
        let handled = self.handled.entry(shard).or_default();
        *handled = index.max(*handled);
    }

    fn open(&mut self, id: ConnectionId, actor: Actor, queue: SendQueue) {
        let (user, role) = (actor.user.clone(), actor.role);
        self.worker.open(id, actor, Out(queue.clone()));
        let served = Served { user, role, queue, schema: Told::Unasked };
        self.connections.insert(id, served);
    }

    fn told(&mut self, message: Message) {
        match message {
            Message::Open { id, actor, queue } => self.open(id, actor, queue),
            Message::Schema { id, held } => {
                if let Some(served) = self.connections.get_mut(&id) {
                    served.holds(held, &self.schemas);
                }
            }
            Message::SchemaChanged => self.describe_all(),
            Message::Resume { id, shard, lane, cursor, subscriptions, writer, done } => {
                self.describe(id);
                let is_open = self.worker.resume(id, shard, &lane, cursor, subscriptions, writer);
                // The connection may have ended.
                let _ = done.send(is_open);
            }
            Message::OpenLane { id, shard, lane, at, writing, done } => {
                let _ = done.send(self.worker.open_lane(id, shard, &lane, at, writing));
            }
            Message::Subscribe { id, shard, subscribing, done } => {
                self.describe(id);
                self.worker.subscribe(id, shard, *subscribing);
                drop(done);
            }
            Message::Unsubscribe { id, request, done } => {
                self.worker.unsubscribe(id, request);
                drop(done);
            }
            Message::LoadOlder { id, request, rows, done } => {
                self.worker.load_older(id, request, rows);
                drop(done);
            }
            Message::Digest { id, request, below, done } => {
                self.worker.digest(id, request, below);
                drop(done);
            }
            Message::Lanes { id, done } => {
                let _ = done.send(self.worker.lanes(id));
            }
            Message::Handled { shard, done } => {
                let _ = done.send(self.handled.get(&shard).copied().unwrap_or(0));
            }
            Message::Drained(id) => {
                self.describe(id);
                self.worker.drained(id);
            }
            Message::Progress(id) => self.worker.progress(id),
            Message::Close(id) => {
                self.connections.remove(&id);
                self.worker.close(id);
            }
            Message::Read(id, Some(answer)) => self.worker.answer(id, &answer),
            Message::Read(id, None) => self.worker.unread(id),
            Message::Leader(id, lane, leader) => self.worker.leader(id, &lane, leader),
            Message::Jumped(shard, index) => self.jumped(shard, index),
            Message::Tables(shard, catalog) => self.worker.tables(shard, catalog),
            Message::List { of, done } => {
                // Whoever asked may have gone.
                let _ = done.send(self.list(of.as_ref()));
            }
            Message::Kill { id, request, of, done } => {
                let told = "this live query was ended by KILL LIVE QUERY";
                let is_his = self
                    .connections
                    .get(&id)
                    .is_some_and(|served| is_of(&served.user, of.as_ref()));
                let is_killed = is_his && self.worker.end(id, request, ErrorCode::Cancelled, told);
                let _ = done.send(is_killed);
            }
        }
    }

    /// Before something is said of a table, the client hears that it is there.
    fn describe(&mut self, id: ConnectionId) {
        if let Some(served) = self.connections.get_mut(&id) {
            served.describe(&self.schemas);
        }
    }

    fn describe_all(&mut self) {
        self.connections.values_mut().for_each(|served| served.describe(&self.schemas));
    }

    fn list(&self, of: Option<&TenantId>) -> Vec<(TenantId, Listed)> {
        let connections = self.connections.iter().filter(|(_, served)| is_of(&served.user, of));
        let listed = connections.flat_map(|(id, served)| {
            self.worker.list(*id).into_iter().map(|listed| (served.user.clone(), listed))
        });
        listed.collect()
    }

    fn act(&self, action: Action) {
        let (reads, messages) = (Arc::clone(&self.reads), self.messages.clone());
        self.server.spawn(async move {
            let message = match action {
                Action::Read(read) => {
                    let (id, answer) = (read.id, reads.run(read).await);
                    Message::Read(id, answer)
                }
                Action::AskLeader { connection, shard, lane } => {
                    let leader = reads.leader(shard, lane.clone()).await.map(|(lane, _)| lane);
                    Message::Leader(connection, lane, leader)
                }
            };
            // It may have ended.
            if let Some(messages) = messages.upgrade() {
                let _ = messages.send(message);
            }
        });
    }
}

/// Whether it is this user, if it must be a certain one.
fn is_of(user: &TenantId, of: Option<&TenantId>) -> bool {
    of.is_none_or(|of| of == user)
}
