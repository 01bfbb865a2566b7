//! What the gateway needs of the rest of the server, in its own words: the wiring plugs the parts
//! in, and tests plug fakes in.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::frame::v1::{
    AskDigest, AskSync, LaneCursor, LaneWriter, LoadOlder, Mutate, OpenLane, Subscribe, Unsubscribe,
};
use protocol::ids::{Epoch, Lane, RequestId, SchemaHash, SeqId};
use protocol::literal::uuid_text;
use protocol::value::{ColumnType, Row, Value};
use tokio::time::Instant;

use crate::auth::{Caller, SigningKey};
use crate::error::SqlError;
use crate::socket::SendQueue;

/// One statement to run. Its debugging text has neither the SQL nor a value in it.
#[derive(Clone, PartialEq)]
pub struct SqlRequest {
    /// Who asks.
    pub caller: Caller,
    /// The statement.
    pub sql: String,
    /// What `$1`, `$2`, … stand for.
    pub params: Vec<Param>,
    /// What the client calls this request, so that it can ask again.
    pub request_id: Option<RequestId>,
    /// When the answer is of no use any more. Shortly behind it the call is given up.
    pub deadline: Instant,
}

/// The value of a parameter, before the type that it shall have is known.
#[derive(Clone, PartialEq, Eq)]
pub enum Param {
    /// No value.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A JSON number exactly as it was written, at most 1,024 characters.
    Number(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// By its text, so that it reads back exactly.
impl From<Value> for Param {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(number) => Self::Number(number.to_string()),
            Value::Double(number) => Self::Number(format!("{:?}", number.get())),
            Value::Text(text) => Self::Text(text.into_string()),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Uuid(uuid) => Self::Text(uuid_text(uuid)),
        }
    }
}

/// What a statement gave.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SqlAnswer {
    /// The columns of the rows; none when the statement is one that gives no rows.
    pub columns: Vec<SqlColumn>,
    /// The rows, each with one value a column, of the column's type.
    pub rows: Vec<Row>,
    /// How many rows were written, for a statement that writes.
    pub rows_affected: Option<u64>,
    /// Up to where the lanes that were read or written had come.
    pub positions: Vec<Position>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name, which need not be one of a table.
    pub name: String,
    /// The type of all its values.
    pub column_type: ColumnType,
}

/// A position in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The lane.
    pub lane: Lane,
    /// Its history.
    pub epoch: Epoch,
    /// The last change of it that counts.
    pub seq: SeqId,
}

/// What [`SqlPort::run`] gives back.
pub type SqlFuture<'a> = Pin<Box<dyn Future<Output = Result<SqlAnswer, SqlError>> + Send + 'a>>;

/// Runs statements.
pub trait SqlPort: Send + Sync + 'static {
    /// Runs one statement for an authenticated caller. The call is made inside of a span with the
    /// request's number, so what is logged there can be found by it.
    ///
    /// # Cancel safety
    /// The future is polled to its end also when the client has gone. It is dropped only behind
    /// the request's deadline and at the end of a shutdown that takes too long; the client is then
    /// told that the outcome is not known.
    fn run(&self, request: SqlRequest) -> SqlFuture<'_>;
}

/// How far the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// It is not there yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It cannot go on without help.
    Failed,
    /// It takes no more requests.
    Stopping,
}

/// Tells whether the server can do its work.
pub trait HealthPort: Send + Sync + 'static {
    /// How far the server has come. Is asked often, so it must not wait.
    fn readiness(&self) -> Readiness;
}

/// What the methods of a [`LiveConnection`] that may wait give back.
pub type LiveFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Serves live connections.
pub trait SubscriptionPort: Send + Sync + 'static {
    /// A client has said `hello`, and was welcomed. What is for it goes into `queue`, in order, and
    /// at most [`Limits::socket_queue_bytes_max`](crate::Limits) wait there. It ends when what is
    /// returned is dropped.
    fn open(&self, caller: Caller, queue: SendQueue) -> Box<dyn LiveConnection>;
}

/// A live connection, for who keeps its feeds. While a future is not ready, no further frame of the
/// client is read.
pub trait LiveConnection: Send + Sync {
    /// What `hello` said besides. Comes first, and once. Where `schema` is not how the tables are, they
    /// are described before anything else.
    fn resume(
        &self,
        lanes: Vec<LaneCursor>,
        subscriptions: Vec<Subscribe>,
        writers: Vec<LaneWriter>,
        schema: Option<SchemaHash>,
    ) -> LiveFuture<'_>;
    /// A subscription begins.
    fn subscribe(&self, subscribe: Subscribe) -> LiveFuture<'_>;
    /// A subscription ends.
    fn unsubscribe(&self, unsubscribe: Unsubscribe) -> LiveFuture<'_>;
    /// A window becomes wider.
    fn load_older(&self, load_older: LoadOlder) -> LiveFuture<'_>;
    /// The client compares what it has of a subscription.
    fn digest(&self, digest: AskDigest) -> LiveFuture<'_>;
    /// The client asks where its lanes are.
    fn sync(&self, sync: AskSync) -> LiveFuture<'_>;
    /// The client writes in a lane from now on, or has to hear anew what was decided there.
    fn open_lane(&self, open: OpenLane) -> LiveFuture<'_>;
    /// What the client has written, in a frame of so many bytes. Must not wait until it is decided:
    /// the next frame may be of another lane.
    fn mutate(&self, mutate: Mutate, bytes: usize) -> LiveFuture<'_>;
    /// More than half of what may wait did, and no more than half does now. Must not wait.
    fn drained(&self);
    /// A sign of life is due: a `progress` goes into the queue. Must not wait.
    fn progress(&self);
}

/// Tells the time, against which the expiry of tokens is held.
pub trait Clock: Send + Sync + 'static {
    /// The microseconds since 1970-01-01T00:00:00Z.
    fn now_micros(&self) -> i64;

    /// The seconds since 1970-01-01T00:00:00Z.
    fn now_seconds(&self) -> u64;
}

/// All of them, and the key of the tokens.
#[derive(Clone)]
pub struct Ports {
    /// Runs statements.
    pub sql: Arc<dyn SqlPort>,
    /// Serves live connections.
    pub subscriptions: Arc<dyn SubscriptionPort>,
    /// Knows whether the server is ready.
    pub health: Arc<dyn HealthPort>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Verifies tokens.
    pub key: SigningKey,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

// What follows holds what users wrote: only how much of it there is may reach a log.

impl fmt::Debug for SqlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlRequest")
            .field("caller", &self.caller)
            .field("sql_bytes", &self.sql.len())
            .field("params", &self.params)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Boolean(_) => "Boolean(_)",
            Self::Number(_) => "Number(_)",
            Self::Text(_) => "Text(_)",
            Self::Bytes(_) => "Bytes(_)",
        })
    }
}

impl fmt::Debug for SqlAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlAnswer")
            .field("columns", &self.columns.len())
            .field("rows", &self.rows.len())
            .field("rows_affected", &self.rows_affected)
            .field("positions", &self.positions)
            .finish()
    }
}
