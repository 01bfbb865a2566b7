//! Statements that the server runs, on this connection: what `POST /v1/sql` does.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::error_code::ErrorCode;
use crate::ids::{Epoch, Lane, RequestId, RequestNumber, SeqId};
use crate::limits::{COLUMNS_MAX, CONNECTION_LANES_MAX, SQL_PARAMS_MAX, SQL_RESULT_ROWS_MAX};
use crate::value::{ColumnType, Row, Value};

/// Asks the server to run a statement.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Sql {
    /// Numbers the statements of a connection; subscribes have numbers of their own.
    pub request: RequestNumber,
    /// The statement.
    pub sql: String,
    /// A value for each `$n` of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, SQL_PARAMS_MAX>")]
    pub params: Vec<Value>,
    /// What the client calls what it asks for, so that asking again has the effect of asking once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// How long the answer is of use, in milliseconds; as long as the server likes without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
}

/// The answer to a statement, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlResult {
    /// Which.
    pub request: RequestNumber,
    /// What came of it.
    pub outcome: SqlOutcome,
}

/// What came of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlOutcome {
    /// Some of its rows. More comes.
    Rows(SqlRows),
    /// That was all.
    Done(SqlDone),
    /// It failed. What came before is of no use.
    Failed(SqlFailed),
}

/// Rows of an answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlRows {
    /// The columns; in the first piece alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")]
    pub columns: Vec<SqlColumn>,
    /// The rows, each with a value for each column.
    #[serde(deserialize_with = "bounded::vec::<_, _, SQL_RESULT_ROWS_MAX>")]
    pub rows: Vec<Row>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlColumn {
    /// Its name, which need not be one of a table.
    pub name: String,
    /// The type of all its values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

/// The end of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlDone {
    /// How many rows were written, by a statement that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_affected: Option<u64>,
    /// Up to where the lanes that were read or written had come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, CONNECTION_LANES_MAX>")]
    pub positions: Vec<Position>,
}

/// A position in a lane, which a client can wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The lane.
    pub lane: Lane,
    /// Its history.
    pub epoch: Epoch,
    /// The last change of it that counts.
    pub seq: SeqId,
}

/// A statement failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlFailed {
    /// What an application matches on.
    pub code: ErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Not to ask again before, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

// These hold what users wrote: only how much of it there is may reach a log.

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql")
            .field("request", &self.request)
            .field("sql_bytes", &self.sql.len())
            .field("params", &self.params.len())
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SqlRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlRows")
            .field("columns", &self.columns)
            .field("rows", &self.rows.len())
            .finish()
    }
}
