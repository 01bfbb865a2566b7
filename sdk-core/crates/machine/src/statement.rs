//! Statements that the server is to run, as the machine has them in memory.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Position, SqlColumn, SqlDone, SqlFailed, SqlRows};
use protocol::ids::{RequestId, RequestNumber};
use protocol::value::{Row, Value, ValueRef};

use crate::violation::ProtocolViolation;

/// Numbers the statements of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(pub u64);

/// What the server is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlAsk {
    /// The statement.
    pub sql: String,
    /// A value for each `$n` of it.
    pub params: Vec<Value>,
    /// Under which the server keeps the answer of a write. Without one, a write that is cut may
    /// happen twice.
    pub request_id: Option<RequestId>,
    /// How long the answer is of use, in milliseconds; as long as the server likes without.
    pub timeout_ms: Option<u32>,
}

/// What the server has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlAnswer {
    /// The columns; none of a statement that gives no rows.
    pub columns: Vec<SqlColumn>,
    /// The rows, each with a value for each column.
    pub rows: Vec<Row>,
    /// How many rows were written, by a statement that writes.
    pub rows_affected: Option<u64>,
    /// Up to where the lanes that were read or written had come.
    pub positions: Vec<Position>,
}

/// Most bytes of an answer's rows: who wants more asks for a part at a time.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A statement without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) ask: SqlAsk,
    /// By which number it is under way on this connection.
    pub(crate) request: Option<RequestNumber>,
    columns: Vec<SqlColumn>,
    rows: Vec<Row>,
    bytes: usize,
}

/// All statements without an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statements {
    pub(crate) open: BTreeMap<StatementId, Statement>,
    last_id: u64,
    /// Those under way on this connection, also when nobody waits for them any more.
    under_way: BTreeMap<RequestNumber, StatementId>,
    last_request: u64,
}

/// How a statement has ended.
pub(crate) type Ended = (StatementId, Result<SqlAnswer, SqlFailed>);

impl Statements {
    pub(crate) fn add(&mut self, ask: SqlAsk) -> StatementId {
        self.last_id += 1;
        let id = StatementId(self.last_id);
        let (columns, rows) = (Vec::new(), Vec::new());
        self.open.insert(id, Statement { ask, request: None, columns, rows, bytes: 0 });
        id
    }

    /// There is another connection: on it nothing is under way.
    pub(crate) fn begin_anew(&mut self) {
        self.under_way.clear();
        self.last_request = 0;
        for statement in self.open.values_mut() {
            statement.restart();
        }
    }

    /// The next statement to be sent, with its number.
    pub(crate) fn next_to_send(&mut self, at_once_max: usize) -> Option<(RequestNumber, SqlAsk)> {
        if self.under_way.len() >= at_once_max {
            return None;
        }
        let unsent = |(_, statement): &(_, &mut Statement)| statement.request.is_none();
        let (id, statement) = self.open.iter_mut().find(unsent)?;
        self.last_request += 1;
        let request = RequestNumber(self.last_request);
        statement.request = Some(request);
        self.under_way.insert(request, *id);
        Some((request, statement.ask.clone()))
    }

    fn answered(&self, request: RequestNumber) -> Result<Option<StatementId>, ProtocolViolation> {
        if request.0 == 0 || request.0 > self.last_request {
            return Err(ProtocolViolation::Request(request));
        }
        // Without one it was answered before, or nobody waits for it.
        Ok(self.under_way.get(&request).copied())
    }

    /// Some rows of an answer. Says whether that was too much of it.
    pub(crate) fn rows(
        &mut self,
        request: RequestNumber,
        rows: SqlRows,
    ) -> Result<Option<Ended>, ProtocolViolation> {
        let Some(id) = self.answered(request)? else { return Ok(None) };
        let Some(statement) = self.open.get_mut(&id) else { return Ok(None) };
        statement.bytes += rows.rows.iter().map(bytes).sum::<usize>();
        if !rows.columns.is_empty() {
            statement.columns = rows.columns;
        }
        statement.rows.extend(rows.rows);
        if statement.bytes <= ANSWER_BYTES_MAX {
            return Ok(None);
        }
        self.open.remove(&id);
        let message = format!(
            "the answer has more than {ANSWER_BYTES_MAX} bytes: ask for a part of it at a time"
        );
        let failed = SqlFailed { code: ErrorCode::TooLarge, message, retry_after_ms: None };
        Ok(Some((id, Err(failed))))
    }

    /// The end of an answer.
    pub(crate) fn done(
        &mut self,
        request: RequestNumber,
        done: SqlDone,
    ) -> Result<Option<Ended>, ProtocolViolation> {
        let Some(statement) = self.ended(request)? else { return Ok(None) };
        let (id, Statement { columns, rows, .. }) = statement;
        let SqlDone { rows_affected, positions } = done;
        Ok(Some((id, Ok(SqlAnswer { columns, rows, rows_affected, positions }))))
    }

    /// A statement failed.
    pub(crate) fn failed(
        &mut self,
        request: RequestNumber,
        failed: SqlFailed,
    ) -> Result<Option<Ended>, ProtocolViolation> {
        Ok(self.ended(request)?.map(|(id, _)| (id, Err(failed))))
    }

    fn ended(
        &mut self,
        request: RequestNumber,
    ) -> Result<Option<(StatementId, Statement)>, ProtocolViolation> {
        let Some(id) = self.answered(request)? else { return Ok(None) };
        self.under_way.remove(&request);
        Ok(self.open.remove(&id).map(|statement| (id, statement)))
    }
}

impl Statement {
    fn restart(&mut self) {
        self.request = None;
        self.columns = Vec::new();
        self.rows = Vec::new();
        self.bytes = 0;
    }
}

/// About how many bytes a row takes in memory.
fn bytes(row: &Row) -> usize {
    let value = |value: &Value| match value.as_ref() {
        ValueRef::Text(text) => text.len(),
        ValueRef::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    row.0.iter().map(|one| size_of::<Value>() + value(one)).sum()
}
