//! A gateway on a port of its own, its fakes, and a client that sends any bytes.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use protocol::ids::TenantId;
use serde_json::Value as Json;
use server_gateway::{
    Clock, Files, HealthPort, Limits, Ports, Readiness, Role, SigningKey, SqlAnswer, SqlError,
    SqlFuture, SqlPort, SqlRequest, SubscriptionPort, serve,
};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::socket::FakeLive;

pub(crate) const KEY: &[u8] = b"a key of tests, with 32 bytes ok";
pub(crate) const NOW: u64 = 1_800_000_000;

/// Whoever waits longer waits forever. No test depends on how long something takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what will happen, and fails when it does not.
pub(crate) async fn patiently<T>(happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.expect("it happens")
}

type Run = Box<dyn Fn(SqlRequest) -> SqlFuture<'static> + Send + Sync>;

/// Remembers what it was asked.
pub(crate) struct FakeSql {
    run: Run,
    asked: Mutex<Vec<SqlRequest>>,
}

impl FakeSql {
    pub(crate) fn asked(&self) -> Vec<SqlRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl SqlPort for FakeSql {
    fn run(&self, request: SqlRequest) -> SqlFuture<'_> {
        self.asked.lock().unwrap().push(request.clone());
        (self.run)(request)
    }
}

pub(crate) struct FakeHealth(pub(crate) Mutex<Readiness>);

impl HealthPort for FakeHealth {
    fn readiness(&self) -> Readiness {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct FakeClock(pub(crate) AtomicU64);

impl Clock for FakeClock {
    fn now_micros(&self) -> i64 {
        i64::try_from(self.now_seconds()).unwrap() * 1_000_000
    }

    fn now_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct World {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) sql: Arc<FakeSql>,
    pub(crate) live: Arc<FakeLive>,
    pub(crate) health: Arc<FakeHealth>,
    pub(crate) clock: Arc<FakeClock>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

/// What a fake says to a write of one row.
pub(crate) fn one_row() -> SqlAnswer {
    SqlAnswer { rows_affected: Some(1), ..SqlAnswer::default() }
}

impl World {
    /// Every statement writes a row.
    pub(crate) async fn new(limits: Limits) -> Self {
        Self::with(limits, |_| async { Ok(one_row()) }).await
    }

    /// With files beside the API.
    pub(crate) async fn with_files(limits: Limits, files: Files) -> Self {
        Self::start(limits, Some(files), |_| async { Ok(one_row()) }).await
    }

    pub(crate) async fn with<F>(
        limits: Limits,
        run: impl Fn(SqlRequest) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<SqlAnswer, SqlError>> + Send + 'static,
    {
        Self::start(limits, None, run).await
    }

    async fn start<F>(
        limits: Limits,
        files: Option<Files>,
        run: impl Fn(SqlRequest) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<SqlAnswer, SqlError>> + Send + 'static,
    {
        crate::log::listen();
        let sql = Arc::new(FakeSql {
            run: Box::new(move |request| Box::pin(run(request))),
            asked: Mutex::default(),
        });
        let live = Arc::<FakeLive>::default();
        let health = Arc::new(FakeHealth(Mutex::new(Readiness::Ready)));
        let clock = Arc::new(FakeClock(AtomicU64::new(NOW)));
        let ports = Ports {
            sql: Arc::clone(&sql) as Arc<dyn SqlPort>,
            subscriptions: Arc::clone(&live) as Arc<dyn SubscriptionPort>,
            health: Arc::clone(&health) as Arc<dyn HealthPort>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            key: SigningKey::new(KEY).unwrap(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            serve(listener, ports, files, limits, stopped).await
        });
        Self { address, sql, live, health, clock, stop: Some(stop), served }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), unread: Vec::new() }
    }

    /// Sends a statement as alice.
    pub(crate) async fn post(&self, body: &str) -> Answer {
        self.ask(&post(&token("alice"), body)).await
    }

    /// Sends these bytes over a connection of their own.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Answer {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.answer().await.unwrap()
    }

    /// The gateway still does its work.
    pub(crate) async fn is_well(&self) {
        let answer = self.post(r#"{"sql":"well"}"#).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) fn has_returned(&self) -> bool {
        self.served.is_finished()
    }

    /// Waits until the gateway has returned.
    pub(crate) async fn returned(self) {
        timeout(PATIENCE, self.served).await.unwrap().unwrap().unwrap();
    }
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The code of the error that this must be, all parts of which are there.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let error = &self.json()["error"];
        let code = error["code"].as_str().unwrap().to_owned();
        assert_eq!(error["documentation"], format!("docs/ERRORS.md#{code}"));
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert!(error["retry"].is_boolean());
        assert!(error["request"].as_str().unwrap().contains('-'));
        code
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    /// Sends as much as the other side takes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("bytes are taken");
    }

    /// Ends what is sent, and still reads.
    pub(crate) async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads more. Nothing behind the end.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("no hang");
        let count = read.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// The first bytes of the next answer.
    pub(crate) async fn begins(&mut self) -> String {
        assert!(self.more().await);
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// The next answer; none when the connection ends before it.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                return None;
            }
        };
        let text = String::from_utf8(self.unread.drain(..head + 4).collect()).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        if status == 100 {
            return Some(answer);
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            if !self.more().await {
                return None;
            }
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        Some(answer)
    }

    /// Sends a lot more, and tells whether the other side then ends the connection in peace: a
    /// reset could take an answer with it that is not read yet.
    pub(crate) async fn ends_in_peace(&mut self) -> bool {
        for _ in 0..20 {
            if self.stream.write_all(&[b'x'; 10_000]).await.is_err() {
                return false;
            }
            tokio::task::yield_now().await;
        }
        let mut rest = Vec::new();
        patiently(self.stream.read_to_end(&mut rest)).await.is_ok()
    }

    /// Waits until the other side has ended the connection; what it said before.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

/// A token that is valid for an hour.
pub(crate) fn token(user: &str) -> String {
    let user = TenantId::new(user).unwrap();
    SigningKey::new(KEY).unwrap().sign(&user, Role::User, NOW + 3_600, NOW)
}

/// A token as somebody else would make it.
pub(crate) fn forged(header: &str, claims: &str, key: &[u8]) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

pub(crate) fn head(token: &str, length: usize) -> String {
    format!(
        "POST /v1/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: \
         application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

pub(crate) fn post(token: &str, body: &str) -> Vec<u8> {
    (head(token, body.len()) + body).into_bytes()
}
