//! One row to very many: subscribers of one query of a SHARED table, against a bare server that
//! sends as many bytes to as many sockets.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::Connection;
use crate::crowd::{Crowd, DELTA, Socket, subscribe};
use crate::report::{Figure, Reach, Report, Round};
use crate::server::{MANY_SOCKETS, Process, token};

const ROUNDS: usize = 3;

/// How many sockets, how long between two rows, how many rows.
const PACED: [(usize, Duration, u64); 2] =
    [(1_000, Duration::from_millis(100), 30), (5_000, Duration::from_millis(500), 10)];

const SATURATED: (usize, u64) = (1_000, 300);

const SQL: &str = "SELECT * FROM bench.rows";

/// Connections that write as fast as they can.
const WRITERS: u64 = 8;

/// What is measured: the sockets of one server, and who writes to it.
struct Side {
    process: Process,
    crowd: Crowd,
    writers: Vec<Connection>,
    token: String,
    /// What the limit is told to send.
    frame: String,
    /// How many rows were written.
    written: u64,
}

pub(crate) fn paced(report: &mut Report) -> Result<()> {
    block_on(async {
        for (sockets, pause, rows) in PACED {
            let folder = tempfile::tempdir()?;
            let mut sides = both(folder.path(), sockets).await?;
            let mut cpu = Vec::new();
            for _ in 0..ROUNDS {
                let [limit, value] = &mut sides;
                let limit = Some(limit.cpu_per_delivery(pause, rows).await?);
                cpu.push(Round { value: value.cpu_per_delivery(pause, rows).await?, limit });
            }
            let every = pause.as_millis();
            let what =
                format!("{sockets} sockets, a row every {every} ms: server CPU per delivery");
            let reach = Some(Reach::AtMost(1.2));
            report.add(Figure { benchmark: "fanout-paced", what, unit: "µs", rounds: cpu, reach });
        }
        Ok(())
    })
}

pub(crate) fn saturated(report: &mut Report) -> Result<()> {
    block_on(async {
        let folder = tempfile::tempdir()?;
        let (sockets, rows) = SATURATED;
        let mut sides = both(folder.path(), sockets).await?;
        let (mut speed, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let [limit, value] = &mut sides;
            let limit = limit.at_full_speed(rows).await?;
            let value = value.at_full_speed(rows).await?;
            speed.push(Round { value: value.0, limit: Some(limit.0) });
            cpu.push(Round { value: value.1, limit: Some(limit.1) });
        }
        let mut add = |what: &str, unit, rounds, reach| {
            let what = format!("{sockets} sockets: {what}, against broadcast");
            report.add(Figure { benchmark: "fanout-saturated", what, unit, rounds, reach });
        };
        add("deliveries", "/s", speed, Some(Reach::AtLeast(0.5)));
        add("server CPU per delivery", "µs", cpu, None);
        Ok(())
    })
}

/// The limit and Tidewire, with as many sockets each.
async fn both(folder: &Path, sockets: usize) -> Result<[Side; 2]> {
    let mut tidewire = Side::tidewire(folder, sockets).await?;
    tidewire.write().await?;
    tidewire.all_have_it().await?;
    // As many bytes.
    let frame = "x".repeat(tidewire.crowd.frame_bytes() - DELTA.len());
    Ok([Side::limit(frame, sockets).await?, tidewire])
}

impl Side {
    async fn limit(frame: String, sockets: usize) -> Result<Self> {
        let process = Process::start(Command::new(std::env::current_exe()?).arg("broadcast"))?;
        let address = process.address.clone();
        let connect = move |_| {
            let address = address.clone();
            async move { Socket::connect(&address).await }
        };
        Ok(Self { frame, ..Self::gather(process, String::new(), sockets, connect).await? })
    }

    async fn tidewire(folder: &Path, sockets: usize) -> Result<Self> {
        let process = Process::tidewire_with(folder, MANY_SOCKETS)?;
        let admin = token(folder, "root", "admin")?;
        make_tables(&process, &admin).await?;
        let (address, user) = (process.address.clone(), token(folder, "u0", "user")?);
        let open = move |_| {
            let (address, user) = (address.clone(), user.clone());
            async move {
                let mut socket = Socket::open(&address, &user).await?;
                socket.load(subscribe(1, SQL)).await?;
                Ok(socket)
            }
        };
        Self::gather(process, admin, sockets, open).await
    }

    async fn gather<F>(
        process: Process,
        token: String,
        sockets: usize,
        open: impl Fn(usize) -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<Socket>> + Send + 'static,
    {
        let crowd = Crowd::gather(sockets, open).await?;
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            writers.push(Connection::open(&process.address).await?);
        }
        Ok(Self { process, crowd, writers, token, frame: String::new(), written: 0 })
    }

    /// What the next write sends.
    fn body(&mut self) -> String {
        self.written += 1;
        if self.frame.is_empty() { insert(self.written) } else { self.frame.clone() }
    }

    async fn write(&mut self) -> Result<()> {
        let body = self.body();
        self.writers[0].ask(&self.token, &body).await?;
        Ok(())
    }

    async fn all_have_it(&self) -> Result<()> {
        self.crowd.wait_for(self.written * self.crowd.len()).await
    }

    /// Microseconds of the server's processor time, with a pause between two rows.
    async fn cpu_per_delivery(&mut self, pause: Duration, rows: u64) -> Result<f64> {
        let before = self.process.cpu()?;
        let mut ticks = tokio::time::interval(pause);
        for _ in 0..rows {
            ticks.tick().await;
            self.write().await?;
        }
        self.all_have_it().await?;
        self.micros_each(before, rows)
    }

    /// Deliveries a second, and microseconds of the server's processor time for each.
    async fn at_full_speed(&mut self, rows: u64) -> Result<(f64, f64)> {
        let (before, start) = (self.process.cpu()?, Instant::now());
        let bodies: Vec<String> = (0..rows).map(|_| self.body()).collect();
        let (token, next) = (&self.token, AtomicUsize::new(0));
        let writing = self.writers.iter_mut().map(async |writer| {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                writer.ask(token, body).await?;
            }
            anyhow::Ok(())
        });
        futures::future::try_join_all(writing).await?;
        self.all_have_it().await?;
        let deliveries = (rows * self.crowd.len()) as f64;
        Ok((deliveries / start.elapsed().as_secs_f64(), self.micros_each(before, rows)?))
    }

    fn micros_each(&self, before: Duration, rows: u64) -> Result<f64> {
        let cpu = self.process.cpu()?.saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / (rows * self.crowd.len()) as f64)
    }
}

/// The table that all subscribe to.
pub(crate) async fn make_tables(process: &Process, admin: &str) -> Result<()> {
    let mut connection = Connection::open(&process.address).await?;
    for sql in [
        "CREATE NAMESPACE bench",
        "CREATE SHARED TABLE bench.rows (id BIGINT PRIMARY KEY, room_id BIGINT, body TEXT, \
         INDEX (room_id)) WITH (ACCESS_LEVEL = READ)",
        "CREATE USER TABLE bench.notes (id BIGINT PRIMARY KEY, room_id BIGINT, body TEXT, \
         INDEX (room_id))",
    ] {
        connection.ask(admin, &format!(r#"{{"sql":"{sql}"}}"#)).await?;
    }
    Ok(())
}

/// A request that writes a row of about 100 bytes.
pub(crate) fn insert(id: u64) -> String {
    let body = "x".repeat(90);
    format!(
        r#"{{"sql":"INSERT INTO bench.rows (id, room_id, body) VALUES ($1, 1, $2)","params":[{id},"{body}"]}}"#
    )
}

pub(crate) fn block_on<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run)
}
