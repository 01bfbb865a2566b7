//! What a plan may make of what it reads, where nothing of DataFusion counts it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use tokio::time::Instant;

use super::failure::through;
use crate::error::SqlError;
use crate::limits::{SUBQUERIES_NESTED_MAX, TEXT_BYTES_MAX, TEXTS_BYTES_MAX};

/// Bytes of text that expressions have made and that may still be there, by all of a statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts(Arc<AtomicUsize>);

impl Texts {
    /// One more of them.
    pub(super) fn add(&self, bytes: usize) -> Result<()> {
        let made = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if bytes <= TEXT_BYTES_MAX && made <= TEXTS_BYTES_MAX {
            return Ok(());
        }
        Err(through(SqlError::too_large(
            "the texts that are put together are too long: put fewer of them together",
        )))
    }

    /// What was made so far is gone, or bounded elsewhere.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

// A function is the same function whoever counts what it makes.
impl PartialEq for Texts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Texts {}

impl Hash for Texts {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Refuses subqueries that are too deep in each other.
pub(super) fn check_subqueries(plan: &LogicalPlan) -> Result<()> {
    if subqueries_nested(plan)? <= SUBQUERIES_NESTED_MAX {
        return Ok(());
    }
    Err(through(SqlError::too_large(format!(
        "subqueries are nested more than {SUBQUERIES_NESTED_MAX} levels deep, with what WITH \
         defines: use joins, or several statements"
    ))))
}

fn subqueries_nested(plan: &LogicalPlan) -> Result<usize> {
    let mut deepest = 0;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                let inner = match part {
                    Expr::ScalarSubquery(inner) => Some(inner),
                    Expr::Exists(exists) => Some(&exists.subquery),
                    Expr::InSubquery(within) => Some(&within.subquery),
                    Expr::SetComparison(compared) => Some(&compared.subquery),
                    _ => None,
                };
                if let Some(inner) = inner {
                    deepest = deepest.max(1 + subqueries_nested(&inner.subquery)?);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(deepest)
}

/// Whether rows of the plan may be long: a row of a table may have half a megabyte, and a text of a
/// statement more.
pub(super) fn has_long_rows(plan: &LogicalPlan) -> Result<bool> {
    let is_long =
        |field: &Arc<Field>| matches!(field.data_type(), DataType::Utf8 | DataType::Binary);
    let mut is_any = false;
    plan.apply_with_subqueries(|node| {
        is_any |= node.schema().fields().iter().any(is_long);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is_any)
}

/// The plan with what its joins make counted, and with a pause behind each batch of it, in which
/// who drives the plan looks at the clock. A join multiplies; all others make no more rows than
/// they take. Pairs that its condition turns down come out nowhere, so that the condition looks at
/// the clock itself.
pub(super) fn bound_joins(
    plan: Arc<dyn ExecutionPlan>,
    rows_max: usize,
    deadline: Instant,
    texts: &Texts,
) -> Result<Arc<dyn ExecutionPlan>> {
    let made = Arc::new(Made { rows: AtomicUsize::default(), rows_max, texts: texts.clone() });
    let bounded = plan.transform_up(|node| {
        if !node.name().ends_with("JoinExec") {
            return Ok(Transformed::no(node));
        }
        let (input, made) = (watch_condition(node, deadline, texts)?, Arc::clone(&made));
        Ok(Transformed::yes(Arc::new(Bounded { input, made }) as _))
    })?;
    Ok(bounded.data)
}

fn watch_condition(
    join: Arc<dyn ExecutionPlan>,
    deadline: Instant,
    texts: &Texts,
) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = |filter: &JoinFilter| {
        let field = Arc::new(Field::new("condition", DataType::Boolean, true));
        let signature = Signature::any(1, Volatility::Volatile);
        let watch =
            Arc::new(ScalarUDF::new_from_impl(Watch { deadline, texts: texts.clone(), signature }));
        let (args, options) = (vec![Arc::clone(filter.expression())], Arc::default());
        let watch = ScalarFunctionExpr::new("watch", watch, args, field, options);
        let columns = filter.column_indices().to_vec();
        JoinFilter::new(Arc::new(watch), columns, Arc::clone(filter.schema()))
    };
    if let Some(loops) = join.downcast_ref::<NestedLoopJoinExec>() {
        let filter = loops.filter().map(watched);
        return Ok(Arc::new(NestedLoopJoinExecBuilder::from(loops).with_filter(filter).build()?));
    }
    if let Some(hash) = join.downcast_ref::<HashJoinExec>() {
        return hash.builder().with_filter(hash.filter().map(watched)).build_exec();
    }
    Ok(join)
}

/// What it is given, until the deadline.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Watch {
    deadline: Instant,
    texts: Texts,
    signature: Signature,
}

impl ScalarUDFImpl for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if Instant::now() >= self.deadline {
            return Err(through(super::timeout()));
        }
        // What was put together for the condition is gone with it.
        self.texts.clear();
        let of = args.args.into_iter().next();
        of.ok_or_else(|| DataFusionError::Internal("no argument".to_owned()))
    }
}

/// See [`bound_joins`].
#[derive(Debug)]
struct Bounded {
    input: Arc<dyn ExecutionPlan>,
    made: Arc<Made>,
}

/// What all joins of a statement have made.
#[derive(Debug)]
struct Made {
    rows: AtomicUsize,
    rows_max: usize,
    texts: Texts,
}

impl Made {
    fn count(&self, batch: &RecordBatch) -> Result<()> {
        self.texts.clear();
        let (rows, rows_max) = (batch.num_rows(), self.rows_max);
        if self.rows.fetch_add(rows, Ordering::Relaxed) + rows <= rows_max {
            return Ok(());
        }
        Err(through(SqlError::too_large(format!(
            "the joins of the query make more than {rows_max} rows: say with ON which rows belong \
             together, and narrow them with WHERE"
        ))))
    }
}

impl ExecutionPlan for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self { input, made: Arc::clone(&self.made) }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mode = datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(mode))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context)?;
        let made = Arc::clone(&self.made);
        let counted = batches.then(move |batch| {
            let counted = batch.and_then(|batch| made.count(&batch).map(|()| batch));
            async move {
                tokio::task::yield_now().await;
                counted
            }
        });
        let schema: Arc<Schema> = self.input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}

impl DisplayAs for Bounded {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bounded")
    }
}

#[cfg(test)]
mod tests;
