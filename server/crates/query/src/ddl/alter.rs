//! Columns come and go. No row is rewritten: each is read by the layout that it was stored under.

use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::ids::{Name, SchemaVersion, TableName};
use protocol::schema::{ColumnDefault, TableKind, TableSchema};
use protocol::value::Value;
use server_engine::{Command, Outcome, Table};

use super::{TRIES, Tables, described, exists, expect_admin};
use crate::error::SqlError;
use crate::request::Answer;
use crate::running::{Running, unexpected};
use crate::statement::{AlterTable, Alteration, ColumnWritten};
use crate::table::SYSTEM;

/// How long this node may take to hear of what another one has changed first.
const HEARD_WITHIN: Duration = Duration::from_millis(50);

impl Tables {
    pub(crate) async fn alter_table(
        &self,
        running: &Running,
        AlterTable { name, alteration }: &AlterTable,
    ) -> Result<Answer, SqlError> {
        expect_admin(&running.actor)?;
        if name.namespace.as_str() == SYSTEM {
            return Err(SqlError::forbidden("the tables of the namespace system are the server's"));
        }
        let _latch = self.latch(running).await?;
        for _ in 0..TRIES {
            let catalog = self.shards.catalog();
            let table = catalog.named(name).ok_or_else(|| no_table(name))?;
            let changed = match alteration {
                Alteration::AddColumn { column, if_not_exists } => {
                    with_column(table, column, *if_not_exists, running)?
                }
                Alteration::DropColumn { name, if_exists } => {
                    without_column(table.schema(), name, *if_exists)?
                }
            };
            let Some(changed) = changed else { return Ok(Answer::written(0)) };
            changed.check().map_err(|error| SqlError::new(error.code(), error.to_string()))?;
            let define = Command::Define(Box::new(changed));
            match self.shards.propose(define, running.deadline).await? {
                Outcome::Done => return Ok(Answer::written(0)),
                // Another node has changed it first. Its version is not taken twice, so nothing of
                // that is lost.
                Outcome::SchemaRefused => tokio::time::sleep(HEARD_WITHIN).await,
                other => return Err(unexpected(&other)),
            }
        }
        Err(SqlError::new(
            ErrorCode::Conflict,
            format!("{name} is being changed by others at the same moment: try again"),
        ))
    }
}

fn no_table(name: &TableName) -> SqlError {
    SqlError::new(ErrorCode::NotFound, format!("there is no table {name}: check its spelling"))
}

/// The table with one column more; `None` where it is there and may be.
fn with_column(
    table: &Table,
    written: &ColumnWritten,
    if_not_exists: bool,
    running: &Running,
) -> Result<Option<TableSchema>, SqlError> {
    let (schema, name) = (table.schema(), &written.name);
    if schema.column_named(name.as_str()).is_some() {
        let told = || exists(&format!("the column {name} of {}", schema.name));
        return if if_not_exists { Ok(None) } else { Err(told()) };
    }
    let id = table.free_column().ok_or_else(|| {
        SqlError::too_large(format!(
            "all numbers of columns of {} are used: create another table",
            schema.name
        ))
    })?;
    let column = described(written, id, &running.binding())?;
    let is_constant = matches!(
        &column.default,
        Some(ColumnDefault::Value(value)) if *value != Value::Null
    );
    if column.not_null && !is_constant {
        return Err(SqlError::invalid(format!(
            "column {name} is NOT NULL, and the rows that are there have no value for it: give it \
             a DEFAULT that is a constant"
        )));
    }
    let mut changed = next(schema)?;
    changed.columns.push(column);
    Ok(Some(changed))
}

/// The table with one column less; `None` where it is not there and need not be.
fn without_column(
    schema: &TableSchema,
    name: &Name,
    if_exists: bool,
) -> Result<Option<TableSchema>, SqlError> {
    let Some(column) = schema.column_named(name.as_str()) else {
        let told = format!("{} has no column {name}: check its spelling", schema.name);
        let error = SqlError::new(ErrorCode::NotFound, told);
        return if if_exists { Ok(None) } else { Err(error) };
    };
    let owner = match &schema.kind {
        TableKind::Shared(sharing) => sharing.owner_column,
        TableKind::User | TableKind::Stream => None,
    };
    let uses = [
        (schema.primary_key.contains(&column.id), "in the primary key"),
        (schema.indexes.iter().any(|index| index.columns.contains(&column.id)), "in an index"),
        (owner == Some(column.id), "the owner column"),
    ];
    if let Some((_, what)) = uses.iter().find(|(is_used, _)| *is_used) {
        return Err(SqlError::unsupported(format!(
            "column {name} of {} is {what}, so it cannot be dropped: create another table without \
             it",
            schema.name
        )));
    }
    let id = column.id;
    let mut changed = next(schema)?;
    changed.columns.retain(|column| column.id != id);
    Ok(Some(changed))
}

/// The same in the next version.
fn next(schema: &TableSchema) -> Result<TableSchema, SqlError> {
    let version = schema.version.0.checked_add(1).map(SchemaVersion).ok_or_else(|| {
        SqlError::too_large(format!("{} was changed too often: create another table", schema.name))
    })?;
    Ok(TableSchema { version, ..schema.clone() })
}
