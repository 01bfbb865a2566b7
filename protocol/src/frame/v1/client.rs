//! What a client sends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sql::Sql;
use crate::bounded;
use crate::ids::{Basis, ClientId, Epoch, Floor, Lane, RequestNumber, SeqId};
use crate::limits::{
    CONNECTION_LANES_MAX, CONNECTION_SUBSCRIPTIONS_MAX, OFFERED_VERSIONS_MAX, SQL_PARAMS_MAX,
};
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
    /// Has a statement run.
    Sql(Sql),
}

impl ClientFrame {
    /// The names of all of them on the wire.
    pub(super) const NAMES: &[&str] =
        &["hello", "token", "subscribe", "unsubscribe", "load_older", "sql"];
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
    /// The lanes in which it holds something, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_LANES_MAX>")]
    pub lanes: Vec<LaneCursor>,
    /// What it subscribes to, with what it holds of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_SUBSCRIPTIONS_MAX>")]
    pub subscriptions: Vec<Subscribe>,
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
