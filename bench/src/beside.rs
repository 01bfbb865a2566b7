//! What a write costs beside many subscriptions that it does not concern, and what sockets cost
//! that nothing happens on.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use protocol::frame::v1::Subscribe;
use protocol::value::Value;

use crate::client::Connection;
use crate::crowd::{Crowd, Socket, subscribe};
use crate::fanout::{block_on, make_tables};
use crate::report::{Figure, Reach, Report, Round, spread};
use crate::server::{MANY_SOCKETS, Process, open_files_max, token};

const ROUNDS: usize = 5;

/// Writes of a round.
const WRITES: u64 = 2_000;

/// Subscriptions of one socket of those that are not concerned.
const EACH: usize = 1_000;

/// Sockets of other tenants, and subscriptions of each.
const TENANTS: (usize, usize) = (1_000, 100);

const IDLE: [usize; 2] = [2_000, 10_000];

/// A server, those that subscribe and are not concerned, and one that is.
struct Side {
    process: Process,
    _others: Crowd,
    concerned: Crowd,
    token: String,
    table: &'static str,
    written: u64,
}

/// Subscriptions to other rooms of a SHARED table.
pub(crate) fn distinct(report: &mut Report) -> Result<()> {
    block_on(async {
        let (few, many) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let few = Side::rooms(few.path(), 1, 10).await?;
        let many = Side::rooms(many.path(), 10, EACH).await?;
        compare(report, "fanout-distinct", "10,000 subscriptions, against 10", 1.3, few, many).await
    })
}

/// Subscriptions of other tenants to a USER table.
pub(crate) fn tenants(report: &mut Report) -> Result<()> {
    block_on(async {
        let (few, many) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let few = Side::tenants(few.path(), 1, 10).await?;
        let many = Side::tenants(many.path(), TENANTS.0, TENANTS.1).await?;
        let what = "100,000 subscriptions of others, against 10";
        compare(report, "tenants-flat", what, 1.15, few, many).await
    })
}

async fn compare(
    report: &mut Report,
    benchmark: &'static str,
    what: &str,
    most: f64,
    mut few: Side,
    mut many: Side,
) -> Result<()> {
    let (mut cpu, mut time) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let limit = few.write_all().await?;
        let value = many.write_all().await?;
        cpu.push(Round { value: value.0, limit: Some(limit.0) });
        time.push(Round { value: value.1, limit: Some(limit.1) });
    }
    let mut add = |cost: &str, rounds, reach| {
        let what = format!("{what}: {cost}");
        report.add(Figure { benchmark, what, unit: "µs", rounds, reach });
    };
    add("server CPU per write", cpu, Some(Reach::AtMost(most)));
    add("write to delivery, p50", time, Some(Reach::AtMost(most)));
    Ok(())
}

impl Side {
    async fn rooms(folder: &Path, sockets: usize, each: usize) -> Result<Self> {
        let process = Process::tidewire(folder)?;
        let admin = token(folder, "root", "admin")?;
        make_tables(&process, &admin).await?;
        let user = token(folder, "u0", "user")?;
        let tokens = vec![user.clone(); sockets];
        let others = gather(&process, &tokens, each, "bench.rows").await?;
        Self::with(process, others, &user, admin, "bench.rows").await
    }

    async fn tenants(folder: &Path, sockets: usize, each: usize) -> Result<Self> {
        let process = Process::tidewire(folder)?;
        make_tables(&process, &token(folder, "root", "admin")?).await?;
        let tokens: Result<Vec<_>> =
            (0..sockets).map(|tenant| token(folder, &format!("tenant-{tenant}"), "user")).collect();
        let others = gather(&process, &tokens?, each, "bench.notes").await?;
        let user = token(folder, "u0", "user")?;
        Self::with(process, others, &user, user.clone(), "bench.notes").await
    }

    async fn with(
        process: Process,
        others: Crowd,
        user: &str,
        token: String,
        table: &'static str,
    ) -> Result<Self> {
        // Beside all other rooms.
        let concerned = gather(&process, &[user.to_owned()], 1, table).await?;
        Ok(Self { process, _others: others, concerned, token, table, written: 0 })
    }

    /// Microseconds of a write: of the server's processor, and until it is delivered (median).
    async fn write_all(&mut self) -> Result<(f64, f64)> {
        let mut writer = Connection::open(&self.process.address).await?;
        let before = self.process.cpu()?;
        let mut times = Vec::new();
        for _ in 0..WRITES {
            self.written += 1;
            let (id, table) = (self.written, self.table);
            let sql = format!("INSERT INTO {table} (id, room_id, body) VALUES ($1, 0, 'x')");
            let start = Instant::now();
            let body = format!(r#"{{"sql":"{sql}","params":[{id}]}}"#);
            writer.ask(&self.token, &body).await?;
            self.concerned.wait_for(self.written).await?;
            times.push((self.concerned.latest() - start).as_secs_f64() * 1e6);
        }
        let cpu = self.process.cpu()?.saturating_sub(before);
        Ok((cpu.as_secs_f64() * 1e6 / WRITES as f64, spread(&times).1))
    }
}

/// A socket for each token, with so many subscriptions, each to another room of the table.
async fn gather(
    process: &Process,
    tokens: &[String],
    each: usize,
    table: &'static str,
) -> Result<Crowd> {
    let (address, tokens) = (process.address.clone(), tokens.to_vec());
    let count = tokens.len();
    Crowd::gather(count, move |number| {
        let (address, token) = (address.clone(), tokens.get(number).cloned());
        async move {
            let token = token.context("no token")?;
            let mut socket = Socket::open(&address, &token).await?;
            for place in 0..each {
                // Of one alone, it is the room that is written to.
                let room = if each == 1 && count == 1 { 0 } else { 1 + number * each + place };
                let sql = format!("SELECT * FROM {table} WHERE room_id = $1");
                let params = vec![Value::Integer(i64::try_from(room)?)];
                let subscribe = subscribe(1 + place as u64, sql);
                socket.load(Subscribe { params, ..subscribe }).await?;
            }
            Ok(socket)
        }
    })
    .await
}

/// What a socket takes that has one subscription, and nothing happens on it.
pub(crate) fn idle_memory(report: &mut Report) -> Result<()> {
    block_on(async {
        let most = open_files_max()?.saturating_sub(1_000);
        for sockets in IDLE.into_iter().filter(|sockets| *sockets < most) {
            let folder = tempfile::tempdir()?;
            let process = Process::tidewire_with(folder.path(), MANY_SOCKETS)?;
            make_tables(&process, &token(folder.path(), "root", "admin")?).await?;
            let user = token(folder.path(), "u0", "user")?;
            // What the first of them brings for all.
            let first = gather(&process, &vec![user.clone(); 50], 1, "bench.rows").await?;
            settle().await;
            let before = process.resident()?;
            let crowd = gather(&process, &vec![user; sockets], 1, "bench.rows").await?;
            settle().await;
            let each = (process.resident()? - before) / sockets as f64 / 1024.0;
            report.add(Figure {
                benchmark: "idle-memory",
                what: format!("{sockets} sockets with a subscription of their own: resident each"),
                unit: "KiB",
                rounds: vec![Round { value: each, limit: None }],
                reach: Some(Reach::AtMost(10.0)),
            });
            drop((first, crowd));
        }
        Ok(())
    })
}

/// Until nothing more happens.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
}
