//! A live connection, from its first frame to its last.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use protocol::error_code::ErrorCode;
use protocol::frame;
use protocol::frame::v1::{ClientFrame, Hello, Received, ServerFrame, Welcome};
use protocol::limits::CLIENT_FRAME_BYTES_MAX;
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::frames::{End, Heard, Socket, expired, feed, next, read, said, stops};
use super::send_queue::{Item, Outgoing, SendQueue};
use super::statements::Running;
use crate::auth::{Caller, Verified};
use crate::gateway::{Gateway, Number};
use crate::limits::{
    SOCKET_READ_BYTES, SOCKET_TURN_BYTES, SOCKET_UNWRITTEN_BYTES_MAX, SOCKET_WRITE_BYTES,
};
use crate::ports::LiveConnection;

/// How long what has come already may take to be seen: once around the runtime's own loop.
const UNREAD_WITHIN: Duration = Duration::from_millis(5);

/// A connection after `welcome`.
pub(super) struct Session {
    pub(super) gateway: Arc<Gateway>,
    pub(super) number: Number,
    pub(super) caller: Caller,
    /// When the token ends, in seconds since 1970.
    pub(super) expires_at: u64,
    pub(super) queue: SendQueue,
    pub(super) live: Box<dyn LiveConnection>,
    pub(super) running: Arc<Running>,
}

/// Serves a connection that was upgraded, of which some bytes may have been read already. Gives the
/// stream back, for an end that the client can see.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    number: Number,
    stream: TcpStream,
    read: Bytes,
    mut stopping: watch::Receiver<bool>,
) -> TcpStream {
    let config = WebSocketConfig::default()
        .read_buffer_size(SOCKET_READ_BYTES)
        .write_buffer_size(SOCKET_WRITE_BYTES)
        .max_write_buffer_size(SOCKET_UNWRITTEN_BYTES_MAX)
        .max_message_size(Some(CLIENT_FRAME_BYTES_MAX))
        .max_frame_size(Some(CLIENT_FRAME_BYTES_MAX));
    let begun = read.to_vec();
    // It would keep the whole buffer of the request for as long as the connection lives.
    drop(read);
    let mut socket =
        WebSocketStream::from_partially_read(stream, begun, Role::Server, Some(config)).await;
    let write_timeout = gateway.limits.write_timeout;
    let end = match greeted(&gateway, &mut socket, &mut stopping).await {
        Ok((hello, verified)) => {
            Box::pin(live(gateway, number, &mut socket, hello, verified, stopping)).await
        }
        Err(end) => end,
    };
    let farewell = async {
        // Whoever is gone does not hear it.
        match end {
            End::Gone => {}
            // The answer that the library has ready.
            End::Closed => drop(socket.flush().await),
            End::Goodbye(goodbye) => {
                let frame = ServerFrame::Goodbye(*goodbye).encode();
                if socket.send(Message::Binary(frame.into())).await.is_ok() {
                    let _ = socket.close(None).await;
                }
            }
        }
    };
    drop(timeout(write_timeout, farewell).await);
    socket.into_inner()
}

/// Waits for `hello`, and looks at who it is.
async fn greeted(
    gateway: &Gateway,
    socket: &mut Socket,
    stopping: &mut watch::Receiver<bool>,
) -> Result<(Hello, Verified), End> {
    let until = Instant::now() + gateway.limits.hello_timeout;
    let first = select! {
        first = timeout_at(until, first(socket)) => first,
        _ = stopped(stopping) => return Err(stops().into()),
    };
    let Ok(first) = first else {
        let told = "no hello came in time: send it as the first message";
        return Err(said(ErrorCode::Timeout, told).into());
    };
    let hello = match read(&first?)? {
        Received::Known(ClientFrame::Hello(hello)) => hello,
        _ => {
            let told = "the first message of a connection is hello";
            return Err(said(ErrorCode::InvalidRequest, told).into());
        }
    };
    let now = gateway.ports.clock.now_seconds();
    let verified = gateway.ports.key.verify(&hello.token.0, now);
    let verified = verified.map_err(|refusal| refusal.goodbye())?;
    Ok((hello, verified))
}

/// The first frame. Signs of life may come before it.
async fn first(socket: &mut Socket) -> Result<Bytes, End> {
    loop {
        if let Heard::Frame(bytes) = next(socket).await? {
            return Ok(bytes);
        }
    }
}

async fn live(
    gateway: Arc<Gateway>,
    number: Number,
    socket: &mut Socket,
    hello: Hello,
    verified: Verified,
    stopping: watch::Receiver<bool>,
) -> End {
    let Some(version) = frame::negotiate(&hello.versions) else {
        let told = "this server speaks version 1 of the protocol and no other that the client \
                    offers: update the application";
        return said(ErrorCode::UpdateRequired, told).into();
    };
    if hello.app_version < gateway.limits.app_version_min {
        return said(ErrorCode::UpdateRequired, too_old(&gateway, hello.app_version)).into();
    }
    let (queue, outgoing) = SendQueue::new(gateway.limits.socket_queue_bytes_max);
    let Verified { caller, expires_at } = verified;
    let clock = &gateway.ports.clock;
    let left = expires_at.saturating_sub(clock.now_seconds());
    let silence = gateway.limits.keep_alive.saturating_mul(3) / 2;
    let welcome = Welcome {
        version,
        time: clock.now_micros(),
        silence_ms_max: u32::try_from(silence.as_millis()).unwrap_or(u32::MAX),
        token_expires_ms: Some(left.saturating_mul(1_000)),
    };
    // At once: what the client resumes may take a while to be looked at.
    let welcome = Message::Binary(ServerFrame::Welcome(welcome).encode().into());
    if let Err(end) = in_time(gateway.limits.write_timeout, socket.send(welcome)).await {
        return end;
    }
    tracing::debug!(connection = &*number.0, user = %caller.user, "a live connection begins");
    let live = gateway.ports.subscriptions.open(caller.clone(), queue.clone());
    let running = Arc::<Running>::default();
    let mut session = Session { gateway, number, caller, expires_at, queue, live, running };
    let Hello { lanes, subscriptions, writers, schema, .. } = hello;
    session.live.resume(lanes, subscriptions, writers, schema).await;
    let end = session.run(socket, outgoing, stopping).await;
    tracing::debug!(connection = &*session.number.0, "a live connection has ended");
    end
}

/// What the user of an application is told whose tables this server has no more.
fn too_old(gateway: &Gateway, found: u32) -> String {
    let is = match found {
        0 => "this one does not say which it is".to_owned(),
        found => format!("this one is version {found}"),
    };
    let min = gateway.limits.app_version_min;
    format!("this server serves the application from version {min} on, and {is}: update it")
}

impl Session {
    async fn run(
        &mut self,
        socket: &mut Socket,
        mut outgoing: Outgoing,
        mut stopping: watch::Receiver<bool>,
    ) -> End {
        let limits = &self.gateway.limits;
        let (keep_alive, peer_silence_max) = (limits.keep_alive, limits.peer_silence_max());
        let mut heard = Instant::now();
        let mut alive_at = heard + keep_alive;
        let (mut is_stopping, mut has_said_so) = (false, false);
        loop {
            let Some(left) = self.until_expiry_or_token(socket).await else {
                return expired().into();
            };
            let wake_at = alive_at.min(Instant::now() + left.min(keep_alive));
            let may_read = !is_stopping && !self.queue.is_full();
            let received = select! {
                first = outgoing.next() => {
                    if self.until_expiry_or_token(socket).await.is_none() {
                        return expired().into();
                    }
                    let begun = Instant::now();
                    if let Err(end) = self.write(socket, &mut outgoing, first).await {
                        return end;
                    }
                    // Meanwhile nothing could be heard.
                    heard += begun.elapsed();
                    None
                }
                received = async { if may_read { next(socket).await } else { pending().await } } => {
                    Some(received)
                }
                () = sleep_until(wake_at) => None,
                () = self.running.ended(), if is_stopping && !has_said_so => None,
                stops = stopped(&mut stopping), if !is_stopping => {
                    is_stopping = stops;
                    None
                }
            };
            match received {
                Some(Ok(said)) => {
                    heard = Instant::now();
                    if let Heard::Frame(bytes) = said
                        && let Err(end) = self.handle(&bytes).await
                    {
                        return end;
                    }
                }
                Some(Err(end)) => return end,
                None => {}
            }
            if is_stopping && !has_said_so && self.running.is_idle() {
                // Behind the answers, and before whatever more of a load would come.
                self.queue.close(stops());
                has_said_so = true;
            }
            if Instant::now() >= alive_at {
                alive_at = Instant::now() + keep_alive;
                if heard.elapsed() > peer_silence_max {
                    return End::Gone;
                }
                if let Err(end) = self.ping(socket).await {
                    return end;
                }
            }
        }
    }

    /// Gives a sign of life, and wants one.
    async fn ping(&self, socket: &mut Socket) -> Result<(), End> {
        self.live.progress();
        // At once: a worker that is busy gives its own later.
        let ping = socket.send(Message::Ping(Bytes::new()));
        in_time(self.gateway.limits.write_timeout, ping).await
    }

    /// How long the token is still good for; `None` when it is not.
    fn until_expiry(&self) -> Option<Duration> {
        let now = self.gateway.ports.clock.now_seconds();
        let left = self.expires_at.checked_sub(now).filter(|left| *left > 0);
        left.map(Duration::from_secs)
    }

    /// The same. A new token that has come and was not read yet counts.
    async fn until_expiry_or_token(&mut self, socket: &mut Socket) -> Option<Duration> {
        // For all of it: signs of life may come without an end.
        let until = Instant::now() + UNREAD_WITHIN;
        loop {
            if let Some(left) = self.until_expiry() {
                return Some(left);
            }
            match timeout_at(until, next(socket)).await.ok()?.ok()? {
                Heard::Life if Instant::now() > until => return None,
                Heard::Life => {}
                Heard::Frame(bytes) => match read(&bytes).ok()? {
                    Received::Known(ClientFrame::Token(token)) => self.renew(&token).ok()?,
                    _ => return None,
                },
            }
        }
    }

    /// Writes what has waited, as much of it as is one turn, and what is small in one piece. Each
    /// frame must get on in time.
    async fn write(
        &self,
        socket: &mut Socket,
        outgoing: &mut Outgoing,
        first: Item,
    ) -> Result<(), End> {
        let within = self.gateway.limits.write_timeout;
        let (mut item, mut written, mut goodbye) = (Some(first), 0, None);
        while let Some(next) = item {
            match next {
                Item::Frame(frame) => {
                    let bytes = frame.len();
                    in_time(within, feed(socket, frame)).await?;
                    written += bytes;
                    if outgoing.sent(bytes) {
                        self.live.drained();
                    }
                }
                Item::Goodbye(told) => {
                    goodbye = Some(told);
                    break;
                }
            }
            let has_more = written < SOCKET_TURN_BYTES;
            item = if has_more { outgoing.next_if_any() } else { None };
        }
        in_time(within, socket.flush()).await?;
        goodbye.map_or(Ok(()), |told| Err(End::Goodbye(told)))
    }
}

/// Waits for the server to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) -> bool {
    stopping.wait_for(|stopping| *stopping).await.is_ok()
}

async fn in_time(
    within: Duration,
    written: impl Future<Output = Result<(), Error>>,
) -> Result<(), End> {
    match timeout(within, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
