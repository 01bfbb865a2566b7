//! Statements that the server is to run.
//!
//! One without an answer when a connection ends is sent again on the next one, under the same
//! request id, so what it does is done once.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, Sql, SqlFailed, SqlOutcome, SqlResult};
use protocol::limits::{CLIENT_FRAME_BYTES_MAX, CONNECTION_STATEMENTS_MAX, SQL_PARAMS_MAX};

use super::asking::bytes;
use super::{Machine, Phase};
use crate::check::Check;
use crate::event::AskError;
use crate::instruction::Instruction;
use crate::statement::{SqlAsk, StatementId};
use crate::violation::ProtocolViolation;

/// Most statements without an answer.
const STATEMENTS_MAX: usize = 1_000;

/// The most bytes of a statement and its parameters: a frame has it, with what is said about it.
const STATEMENT_BYTES_MAX: usize = CLIENT_FRAME_BYTES_MAX - 64 * 1024;

impl Machine {
    /// Has the server run a statement: now, or when there is a connection.
    /// [`Instruction::StatementEnded`] follows once, or [`Event::ForgetStatement`] comes first.
    ///
    /// # Errors
    /// [`AskError`].
    ///
    /// [`Event::ForgetStatement`]: crate::Event::ForgetStatement
    pub fn run(&mut self, ask: SqlAsk) -> Result<(StatementId, Vec<Instruction>), AskError> {
        if self.phase() == Phase::Closed {
            return Err(AskError::Closed);
        }
        if ask.params.len() > SQL_PARAMS_MAX {
            return Err(AskError::TooManyParameters(SQL_PARAMS_MAX));
        }
        if self.statements.open.len() >= STATEMENTS_MAX {
            return Err(AskError::TooManyStatements(STATEMENTS_MAX));
        }
        if bytes(&ask.sql, &ask.params) > STATEMENT_BYTES_MAX {
            return Err(AskError::StatementTooLarge(STATEMENT_BYTES_MAX));
        }
        let id = self.statements.add(ask);
        let mut out = Vec::new();
        self.send_statements(&mut out);
        Ok((id, out))
    }

    /// Sends what is not under way, as much of it as may be.
    pub(super) fn send_statements(&mut self, out: &mut Vec<Instruction>) {
        if self.phase() != Phase::Open {
            return;
        }
        while let Some((request, ask)) = self.statements.next_to_send(CONNECTION_STATEMENTS_MAX) {
            let SqlAsk { sql, params, request_id, timeout_ms } = ask;
            let frame = Sql { request, sql, params, request_id, timeout_ms };
            out.push(Instruction::Send(ClientFrame::Sql(frame)));
        }
    }

    pub(super) fn sql_result(
        &mut self,
        result: SqlResult,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let SqlResult { request, outcome } = result;
        let ended = match outcome {
            SqlOutcome::Rows(rows) => self.statements.rows(request, rows)?,
            SqlOutcome::Done(done) => self.statements.done(request, done)?,
            SqlOutcome::Failed(failed) => self.statements.failed(request, failed)?,
        };
        out.extend(ended.map(|(id, answer)| Instruction::StatementEnded(id, Box::new(answer))));
        self.send_statements(out);
        Ok(())
    }

    /// Nobody waits for the answer any more. What is under way goes on.
    pub(super) fn forget_statement(&mut self, id: StatementId) {
        self.statements.open.remove(&id);
    }

    /// Ends all of them: the client is closed.
    pub(super) fn end_statements(&mut self, out: &mut Vec<Instruction>) {
        for (id, _) in std::mem::take(&mut self.statements.open) {
            let failed = SqlFailed {
                code: ErrorCode::Timeout,
                message: "the client was closed before the answer came: a read can be repeated, a \
                          write may have happened, so repeat it under the same request id"
                    .to_owned(),
                retry_after_ms: None,
            };
            out.push(Instruction::StatementEnded(id, Box::new(Err(failed))));
        }
    }

    /// Goes on for a machine that was dropped because a step could not be applied: its statements,
    /// its attempts, of which something may still come, what servers have said of when to come
    /// again, and the numbers that it has given out become those of this one.
    pub fn take_over(&mut self, dropped: Self) {
        self.attempt = dropped.attempt;
        self.backoff = dropped.backoff;
        self.not_before = dropped.not_before;
        self.server = dropped.server;
        self.last_id = self.last_id.max(dropped.last_id);
        self.statements = dropped.statements;
        self.statements.begin_anew();
        self.syncs = dropped.syncs;
        self.syncs.begin_anew();
        self.checks = dropped.checks;
        self.checks.values_mut().for_each(Check::disconnect);
        self.checks.retain(|id, _| self.subscriptions.contains_key(id));
    }
}
