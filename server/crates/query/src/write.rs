//! Statements that write: planned from one look at the rows into guarded operations, and planned
//! again when a guard did not hold.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::ids::{Lane, RequestId, TableId, TenantId};
use protocol::limits::COMMIT_BYTES_MAX;
use protocol::mutation::Operation;
use protocol::schema::TableSchema;
use protocol::value::Value;
use server_engine::{Command, Outcome, ReadError, Request, View, Write};
use tokio::time::Instant;

use crate::error::SqlError;
use crate::latch::{Held, Latches};
use crate::limits::TOLD_WITHIN;
use crate::ports::{ShardError, Shards};
use crate::request::{Answer, Position};
use crate::running::{Running, on_another_thread, unexpected};
use crate::table::{Target, not_found};

/// What is done, and how many rows the statement says that it changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planned {
    pub(crate) operations: Vec<Operation>,
    pub(crate) rows: u64,
    /// About how many bytes of values it writes.
    pub(crate) bytes: usize,
}

/// About how many bytes a value takes in a commit.
pub(crate) fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Refuses what no commit holds, before it is all in memory: a parameter can be named for every
/// row.
pub(crate) fn expect_to_fit(bytes: usize) -> Result<(), SqlError> {
    if bytes <= COMMIT_BYTES_MAX {
        return Ok(());
    }
    Err(SqlError::too_large(format!(
        "the statement writes more than {COMMIT_BYTES_MAX} bytes, which is what a commit holds: \
         write fewer rows at once"
    )))
}

/// A statement that writes one table.
pub(crate) trait Plan: Send + Sync + 'static {
    /// What it does, where that does not depend on the rows.
    fn blind(&self) -> Option<Planned>;

    /// What it does, for the rows as they are.
    fn plan(&self, running: &Running, view: &View<'_>) -> Result<Planned, NotPlanned>;
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum NotPlanned {
    /// The statement fails.
    Failed(SqlError),
    /// The shard has not heard yet of the table as it is.
    NotTold,
}

impl From<SqlError> for NotPlanned {
    fn from(error: SqlError) -> Self {
        Self::Failed(error)
    }
}

impl From<ReadError> for NotPlanned {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TableUnknown => Self::NotTold,
            other => Self::Failed(other.into()),
        }
    }
}

/// Writes what statements plan.
#[derive(Debug)]
pub(crate) struct Writer {
    shards: Arc<dyn Shards>,
    latches: Latches<(TableId, Lane)>,
    /// Held while a request is being run.
    requests: Latches<(TenantId, RequestId)>,
}

impl Writer {
    pub(crate) fn new(shards: Arc<dyn Shards>) -> Self {
        Self { shards, latches: Latches::default(), requests: Latches::default() }
    }

    /// Waits until nobody runs the request of this statement any more: who asks again while the
    /// first try is still on its way would find no answer, and tell of a failure.
    pub(crate) async fn enter(
        &self,
        running: &Running,
    ) -> Result<Option<Held<'_, (TenantId, RequestId)>>, SqlError> {
        let Some((id, _)) = running.request else { return Ok(None) };
        let request = (running.actor.user.clone(), id);
        let entered = tokio::time::timeout_at(running.deadline, self.requests.take(&request)).await;
        entered.map(Some).map_err(|_| ShardError::Unknown.into())
    }

    /// Runs a statement until it was written or has failed.
    pub(crate) async fn write(
        &self,
        running: &Arc<Running>,
        target: &Target,
        plan: impl Plan,
    ) -> Result<Answer, SqlError> {
        let plan = Arc::new(plan);
        let partition = (target.schema.id, target.lane.clone());
        let line = tokio::time::timeout_at(running.deadline, self.latches.join(&partition));
        let mut held = match line.await {
            Ok(held) => held,
            Err(_) => return self.first_answer_of(running, target, timeout()).await,
        };
        loop {
            let planned = match plan.blind() {
                Some(planned) => planned,
                None => match self.plan(running, target, &plan).await {
                    Ok(planned) => planned,
                    Err(error) => return self.first_answer_of(running, target, error).await,
                },
            };
            if planned.operations.is_empty() && running.request.is_none() {
                return Ok(Answer::written(planned.rows));
            }
            if let Some(answer) = self.propose(running, target, planned).await? {
                return Ok(answer);
            }
            if running.is_late() {
                return self.first_answer_of(running, target, timeout()).await;
            }
            if held.is_none() {
                let line = tokio::time::timeout_at(running.deadline, self.latches.take(&partition));
                held = match line.await {
                    Ok(held) => Some(held),
                    Err(_) => return self.first_answer_of(running, target, timeout()).await,
                };
            }
        }
    }

    async fn plan(
        &self,
        running: &Arc<Running>,
        target: &Target,
        plan: &Arc<impl Plan>,
    ) -> Result<Planned, SqlError> {
        let told_by = (Instant::now() + TOLD_WITHIN).min(running.deadline);
        loop {
            let (shards, lane) = (Arc::clone(&self.shards), target.lane.clone());
            let (running, plan) = (Arc::clone(running), Arc::clone(plan));
            let (table, version) = (target.schema.id, target.schema.version);
            let planned = on_another_thread(move || {
                let mut planned = Err(NotPlanned::NotTold);
                shards.read(&lane, &mut |view| {
                    // Of a column that it has not heard of, a shard would say NULL.
                    let known = view.table(&lane, table);
                    if known.is_ok_and(|known| known.schema().version < version) {
                        return;
                    }
                    planned = plan.plan(&running, &view);
                })?;
                Ok(planned)
            });
            match planned.await? {
                Ok(planned) => return Ok(planned),
                Err(NotPlanned::Failed(error)) => return Err(error),
                Err(NotPlanned::NotTold) => self.wait_for_table(target, told_by).await?,
            }
        }
    }

    /// Waits a moment for a shard to hear of a table, or of its last change.
    async fn wait_for_table(&self, target: &Target, told_by: Instant) -> Result<(), SqlError> {
        if self.shards.catalog().table(target.schema.id).is_none() {
            return Err(not_found(&target.schema.name.to_string()));
        }
        if Instant::now() > told_by {
            return Err(ShardError::Unavailable.into());
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        Ok(())
    }

    async fn first_answer_of(
        &self,
        running: &Arc<Running>,
        target: &Target,
        error: SqlError,
    ) -> Result<Answer, SqlError> {
        let lanes = std::slice::from_ref(&target.lane);
        self.first_answer(running, lanes, Some(&target.schema), error).await
    }

    /// The answer to a request that was written before, to one of `lanes`, and is asked for again.
    /// A statement that fails now may have been written then, and is not reported as failed.
    pub(crate) async fn first_answer(
        &self,
        running: &Arc<Running>,
        lanes: &[Lane],
        schema: Option<&TableSchema>,
        error: SqlError,
    ) -> Result<Answer, SqlError> {
        let Some((id, hash)) = running.request else { return Err(error) };
        if error.code == ErrorCode::Unsupported {
            // So it was the first time.
            return Err(error);
        }
        for lane in lanes {
            self.let_go_before(running, lane).await?;
            let (shards, of) = (Arc::clone(&self.shards), lane.clone());
            let user = running.actor.user.clone();
            let kept = on_another_thread(move || {
                let mut kept = Ok(None);
                shards.read(&of, &mut |view| kept = view.answer(&of, &user, id))?;
                Ok(kept?)
            });
            if let Some((request, outcome)) = kept.await?
                && request.hash == hash
            {
                return Ok(answer(lane, schema, outcome)?.unwrap_or_default());
            }
        }
        Err(error)
    }

    /// Waits until all that was proposed before is decided: the first try of a request may still be
    /// in the log. A commit of nothing takes its place behind it.
    async fn let_go_before(&self, running: &Running, lane: &Lane) -> Result<(), SqlError> {
        let (lane, actor) = (lane.clone(), running.actor.clone());
        if running.is_late() {
            // The first try may have been written: to be asked again, and not final as the failure
            // would be.
            return Err(ShardError::Unknown.into());
        }
        let nothing = Write { lane, actor, operations: Vec::new(), request: None };
        self.shards.propose(Command::Write(nothing), running.deadline).await?;
        Ok(())
    }

    /// `None` when a guard did not hold.
    async fn propose(
        &self,
        running: &Running,
        target: &Target,
        planned: Planned,
    ) -> Result<Option<Answer>, SqlError> {
        let rows = planned.rows;
        let write = Write {
            lane: target.lane.clone(),
            actor: running.actor.clone(),
            operations: planned.operations,
            request: running.request.map(|(id, hash)| Request { id, hash, rows }),
        };
        let outcome = self.shards.propose(Command::Write(write), running.deadline).await?;
        let answer = answer(&target.lane, Some(&target.schema), outcome)?;
        Ok(answer.map(|answer| match running.request {
            Some(_) => answer,
            // Operations are counted, and one row may take two of them.
            None => Answer { rows_affected: Some(rows), ..answer },
        }))
    }
}

/// What the shard says of a write to `lane`; `None` when a guard did not hold.
fn answer(
    lane: &Lane,
    schema: Option<&TableSchema>,
    outcome: Outcome,
) -> Result<Option<Answer>, SqlError> {
    match outcome {
        Outcome::Written { epoch, seq, rows } => {
            let positions = vec![Position { lane: lane.clone(), epoch, seq }];
            Ok(Some(Answer { rows_affected: Some(rows), positions, ..Answer::default() }))
        }
        Outcome::GuardFailed => Ok(None),
        Outcome::Rejected(rejection) => {
            Err(SqlError::new(rejection.code(), rejection.describe(schema)))
        }
        Outcome::RequestReused => Err(SqlError::new(
            ErrorCode::Conflict,
            "this request_id was used for another statement: use a new one for each statement",
        )),
        other => Err(unexpected(&other)),
    }
}

/// Nothing was proposed yet.
pub(crate) fn timeout() -> SqlError {
    SqlError::new(
        ErrorCode::Timeout,
        "the statement took too long, and has changed nothing: narrow it, or try again",
    )
}
