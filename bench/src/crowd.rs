//! Very many sockets that cost little: each counts what it is sent, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use protocol::codec;
use protocol::frame::v1::{
    ClientFrame, Hello, LaneCursor, Received, ServerFrame, Subscribe, Token, read_server,
};
use protocol::ids::{ClientId, Floor, RequestNumber};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(120);

/// How a frame with changes begins: a map of one, with this name.
pub(crate) const DELTA: &[u8] = b"\x81\xa5delta";

/// How many sockets are opened at the same time.
const OPENED_AT_ONCE: usize = 64;

/// A connection to `/v1/sync` that is told frame by frame what to do.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// One on which nothing was said.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        Self::over(TcpStream::connect(address).await?, address).await
    }

    async fn over(stream: TcpStream, address: &str) -> Result<Self> {
        stream.set_nodelay(true)?;
        // As small as those of the server.
        let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(1024);
        let url = format!("ws://{address}/v1/sync");
        Ok(Self(client_async_with_config(url, stream, Some(config)).await?.0))
    }

    /// One that is welcome, and goes on where it was.
    pub(crate) async fn resume(
        address: &str,
        token: &str,
        lanes: Vec<LaneCursor>,
        subscriptions: Vec<Subscribe>,
    ) -> Result<Self> {
        Self::connect(address).await?.greet(token, lanes, subscriptions).await
    }

    /// One for which the system holds little that nobody has read.
    pub(crate) async fn open_small(address: &str, token: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4 * 1024)?;
        let stream = socket.connect(address.parse()?).await?;
        Self::over(stream, address).await?.greet(token, vec![], vec![]).await
    }

    async fn greet(
        mut self,
        token: &str,
        lanes: Vec<LaneCursor>,
        subscriptions: Vec<Subscribe>,
    ) -> Result<Self> {
        let (token, client) = (Token(token.to_owned()), ClientId::from_bytes([7; 16]));
        let (versions, writers) = (vec![1], Vec::new());
        let (schema, app_version) = (None, 0);
        let hello =
            Hello { versions, token, client, lanes, subscriptions, writers, schema, app_version };
        self.send(ClientFrame::Hello(hello)).await?;
        match self.next().await? {
            ServerFrame::Welcome(_) => Ok(self),
            other => bail!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn open(address: &str, token: &str) -> Result<Self> {
        Self::resume(address, token, vec![], vec![]).await
    }

    pub(crate) async fn send(&mut self, frame: ClientFrame) -> Result<()> {
        Ok(self.0.send(Message::Binary(codec::encode(&frame).into())).await?)
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame> {
        loop {
            let message = tokio::time::timeout(WITHIN, self.0.next()).await?;
            if let Message::Binary(bytes) = message.context("the connection has ended")?? {
                match read_server(&bytes)? {
                    // It has no replica that would need to know the tables.
                    Received::Known(ServerFrame::Schema(_)) => {}
                    Received::Known(frame) => return Ok(frame),
                    Received::Unknown { name } => bail!("an unknown message {name}"),
                }
            }
        }
    }

    /// Subscribes, and takes all that is there. Gives the frame that says what it is.
    pub(crate) async fn load(&mut self, subscribe: Subscribe) -> Result<Loaded> {
        let window = subscribe.fetch_last;
        self.send(ClientFrame::Subscribe(subscribe)).await?;
        let mut loaded = Loaded::default();
        loop {
            match self.next().await? {
                ServerFrame::Subscribed(subscribed) => loaded.subscribed = Some(*subscribed),
                ServerFrame::Frontier(frontier) => loaded.frontier = Some(frontier),
                ServerFrame::InitialDataBatch(batch) => {
                    loaded.rows += batch.rows.len() as u64;
                    loaded.cursor_at = Some(batch.seq);
                    if batch.floor == Floor::COMPLETE || window.is_some_and(|w| loaded.rows >= w) {
                        return Ok(loaded);
                    }
                }
                ServerFrame::Refused(refused) => bail!("refused: {}", refused.message),
                _ => {}
            }
        }
    }
}

/// What a load brought.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) subscribed: Option<protocol::frame::v1::Subscribed>,
    pub(crate) frontier: Option<protocol::frame::v1::Frontier>,
    pub(crate) cursor_at: Option<protocol::ids::SeqId>,
    pub(crate) rows: u64,
}

/// A subscription that has nothing yet.
pub(crate) fn subscribe(request: u64, sql: impl Into<String>) -> Subscribe {
    Subscribe {
        request: RequestNumber(request),
        sql: sql.into(),
        params: vec![],
        fetch_last: None,
        batch_rows: None,
        held: None,
    }
}

/// What came to all sockets of a crowd together.
struct Seen {
    frames: AtomicU64,
    /// How long one was.
    bytes: AtomicU64,
    /// When the last one came, in nanoseconds since `begun`.
    latest: AtomicU64,
    begun: Instant,
}

/// Sockets that only listen.
pub(crate) struct Crowd {
    seen: Arc<Seen>,
    members: JoinSet<Vec<Instant>>,
    end: watch::Sender<bool>,
}

impl Crowd {
    /// So many sockets, each of which `open` makes.
    pub(crate) async fn gather<F>(count: usize, open: impl Fn(usize) -> F) -> Result<Self>
    where
        F: Future<Output = Result<Socket>> + Send + 'static,
    {
        let zero = AtomicU64::default;
        let begun = Instant::now();
        let seen = Arc::new(Seen { frames: zero(), bytes: zero(), latest: zero(), begun });
        let end = watch::Sender::new(false);
        let (mut opening, mut members) = (JoinSet::new(), JoinSet::new());
        for number in 0..count {
            opening.spawn(open(number));
            while opening.len() >= OPENED_AT_ONCE || (number + 1 == count && !opening.is_empty()) {
                let socket = opening.join_next().await.context("none is being opened")???;
                members.spawn(listen(socket, Arc::clone(&seen), end.subscribe()));
            }
        }
        Ok(Self { seen, members, end })
    }

    pub(crate) fn len(&self) -> u64 {
        self.members.len() as u64
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.seen.frames.load(Ordering::Acquire)
    }

    /// How many bytes a frame had.
    pub(crate) fn frame_bytes(&self) -> usize {
        usize::try_from(self.seen.bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// When the last frame came.
    pub(crate) fn latest(&self) -> Instant {
        self.seen.begun + Duration::from_nanos(self.seen.latest.load(Ordering::Relaxed))
    }

    /// Waits until so many were delivered, and that is all.
    pub(crate) async fn wait_for(&self, delivered: u64) -> Result<()> {
        let start = Instant::now();
        while self.delivered() < delivered {
            let present = self.delivered();
            ensure!(start.elapsed() < WITHIN, "only {present} of {delivered} were delivered");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let present = self.delivered();
        ensure!(present == delivered, "{present} were delivered, and not {delivered}");
        Ok(())
    }

    /// Ends all; gives when each was sent what.
    pub(crate) async fn leave(mut self) -> Result<Vec<Vec<Instant>>> {
        self.end.send_replace(true);
        let mut times = Vec::new();
        while let Some(member) = self.members.join_next().await {
            times.push(member?);
        }
        Ok(times)
    }
}

/// Takes what comes until the end.
async fn listen(
    mut socket: Socket,
    seen: Arc<Seen>,
    mut end: watch::Receiver<bool>,
) -> Vec<Instant> {
    let mut times = Vec::new();
    loop {
        let message = tokio::select! {
            message = socket.0.next() => message,
            _ = end.changed() => return times,
        };
        match message {
            Some(Ok(Message::Binary(bytes))) if bytes.starts_with(DELTA) => {
                let now = Instant::now();
                times.push(now);
                let since = u64::try_from((now - seen.begun).as_nanos()).unwrap_or(u64::MAX);
                seen.latest.fetch_max(since, Ordering::Relaxed);
                seen.bytes.store(bytes.len() as u64, Ordering::Relaxed);
                // Whoever sees this sees the others.
                seen.frames.fetch_add(1, Ordering::Release);
            }
            Some(Ok(_)) => {}
            // Whoever waits for what is missing says so.
            Some(Err(_)) | None => return times,
        }
    }
}
