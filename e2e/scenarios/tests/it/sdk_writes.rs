//! What is written on a device, online or not, on the real server: each exactly once, and the device
//! as the server.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use sdk_core::{
    Client, ErrorCode, Expect, Mutation, MutationId, MutationState, ServerRow, SubscribeOptions,
    Value, Verdict, WriteOptions,
};

use crate::sdk::{World, rows, soon, tick};

/// A table of all, with defaults, an owner and a sum.
const POSTS: &str = "CREATE SHARED TABLE app.posts (id UUID PRIMARY KEY DEFAULT UUID_V7(), author TEXT, body TEXT \
         NOT NULL, kind TEXT DEFAULT 'plain', at TIMESTAMP DEFAULT NOW(), likes INT DEFAULT 0 MERGE \
         ADD) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = author)";

async fn subscribe(client: &Client, all: &[&str]) {
    for sql in all {
        let subscription = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
        soon(subscription.ready()).await.unwrap();
    }
}

/// Waits until all that was written is decided.
async fn all_decided(client: &Client) {
    soon(async {
        while client.pending().await.unwrap().count() > 0 {
            tick().await;
        }
    })
    .await;
}

async fn until(client: &Client, sql: &str, expected: &[&str]) {
    soon(async {
        loop {
            let shown = rows(client, sql).await;
            if shown == expected {
                return;
            }
            tick().await;
        }
    })
    .await;
}

/// W1, W4, W5, W7, E2: written offline on what the device has, with defaults, folded on what others
/// write meanwhile, and then decided by the server, one of it against the writer.
#[tokio::test]
async fn what_is_written_offline_lands_on_what_others_have_written() {
    let mut world = World::new();
    world.admin.ok(POSTS);
    let all =
        ["SELECT * FROM app.posts", "SELECT * FROM app.notes", "SELECT id, body FROM app.board"];
    let client = world.client("ann").await;
    subscribe(&client, &all).await;
    let bob = world.home.client("bob", e2e_harness::Role::User);
    world.admin.ok("INSERT INTO app.posts (author, body) VALUES ('ann', 'old')");
    bob.ok("INSERT INTO app.board VALUES (1, 7, 'one')");
    until(&client, "SELECT body FROM app.posts", &["old"]).await;
    until(&client, "SELECT body FROM app.board", &["one"]).await;

    client.pause();
    client.execute("INSERT INTO app.posts (body) VALUES ('by ann')", &[]).await.unwrap();
    client.execute("UPDATE app.posts SET likes = likes + 1", &[]).await.unwrap();
    client.execute("INSERT INTO app.notes (id, body) VALUES (1, 'note')", &[]).await.unwrap();
    client.execute("UPDATE app.board SET body = 'mine'", &[]).await.unwrap();
    let twice = client.execute("INSERT INTO app.board (id, body) VALUES (2, 'ann')", &[]);
    let twice = twice.await.unwrap();
    let of_bob = client.delete("app.board", &[("id", Value::Integer(9))]).await.unwrap();
    let refused = client.execute("UPDATE app.posts SET body = NULL", &[]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Constraint);
    let shown = "SELECT author, body, kind, likes, at IS NULL FROM app.posts ORDER BY body";
    assert_eq!(rows(&client, shown).await, ["ann by ann plain 1 0", "ann old plain 1 0"]);
    world.admin.ok("UPDATE app.posts SET likes = likes + 10 WHERE body = 'old'");
    bob.ok("UPDATE app.board SET room = 9 WHERE id = 1");
    bob.ok("INSERT INTO app.board VALUES (2, 7, 'two'), (9, 7, 'nine')");

    client.resume();
    all_decided(&client).await;
    let state = soon(twice.decided()).await.unwrap();
    let MutationState::Rejected { code, reason } = state else { panic!("{state:?}") };
    assert_eq!(code, ErrorCode::Constraint);
    assert!(reason.starts_with("app.board: a row with this primary key exists"), "{reason}");
    assert!(matches!(soon(of_bob.decided()).await.unwrap(), MutationState::Accepted { .. }));
    until(&client, shown, &["ann by ann plain 1 0", "ann old plain 11 0"]).await;
    until(&client, "SELECT id, body FROM app.board ORDER BY id", &["1 mine", "2 two"]).await;
    until(&client, "SELECT id, body FROM app.notes", &["1 note"]).await;
    let there = bob.rows("SELECT id, room, body FROM app.board ORDER BY id");
    assert_eq!(there.len(), 2, "{there:?}");
    world.server.take();
}

/// W2, W7: the server is killed again and again while a device writes. Sums would show what is
/// doubled, and rows what is lost.
#[tokio::test]
async fn no_write_is_lost_or_doubled_when_the_server_is_killed() {
    let mut world = World::new();
    world.admin.ok(POSTS);
    let client = world.client("ann").await;
    subscribe(&client, &["SELECT * FROM app.posts", "SELECT * FROM app.notes"]).await;
    client.execute("INSERT INTO app.posts (body) VALUES ('counted')", &[]).await.unwrap();
    for round in 0..3_i64 {
        for place in 0..40 {
            let id = [Value::Integer(100 * round + place)];
            let insert = "INSERT INTO app.notes (id, body) VALUES ($1, 'x')";
            client.execute(insert, &id).await.unwrap();
            client.execute("UPDATE app.posts SET likes = likes + 1", &[]).await.unwrap();
            // What is on its way is more than one frame.
            if place % 16 == 0 {
                tick().await;
            }
        }
        assert_eq!(
            rows(&client, "SELECT likes FROM app.posts").await,
            [format!("{}", 40 * (round + 1))]
        );
        world.kill_and_start();
    }
    all_decided(&client).await;
    until(&client, "SELECT likes FROM app.posts", &["120"]).await;
    until(&client, "SELECT count(*) FROM app.notes", &["120"]).await;
    let there = world.admin.ok("SELECT likes FROM app.posts");
    assert_eq!(there.texts(), ["120"]);
    assert_eq!(world.ann.ok("SELECT count(*) FROM app.notes").texts(), ["120"]);
    world.server.take();
}

const NOTES: &str = "SELECT id FROM app.notes ORDER BY id";
const COUNTED: &str = "SELECT notes FROM app.counts";

/// Writes a note, and counts it. Twice the same would be a rejection, and the sum shows it as well.
async fn note(client: &Client, id: i64) -> Mutation {
    let id = [Value::Integer(id)];
    let both = [
        ("INSERT INTO app.notes (id, body) VALUES ($1, 'x')", &id[..]),
        ("UPDATE app.counts SET notes = notes + 1", &[]),
    ];
    client.batch(&both).await.unwrap()
}

/// A replica in which notes 1 and 2 wait, and a copy of it. Says which writes they are in both.
async fn copied(world: &World) -> [MutationId; 2] {
    world.admin.ok(
        "CREATE USER TABLE app.counts (id BIGINT PRIMARY KEY, notes BIGINT DEFAULT 0 MERGE ADD)",
    );
    world.ann.ok("INSERT INTO app.counts (id) VALUES (1)");
    let client = world.client("ann").await;
    subscribe(&client, &["SELECT * FROM app.notes", "SELECT * FROM app.counts"]).await;
    client.pause();
    let ids = [note(&client, 1).await.id().unwrap(), note(&client, 2).await.id().unwrap()];
    soon(client.close()).await;
    let (from, to) = (world.replicas("ann"), world.replicas("copy"));
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    ids
}

/// The server and both copies have these notes, each once.
async fn are_there_once(world: &World, copies: [&Client; 2], notes: &[&str]) {
    let count = notes.len().to_string();
    for client in copies {
        until(client, NOTES, notes).await;
        until(client, COUNTED, &[&count]).await;
    }
    assert_eq!(world.ann.rows(NOTES), notes);
    assert_eq!(world.ann.rows(COUNTED), [count]);
}

/// A replica that was copied while it had something to send: both copies go on, nothing is lost, and
/// nothing is there twice.
#[tokio::test]
async fn a_copied_replica_sends_what_both_have_once() {
    let mut world = World::new();
    copied(&world).await;
    let one = world.client("ann").await;
    let other = world.client_of("ann", "copy").await;
    // Each has something of its own, with the number that the other gives to something else.
    let (of_one, of_other) = (note(&one, 11).await, note(&other, 12).await);
    for client in [&one, &other] {
        all_decided(client).await;
    }
    for mutation in [of_one, of_other] {
        let state = soon(mutation.decided()).await.unwrap();
        assert!(matches!(state, MutationState::Accepted { .. }), "{state:?}");
    }
    are_there_once(&world, [&one, &other], &["1", "2", "11", "12"]).await;
    world.server.take();
}

/// Must show 7: the same, where the server has forgotten what it has decided of it before the second copy
/// asks. That copy is told that it is uncertain.
#[tokio::test]
async fn what_a_copy_has_sent_and_confirmed_is_uncertain_in_the_other() {
    let mut world = World::new();
    let ids = copied(&world).await;
    let one = world.client("ann").await;
    all_decided(&one).await;
    soon(one.close()).await;
    // A new connection confirms it, and then nothing is left of it where something later is decided.
    let one = world.client("ann").await;
    note(&one, 11).await;
    all_decided(&one).await;

    let other = world.client_of("ann", "copy").await;
    for id in ids {
        let mutation = other.mutation(id).await.unwrap().expect("it is not known");
        assert_eq!(soon(mutation.decided()).await.unwrap(), MutationState::Uncertain);
    }
    let of_other = soon(note(&other, 12).await.decided()).await.unwrap();
    assert!(matches!(of_other, MutationState::Accepted { .. }), "{of_other:?}");
    are_there_once(&world, [&one, &other], &["1", "2", "11", "12"]).await;
    soon(other.close()).await;
    let other = world.client_of("ann", "copy").await;
    let shown = other.rejections().await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|kept| (kept.id, kept.state)).collect();
    assert_eq!(shown, ids.map(|id| (id, MutationState::Uncertain)));
    assert_eq!(one.rejections().await.unwrap(), []);
    are_there_once(&world, [&one, &other], &["1", "2", "11", "12"]).await;
    world.server.take();
}

/// M9, R6: two devices that count offline, and a watcher of each that never sees more than what its
/// device has counted and what has come from the other.
#[tokio::test]
async fn two_devices_add_offline_and_both_count() {
    const LIKES: &str = "SELECT likes FROM app.posts";
    let mut world = World::new();
    world.admin.ok(POSTS);
    world.admin.ok("INSERT INTO app.posts (author, body) VALUES ('ann', 'counted')");
    let one = world.client_of("ann", "one").await;
    let other = world.client_of("ann", "other").await;
    for client in [&one, &other] {
        subscribe(client, &["SELECT * FROM app.posts"]).await;
        until(client, LIKES, &["0"]).await;
        client.pause();
        for _ in 0..100 {
            client.execute("UPDATE app.posts SET likes = likes + 1", &[]).await.unwrap();
        }
    }
    let (of_one, of_other) = (follow(&one, LIKES), follow(&other, LIKES));
    let seen = |all: &Seen| all.lock().unwrap().clone();
    // Nothing has come from the other yet: what is decided is shown as what waits was.
    one.resume();
    all_decided(&one).await;
    until(&one, LIKES, &["100"]).await;
    assert!(seen(&of_one).iter().all(|likes| *likes == 100), "{:?}", seen(&of_one));
    other.resume();
    all_decided(&other).await;
    for (client, all) in [(&one, &of_one), (&other, &of_other)] {
        until(client, LIKES, &["200"]).await;
        soon(async {
            while seen(all).last() != Some(&200) {
                tick().await;
            }
        })
        .await;
        // More with each that has come, and never less again.
        let seen = seen(all);
        assert!(seen.is_sorted() && seen[0] == 100 && seen.len() > 1, "{seen:?}");
    }
    world.server.take();
}

type Seen = Arc<Mutex<Vec<i64>>>;

/// All that a watcher of a number sees.
fn follow(client: &Client, sql: &str) -> Seen {
    let mut watch = client.watch(sql, &[]).unwrap();
    let seen = Seen::default();
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(result) = watch.next().await {
            let likes = result.rows.get(0).unwrap().get("likes").unwrap();
            all.lock().unwrap().push(likes);
        }
    });
    seen
}

/// Must show 5, C1, C4: one of many is rejected. The others land, it is told once, and is kept until it
/// is dealt with, also over a restart.
#[tokio::test]
async fn a_rejected_write_among_a_hundred_is_told_once_and_the_others_land() {
    let mut world = World::new();
    let client = world.client("ann").await;
    let options = SubscribeOptions::default();
    let all = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    soon(all.ready()).await.unwrap();
    client.pause();
    let insert = "INSERT INTO app.notes VALUES ($1, 8, 'mine', 'y')";
    for id in 1..=100 {
        client.execute(insert, &[Value::Integer(id)]).await.unwrap();
    }
    world.ann.ok("INSERT INTO app.notes VALUES (50, 7, 'of the server', 'x')");
    let mut told = client.rejected();
    client.resume();
    let rejection = soon(told.next()).await.unwrap();
    let ServerRow::Row(server) = &rejection.operations[0].server else { panic!("{rejection:?}") };
    assert!(server.contains(&("body".to_owned(), Value::text("of the server").unwrap())));
    all_decided(&client).await;
    assert_eq!(world.ann.ok("SELECT count(*) FROM app.notes WHERE body = 'mine'").texts(), ["99"]);
    let every = "SELECT id, room, body, extra FROM app.notes ORDER BY id";
    let there = world.ann.rows(every);
    until(&client, every, &there.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(soon(all.verify()).await.unwrap(), Verdict::Equal { rows: 100 });
    soon(client.close()).await;
    assert_eq!(soon(told.next()).await, None, "one event");
    let client = world.client("ann").await;
    assert_eq!(client.rejections().await.unwrap(), std::slice::from_ref(&rejection));
    let edit = WriteOptions { replaces: Some(rejection.id), ..WriteOptions::default() };
    let edited = client.execute_with(insert, &[Value::Integer(101)], edit).await.unwrap();
    let state = soon(edited.decided()).await.unwrap();
    assert!(matches!(state, MutationState::Accepted { .. }), "{state:?}");
    assert_eq!(client.rejections().await.unwrap(), []);
    world.server.take();
}

/// W12, C6: compare and set. Of two devices one has it.
#[tokio::test]
async fn what_was_changed_meanwhile_is_a_conflict() {
    let mut world = World::new();
    world.ann.ok("INSERT INTO app.notes (id, body) VALUES (1, 'free')");
    let one = world.client("ann").await;
    let other = world.client_of("ann", "other").await;
    for client in [&one, &other] {
        subscribe(client, &["SELECT * FROM app.notes"]).await;
        client.pause();
    }
    let unchanged = || WriteOptions { expect: Expect::Unchanged, ..WriteOptions::default() };
    let take = "UPDATE app.notes SET body = $1 WHERE id = 1 AND body = 'free'";
    let first = one.execute_with(take, &[Value::text("one").unwrap()], unchanged()).await.unwrap();
    let second = other.execute_with(take, &[Value::text("other").unwrap()], unchanged()).await;
    let second = second.unwrap();
    one.resume();
    let state = soon(first.decided()).await.unwrap();
    assert!(matches!(state, MutationState::Accepted { .. }), "{state:?}");
    other.resume();
    let state = soon(second.decided()).await.unwrap();
    assert!(
        matches!(state, MutationState::Rejected { code: ErrorCode::Conflict, .. }),
        "{state:?}"
    );
    until(&other, "SELECT body FROM app.notes", &["one"]).await;
    world.server.take();
}
