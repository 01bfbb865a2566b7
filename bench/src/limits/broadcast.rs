//! A bare axum server that sends one shared frame to all of its sockets, with the buffers that
//! cost the least.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use futures::SinkExt as _;
use tokio::sync::mpsc;

use crate::crowd::DELTA;

/// How many frames go out in one write.
const AT_ONCE: usize = 64;

/// The queue of each socket. The list is replaced when one comes, and read without a lock.
type Sockets = Arc<Mutex<Arc<Vec<mpsc::UnboundedSender<Bytes>>>>>;

/// Serves until it is ended: what is posted goes to all sockets, as a frame with changes.
pub(crate) fn serve() -> Result<()> {
    let routes = Router::new().route("/v1/sql", post(send)).route("/v1/sync", get(upgrade));
    super::serve(routes.with_state(Sockets::default()))
}

async fn send(State(sockets): State<Sockets>, body: Bytes) -> &'static str {
    let frame = Bytes::from([DELTA, &body].concat());
    let sockets = Arc::clone(&sockets.lock().unwrap_or_else(PoisonError::into_inner));
    for socket in sockets.iter() {
        // One that has gone is gone.
        let _ = socket.send(frame.clone());
    }
    "{}"
}

async fn upgrade(State(sockets): State<Sockets>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.read_buffer_size(1024).write_buffer_size(8192);
    upgrade.on_upgrade(|socket| serve_socket(socket, sockets))
}

async fn serve_socket(mut socket: WebSocket, sockets: Sockets) {
    let (queue, mut waiting) = mpsc::unbounded_channel();
    {
        let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut more = Vec::clone(&sockets);
        more.push(queue);
        *sockets = Arc::new(more);
    }
    let mut frames = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut frames, AT_ONCE).await > 0 {
        for frame in frames.drain(..) {
            if socket.feed(Message::Binary(frame)).await.is_err() {
                return;
            }
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}
