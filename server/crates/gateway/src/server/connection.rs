//! One connection, from its first byte to its end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::activity::Activity;
use super::timed::Timed;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::limits::{LINGER_BYTES_MAX, LINGER_TIMEOUT, READ_BUFFER_BYTES_MAX};
use crate::socket::{self, upgrade::Upgrading};

/// What all connections are served with.
pub(super) struct Connections {
    http: http1::Builder,
    router: Router,
    gateway: Arc<Gateway>,
    stopping: watch::Receiver<bool>,
}

impl Connections {
    pub(super) fn new(
        router: Router,
        gateway: Arc<Gateway>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let mut http = http1::Builder::new();
        // Who ends its side after the request still wants the answer; and since statements go on
        // anyway, nothing is won by noticing that somebody has gone.
        http.timer(TokioTimer::new())
            .half_close(true)
            .header_read_timeout(gateway.limits.header_read_timeout)
            .max_header_size(gateway.limits.header_bytes_max)
            .max_buf_size(READ_BUFFER_BYTES_MAX.max(gateway.limits.header_bytes_max));
        Self { http, router, gateway, stopping }
    }

    /// Answers requests, one after the other, until one side ends the connection or the server
    /// stops. Where one asks for a live connection, it is that from there on.
    /// `place` is kept until then.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let upgrading = Upgrading::default();
        // Each on its own, so that a live connection does not keep the memory of the first.
        let answered = Box::pin(self.answer(stream, upgrading.clone()));
        let (gateway, stopping) = (Arc::clone(&self.gateway), self.stopping.clone());
        async move {
            let Some((stream, read)) = answered.await else { return };
            let stream = match upgrading.number() {
                Some(number) => {
                    Box::pin(socket::serve(gateway, number, stream, read, stopping)).await
                }
                None => stream,
            };
            // It has a buffer, which no connection needs before its end.
            Box::pin(linger(stream)).await;
            drop(place);
        }
    }

    /// Answers requests. Gives back the stream, and what was read of it and belongs to no request,
    /// when there is still something to do with it.
    fn answer(
        &self,
        stream: TcpStream,
        upgrading: Upgrading,
    ) -> impl Future<Output = Option<(TcpStream, Bytes)>> + Send + 'static {
        let activity = Arc::new(Activity::default());
        let (io, timeout) = (TokioIo::new(stream), self.gateway.limits.write_timeout);
        let io = Timed::new(io, timeout, Arc::clone(&activity));
        let router = TowerToHyperService::new(self.router.clone());
        let (begun, noted) = (Arc::clone(&activity), upgrading.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(noted.clone());
            let running = begun.begin();
            let answered = router.call(request);
            Box::pin(async move {
                let answer = answered.await;
                drop(running);
                answer
            })
        });
        let mut connection = self.http.serve_connection(io, service);
        let mut stopping = self.stopping.clone();
        async move {
            let mut stops = pin!(stopping.wait_for(|stopping| *stopping));
            let (mut is_stopping, mut is_told) = (false, false);
            let ended = loop {
                select! {
                    biased;
                    _ = &mut stops, if !is_stopping => is_stopping = true,
                    ended = poll_fn(|context| {
                        // In the middle of an answer that closes the connection anyway, hyper
                        // would leave out the rest of it.
                        if is_stopping && !is_told && !activity.is_writing() {
                            is_told = true;
                            std::pin::Pin::new(&mut connection).graceful_shutdown();
                        }
                        let polled = connection.poll_without_shutdown(context);
                        // Half a head is no request: it would be waited for until its timeout.
                        let is_over = is_stopping && activity.is_idle();
                        if polled.is_pending() && is_over { Poll::Ready(Ok(())) } else { polled }
                    }) => break ended,
                }
            };
            if let Err(error) = &ended {
                tracing::debug!(%error, "a connection has ended");
            }
            let is_live = ended.is_ok() && upgrading.number().is_some();
            // Otherwise not when the peer is gone, and not when it would hold up the end.
            (is_live || !is_stopping).then(|| {
                let parts = connection.into_parts();
                (parts.io.into_inner(), parts.read_buf)
            })
        }
    }

    /// Says that there are too many connections.
    pub(super) fn refuse(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        let number = self.gateway.numbers.next();
        let refusal = Refusal::overloaded(
            "as many connections are open as are allowed: close idle ones, or ask again shortly",
        );
        let json = refusal.json(&number.0);
        let mut told = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: \
             1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            json.len()
        )
        .into_bytes();
        told.extend_from_slice(&json);
        async move {
            tracing::debug!(request = &*number.0, "a connection beyond the limit was refused");
            // It is far smaller than the buffer of a fresh connection: it fits, or the peer is gone.
            if stream.writable().await.is_ok() && stream.try_write(&told).is_ok() {
                linger(stream).await;
            }
        }
    }
}

/// Ends a connection so that the peer can read what was last said: reads on for a while, and
/// throws away what comes.
async fn linger(stream: TcpStream) {
    let Ok(stream) = stream.into_std() else { return };
    if stream.shutdown(std::net::Shutdown::Write).is_err() {
        return;
    }
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let rest = async {
        let mut buffer = [0; 4 * 1024];
        let mut read = 0;
        while read < LINGER_BYTES_MAX && stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    drop(timeout(LINGER_TIMEOUT, rest).await);
}
