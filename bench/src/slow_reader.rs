//! One of a thousand subscribers stops reading for ten seconds: what the others notice, and what it
//! costs the server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use protocol::frame::v1::{ServerFrame, Subscribe};

use crate::client::Connection;
use crate::crowd::{Crowd, Socket, subscribe};
use crate::fanout::{block_on, insert, make_tables};
use crate::report::{Figure, Reach, Report, Round};
use crate::server::{Process, token};

const SOCKETS: usize = 1_000;

/// How long it does not read, and how often a row is written meanwhile.
const AWAY: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_millis(40);

const ROUNDS: usize = 3;

const SQL: &str = "SELECT * FROM bench.rows";

/// What the slow one is told besides, with each row: in ten seconds, more than waits for it and
/// than the system holds.
const NOTE_BYTES: usize = 40_000;
const NOTES: &str = "SELECT * FROM bench.notes";

/// What waits for a socket at most, as the server is set.
const QUEUE_MIB: f64 = 4.0;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    block_on(async {
        let folder = tempfile::tempdir()?;
        let process = Process::tidewire(folder.path())?;
        let admin = token(folder.path(), "root", "admin")?;
        make_tables(&process, &admin).await?;
        let user = token(folder.path(), "u0", "user")?;
        let mut written = 0;
        let (mut p99, mut grown) = (Vec::new(), Vec::new());
        // Once that warms up.
        write(&process, &admin, &user, &mut written).await?;
        for _ in 0..ROUNDS {
            let limit = write(&process, &admin, &user, &mut written).await?;
            let mut slow = Socket::open_small(&process.address, &user).await?;
            // It begins with what comes.
            for (request, sql) in [(1, SQL), (2, NOTES)] {
                slow.load(Subscribe { fetch_last: Some(1), ..subscribe(request, sql) }).await?;
            }
            let before = written;
            let value = write(&process, &admin, &user, &mut written).await?;
            p99.push(Round { value: value.p99, limit: Some(limit.p99) });
            grown.push(Round { value: (value.grown - limit.grown).max(0.0), limit: None });
            // A row and a note each.
            read_all(&mut slow, 2 * (written - before)).await?;
        }
        let mut add = |what: &str, unit, rounds, most| {
            let (what, reach) = (what.to_owned(), Some(Reach::AtMost(most)));
            report.add(Figure { benchmark: "slow-reader", what, unit, rounds, reach });
        };
        add("999 others: p99, against without it", "ms", p99, 1.2);
        // What the system holds of pages is not counted so exactly.
        add("the server: resident, above that without it", "MiB", grown, QUEUE_MIB + 2.0);
        Ok(())
    })
}

/// What a run costs.
struct Cost {
    /// Milliseconds within which 99 of 100 deliveries came.
    p99: f64,
    /// How much larger the server was at the end of it than at its begin, in MiB.
    grown: f64,
}

/// Writes rows at a pace, which go to a crowd.
async fn write(process: &Process, admin: &str, user: &str, written: &mut u64) -> Result<Cost> {
    let (address, listener) = (process.address.clone(), user.to_owned());
    let crowd = Crowd::gather(SOCKETS - 1, move |_| {
        let (address, user) = (address.clone(), listener.clone());
        async move {
            let mut socket = Socket::open(&address, &user).await?;
            socket.load(Subscribe { fetch_last: Some(1), ..subscribe(1, SQL) }).await?;
            Ok(socket)
        }
    })
    .await?;
    let (before, note) = (process.resident()?, "x".repeat(NOTE_BYTES));
    let mut writer = Connection::open(&process.address).await?;
    let (mut sent, mut ticks) = (Vec::new(), tokio::time::interval(EVERY));
    let start = Instant::now();
    while start.elapsed() < AWAY {
        ticks.tick().await;
        *written += 1;
        sent.push(Instant::now());
        writer.ask(admin, &insert(*written)).await?;
        let note = format!("INSERT INTO bench.notes (id, body) VALUES ({written}, '{note}')");
        writer.ask(user, &format!(r#"{{"sql":"{note}"}}"#)).await?;
    }
    crowd.wait_for(sent.len() as u64 * crowd.len()).await?;
    let grown = (process.resident()? - before) / 1024.0 / 1024.0;
    let mut millis = Vec::new();
    for times in crowd.leave().await? {
        // Each was sent each row, in its order.
        millis
            .extend(times.iter().zip(&sent).map(|(got, sent)| (*got - *sent).as_secs_f64() * 1e3));
    }
    millis.sort_by(f64::total_cmp);
    let p99 = millis.get(millis.len() * 99 / 100).copied().context("nothing was delivered")?;
    Ok(Cost { p99, grown })
}

/// It reads again, and gets all that was written meanwhile.
async fn read_all(slow: &mut Socket, rows: u64) -> Result<()> {
    let (mut read, mut caught_up) = (0, 0);
    while read < rows {
        read += match slow.next().await? {
            ServerFrame::Delta(delta) => delta.changes.len() as u64,
            ServerFrame::CatchUp(piece) => {
                caught_up += piece.changes.len() as u64;
                piece.changes.len() as u64
            }
            ServerFrame::Frontier(_) | ServerFrame::Progress(_) => 0,
            other => bail!("not a change: {other:?}"),
        };
    }
    anyhow::ensure!(read == rows, "{read} rows have come, and not {rows}");
    anyhow::ensure!(caught_up > 0, "it was not slow: nothing was more than its queue takes");
    Ok(())
}
