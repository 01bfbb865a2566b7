//! A server that says what the test wants, and a client of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use protocol::codec;
use protocol::frame::v1::{
    ClientFrame, Delta, Frontier, Hello, InitialDataBatch, Received, RowChange, ServerFrame,
    Subscribed, Welcome, read_client,
};
use protocol::ids::{
    Basis, Birth, ColumnId, Epoch, Floor, Name, QueryNumber, RequestNumber, SchemaVersion, SeqId,
    TableId,
};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Row};
use sdk_core::{Client, Config, Rows, SubscribeOptions, Value};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Longer than anything takes. What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(happens: impl Future<Output = T>) -> T {
    timeout(WITHIN, happens).await.expect("it hangs")
}

pub(crate) struct Fake {
    pub(crate) listener: TcpListener,
}

/// One connection of a client.
pub(crate) struct Session<S>(WebSocketStream<S>);

impl Fake {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection, and its `hello`; behind those that a client has given up.
    pub(crate) async fn accept(&self) -> (Session<TcpStream>, Hello) {
        loop {
            let (stream, _) = soon(self.listener.accept()).await.unwrap();
            let Ok(socket) = soon(accept_async(stream)).await else { continue };
            let mut session = Session(socket);
            if let Some(ClientFrame::Hello(hello)) = session.next_if_any().await {
                return (session, hello);
            }
        }
    }

    /// The next that holds nothing.
    pub(crate) async fn accept_anew(&self) -> (Session<TcpStream>, Hello) {
        loop {
            let (session, hello) = self.accept().await;
            if hello.lanes.is_empty() {
                return (session, hello);
            }
        }
    }

    /// The same, welcomed.
    pub(crate) async fn welcome(&self) -> (Session<TcpStream>, Hello) {
        let (mut session, hello) = self.accept().await;
        session.send(welcome()).await;
        (session, hello)
    }
}

/// What time it is at the server when it welcomes somebody.
pub(crate) const WELCOME_AT: i64 = 1_800_000_000_000_000;

pub(crate) fn welcome() -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        version: 1,
        time: WELCOME_AT,
        silence_ms_max: 60_000,
        token_expires_ms: None,
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) async fn begin(stream: S) -> (Self, Hello) {
        let mut session = Self(soon(accept_async(stream)).await.unwrap());
        match session.next().await {
            ClientFrame::Hello(hello) => (session, hello),
            other => panic!("no hello, but {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: ServerFrame) {
        let bytes = codec::encode(&frame);
        soon(self.0.send(Message::Binary(bytes.into()))).await.unwrap();
    }

    /// The same with several, which come together.
    pub(crate) async fn send_together(&mut self, frames: impl IntoIterator<Item = ServerFrame>) {
        for frame in frames {
            let bytes = codec::encode(&frame);
            soon(self.0.feed(Message::Binary(bytes.into()))).await.unwrap();
        }
        soon(self.0.flush()).await.unwrap();
    }

    /// The same, to a client that may have gone.
    pub(crate) async fn send_if_any(&mut self, frame: ServerFrame) {
        let bytes = codec::encode(&frame);
        let _ = soon(self.0.send(Message::Binary(bytes.into()))).await;
    }

    /// What is no frame.
    pub(crate) async fn send_text(&mut self, text: &str) {
        soon(self.0.send(Message::Text(text.into()))).await.unwrap();
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> ClientFrame {
        self.next_if_any().await.expect("the client has gone")
    }

    pub(crate) async fn next_if_any(&mut self) -> Option<ClientFrame> {
        loop {
            match soon(self.0.next()).await? {
                Ok(Message::Binary(bytes)) => match read_client(&bytes).unwrap() {
                    Received::Known(frame) => return Some(frame),
                    Received::Unknown { name } => panic!("{name}"),
                },
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Answers a subscription to a table, and brings its rows.
    pub(crate) async fn grant(&mut self, request: u64, table: TableSchema, rows: &[(u64, Row)]) {
        let query = QueryNumber(u64::from(table.id.0));
        self.send(subscribed(request, table)).await;
        self.send(frontier(0)).await;
        self.send(batch(query, 10, rows)).await;
    }
}

pub(crate) fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

/// A table of notes: an id and a text.
pub(crate) fn table(id: u32, name: &str) -> TableSchema {
    let column = |id, name: &str, column_type, not_null| Column {
        id: ColumnId(id),
        name: Name::new(name).unwrap(),
        column_type,
        not_null,
        default: None,
        merge: MergeRule::Last,
    };
    TableSchema {
        id: TableId(id),
        name: name.parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(0, "id", ColumnType::BigInt, true),
            column(1, "body", ColumnType::Text, false),
        ],
        primary_key: vec![ColumnId(0)],
        indexes: vec![],
        ttl_seconds: None,
    }
}

pub(crate) fn subscribed(request: u64, table: TableSchema) -> ServerFrame {
    let id = u8::try_from(table.id.0).unwrap();
    ServerFrame::Subscribed(Box::new(Subscribed {
        request: RequestNumber(request),
        query: QueryNumber(u64::from(table.id.0)),
        lane: "user/ann".parse().unwrap(),
        basis: Basis::from_bytes([id; 16]),
        columns: table.columns.iter().map(|column| column.id).collect(),
        table,
        predicate: Predicate::Constant(Truth::True),
    }))
}

pub(crate) fn epoch() -> Epoch {
    Epoch::from_bytes([1; 16])
}

pub(crate) fn frontier(at: u64) -> ServerFrame {
    let lane = "user/ann".parse().unwrap();
    ServerFrame::Frontier(Frontier { lane, epoch: epoch(), seq: seq(at), writer: None })
}

pub(crate) fn batch(query: QueryNumber, at: u64, rows: &[(u64, Row)]) -> ServerFrame {
    ServerFrame::InitialDataBatch(InitialDataBatch {
        query,
        seq: seq(at),
        floor: Floor::COMPLETE,
        remaining: 0,
        births: rows.iter().map(|(birth, _)| Birth(seq(*birth))).collect(),
        rows: rows.iter().map(|(_, row)| row.clone()).collect(),
        expiries: vec![],
    })
}

pub(crate) fn delta(previous: u64, at: u64, query: u32, id: i64, end: bool) -> ServerFrame {
    ServerFrame::Delta(Delta {
        previous: seq(previous),
        seq: seq(at),
        end,
        query: QueryNumber(u64::from(query)),
        changes: vec![RowChange::Row(Birth(seq(at)), row(id))],
    })
}

pub(crate) fn row(id: i64) -> Row {
    [Value::Integer(id), Value::text(format!("note {id}")).unwrap()].into_iter().collect()
}

/// The first column of rows.
pub(crate) fn ids(rows: &Rows) -> Vec<i64> {
    rows.iter().map(|row| row.get("id").unwrap()).collect()
}

/// Where replicas are, and how often a token was asked for.
pub(crate) struct Device {
    pub(crate) directory: TempDir,
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), asked: Arc::default() }
    }

    /// A client that has so many notes, and its connection.
    pub(crate) async fn with_notes(&self, fake: &Fake, notes: i64) -> (Client, Session<TcpStream>) {
        let client = self.open(&fake.url()).await;
        let all = "SELECT * FROM app.notes";
        let all = client.subscribe(all, &[], SubscribeOptions::default()).await.unwrap();
        let (mut session, _) = fake.welcome().await;
        let rows: Vec<_> = (3..).zip((1..=notes).map(row)).collect();
        session.grant(1, table(64, "app.notes"), &rows).await;
        soon(all.ready()).await.unwrap();
        (client, session)
    }

    /// Its one file.
    pub(crate) fn file(&self) -> PathBuf {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names = files.map(|file| file.unwrap().path());
        names.find(|path| path.extension().is_some_and(|end| end == "sqlite")).unwrap()
    }

    /// Whether nobody has a lock on it.
    pub(crate) fn is_free(&self) -> bool {
        sdk_replica::can_be_had_alone(&self.file())
    }

    pub(crate) fn config(&self, url: &str) -> Config {
        let asked = Arc::clone(&self.asked);
        Config::new(url, "ann", self.directory.path(), move || {
            asked.fetch_add(1, Ordering::SeqCst);
            async { Ok("a token".to_owned()) }
        })
        .with_name("the server")
    }

    pub(crate) async fn open(&self, url: &str) -> Client {
        Client::open(self.config(url)).await.unwrap()
    }
}
