//! Single-row INSERTs over HTTP, each synced before its answer, against a bare server that echoes
//! as many bytes.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::client::{self, Connection, Seen};
use crate::report::{Figure, Reach, Report, Round};
use crate::server::{Process, token};

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(4);

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let server = Process::tidewire(folder.path())?;
    let (user, admin) =
        (token(folder.path(), "u0", "user")?, token(folder.path(), "root", "admin")?);
    runtime.block_on(async {
        let mut connection = Connection::open(&server.address).await?;
        for sql in [
            "CREATE NAMESPACE bench",
            "CREATE USER TABLE bench.rows (id BIGINT PRIMARY KEY, body TEXT NOT NULL)",
        ] {
            connection.ask(&admin, &format!(r#"{{"sql":"{sql}"}}"#)).await?;
        }
        anyhow::Ok(())
    })?;
    let mut echo = Process::start(Command::new(std::env::current_exe()?).arg("echo"))?;
    for clients in [1, 16, 64] {
        let mut seen = Vec::new();
        for round in 0..ROUNDS as u64 {
            let limit = runtime.block_on(load(&echo, &user, clients, round))?;
            let tidewire = runtime.block_on(load(&server, &user, clients, round))?;
            seen.push((tidewire, limit));
        }
        add(report, clients, &seen);
    }
    echo.kill()
}

/// INSERTs with keys that nobody has used.
async fn load(process: &Process, token: &str, clients: u64, round: u64) -> Result<Seen> {
    let text = "x".repeat(100);
    let base = clients << 50 | round << 48;
    client::load(process, token, clients, TIME, move |client, number| {
        let id = base | client << 32 | number;
        format!(
            r#"{{"sql":"INSERT INTO bench.rows (id, body) VALUES ($1, $2)","params":[{id},"{text}"]}}"#
        )
    })
    .await
}

fn add(report: &mut Report, clients: u64, seen: &[(Seen, Seen)]) {
    let rounds = |of: &dyn Fn(&Seen) -> f64| {
        let round =
            |(value, limit): &(Seen, Seen)| Round { value: of(value), limit: Some(of(limit)) };
        seen.iter().map(round).collect::<Vec<_>>()
    };
    let figure = |what: &str, unit, rounds, reach| Figure {
        benchmark: "write-sql",
        what: format!("{clients} clients: {what}"),
        unit,
        rounds,
        reach: if clients == 64 { reach } else { None },
    };
    let per_second = rounds(&|seen| seen.per_second);
    report.add(figure("INSERTs, against echo", "/s", per_second, Some(Reach::AtLeast(0.5))));
    let above = seen
        .iter()
        .map(|(value, limit)| Round { value: value.cpu_micros - limit.cpu_micros, limit: None });
    let above = above.collect();
    report.add(figure("server CPU above echo", "µs", above, Some(Reach::AtMost(45.0))));
    let cpu = rounds(&|seen| seen.cpu_micros);
    report.add(figure("server CPU each, against echo", "µs", cpu, None));
    let p50 = rounds(&|seen| seen.percentile(50));
    report.add(figure("p50, against echo", "µs", p50, None));
    let p99 = rounds(&|seen| seen.percentile(99));
    report.add(figure("p99, against echo", "µs", p99, None));
}
