//! What a server sends.

use serde::{Deserialize, Serialize};

use super::schema::Schema;
use super::sql::{Position, SqlResult};
use crate::bounded;
use crate::codec;
use crate::error_code::ErrorCode;
use crate::ids::{
    Basis, Birth, ClientId, ColumnId, ContentHash, Epoch, Floor, Lane, MutationNumber, QueryNumber,
    RequestNumber, RowsSum, SeqId, TableId,
};
use crate::limits::{
    BATCH_ROWS_MAX, CHANGES_MAX, COLUMNS_MAX, CONNECTION_LANES_MAX, MUTATIONS_MAX, OPERATIONS_MAX,
};
use crate::mutation::Verdict;
use crate::predicate::Predicate;
use crate::schema::{TableSchema, is_false};
use crate::value::Row;

/// A frame from a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answers `hello`.
    Welcome(Welcome),
    /// Which tables there are for this user: behind `welcome`, and again when they change.
    Schema(Schema),
    /// Answers a `subscribe`. Frames of its query before this one are of an earlier subscription.
    Subscribed(Box<Subscribed>),
    /// Answers a `subscribe` that cannot be, or ends a subscription; or answers what the server
    /// does not know.
    Refused(Refused),
    /// The subscription is loaded anew from now on, and the rows that it has stay on screen.
    Reset(Reset),
    /// Rows of a load.
    InitialDataBatch(InitialDataBatch),
    /// How rows of a subscription are at the server.
    Digest(Digest),
    /// Answers `sync`.
    Synced(Synced),
    /// What a commit means for one query.
    Delta(Delta),
    /// A piece of what was missed. It becomes visible with the next `frontier` of its lane.
    CatchUp(CatchUp),
    /// All pieces of the lane are there, and it is live.
    Frontier(Frontier),
    /// Up to here there was nothing.
    Progress(Progress),
    /// What became of a mutation of this client: the last frame of its commit.
    Decided(Box<Decided>),
    /// Mutations were not decided, because this number comes first.
    Expected(Undecided),
    /// A mutation was not decided: its number was given to other content, or was confirmed before.
    Forked(Undecided),
    /// Mutations were not decided: the server cannot remember any more what it has decided of this
    /// identity.
    UnknownClient(Undecided),
    /// Mutations were not decided for now.
    RetryAfter(RetryAfter),
    /// Answers `sql`.
    SqlResult(SqlResult),
    /// The server ends the connection.
    Goodbye(Goodbye),
}

impl ServerFrame {
    /// The names of all of them on the wire.
    pub(super) const NAMES: &[&str] = &[
        "welcome",
        "schema",
        "subscribed",
        "refused",
        "reset",
        "initial_data_batch",
        "digest",
        "synced",
        "delta",
        "catch_up",
        "frontier",
        "progress",
        "decided",
        "expected",
        "forked",
        "unknown_client",
        "retry_after",
        "sql_result",
        "goodbye",
    ];

    /// The bytes of it, in no more memory than they need: they may wait for a client, and what
    /// waits is bounded by its length.
    ///
    /// # Panics
    /// See [`codec::encode`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        bytes.shrink_to_fit();
        bytes
    }
}

/// The answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the protocol that is spoken from now on.
    pub version: u16,
    /// The server's time, in microseconds since 1970, UTC.
    pub time: i64,
    /// The server sends something at least this often, in milliseconds. Who hears nothing for twice
    /// as long may take the connection for dead.
    pub silence_ms_max: u32,
    /// When the token expires, in milliseconds from now, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_ms: Option<u64>,
}

/// A subscription has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Which `subscribe` this answers.
    pub request: RequestNumber,
    /// What the query is called in frames. Two subscribes that mean the same get the same number.
    pub query: QueryNumber,
    /// The lane of its table.
    pub lane: Lane,
    /// What it means.
    pub basis: Basis,
    /// The table.
    pub table: TableSchema,
    /// The columns that rows carry, in their order; those of the primary key are among them.
    #[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")]
    pub columns: Vec<ColumnId>,
    /// Which rows it selects.
    pub predicate: Predicate,
}

/// Something cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which `subscribe`, by its number, also when it had been granted before. Rows that only that
    /// subscription holds leave the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestNumber>,
    /// What an application matches on.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// A subscription is loaded anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Which.
    pub query: QueryNumber,
}

/// Rows of a load: the matching rows of the lane's state at `seq` that were born before what was
/// loaded so far, down to `floor`. The load has ended when `floor` is 0, or when there were as many
/// rows as were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialDataBatch {
    /// The query.
    pub query: QueryNumber,
    /// What it is the state of. The lane's frontier is there now.
    pub seq: SeqId,
    /// Down to where the query is loaded now.
    pub floor: Floor,
    /// About how many rows are left below `floor`, whether they match or not.
    pub remaining: u64,
    /// The births of the rows, ascending.
    #[serde(deserialize_with = "bounded::vec::<_, _, BATCH_ROWS_MAX>")]
    pub births: Vec<Birth>,
    /// Their values, in the order of `births` and of the query's columns.
    #[serde(deserialize_with = "bounded::vec::<_, _, BATCH_ROWS_MAX>")]
    pub rows: Vec<Row>,
    /// When each expires, in microseconds since 1970, UTC; only where the table has a TTL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, BATCH_ROWS_MAX>")]
    pub expiries: Vec<i64>,
}

/// Where the lanes in which a connection has a subscription were when it asked, or later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Of the question.
    pub request: RequestNumber,
    /// None lies before anything that was acknowledged to anybody before the question came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_LANES_MAX>")]
    pub positions: Vec<Position>,
    /// The server does not know all of them now: ask again a little later.
    #[serde(default, skip_serializing_if = "is_false")]
    pub later: bool,
}

/// How many rows of a query were born from `floor` on and before `below` in the lane's state at `seq`,
/// and the sum over them: what a client compares with what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The query.
    pub query: QueryNumber,
    /// What it is the state of. The lane's frontier is there now.
    pub seq: SeqId,
    /// Down to where rows are counted; not below where the query is loaded.
    pub floor: Floor,
    /// As it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Birth>,
    /// How many rows there are.
    pub rows: u64,
    /// The sum over them: see [`RowsDigest`](crate::digest::RowsDigest).
    pub sum: RowsSum,
}

/// What a commit means for one query. A commit that concerns several is as many of these, with the
/// same positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Where the lane was at the client before this commit. If it was elsewhere, something is
    /// missing and the connection is of no use.
    pub previous: SeqId,
    /// The last change of the commit.
    pub seq: SeqId,
    /// Whether this was the commit's last; then all of it becomes visible at once.
    pub end: bool,
    /// The query.
    pub query: QueryNumber,
    /// What became of its rows, in order.
    #[serde(deserialize_with = "bounded::vec::<_, _, CHANGES_MAX>")]
    pub changes: Vec<RowChange>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowChange {
    /// The query has it: its birth, and the values of the query's columns.
    Row(Birth, Row),
    /// The same, with the time at which it expires, in microseconds since 1970, UTC.
    Expiring(Birth, Row, i64),
    /// It is there, and the query has it no more: its birth and primary key.
    Left(Birth, Row),
    /// It is not there any more: its birth and primary key.
    Deleted(Birth, Row),
}

impl RowChange {
    /// Which row it is about.
    pub fn birth(&self) -> Birth {
        match self {
            Self::Row(birth, _)
            | Self::Expiring(birth, ..)
            | Self::Left(birth, _)
            | Self::Deleted(birth, _) => *birth,
        }
    }
}

/// A piece of what was missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// The query.
    pub query: QueryNumber,
    /// What became of its rows, in order.
    #[serde(deserialize_with = "bounded::vec::<_, _, CHANGES_MAX>")]
    pub changes: Vec<RowChange>,
}

/// A lane is live, and here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    /// The lane.
    pub lane: Lane,
    /// Its epoch.
    pub epoch: Epoch,
    /// Where it is.
    pub seq: SeqId,
    /// What is known there of this client, where it has opened the lane for writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Box<WriterState>>,
}

/// What a server knows of a client's mutations in a lane at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterState {
    /// The identity under which they are numbered.
    pub client: ClientId,
    /// Up to where the client has confirmed the decisions; no other ones are kept.
    pub confirmed: MutationNumber,
    /// The chained hash after that one.
    pub confirmed_hash: ContentHash,
    /// The decisions behind it, in order, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, MUTATIONS_MAX>")]
    pub decisions: Vec<MutationDecision>,
    /// The rows that those mutations name, as they are at this moment. Of the newest ones first, and
    /// no more than fit the frame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, OPERATIONS_MAX>")]
    pub tables: Vec<TableNow>,
}

/// The answer to a mutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutationDecision {
    /// The mutation's number.
    pub number: MutationNumber,
    /// The chained hash after it.
    pub hash: ContentHash,
    /// Accepted, or why not.
    pub verdict: Verdict,
    /// Where the lane was right after it: with what was accepted, its last change.
    pub seq: SeqId,
}

/// Rows of a table as they are at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableNow {
    /// The table.
    pub table: TableId,
    /// The columns that the rows carry, in their order.
    #[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")]
    pub columns: Vec<ColumnId>,
    /// The rows.
    #[serde(deserialize_with = "bounded::vec::<_, _, CHANGES_MAX>")]
    pub rows: Vec<RowNow>,
}

/// A row as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowNow {
    /// Its birth and its values.
    Row(Birth, Row),
    /// The same, with the time at which it expires, in microseconds since 1970, UTC.
    Expiring(Birth, Row, i64),
    /// There is none with this primary key.
    Gone(Row),
}

/// What became of a mutation. It ends its commit: the deltas of it came before, with the same
/// positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The lane.
    pub lane: Lane,
    /// The identity under which the mutation is numbered.
    pub client: ClientId,
    /// Where the lane was at the client before this commit.
    pub previous: SeqId,
    /// Where it is after it: the same, where the mutation has changed nothing.
    pub seq: SeqId,
    /// The answer.
    pub decision: MutationDecision,
    /// The rows that the mutation names, as they are after it: no more than fit the frame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, OPERATIONS_MAX>")]
    pub tables: Vec<TableNow>,
}

/// Mutations of a lane that were not decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// The lane.
    pub lane: Lane,
    /// The identity under which they are numbered.
    pub client: ClientId,
    /// Of `expected`, the number that comes first; else the first that was not decided.
    pub number: MutationNumber,
}

/// Mutations of a lane that were not decided for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAfter {
    /// The lane.
    pub lane: Lane,
    /// The identity under which they are numbered.
    pub client: ClientId,
    /// Not to send them again before, in milliseconds.
    pub retry_after_ms: u64,
}

/// Nothing between where a lane was and here concerns this client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Lanes that have moved; none in a sign of life.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_LANES_MAX>")]
    pub lanes: Vec<LanePosition>,
}

/// A position in a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePosition(
    /// The lane.
    pub Lane,
    /// The position.
    pub SeqId,
);

/// The server ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// What an application matches on.
    pub code: ErrorCode,
    /// Why, and what to do, for people.
    pub message: String,
    /// Not to come back before, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
