//! How rows come to a device: all of them at first, and what has changed afterwards.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use protocol::frame::v1::{Held, LaneCursor, ServerFrame, Subscribe};
use protocol::ids::Floor;
use sdk_core::{Client, Config, SubscribeOptions};

use crate::client::Connection;
use crate::crowd::{Socket, subscribe};
use crate::fanout::{block_on, make_tables};
use crate::limits::sqlite;
use crate::report::{Figure, Reach, Report, Round};
use crate::server::{Process, own_resident, token};

const ROUNDS: usize = 5;

/// Rows of the first load.
const ROWS: u64 = 100_000;

/// Rows of a small and a large partition, and how many of them change meanwhile.
const PARTITIONS: [u64; 2] = [10_000, 1_000_000];
const CHANGED: u64 = 1_000;

/// Bytes of the text of a row; with the other columns that makes about 100.
const BODY_BYTES: usize = 80;

const SQL: &str = "SELECT * FROM bench.notes";

pub(crate) fn first_load(report: &mut Report) -> Result<()> {
    block_on(async {
        let folder = tempfile::tempdir()?;
        let process = Process::tidewire(&folder.path().join("server"))?;
        make_tables(&process, &token(&folder.path().join("server"), "root", "admin")?).await?;
        let user = token(&folder.path().join("server"), "u0", "user")?;
        fill(&process, &user, ROWS).await?;
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let limit = sqlite::rows_per_second(folder.path(), ROWS, BODY_BYTES)?;
            let replica = folder.path().join(format!("replica-{round}"));
            let value = load(&process.address, &user, &replica).await?;
            rounds.push(Round { value, limit: Some(limit) });
        }
        report.add(Figure {
            benchmark: "first-load",
            what: "100,000 rows into an empty replica, against sqlite".to_owned(),
            unit: "rows/s",
            rounds,
            reach: Some(Reach::AtLeast(0.5)),
        });
        Ok(())
    })
}

/// Rows a second, from the subscription on.
async fn load(address: &str, token: &str, directory: &Path) -> Result<f64> {
    let client = open(address, "u0", token, directory).await?;
    let per_second = load_all(&client, ROWS).await?;
    client.close().await;
    Ok(per_second)
}

pub(crate) async fn open(
    address: &str,
    user: &str,
    token: &str,
    directory: &Path,
) -> Result<Client> {
    let token = token.to_owned();
    let config = Config::new(format!("ws://{address}"), user, directory, move || {
        let token = token.clone();
        async move { Ok(token) }
    });
    Ok(Client::open(config).await?)
}

async fn load_all(client: &Client, rows: u64) -> Result<f64> {
    let start = Instant::now();
    client.subscribe(SQL, &[], SubscribeOptions::default()).await?.ready().await?;
    let seconds = start.elapsed().as_secs_f64();
    let counted = client.query("SELECT count(*) AS n FROM bench.notes", &[]).await?;
    let count: i64 = counted.get(0).context("no count")?.get("n")?;
    ensure!(count.cast_unsigned() == rows, "{count} rows have come");
    Ok(rows as f64 / seconds)
}

/// A load of 1,000,000 rows: what it takes, who waits for it, and how fast a look-up is afterwards,
/// against one among 10,000.
pub(crate) fn large_load(report: &mut Report) -> Result<()> {
    block_on(async {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("server");
        let process = Process::tidewire(&data)?;
        make_tables(&process, &token(&data, "root", "admin")?).await?;
        let [few, many] = PARTITIONS;
        let mut clients = Vec::new();
        for (user, rows) in [("few", few), ("many", many)] {
            let token = token(&data, user, "user")?;
            fill(&process, &token, rows).await?;
            clients.push(open(&process.address, user, &token, &folder.path().join(user)).await?);
        }
        load_all(&clients[0], few).await?;
        let before = own_resident()?;
        let (over, is_over) = tokio::sync::watch::channel(false);
        let writing = tokio::spawn(write_meanwhile(clients[1].clone(), is_over));
        let per_second = load_all(&clients[1], many).await?;
        over.send_replace(true);
        let (longest, most) = writing.await??;
        let mut lookups = Vec::new();
        for _ in 0..ROUNDS {
            let limit = Some(look_up(&clients[0], few).await?);
            lookups.push(Round { value: look_up(&clients[1], many).await?, limit });
        }
        let once = |value| vec![Round { value, limit: None }];
        let grown = (most - before) / 1024.0 / 1024.0;
        let mut add = |what: &str, unit, rounds, reach| {
            let what = format!("1,000,000 rows: {what}");
            report.add(Figure { benchmark: "large-load", what, unit, rounds, reach });
        };
        add("rows applied", "rows/s", once(per_second), Some(Reach::AtLeast(20_000.0)));
        add("resident meanwhile, more than before", "MiB", once(grown), None);
        add(
            "the longest of the app's writes meanwhile",
            "ms",
            once(longest),
            Some(Reach::AtMost(50.0)),
        );
        add("indexed look-up, against among 10,000", "µs", lookups, Some(Reach::AtMost(2.0)));
        Ok(())
    })
}

/// Writes into a table of the application's own until it is over. Gives the milliseconds of the
/// longest write, and the most memory that the process had.
async fn write_meanwhile(
    client: Client,
    is_over: tokio::sync::watch::Receiver<bool>,
) -> Result<(f64, f64)> {
    client.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY)", &[]).await?;
    let (mut longest, mut most) = (0.0_f64, 0.0_f64);
    while !*is_over.borrow() {
        let start = Instant::now();
        client.execute("INSERT INTO mine DEFAULT VALUES", &[]).await?;
        longest = longest.max(start.elapsed().as_secs_f64() * 1e3);
        most = most.max(own_resident()?);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok((longest, most))
}

/// Microseconds of a look-up by key.
async fn look_up(client: &Client, rows: u64) -> Result<f64> {
    const LOOK_UPS: u64 = 2_000;
    let start = Instant::now();
    for number in 0..LOOK_UPS {
        // All over the table.
        let id = number.wrapping_mul(7_919) % rows;
        let key = [sdk_core::Value::Integer(id.cast_signed())];
        let found = client.query("SELECT body FROM bench.notes WHERE id = $1", &key).await?;
        ensure!(found.len() == 1, "row {id} is not here");
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / LOOK_UPS as f64)
}

pub(crate) fn catch_up(report: &mut Report) -> Result<()> {
    block_on(async {
        let mut sides = Vec::new();
        for rows in PARTITIONS {
            let folder = tempfile::tempdir()?;
            let process = Process::tidewire(folder.path())?;
            make_tables(&process, &token(folder.path(), "root", "admin")?).await?;
            let user = token(folder.path(), "u0", "user")?;
            fill(&process, &user, rows).await?;
            let resumed = go_away(&process, &user).await?;
            let mut writer = Connection::open(&process.address).await?;
            // All over the partition.
            let step = rows / CHANGED;
            for place in 0..CHANGED {
                let id = place * step;
                let sql = format!("UPDATE bench.notes SET body = 'changed' WHERE id = {id}");
                writer.ask(&user, &format!(r#"{{"sql":"{sql}"}}"#)).await?;
            }
            sides.push((folder, process, user, resumed));
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let mut times = Vec::new();
            for (_, process, user, resumed) in &sides {
                times.push(come_back(process, user, resumed).await?);
            }
            rounds.push(Round { value: times[1], limit: Some(times[0]) });
        }
        report.add(Figure {
            benchmark: "catch-up",
            what: "1,000 changed of 1,000,000 rows, against of 10,000".to_owned(),
            unit: "ms",
            rounds,
            reach: Some(Reach::AtMost(1.3)),
        });
        Ok(())
    })
}

/// What a client says that has everything up to now.
async fn go_away(process: &Process, user: &str) -> Result<(LaneCursor, Subscribe)> {
    let mut socket = Socket::open(&process.address, user).await?;
    let loaded = socket.load(Subscribe { fetch_last: Some(1), ..subscribe(1, SQL) }).await?;
    let known = loaded.subscribed.context("it is not said what it is")?;
    let cursor = LaneCursor {
        lane: known.lane,
        epoch: loaded.frontier.context("no frontier")?.epoch,
        since_seq: loaded.cursor_at.context("no rows")?,
        cut: 0,
    };
    let held = Held { basis: known.basis, floor: Floor::COMPLETE, missing: None };
    Ok((cursor, Subscribe { held: Some(held), ..subscribe(1, SQL) }))
}

/// Milliseconds until it has all that has changed.
async fn come_back(
    process: &Process,
    user: &str,
    (cursor, resumed): &(LaneCursor, Subscribe),
) -> Result<f64> {
    let start = Instant::now();
    let (lanes, subscriptions) = (vec![cursor.clone()], vec![resumed.clone()]);
    let mut socket = Socket::resume(&process.address, user, lanes, subscriptions).await?;
    let mut changes = 0;
    loop {
        match socket.next().await? {
            ServerFrame::CatchUp(piece) => changes += piece.changes.len() as u64,
            ServerFrame::Frontier(_) => break,
            ServerFrame::Subscribed(_) | ServerFrame::Progress(_) => {}
            other => bail!("not of a catch-up: {other:?}"),
        }
    }
    ensure!(changes == CHANGED, "{changes} changes have come");
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Writes so many rows.
pub(crate) async fn fill(process: &Process, user: &str, rows: u64) -> Result<()> {
    const AT_ONCE: u64 = 1_000;
    let body = "x".repeat(BODY_BYTES);
    let mut writer = Connection::open(&process.address).await?;
    for first in (0..rows).step_by(1_000) {
        let row = |id: u64| format!("({id}, {}, '{body}')", id % 100);
        let values: Vec<String> = (first..first + AT_ONCE).map(row).collect();
        let sql = format!("INSERT INTO bench.notes VALUES {}", values.join(", "));
        writer.ask(user, &format!(r#"{{"sql":"{sql}"}}"#)).await?;
    }
    Ok(())
}
