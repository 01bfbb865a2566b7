//! What a client can cost: frames that wait, clients that do not read, and hostile bytes.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use protocol::codec;
use protocol::frame::v1::{ClientFrame, ServerFrame};
use protocol::testing;
use server_gateway::Limits;
use tokio_tungstenite::tungstenite::Message;

use crate::socket::{Live, Told, filler, hello, quiet, subscribe};
use crate::world::{World, patiently, token};

#[tokio::test]
async fn room_is_told_when_half_of_what_may_wait_has_gone() {
    let world = World::new(Limits { socket_queue_bytes_max: 1 << 20, ..quiet() }).await;
    let (mut live, _) = Live::open(&world).await;
    let queue = world.live.queue();
    patiently(async {
        while queue.waiting() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!world.live.told().contains(&Told::Drained), "nothing was above half");
    // More than the buffers of both ends of a socket.
    for _ in 0..256 {
        queue.push(filler(64 * 1_024));
    }
    for _ in 0..256 {
        assert!(matches!(live.next().await, ServerFrame::Goodbye(_)));
    }
    world.live.until(1, |told| *told == Told::Drained).await;
    let drained = world.live.told().into_iter().filter(|told| *told == Told::Drained).count();
    assert_eq!(drained, 1, "once for one way down");
    assert_eq!(queue.waiting(), 0);
}

#[tokio::test]
async fn nothing_more_is_heard_of_who_does_not_read() {
    let world = World::new(Limits { socket_queue_bytes_max: 1 << 16, ..quiet() }).await;
    let (mut live, _) = Live::open(&world).await;
    let queue = world.live.queue();
    for _ in 0..256 {
        queue.push(filler(64 * 1_024));
    }
    for request in 1..=50 {
        live.send(ClientFrame::Subscribe(subscribe(request))).await;
    }
    // The task has had every opportunity, and still waits for room.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let heard = world.live.told().iter().filter(|told| matches!(told, Told::Subscribed(_))).count();
    assert_eq!(heard, 0, "its answers would wait, too");
    for _ in 0..256 {
        live.next().await;
    }
    world.live.until(50, |told| matches!(told, Told::Subscribed(_))).await;
}

/// The answers to Pings wait in a buffer of the library, which nobody else looks at.
#[tokio::test]
async fn who_does_not_read_is_not_answered_every_ping() {
    let world = World::new(quiet()).await;
    let mut live = Live::connect(&world).await;
    let ping = |number: u32| Message::Ping([&number.to_be_bytes()[..], &[0; 121]].concat().into());
    // More than the buffers of both ends of a socket.
    const PINGS: u32 = 200_000;
    for number in 1..=PINGS {
        patiently(live.0.feed(ping(number))).await.unwrap();
    }
    patiently(live.0.flush()).await.unwrap();
    let mut answers = 0;
    loop {
        answers += 1;
        let Message::Pong(payload) = patiently(live.0.next()).await.unwrap().unwrap() else {
            panic!("no answer to a Ping")
        };
        // The last one is answered in any case.
        if payload[..4] == PINGS.to_be_bytes() {
            break;
        }
    }
    assert!(answers < PINGS, "all of {answers} were kept");
    live.send(ClientFrame::Hello(hello(&token("alice")))).await;
    assert!(matches!(live.next().await, ServerFrame::Welcome(_)));
}

#[tokio::test]
async fn a_port_that_takes_its_time_is_waited_for() {
    let world = World::new(quiet()).await;
    let gate = world.live.hold();
    let (mut live, _) = Live::open(&world).await;
    for request in 1..=3 {
        live.send(ClientFrame::Subscribe(subscribe(request))).await;
    }
    for taken in 1..=3 {
        world.live.until(taken, |told| matches!(told, Told::Subscribed(_))).await;
        let heard = world.live.told().len();
        assert_eq!(heard, 2 + taken, "opened, resumed, and one after the other");
        gate.notify_one();
    }
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let limits = Limits { write_timeout: Duration::from_millis(200), ..quiet() };
    let world = World::new(limits).await;
    let (live, _) = Live::open(&world).await;
    let queue = world.live.queue();
    for _ in 0..256 {
        queue.push(filler(64 * 1_024));
    }
    world.live.until(1, |told| *told == Told::Closed).await;
    drop(live);
}

/// Random frames, broken in random places, on connections of their own and one after the other.
#[test]
fn hostile_frames_do_no_harm() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new(quiet()));
    let broken = (testing::client_frame(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let frames = prop::collection::vec(broken, 1..8);
    seeds::check("gateway-frames", 256, &frames, |frames| {
        runtime.block_on(async {
            let mut live = Live::connect(&world).await;
            live.send(ClientFrame::Hello(hello(&token("alice")))).await;
            for (frame, at, with, kind) in frames {
                let mut bytes = codec::encode(&frame);
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] ^= with,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, with),
                    _ => {}
                }
                use futures::SinkExt;
                use tokio_tungstenite::tungstenite::Message;
                // It may have been ended by now.
                if live.0.send(Message::Binary(bytes.into())).await.is_err() {
                    break;
                }
            }
            // Whatever it has said, it ends when it wants to.
            let _ = futures::SinkExt::close(&mut live.0).await;
            while live.next_if_any().await.is_some() {}
        });
        Ok(())
    });
    runtime.block_on(async {
        world.is_well().await;
        let (mut live, _) = Live::open(&world).await;
        live.send(ClientFrame::Subscribe(subscribe(77))).await;
        world.live.until(1, |told| *told == Told::Subscribed(subscribe(77))).await;
    });
}
