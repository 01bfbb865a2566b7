//! Namespaces and tables: what may be declared, and where it is kept.
//!
//! A namespace is a row of `system.namespaces`, in the server's own lane. A table is a definition
//! in the same shard, which tells the others of it.

mod alter;

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::ids::{ColumnId, IndexId, Lane, Name, SchemaVersion, TableId, TableName};
use protocol::mutation::{Action, ColumnValue, Guard, Operation};
use protocol::schema::{
    AccessLevel, Column, ColumnDefault, Index, MergeRule, Sharing, TableKind, TableSchema,
};
use protocol::value::{ColumnType, Row, Value};
use server_engine::{Actor, Command, Outcome, Role, Write};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::constant::{Binding, Constant};
use crate::error::SqlError;
use crate::limits::{NAMESPACES_MAX, TABLES_MAX};
use crate::ports::Shards;
use crate::request::Answer;
use crate::running::{Running, on_another_thread, unexpected};
use crate::statement::{ColumnWritten, CreateTable, DefaultWritten, KindWritten};
use crate::table::SYSTEM;
use crate::write::timeout;

/// The number of `system.namespaces`.
const NAMESPACES: TableId = TableId(1);

/// The first number of an application's table; those before are the server's own.
const TABLES_FIRST: TableId = TableId(64);

const NAME: ColumnId = ColumnId(0);
const CREATED_AT: ColumnId = ColumnId(1);

/// How often a table is defined anew with another number, because somebody else took it.
const TRIES: usize = 8;

/// `system.namespaces`.
fn namespaces() -> Result<TableSchema, SqlError> {
    let name = |text| Name::new(text).map_err(|error| SqlError::invalid(error.to_string()));
    let column = |id, name, column_type, default| Column {
        id,
        name,
        column_type,
        not_null: true,
        default,
        merge: MergeRule::Last,
    };
    let now = Some(ColumnDefault::Now);
    Ok(TableSchema {
        id: NAMESPACES,
        name: TableName { namespace: name(SYSTEM)?, table: name("namespaces")? },
        version: SchemaVersion(1),
        kind: TableKind::Shared(Sharing { access: AccessLevel::Read, owner_column: None }),
        columns: vec![
            column(NAME, name("name")?, ColumnType::Text, None),
            column(CREATED_AT, name("created_at")?, ColumnType::Timestamp, now),
        ],
        primary_key: vec![NAME],
        indexes: Vec::new(),
        ttl_seconds: None,
    })
}

/// Creates and drops namespaces and tables.
#[derive(Debug)]
pub(crate) struct Tables {
    shards: Arc<dyn Shards>,
    /// Held meanwhile: one statement looks at what another one does.
    latch: Mutex<()>,
}

impl Tables {
    pub(crate) fn new(shards: Arc<dyn Shards>) -> Self {
        Self { shards, latch: Mutex::default() }
    }

    async fn latch(&self, running: &Running) -> Result<MutexGuard<'_, ()>, SqlError> {
        let latch = tokio::time::timeout_at(running.deadline, self.latch.lock()).await;
        latch.map_err(|_| timeout())
    }

    /// Defines the table of namespaces, unless it is there.
    pub(crate) async fn found(&self, deadline: Instant) -> Result<(), SqlError> {
        if self.shards.catalog().table(NAMESPACES).is_some() {
            return Ok(());
        }
        let define = Command::Define(Box::new(namespaces()?));
        match self.shards.propose(define, deadline).await? {
            Outcome::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn create_namespace(
        &self,
        running: &Running,
        name: &Name,
        if_not_exists: bool,
    ) -> Result<Answer, SqlError> {
        expect_admin(&running.actor)?;
        let _latch = self.latch(running).await?;
        let (is_there, count) = self.namespace(name).await?;
        if is_there && if_not_exists {
            return Ok(Answer::written(0));
        }
        if is_there {
            return Err(exists(&format!("the namespace {name}")));
        }
        if count >= NAMESPACES_MAX {
            return Err(SqlError::too_large(format!(
                "there are {NAMESPACES_MAX} namespaces already: drop one, or use tables instead"
            )));
        }
        let value = Value::text(name.as_str()).map_err(|e| SqlError::invalid(e.to_string()))?;
        let insert = Action::Insert(vec![ColumnValue(NAME, value)]);
        match self.write_namespace(running, insert, Guard::Absent).await? {
            Outcome::Written { .. } => Ok(Answer::written(0)),
            Outcome::GuardFailed => Err(exists(&format!("the namespace {name}"))),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn drop_namespace(
        &self,
        running: &Running,
        name: &Name,
        if_exists: bool,
    ) -> Result<Answer, SqlError> {
        expect_admin(&running.actor)?;
        let _latch = self.latch(running).await?;
        let catalog = self.shards.catalog();
        if name.as_str() == SYSTEM {
            return Err(SqlError::forbidden("the namespace system is the server's own"));
        }
        let mut tables = catalog.tables().map(server_engine::Table::schema);
        if let Some(table) = tables.find(|table| table.name.namespace == *name) {
            return Err(SqlError::new(
                ErrorCode::Conflict,
                format!("the namespace {name} has tables, such as {}: drop them first", table.name),
            ));
        }
        let value = Value::text(name.as_str()).map_err(|e| SqlError::invalid(e.to_string()))?;
        let delete = Action::Delete { key: Row(vec![value]) };
        match self.write_namespace(running, delete, Guard::Values(Vec::new())).await? {
            Outcome::Written { .. } => Ok(Answer::written(0)),
            Outcome::GuardFailed if if_exists => Ok(Answer::written(0)),
            Outcome::GuardFailed => Err(SqlError::new(
                ErrorCode::NotFound,
                format!("there is no namespace {name}: check its spelling"),
            )),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn create_table(
        &self,
        running: &Running,
        written: &CreateTable,
    ) -> Result<Answer, SqlError> {
        expect_admin(&running.actor)?;
        let mut schema = schema(written, &running.binding())?;
        schema.check().map_err(|error| SqlError::new(error.code(), error.to_string()))?;
        let _latch = self.latch(running).await?;
        let namespace = &schema.name.namespace;
        if !self.namespace(namespace).await?.0 {
            return Err(SqlError::new(
                ErrorCode::NotFound,
                format!("there is no namespace {namespace}: CREATE NAMESPACE {namespace} first"),
            ));
        }
        for _ in 0..TRIES {
            let catalog = self.shards.catalog();
            if catalog.named(&schema.name).is_some() {
                let is_fine = written.if_not_exists;
                let told = || exists(&format!("the table {}", schema.name));
                return if is_fine { Ok(Answer::written(0)) } else { Err(told()) };
            }
            if catalog.tables().count() >= TABLES_MAX {
                return Err(SqlError::too_large(format!(
                    "there are {TABLES_MAX} tables already: drop one"
                )));
            }
            let free = catalog.free_id().ok_or_else(|| {
                SqlError::too_large("all numbers of tables are used: found a new server")
            })?;
            schema.id = free.max(TABLES_FIRST);
            let define = Command::Define(Box::new(schema.clone()));
            match self.shards.propose(define, running.deadline).await? {
                Outcome::Done => return Ok(Answer::written(0)),
                // Somebody else has taken the number or the name.
                Outcome::SchemaRefused => {}
                other => return Err(unexpected(&other)),
            }
        }
        Err(SqlError::new(
            ErrorCode::Conflict,
            "other tables are being created at the same moment: try again",
        ))
    }

    pub(crate) async fn drop_table(
        &self,
        running: &Running,
        name: &TableName,
        if_exists: bool,
    ) -> Result<Answer, SqlError> {
        expect_admin(&running.actor)?;
        if name.namespace.as_str() == SYSTEM {
            return Err(SqlError::forbidden("the tables of the namespace system are the server's"));
        }
        let _latch = self.latch(running).await?;
        let catalog = self.shards.catalog();
        let Some(table) = catalog.named(name) else {
            let told = format!("there is no table {name}: check its spelling");
            let error = SqlError::new(ErrorCode::NotFound, told);
            return if if_exists { Ok(Answer::written(0)) } else { Err(error) };
        };
        let drop = Command::Drop(table.schema().id);
        match self.shards.propose(drop, running.deadline).await? {
            Outcome::Done => Ok(Answer::written(0)),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether a namespace is there, and how many there are.
    async fn namespace(&self, name: &Name) -> Result<(bool, usize), SqlError> {
        let (shards, name) = (Arc::clone(&self.shards), name.clone());
        on_another_thread(move || {
            let lane = system_lane()?;
            let mut found = Ok((false, 0));
            shards.read(&lane, &mut |view| {
                let key = Value::text(name.as_str()).map(|value| Row(vec![value]));
                let Ok(key) = key else { return };
                found = view.row(&lane, NAMESPACES, &key).and_then(|row| {
                    let count = view.partition(&lane, NAMESPACES)?.rows;
                    Ok((row.is_some(), usize::try_from(count).unwrap_or(usize::MAX)))
                });
            })?;
            found.map_err(SqlError::from)
        })
        .await
    }

    async fn write_namespace(
        &self,
        running: &Running,
        action: Action,
        guard: Guard,
    ) -> Result<Outcome, SqlError> {
        let version = SchemaVersion(1);
        let operation = Operation { table: NAMESPACES, version, action, guard: Some(guard) };
        let write = Write {
            lane: system_lane()?,
            actor: running.actor.clone(),
            operations: vec![operation],
            request: None,
        };
        Ok(self.shards.propose(Command::Write(write), running.deadline).await?)
    }
}

fn system_lane() -> Result<Lane, SqlError> {
    let name = Name::new(SYSTEM).map_err(|error| SqlError::invalid(error.to_string()))?;
    Ok(Lane::Shared(name))
}

fn expect_admin(actor: &Actor) -> Result<(), SqlError> {
    if actor.role == Role::Admin {
        return Ok(());
    }
    Err(SqlError::forbidden(
        "namespaces and tables are created, changed and dropped by role admin: use a token of that \
         role",
    ))
}

fn exists(what: &str) -> SqlError {
    SqlError::new(
        ErrorCode::AlreadyExists,
        format!("{what} exists already: use IF NOT EXISTS, or another name"),
    )
}

/// The description of a table as it was written, still without a number.
fn schema(written: &CreateTable, binding: &Binding<'_>) -> Result<TableSchema, SqlError> {
    let id = |place: usize| ColumnId(u16::try_from(place).unwrap_or(u16::MAX));
    let find = |name: &Name| {
        let place = written.columns.iter().position(|column| column.name == *name);
        place.map(id).ok_or_else(|| {
            let told = format!("the table has no column {name}, which a key or option names");
            SqlError::new(ErrorCode::NotFound, told)
        })
    };
    let primary_key: Vec<ColumnId> =
        written.primary_key.iter().map(find).collect::<Result<_, _>>()?;
    let mut columns = Vec::with_capacity(written.columns.len());
    for (place, column) in written.columns.iter().enumerate() {
        let mut described = described(column, id(place), binding)?;
        described.not_null |= primary_key.contains(&described.id);
        columns.push(described);
    }
    let index = |(place, names): (usize, &Vec<Name>)| {
        let columns = names.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Index { id: IndexId(u16::try_from(place).unwrap_or(u16::MAX)), columns })
    };
    let indexes = written.indexes.iter().enumerate().map(index).collect::<Result<_, SqlError>>()?;
    let owner_column = written.owner_column.as_ref().map(find).transpose()?;
    let kind = match written.kind {
        KindWritten::Shared => {
            let access = written.access.unwrap_or_default();
            TableKind::Shared(Sharing { access, owner_column })
        }
        _ if written.access.is_some() || owner_column.is_some() => {
            return Err(SqlError::invalid(
                "ACCESS_LEVEL and OWNER_COLUMN are for SHARED tables: in others, everybody has \
                 rows of their own",
            ));
        }
        KindWritten::User => TableKind::User,
        KindWritten::Stream => TableKind::Stream,
    };
    Ok(TableSchema {
        id: TABLES_FIRST,
        name: written.name.clone(),
        version: SchemaVersion(1),
        kind,
        columns,
        primary_key,
        indexes,
        ttl_seconds: written.ttl_seconds,
    })
}

/// The description of a column as it was written.
fn described(
    written: &ColumnWritten,
    id: ColumnId,
    binding: &Binding<'_>,
) -> Result<Column, SqlError> {
    let mut column = Column {
        id,
        name: written.name.clone(),
        column_type: written.column_type,
        not_null: written.not_null,
        default: None,
        merge: if written.merge_add { MergeRule::Add } else { MergeRule::Last },
    };
    if let Some(written) = &written.default {
        column.default = Some(default(written, &column, binding)?);
    }
    Ok(column)
}

fn default(
    DefaultWritten(expression): &DefaultWritten,
    column: &Column,
    binding: &Binding<'_>,
) -> Result<ColumnDefault, SqlError> {
    match Constant::of(expression, binding.params)? {
        // Whether it gives the column's type is checked with the whole table.
        Some(Constant::Function(function)) => Ok(function),
        Some(constant) => constant.value(column, binding).map(ColumnDefault::Value),
        None => Err(SqlError::unsupported(format!(
            "the default of column {} is a constant, NOW(), SNOWFLAKE_ID(), UUID_V7() or \
             CURRENT_USER()",
            column.name
        ))),
    }
}
