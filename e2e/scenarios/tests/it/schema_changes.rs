//! Tables that change under devices: those that are connected and those that were away keep their
//! rows and what they have written, and end as the server is.

use protocol::frame::v1::{RowChange, ServerFrame, Subscribe};
use protocol::value::Value as Stored;
use sdk_core::{
    Client, ErrorCode, MutationState, SubscribeOptions, Subscription, SubscriptionState, Value,
};

use crate::raw::{Raw, subscribe};
use crate::sdk::{World, rows, soon, tick};

const ALL: &str = "SELECT * FROM app.notes";
const BODIES: &str = "SELECT id, body FROM app.notes";

async fn subscribed(client: &Client, sql: &str) -> Subscription {
    let subscription = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    soon(subscription.ready()).await.unwrap();
    subscription
}

async fn until(client: &Client, sql: &str, expected: &[&str]) {
    soon(async {
        loop {
            // A column may not be here yet.
            if let Ok(found) = client.query(sql, &[]).await
                && crate::sdk::texts(&found) == expected
            {
                return;
            }
            tick().await;
        }
    })
    .await;
}

async fn all_decided(client: &Client) {
    soon(async {
        while client.pending().await.unwrap().count() > 0 {
            tick().await;
        }
    })
    .await;
}

/// S3: connected, while a column comes, goes, and comes again.
#[tokio::test]
async fn a_connected_client_follows_without_a_load() {
    let mut world = World::new();
    let client = world.client("ann").await;
    world.ann.ok("INSERT INTO app.notes VALUES (1, 7, 'one', 'x'), (2, 7, 'two', 'y')");
    let all = subscribed(&client, ALL).await;
    let bodies = subscribed(&client, BODIES).await;
    let extras = subscribed(&client, "SELECT extra FROM app.notes").await;
    until(&client, "SELECT count(*) FROM app.notes", &["2"]).await;

    world.admin.ok("ALTER TABLE app.notes ADD COLUMN likes INT NOT NULL DEFAULT 5 MERGE ADD");
    until(&client, "SELECT id, likes FROM app.notes ORDER BY id", &["1 5", "2 5"]).await;
    // It is written here at once, and there.
    client.execute("UPDATE app.notes SET likes = likes + 1 WHERE id = 1", &[]).await.unwrap();
    world.ann.ok("UPDATE app.notes SET likes = 9 WHERE id = 2");
    all_decided(&client).await;
    until(&client, "SELECT id, likes FROM app.notes ORDER BY id", &["1 6", "2 9"]).await;

    world.admin.ok("ALTER TABLE app.notes DROP COLUMN extra");
    world.admin.ok("ALTER TABLE app.notes ADD COLUMN extra BIGINT DEFAULT 3");
    let refused = async {
        while extras.refused().is_none() {
            tick().await;
        }
    };
    soon(refused).await;
    let told = extras.refused().unwrap();
    assert_eq!(told.code(), ErrorCode::NotFound);
    assert!(told.to_string().contains("app.notes has no column extra any more"), "{told}");
    world.ann.ok("INSERT INTO app.notes (id, room, body) VALUES (3, 7, 'three')");
    let shown = "SELECT id, room, body, likes, extra FROM app.notes ORDER BY id";
    let expected = ["1 7 one 6 3", "2 7 two 9 3", "3 7 three 5 3"];
    until(&client, shown, &expected).await;
    assert_eq!(world.ann.rows(shown), expected);
    // Two rows were loaded, at the beginning, and the third has come by itself.
    for subscription in [&all, &bodies] {
        assert_eq!(subscription.state(), SubscriptionState::Live);
        assert!(subscription.progress().rows <= 2, "{:?}", subscription.progress());
    }
    world.server.take();
}

/// S1, S2: a hundred writes wait on a device that is away while a column comes, one goes and another
/// takes its name, and a table comes.
#[tokio::test]
async fn a_device_that_was_away_keeps_its_rows_and_what_it_has_written() {
    let mut world = World::new();
    for id in 1..=20 {
        world.ann.ok(&format!("INSERT INTO app.notes VALUES ({id}, 7, 'there', 'x')"));
    }
    let client = world.client("ann").await;
    subscribed(&client, ALL).await;
    client.pause();
    for id in 21..=100 {
        let insert = "INSERT INTO app.notes (id, room, body) VALUES ($1, 8, 'here')";
        client.execute(insert, &[Value::Integer(id)]).await.unwrap();
    }
    for id in 1..=18 {
        let update = "UPDATE app.notes SET body = 'here' WHERE id = $1";
        client.execute(update, &[Value::Integer(id)]).await.unwrap();
    }
    let named = "INSERT INTO app.notes (id, extra) VALUES (101, 'gone')";
    let named = client.execute(named, &[]).await.unwrap();
    let update = "UPDATE app.notes SET extra = 'gone' WHERE id = 20";
    let changed = client.execute(update, &[]).await.unwrap();
    let ids = [named.id().unwrap(), changed.id().unwrap()];
    soon(client.close()).await;

    for sql in [
        "ALTER TABLE app.notes ADD COLUMN likes INT NOT NULL DEFAULT 5 MERGE ADD",
        "ALTER TABLE app.notes DROP COLUMN extra",
        "ALTER TABLE app.notes ADD COLUMN extra BIGINT DEFAULT 3",
        "CREATE USER TABLE app.later (id BIGINT PRIMARY KEY)",
    ] {
        world.admin.ok(sql);
    }
    world.ann.ok("UPDATE app.notes SET likes = 9 WHERE id = 1");
    world.ann.ok("DELETE FROM app.notes WHERE id = 19");

    // Without a network it opens with the schema that it has.
    world.proxy.close();
    let client = world.client("ann").await;
    assert_eq!(client.pending().await.unwrap().count(), 100);
    assert_eq!(rows(&client, "SELECT extra FROM app.notes WHERE id = 20").await, ["gone"]);
    world.proxy.lead_to(&world.admin.address());
    let all = subscribed(&client, ALL).await;
    all_decided(&client).await;
    let shown = "SELECT id, room, body, likes, extra FROM app.notes ORDER BY id";
    let there = world.ann.rows(shown);
    assert_eq!(there.len(), 99);
    assert_eq!(there[0], "1 7 here 9 3");
    assert_eq!(there[98], "100 8 here 5 3");
    until(&client, shown, &there.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for id in ids {
        let mutation = client.mutation(id).await.unwrap().unwrap();
        let MutationState::Rejected { code, reason } = mutation.state() else {
            panic!("{:?}", mutation.state())
        };
        assert_eq!(code, ErrorCode::SchemaMismatch, "{reason}");
    }
    assert_eq!(all.progress().rows, 0, "nothing was loaded anew");
    assert_eq!(all.state(), SubscriptionState::Live);
    world.server.take();
}

/// Frame by frame: the same subscription under another number, between two commits, and no batch.
#[tokio::test]
async fn the_change_comes_between_two_commits_and_no_batch_comes() {
    let world = World::new();
    world.ann.ok("INSERT INTO app.notes VALUES (1, 7, 'one', 'x')");
    let mut raw = Raw::open(&world.ann).await;
    let loaded = raw.load(subscribe(1, ALL)).await;
    let before = loaded.subscribed.clone().unwrap();
    world.ann.ok("UPDATE app.notes SET room = 8");
    world.admin.ok("ALTER TABLE app.notes ADD COLUMN likes INT NOT NULL DEFAULT 5");
    world.ann.ok("UPDATE app.notes SET likes = 9");
    let ServerFrame::Delta(first) = raw.next().await else { panic!("no delta") };
    assert_eq!((first.query, width(&first.changes)), (before.query, 4));
    let ServerFrame::Subscribed(now) = raw.next().await else { panic!("no description") };
    assert_eq!((now.request, now.basis), (before.request, before.basis));
    assert_eq!(now.table.version.0, before.table.version.0 + 1);
    assert_eq!(now.columns.len(), 5);
    let ServerFrame::Delta(second) = raw.next().await else { panic!("no delta") };
    assert_eq!((second.query, width(&second.changes)), (now.query, 5));
    assert_ne!(now.query, before.query);
    assert_eq!(second.previous, first.seq);

    // Who comes back from before both is told all of the row, and nothing else.
    let (cursor, held) = loaded.held();
    let resumed = Subscribe { held: Some(held), ..subscribe(1, ALL) };
    let mut raw = Raw::resume(&world.ann, vec![cursor], vec![resumed]).await;
    let ServerFrame::Subscribed(again) = raw.next().await else { panic!("no description") };
    assert_eq!((again.basis, &again.columns), (before.basis, &now.columns));
    let ServerFrame::CatchUp(missed) = raw.next().await else { panic!("nothing was missed") };
    let [RowChange::Row(_, row)] = &missed.changes[..] else { panic!("{missed:?}") };
    assert_eq!(row.0[4], Stored::Integer(9));
    let ServerFrame::Frontier(at) = raw.next().await else { panic!("no frontier") };
    assert_eq!(at.seq, second.seq);
}

fn width(changes: &[RowChange]) -> usize {
    match changes {
        [RowChange::Row(_, row)] => row.len(),
        other => panic!("not a row: {other:?}"),
    }
}
