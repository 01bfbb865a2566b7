//! Addresses, tokens, TLS, statuses, and the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use protocol::frame::v1::{Goodbye, ServerFrame};
use sdk_core::{
    Client, Config, Error, ErrorCode, LogLevel, StatusWord, SubscribeOptions, SubscriptionState,
};
use sdk_replica::Replica;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::fake::{Device, Fake, Session, delta, ids, row, soon, table, welcome};

async fn until(client: &Client, word: StatusWord) {
    let mut statuses = client.statuses();
    soon(async { while statuses.next().await.unwrap().word != word {} }).await;
}

#[tokio::test]
async fn an_address_or_user_that_is_none_is_told_at_once() {
    let device = Device::new();
    for (url, user) in [("localhost:80", "ann"), ("ftp://x", "ann"), ("ws://x", ""), ("", "ann")] {
        let config =
            Config::new(url, user, device.directory.path(), || async { Ok(String::new()) });
        let refused = Client::open(config).await.unwrap_err();
        assert!(matches!(refused, Error::Config(_)), "{url} {user}: {refused:?}");
        assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    }
}

/// A1: what goes wrong in the callback is told, and ends nothing.
#[tokio::test]
async fn a_callback_that_fails_or_panics_is_told_and_asked_again() {
    let fake = Fake::new().await;
    let device = Device::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let config = Config::new(fake.url(), "ann", device.directory.path(), move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 => Err("signed out".into()),
                1 => panic!("a defect of the application"),
                _ => Ok("a token".to_owned()),
            }
        }
    });
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let config = config.with_log(move |_, line| log.lock().unwrap().push(line.to_owned()));
    let client = Client::open(config).await.unwrap();
    // Reading goes on meanwhile.
    assert_eq!(client.query("SELECT 1 AS id", &[]).await.unwrap().len(), 1);
    let _session = fake.welcome().await;
    until(&client, StatusWord::Connected).await;
    assert_eq!(client.status().reason, None);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let lines = lines.lock().unwrap().join("\n");
    assert!(lines.contains("signed out") && lines.contains("panicked"), "{lines}");
    assert!(!lines.contains("a token"), "{lines}");
}

/// A4: of whomever the application has one.
#[tokio::test]
async fn a_token_of_somebody_else_is_not_sent() {
    let fake = Fake::new().await;
    let device = Device::new();
    // {"sub":"bob"}
    let config = Config::new(fake.url(), "ann", device.directory.path(), || async {
        Ok("e30.eyJzdWIiOiJib2IifQ.x".to_owned())
    });
    let client = Client::open(config).await.unwrap();
    until(&client, StatusWord::WrongUser).await;
    assert_eq!(client.status().reason.unwrap().code, ErrorCode::NeedsAuth);
}

/// A2: a refused token is not sent twice.
#[tokio::test]
async fn a_refused_token_is_asked_for_anew_once_for_each_refusal() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    for refusal in 1..=4 {
        let (mut session, _) = fake.accept().await;
        let goodbye = Goodbye {
            code: ErrorCode::NeedsAuth,
            message: "the token has expired".to_owned(),
            retry_after_ms: None,
        };
        session.send(ServerFrame::Goodbye(goodbye)).await;
        assert_eq!(session.next_if_any().await, None);
        // The next attempt may have begun at once.
        let asked = device.asked.load(Ordering::SeqCst);
        assert!(asked == refusal || asked == refusal + 1, "{asked} after {refusal} refusals");
        until(&client, StatusWord::NeedsAuth).await;
        client.foreground();
    }
}

#[tokio::test]
async fn the_next_address_is_tried_where_one_cannot_be_reached() {
    // A port that nobody has could be another test's in a moment: this one hangs up.
    let deaf = Fake::new().await;
    let gone = deaf.url();
    tokio::spawn(async move { while deaf.listener.accept().await.is_ok() {} });
    let fake = Fake::new().await;
    let device = Device::new();
    let config = device.config(&gone).or_server(fake.url());
    let client = Client::open(config).await.unwrap();
    until(&client, StatusWord::Offline).await;
    client.network_changed();
    let _session = fake.welcome().await;
    until(&client, StatusWord::Connected).await;
}

async fn tls(fake: &Fake) -> Session<tokio_rustls::server::TlsStream<tokio::net::TcpStream>> {
    let certificate = CertificateDer::from(&include_bytes!("../fixtures/server.der")[..]);
    let key = PrivateKeyDer::try_from(&include_bytes!("../fixtures/server.key.der")[..]).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (stream, _) = soon(fake.listener.accept()).await.unwrap();
    let stream = soon(TlsAcceptor::from(Arc::new(config)).accept(stream)).await.unwrap();
    let (mut session, _) = Session::begin(stream).await;
    session.send(welcome()).await;
    session
}

#[tokio::test]
async fn wss_believes_who_is_vouched_for_and_nobody_else() {
    let fake = Fake::new().await;
    let url = fake.url().replace("ws://127.0.0.1", "wss://localhost");
    let device = Device::new();
    let authority = include_bytes!("../fixtures/authority.der");
    let config = device.config(&url).with_root_certificate(&authority[..]);
    let client = Client::open(config).await.unwrap();
    let _session = tls(&fake).await;
    until(&client, StatusWord::Connected).await;

    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let stranger = Device::new();
    let config = stranger.config(&url).with_log(move |level, line| {
        log.lock().unwrap().push((level, line.to_owned()));
    });
    let client = Client::open(config).await.unwrap();
    let (stream, _) = soon(fake.listener.accept()).await.unwrap();
    drop(tokio::spawn(async move {
        // It says hello, and goes away at the certificate.
        let _ = tls_of(stream).await;
    }));
    until(&client, StatusWord::Offline).await;
    let lines = lines.lock().unwrap();
    assert!(
        lines.iter().any(|(level, line)| *level == LogLevel::Info && line.contains("certificate"))
    );
}

async fn tls_of(stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let certificate = CertificateDer::from(&include_bytes!("../fixtures/server.der")[..]);
    let key = PrivateKeyDer::try_from(&include_bytes!("../fixtures/server.key.der")[..]).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop)
}

#[tokio::test]
async fn a_client_that_is_closed_keeps_nobody_waiting() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let mut watch = client.watch("SELECT 1 AS id", &[]).unwrap();
    assert_eq!(ids(&soon(watch.next()).await.unwrap().rows), [1]);
    let closing = client.clone();
    let positions = [sdk_core::Position {
        lane: "user/ann".parse().unwrap(),
        epoch: crate::fake::epoch(),
        seq: crate::fake::seq(5),
    }];
    let (ready, remote, waits, watched, ()) = soon(async {
        tokio::join!(
            subscription.ready(),
            client.remote("DELETE FROM app.notes", &[]),
            client.wait_for(&positions),
            watch.next(),
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                closing.close().await;
            }
        )
    })
    .await;
    assert_eq!(ready, Err(Error::Closed));
    assert_eq!(remote.unwrap_err().code(), ErrorCode::Timeout, "it may have happened");
    assert_eq!(waits, Err(Error::Closed));
    assert_eq!(watched, None);
    assert_eq!(client.status().word, StatusWord::Closed);
    assert_eq!(client.query("SELECT 1", &[]).await, Err(Error::Closed));
    assert_eq!(client.subscribe("SELECT", &[], options).await.unwrap_err(), Error::Closed);
    // And its file is free.
    device.open(&fake.url()).await;
}

#[tokio::test]
async fn one_process_has_a_replica() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let second = Client::open(device.config(&fake.url())).await.unwrap_err();
    assert_eq!(second.code(), ErrorCode::LeaderChanged, "{second}");
    drop(client);
}

/// The smallest executor there is.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => return done,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// No runtime of the application's is needed.
#[test]
fn it_works_in_any_executor() {
    let device = Device::new();
    let client = block_on(device.open("ws://127.0.0.1:9"));
    block_on(async {
        client.execute("CREATE TABLE mine (id INTEGER)", &[]).await.unwrap();
        client.execute("INSERT INTO mine VALUES (5)", &[]).await.unwrap();
        assert_eq!(ids(&client.query("SELECT id FROM mine", &[]).await.unwrap()), [5]);
        let mut watch = client.watch("SELECT id FROM mine", &[]).unwrap();
        assert_eq!(ids(&watch.next().await.unwrap().rows), [5]);
        client.close().await;
    });
}

#[tokio::test]
async fn half_a_commit_is_not_seen_and_a_server_that_contradicts_is_left() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let subscription = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.subscriptions.len(), 1);
    session.grant(1, table(64, "app.notes"), &[(1, row(1))]).await;
    soon(subscription.ready()).await.unwrap();
    session.send(delta(10, 11, 64, 2, false)).await;
    session.send(delta(10, 11, 64, 3, false)).await;
    drop(session);
    until(&client, StatusWord::Offline).await;
    let rows = client.query("SELECT id FROM app.notes", &[]).await.unwrap();
    assert_eq!(ids(&rows), [1], "a commit without its end");
    assert_eq!(subscription.state(), SubscriptionState::Behind);
    client.network_changed();
    let (mut session, hello) = fake.welcome().await;
    assert_eq!(hello.lanes[0].since_seq, crate::fake::seq(10));
    // A gap.
    session.send(crate::fake::subscribed(1, table(64, "app.notes"))).await;
    session.send(crate::fake::frontier(10)).await;
    session.send(delta(12, 13, 64, 4, true)).await;
    assert_eq!(session.next_if_any().await, None, "the client hangs up");
    assert_eq!(ids(&client.query("SELECT id FROM app.notes", &[]).await.unwrap()), [1]);
}

const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT \
                       count(*) AS id FROM n";

#[tokio::test]
async fn closing_ends_what_runs() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        let client = client.clone();
        running.push(tokio::spawn(async move { client.query(ENDLESS, &[]).await.err() }));
    }
    let writer = client.clone();
    running.push(tokio::spawn(async move { writer.execute(ENDLESS, &[]).await.err() }));
    let watch = client.watch(ENDLESS, &[]).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    soon(client.close()).await;
    for one in running {
        let error = soon(one).await.unwrap().expect("it has no end of its own");
        assert!([ErrorCode::Cancelled, Error::Closed.code()].contains(&error.code()), "{error:?}");
    }
    assert_eq!(soon(watch.collect::<Vec<_>>()).await.len(), 0);
    device.open(&fake.url()).await;
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_stopped() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    for _ in 0..5 {
        let waits = Duration::from_millis(5);
        assert!(tokio::time::timeout(waits, client.query(ENDLESS, &[])).await.is_err());
        assert!(tokio::time::timeout(waits, client.execute(ENDLESS, &[])).await.is_err());
    }
    assert_eq!(soon(client.query("SELECT 1 AS id", &[])).await.unwrap().len(), 1);
    soon(client.execute("CREATE TABLE mine (id)", &[])).await.unwrap();
}

#[tokio::test]
async fn the_last_client_ends_it_also_when_a_subscription_is_left() {
    let fake = Fake::new().await;
    let device = Device::new();
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions::default();
    let left = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    drop(client);
    soon(async {
        while Client::open(device.config(&fake.url())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(soon(left.ready()).await, Err(Error::Closed));
}

/// S5: an application that was taken back to an older version.
#[tokio::test]
async fn a_replica_of_a_later_version_is_refused_and_stays_as_it_is() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, _session) = device.with_notes(&fake, 2).await;
    soon(client.close()).await;
    let mut bytes = std::fs::read(device.file()).unwrap();
    // Where SQLite has the number that is the format here.
    bytes[60..64].copy_from_slice(&999_u32.to_be_bytes());
    std::fs::write(device.file(), &bytes).unwrap();
    let refused = Client::open(device.config(&fake.url())).await.unwrap_err();
    assert!(
        matches!(refused, Error::Replica { code: ErrorCode::UpdateRequired, .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("update the application"), "{refused}");
    assert!(std::fs::read(device.file()).unwrap() == bytes, "something was written to it");
    // The later version has it as it was.
    bytes[60..64].copy_from_slice(&u32::try_from(Replica::FORMAT).unwrap().to_be_bytes());
    std::fs::write(device.file(), &bytes).unwrap();
    let client = device.open(&fake.url()).await;
    assert_eq!(ids(&client.query("SELECT id FROM app.notes", &[]).await.unwrap()), [1, 2]);
}
