//! What is written with the SDK: stored on the device, sent and decided, and on the screen of another.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use sdk_core::{Client, Mutation, MutationState, SubscribeOptions, Value};

use crate::client;
use crate::fanout::{block_on, make_tables};
use crate::limits::{fsync, kv};
use crate::loading::open;
use crate::report::{Figure, Reach, Report, Round, spread};
use crate::server::{Process, token};

const ROUNDS: usize = 3;

/// Mutations that wait when the connection comes: of one row, and of a hundred.
const SINGLE: i64 = 10_000;
const LARGE: i64 = 200;
const ROWS: i64 = 100;

/// Mutations that may be under way, so many are decided with a sync at best.
const WINDOW: usize = 256;

/// Writes of a round that are waited for one by one.
const ONE_BY_ONE: i64 = 200;

const BODY_BYTES: usize = 80;

/// Bytes of a row with its key.
const ROW_BYTES: usize = 100;

const INSERT: &str = "INSERT INTO bench.notes (id, room_id, body) VALUES ($1, 1, $2)";

/// A server, and a device of its user.
struct World {
    folder: tempfile::TempDir,
    server: Process,
    user: String,
    client: Client,
}

impl World {
    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("server");
        let server = Process::tidewire(&data)?;
        make_tables(&server, &token(&data, "root", "admin")?).await?;
        let user = token(&data, "u0", "user")?;
        let client = device(&server, &user, &folder.path().join("device")).await?;
        Ok(Self { folder, server, user, client })
    }
}

async fn device(server: &Process, user: &str, folder: &Path) -> Result<Client> {
    let client = open(&server.address, "u0", user, folder).await?;
    let all = "SELECT * FROM bench.notes";
    client.subscribe(all, &[], SubscribeOptions::default()).await?.ready().await?;
    Ok(client)
}

fn note(id: i64) -> Result<[Value; 2]> {
    Ok([Value::Integer(id), Value::text("x".repeat(BODY_BYTES))?])
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    block_on(async {
        let world = World::new().await?;
        let (mut stored, mut single, mut large, mut alone) = (vec![], vec![], vec![], vec![]);
        for round in 0..ROUNDS as i64 {
            let base = round << 32;
            let limit = Some(bare(world.folder.path())?);
            world.client.pause();
            let (value, last) = write(&world.client, base).await?;
            stored.push(Round { value, limit });
            let seconds = decided(&world.client, &last).await?;
            single.push(Round { value: SINGLE as f64 / seconds, limit: None });
            let group = WINDOW * ROWS as usize;
            let limit = Some(kv::rows_per_second(world.folder.path(), group, ROW_BYTES)?);
            world.client.pause();
            let last = write_many(&world.client, base + SINGLE).await?;
            let seconds = decided(&world.client, &last).await?;
            large.push(Round { value: (LARGE * ROWS) as f64 / seconds, limit });
            let limit = Some(fsync::micros(world.folder.path())?);
            let value = one_by_one(&world.client, base + (1 << 31)).await?;
            alone.push(Round { value, limit });
        }
        let figure = |what: &str, unit, rounds, reach| Figure {
            benchmark: "write-sdk",
            what: what.to_owned(),
            unit,
            rounds,
            reach,
        };
        let reach = Some(Reach::AtLeast(25_000.0));
        report.add(figure("mutations of 1 row, pipelined", "/s", single, reach));
        let reach = Some(Reach::AtLeast(0.5));
        report.add(figure("rows in mutations of 100, against kv", "rows/s", large, reach));
        report.add(figure("one at a time: p50, against append + fdatasync", "µs", alone, None));
        report.add(figure("stored on the device: p50, against sqlite", "µs", stored, None));
        world.client.close().await;
        Ok(())
    })
}

/// Microseconds until a write is stored, the median; and the last one.
async fn write(client: &Client, base: i64) -> Result<(f64, Mutation)> {
    let (mut times, mut last) = (Vec::new(), None);
    for id in base..base + SINGLE {
        let note = note(id)?;
        let start = Instant::now();
        last = Some(client.execute(INSERT, &note).await?);
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok((spread(&times).1, last.context("nothing was written")?))
}

/// The same in a bare SQLite file: a transaction for each row.
fn bare(folder: &Path) -> Result<f64> {
    let folder = tempfile::tempdir_in(folder)?;
    let connection = Connection::open(folder.path().join("limit.sqlite"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE notes (id INT NOT NULL, room_id INTEGER, body TEXT, PRIMARY KEY (id)) STRICT;
         CREATE INDEX notes_room ON notes (room_id);",
    )?;
    let (mut times, body) = (Vec::new(), "x".repeat(BODY_BYTES));
    for id in 0..SINGLE {
        let start = Instant::now();
        let mut insert = connection.prepare_cached("INSERT INTO notes VALUES (?, 1, ?)")?;
        insert.execute((id, &body))?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(&times).1)
}

async fn write_many(client: &Client, base: i64) -> Result<Mutation> {
    let mut last = None;
    for number in 0..LARGE {
        let first = base + number * ROWS;
        let notes = (first..first + ROWS).map(note).collect::<Result<Vec<_>>>()?;
        let statements: Vec<_> = notes.iter().map(|note| (INSERT, &note[..])).collect();
        last = Some(client.batch(&statements).await?);
    }
    last.context("nothing was written")
}

/// Seconds from the wish to be connected until the last is decided.
async fn decided(client: &Client, last: &Mutation) -> Result<f64> {
    let start = Instant::now();
    client.resume();
    let state = last.decided().await?;
    ensure!(matches!(state, MutationState::Accepted { .. }), "{state:?}");
    Ok(start.elapsed().as_secs_f64())
}

/// Microseconds until one is decided, with nothing else to do.
async fn one_by_one(client: &Client, base: i64) -> Result<f64> {
    let mut times = Vec::new();
    for id in base..base + ONE_BY_ONE {
        let start = Instant::now();
        client.execute(INSERT, &note(id)?).await?.decided().await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(&times).1)
}

/// From a write on one device to what another shows.
pub(crate) fn to_screen(report: &mut Report) -> Result<()> {
    block_on(async {
        let world = World::new().await?;
        let other = device(&world.server, &world.user, &world.folder.path().join("other")).await?;
        let mut screen = other.watch("SELECT max(id) AS id FROM bench.notes", &[])?;
        let mut echo = Process::start(Command::new(std::env::current_exe()?).arg("echo"))?;
        let mut rounds = Vec::new();
        for round in 0..ROUNDS as i64 {
            let body = |_, _| "x".repeat(ROW_BYTES);
            let echo = client::load(&echo, "none", 1, Duration::from_secs(1), body).await?;
            let limit = fsync::micros(world.folder.path())? + 4.0 * echo.percentile(50);
            let mut times = Vec::new();
            for number in 1..=ONE_BY_ONE {
                let id = (round << 32) + number;
                let note = note(id)?;
                let start = Instant::now();
                world.client.execute(INSERT, &note).await?;
                loop {
                    let result = screen.next().await.context("no result")?;
                    let shown: Option<i64> = result.rows.get(0).context("no row")?.get("id")?;
                    if shown == Some(id) {
                        break;
                    }
                }
                times.push(start.elapsed().as_secs_f64() * 1e6);
                // Idle, as whoever types is.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rounds.push(Round { value: spread(&times).1, limit: Some(limit) });
        }
        report.add(Figure {
            benchmark: "write-to-screen",
            what: "to another device's watch: p50, against fsync + 4 echoes".to_owned(),
            unit: "µs",
            rounds,
            reach: Some(Reach::AtMost(1.0)),
        });
        world.client.close().await;
        other.close().await;
        echo.kill()
    })
}
