//! The life of a server: the port, the node, SQL, and what ends it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use server_gateway::{Files, Ports, Readiness, SigningKey};
use server_query::Sql;
use server_replication::{Alone, Health, Node};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::data_dir::DataDirectory;
use crate::live::{Entries, Listing, Live, LiveWhenStarted};
use crate::shutdown::Shutdown;
use crate::wiring::{NodeShards, SqlWhenStarted, State, SystemClock};

/// How often it is looked whether the shards run.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long SQL may take to define what it keeps itself.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// How long work that nobody waits for any more holds up the end of the process.
const LEFTOVERS_MAX: Duration = Duration::from_secs(1);

/// What the gateway asks, before it is there.
#[derive(Default)]
struct Slots {
    sql: Arc<SqlWhenStarted>,
    live: Arc<LiveWhenStarted>,
}

/// Runs a server until it is asked to stop.
///
/// # Errors
/// A sentence: it could not start, or has failed.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let files = config.files()?;
    // Locked for longer than there is a runtime whose threads may have its databases open.
    let directory = DataDirectory::open(&config.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(server_query::STACK_BYTES)
        .build()
        .context("the system gives no threads")?;
    let result = runtime.block_on(serve(config, &directory, files));
    runtime.shutdown_timeout(LEFTOVERS_MAX);
    result
}

async fn serve(
    config: &Config,
    directory: &DataDirectory,
    files: Option<Files>,
) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen().context("signals cannot be listened for")?;
    let key = directory.key()?;
    let key = SigningKey::new(&key.0).map_err(|error| anyhow!("the signing key: {error}"))?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen at {}: name another address with --listen", config.listen)
    })?;
    let address = listener.local_addr().context("the port is not known")?;

    let state = Arc::new(State::starting());
    let slots = Slots::default();
    let mut gateway = Gateway::start(listener, config, (key, files), &state, &slots);

    let started = tokio::select! {
        started = start(config, directory, &slots) => started,
        ended = gateway.ended() => Err(ended),
        () = shutdown.wanted() => {
            gateway.stop(&state).await;
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let node = match started {
        Ok(node) => node,
        Err(error) => {
            state.set(Readiness::Failed);
            gateway.stop(&state).await;
            return Err(error);
        }
    };
    state.set(Readiness::Ready);
    say_ready(address);

    let ended = tokio::select! {
        () = shutdown.wanted() => Ok(()),
        failure = failure(&node, &state) => Err(failure),
        ended = gateway.ended() => Err(ended),
    };
    if let Err(error) = &ended {
        state.set(Readiness::Failed);
        tracing::error!(%error, "the server stops");
    } else {
        tracing::info!("stopping");
    }
    gateway.stop(&state).await;
    let stopped = node.stop().await.context("the rows were not written out; the log has them");
    ended.and(stopped)
}

/// Opens the node, and waits until it answers.
async fn start(
    config: &Config,
    directory: &DataDirectory,
    slots: &Slots,
) -> anyhow::Result<Arc<Node>> {
    let entries = Arc::<Entries>::default();
    let ports = server_replication::Ports {
        disk: directory.disk(config.storage.rocks()),
        transport: Arc::new(Alone),
        observer: Arc::<Entries>::clone(&entries),
        clock: Arc::new(SystemClock),
    };
    let shown = config.data.display();
    let node = Node::start(config.node(), ports)
        .await
        .with_context(|| format!("the data in {shown} cannot be opened"))?;
    let opened = open(config, directory, slots, &node, &entries).await;
    if opened.is_err() {
        // The first error is the one that is told.
        let _ = node.stop().await;
    }
    opened.map(|()| node)
}

async fn open(
    config: &Config,
    directory: &DataDirectory,
    slots: &Slots,
    node: &Arc<Node>,
    entries: &Entries,
) -> anyhow::Result<()> {
    node.ready().await.context("a part of the data cannot be opened")?;
    let shards = Arc::new(NodeShards(Arc::clone(node)));
    let listing = Arc::<Listing>::default();
    let sql = Sql::new(shards, &config.sql.query(node.id().0))?
        .with_live_queries(Arc::<Listing>::clone(&listing));
    sql.found(Instant::now() + FOUND_WITHIN).await.context("SQL cannot start")?;
    directory.found()?;
    let sql = Arc::new(sql);
    let live = Live::start(node, Arc::clone(&sql), entries, config.live.subscriptions())
        .context("live queries cannot start")?;
    listing.start(&live);
    slots.sql.start(sql);
    slots.live.start(live);
    Ok(())
}

/// Waits until a shard is down for good, and says why. While one is being opened anew, the server
/// is not ready.
async fn failure(node: &Node, state: &State) -> anyhow::Error {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let mut readiness = Readiness::Ready;
        for (shard, health) in node.health() {
            match health {
                Health::Running => {}
                Health::Restarting(_) => readiness = Readiness::Starting,
                Health::Down(error) => {
                    return anyhow!("shard {} has failed: {error}", shard.0);
                }
            }
        }
        state.set(readiness);
    }
}

/// The task that answers clients.
struct Gateway {
    task: JoinHandle<std::io::Result<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Gateway {
    fn start(
        listener: TcpListener,
        config: &Config,
        (key, files): (SigningKey, Option<Files>),
        state: &Arc<State>,
        slots: &Slots,
    ) -> Self {
        let ports = Ports {
            sql: Arc::<SqlWhenStarted>::clone(&slots.sql),
            subscriptions: Arc::<LiveWhenStarted>::clone(&slots.live),
            health: Arc::<State>::clone(state),
            clock: Arc::new(SystemClock),
            key,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // A sender that is gone means the same.
            let _ = stopped.await;
        };
        let serve = server_gateway::serve(listener, ports, files, config.gateway(), stopped);
        Self { task: tokio::spawn(serve), stop: Some(stop) }
    }

    /// Waits for an end that nobody asked for.
    async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Ok(())) => anyhow!("the gateway has ended"),
            Ok(Err(error)) => anyhow!("the gateway has ended: {error}"),
            Err(error) => anyhow!("the gateway has ended: {error}"),
        }
    }

    /// Lets running requests end, and takes no more.
    async fn stop(mut self, state: &State) {
        state.set(Readiness::Stopping);
        drop(self.stop.take());
        if !self.task.is_finished() {
            // What it says matters no more.
            let _ = (&mut self.task).await;
        }
    }
}

/// Whoever started it waits for this line, or does not listen any more, which is no reason to end.
fn say_ready(address: std::net::SocketAddr) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "tidewire is ready at http://{address}").and_then(|()| out.flush());
    tracing::info!(%address, "ready");
}
