//! `SELECT`: planned and run by DataFusion, on rows that the engine streams.
//!
//! A statement gets one thread. There it opens each shard that it reads, once, and while they are
//! open it drives its plan to the end: so all that it reads of one lane is the lane at one moment,
//! the threads that serve the network never wait for a query, and nothing is left behind when it
//! ends, for whatever reason.
//!
//! | to find | look in |
//! | --- | --- |
//! | what is refused, and what parameters become | `select/prepare.rs` |
//! | tables and functions by name | `select/provider.rs`, `select/functions.rs` |
//! | one meaning of comparisons | `select/typed.rs` |
//! | what the engine evaluates itself | `select/pushdown.rs` |
//! | rows as batches, on demand | `select/scan.rs`, `select/types.rs` |
//! | what a plan may make on its way | `select/bounds.rs` |
//! | batches as an answer | `select/answer.rs` |
//! | what goes wrong, in words | `select/failure.rs` |
//! | expressions of `UPDATE` and the like | `select/row.rs` |

mod answer;
mod bounds;
mod failure;
mod functions;
mod prepare;
mod provider;
mod pushdown;
mod row;
mod scan;
mod typed;
pub(crate) mod types;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{
    SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use protocol::error_code::ErrorCode;
use protocol::ids::Lane;
use server_engine::{Actor, Time, View};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use self::answer::{Limits, Rows};
use self::bounds::Texts;
use self::provider::{Names, Tables};
pub(crate) use self::row::{RowCondition, RowExpression};
use self::scan::{Asked, Scan, Scans};
use crate::error::SqlError;
use crate::limits::{ANSWER_COLUMNS_MAX, TOLD_WITHIN};
use crate::ports::{LiveQueries, ShardError, Shards};
use crate::request::{Answer, Param};
use crate::settings::Settings;

/// Rows of a batch within a plan.
const BATCH_ROWS: usize = 1_024;

/// The same where a row may be long. Operators gather so many rows, whatever their bytes.
const LONG_BATCH_ROWS: usize = 64;

/// How many SELECTs may wait for each one that runs.
const WAITING_PER_RUNNING: usize = 8;

/// When to ask again where too many wait.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How often a shard is asked whether it has heard of a table by now.
const TOLD_POLL: Duration = Duration::from_millis(2);

/// All that a SELECT needs, once per server.
pub(crate) struct Select {
    state: Arc<SessionState>,
    /// The same for plans whose rows may be long.
    long: Arc<SessionState>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    limits: Limits,
    joined_rows_max: usize,
    pushes_down: bool,
    pub(crate) live: Arc<dyn LiveQueries>,
}

impl Select {
    /// # Errors
    /// `internal` when the settings leave no memory to run anything in.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SqlError> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(settings.memory_bytes_max)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let state = |batch_rows| {
            let builder = SessionStateBuilder::new()
                .with_config(config(batch_rows))
                .with_runtime_env(Arc::clone(&runtime))
                .with_default_features();
            Arc::new(builder.build())
        };
        let running = settings.selects_max.max(1);
        Ok(Self {
            state: state(BATCH_ROWS),
            long: state(LONG_BATCH_ROWS),
            running: Arc::new(Semaphore::new(running)),
            waiting: AtomicUsize::new(0),
            waiting_max: running.saturating_mul(WAITING_PER_RUNNING),
            limits: Limits { rows: settings.answer_rows_max, bytes: settings.answer_bytes_max },
            joined_rows_max: settings.joined_rows_max,
            pushes_down: true,
            live: Arc::new(()),
        })
    }

    /// Runs a query.
    ///
    /// # Errors
    /// [`SqlError`].
    ///
    /// # Cancel safety
    /// What it does for the answer ends soon after its future was dropped.
    pub(crate) async fn run(
        &self,
        shards: &Arc<dyn Shards>,
        actor: &Actor,
        query: ast::Query,
        params: &[Param],
        now: Time,
        deadline: Instant,
    ) -> Result<Answer, SqlError> {
        let query = prepare::query(query, params)?;
        let permit = self.permit(deadline).await?;
        // Its end tells the thread that nobody waits any more.
        let (waits, gone) = oneshot::channel::<()>();
        let statement = Statement {
            state: Arc::clone(&self.state),
            long: Arc::clone(&self.long),
            texts: Texts::default(),
            parser_options: self.parser_options(),
            pushes_down: self.pushes_down,
            shards: Arc::clone(shards),
            live: Arc::clone(&self.live),
            actor: actor.clone(),
            now,
            deadline,
            limits: self.limits,
            joined_rows_max: self.joined_rows_max,
            handle: Handle::current(),
            _permit: permit,
        };
        let answered = crate::running::on_another_thread(move || statement.run(query, gone)).await;
        drop(waits);
        answered
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, SqlError> {
        let running = Arc::clone(&self.running);
        if let Ok(permit) = Arc::clone(&running).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.before >= self.waiting_max {
            return Err(overloaded());
        }
        match tokio::time::timeout_at(deadline, running.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(overloaded()),
        }
    }

    /// The same, with every condition left to DataFusion.
    #[cfg(feature = "testing")]
    pub(crate) fn without_push_down(self) -> Self {
        Self { pushes_down: false, ..self }
    }

    fn parser_options(&self) -> ParserOptions {
        ParserOptions::new().with_map_string_types_to_utf8view(false)
    }
}

fn config(batch_rows: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_information_schema(false)
        .with_batch_size(batch_rows)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.optimizer.enable_round_robin_repartition = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    // The metadata of a field is ours, and need not be the same on both sides of a plan.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}

/// One who waits, counted as long as he does.
struct Waiting<'a> {
    all: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(all: &'a AtomicUsize) -> Self {
        Self { all, before: all.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A query on its thread.
struct Statement {
    state: Arc<SessionState>,
    long: Arc<SessionState>,
    texts: Texts,
    parser_options: ParserOptions,
    pushes_down: bool,
    shards: Arc<dyn Shards>,
    live: Arc<dyn LiveQueries>,
    actor: Actor,
    now: Time,
    deadline: Instant,
    limits: Limits,
    joined_rows_max: usize,
    handle: Handle,
    _permit: OwnedSemaphorePermit,
}

/// A lane, and how its shard was when it was opened.
type Open<'v> = (Lane, View<'v>);

/// A plan, and what it reads.
struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    scans: Vec<Arc<Scan>>,
    asking: mpsc::UnboundedReceiver<Asked>,
}

impl Statement {
    fn run(&self, query: ast::Query, mut gone: oneshot::Receiver<()>) -> Result<Answer, SqlError> {
        let mut planned = self.plan(query)?;
        let mut lanes: Vec<Lane> = planned.scans.iter().map(|scan| scan.lane.clone()).collect();
        lanes.sort();
        lanes.dedup();
        let told_by = (Instant::now() + TOLD_WITHIN).min(self.deadline);
        loop {
            let mut answer = Ok(None);
            let mut look = |views: &[Open<'_>]| {
                answer = self.run_on(&mut planned, views, &mut gone);
            };
            with_views(&*self.shards, &lanes, &[], &mut look)?;
            if let Some(answer) = answer? {
                return Ok(answer);
            }
            self.wait_for_tables(&planned.scans, told_by, &mut gone)?;
        }
    }

    fn plan(&self, query: ast::Query) -> Result<Planned, SqlError> {
        let catalog = self.shards.catalog();
        let (scans, asking) = Scans::new();
        let tables = Tables {
            catalog: &catalog,
            live: &*self.live,
            actor: &self.actor,
            scans: Arc::clone(&scans),
            pushes_down: self.pushes_down,
        };
        let names = Names { state: &self.state, texts: &self.texts, tables: Some(tables) };
        let planner = SqlToRel::new_with_options(&names, self.parser_options);
        let plan = planner.sql_statement_to_plan(ast::Statement::Query(Box::new(query)))?;
        if plan.schema().fields().len() > ANSWER_COLUMNS_MAX {
            return Err(SqlError::too_large(format!(
                "an answer has at most {ANSWER_COLUMNS_MAX} columns: name those that are wanted"
            )));
        }
        bounds::check_subqueries(&plan)?;
        let tags = Cell::new(0);
        let (user, texts) = (&self.actor.user, &self.texts);
        let fixed = typed::Fixed { now: self.now, user, tags: &tags, texts };
        let plan = self.state.optimize(&typed::plan(plan, fixed)?)?;
        let state = if bounds::has_long_rows(&plan)? { &self.long } else { &self.state };
        let planner = state.query_planner();
        let plan = self.handle.block_on(planner.create_physical_plan(&plan, &**state))?;
        let plan = bounds::bound_joins(plan, self.joined_rows_max, self.deadline, &self.texts)?;
        Ok(Planned { plan, context: state.task_ctx(), scans: scans.all(), asking })
    }

    /// Runs the plan on the shards as they are shown; `None` when one has not heard of a table.
    fn run_on(
        &self,
        planned: &mut Planned,
        views: &[Open<'_>],
        gone: &mut oneshot::Receiver<()>,
    ) -> Result<Option<Answer>, SqlError> {
        for scan in &planned.scans {
            let view = views.iter().find(|(lane, _)| *lane == scan.lane);
            if let Some((_, view)) = view
                && !scan.is_known(view)?
            {
                return Ok(None);
            }
        }
        let batches = execute_stream(Arc::clone(&planned.plan), Arc::clone(&planned.context))?;
        self.handle.block_on(self.drive(batches, views, &mut planned.asking, gone)).map(Some)
    }

    async fn drive(
        &self,
        mut batches: SendableRecordBatchStream,
        views: &[Open<'_>],
        asking: &mut mpsc::UnboundedReceiver<Asked>,
        gone: &mut oneshot::Receiver<()>,
    ) -> Result<Answer, SqlError> {
        let mut rows = Rows::new(&batches.schema(), self.limits);
        loop {
            if Instant::now() >= self.deadline {
                return Err(timeout());
            }
            self.texts.clear();
            tokio::select! {
                biased;
                _ = &mut *gone => return Err(ended()),
                () = tokio::time::sleep_until(self.deadline) => return Err(timeout()),
                Some(asked) = asking.recv() => asked.serve(views),
                batch = batches.next() => match batch {
                    Some(batch) => rows.push(&batch?)?,
                    None => return Ok(rows.finish()),
                },
            }
        }
    }

    /// Waits a moment for a shard to hear of a table that was created just before.
    fn wait_for_tables(
        &self,
        scans: &[Arc<Scan>],
        told_by: Instant,
        gone: &mut oneshot::Receiver<()>,
    ) -> Result<(), SqlError> {
        let catalog = self.shards.catalog();
        if scans.iter().any(|scan| catalog.table(scan.table).is_none()) {
            return Err(SqlError::new(
                ErrorCode::NotFound,
                "a table of the query was dropped while it began: look what there is",
            ));
        }
        if Instant::now() >= told_by {
            return Err(ShardError::Unavailable.into());
        }
        self.handle.block_on(async {
            tokio::select! {
                _ = gone => Err(ended()),
                () = tokio::time::sleep(TOLD_POLL) => Ok(()),
            }
        })
    }
}

/// Shows all of `lanes` at once, each as it is when it is opened, behind those that are open.
fn with_views(
    shards: &dyn Shards,
    lanes: &[Lane],
    open: &[Open<'_>],
    look: &mut dyn FnMut(&[Open<'_>]),
) -> Result<(), ShardError> {
    let Some((lane, others)) = lanes.split_first() else {
        look(open);
        return Ok(());
    };
    let mut opened = Ok(());
    shards.read(lane, &mut |view| {
        let mut views: Vec<Open<'_>> = Vec::with_capacity(open.len() + 1);
        views.extend(open.iter().map(|(lane, view)| (lane.clone(), *view)));
        views.push((lane.clone(), view));
        opened = with_views(shards, others, &views, look);
    })?;
    opened
}

fn timeout() -> SqlError {
    SqlError::new(
        ErrorCode::Timeout,
        "the query took too long: add LIMIT or a WHERE on the key or an index, or try again",
    )
}

fn overloaded() -> SqlError {
    let mut error = SqlError::new(
        ErrorCode::Overloaded,
        "too many queries run at the moment: try again in a moment",
    );
    error.retry_after = Some(RETRY_AFTER);
    error
}

/// Nobody sees it: whoever asked is gone, or has an error already.
fn ended() -> SqlError {
    SqlError::new(ErrorCode::Internal, "the query was given up")
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("limits", &self.limits).finish_non_exhaustive()
    }
}
