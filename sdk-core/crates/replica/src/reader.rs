//! Reading: any SQL, on a connection that cannot write.

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use protocol::value::Value;
use rusqlite::{Connection, OpenFlags, Params, Statement, params_from_iter};

use crate::error::ReplicaError;
use crate::functions::FUNCTIONS;
use crate::guard::{Guard, HIDDEN, INSERTS, Replicated, strict_quotes};
use crate::journal::Journal;
use crate::values::{Bound, is_read, read};

/// How often it is asked whether a statement is still wanted: every so many of SQLite's operations.
const OPERATIONS: c_int = 10_000;

/// A view of a replica. Each has a connection of its own, and waits for no writer.
pub struct Reader {
    pub(crate) connection: Connection,
    guard: Guard,
}

/// What can be read through a connection: one of its own, or that which writes.
pub struct View<'c> {
    pub(crate) connection: &'c mut Connection,
    guard: &'c Guard,
    /// Where the connection is that which writes: what it knows of its journal.
    pub(crate) journal: Option<&'c Journal>,
}

/// The values of a row of a result: NULL, integers, doubles, text and bytes, as SQLite has them.
/// Cloning shares them.
pub type ResultRow = Arc<[Value]>;

/// A query: its SQL, its values, and what it gave before, columns and rows. Rows that are as they were
/// are most often the same in memory.
pub type Query<'q> = (&'q str, &'q [Value], (&'q [String], &'q [ResultRow]));

/// What a query gave. Its debugging text has no value in it.
#[derive(Clone, PartialEq)]
pub struct QueryResult {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<ResultRow>,
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

    /// What it sees.
    pub fn view(&mut self) -> View<'_> {
        View::new(&mut self.connection, &self.guard, None)
    }

    /// Runs one query.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<QueryResult, ReplicaError> {
        self.view().query(sql, params)
    }
}

impl<'c> View<'c> {
    pub(crate) fn new(
        connection: &'c mut Connection,
        guard: &'c Guard,
        journal: Option<&'c Journal>,
    ) -> Self {
        Self { connection, guard, journal }
    }

    /// Runs one query.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<QueryResult, ReplicaError> {
        let mut results = self.run(&[(sql, params, Default::default())], || true);
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

    /// Begins to see one moment.
    fn begin(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        // Only a statement that runs finds out that tables have changed, and one that was prepared before
        // has the columns before. What is wrong with the file the queries tell.
        let look = self.connection.prepare_cached("SELECT 1 FROM sqlite_schema");
        let _ = look.and_then(|mut look| look.exists([]));
        Ok(())
    }

    /// Runs queries that all see the same moment. As soon as `is_wanted` says no they end with
    /// [`ReplicaError::Interrupted`]; it is asked often.
    pub fn run(
        &mut self,
        queries: &[Query<'_>],
        is_wanted: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Vec<Result<QueryResult, ReplicaError>> {
        if let Err(error) = self.begin() {
            let told = ReplicaError::from(error).to_string();
            return queries.iter().map(|_| Err(ReplicaError::File(told.clone()))).collect();
        }
        let results = while_wanted(self.connection, is_wanted.clone(), |connection| {
            let one = |asked: &Query<'_>| match is_wanted() {
                true if self.journal.is_some() => {
                    query_without(&FUNCTIONS, connection, self.guard, *asked)
                }
                true => query(connection, self.guard, *asked),
                false => Err(ReplicaError::Interrupted),
            };
            queries.iter().map(one).collect()
        });
        // There is nothing to be lost.
        let _ = self.connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        results
    }
}

/// Runs one query on the connection that writes, from its beginning to its end.
#[cfg(feature = "testing")]
pub(crate) fn look(
    connection: &Connection,
    guard: &Guard,
    sql: &str,
    params: &[Value],
) -> Result<QueryResult, ReplicaError> {
    query_without(&FUNCTIONS, connection, guard, (sql, params, Default::default()))
}

/// Runs one query of the application.
pub(crate) fn query(
    connection: &Connection,
    guard: &Guard,
    asked: Query<'_>,
) -> Result<QueryResult, ReplicaError> {
    query_without(&[], connection, guard, asked)
}

/// The same, where these functions are not there.
fn query_without(
    functions: &[&str],
    connection: &Connection,
    guard: &Guard,
    (sql, params, before): Query<'_>,
) -> Result<QueryResult, ReplicaError> {
    let sql = guard.rewrite(sql);
    guard.as_app(INSERTS, || {
        let mut statement = connection.prepare(&sql)?;
        if let Some(function) = functions.iter().find(|function| guard.calls(function)) {
            return Err(ReplicaError::Sql(format!("no such function: {function}")));
        }
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(ReplicaError::Refused(
                "a query only reads: write with `execute`, or have the server do it with `remote`"
                    .to_owned(),
            ));
        }
        let bound = params_from_iter(params.iter().map(Bound));
        let (columns, rows) = rows_of(&mut statement, bound, before)?;
        Ok(QueryResult { columns, rows, reads: guard.reads() })
    })
}

/// The columns and rows that a statement gives, without those that are not shown.
pub(crate) fn rows_of(
    statement: &mut Statement<'_>,
    params: impl Params,
    (old_columns, old): (&[String], &[ResultRow]),
) -> Result<(Vec<String>, Vec<ResultRow>), ReplicaError> {
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let shown: Vec<usize> =
        (0..names.len()).filter(|place| !HIDDEN.contains(&&*names[*place])).collect();
    let columns: Vec<String> = shown.iter().map(|place| names[*place].clone()).collect();
    let old = if columns == old_columns { old } else { &[] };
    let mut found: Vec<ResultRow> = Vec::with_capacity(old.len());
    // The place behind the last row that was found among the old ones, and how many were not since.
    let (mut next, mut missed) = (0, 0);
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        let is_old = |place: &usize| {
            let is = |(value, place): (_, &usize)| {
                row.get_ref(*place).is_ok_and(|now| is_read(value, now))
            };
            old.get(*place).is_some_and(|old| old.iter().zip(&shown).all(is))
        };
        // Those between were inserted, or are others now, or one is gone.
        if let Some(place) = [next, next + missed, next + missed + 1].into_iter().find(is_old) {
            found.push(Arc::clone(&old[place]));
            (next, missed) = (place + 1, 0);
            continue;
        }
        missed += 1;
        let value = |place: &usize| {
            let read = read(row.get_ref(*place)?);
            read.ok_or_else(|| ReplicaError::Value {
                row: found.len(),
                column: names[*place].clone(),
            })
        };
        let values: Result<ResultRow, ReplicaError> = shown.iter().map(value).collect();
        found.push(values?);
    }
    Ok((columns, found))
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

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
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
