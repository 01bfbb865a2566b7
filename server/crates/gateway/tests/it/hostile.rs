//! Requests as an attacker would send them: made of good ones, and of what breaks parsers.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use server_gateway::Limits;

use crate::world::{World, forged, head, post, token};

/// How often each kind of hostile request is sent for one seed.
const CASES: usize = 128;
const SEEDS: u64 = 16;

/// What is done to a request, where it applies.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize),
    Swap(Index, Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, with) => {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Remove(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Insert(at, what) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, what.iter().copied());
            }
            Self::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece.repeat(3));
            }
            Self::Swap(one, other) => {
                let (one, other) = (one.index(bytes.len()), other.index(bytes.len()));
                bytes.swap(one, other);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let pieces: Vec<&[u8]> = vec![
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Authorization: Bearer x\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"{\"sql\":",
        b"[[[[[[[[",
        b"\\ud800",
        b"1e999",
        b"\xff\xfe",
        b"ffffffffffffffff\r\n",
    ];
    let piece = prop_oneof![
        select(pieces).prop_map(<[u8]>::to_vec),
        vec(any::<u8>(), 1..20),
        (any::<u8>(), 1..3_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop_oneof![
        4 => (any::<Index>(), 1..=255_u8).prop_map(|(at, with)| Change::Flip(at, with)),
        1 => any::<Index>().prop_map(Change::Cut),
        2 => (any::<Index>(), 1..50_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        4 => (any::<Index>(), piece).prop_map(|(at, what)| Change::Insert(at, what)),
        2 => (any::<Index>(), 1..60_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

/// A good request, or what is almost one. Those with a good token are of alice.
fn base() -> impl Strategy<Value = Vec<u8>> {
    let body = r#"{"sql":"SELECT $1","params":[1,"a",{"bytes":"AP8="},null,{"bigint":"7"}],"request_id":"000102030405060708090a0b0c0d0e0f"}"#;
    let chunks = head(&token("alice"), 0)
        .replace("Content-Length: 0", "Transfer-Encoding: chunked")
        + "5\r\n{\"sql\r\n6\r\n\":\"x\"}\r\n0\r\n\r\n";
    let other = forged(
        r#"{"alg":"HS256"}"#,
        r#"{"sub":"mallory","role":"admin","exp":1900000000}"#,
        b"another key of 32 bytes and more",
    );
    let twice = [post(&token("alice"), body), post(&token("alice"), body)].concat();
    select(vec![
        post(&token("alice"), body),
        chunks.into_bytes(),
        post(&other, body),
        post("", body),
        twice,
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
    ])
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    (base(), vec(change(), 0..5)).prop_map(|(mut bytes, changes)| {
        for change in changes {
            change.apply(&mut bytes);
        }
        bytes
    })
}

/// Sends all of them, a few at once, and looks at what came of it.
async fn send_all(requests: Vec<Vec<u8>>) -> Result<(), TestCaseError> {
    let world = World::new(Limits { body_bytes_max: 4_096, ..Limits::default() }).await;
    for some in requests.chunks(16) {
        let mut clients = Vec::new();
        for bytes in some {
            let mut client = world.connect().await;
            client.send(bytes).await;
            client.end().await;
            clients.push(client);
        }
        for (client, bytes) in clients.iter_mut().zip(some) {
            let said = client.rest().await;
            let sent = String::from_utf8_lossy(bytes);
            prop_assert!(said.is_empty() || said.starts_with("HTTP/1."), "{sent}: {said}");
            prop_assert!(!said.contains("\"internal\""), "{sent}: {said}");
        }
    }
    world.is_well().await;
    for asked in world.sql.asked() {
        prop_assert_eq!(asked.caller.user.as_str(), "alice");
        prop_assert_eq!(asked.caller.role, server_gateway::Role::User);
    }
    Ok(())
}

#[test]
fn no_hostile_request_hangs_or_ends_the_gateway_or_comes_in_as_somebody() {
    seeds::check("gateway-hostile", SEEDS, &vec(hostile(), CASES), |requests| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(send_all(requests))
    });
}
