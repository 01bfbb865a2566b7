//! How much room the replica takes, and what takes it.
//!
//! SQLite counts the pages of each table and index itself
//! ([dbstat](https://www.sqlite.org/dbstat.html)). It reads the whole file for it.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sdk_machine::SubscriptionId;

use crate::error::ReplicaError;
use crate::names::quoted;
use crate::reader::{View, while_wanted};
use crate::sets::{SetId, Sets};
use crate::table::Tables;

/// How much room a replica takes. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// The file.
    pub file: u64,
    /// Beside it: what was written last.
    pub journal: u64,
    /// In the file and free: what is written next takes it.
    pub free: u64,
    /// What waits for the server.
    pub outbox: u64,
    /// What was rejected and is not dealt with.
    pub rejections: u64,
    /// Tables with their indexes, those of the application among them, the largest first.
    pub tables: Vec<TableStorage>,
    /// What each subscription has of the tables, by its number.
    pub subscriptions: BTreeMap<SubscriptionId, Held>,
}

/// What a table takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStorage {
    /// Its name: `namespace.table` of a replicated one.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Them and its indexes.
    pub bytes: u64,
}

/// Rows that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub rows: u64,
    /// Their share of what the table takes. Rows that several hold are in the share of each.
    pub bytes: u64,
}

impl View<'_> {
    /// Looks how much room the replica takes. It reads the whole file, and ends with
    /// [`ReplicaError::Interrupted`] as soon as `is_wanted` says no.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn storage(
        &mut self,
        is_wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<Storage, ReplicaError> {
        let journal = match self.journal {
            Some(journal) => u64::from(journal.pages()) * pragma(self.connection, "page_size")?,
            None => {
                let path = self.connection.path().map(|path| format!("{path}-wal"));
                let file = path.and_then(|path| std::fs::metadata(path).ok());
                file.map_or(0, |file| file.len())
            }
        };
        self.connection.execute_batch("BEGIN")?;
        let found = while_wanted(self.connection, is_wanted, storage);
        // There is nothing to be lost.
        let _ = self.connection.execute_batch("ROLLBACK");
        Ok(Storage { journal, ..found? })
    }
}

fn storage(connection: &Connection) -> Result<Storage, ReplicaError> {
    let page = pragma(connection, "page_size")?;
    let mut storage = Storage {
        file: page * pragma(connection, "page_count")?,
        free: page * pragma(connection, "freelist_count")?,
        ..Storage::default()
    };
    let (replicated, sets) = (Tables::load(connection)?, Sets::load(connection)?);
    for (table, bytes) in sizes(connection)? {
        match &*table {
            "tw_outbox" | "tw_operations" => storage.outbox += bytes,
            "tw_rejected" => storage.rejections += bytes,
            _ if table.starts_with("tw_") || table.starts_with("sqlite_") => {}
            _ => match replicated.named(&table) {
                Some(it) => {
                    let held = held(connection, &it.quoted())?;
                    let rows: u64 = held.values().sum();
                    for (set, count) in held {
                        let share = bytes.saturating_mul(count) / rows.max(1);
                        for member in sets.members(set).iter().filter(|it| !it.is_ghost) {
                            let of = storage.subscriptions.entry(member.subscription).or_default();
                            (of.rows, of.bytes) = (of.rows + count, of.bytes + share);
                        }
                    }
                    let name = it.schema.name.to_string();
                    storage.tables.push(TableStorage { name, rows, bytes });
                }
                None => {
                    let sql = format!("SELECT count(*) FROM {}", quoted(&table));
                    let rows = connection.query_row(&sql, [], |row| row.get(0))?;
                    storage.tables.push(TableStorage { name: table, rows, bytes });
                }
            },
        }
    }
    storage.tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
    Ok(storage)
}

fn pragma(connection: &Connection, name: &str) -> Result<u64, ReplicaError> {
    Ok(connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}

/// The bytes of each table, its indexes with it.
fn sizes(connection: &Connection) -> Result<BTreeMap<String, u64>, ReplicaError> {
    let sql =
        "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
               WHERE d.aggregate = TRUE GROUP BY s.tbl_name";
    let mut select = connection.prepare(sql)?;
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// How many rows each set of subscriptions holds.
fn held(connection: &Connection, table: &str) -> Result<BTreeMap<SetId, u64>, ReplicaError> {
    let mut select =
        connection.prepare(&format!("SELECT _set, count(*) FROM {table} GROUP BY _set"))?;
    let found = select.query_map([], |row| Ok((SetId(row.get(0)?), row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}
