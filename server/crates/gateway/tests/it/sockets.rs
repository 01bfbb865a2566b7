//! From `hello` to `goodbye`: who gets in, what is passed on, and what ends a connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use protocol::codec;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    AskDigest, AskSync, ClientFrame, Goodbye, Hello, LaneAt, LaneCursor, LaneWriter, LoadOlder,
    Mutate, OpenLane, Progress, Received, ServerFrame, Token, Unsubscribe, Written, read_server,
};
use protocol::ids::{
    Birth, ClientId, ContentHash, Epoch, MutationNumber, RequestNumber, SchemaHash, SeqId,
};
use protocol::limits::CLIENT_FRAME_BYTES_MAX;
use protocol::mutation::MutationDigest;
use server_gateway::{Limits, Role, SigningKey};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::socket::{Live, Told, filler, hello, quiet, subscribe};
use crate::world::{KEY, NOW, World, patiently, token};

fn signed(user: &str, role: Role, expires_at: u64) -> Token {
    let key = SigningKey::new(KEY).unwrap();
    Token(key.sign(&user.parse().unwrap(), role, expires_at, NOW))
}

#[tokio::test]
async fn who_says_hello_is_welcome_and_heard() {
    let world = World::new(quiet()).await;
    let mut live = Live::connect(&world).await;
    let cursor = LaneCursor {
        lane: "user/alice".parse().unwrap(),
        epoch: Epoch::from_bytes([1; 16]),
        since_seq: SeqId::new(5).unwrap(),
        cut: 1,
    };
    let schema = SchemaHash::from_bytes([5; 16]);
    let said = Hello {
        lanes: vec![cursor.clone()],
        schema: Some(schema),
        subscriptions: vec![subscribe(1)],
        ..hello(&token("alice"))
    };
    live.send(ClientFrame::Hello(said)).await;
    let ServerFrame::Welcome(welcome) = live.next().await else { panic!("no welcome") };
    assert_eq!(welcome.version, 1);
    assert_eq!(welcome.time, i64::try_from(NOW).unwrap() * 1_000_000);
    assert_eq!(welcome.silence_ms_max, 5_400_000, "half as long again as the keep-alive");
    assert_eq!(welcome.token_expires_ms, Some(3_600_000));

    live.send(ClientFrame::Subscribe(subscribe(2))).await;
    let older = LoadOlder { request: RequestNumber(2), rows: 5 };
    live.send(ClientFrame::LoadOlder(older.clone())).await;
    let digest = AskDigest { request: RequestNumber(2), below: Some(Birth(SeqId::MAX)) };
    live.send(ClientFrame::Digest(digest.clone())).await;
    let sync = AskSync { request: RequestNumber(3) };
    live.send(ClientFrame::Sync(sync)).await;
    let end = Unsubscribe { request: RequestNumber(2) };
    live.send(ClientFrame::Unsubscribe(end.clone())).await;
    world.live.until(1, |told| matches!(told, Told::Unsubscribed(_))).await;
    patiently(live.0.close(None)).await.unwrap();
    world.live.until(1, |told| *told == Told::Closed).await;
    let told = world.live.told();
    let Told::Opened(caller) = &told[0] else { panic!("{told:?}") };
    assert_eq!((caller.user.as_str(), caller.role), ("alice", Role::User));
    assert_eq!(
        told[1..],
        [
            Told::Resumed(vec![cursor], vec![subscribe(1)], vec![], Some(schema)),
            Told::Subscribed(subscribe(2)),
            Told::Older(older),
            Told::Digest(digest),
            Told::Sync(sync),
            Told::Unsubscribed(end),
            Told::Closed,
        ]
    );
}

#[tokio::test]
async fn what_a_client_writes_is_passed_on_in_its_order() {
    let world = World::new(quiet()).await;
    let mut live = Live::connect(&world).await;
    let client = ClientId::from_bytes([7; 16]);
    let writer = |lane: &str, confirmed: u64| LaneWriter {
        lane: lane.parse().unwrap(),
        client,
        confirmed: MutationNumber::new(confirmed).unwrap(),
    };
    let writers = vec![writer("user/alice", 3)];
    let said = Hello { writers: writers.clone(), ..hello(&token("alice")) };
    live.send(ClientFrame::Hello(said)).await;
    let ServerFrame::Welcome(_) = live.next().await else { panic!("no welcome") };

    let (epoch, seq) = (Epoch::from_bytes([1; 16]), SeqId::new(5).unwrap());
    let open = OpenLane { writer: writer("shared/app", 0), at: Some(LaneAt { epoch, seq }) };
    let digest = MutationDigest([9; 16]);
    let mutate = |first: u64| Mutate {
        lane: "shared/app".parse().unwrap(),
        client,
        since: 1,
        epoch,
        first: MutationNumber::new(first).unwrap(),
        previous: ContentHash::START,
        mutations: vec![Written::Cancelled(digest); usize::try_from(first).unwrap()],
        confirmed: MutationNumber::ZERO,
    };
    let frame = |first| ClientFrame::Mutate(Box::new(mutate(first)));
    live.send(ClientFrame::OpenLane(open.clone())).await;
    live.send(frame(1)).await;
    live.send(ClientFrame::Subscribe(subscribe(1))).await;
    live.send(frame(2)).await;
    world.live.until(2, |told| matches!(told, Told::Mutated(..))).await;
    let mutated =
        |first| Told::Mutated(Box::new(mutate(first)), codec::encode(&frame(first)).len());
    assert_eq!(
        world.live.told()[1..],
        [
            Told::Resumed(vec![], vec![], writers, None),
            Told::LaneOpened(open),
            mutated(1),
            Told::Subscribed(subscribe(1)),
            mutated(2),
        ]
    );
}

#[tokio::test]
async fn who_is_not_known_does_not_get_in() {
    let world = World::new(quiet()).await;
    for token in [
        Token(String::new()),
        Token("no token".to_owned()),
        Token("x".repeat(5_000)),
        signed("alice", Role::User, NOW),
    ] {
        let mut live = Live::connect(&world).await;
        live.send(ClientFrame::Hello(Hello { token, ..hello("") })).await;
        live.ends_with(ErrorCode::NeedsAuth).await;
    }
    for versions in [vec![], vec![0], vec![2, 7]] {
        let mut live = Live::connect(&world).await;
        live.send(ClientFrame::Hello(Hello { versions, ..hello(&token("alice")) })).await;
        live.ends_with(ErrorCode::UpdateRequired).await;
    }
    assert!(world.live.told().is_empty(), "the port has heard of none");
}

#[tokio::test]
async fn code_of_an_application_that_is_too_old_is_told_so() {
    let world = World::new(Limits { app_version_min: 3, ..quiet() }).await;
    for (app_version, told) in [(2, "this one is version 2"), (0, "does not say which it is")] {
        let mut live = Live::connect(&world).await;
        live.send(ClientFrame::Hello(Hello { app_version, ..hello(&token("alice")) })).await;
        let goodbye = live.goodbye().await;
        assert_eq!(goodbye.code, ErrorCode::UpdateRequired);
        assert!(goodbye.message.contains("from version 3 on"), "{}", goodbye.message);
        assert!(goodbye.message.contains(told), "{}", goodbye.message);
    }
    assert!(world.live.told().is_empty(), "the port has heard of none");
    for app_version in [3, u32::MAX] {
        let mut live = Live::connect(&world).await;
        live.send(ClientFrame::Hello(Hello { app_version, ..hello(&token("alice")) })).await;
        let ServerFrame::Welcome(_) = live.next().await else { panic!("no welcome") };
    }
}

#[tokio::test]
async fn the_first_message_is_hello_and_comes_in_time() {
    let world = World::new(quiet()).await;
    let mut live = Live::connect(&world).await;
    live.send(ClientFrame::Subscribe(subscribe(1))).await;
    live.ends_with(ErrorCode::InvalidRequest).await;
    let mut live = Live::connect(&world).await;
    live.send_bytes(codec::encode(&vec![1, 2, 3])).await;
    live.ends_with(ErrorCode::InvalidRequest).await;
    assert!(world.live.told().is_empty());

    let hurried = Limits { hello_timeout: Duration::from_millis(50), ..quiet() };
    let world = World::new(hurried).await;
    let mut live = Live::connect(&world).await;
    // A sign of life is no hello.
    patiently(live.0.send(Message::Ping("x".into()))).await.unwrap();
    live.ends_with(ErrorCode::Timeout).await;
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_and_what_is_not_known_does_not() {
    let world = World::new(quiet()).await;
    let (mut live, _) = Live::open(&world).await;
    live.send_bytes(b"\x81\xa6detach\xc0".to_vec()).await;
    let ServerFrame::Refused(refused) = live.next().await else { panic!("not refused") };
    assert_eq!((refused.request, refused.code), (None, ErrorCode::Unsupported));
    assert!(refused.message.contains("detach"), "{}", refused.message);
    live.send(ClientFrame::Subscribe(subscribe(1))).await;
    world.live.until(1, |told| matches!(told, Told::Subscribed(_))).await;

    live.send(ClientFrame::Hello(hello(&token("alice")))).await;
    live.ends_with(ErrorCode::InvalidRequest).await;
    let (mut live, _) = Live::open(&world).await;
    patiently(live.0.send(Message::Text("hello".into()))).await.unwrap();
    live.ends_with(ErrorCode::InvalidRequest).await;
    let (mut live, _) = Live::open(&world).await;
    live.send_bytes(b"\x81\xa9subscribe\xc0".to_vec()).await;
    live.ends_with(ErrorCode::InvalidRequest).await;
    let (mut live, _) = Live::open(&world).await;
    // The server may end it before all of that is sent.
    let _ = live.0.send(Message::Binary(vec![0; CLIENT_FRAME_BYTES_MAX + 1].into())).await;
    live.ends_with(ErrorCode::TooLarge).await;
}

#[tokio::test]
async fn who_ends_a_connection_in_order_is_answered_in_order() {
    let world = World::new(quiet()).await;
    let (mut live, _) = Live::open(&world).await;
    patiently(live.0.close(None)).await.unwrap();
    assert!(matches!(patiently(live.0.next()).await, Some(Ok(Message::Close(_)))));
    assert!(patiently(live.0.next()).await.is_none());
}

/// A token without an end has one that is far away.
#[tokio::test]
async fn a_token_may_be_good_for_ever() {
    let world = World::new(quiet()).await;
    let mut live = Live::connect(&world).await;
    let for_ever = signed("alice", Role::User, u64::MAX);
    live.send(ClientFrame::Hello(hello(&for_ever.0))).await;
    assert!(matches!(live.next().await, ServerFrame::Welcome(_)));
    live.send(ClientFrame::Subscribe(subscribe(1))).await;
    world.live.until(1, |told| matches!(told, Told::Subscribed(_))).await;
}

/// The new token may lie there unread while something else takes its time.
#[tokio::test]
async fn a_token_that_has_come_in_time_counts() {
    let world = World::new(quiet()).await;
    let gate = world.live.hold();
    let (mut live, _) = Live::open(&world).await;
    live.send(ClientFrame::Subscribe(subscribe(1))).await;
    world.live.until(1, |told| matches!(told, Told::Subscribed(_))).await;
    live.send(ClientFrame::Token(signed("alice", Role::User, NOW + 9_000))).await;
    world.clock.0.store(NOW + 3_600, Ordering::Relaxed);
    gate.notify_one();
    live.send(ClientFrame::Subscribe(subscribe(2))).await;
    world.live.until(2, |told| matches!(told, Told::Subscribed(_))).await;
}

/// What more of a load would come is not waited for.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_load() {
    let mut world = World::new(quiet()).await;
    let (mut live, _) = Live::open(&world).await;
    let queue = world.live.queue();
    let loads = tokio::spawn(async move {
        loop {
            if queue.waiting() < 1 << 20 {
                queue.push(filler(64 * 1_024));
            }
            tokio::task::yield_now().await;
        }
    });
    live.next().await;
    world.stop();
    patiently(async {
        loop {
            let ServerFrame::Goodbye(goodbye) = live.next().await else { panic!("no filler") };
            if goodbye.code == ErrorCode::Offline {
                return;
            }
        }
    })
    .await;
    loads.abort();
    drop(live);
    patiently(world.returned()).await;
}

#[tokio::test]
async fn a_plain_request_is_told_what_the_path_is() {
    let world = World::new(quiet()).await;
    let answer = world.ask(b"GET /v1/sync HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.code()), (426, "invalid_request"));
    let old = "GET /v1/sync HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: \
               WebSocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = world.ask(format!("{old}sec-websocket-version: 8\r\n\r\n").as_bytes()).await;
    assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"));
    // The example of RFC 6455.
    let mut client = world.connect().await;
    client.send(format!("{old}sec-websocket-version: 13\r\n\r\n").as_bytes()).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 101);
    let accepted = answer.header("sec-websocket-accept");
    assert_eq!(accepted, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

#[tokio::test]
async fn a_token_ends_its_connection_unless_another_comes_first() {
    let world = World::new(Limits { keep_alive: Duration::from_millis(20), ..quiet() }).await;
    let (mut live, _) = Live::open(&world).await;
    live.send(ClientFrame::Token(signed("alice", Role::User, NOW + 7_200))).await;
    live.send(ClientFrame::Subscribe(subscribe(1))).await;
    world.live.until(1, |told| matches!(told, Told::Subscribed(_))).await;
    world.clock.0.store(NOW + 3_601, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(live.next().await, ServerFrame::Progress(Progress { lanes: vec![] }));
    }
    world.clock.0.store(NOW + 7_200, Ordering::Relaxed);
    let goodbye = loop {
        match live.next().await {
            ServerFrame::Progress(_) => {}
            ServerFrame::Goodbye(goodbye) => break goodbye,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(goodbye.code, ErrorCode::NeedsAuth);
}

#[tokio::test]
async fn nothing_is_sent_to_who_may_not_have_it_any_more() {
    let world = World::new(quiet()).await;
    let (mut live, _) = Live::open(&world).await;
    world.clock.0.store(NOW + 3_600, Ordering::Relaxed);
    world.live.queue().push(filler(500));
    let goodbye = live.ends_with(ErrorCode::NeedsAuth).await;
    assert!(goodbye.message.contains("expired"));
}

/// However much is heard of it.
#[tokio::test]
async fn a_token_ends_its_connection_while_pings_come_without_an_end() {
    let world = World::new(Limits { keep_alive: Duration::from_millis(20), ..quiet() }).await;
    let (live, _) = Live::open(&world).await;
    let (mut pings, mut heard) = live.0.split();
    let flood = tokio::spawn(async move {
        while pings.send(Message::Ping(Bytes::new())).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    world.clock.0.store(NOW + 3_600, Ordering::Relaxed);
    let goodbye = loop {
        let Message::Binary(frame) = patiently(heard.next()).await.unwrap().unwrap() else {
            continue;
        };
        match read_server(&frame).unwrap() {
            Received::Known(ServerFrame::Progress(_)) => {}
            Received::Known(ServerFrame::Goodbye(goodbye)) => break goodbye,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(goodbye.code, ErrorCode::NeedsAuth);
    world.live.until(1, |told| *told == Told::Closed).await;
    flood.abort();
}

#[tokio::test]
async fn a_token_of_somebody_else_ends_the_connection() {
    for token in [
        signed("bob", Role::User, NOW + 100),
        signed("alice", Role::Admin, NOW + 100),
        signed("alice", Role::User, NOW),
        Token("nothing".to_owned()),
    ] {
        let world = World::new(quiet()).await;
        let (mut live, _) = Live::open(&world).await;
        live.send(ClientFrame::Token(token)).await;
        live.ends_with(ErrorCode::NeedsAuth).await;
    }
}

#[tokio::test]
async fn signs_of_life_come_by_themselves_and_who_gives_none_is_gone() {
    let limits = Limits { keep_alive: Duration::from_millis(10), ..quiet() };
    let world = World::new(limits).await;
    let (mut live, welcome) = Live::open(&world).await;
    assert_eq!(welcome.silence_ms_max, 15);
    for _ in 0..5 {
        assert_eq!(live.next().await, ServerFrame::Progress(Progress { lanes: vec![] }));
    }
    // It reads nothing any more, and so answers no ping; three and five seconds later it is gone.
    world.live.until(1, |told| *told == Told::Closed).await;
}

#[tokio::test]
async fn the_port_ends_a_connection_behind_what_waits() {
    let world = World::new(quiet()).await;
    let (mut live, _) = Live::open(&world).await;
    let queue = world.live.queue();
    let frame = ServerFrame::Progress(Progress { lanes: vec![] });
    queue.push(codec::encode(&frame).into());
    let goodbye = Goodbye {
        code: ErrorCode::Internal,
        message: "come back".to_owned(),
        retry_after_ms: Some(7),
    };
    queue.close(goodbye.clone());
    queue.push(codec::encode(&frame).into());
    assert_eq!(live.next().await, frame);
    assert_eq!(live.goodbye().await, goodbye);
    world.live.until(1, |told| *told == Told::Closed).await;
    // Nobody is there, and nothing happens.
    queue.push(codec::encode(&frame).into());
    queue.close(goodbye);
}

#[tokio::test]
async fn a_stop_is_told_and_waits_for_statements() {
    let mut world = World::new(quiet()).await;
    let (mut one, _) = Live::open(&world).await;
    let mut silent = Live::connect(&world).await;
    world.stop();
    for live in [&mut one, &mut silent] {
        let goodbye = live.ends_with(ErrorCode::Offline).await;
        assert!(goodbye.retry_after_ms.is_some_and(|milliseconds| milliseconds < 2_000));
    }
    drop((one, silent));
    timeout(Duration::from_secs(5), world.returned()).await.unwrap();
}
