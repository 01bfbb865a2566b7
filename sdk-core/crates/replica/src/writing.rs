//! Transactions of the application: any SQL on local and replicated tables, and what of it is to be
//! sent.

use std::collections::BTreeSet;

use protocol::ids::{ColumnId, Lane, TableId};
use protocol::schema::{AccessLevel, TableKind};
use protocol::value::Value;
use rusqlite::params_from_iter;

use crate::capture::Capture;
use crate::error::ReplicaError;
use crate::functions::{NO_SNOWFLAKE, SNOWFLAKE, Writer};
use crate::guard::{How, PENDING};
use crate::local::{check_schema, schema_version};
use crate::names::is_upsert;
use crate::outbox::{self, Draft, MutationId};
use crate::reader::{QueryResult, query, rows_of, while_wanted};
use crate::replica::{Changed, Replica};
use crate::tables::Table;
use crate::values::Bound;

/// What came of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// How many rows it has written.
    pub rows_affected: u64,
    /// The names of the columns that RETURNING gives.
    pub columns: Vec<String>,
    /// What it gives.
    pub rows: Vec<Vec<Value>>,
}

/// What came of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// What is to be sent; nothing where it wrote local tables alone, or changed nothing.
    pub mutation: Option<MutationId>,
    /// What it has changed.
    pub changed: Changed,
}

/// A transaction of the application. Dropping it undoes it.
#[derive(Debug)]
pub struct Transaction<'r> {
    pub(crate) replica: &'r mut Replica,
    writer: Writer,
    /// The replicated tables that it may have written.
    tables: BTreeSet<TableId>,
    /// Where all of it is, and by which table.
    lane: Option<(Lane, String)>,
    /// See [`Capture`].
    defaulted: BTreeSet<(TableId, ColumnId)>,
    /// All tables that it may have written, by their SQLite names.
    written: BTreeSet<String>,
    has_direct: bool,
    is_schema: bool,
    is_open: bool,
}

impl Replica {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be written.
    pub fn begin(&mut self, writer: Writer) -> Result<Transaction<'_>, ReplicaError> {
        self.forget_touched();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.making.begin(&writer);
        self.guard.allow_savepoints(true);
        Ok(Transaction {
            replica: self,
            writer,
            tables: BTreeSet::new(),
            lane: None,
            defaulted: BTreeSet::new(),
            written: BTreeSet::new(),
            has_direct: false,
            is_schema: false,
            is_open: true,
        })
    }

    /// Runs one statement in a transaction of its own.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it; nothing of it was done.
    pub fn execute(
        &mut self,
        writer: Writer,
        sql: &str,
        params: &[Value],
    ) -> Result<(Executed, Committed), ReplicaError> {
        let mut transaction = self.begin(writer)?;
        transaction.refuse_savepoints();
        let executed = transaction.execute(sql, params, || true)?;
        Ok((executed, transaction.commit()?))
    }
}

impl Transaction<'_> {
    /// Refuses SAVEPOINT, RELEASE and ROLLBACK TO, which mean nothing where one statement is all.
    pub fn refuse_savepoints(&mut self) {
        self.replica.guard.allow_savepoints(false);
    }

    /// Runs a statement. When it fails nothing of it was done, and the transaction goes on. As soon
    /// as `is_wanted` says no it ends with [`ReplicaError::Interrupted`].
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn execute(
        &mut self,
        sql: &str,
        params: &[Value],
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<Executed, ReplicaError> {
        self.check_open()?;
        let how = if is_upsert(sql) { How::Upsert } else { How::Insert };
        let (sql, guard) = (self.replica.guard.rewrite(sql), self.replica.guard.clone());
        let before = schema_version(&self.replica.connection)?;
        self.replica.making.take_asked();
        let replica = &mut *self.replica;
        let (lane, tables) = (&mut self.lane, &mut self.tables);
        let done = while_wanted(&mut replica.connection, is_wanted, |connection| {
            guard.as_app(how, || {
                let mut statement = connection.prepare(&sql)?;
                for name in guard.writes() {
                    let table = replica.tables.0.values().find(|table| table.name == name);
                    let Some(table) = table else { continue };
                    check_table(table, &self.writer, lane)?;
                    check_snowflake(table, guard.calls(SNOWFLAKE))?;
                    tables.insert(table.schema.id);
                }
                let bound = params_from_iter(params.iter().map(Bound));
                // Of a statement that gives rows, all of it is done when the last was asked for.
                let (columns, rows) = rows_of(&mut statement, bound)?;
                Ok((columns, rows, connection.changes()))
            })
        });
        self.check_open()?;
        let (columns, rows, count) = done?;
        let is_ddl = schema_version(&self.replica.connection)? != before;
        if is_ddl {
            check_schema(&self.replica.connection, &guard)?;
        }
        self.is_schema |= is_ddl;
        if how == How::Upsert {
            self.defaulted.extend(self.replica.making.take_asked());
        }
        let written = guard.writes();
        // SQLite counts rows, and says the last count again where a statement has none.
        let counts = !is_ddl && !written.is_empty();
        self.written.extend(written);
        Ok(Executed { rows_affected: if counts { count } else { 0 }, columns, rows })
    }

    /// Reads, with what this transaction has written.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with the query.
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<QueryResult, ReplicaError> {
        self.check_open()?;
        query(&self.replica.connection, &self.replica.guard, sql, params)
    }

    /// An operation on a row that is not here.
    pub(crate) fn direct(&mut self, draft: &Draft) -> Result<(), ReplicaError> {
        let sql = "INSERT INTO tw_log_direct (table_id, operation) VALUES (?1, ?2)";
        let bytes = protocol::codec::encode(&draft.operation);
        self.replica
            .connection
            .prepare_cached(sql)?
            .execute(rusqlite::params![draft.operation.table.0, bytes])?;
        self.has_direct = true;
        Ok(())
    }

    /// The table with this name, which is about to be written.
    pub(crate) fn table(&mut self, name: &str) -> Result<Table, ReplicaError> {
        self.check_open()?;
        let mut tables = self.replica.tables.0.values();
        let found = tables.find(|table| table.schema.name.to_string() == name);
        let table = found.ok_or_else(|| ReplicaError::NoSuchTable(name.to_owned()))?.clone();
        check_table(&table, &self.writer, &mut self.lane)?;
        Ok(table)
    }

    /// Ends it: all of it is there, and what is to be sent waits.
    ///
    /// # Errors
    /// [`ReplicaError`] says what it must not have done; nothing of it is done.
    pub fn commit(mut self) -> Result<Committed, ReplicaError> {
        self.check_open()?;
        let drafts = self.drafts()?;
        let mut added = None;
        if let (Some((lane, _)), false) = (&self.lane, drafts.is_empty()) {
            let (size, now) = (self.replica.outbox, self.writer.now);
            added = Some(outbox::add(&self.replica.connection, size, lane, now, &drafts)?);
        }
        self.replica.connection.execute_batch("COMMIT")?;
        self.is_open = false;
        let mut changed = self.replica.changed(self.is_schema);
        // Of some SQLite tells nothing.
        let written = std::mem::take(&mut self.written);
        changed.tables.extend(written);
        let mutation = added.map(|(id, bytes)| {
            self.replica.outbox.mutations += 1;
            self.replica.outbox.bytes += bytes;
            changed.tables.insert(PENDING.to_owned());
            id
        });
        Ok(Committed { mutation, changed })
    }

    /// What it has done, as operations: first those on rows that were not here.
    fn drafts(&self) -> Result<Vec<Draft>, ReplicaError> {
        let connection = &self.replica.connection;
        let mut drafts = Vec::new();
        if self.has_direct {
            drafts = outbox::take_direct(connection, &self.replica.tables)?;
        }
        for id in &self.tables {
            let (table, defaulted) = (self.replica.tables.get(*id)?, &self.defaulted);
            let capture = Capture { connection, table, defaulted, now: self.writer.now };
            drafts.extend(capture.take()?);
        }
        Ok(drafts)
    }

    /// A statement may have ended it.
    fn check_open(&self) -> Result<(), ReplicaError> {
        match self.replica.connection.is_autocommit() {
            true => Err(ReplicaError::RolledBack),
            false => Ok(()),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.replica.guard.allow_savepoints(false);
        if self.is_open {
            // It may have been rolled back already.
            let _ = self.replica.connection.execute_batch("ROLLBACK");
        }
    }
}

/// Whether its user may write a table, and together with what was written before.
fn check_table(
    table: &Table,
    writer: &Writer,
    lane: &mut Option<(Lane, String)>,
) -> Result<(), ReplicaError> {
    let name = table.schema.name.to_string();
    if let TableKind::Shared(sharing) = &table.schema.kind
        && sharing.access != AccessLevel::Write
    {
        return Err(ReplicaError::NotWritable(name));
    }
    let its = table.schema.lane(&writer.user);
    match lane {
        Some((lane, first)) if *lane != its => {
            Err(ReplicaError::TwoLanes { first: first.clone(), second: name })
        }
        Some(_) => Ok(()),
        None => {
            *lane = Some((its, name));
            Ok(())
        }
    }
}

fn check_snowflake(table: &Table, is_called: bool) -> Result<(), ReplicaError> {
    match (&table.schema.kind, is_called) {
        (TableKind::Shared(_), true) => Err(ReplicaError::Refused(NO_SNOWFLAKE.to_owned())),
        _ => Ok(()),
    }
}
