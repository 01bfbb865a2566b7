//! What lies around a replicated table N in the file: its indexes, `tw_base_N` with the server's
//! images of rows that have writes waiting, `tw_log_N` in which triggers note the first images of
//! what a transaction of the application touches, and those triggers.
//!
//! The log has no key and no constraint: within a trigger, the conflict clause of the statement
//! outside wins over one of its own. So the first entry of a row counts, and later ones are noise.
//! Triggers run after the change, because what REPLACE removes is told before that.

use protocol::ids::ColumnId;
use rusqlite::{Connection, OptionalExtension};

use crate::error::ReplicaError;
use crate::guard::{NOT_WRITTEN, WRITES};
use crate::names::quoted;
use crate::table::Table;
use crate::values::sqlite_type;

/// The function that gives a column its default.
pub(crate) const DEFAULT: &str = "tidewire_default";

/// In `_how` of a log: the row was there, and this is its image. Otherwise it was not, and the
/// number is how it came: see [`WRITES`].
pub(crate) const IMAGE: i64 = 0;

/// `_set` of a row that nothing but writes holds.
pub(crate) const PENDING_SET: i64 = -1;

const EVENTS: [&str; 3] = ["insert", "update", "delete"];

/// The SQL that makes a table whose columns, with their types, these are.
fn declaration(table: &Table, columns: &[(String, String)]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, of_type) in columns {
        let rest = match name.as_str() {
            "_set" => format!(" NOT NULL DEFAULT {PENDING_SET}"),
            name => match table.schema.column_named(name) {
                Some(column) if table.is_key(column.id) => {
                    format!(" NOT NULL{}", default(table, column.id))
                }
                Some(column) => default(table, column.id),
                None => String::new(),
            },
        };
        parts.push(format!("{} {of_type}{rest}", quoted(name)));
    }
    parts.push(format!("PRIMARY KEY ({})", table.key().join(", ")));
    format!("CREATE TABLE {} ({}) STRICT", table.quoted(), parts.join(", "))
}

/// A default is asked of the SDK, which has a clock and chance, so a row that was there before its
/// column reads as NULL.
fn default(table: &Table, column: ColumnId) -> String {
    match table.default_of(column) {
        Some(_) => format!(" DEFAULT ({DEFAULT}({}, {}))", table.schema.id.0, column.0),
        None => String::new(),
    }
}

/// Makes a table.
pub(crate) fn create(connection: &Connection, table: &Table) -> Result<(), ReplicaError> {
    Ok(connection.execute_batch(&declaration(table, &columns(table)))?)
}

/// The columns of a new table, with their types; the SDK's own come last.
fn columns(table: &Table) -> Vec<(String, String)> {
    let mut columns: Vec<(String, String)> = Vec::new();
    for column in &table.schema.columns {
        let of_type = sqlite_type(column, table.is_key(column.id));
        columns.push((column.name.to_string(), of_type.to_owned()));
    }
    columns.extend(table.hidden().map(|name| (name.to_owned(), "INTEGER".to_owned())));
    columns
}

/// Has a table that is there declare its defaults. SQLite refuses to add a column whose default is
/// no constant to a table with rows; what a default is has no place in the rows, so the text of the
/// table may be changed as SQLite's documentation of ALTER TABLE says.
pub(crate) fn declare(connection: &Connection, table: &Table) -> Result<(), ReplicaError> {
    let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
    let found = statement.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, String)> = found.collect::<Result<_, _>>()?;
    let wanted = declaration(table, &found);
    let select = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let present: Option<String> =
        connection.query_row(select, [&table.name], |row| row.get(0)).optional()?;
    if present.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let version: i64 = connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA writable_schema = ON")?;
    let update = "UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = ?2";
    let written = connection.execute(update, [&wanted, &table.name]);
    // Other connections notice by the version, this one is told.
    let told = connection.execute_batch(&format!("PRAGMA schema_version = {}", version + 1));
    connection.execute_batch("PRAGMA writable_schema = RESET")?;
    written?;
    Ok(told?)
}

/// Makes all of it, where it is not there as it has to be. The log is empty between transactions.
pub(crate) fn renew(connection: &Connection, table: &Table) -> Result<(), ReplicaError> {
    let (log, base, number) = (table.log(), table.base(), table.schema.id.0);
    let typed: Vec<String> = columns(table)
        .iter()
        .map(|(name, of_type)| format!("{} {of_type}", quoted(name)))
        .collect();
    let (typed, key) = (typed.join(", "), table.key().join(", "));
    let mut sql = drop_triggers(table);
    sql += &format!(
        "DROP TABLE IF EXISTS {log};\n\
         CREATE TABLE {log} (_place INTEGER PRIMARY KEY, _how INTEGER NOT NULL, {typed}) STRICT;\n\
         CREATE TABLE IF NOT EXISTS {base} ({typed}, PRIMARY KEY ({key})) STRICT;\n"
    );
    sql += &triggers(table);
    for index in &table.schema.indexes {
        sql += &format!(
            "CREATE INDEX IF NOT EXISTS tw_index_{number}_{} ON {} ({}, _seq);\n",
            index.id.0,
            table.quoted(),
            table.names(&index.columns).join(", ")
        );
    }
    // Rows are compared with the server by birth; what expires is not.
    if !table.has_expiry() {
        let name = table.quoted();
        sql += &format!("CREATE INDEX IF NOT EXISTS tw_births_{number} ON {name} (_seq);\n");
    }
    if table.has_expiry() {
        sql += &format!(
            "CREATE INDEX IF NOT EXISTS tw_expires_{number} ON {} (_expires) WHERE _expires IS NOT \
             NULL;\n",
            table.quoted()
        );
    }
    Ok(connection.execute_batch(&sql)?)
}

/// The SQL that removes the triggers, those of earlier formats too.
pub(crate) fn drop_triggers(table: &Table) -> String {
    let mut sql = String::new();
    for kind in ["guard", "capture"] {
        for event in EVENTS {
            let number = table.schema.id.0;
            sql += &format!("DROP TRIGGER IF EXISTS tw_{kind}_{event}_{number};\n");
        }
    }
    sql
}

/// For any other program the function of the condition is not there, and its write fails.
fn triggers(table: &Table) -> String {
    let (name, number, log) = (table.quoted(), table.schema.id.0, table.log());
    let of = |row: &str, names: &[String]| -> String {
        let named: Vec<String> = names.iter().map(|name| format!("{row}.{name}")).collect();
        named.join(", ")
    };
    let (key, all) = (table.key(), table.all());
    let (keys, alls) = (key.join(", "), all.join(", "));
    let image = format!("INSERT INTO {log} (_how, {alls}) VALUES ({IMAGE}, {});", of("OLD", &all));
    let was_not =
        format!("INSERT INTO {log} (_how, {keys}) SELECT {WRITES}(), {}", of("NEW", &key));
    let has_moved = format!("({}) IS NOT ({})", of("OLD", &key), of("NEW", &key));
    // Of an INSERT, SQLite does not say which columns it names.
    let is_named = format!("NEW._seq IS NOT NULL OR NEW._set <> {PENDING_SET}");
    let insert = format!("SELECT RAISE(ABORT, '{NOT_WRITTEN}') WHERE {is_named}; {was_not};");
    let bodies = [insert, format!("{image} {was_not} WHERE {has_moved};"), image.clone()];
    let mut sql = String::new();
    for (event, body) in EVENTS.iter().zip(bodies) {
        let upper = event.to_ascii_uppercase();
        sql += &format!(
            "CREATE TRIGGER tw_capture_{event}_{number} AFTER {upper} ON {name} WHEN {WRITES}() \
             BEGIN {body} END;\n"
        );
    }
    sql
}
