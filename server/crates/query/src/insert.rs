//! `INSERT`: new rows, and what happens where a key exists.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast;
use protocol::error_code::ErrorCode;
use protocol::ids::ColumnId;
use protocol::limits::OPERATIONS_MAX;
use protocol::mutation::{Action, ColumnValue, Guard, Operation};
use protocol::schema::{Column, ColumnDefault};
use protocol::value::{Row, Value};
use server_engine::{Catalog, View};

use crate::assign::{Assigning, Assignment, is_default};
use crate::constant::{Constant, generated};
use crate::error::SqlError;
use crate::running::Running;
use crate::table::Target;
use crate::write::{NotPlanned, Plan, Planned, bytes_of, expect_to_fit};

/// New rows for a table.
#[derive(Debug)]
pub(crate) struct Insert {
    target: Target,
    rows: Vec<Vec<ColumnValue>>,
    conflict: Conflict,
}

/// What happens where a key exists.
#[derive(Debug)]
enum Conflict {
    /// The statement fails.
    Fails,
    /// The row that is there stays.
    Nothing,
    /// The row that is there takes all values of the new one.
    Replace,
    /// The row that is there is changed.
    Update(Vec<Assignment>),
}

impl Insert {
    pub(crate) fn new(
        catalog: &Catalog,
        insert: &ast::Insert,
        running: &Running,
    ) -> Result<(Target, Self), SqlError> {
        refuse(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT INTO a table, by its name"));
        };
        let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
        let target = Target::find(catalog, name, alias, &running.actor)?;
        let columns = columns(&target, &insert.columns)?;
        let values = values(insert)?;
        if values.len() > OPERATIONS_MAX {
            return Err(SqlError::too_large(format!(
                "the statement inserts {} rows, at most {OPERATIONS_MAX} go at once: send them in \
                 several statements",
                values.len()
            )));
        }
        let mut rows = Vec::with_capacity(values.len());
        let mut bytes = 0;
        for row in values {
            let row = row_of(&target, &columns, &row.content, running)?;
            bytes += row.iter().map(|ColumnValue(_, value)| bytes_of(value)).sum::<usize>();
            expect_to_fit(bytes)?;
            rows.push(row);
        }
        let conflict = conflict(insert, &target, &columns, running)?;
        let insert = Self { target: target.clone(), rows, conflict };
        if matches!(insert.conflict, Conflict::Replace) {
            let mut seen = HashSet::new();
            if !insert.rows.iter().all(|row| seen.insert(insert.key(row))) {
                return Err(same_key());
            }
        }
        Ok((target, insert))
    }

    fn operation(&self, action: Action, guard: Option<Guard>) -> Operation {
        let schema = &self.target.schema;
        Operation { table: schema.id, version: schema.version, action, guard }
    }

    fn key(&self, values: &[ColumnValue]) -> Row {
        let value = |id: &ColumnId| value_of(values, *id).cloned().unwrap_or(Value::Null);
        self.target.schema.primary_key.iter().map(value).collect()
    }
}

impl Plan for Insert {
    fn blind(&self) -> Option<Planned> {
        let action: fn(Vec<ColumnValue>) -> Action = match self.conflict {
            Conflict::Fails => Action::Insert,
            Conflict::Replace => Action::Upsert,
            Conflict::Nothing | Conflict::Update(_) => return None,
        };
        let operation = |row: &Vec<ColumnValue>| self.operation(action(row.clone()), None);
        let operations = self.rows.iter().map(operation).collect();
        Some(Planned { operations, rows: self.rows.len() as u64, bytes: 0 })
    }

    fn plan(&self, running: &Running, view: &View<'_>) -> Result<Planned, NotPlanned> {
        let schema = &self.target.schema;
        let table = view.table(&self.target.lane, schema.id)?;
        let mut planned = Planned::default();
        let mut seen = HashSet::new();
        for values in &self.rows {
            if running.is_late() {
                return Err(crate::write::timeout().into());
            }
            let key = self.key(values);
            let there = view.row(&self.target.lane, schema.id, &key)?;
            let is_first = seen.insert(key.clone());
            let operation = match (&self.conflict, there) {
                (Conflict::Update(_), _) if !is_first => {
                    return Err(same_key().into());
                }
                (Conflict::Update(assignments), Some((_, image))) => {
                    let row = image.view(table).map_err(server_engine::ReadError::from)?;
                    let held = |id| row.get(id).to_value();
                    let excluded = |id| self.excluded(running, values, id);
                    let change = |a: &Assignment| a.change(&held, &|| row.row(schema), &excluded);
                    let changes = assignments.iter().map(change).collect::<Result<_, _>>()?;
                    let reads = assignments.iter().any(Assignment::reads);
                    let guard = match reads {
                        true => Guard::Unchanged(image.seq()),
                        false => Guard::Values(Vec::new()),
                    };
                    self.operation(Action::Patch { key, changes }, Some(guard))
                }
                (_, None) if is_first => {
                    self.operation(Action::Insert(values.clone()), Some(Guard::Absent))
                }
                _ => continue,
            };
            planned.operations.push(operation);
            planned.rows += 1;
        }
        Ok(planned)
    }
}

impl Insert {
    /// What the row that was not inserted has in a column.
    fn excluded(&self, running: &Running, values: &[ColumnValue], id: ColumnId) -> Value {
        let default = || {
            let column = self.target.schema.column(id)?;
            self.target.default(column, &running.binding()).ok()
        };
        value_of(values, id).cloned().or_else(default).unwrap_or(Value::Null)
    }
}

fn same_key() -> SqlError {
    SqlError::new(
        ErrorCode::Constraint,
        "two rows of the statement have the same primary key: send one of them",
    )
}

fn value_of(values: &[ColumnValue], id: ColumnId) -> Option<&Value> {
    values.iter().find(|ColumnValue(named, _)| *named == id).map(|ColumnValue(_, value)| value)
}

/// The columns that the rows give values for.
fn columns(target: &Target, names: &[ast::ObjectName]) -> Result<Vec<Column>, SqlError> {
    if names.is_empty() {
        return Ok(target.schema.columns.clone());
    }
    let mut columns: Vec<Column> = Vec::with_capacity(names.len());
    for name in names {
        let column = target.column_named(name)?;
        if columns.iter().any(|other| other.id == column.id) {
            return Err(SqlError::invalid(format!("column {} is named twice", column.name)));
        }
        columns.push(column.clone());
    }
    Ok(columns)
}

fn values(insert: &ast::Insert) -> Result<&[ast::Parens<Vec<ast::Expr>>], SqlError> {
    let told = "INSERT takes VALUES (…): read the rows first, and insert them as values";
    let Some(source) = &insert.source else {
        return Err(SqlError::unsupported("INSERT without VALUES is not offered: name a column"));
    };
    let is_plain = source.with.is_none()
        && source.order_by.is_none()
        && source.limit_clause.is_none()
        && source.fetch.is_none();
    match &*source.body {
        ast::SetExpr::Values(values) if is_plain => Ok(&values.rows),
        _ => Err(SqlError::unsupported(told)),
    }
}

fn row_of(
    target: &Target,
    columns: &[Column],
    expressions: &[ast::Expr],
    running: &Running,
) -> Result<Vec<ColumnValue>, SqlError> {
    if expressions.len() != columns.len() {
        return Err(SqlError::invalid(format!(
            "a row has {} values for {} columns",
            expressions.len(),
            columns.len()
        )));
    }
    let binding = running.binding();
    let mut row = Vec::with_capacity(target.schema.columns.len());
    for (column, expression) in columns.iter().zip(expressions) {
        if is_default(expression) {
            continue;
        }
        let Some(constant) = Constant::of(expression, &running.params)? else {
            return Err(SqlError::unsupported(format!(
                "column {}: VALUES takes constants, parameters, NOW(), SNOWFLAKE_ID(), UUID_V7(), \
                 CURRENT_USER() and DEFAULT",
                column.name
            )));
        };
        row.push(ColumnValue(column.id, constant.value(column, &binding)?));
    }
    for column in &target.schema.columns {
        if value_of(&row, column.id).is_some() {
            continue;
        }
        if let Some(value) = generated(column, &binding)? {
            row.push(ColumnValue(column.id, value));
        } else if target.schema.primary_key.contains(&column.id) {
            // The key is looked up before it is written, so it cannot be left to the engine.
            let value = target.default(column, &binding)?;
            if !value.is_null() {
                row.push(ColumnValue(column.id, value));
            }
        }
    }
    Ok(row)
}

fn conflict(
    insert: &ast::Insert,
    target: &Target,
    columns: &[Column],
    running: &Running,
) -> Result<Conflict, SqlError> {
    let Some(on) = &insert.on else { return Ok(Conflict::Fails) };
    let ast::OnInsert::OnConflict(ast::OnConflict { conflict_target, action }) = on else {
        return Err(SqlError::unsupported("write ON CONFLICT (…) DO UPDATE SET …"));
    };
    let schema = &target.schema;
    match conflict_target {
        None if matches!(action, ast::OnConflictAction::DoNothing) => {}
        Some(ast::ConflictTarget::Columns(names)) => {
            let mut named = Vec::with_capacity(names.len());
            for name in names {
                named.push(target.column(std::slice::from_ref(name))?.id);
            }
            let mut key = schema.primary_key.clone();
            named.sort();
            key.sort();
            if named != key {
                return Err(SqlError::unsupported(
                    "ON CONFLICT names the columns of the primary key: nothing else is unique",
                ));
            }
        }
        _ => {
            return Err(SqlError::unsupported(
                "write ON CONFLICT with the columns of the primary key",
            ));
        }
    }
    let ast::OnConflictAction::DoUpdate(update) = action else { return Ok(Conflict::Nothing) };
    if update.selection.is_some() {
        return Err(SqlError::unsupported("DO UPDATE has no WHERE: use UPDATE for that"));
    }
    let binding = running.binding();
    let assigning = Assigning { target, binding, select: None };
    let assignments = assigning.all(&update.assignments)?;
    let takes_all = columns
        .iter()
        .filter(|c| !schema.primary_key.contains(&c.id))
        .all(|column| assignments.iter().any(|a| a.column.id == column.id && a.takes_excluded()));
    let named = columns.iter().filter(|c| !schema.primary_key.contains(&c.id)).count();
    let is_made = |column: &Column| {
        !columns.iter().any(|named| named.id == column.id)
            && matches!(column.default, Some(ColumnDefault::SnowflakeId | ColumnDefault::UuidV7))
    };
    let is_plain = takes_all
        && assignments.len() == named
        && !schema.columns.iter().any(is_made)
        && !has_default(insert);
    Ok(if is_plain { Conflict::Replace } else { Conflict::Update(assignments) })
}

/// Whether a value is left to its default: then a row that is there would keep what it has.
fn has_default(insert: &ast::Insert) -> bool {
    values(insert).is_ok_and(|rows| rows.iter().any(|row| row.content.iter().any(is_default)))
}

fn refuse(insert: &ast::Insert) -> Result<(), SqlError> {
    if insert.returning.is_some() {
        return Err(SqlError::unsupported("RETURNING is not offered: SELECT the rows afterwards"));
    }
    let is_known = insert.or.is_none()
        && !insert.ignore
        && !insert.overwrite
        && !insert.replace_into
        && insert.assignments.is_empty()
        && insert.partitioned.is_none()
        && insert.after_columns.is_empty()
        && insert.output.is_none();
    if is_known {
        return Ok(());
    }
    Err(SqlError::unsupported(
        "write INSERT INTO namespace.table (columns) VALUES (…) [ON CONFLICT (key) DO …]",
    ))
}
