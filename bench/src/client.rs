//! Clients that cost as little as they can: one connection each, one request after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::Process;

/// What a run of clients saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) per_second: f64,
    /// Of the server's process, per request, in microseconds.
    pub(crate) cpu_micros: f64,
    /// Of each request, in microseconds, in ascending order.
    pub(crate) micros: Vec<f64>,
}

impl Seen {
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = self.micros.len() * percent / 100;
        self.micros.get(place.min(self.micros.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

/// A connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request and gives the body of the answer, which must be a success.
    pub(crate) async fn ask(&mut self, token: &str, body: &str) -> Result<String> {
        let request = format!(
            "POST /v1/sql HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            filled += read;
            if read == 0 || filled == self.buffer.len() {
                bail!("the answer ends early, or is too long");
            }
            let text = std::str::from_utf8(&self.buffer[..filled])?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let length: usize = length.context("the answer has no length")?;
            if body.len() < length {
                continue;
            }
            if !head.starts_with("HTTP/1.1 200") {
                bail!("{head}\n{body}");
            }
            return Ok(body.to_owned());
        }
    }
}

/// Lets so many clients ask for `time`, where `body` gives the body of a client's n-th request.
pub(crate) async fn load(
    process: &Process,
    token: &str,
    clients: u64,
    time: Duration,
    body: impl Fn(u64, u64) -> String + Send + Sync + 'static,
) -> Result<Seen> {
    let (body, is_over) = (Arc::new(body), Arc::new(AtomicBool::new(false)));
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let mut connection = Connection::open(&process.address).await?;
        let (body, is_over, done) = (Arc::clone(&body), Arc::clone(&is_over), Arc::clone(&done));
        let token = token.to_owned();
        tasks.spawn(async move {
            let mut micros = Vec::new();
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let start = Instant::now();
                connection.ask(&token, &body(client, number)).await?;
                micros.push(start.elapsed().as_secs_f64() * 1e6);
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(micros)
        });
    }
    // What comes first warms up, and is not counted.
    tokio::time::sleep(time / 5).await;
    let (before, cpu, start) = (done.load(Ordering::Relaxed), process.cpu()?, Instant::now());
    tokio::time::sleep(time).await;
    let count = (done.load(Ordering::Relaxed) - before) as f64;
    let (cpu, seconds) = (process.cpu()? - cpu, start.elapsed().as_secs_f64());
    is_over.store(true, Ordering::Relaxed);
    let mut micros = Vec::new();
    while let Some(task) = tasks.join_next().await {
        micros.extend(task??);
    }
    micros.sort_by(f64::total_cmp);
    let cpu_micros = cpu.as_secs_f64() * 1e6 / count;
    Ok(Seen { per_second: count / seconds, cpu_micros, micros })
}
