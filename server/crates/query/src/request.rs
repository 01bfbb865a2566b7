use std::fmt;

use protocol::ids::{Epoch, Lane, RequestId, SeqId};
use protocol::value::{ColumnType, Row};
use server_engine::Actor;
use tokio::time::Instant;

/// A statement to run.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// Who asks.
    pub actor: Actor,
    /// One statement.
    pub sql: String,
    /// The values of `$1`, `$2`, ….
    pub params: Vec<Param>,
    /// Under which the answer of a write is kept, so that it can be asked for again.
    pub id: Option<RequestId>,
    /// When nobody waits any more.
    pub deadline: Instant,
}

/// The value of a parameter, before it has the type of what it is used for.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// `NULL`.
    Null,
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// A number as its text.
    Number(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What came of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What each value of a row is; empty when the statement gives no rows.
    pub columns: Vec<ResultColumn>,
    /// The rows.
    pub rows: Vec<Row>,
    /// How many rows a write has changed.
    pub rows_affected: Option<u64>,
    /// Where its write ended.
    pub positions: Vec<Position>,
}

impl Answer {
    pub(crate) fn written(rows: u64) -> Self {
        Self { rows_affected: Some(rows), ..Self::default() }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub column_type: ColumnType,
}

/// A position in a lane's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The lane.
    pub lane: Lane,
    /// The epoch of its history.
    pub epoch: Epoch,
    /// The last change.
    pub seq: SeqId,
}

// Neither the statement nor its values belong in a log.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("actor", &self.actor).finish_non_exhaustive()
    }
}
