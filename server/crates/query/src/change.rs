//! `UPDATE` and `DELETE`: the rows that meet a condition, each guarded by what was read of it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, BinaryOperator};
use protocol::ids::{Birth, SeqId};
use protocol::limits::OPERATIONS_MAX;
use protocol::mutation::{Action, Guard, Operation};
use protocol::predicate::{Predicate, Truth};
use server_engine::{Catalog, Query, ReadError, RowView, View};

use crate::assign::{Assigning, Assignment};
use crate::compile::{Compiler, NotTyped, chain};
use crate::error::SqlError;
use crate::limits::EXAMINED_PER_STEP;
use crate::path::{Path, is_about_keys, path};
use crate::running::Running;
use crate::select::{RowCondition, Select};
use crate::table::Target;
use crate::write::{NotPlanned, Plan, Planned, bytes_of, expect_to_fit, timeout};

/// A change of the rows that meet a condition.
#[derive(Debug)]
pub(crate) struct Change {
    target: Target,
    /// The part of the condition that the engine evaluates.
    predicate: Predicate,
    path: Path,
    /// The rest of it.
    rest: Option<RowCondition>,
    /// What becomes of the rows; without it they are deleted.
    assignments: Option<Vec<Assignment>>,
    /// Whether what happens depends on nothing but that the row is there.
    is_blind: bool,
}

impl Change {
    pub(crate) fn update(
        select: &Select,
        catalog: &Catalog,
        update: &ast::Update,
        running: &Running,
    ) -> Result<(Target, Self), SqlError> {
        let is_plain = update.from.is_none()
            && update.table.joins.is_empty()
            && update.or.is_none()
            && update.order_by.is_empty()
            && update.limit.is_none();
        if !is_plain {
            return Err(SqlError::unsupported("write UPDATE namespace.table SET … [WHERE …]"));
        }
        refuse_returning(update.returning.is_some() || update.output.is_some())?;
        let target = target(catalog, &update.table, running)?;
        let binding = running.binding();
        let assigning = Assigning { target: &target, binding, select: Some(select) };
        let assignments = assigning.all(&update.assignments)?;
        Self::new(select, target, update.selection.as_ref(), Some(assignments), running)
    }

    pub(crate) fn delete(
        select: &Select,
        catalog: &Catalog,
        delete: &ast::Delete,
        running: &Running,
    ) -> Result<(Target, Self), SqlError> {
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) =
            &delete.from;
        let told = "write DELETE FROM namespace.table [WHERE …]";
        let [table] = &**from else { return Err(SqlError::unsupported(told)) };
        let is_plain = delete.tables.is_empty()
            && delete.using.is_none()
            && table.joins.is_empty()
            && delete.order_by.is_empty()
            && delete.limit.is_none();
        if !is_plain {
            return Err(SqlError::unsupported(told));
        }
        refuse_returning(delete.returning.is_some() || delete.output.is_some())?;
        let target = target(catalog, table, running)?;
        Self::new(select, target, delete.selection.as_ref(), None, running)
    }

    fn new(
        select: &Select,
        target: Target,
        selection: Option<&ast::Expr>,
        assignments: Option<Vec<Assignment>>,
        running: &Running,
    ) -> Result<(Target, Self), SqlError> {
        let (predicate, rest) = condition(select, &target, selection, running)?;
        let schema = &target.schema;
        let path = path(schema, &predicate);
        let is_blind = rest.is_none()
            && is_about_keys(schema, &predicate)
            && !assignments.iter().flatten().any(Assignment::reads);
        let change = Self { target: target.clone(), predicate, path, rest, assignments, is_blind };
        Ok((target, change))
    }

    /// What is done to a row.
    fn operation(&self, row: &RowView<'_>, seq: SeqId) -> Result<Operation, SqlError> {
        let schema = &self.target.schema;
        let key = row.values(&schema.primary_key);
        let action = match &self.assignments {
            None => Action::Delete { key },
            Some(assignments) => {
                let held = |id| row.get(id).to_value();
                let change = |a: &Assignment| a.change(&held, &|| row.row(schema), &held);
                let changes = assignments.iter().map(change).collect::<Result<_, _>>()?;
                Action::Patch { key, changes }
            }
        };
        let guard = match self.is_blind {
            true => Guard::Values(Vec::new()),
            false => Guard::Unchanged(seq),
        };
        Ok(Operation { table: schema.id, version: schema.version, action, guard: Some(guard) })
    }

    /// Plans what is done to a row, if it meets the condition.
    fn add(
        &self,
        running: &Running,
        planned: &mut Planned,
        row: &RowView<'_>,
        seq: SeqId,
    ) -> Result<(), SqlError> {
        if running.is_late() {
            return Err(timeout());
        }
        if let Some(rest) = &self.rest
            && !rest.holds(&row.row(&self.target.schema))?
        {
            return Ok(());
        }
        if planned.operations.len() == OPERATIONS_MAX {
            return Err(SqlError::too_large(format!(
                "the statement changes more than {OPERATIONS_MAX} rows: narrow its WHERE, and send \
                 several"
            )));
        }
        let operation = self.operation(row, seq)?;
        if let Action::Patch { changes, .. } = &operation.action {
            planned.bytes += changes.iter().map(|c| bytes_of(&c.operand().1)).sum::<usize>();
            expect_to_fit(planned.bytes)?;
        }
        planned.operations.push(operation);
        planned.rows += 1;
        Ok(())
    }
}

impl Plan for Change {
    fn blind(&self) -> Option<Planned> {
        None
    }

    fn plan(&self, running: &Running, view: &View<'_>) -> Result<Planned, NotPlanned> {
        let Target { schema, lane, .. } = &self.target;
        let mut planned = Planned::default();
        let range = match &self.path {
            Path::Range(range) => range.clone(),
            Path::Keys(keys) => {
                let table = view.table(lane, schema.id)?;
                for key in keys {
                    let Some((_, image)) = view.row(lane, schema.id, key)? else { continue };
                    let row = image.view(table).map_err(ReadError::from)?;
                    if self.predicate.evaluate(&|column| row.get(column)).is_true() {
                        self.add(running, &mut planned, &row, image.seq())?;
                    }
                }
                return Ok(planned);
            }
        };
        let query = Query { table: schema.id, range, predicate: self.predicate.clone() };
        let mut after: Option<Birth> = None;
        let mut failed = None;
        loop {
            let next = view.scan(
                lane,
                &query,
                after,
                EXAMINED_PER_STEP,
                &mut |scanned| match self.add(running, &mut planned, &scanned.row, scanned.seq) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                },
            )?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            if next.is_none() {
                return Ok(planned);
            }
            after = next;
            if running.is_late() {
                return Err(timeout().into());
            }
        }
    }
}

/// The condition, as far as it has a typed form, and the rest of it.
fn condition(
    select: &Select,
    target: &Target,
    selection: Option<&ast::Expr>,
    running: &Running,
) -> Result<(Predicate, Option<RowCondition>), SqlError> {
    let Some(selection) = selection else { return Ok((Predicate::Constant(Truth::True), None)) };
    let compiler = Compiler::new(target, running.binding());
    let (mut typed, mut rest) = (Vec::new(), Vec::new());
    for part in chain(selection, &BinaryOperator::And) {
        match compiler.predicate(part) {
            Ok(predicate) => typed.push(predicate),
            Err(NotTyped::Construct(_)) => rest.push(target.bare(part)?),
            Err(NotTyped::Wrong(error)) => return Err(error),
        }
    }
    let predicate = match typed.len() {
        1 => typed.remove(0),
        _ => Predicate::And(typed),
    };
    predicate
        .check(&target.schema)
        .map_err(|error| SqlError::new(error.code(), error.to_string()))?;
    let rest = if rest.is_empty() {
        None
    } else {
        let rest: Vec<&ast::Expr> = rest.iter().collect();
        Some(RowCondition::new(select, &target.schema, &rest, &running.binding())?)
    };
    Ok((predicate, rest))
}

fn target(
    catalog: &Catalog,
    table: &ast::TableWithJoins,
    running: &Running,
) -> Result<Target, SqlError> {
    match &table.relation {
        ast::TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } if with_hints.is_empty()
            && partitions.is_empty()
            && index_hints.is_empty()
            && alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) =>
        {
            let alias = alias.as_ref().map(|alias| &alias.name);
            Target::find(catalog, name, alias, &running.actor)
        }
        _ => Err(SqlError::unsupported("rows are changed in a table, by its name")),
    }
}

fn refuse_returning(is_asked: bool) -> Result<(), SqlError> {
    if is_asked {
        return Err(SqlError::unsupported("RETURNING is not offered: SELECT the rows afterwards"));
    }
    Ok(())
}
