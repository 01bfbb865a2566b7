//! Live connections: a fake behind the port, and a WebSocket in front of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use protocol::codec;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    AskDigest, AskSync, ClientFrame, Goodbye, Hello, LaneCursor, LaneWriter, LoadOlder, Mutate,
    OpenLane, Progress, Received, ServerFrame, Subscribe, Token, Unsubscribe, Welcome, read_server,
};
use protocol::ids::{ClientId, RequestNumber, SchemaHash};
use server_gateway::{Caller, Limits, LiveConnection, LiveFuture, SendQueue, SubscriptionPort};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::world::{World, patiently, token};

/// What the port was told, in order, over all connections.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Opened(Caller),
    Resumed(Vec<LaneCursor>, Vec<Subscribe>, Vec<LaneWriter>, Option<SchemaHash>),
    Subscribed(Subscribe),
    Unsubscribed(Unsubscribe),
    Older(LoadOlder),
    Digest(AskDigest),
    Sync(AskSync),
    LaneOpened(OpenLane),
    Mutated(Box<Mutate>, usize),
    Drained,
    Closed,
}

#[derive(Default)]
pub(crate) struct FakeLive {
    told: Arc<Mutex<Vec<Told>>>,
    heard: Arc<Notify>,
    queues: Mutex<Vec<SendQueue>>,
    /// What a subscription waits for before it is taken.
    gate: Arc<Mutex<Option<Arc<Notify>>>>,
}

struct FakeConnection {
    told: Arc<Mutex<Vec<Told>>>,
    heard: Arc<Notify>,
    gate: Arc<Mutex<Option<Arc<Notify>>>>,
    queue: SendQueue,
}

impl SubscriptionPort for FakeLive {
    fn open(&self, caller: Caller, queue: SendQueue) -> Box<dyn LiveConnection> {
        self.queues.lock().unwrap().push(queue.clone());
        let (told, heard) = (Arc::clone(&self.told), Arc::clone(&self.heard));
        let connection = FakeConnection { told, heard, gate: Arc::clone(&self.gate), queue };
        connection.tell(Told::Opened(caller));
        Box::new(connection)
    }
}

impl FakeConnection {
    fn tell(&self, told: Told) {
        self.told.lock().unwrap().push(told);
        self.heard.notify_one();
    }
}

impl LiveConnection for FakeConnection {
    fn resume(
        &self,
        lanes: Vec<LaneCursor>,
        subscriptions: Vec<Subscribe>,
        writers: Vec<LaneWriter>,
        schema: Option<SchemaHash>,
    ) -> LiveFuture<'_> {
        self.tell(Told::Resumed(lanes, subscriptions, writers, schema));
        Box::pin(async {})
    }

    fn subscribe(&self, subscribe: Subscribe) -> LiveFuture<'_> {
        let gate = self.gate.lock().unwrap().clone();
        Box::pin(async move {
            self.tell(Told::Subscribed(subscribe));
            if let Some(gate) = gate {
                gate.notified().await;
            }
        })
    }

    fn unsubscribe(&self, unsubscribe: Unsubscribe) -> LiveFuture<'_> {
        self.tell(Told::Unsubscribed(unsubscribe));
        Box::pin(async {})
    }

    fn load_older(&self, load_older: LoadOlder) -> LiveFuture<'_> {
        self.tell(Told::Older(load_older));
        Box::pin(async {})
    }

    fn digest(&self, digest: AskDigest) -> LiveFuture<'_> {
        self.tell(Told::Digest(digest));
        Box::pin(async {})
    }

    fn sync(&self, sync: AskSync) -> LiveFuture<'_> {
        self.tell(Told::Sync(sync));
        Box::pin(async {})
    }

    fn open_lane(&self, open: OpenLane) -> LiveFuture<'_> {
        self.tell(Told::LaneOpened(open));
        Box::pin(async {})
    }

    fn mutate(&self, mutate: Mutate, bytes: usize) -> LiveFuture<'_> {
        self.tell(Told::Mutated(Box::new(mutate), bytes));
        Box::pin(async {})
    }

    fn drained(&self) {
        self.tell(Told::Drained);
    }

    fn progress(&self) {
        let frame = ServerFrame::Progress(Progress { lanes: vec![] });
        self.queue.push(codec::encode(&frame).into());
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.tell(Told::Closed);
    }
}

impl FakeLive {
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until this was told so often.
    pub(crate) async fn until(&self, count: usize, what: impl Fn(&Told) -> bool) {
        patiently(async {
            while self.told().iter().filter(|told| what(told)).count() < count {
                self.heard.notified().await;
            }
        })
        .await;
    }

    /// The queue of the last connection.
    pub(crate) fn queue(&self) -> SendQueue {
        self.queues.lock().unwrap().last().unwrap().clone()
    }

    /// Lets subscriptions wait until this is notified.
    pub(crate) fn hold(&self) -> Arc<Notify> {
        let gate = Arc::<Notify>::default();
        *self.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }
}

/// A client.
pub(crate) struct Live(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

pub(crate) fn hello(token: &str) -> Hello {
    Hello {
        versions: vec![1],
        token: Token(token.to_owned()),
        client: ClientId::from_bytes([7; 16]),
        lanes: vec![],
        subscriptions: vec![],
        writers: vec![],
        schema: None,
        app_version: 0,
    }
}

pub(crate) fn subscribe(request: u64) -> Subscribe {
    Subscribe {
        request: RequestNumber(request),
        sql: "SELECT * FROM app.notes".to_owned(),
        params: vec![],
        fetch_last: None,
        batch_rows: None,
        held: None,
    }
}

/// Limits under which nothing happens by itself.
pub(crate) fn quiet() -> Limits {
    Limits { keep_alive: Duration::from_secs(3_600), ..Limits::default() }
}

impl Live {
    /// A connection on which nothing was said.
    pub(crate) async fn connect(world: &World) -> Self {
        let url = format!("ws://{}/v1/sync", world.address);
        // What is sent is there at once, whether or not what came before was acknowledged.
        let is_sent_at_once = true;
        let connected = connect_async_with_config(url, None, is_sent_at_once);
        Self(patiently(connected).await.unwrap().0)
    }

    pub(crate) async fn open(world: &World) -> (Self, Welcome) {
        let mut live = Self::connect(world).await;
        live.send(ClientFrame::Hello(hello(&token("alice")))).await;
        match live.next().await {
            ServerFrame::Welcome(welcome) => (live, welcome),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: ClientFrame) {
        self.send_bytes(codec::encode(&frame)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        patiently(self.0.send(Message::Binary(bytes.into()))).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> ServerFrame {
        self.next_if_any().await.expect("the connection has ended")
    }

    pub(crate) async fn next_if_any(&mut self) -> Option<ServerFrame> {
        loop {
            match patiently(self.0.next()).await? {
                Ok(Message::Binary(bytes)) => match read_server(&bytes).unwrap() {
                    Received::Known(frame) => return Some(frame),
                    Received::Unknown { name } => panic!("{name}"),
                },
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// What is said before the end, which must come next.
    pub(crate) async fn goodbye(&mut self) -> Goodbye {
        let goodbye = match self.next().await {
            ServerFrame::Goodbye(goodbye) => goodbye,
            other => panic!("{other:?}"),
        };
        assert!(!goodbye.message.is_empty());
        assert!(
            patiently(self.0.next())
                .await
                .is_none_or(|last| { matches!(last, Ok(Message::Close(_)) | Err(_)) })
        );
        goodbye
    }

    pub(crate) async fn ends_with(&mut self, code: ErrorCode) -> Goodbye {
        let goodbye = self.goodbye().await;
        assert_eq!(goodbye.code, code, "{}", goodbye.message);
        goodbye
    }
}

/// A frame of so many bytes that says nothing of its own.
pub(crate) fn filler(bytes: usize) -> Bytes {
    let goodbye = |text: usize| {
        let goodbye =
            Goodbye { code: ErrorCode::Unknown, message: "x".repeat(text), retry_after_ms: None };
        codec::encode(&ServerFrame::Goodbye(goodbye))
    };
    let around = goodbye(100_000).len() - 100_000;
    goodbye(bytes - around).into()
}
