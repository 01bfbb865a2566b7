//! Live connections of the real server under fire: hostile frames, slow readers, stops.

use std::time::Duration;

use e2e_harness::{Home, Proxy, Role};
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use protocol::codec;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, ServerFrame, Subscribe};
use protocol::testing;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::raw::{Raw, hello, subscribe};

fn home() -> (Home, e2e_harness::Server) {
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, room BIGINT, body TEXT)",
        "CREATE SHARED TABLE app.board (id BIGINT PRIMARY KEY, room BIGINT, body TEXT) \
         WITH (ACCESS_LEVEL = WRITE)",
    ] {
        admin.ok(sql);
    }
    (home, server)
}

/// About 1,500 hostile frames for connections that are welcome, each broken in one place, or whole
/// and out of place.
#[test]
fn hostile_frames_do_no_harm() {
    let (home, _server) = home();
    let ann = home.client("ann", Role::User);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let one = (testing::client_frame(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let frames = prop::collection::vec(one, 4..12);
    let sent = std::sync::atomic::AtomicUsize::new(0);
    seeds::check("socket-hostile", 200, &frames, |frames| {
        runtime.block_on(async {
            let mut raw = Raw::connect(&ann.address()).await;
            raw.send(ClientFrame::Hello(hello(ann.token()))).await;
            for (frame, at, with, kind) in frames {
                let mut bytes = codec::encode(&frame);
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] ^= with,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, with),
                    _ => {}
                }
                sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if raw.socket.send(Message::Binary(bytes.into())).await.is_err() {
                    break;
                }
            }
            // It may have been told goodbye by now.
            let _ = raw.socket.close(None).await;
            let rest = async { while let Some(Ok(_)) = raw.socket.next().await {} };
            timeout(Duration::from_secs(20), rest).await.expect("the server ends it");
        });
        Ok(())
    });
    let sent = sent.into_inner();
    assert!(sent > 0, "{sent} frames");
    runtime.block_on(async {
        let mut raw = Raw::open(&ann).await;
        ann.ok("INSERT INTO app.notes VALUES (1, 7, 'well')");
        assert_eq!(raw.load(subscribe(1, "SELECT * FROM app.notes")).await.rows.len(), 1);
    });
}

/// One that does not read costs its queue. The others do not notice, and when it reads it gets all.
#[tokio::test]
async fn a_slow_reader_costs_its_queue_and_ends_complete() {
    let (home, server) = home();
    let (ann, bob) = (home.client("ann", Role::User), home.client("bob", Role::User));
    let proxy = Proxy::to(&ann.address());
    let mut quick = Raw::open(&bob).await;
    quick.load(subscribe(1, "SELECT * FROM app.board")).await;
    let (rounds, each) = (120_u64, 200_u64);
    let write = async |raw: &mut Raw, round: u64| {
        let body = "b".repeat(1_000);
        let values: Vec<_> = (0..each)
            .map(|place| format!("({}, {round}, '{body}')", round * each + place))
            .collect();
        ann.ok(&format!("INSERT INTO app.board VALUES {}", values.join(", ")));
        // The quick one has it, whatever the slow one has.
        match raw.next().await {
            ServerFrame::Delta(delta) => assert_eq!(delta.changes.len() as u64, each),
            other => panic!("{other:?}"),
        }
    };
    // What so many writes cost by themselves: write buffers of rows and log, and what the allocator
    // keeps.
    for round in rounds..2 * rounds {
        write(&mut quick, round).await;
    }
    let mut slow = Raw::connect(&proxy.address()).await;
    slow.send(ClientFrame::Hello(hello(ann.token()))).await;
    assert!(matches!(slow.next().await, ServerFrame::Welcome(_)));
    slow.load(Subscribe { fetch_last: Some(0), ..subscribe(1, "SELECT * FROM app.board") }).await;
    let before = server.memory_bytes();
    for round in 0..rounds {
        write(&mut quick, round).await;
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB more for one slow reader", grown >> 20);
    let mut seen = std::collections::BTreeSet::new();
    while (seen.len() as u64) < rounds * each {
        let changes = match slow.next().await {
            ServerFrame::Delta(delta) => delta.changes,
            ServerFrame::CatchUp(piece) => piece.changes,
            ServerFrame::Frontier(_) | ServerFrame::Progress(_) => continue,
            other => panic!("{other:?}"),
        };
        for change in changes {
            assert!(seen.insert(change.birth()), "a row comes once");
        }
    }
}

#[tokio::test]
async fn a_stop_says_goodbye_and_a_table_is_followed_after_the_start() {
    let (home, server) = home();
    let ann = home.client("ann", Role::User);
    let mut raw = Raw::open(&ann).await;
    raw.load(subscribe(1, "SELECT * FROM app.notes")).await;
    let ended = tokio::task::spawn_blocking(move || server.term());
    match raw.next().await {
        ServerFrame::Goodbye(goodbye) => assert_eq!(goodbye.code, ErrorCode::Offline),
        other => panic!("{other:?}"),
    }
    assert_eq!(raw.next_if_any().await, None);
    drop(raw);
    assert_eq!(timeout(Duration::from_secs(20), ended).await.unwrap().unwrap().code, Some(0));
    let _server = home.start();
    // Right behind its creation, while the shards may not have heard of it.
    for round in 0..20 {
        let sql = format!(
            "CREATE SHARED TABLE app.t{round} (id BIGINT PRIMARY KEY) WITH \
                           (ACCESS_LEVEL = WRITE)"
        );
        home.admin().ok(&sql);
        let mut raw = Raw::open(&ann).await;
        let loaded = raw.load(subscribe(1, &format!("SELECT * FROM app.t{round}"))).await;
        assert_eq!(loaded.rows.len(), 0);
        ann.ok(&format!("INSERT INTO app.t{round} VALUES ({round})"));
        assert!(matches!(raw.next().await, ServerFrame::Delta(_)));
    }
}
