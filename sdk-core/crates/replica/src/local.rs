//! What an application makes for itself: local tables, indexes, views and triggers.

use protocol::ids::TableName;
use rusqlite::Connection;

use crate::changed::Changed;
use crate::error::ReplicaError;
use crate::guard::Guard;
use crate::names::quoted;
use crate::replica::Replica;
use crate::said::{ignores, is_after};
use crate::table::Tables;

impl Replica {
    /// Does something in one transaction. What of the application is in its way, such as a UNIQUE
    /// index, is dropped and reported. `work` says whether tables were made or changed.
    pub(crate) fn despite_the_app(
        &mut self,
        work: impl Fn(&mut Self) -> Result<bool, ReplicaError>,
    ) -> Result<Changed, ReplicaError> {
        let mut error = match self.transaction(&work) {
            Ok(schema) => return Ok(self.changed(schema)),
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => error,
        };
        // If that is no help, all of it stays. A view keeps out no row, but may keep a table from being
        // changed: SQLite reads all views then, and fails at one that it cannot read.
        for has_views in [false, true] {
            match self.without_the_app(has_views, &work) {
                Ok(Some(changed)) => return Ok(changed),
                Ok(None) => {}
                Err(again) if again.may_pass() => return Err(again),
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    /// Does it once more, without what the application has on replicated tables. Nothing where there is
    /// none of that.
    fn without_the_app(
        &mut self,
        has_views: bool,
        work: impl Fn(&mut Self) -> Result<bool, ReplicaError>,
    ) -> Result<Option<Changed>, ReplicaError> {
        let dropped = self.transaction(|replica| {
            let dropped = drop_objects(&replica.connection, &replica.guard, has_views)?;
            if !dropped.is_empty() {
                replica.forget_statements();
                work(replica)?;
            }
            Ok(dropped)
        })?;
        if dropped.is_empty() {
            return Ok(None);
        }
        let mut changed = self.changed(true);
        changed.dropped.extend(dropped);
        Ok(Some(changed))
    }
}

/// Drops the indexes and triggers that the application has made on replicated tables; with `has_views` all
/// of its views, too.
fn drop_objects(
    connection: &Connection,
    guard: &Guard,
    has_views: bool,
) -> Result<Vec<String>, ReplicaError> {
    let mut dropped = Vec::new();
    for Object { kind, name, table, sql } in objects(connection)? {
        let is_of_table = (kind == "index" || kind == "trigger") && guard.is_replicated(&table);
        let is_such = is_of_table || (has_views && kind == "view");
        let is_ours = sql.is_none() || name.starts_with("tw_");
        if is_such && !is_ours {
            connection.execute_batch(&format!("DROP {kind} {}", quoted(&name)))?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// The indexes and triggers that the application has made on one table.
pub(crate) fn made_on(connection: &Connection, on: &str) -> Result<Vec<String>, ReplicaError> {
    let is_it = |it: &Object| {
        let is_of_table = (it.kind == "index" || it.kind == "trigger") && it.table == on;
        is_of_table && it.sql.is_some() && !it.name.starts_with("tw_")
    };
    Ok(objects(connection)?.into_iter().filter(is_it).map(|it| it.name).collect())
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
pub(crate) fn check_schema(
    connection: &Connection,
    guard: &Guard,
    tables: &Tables,
) -> Result<(), ReplicaError> {
    for Object { kind, name, table, sql } in objects(connection)? {
        // ALTER TABLE does not say to the authorizer what it renames to.
        let is_such = name.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("tw_"));
        if kind == "table" && is_such && !tables.is_ours(&name) {
            return Err(ReplicaError::Refused(format!(
                "names that begin with tw_ are the SDK's: choose another than {name}"
            )));
        }
        let is_replicated = guard.is_replicated(&table);
        let is_table = kind == "table" || kind == "view";
        if is_table && !is_replicated && TableName::of_replica(&name).is_some() {
            return Err(ReplicaError::Refused(format!(
                "{name} is how a table of the server is called here: choose another name"
            )));
        }
        let sql = sql.unwrap_or_default();
        let is_apps = kind == "trigger" && is_replicated && !name.starts_with("tw_");
        if is_apps && ignores(&sql) {
            return Err(ReplicaError::Refused(format!(
                "the trigger {name} of a replicated table has RAISE(IGNORE), and could keep a change \
                 from being noticed: use RAISE(ABORT, …)"
            )));
        }
        if is_apps && !is_after(&sql) {
            return Err(ReplicaError::Refused(format!(
                "the trigger {name} would run before a change of a replicated table, and could \
                 keep it out: make it an AFTER trigger"
            )));
        }
    }
    Ok(())
}
