//! One of a thousand subscribers stops reading for ten seconds: what the others notice, and what it
//! costs the server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use protocol::frame::v1::ServerFrame;

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

/// Bytes that wait for a socket at most, and what the system holds for it besides.
const QUEUE_BYTES: f64 = 4.0 * 1024.0 * 1024.0;

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
            let before = process.resident()?;
            let mut slow = Socket::open(&process.address, &user).await?;
            let loaded = slow.load(subscribe(1, SQL)).await?.rows;
            let value = write(&process, &admin, &user, &mut written).await?;
            grown.push(Round {
                value: (process.resident()? - before) / 1024.0 / 1024.0,
                limit: None,
            });
            p99.push(Round { value, limit: Some(limit) });
            read_all(&mut slow, written - loaded).await?;
        }
        let mut add = |what: &str, unit, rounds, most| {
            let (what, reach) = (what.to_owned(), Some(Reach::AtMost(most)));
            report.add(Figure { benchmark: "slow-reader", what, unit, rounds, reach });
        };
        add("999 others: p99, against without it", "ms", p99, 1.2);
        add("the server: resident, more than before", "MiB", grown, QUEUE_BYTES / 1024.0 / 1024.0);
        Ok(())
    })
}

/// Writes rows at a pace, and gives the milliseconds within which 99 of 100 deliveries came.
async fn write(process: &Process, admin: &str, user: &str, written: &mut u64) -> Result<f64> {
    let (address, user) = (process.address.clone(), user.to_owned());
    let crowd = Crowd::gather(SOCKETS - 1, move |_| {
        let (address, user) = (address.clone(), user.clone());
        async move {
            let mut socket = Socket::open(&address, &user).await?;
            socket.load(subscribe(1, SQL)).await?;
            Ok(socket)
        }
    })
    .await?;
    let mut writer = Connection::open(&process.address).await?;
    let (mut sent, mut ticks) = (Vec::new(), tokio::time::interval(EVERY));
    let start = Instant::now();
    while start.elapsed() < AWAY {
        ticks.tick().await;
        *written += 1;
        sent.push(Instant::now());
        writer.ask(admin, &insert(*written)).await?;
    }
    crowd.wait_for(sent.len() as u64 * crowd.len()).await?;
    let mut millis = Vec::new();
    for times in crowd.leave().await? {
        // Each was sent each row, in its order.
        millis
            .extend(times.iter().zip(&sent).map(|(got, sent)| (*got - *sent).as_secs_f64() * 1e3));
    }
    millis.sort_by(f64::total_cmp);
    millis.get(millis.len() * 99 / 100).copied().context("nothing was delivered")
}

/// It reads again, and gets all that was written meanwhile.
async fn read_all(slow: &mut Socket, rows: u64) -> Result<()> {
    let mut read = 0;
    while read < rows {
        read += match slow.next().await? {
            ServerFrame::Delta(delta) => delta.changes.len() as u64,
            ServerFrame::CatchUp(piece) => piece.changes.len() as u64,
            ServerFrame::Frontier(_) | ServerFrame::Progress(_) => 0,
            other => bail!("not a change: {other:?}"),
        };
    }
    anyhow::ensure!(read == rows, "{read} rows have come, and not {rows}");
    Ok(())
}
