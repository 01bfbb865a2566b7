//! Reading: any SQL, on a connection that cannot write.

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::fmt;
use std::path::Path;

use protocol::value::Value;
use rusqlite::{Connection, OpenFlags, Params, Statement, params_from_iter};

use crate::error::ReplicaError;
use crate::guard::{Guard, HIDDEN, INSERTS, Replicated, strict_quotes};
use crate::values::{Bound, read};

/// How often it is asked whether a statement is still wanted: every so many of SQLite's operations.
const OPERATIONS: c_int = 10_000;

/// A view of a replica. Each has a connection of its own, and waits for no writer.
pub struct Reader {
    connection: Connection,
    guard: Guard,
}

/// What a query gave. Its debugging text has no value in it.
#[derive(Clone, PartialEq)]
pub struct QueryResult {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows: NULL, integers, doubles, text and bytes, as SQLite has them.
    pub rows: Vec<Vec<Value>>,
    /// The tables that it depends on, by their SQLite names in lower case; those behind views too.
    pub reads: BTreeSet<String>,
}

impl Reader {
    pub(crate) fn open(path: &Path, replicated: Replicated) -> Result<Self, ReplicaError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(
            "PRAGMA query_only = ON; PRAGMA trusted_schema = ON; PRAGMA busy_timeout = 5000;",
        )?;
        strict_quotes(&connection)?;
        let guard = Guard::new(replicated);
        guard.install(&mut connection)?;
        Ok(Self { connection, guard })
    }

    /// Runs one query.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<QueryResult, ReplicaError> {
        let mut results = self.run(&[(sql, params)], || true);
        results.pop().unwrap_or(Err(ReplicaError::Inconsistent("a query without a result")))
    }

    /// The names of the columns of a table's primary key, by its SQLite name; none where it has none.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn primary_key(&self, table: &str) -> Result<Vec<String>, ReplicaError> {
        let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
        let mut select = self.connection.prepare_cached(sql)?;
        let names = select.query_map([table], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Runs queries that all see the same moment. As soon as `is_wanted` says no they end with
    /// [`ReplicaError::Interrupted`]; it is asked often.
    pub fn run(
        &mut self,
        queries: &[(&str, &[Value])],
        is_wanted: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Vec<Result<QueryResult, ReplicaError>> {
        if let Err(error) = self.connection.execute_batch("BEGIN") {
            let told = ReplicaError::from(error).to_string();
            return queries.iter().map(|_| Err(ReplicaError::File(told.clone()))).collect();
        }
        let results = while_wanted(&mut self.connection, is_wanted.clone(), |connection| {
            let one = |(sql, params): &(&str, &[Value])| match is_wanted() {
                true => query(connection, &self.guard, sql, params),
                false => Err(ReplicaError::Interrupted),
            };
            queries.iter().map(one).collect()
        });
        // There is nothing to be lost.
        let _ = self.connection.execute_batch("ROLLBACK");
        results
    }
}

/// Runs one query of the application.
pub(crate) fn query(
    connection: &Connection,
    guard: &Guard,
    sql: &str,
    params: &[Value],
) -> Result<QueryResult, ReplicaError> {
    let sql = guard.rewrite(sql);
    guard.as_app(INSERTS, || {
        let mut statement = connection.prepare(&sql)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(ReplicaError::Refused(
                "a query only reads: write with `execute`, or have the server do it with `remote`"
                    .to_owned(),
            ));
        }
        let bound = params_from_iter(params.iter().map(Bound));
        let (columns, rows) = rows_of(&mut statement, bound)?;
        Ok(QueryResult { columns, rows, reads: guard.reads() })
    })
}

/// The columns and rows that a statement gives, without those that are not shown.
pub(crate) fn rows_of(
    statement: &mut Statement<'_>,
    params: impl Params,
) -> Result<(Vec<String>, Vec<Vec<Value>>), ReplicaError> {
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let shown: Vec<usize> =
        (0..names.len()).filter(|place| !HIDDEN.contains(&&*names[*place])).collect();
    let mut found = Vec::new();
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let value = |place: &usize| {
            let read = read(row.get_ref(*place)?);
            read.ok_or_else(|| ReplicaError::Value {
                row: found.len(),
                column: names[*place].clone(),
            })
        };
        let values: Result<Vec<Value>, ReplicaError> = shown.iter().map(value).collect();
        found.push(values?);
    }
    Ok((shown.iter().map(|place| names[*place].clone()).collect(), found))
}

/// Does some work on a connection, of which each statement is stopped when it is not wanted any
/// more.
pub(crate) fn while_wanted<T>(
    connection: &mut Connection,
    is_wanted: impl Fn() -> bool + Send + 'static,
    work: impl FnOnce(&Connection) -> T,
) -> T {
    // Where it cannot be set, they run to their ends.
    let _ = connection.progress_handler(OPERATIONS, Some(move || !is_wanted()));
    let done = work(connection);
    let _ = connection.progress_handler(OPERATIONS, None::<fn() -> bool>);
    done
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryResult")
            .field("columns", &self.columns)
            .field("rows", &self.rows.len())
            .field("reads", &self.reads)
            .finish()
    }
}
