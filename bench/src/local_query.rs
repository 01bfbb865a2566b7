//! A watched query beside 100,000 rows on the device, of which one changes: from the change until the
//! application has the result, against the same query on a bare SQLite file.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use sdk_core::{Client, Config, Value};

use crate::fanout::block_on;
use crate::report::{Figure, Reach, Report, Round, spread};

const ROUNDS: usize = 5;

/// Rows of the table, and how many different rooms they are in.
const ROWS: i64 = 100_000;
const ROOMS: i64 = 100;

/// The rooms that are looked at: 1,000 rows, and the last 50 of them.
const QUERIES: [(&str, &str); 2] = [
    ("1,000 of 100,000 rows", "SELECT id, body FROM notes WHERE room = 7 ORDER BY id"),
    ("the last 50 of 1,000", "SELECT id, body FROM notes WHERE room = 7 ORDER BY id DESC LIMIT 50"),
];

/// Changes of one round.
const CHANGES: i64 = 200;

const MADE: [&str; 2] = [
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, room INTEGER, body TEXT) STRICT",
    "CREATE INDEX notes_room ON notes (room, id)",
];

const FILLED: &str =
    "WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n WHERE id < $1 - 1)
     INSERT INTO notes SELECT id, id % $2, printf('%.*c', 80, 'x') FROM n";

const CHANGE: &str = "UPDATE notes SET body = $2 WHERE id = $1";

pub(crate) fn run(report: &mut Report) -> Result<()> {
    block_on(async {
        let folder = tempfile::tempdir()?;
        let bare = bare(&folder.path().join("limit.sqlite"))?;
        // Nobody answers there: what is local needs nobody.
        let token = || async { Ok("none".to_owned()) };
        let config = Config::new("ws://127.0.0.1:9", "u0", folder.path(), token);
        let client = Client::open(config).await?;
        client.pause();
        for sql in MADE {
            client.execute(sql, &[]).await?;
        }
        client.execute(FILLED, &[Value::Integer(ROWS), Value::Integer(ROOMS)]).await?;
        for (what, sql) in QUERIES {
            let mut rounds = Vec::new();
            for round in 0..ROUNDS {
                let limit = Some(query(&bare, sql)?);
                rounds.push(Round { value: watch(&client, sql, round).await?, limit });
            }
            report.add(Figure {
                benchmark: "local-query",
                what: format!("watch of {what}, one changes: p50, against sqlite"),
                unit: "µs",
                rounds,
                reach: Some(Reach::AtMost(1.5)),
            });
        }
        client.close().await;
        Ok(())
    })
}

/// The same table in a file of SQLite's own.
fn bare(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    for sql in MADE {
        connection.execute_batch(sql)?;
    }
    connection.execute(&FILLED.replace('$', "?"), [ROWS, ROOMS])?;
    Ok(connection)
}

/// Microseconds of the query, whose rows are taken as values.
fn query(connection: &Connection, sql: &str) -> Result<f64> {
    let mut times = Vec::new();
    for number in 0..CHANGES {
        connection.execute(&CHANGE.replace('$', "?"), (changed(number), format!("{number}")))?;
        let start = Instant::now();
        let mut statement = connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows = statement.query_map([], read)?;
        let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(rows.iter().any(|(id, _)| *id == changed(number)), "the row is not here");
    }
    Ok(spread(&times).1)
}

/// Microseconds from the change that is done to its result.
async fn watch(client: &Client, sql: &str, round: usize) -> Result<f64> {
    let mut results = client.watch(sql, &[])?;
    results.next().await.context("no result")?;
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let body = Value::text(format!("{round} {number}"))?;
        client.execute(CHANGE, &[Value::Integer(changed(number)), body]).await?;
        let start = Instant::now();
        let result = results.next().await.context("no result")?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(result.diff.updated.len() == 1, "more than one row has changed");
    }
    Ok(spread(&times).1)
}

/// One of the last 50 rows of the room.
fn changed(number: i64) -> i64 {
    ROWS - ROOMS * (1 + number % 50) + 7
}
