//! Networks that carry only some of it, and answers of others than the server: what was written waits, and
//! nothing else waits with it.

use std::time::Duration;

use futures::StreamExt;
use protocol::frame::v1::ClientFrame;
use sdk_core::{Client, MutationState, StatusWord, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::fake::{Device, Fake, Session, delta, frontier, ids, soon, subscribed, table, welcome};
use crate::sending::{INSERT, begun, decided, live, mutate, shows, subscribe};

async fn insert(client: &Client, id: i64) -> sdk_core::Mutation {
    client.execute(INSERT, &[Value::Integer(id)]).await.unwrap()
}

/// W3: the server takes what was written and decides nothing. What others write is shown all the same,
/// also under what waits; and a restart later both directions go on.
#[tokio::test]
async fn what_others_write_comes_while_nothing_is_decided() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, mut watch) = begun(&fake, &device).await;
    let written = insert(&client, 50).await;
    let (sent, hash) = mutate(&mut session).await;
    for at in 11..=30 {
        session.send(delta(at - 1, at, 64, i64::try_from(at).unwrap(), true)).await;
    }
    let all: Vec<i64> = [1, 2].into_iter().chain(11..=30).chain([50]).collect();
    shows(&mut watch, &all).await;
    assert_eq!(written.state(), MutationState::Sent);
    assert_eq!(client.status().word, StatusWord::Connected);
    session.send(delta(30, 31, 64, 50, false)).await;
    session.send(decided(sent.client, (30, 31), 1, hash, true)).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Accepted { seq: 31 });
    assert_eq!(client.pending().await.unwrap().count(), 0);
}

/// A server whose system takes little that it has not read.
async fn with_little_room() -> Fake {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Fake { listener: socket.listen(16).unwrap() }
}

/// More than systems keep of a connection that is not read.
async fn fill(client: &Client) {
    for _ in 0..8 {
        let client = client.clone();
        let much = Value::text("x".repeat(1_000_000)).unwrap();
        tokio::spawn(async move { client.remote("SELECT $1", &[much]).await });
    }
}

/// W3: nothing leaves the device, since what it has sent is not taken. What comes is shown, and what
/// was written goes out when there is room.
#[tokio::test]
async fn what_others_write_comes_while_nothing_goes_out() {
    let (fake, device) = (with_little_room().await, Device::new());
    let (client, mut session, mut watch) = begun(&fake, &device).await;
    fill(&client).await;
    let written = insert(&client, 50).await;
    for at in 11..=30 {
        session.send(delta(at - 1, at, 64, i64::try_from(at).unwrap(), true)).await;
    }
    let all: Vec<i64> = [1, 2].into_iter().chain(11..=30).chain([50]).collect();
    shows(&mut watch, &all).await;
    assert!(matches!(written.state(), MutationState::Queued | MutationState::Sent));
    // It is read at last.
    let (sent, hash) = soon(async {
        loop {
            match session.next().await {
                ClientFrame::Mutate(mutate) => {
                    break (mutate.client, mutate.previous.then(mutate.mutations[0].digest()));
                }
                ClientFrame::Sql(_) | ClientFrame::OpenLane(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    session.send(delta(30, 31, 64, 50, false)).await;
    session.send(decided(sent, (30, 31), 1, hash, true)).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Accepted { seq: 31 });
}

const PAGE: &str = "<!DOCTYPE html><html><title>Please sign in</title><h1>Bad Gateway</h1></html>";

/// What stands between, and answers in the server's place.
const ANSWERS: [&str; 7] = [
    "502 Bad Gateway",
    "503 Service Unavailable",
    "429 Too Many Requests\r\nRetry-After: 3600",
    "200 OK",
    "302 Found\r\nLocation: http://captive.example/",
    "401 Unauthorized",
    "403 Forbidden",
];

/// The next connection, of a client that does not wait out its pause.
async fn dialled(fake: &Fake, client: &Client) -> TcpStream {
    loop {
        client.network_changed();
        let accepted = timeout(Duration::from_millis(20), fake.listener.accept()).await;
        if let Ok(accepted) = accepted {
            return accepted.unwrap().0;
        }
    }
}

/// Answers the next connection so, with a page.
async fn answer(fake: &Fake, client: &Client, status: &str) {
    let mut stream = soon(dialled(fake, client)).await;
    let mut asked = Vec::new();
    soon(async {
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    assert!(asked.starts_with(b"GET /v1/sync"), "{}", String::from_utf8_lossy(&asked));
    let length = PAGE.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{PAGE}"
    );
    soon(stream.write_all(answer.as_bytes())).await.unwrap();
    // Until the client goes.
    let _ = soon(stream.read_to_end(&mut asked)).await;
}

/// A connection over which nothing was missed.
async fn resumed(fake: &Fake, client: &Client) -> Session<TcpStream> {
    let (mut session, _) = Session::begin(soon(dialled(fake, client)).await).await;
    session.send(welcome()).await;
    session.send(subscribed(1, table(64, "app.notes"))).await;
    session.send(frontier(10)).await;
    session
}

async fn until_offline(client: &Client) {
    let mut statuses = client.statuses();
    soon(async { while statuses.next().await.unwrap().word != StatusWord::Offline {} }).await;
}

/// C2: only a verdict refuses. Pages of proxies, overload and a network that wants somebody to sign in
/// first are no verdict, of what was sent before as of what was not.
#[tokio::test]
async fn the_page_of_a_proxy_refuses_nothing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session, _) = begun(&fake, &device).await;
    let one = insert(&client, 5).await;
    mutate(&mut session).await;
    drop(session);
    until_offline(&client).await;
    let two = insert(&client, 6).await;
    for status in ANSWERS {
        answer(&fake, &client, status).await;
        until_offline(&client).await;
        assert_eq!((one.state(), two.state()), (MutationState::Sent, MutationState::Queued));
        let waiting = client.pending().await.unwrap().count();
        let refused = client.rejections().await.unwrap().len();
        assert_eq!((waiting, refused), (2, 0), "{status}");
        let shown = client.query("SELECT id FROM app.notes ORDER BY id", &[]).await.unwrap();
        assert_eq!(ids(&shown), [1, 2, 5, 6], "{status}");
    }
    // The server is back.
    let mut session = resumed(&fake, &client).await;
    let (sent, hash) = mutate(&mut session).await;
    let before = sent.previous.then(sent.mutations[0].digest());
    session.send(decided(sent.client, (10, 10), 1, before, true)).await;
    let last = match sent.mutations.len() {
        2 => hash,
        _ => mutate(&mut session).await.1,
    };
    session.send(decided(sent.client, (10, 10), 2, last, true)).await;
    assert_eq!(soon(two.decided()).await.unwrap(), MutationState::Accepted { seq: 10 });
    assert_eq!(soon(one.decided()).await.unwrap(), MutationState::Accepted { seq: 10 });
}

/// C2: the same in the middle of a connection: a text is no frame, and decides nothing.
#[tokio::test]
async fn what_is_no_frame_refuses_nothing() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    subscribe(&client).await;
    let (mut session, _) = live(&fake).await;
    shows(&mut client.watch("SELECT id FROM app.notes ORDER BY id", &[]).unwrap(), &[1, 2]).await;
    let written = insert(&client, 5).await;
    mutate(&mut session).await;
    session.send_text(PAGE).await;
    assert_eq!(session.next_if_any().await, None, "the client hangs up");
    assert_eq!(written.state(), MutationState::Sent);
    let waiting = client.pending().await.unwrap().count();
    assert_eq!((waiting, client.rejections().await.unwrap().len()), (1, 0));
    let mut session = resumed(&fake, &client).await;
    let (sent, hash) = mutate(&mut session).await;
    session.send(decided(sent.client, (10, 10), 1, hash, true)).await;
    assert_eq!(soon(written.decided()).await.unwrap(), MutationState::Accepted { seq: 10 });
}
