//! The same rows in a bare SQLite file: one prepared INSERT in one transaction, with the pragmas
//! and the columns of a replica.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use rusqlite::Connection;

/// Rows a second.
pub(crate) fn rows_per_second(folder: &Path, rows: u64, body_bytes: usize) -> Result<f64> {
    let folder = tempfile::tempdir_in(folder)?;
    let mut connection = Connection::open(folder.path().join("limit.sqlite"))?;
    connection.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE notes (id INT NOT NULL, room_id INTEGER, body TEXT, _seq INTEGER,
           _set INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id)) STRICT;
         CREATE INDEX notes_room ON notes (room_id, _seq);",
    )?;
    let body = "x".repeat(body_bytes);
    let start = Instant::now();
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO notes VALUES (?, ?, ?, ?, 1)")?;
        for id in 0..rows.cast_signed() {
            insert.execute((id, id % 100, &body, id))?;
        }
    }
    transaction.commit()?;
    Ok(rows as f64 / start.elapsed().as_secs_f64())
}
