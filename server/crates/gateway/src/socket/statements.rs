//! Statements on a live connection: what `POST /v1/sql` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::codec;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    Position, ServerFrame, Sql, SqlColumn, SqlDone, SqlFailed, SqlOutcome, SqlResult, SqlRows,
};
use protocol::ids::RequestNumber;
use protocol::limits::{
    COLUMNS_MAX, CONNECTION_LANES_MAX, CONNECTION_STATEMENTS_MAX, SERVER_FRAME_BYTES_MAX,
    SQL_RESULT_ROWS_MAX,
};
use protocol::value::{Row, Value};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::frames::said;
use super::send_queue::SendQueue;
use crate::auth::Caller;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::http::observe::without_panic;
use crate::http::sql::ask;
use crate::http::statement::{check_sql, too_many_params};
use crate::limits::{Limits, RESULT_PIECE_BYTES};
use crate::ports::{Param, SqlAnswer, SqlRequest};

/// Who waits for an answer, and by which number.
struct Asker {
    queue: SendQueue,
    request: RequestNumber,
}

/// How many statements of a connection run.
#[derive(Default)]
pub(super) struct Running {
    count: AtomicUsize,
    ended: Notify,
    /// Held by the one whose answer goes into the queue: so there is never more than a piece too
    /// much in there.
    answers: Mutex<()>,
}

impl Running {
    pub(super) fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Waits until one has ended since the last time.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }
}

/// One of them, for as long as it runs.
struct Run(Arc<Running>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_one();
    }
}

/// Runs a statement in a task of its own, which goes on when the client has gone: see
/// `http/sql.rs`.
pub(super) fn start(
    gateway: Arc<Gateway>,
    caller: Caller,
    queue: SendQueue,
    running: &Arc<Running>,
    sql: Sql,
) {
    let asker = Asker { queue, request: sql.request };
    let before = running.count.fetch_add(1, Ordering::AcqRel);
    let running = Run(Arc::clone(running));
    if before >= CONNECTION_STATEMENTS_MAX {
        asker.fail(Refusal::overloaded(
            "as many statements of this connection run as may: ask again when one has ended",
        ));
        return;
    }
    let Ok(place) = Arc::clone(&gateway.requests).try_acquire_owned() else {
        asker.fail(Refusal::overloaded(
            "as many requests are under way as are allowed: ask again shortly",
        ));
        return;
    };
    let number = gateway.numbers.next();
    let span = tracing::info_span!("request", number = &*number.0);
    let work = async move {
        let answered = without_panic(run(&gateway, caller, sql)).await;
        match answered.unwrap_or_else(|_| Err(Refusal::internal())) {
            Ok(answer) => {
                let _one = running.0.answers.lock().await;
                // It holds a place that others may want.
                let sent = timeout(gateway.limits.write_timeout, asker.answer(answer)).await;
                if sent.is_err() {
                    let told = "an answer was not taken in time: connect again, and ask for less";
                    asker.queue.close(said(ErrorCode::Timeout, told));
                }
            }
            Err(refusal) => asker.fail(refusal),
        }
        drop((place, running));
    };
    tokio::spawn(work.instrument(span));
}

async fn run(gateway: &Gateway, caller: Caller, sql: Sql) -> Result<SqlAnswer, Refusal> {
    let Sql { sql, params, request_id, timeout_ms, .. } = sql;
    check(&gateway.limits, &sql, &params)?;
    let longest = gateway.limits.statement_timeout;
    let wanted =
        timeout_ms.map_or(longest, |milliseconds| Duration::from_millis(milliseconds.into()));
    let deadline = Instant::now() + wanted.min(longest);
    let params = params.into_iter().map(Param::from).collect();
    let request = SqlRequest { caller, sql, params, request_id, deadline };
    ask(gateway, request, deadline).await
}

fn check(limits: &Limits, sql: &str, params: &[Value]) -> Result<(), Refusal> {
    check_sql(sql, limits)?;
    if params.len() > limits.params_max {
        return Err(too_many_params(limits));
    }
    Ok(())
}

impl Asker {
    fn fail(&self, refusal: Refusal) {
        let goodbye = refusal.goodbye();
        self.send(SqlOutcome::Failed(SqlFailed {
            code: goodbye.code,
            message: goodbye.message,
            retry_after_ms: goodbye.retry_after_ms,
        }));
    }

    fn send(&self, outcome: SqlOutcome) {
        let frame = ServerFrame::SqlResult(SqlResult { request: self.request, outcome });
        self.queue.push(frame.encode().into());
    }

    /// Sends an answer in pieces, each when there is room for it.
    async fn answer(&self, answer: SqlAnswer) {
        let SqlAnswer { columns, rows, rows_affected, positions } = answer;
        if columns.len() > COLUMNS_MAX {
            let told = format!("an answer has at most {COLUMNS_MAX} columns here: ask for fewer");
            return self.fail(Refusal::new(ErrorCode::TooLarge, told));
        }
        let column = |column: crate::ports::SqlColumn| SqlColumn {
            name: column.name,
            column_type: column.column_type,
        };
        let mut columns: Vec<_> = columns.into_iter().map(column).collect();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() || !columns.is_empty() {
            let Some(piece) = piece(&mut rows) else {
                let told = "a row of the answer is larger than a frame: ask for less of it";
                return self.fail(Refusal::new(ErrorCode::TooLarge, told));
            };
            if !self.queue.room().await {
                return;
            }
            let columns = std::mem::take(&mut columns);
            self.send(SqlOutcome::Rows(SqlRows { columns, rows: piece }));
        }
        let position =
            |at: crate::ports::Position| Position { lane: at.lane, epoch: at.epoch, seq: at.seq };
        let positions = positions.into_iter().take(CONNECTION_LANES_MAX).map(position).collect();
        self.send(SqlOutcome::Done(SqlDone { rows_affected, positions }));
    }
}

/// The next rows that make up a piece; `None` when one is too large for any.
fn piece(rows: &mut std::iter::Peekable<impl Iterator<Item = Row>>) -> Option<Vec<Row>> {
    let (mut piece, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.peek() {
        let size = codec::encode(row).len();
        if size > SERVER_FRAME_BYTES_MAX - RESULT_PIECE_BYTES {
            return None;
        }
        let is_full = bytes + size > RESULT_PIECE_BYTES || piece.len() >= SQL_RESULT_ROWS_MAX;
        if is_full && !piece.is_empty() {
            break;
        }
        bytes += size;
        piece.extend(rows.next());
    }
    Some(piece)
}
