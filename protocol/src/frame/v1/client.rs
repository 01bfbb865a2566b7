//! What a client sends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sql::Sql;
use crate::bounded;
use crate::ids::{
    Basis, Birth, ClientId, ContentHash, Epoch, Floor, Lane, MutationNumber, RequestNumber,
    SchemaHash, SeqId,
};
use crate::limits::{
    CONNECTION_LANES_MAX, CONNECTION_SUBSCRIPTIONS_MAX, MUTATIONS_MAX, OFFERED_VERSIONS_MAX,
    SQL_PARAMS_MAX,
};
use crate::mutation::{Mutation, MutationDigest};
use crate::value::Value;

/// A frame from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFrame {
    /// Begins a connection.
    Hello(Hello),
    /// A new token of the same user, before the old one expires.
    Token(Token),
    /// Begins a subscription.
    Subscribe(Subscribe),
    /// Ends a subscription. Frames of it that are under way may still arrive.
    Unsubscribe(Unsubscribe),
    /// Makes the window of a subscription wider.
    LoadOlder(LoadOlder),
    /// Asks how the rows of a subscription are at the server.
    Digest(AskDigest),
    /// Asks where the lanes are that are subscribed to.
    Sync(AskSync),
    /// Has a statement run.
    Sql(Sql),
    /// The client writes in a lane, or has to hear anew what was decided of what it wrote there.
    OpenLane(OpenLane),
    /// What the client has written.
    Mutate(Box<Mutate>),
}

impl ClientFrame {
    /// The names of all of them on the wire.
    pub(super) const NAMES: &[&str] = &[
        "hello",
        "token",
        "subscribe",
        "unsubscribe",
        "load_older",
        "digest",
        "sync",
        "sql",
        "open_lane",
        "mutate",
    ];
}

/// The first frame of a connection: who it is, and where it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions of the protocol that the client speaks.
    #[serde(deserialize_with = "bounded::vec::<_, _, OFFERED_VERSIONS_MAX>")]
    pub versions: Vec<u16>,
    /// Says who it is.
    pub token: Token,
    /// Which replica it is.
    pub client: ClientId,
    /// The lanes in which it holds something, or has written something, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_LANES_MAX>")]
    pub lanes: Vec<LaneCursor>,
    /// What it subscribes to, with what it holds of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_SUBSCRIPTIONS_MAX>")]
    pub subscriptions: Vec<Subscribe>,
    /// The lanes in which it has written something of which it does not know what became, or has not
    /// confirmed it, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_LANES_MAX>")]
    pub writers: Vec<LaneWriter>,
    /// Which description of tables it holds, if it has one that it understands wholly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaHash>,
    /// The number that the application gives its own code; 0 is none. A server may not serve old ones.
    #[serde(default, skip_serializing_if = "is_none")]
    pub app_version: u32,
}

/// Who somebody is, as the issuer of tokens has signed it. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where a client is in a lane: everything that concerns its subscriptions is applied up to there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCursor {
    /// The lane.
    pub lane: Lane,
    /// The epoch in which it is there.
    pub epoch: Epoch,
    /// The SeqId.
    pub since_seq: SeqId,
    /// How many connections in a row have begun to catch up and were cut before the end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// A subscription: `SELECT columns FROM table WHERE condition`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Numbers the subscribes of a connection, so that frames which were meant for an earlier one
    /// to the same query are known.
    pub request: RequestNumber,
    /// The SQL.
    pub sql: String,
    /// A value for each `$n` of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, SQL_PARAMS_MAX>")]
    pub params: Vec<Value>,
    /// How many rows it wants to have in all, the last born ones; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_last: Option<u64>,
    /// Most rows of one batch; as the server likes without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_rows: Option<u32>,
    /// What the client holds of it, as of its cursor in the lane; only in [`Hello`], which has the
    /// cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What a client holds of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it meant when it was loaded.
    pub basis: Basis,
    /// Down to where it is loaded.
    pub floor: Floor,
    /// How many of the wanted rows are not loaded yet; absent exactly where
    /// [`Subscribe::fetch_last`] is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

/// Ends a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The number of the `subscribe` that began it.
    pub request: RequestNumber,
}

/// Makes the window of a subscription wider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadOlder {
    /// The number of the `subscribe` that began it.
    pub request: RequestNumber,
    /// How many more rows.
    pub rows: u64,
}

/// Asks where the lanes are in which the connection has a subscription. It is answered by a `synced`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskSync {
    /// To tell the answers apart.
    pub request: RequestNumber,
}

/// Asks for the digest of a part of a subscription. It is answered by a `digest` between the commits of
/// the lane, as long as the subscription lasts. Of several that wait only the last is answered, and none
/// of a table with a TTL, whose rows go at another time on each end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskDigest {
    /// The number of the `subscribe` that began it.
    pub request: RequestNumber,
    /// Of rows that were born before; without, of the last born ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Birth>,
}

/// Who writes in a lane. Its decisions come with the lane's commits, and those that are kept with the
/// lane's next `frontier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneWriter {
    /// The lane.
    pub lane: Lane,
    /// The identity under which its mutations there are numbered.
    pub client: ClientId,
    /// Up to where it knows the decisions, also after a power cut.
    pub confirmed: MutationNumber,
}

/// Opens a lane for writing on a connection that is there, also one that is open: then its `frontier`
/// comes once more, as of later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLane {
    /// Who writes.
    pub writer: LaneWriter,
    /// The epoch that the client knows of the lane, and where it is; nothing before it has heard of
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<LaneAt>,
}

/// A place in a lane's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneAt {
    /// The epoch.
    pub epoch: Epoch,
    /// The SeqId.
    pub seq: SeqId,
}

/// Mutations of a client in a lane, in the order in which it wrote them. They have no answer of their
/// own: each is decided once, and that is told with the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutate {
    /// The lane. It was opened on this connection, by the same identity.
    pub lane: Lane,
    /// The identity under which they are numbered.
    pub client: ClientId,
    /// When that identity was drawn, in microseconds since 1970, UTC, by a server's clock.
    pub since: i64,
    /// The lane's epoch as the client knows it. In another one nothing is decided.
    pub epoch: Epoch,
    /// The number of the first; the others follow without a hole.
    pub first: MutationNumber,
    /// The chained hash before the first.
    pub previous: ContentHash,
    /// What was written.
    #[serde(deserialize_with = "bounded::vec::<_, _, MUTATIONS_MAX>")]
    pub mutations: Vec<Written>,
    /// Up to where the client knows the decisions, also after a power cut.
    pub confirmed: MutationNumber,
}

/// A mutation on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// To be decided.
    Mutation(Mutation),
    /// It was taken back before it was sent, and only takes its number, by its digest: a copy of the
    /// replica may send the mutation itself.
    Cancelled(MutationDigest),
}

impl Written {
    /// What the chained hash takes of it.
    pub fn digest(&self) -> MutationDigest {
        match self {
            Self::Mutation(mutation) => MutationDigest::of(mutation),
            Self::Cancelled(digest) => *digest,
        }
    }
}
