//! Accepts connections, at most so many at once, and ends them in order.

mod activity;
mod connection;
mod timed;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::connection::Connections;
use crate::files::Files;
use crate::gateway::{Gateway, Numbers};
use crate::limits::{ACCEPT_PAUSE, GIVE_UP_GRACE, Limits, REFUSALS_MAX, REFUSALS_WARNED_EVERY};
use crate::ports::Ports;
use crate::router::router;

/// Serves HTTP until `stop` is ready, with these files beside the API if there are any. Then no connection is accepted, idle ones are closed, and
/// running requests have [`Limits::shutdown_timeout`] to finish; after that it returns.
///
/// # Errors
/// When the operating system has no randomness to begin with.
///
/// # Cancel safety
/// When the future is dropped, the connections are closed where they are. A statement that runs
/// goes on up to its deadline.
pub async fn serve(
    listener: TcpListener,
    ports: Ports,
    files: Option<Files>,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (stopping, seen_stopping) = watch::channel(false);
    let (give_up, given_up) = watch::channel(false);
    let requests = Arc::new(Semaphore::new(limits.requests_max));
    let gateway = Arc::new(Gateway {
        ports,
        limits: limits.clone(),
        files,
        requests: Arc::clone(&requests),
        numbers: Numbers::new()?,
        given_up,
    });
    let connections = Connections::new(router(Arc::clone(&gateway)), gateway, seen_stopping);
    let mut tasks = JoinSet::new();
    accept_until(listener, &connections, &limits, &mut tasks, stop).await;

    stopping.send_replace(true);
    if timeout(limits.shutdown_timeout, all_ended(&mut tasks, &requests, &limits)).await.is_err() {
        tracing::warn!("requests still run at the end of the shutdown: they are given up");
        give_up.send_replace(true);
        drop(timeout(GIVE_UP_GRACE, all_ended(&mut tasks, &requests, &limits)).await);
        tasks.shutdown().await;
    }
    Ok(())
}

/// Waits for the connections, and for statements whose clients have gone.
async fn all_ended(tasks: &mut JoinSet<()>, requests: &Semaphore, limits: &Limits) {
    while let Some(ended) = tasks.join_next().await {
        note(ended);
    }
    let all = u32::try_from(limits.requests_max).unwrap_or(u32::MAX);
    drop(requests.acquire_many(all).await);
}

/// Gives every connection a task, until `stop`.
async fn accept_until(
    listener: TcpListener,
    connections: &Connections,
    limits: &Limits,
    tasks: &mut JoinSet<()>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = select! {
            biased;
            () = &mut stop => return,
            Some(ended) = tasks.join_next() => {
                note(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Some(stream) = usable(accepted).await else { continue };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tasks.spawn(connections.serve(stream, place));
            continue;
        }
        // Many come at once, and the log is for what there is to know.
        if warned.is_none_or(|warned| warned.elapsed() >= REFUSALS_WARNED_EVERY) {
            warned = Some(Instant::now());
            tracing::warn!("connections beyond the limit are refused");
        }
        if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            let told = connections.refuse(stream);
            tasks.spawn(async move {
                told.await;
                drop(place);
            });
        }
    }
}

/// A connection to talk over, unless it is gone again or there is none to be had for now.
async fn usable(accepted: io::Result<(TcpStream, std::net::SocketAddr)>) -> Option<TcpStream> {
    match accepted {
        // An answer is written in one piece: waiting for more would only delay it.
        Ok((stream, _)) => stream.set_nodelay(true).is_ok().then_some(stream),
        Err(error) if is_of_one_connection(&error) => None,
        Err(error) => {
            tracing::warn!(%error, "no connection can be accepted: raise the limit of open files");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("the task of a connection panicked: this is a defect, report it");
    }
}
