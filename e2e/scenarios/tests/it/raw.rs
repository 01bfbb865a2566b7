//! A client that says what it is told to, frame by frame.

use std::time::Duration;

use e2e_harness::Client;
use futures::{SinkExt, StreamExt};
use protocol::codec;
use protocol::frame::v1::{
    ClientFrame, Held, Hello, LaneCursor, Received, Schema, ServerFrame, Subscribe, Token,
    read_server,
};
use protocol::ids::{ClientId, Floor, RequestNumber};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything takes. What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// All bytes that have come, if they are to be looked at.
    pub(crate) received: Vec<u8>,
    /// The descriptions of the tables that have come between the other frames.
    pub(crate) schemas: Vec<Schema>,
}

pub(crate) fn subscribe(request: u64, sql: &str) -> Subscribe {
    Subscribe {
        request: RequestNumber(request),
        sql: sql.to_owned(),
        params: vec![],
        fetch_last: None,
        batch_rows: None,
        held: None,
    }
}

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

impl Raw {
    /// A connection on which nothing was said.
    pub(crate) async fn connect(address: &str) -> Self {
        let (socket, _) = connect_async(format!("ws://{address}/v1/sync")).await.unwrap();
        Self { socket, received: Vec::new(), schemas: Vec::new() }
    }

    /// One that was welcomed.
    pub(crate) async fn open(client: &Client) -> Self {
        Self::resume(client, vec![], vec![]).await
    }

    /// One that goes on where it was.
    pub(crate) async fn resume(
        client: &Client,
        lanes: Vec<LaneCursor>,
        subscriptions: Vec<Subscribe>,
    ) -> Self {
        let mut raw = Self::connect(&client.address()).await;
        let hello = Hello { lanes, subscriptions, ..hello(client.token()) };
        raw.send(ClientFrame::Hello(hello)).await;
        match raw.next().await {
            ServerFrame::Welcome(_) => raw,
            other => panic!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: ClientFrame) {
        self.send_bytes(codec::encode(&frame)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The next frame that says something.
    pub(crate) async fn next(&mut self) -> ServerFrame {
        self.next_if_any().await.expect("the connection has ended")
    }

    /// The same; nothing when the connection has ended.
    pub(crate) async fn next_if_any(&mut self) -> Option<ServerFrame> {
        loop {
            let message = timeout(WITHIN, self.socket.next()).await.expect("no frame comes")?;
            let bytes = match message {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(other) => panic!("not a frame: {other:?}"),
            };
            self.received.extend_from_slice(&bytes);
            match read_server(&bytes).unwrap() {
                Received::Known(ServerFrame::Progress(progress)) if progress.lanes.is_empty() => {}
                Received::Known(ServerFrame::Schema(piece)) => self.schemas.push(piece),
                Received::Known(frame) => return Some(frame),
                Received::Unknown { name } => panic!("an unknown message {name}"),
            }
        }
    }

    /// Subscribes, and takes all frames up to the end of the load.
    pub(crate) async fn load(&mut self, subscribe: Subscribe) -> Loaded {
        self.send(ClientFrame::Subscribe(subscribe.clone())).await;
        self.loaded(subscribe.fetch_last).await
    }

    /// Takes all frames up to the end of a load.
    pub(crate) async fn loaded(&mut self, window: Option<u64>) -> Loaded {
        let mut loaded = Loaded::default();
        loop {
            match self.next().await {
                ServerFrame::Subscribed(subscribed) => loaded.subscribed = Some(*subscribed),
                ServerFrame::Frontier(frontier) => loaded.frontier = Some(frontier),
                ServerFrame::InitialDataBatch(batch) => {
                    loaded.rows.splice(0..0, batch.births.into_iter().zip(batch.rows));
                    loaded.seq = Some(batch.seq);
                    loaded.floor = Some(batch.floor);
                    let all = window.is_some_and(|window| loaded.rows.len() as u64 >= window);
                    if batch.floor == protocol::ids::Floor::COMPLETE || all {
                        return loaded;
                    }
                }
                other => panic!("not of a load: {other:?}"),
            }
        }
    }
}

/// What a load brought.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) subscribed: Option<protocol::frame::v1::Subscribed>,
    pub(crate) frontier: Option<protocol::frame::v1::Frontier>,
    pub(crate) rows: Vec<(protocol::ids::Birth, protocol::value::Row)>,
    pub(crate) seq: Option<protocol::ids::SeqId>,
    pub(crate) floor: Option<Floor>,
}

impl Loaded {
    /// What a client says later that has all of this, and nothing since.
    pub(crate) fn held(&self) -> (LaneCursor, Held) {
        let known = self.subscribed.as_ref().unwrap();
        let epoch = self.frontier.as_ref().unwrap().epoch;
        let since_seq = self.seq.unwrap();
        let cursor = LaneCursor { lane: known.lane.clone(), epoch, since_seq, cut: 0 };
        (cursor, Held { basis: known.basis, floor: Floor::COMPLETE, missing: None })
    }
}
