//! What a query may name: the tables that its actor may read, and the functions that are offered.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::TableReference;
use datafusion::common::{DataFusionError, Result};
use datafusion::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableProviderFilterPushDown, TableSource,
    TableType, WindowUDF,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;
use protocol::ids::{Lane, Name, TableName};
use protocol::predicate::Predicate;
use protocol::schema::TableSchema;
use server_engine::{Actor, Catalog};

use super::bounds::Texts;
use super::failure::through;
use super::scan::Scans;
use super::{functions, pushdown, types};
use crate::error::SqlError;
use crate::ports::LiveQueries;
use crate::statement::cut;
use crate::{system, table};

/// What one statement may name.
pub(super) struct Names<'a> {
    pub(super) state: &'a SessionState,
    pub(super) texts: &'a Texts,
    /// Without one there are no tables.
    pub(super) tables: Option<Tables<'a>>,
}

/// The tables that it may name.
pub(super) struct Tables<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) live: &'a dyn LiveQueries,
    pub(super) actor: &'a Actor,
    pub(super) scans: Arc<Scans>,
    pub(super) pushes_down: bool,
}

impl Tables<'_> {
    fn provider(&self, name: &TableReference) -> Result<Arc<dyn TableProvider>, SqlError> {
        let Some(namespace) = name.schema().filter(|_| name.catalog().is_none()) else {
            return Err(SqlError::invalid(format!(
                "{}: write the table with its namespace: namespace.table",
                cut(&name.to_string())
            )));
        };
        let written = || cut(&format!("{namespace}.{}", name.table()));
        let Self { catalog, live, actor, .. } = self;
        if let Some(batch) = system::table(namespace, name.table(), catalog, *live, actor) {
            let batch = batch?;
            return Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?));
        }
        // What cannot be a name is none that exists.
        let (Ok(namespace), Ok(table)) = (Name::new(namespace), Name::new(name.table())) else {
            return Err(table::not_found(&written()));
        };
        let schema = table::find(self.catalog, &TableName { namespace, table }, self.actor)?;
        Ok(Arc::new(Rows {
            lane: schema.lane(&self.actor.user),
            arrow: types::schema(&schema.columns),
            schema: schema.clone(),
            scans: Arc::clone(&self.scans),
            pushes_down: self.pushes_down,
        }))
    }
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let Some(tables) = &self.tables else {
            return Err(through(SqlError::unsupported(
                "a subquery is not offered here: read the value first, and write it as a parameter",
            )));
        };
        Ok(provider_as_source(tables.provider(&name).map_err(through)?))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar(self.state, self.texts, name)
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let known = functions::AGGREGATES.contains(&name);
        self.state.aggregate_functions().get(name).filter(|_| known).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        functions::SCALARS.iter().map(|name| (*name).to_owned()).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        functions::AGGREGATES.iter().map(|name| (*name).to_owned()).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A table in the lane where its reader's rows are.
#[derive(Debug)]
struct Rows {
    schema: TableSchema,
    arrow: SchemaRef,
    lane: Lane,
    scans: Arc<Scans>,
    pushes_down: bool,
}

#[async_trait::async_trait]
impl TableProvider for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.arrow)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, datafusion::logical_expr::LogicalPlan>> {
        None
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            let is_ours = self.pushes_down && pushdown::predicate(&self.schema, filter).is_some();
            match is_ours {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicates = filters.iter().map(|filter| pushdown::predicate(&self.schema, filter));
        let predicates: Option<Vec<Predicate>> = predicates.collect();
        let predicates = predicates.ok_or_else(|| {
            DataFusionError::Internal("a filter that was not taken is there".to_owned())
        })?;
        let all = (0..self.schema.columns.len()).collect();
        let places = projection.unwrap_or(&all);
        let arrow = Arc::new(self.arrow.project(places)?);
        let scan = self.scans.add(&self.schema, &self.lane, Arc::clone(&arrow), places, predicates);
        let stream = self.scans.stream(scan, limit);
        Ok(Arc::new(StreamingTableExec::try_new(arrow, vec![stream], None, None, false, limit)?))
    }
}
