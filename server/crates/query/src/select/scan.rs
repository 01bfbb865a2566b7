//! Reading rows of a shard for a plan that runs.
//!
//! A plan asks for one batch after another, each from where the last one ended, and whoever holds
//! the shards as they were when the statement began answers ([`serve`]).

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use protocol::ids::{Birth, ColumnId, Lane, SchemaVersion, TableId};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::TableSchema;
use protocol::value::ColumnType;
use server_engine::{Query, ReadError, RowView, Scanned, View};
use tokio::sync::{mpsc, oneshot};

use super::failure::through;
use super::types::Builders;
use crate::error::SqlError;
use crate::path::{Path, path};

/// Rows of the first batch. A query that wants few rows should cost few.
const FIRST_ROWS: usize = 16;

/// About how many bytes of a batch: a row may have half a megabyte.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most rows that are looked at before the clock is.
const EXAMINED_MAX: usize = 4_096;

/// What a plan reads of one table.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) lane: Lane,
    pub(super) table: TableId,
    /// The table as the query means it.
    version: SchemaVersion,
    arrow: SchemaRef,
    columns: Vec<(ColumnId, ColumnType)>,
    path: Path,
    query: Query,
    /// What the engine is not asked, since it takes no predicate of this size.
    rest: Vec<Predicate>,
}

/// How far a scan has come.
#[derive(Clone, Copy, Debug)]
enum At {
    Key(usize),
    After(Option<Birth>),
    End,
}

/// A plan asks for the next batch of a scan.
#[derive(Debug)]
pub(super) struct Asked {
    scan: Arc<Scan>,
    at: At,
    rows: usize,
    answer: oneshot::Sender<Result<(RecordBatch, At), DataFusionError>>,
}

/// The scans of a statement, as it is planned.
#[derive(Debug)]
pub(super) struct Scans {
    asked: mpsc::UnboundedSender<Asked>,
    all: Mutex<Vec<Arc<Scan>>>,
}

impl Scans {
    /// None yet; and where they will ask.
    pub(super) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Asked>) {
        let (asked, asking) = mpsc::unbounded_channel();
        (Arc::new(Self { asked, all: Mutex::default() }), asking)
    }

    pub(super) fn all(&self) -> Vec<Arc<Scan>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rows of `schema` in `lane` that meet all of `predicates`, with the columns at `places`.
    pub(super) fn add(
        &self,
        schema: &TableSchema,
        lane: &Lane,
        arrow: SchemaRef,
        places: &[usize],
        predicates: Vec<Predicate>,
    ) -> Arc<Scan> {
        let columns = places.iter().filter_map(|place| schema.columns.get(*place));
        let all = Predicate::And(predicates);
        let path = path(schema, &all);
        let (predicate, rest) = match (all.check(schema), all) {
            (Ok(()), all) => (all, Vec::new()),
            (Err(_), Predicate::And(parts)) => (Predicate::Constant(Truth::True), parts),
            (Err(_), other) => (Predicate::Constant(Truth::True), vec![other]),
        };
        let range = match &path {
            Path::Range(range) => range.clone(),
            Path::Keys(_) => server_engine::ScannedRange::Partition,
        };
        let scan = Arc::new(Scan {
            lane: lane.clone(),
            table: schema.id,
            version: schema.version,
            arrow,
            columns: columns.map(|column| (column.id, column.column_type)).collect(),
            path,
            query: Query { table: schema.id, range, predicate },
            rest,
        });
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&scan));
        scan
    }

    /// The rows of a scan, up to `limit`, each batch when it is wanted.
    pub(super) fn stream(&self, scan: Arc<Scan>, limit: Option<usize>) -> Arc<dyn PartitionStream> {
        Arc::new(Lazy { scan, limit, asked: self.asked.clone() })
    }
}

#[derive(Debug)]
struct Lazy {
    scan: Arc<Scan>,
    limit: Option<usize>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl PartitionStream for Lazy {
    fn schema(&self) -> &SchemaRef {
        &self.scan.arrow
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reading = Reading {
            at: self.scan.start(),
            scan: Arc::clone(&self.scan),
            asked: self.asked.clone(),
            rows: FIRST_ROWS,
            rows_max: context.session_config().batch_size(),
            left: self.limit,
        };
        let batches = futures::stream::try_unfold(reading, Reading::next);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.scan.arrow), batches))
    }
}

/// A scan on its way.
struct Reading {
    scan: Arc<Scan>,
    asked: mpsc::UnboundedSender<Asked>,
    at: At,
    rows: usize,
    rows_max: usize,
    left: Option<usize>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>, DataFusionError> {
        loop {
            if matches!(self.at, At::End) || self.left == Some(0) {
                return Ok(None);
            }
            let rows = self.left.map_or(self.rows, |left| left.min(self.rows));
            let (answer, answered) = oneshot::channel();
            let asked = Asked { scan: Arc::clone(&self.scan), at: self.at, rows, answer };
            let ended = || through(super::ended());
            self.asked.send(asked).map_err(|_| ended())?;
            let (batch, at) = answered.await.map_err(|_| ended())??;
            self.at = at;
            self.rows = (self.rows * 4).min(self.rows_max);
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(batch.num_rows());
            }
            if batch.num_rows() > 0 {
                return Ok(Some((batch, self)));
            }
        }
    }
}

impl Asked {
    /// Answers from the shards as `views` show them.
    pub(super) fn serve(self, views: &[(Lane, View<'_>)]) {
        let view = views.iter().find(|(lane, _)| *lane == self.scan.lane);
        let answer = match view {
            Some((_, view)) => self.scan.read(view, self.at, self.rows),
            None => Err(super::failure::internal("lane")),
        };
        // Nobody waits for it when the plan has enough.
        let _ = self.answer.send(answer.map_err(through));
    }
}

impl Scan {
    fn start(&self) -> At {
        match &self.path {
            Path::Keys(_) => At::Key(0),
            Path::Range(_) => At::After(None),
        }
    }

    /// Whether the shard has heard of the table as the query means it.
    pub(super) fn is_known(&self, view: &View<'_>) -> Result<bool, ReadError> {
        match view.table(&self.lane, self.table) {
            Ok(table) => Ok(table.schema().version >= self.version),
            Err(ReadError::TableUnknown) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn read(&self, view: &View<'_>, at: At, rows: usize) -> Result<(RecordBatch, At), SqlError> {
        let types = self.columns.iter().map(|(_, column_type)| *column_type);
        let mut builders = Builders::new(Arc::clone(&self.arrow), types);
        let at = match (at, &self.path) {
            (At::Key(from), Path::Keys(keys)) => {
                self.read_keys(view, keys, from, rows, &mut builders)?
            }
            (At::After(after), _) => self.read_range(view, after, rows, &mut builders)?,
            _ => At::End,
        };
        Ok((builders.finish()?, at))
    }

    fn read_keys(
        &self,
        view: &View<'_>,
        keys: &[protocol::value::Row],
        from: usize,
        rows: usize,
        builders: &mut Builders,
    ) -> Result<At, SqlError> {
        let table = view.table(&self.lane, self.table)?;
        for (at, key) in keys.iter().enumerate().skip(from) {
            if builders.rows >= rows || builders.bytes >= BATCH_BYTES_MAX {
                return Ok(At::Key(at));
            }
            let Some((_, image)) = view.row(&self.lane, self.table, key)? else { continue };
            let row = image.view(table).map_err(ReadError::from)?;
            let holds = self.query.predicate.evaluate(&|column| row.get(column)).is_true();
            if holds && self.rest_holds(&row) {
                self.push(builders, &row)?;
            }
        }
        Ok(At::End)
    }

    fn read_range(
        &self,
        view: &View<'_>,
        after: Option<Birth>,
        rows: usize,
        builders: &mut Builders,
    ) -> Result<At, SqlError> {
        let mut failed = None;
        let mut visit = |scanned: Scanned<'_>| {
            if self.rest_holds(&scanned.row)
                && let Err(error) = self.push(builders, &scanned.row)
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            if builders.rows >= rows || builders.bytes >= BATCH_BYTES_MAX {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let next = view.scan(&self.lane, &self.query, after, EXAMINED_MAX, &mut visit)?;
        match failed {
            Some(error) => Err(error),
            None => Ok(next.map_or(At::End, |birth| At::After(Some(birth)))),
        }
    }

    fn rest_holds(&self, row: &RowView<'_>) -> bool {
        self.rest.iter().all(|part| part.evaluate(&|column| row.get(column)).is_true())
    }

    fn push(&self, builders: &mut Builders, row: &RowView<'_>) -> Result<(), SqlError> {
        builders.push(self.columns.iter().map(|(column, _)| row.get(*column)))
    }
}
