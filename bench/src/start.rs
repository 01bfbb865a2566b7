//! How long a server with a million rows takes to start, what it takes idle, and how large it is.

use std::path::Path;

use anyhow::Result;

use crate::client::Connection;
use crate::report::{Figure, Reach, Report, Round};
use crate::server::{Process, binary, token};

const ROUNDS: usize = 5;
const STATEMENTS: usize = 1_000;
const ROWS: usize = 1_000;
const MEGABYTE: f64 = 1024.0 * 1024.0;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Process::tidewire(folder.path())?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let empty = server.resident()? / MEGABYTE;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(fill(&server, folder.path()))?;
    let (mut clean, mut killed, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    let round = |value| Round { value, limit: None };
    for _ in 0..ROUNDS {
        server.stop()?;
        server = Process::tidewire(folder.path())?;
        clean.push(round(server.started_in.as_secs_f64()));
        std::thread::sleep(std::time::Duration::from_secs(1));
        resident.push(round(server.resident()? / MEGABYTE));
        // So that there is something to apply again.
        runtime.block_on(write(&server, folder.path()))?;
        server.kill()?;
        server = Process::tidewire(folder.path())?;
        killed.push(round(server.started_in.as_secs_f64()));
    }
    server.stop()?;
    let size = std::fs::metadata(binary()?)?.len() as f64 / MEGABYTE;
    let mut add = |what: &str, unit, rounds, reach| {
        let what = what.to_owned();
        report.add(Figure { benchmark: "start", what, unit, rounds, reach });
    };
    add("start after a stop, 1,000,000 rows", "s", clean, Some(Reach::AtMost(1.0)));
    add("start after kill -9 under writes", "s", killed, Some(Reach::AtMost(1.0)));
    add("idle, no rows: resident", "MiB", vec![round(empty)], None);
    add("idle, 1,000,000 rows: resident", "MiB", resident, None);
    add("the binary", "MiB", vec![round(size)], None);
    Ok(())
}

async fn fill(server: &Process, data: &Path) -> Result<()> {
    let admin = token(data, "root", "admin")?;
    let mut connection = Connection::open(&server.address).await?;
    for sql in [
        "CREATE NAMESPACE bench",
        "CREATE USER TABLE bench.rows (id BIGINT PRIMARY KEY, room INT, body TEXT, INDEX (room))",
    ] {
        connection.ask(&admin, &format!(r#"{{"sql":"{sql}"}}"#)).await?;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..10 {
        let user = token(data, &format!("user-{writer}"), "user")?;
        let address = server.address.clone();
        tasks.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            for statement in 0..STATEMENTS / 10 {
                connection.ask(&user, &insert(statement * ROWS, ROWS)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

/// A second of small writes, up to the moment of the kill.
async fn write(server: &Process, data: &Path) -> Result<()> {
    let user = token(data, "user-0", "user")?;
    let mut connection = Connection::open(&server.address).await?;
    for number in 0..2_000 {
        let sql = format!("UPDATE bench.rows SET room = {number} WHERE id = {number}");
        connection.ask(&user, &format!(r#"{{"sql":"{sql}"}}"#)).await?;
    }
    Ok(())
}

fn insert(first: usize, count: usize) -> String {
    let body = "x".repeat(60);
    let row = |id: usize| format!("({id}, {}, '{body}')", id / 100);
    let rows: Vec<String> = (first..first + count).map(row).collect();
    format!(r#"{{"sql":"INSERT INTO bench.rows (id, room, body) VALUES {}"}}"#, rows.join(", "))
}
