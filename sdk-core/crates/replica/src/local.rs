//! What an application makes for itself: local tables, indexes, views and triggers.

use protocol::ids::TableName;
use protocol::value::Value;
use rusqlite::{Connection, params_from_iter};

use crate::error::ReplicaError;
use crate::guard::Guard;
use crate::names::{is_after, quoted};
use crate::reader::while_wanted;
use crate::replica::{Changed, Replica};
use crate::values::Bound;

/// What came of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// How many rows it has written.
    pub rows_affected: u64,
    /// What it has changed.
    pub changed: Changed,
}

impl Replica {
    /// Runs one statement of the application on what is its own. Local tables stay on the device
    /// and join with replicated ones; indexes, triggers and views on replicated tables are welcome,
    /// and go when they are in the way of the server's rows.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it; nothing of it was done.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<Executed, ReplicaError> {
        self.execute_while(sql, params, || true)
    }

    /// The same, while it is wanted: when `is_wanted` says no it ends, and nothing was done.
    ///
    /// # Errors
    /// As [`Replica::execute`], and [`ReplicaError::Interrupted`].
    pub fn execute_while(
        &mut self,
        sql: &str,
        params: &[Value],
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<Executed, ReplicaError> {
        let sql = self.guard.rewrite(sql);
        let guard = self.guard.clone();
        let (rows_affected, is_ddl, written) = self.transaction(|replica| {
            let before = schema_version(replica)?;
            let rows = while_wanted(&mut replica.connection, is_wanted, |connection| {
                guard.as_app(|| {
                    let mut statement = connection.prepare(&sql)?;
                    let mut rows = statement.query(params_from_iter(params.iter().map(Bound)))?;
                    // Of a statement that gives rows, all of it is done when the last one was asked
                    // for.
                    while rows.next()?.is_some() {}
                    Ok(connection.changes())
                })
            })?;
            let is_ddl = schema_version(replica)? != before;
            if is_ddl {
                check_schema(&replica.connection, &guard)?;
            }
            let written = guard.writes();
            // SQLite counts rows, and says the last count again where a statement has none.
            let counts = !is_ddl && !written.is_empty();
            Ok((if counts { rows } else { 0 }, is_ddl, written))
        })?;
        let mut changed = self.changed(is_ddl);
        changed.tables.extend(written);
        Ok(Executed { rows_affected, changed })
    }

    /// Does something in one transaction. What of the application is in its way, such as a UNIQUE
    /// index, is dropped and reported. `work` says whether tables were made or changed.
    pub(crate) fn despite_the_app(
        &mut self,
        work: impl Fn(&mut Self) -> Result<bool, ReplicaError>,
    ) -> Result<Changed, ReplicaError> {
        let error = match self.transaction(&work) {
            Ok(schema) => return Ok(self.changed(schema)),
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => error,
        };
        // If that is no help, all of it stays.
        let again = self.transaction(|replica| {
            let dropped = drop_objects(&replica.connection, &replica.guard)?;
            match dropped.is_empty() {
                true => Err(error),
                false => work(replica).map(|_| dropped),
            }
        });
        Ok(Changed { dropped: again?, ..self.changed(true) })
    }
}

/// Drops the indexes and triggers that the application has made on replicated tables.
fn drop_objects(connection: &Connection, guard: &Guard) -> Result<Vec<String>, ReplicaError> {
    let mut dropped = Vec::new();
    for Object { kind, name, table, sql } in objects(connection)? {
        let is_such = kind == "index" || kind == "trigger";
        let is_ours = sql.is_none() || name.starts_with("tw_");
        if is_such && !is_ours && guard.is_replicated(&table) {
            connection.execute_batch(&format!("DROP {kind} {}", quoted(&name)))?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Something that the file has: a table, an index, a view, a trigger.
struct Object {
    kind: String,
    name: String,
    table: String,
    /// How it was made. Some indexes come with their table.
    sql: Option<String>,
}

fn objects(connection: &Connection) -> Result<Vec<Object>, ReplicaError> {
    let mut statement =
        connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let objects = statement.query_map([], |row| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    })?;
    Ok(objects.collect::<Result<_, _>>()?)
}

/// Whether what the application has made leaves the SDK what it needs.
fn check_schema(connection: &Connection, guard: &Guard) -> Result<(), ReplicaError> {
    for Object { kind, name, table, sql } in objects(connection)? {
        let is_replicated = guard.is_replicated(&table);
        let is_table = kind == "table" || kind == "view";
        if is_table && !is_replicated && TableName::of_replica(&name).is_some() {
            return Err(ReplicaError::Refused(format!(
                "{name} is how a table of the server is called here: choose another name"
            )));
        }
        let is_early = sql.is_some_and(|sql| !is_after(&sql));
        if kind == "trigger" && is_replicated && is_early && !name.starts_with("tw_") {
            return Err(ReplicaError::Refused(format!(
                "the trigger {name} would run before a change of a replicated table, and could \
                 keep it out: make it an AFTER trigger"
            )));
        }
    }
    Ok(())
}

fn schema_version(replica: &Replica) -> Result<i64, ReplicaError> {
    Ok(replica.connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?)
}
