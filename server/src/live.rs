//! Live queries on this node: the workers of the live engine, and what they need around them.
//!
//! ```text
//!   replication ── entries ──►┌────────┐◄── subscribe, drained, … ── gateway
//!                             │ worker │
//!   storage ◄── reads ────────└────────┘── frames ──► the queue of a socket
//! ```
//!
//! A connection belongs to one worker, which has a thread to itself. Entries come through a bounded
//! queue that apply never waits for: what does not fit is lost, the worker is told so when it has
//! handled the rest of that shard, and goes on from storage.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a worker is told, and its thread | `live/worker.rs` |
//! | entries on their way to the workers | `live/entries.rs`, `live/queue.rs` |
//! | what the workers read | `live/reads.rs` |
//! | which tables a client is told of | `live/schema.rs` |
//! | a connection: from its SQL to its worker | `live/connection.rs` |
//! | what a client writes: in which lanes, and how it is decided | `live/uploads.rs`, `live/deciding.rs` |
//! | `system.live_queries`, `KILL LIVE QUERY` | `live/listing.rs` |

mod connection;
mod deciding;
mod entries;
mod listing;
mod queue;
mod reads;
mod schema;
mod uploads;
mod waiting;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::Goodbye;
use server_engine::Actor;
use server_gateway::{Caller, LiveConnection, SendQueue, SubscriptionPort};
use server_query::Sql;
use server_replication::{Health, META, Node};
use server_subscriptions::{ConnectionId, Queries, Settings};

use self::connection::{Connection, NotStarted};
pub(crate) use self::entries::Entries;
pub(crate) use self::listing::Listing;
use self::reads::Reads;
use self::schema::Schemas;
use self::worker::{Message, WorkerHandle};
use crate::wiring::role;

/// When to come back while the server starts.
const STARTS_WITHIN: Duration = Duration::from_secs(1);

/// The live engine of a node that has started.
pub(crate) struct Live {
    node: Arc<Node>,
    sql: Arc<Sql>,
    queries: Arc<Queries>,
    reads: Arc<Reads>,
    workers: Vec<WorkerHandle>,
    last: AtomicU64,
}

impl Live {
    /// Starts the workers. From now on they hear of what is applied.
    ///
    /// # Errors
    /// When a shard cannot be read, or the system gives no thread.
    pub(crate) fn start(
        node: &Arc<Node>,
        sql: Arc<Sql>,
        entries: &Entries,
        settings: Settings,
    ) -> anyhow::Result<Arc<Self>> {
        let queries = Arc::new(Queries::default());
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let reads = Reads::new(node, count);
        let schemas = Schemas::new(node);
        let workers: Vec<_> = (0..count)
            .map(|_| WorkerHandle::start(settings, &queries, &reads, &schemas))
            .collect::<Result<_, _>>()?;
        // First they hear of what comes, and then where it begins: so nothing is between.
        entries.start(node, workers.clone());
        for shard in node.placement().shards() {
            let catalog = node.catalog(shard);
            let index = node.read(shard, |_, index| index.unwrap_or(0))?;
            for worker in &workers {
                if let Some(catalog) = &catalog {
                    worker.tell(Message::Tables(shard, Arc::clone(catalog)));
                }
                worker.tell(Message::Jumped(shard, index));
            }
        }
        let node = Arc::clone(node);
        Ok(Arc::new(Self { node, sql, queries, reads, workers, last: AtomicU64::new(0) }))
    }

    fn worker_of(&self, connection: ConnectionId) -> &WorkerHandle {
        let place = connection.0 % self.workers.len() as u64;
        // There are fewer workers than a usize counts.
        &self.workers[usize::try_from(place).unwrap_or(0)]
    }

    /// Whether the shard that has the descriptions of tables is well.
    fn knows_tables(&self) -> bool {
        self.node.health().get(&META) == Some(&Health::Running)
    }

    fn open(self: &Arc<Self>, caller: Caller, queue: SendQueue) -> Connection {
        let id = ConnectionId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let actor = Actor { user: caller.user, role: role(caller.role) };
        let opened = Message::Open { id, actor: actor.clone(), queue: queue.clone() };
        self.worker_of(id).tell(opened);
        Connection::new(Arc::clone(self), id, actor, queue)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// Live queries, for the gateway. The port is open before there are any.
#[derive(Debug, Default)]
pub(crate) struct LiveWhenStarted(OnceLock<Arc<Live>>);

impl LiveWhenStarted {
    /// From now on there are live queries.
    pub(crate) fn start(&self, live: Arc<Live>) {
        // Started once.
        let _ = self.0.set(live);
    }
}

impl SubscriptionPort for LiveWhenStarted {
    fn open(&self, caller: Caller, queue: SendQueue) -> Box<dyn LiveConnection> {
        match self.0.get() {
            Some(live) => Box::new(live.open(caller, queue)),
            None => {
                queue.close(starting());
                Box::new(NotStarted)
            }
        }
    }
}

fn starting() -> Goodbye {
    Goodbye {
        code: ErrorCode::Overloaded,
        message: "the server is starting: try again in a moment".to_owned(),
        retry_after_ms: u64::try_from(STARTS_WITHIN.as_millis()).ok(),
    }
}
