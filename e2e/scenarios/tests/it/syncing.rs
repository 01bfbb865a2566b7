//! Waiting until a device and the server have the same.

use std::time::Duration;

use sdk_core::{Error, MutationState, StatusWord, SubscribeOptions};

use crate::sdk::{World, rows, soon};

/// Shorter than a server is silent: it is not the next sign of life that brings it.
const WITHIN: Duration = Duration::from_secs(5);

/// O2: what others have written before the call is here, also where it moves a lane and concerns nobody
/// here; and what was written here is decided.
#[tokio::test]
async fn all_that_was_written_before_is_here_and_decided() {
    let mut world = World::new();
    let client = world.client("ann").await;
    soon(client.wait_for_sync(WITHIN)).await.unwrap();
    for sql in ["SELECT * FROM app.notes", "SELECT * FROM app.board WHERE room = 1"] {
        client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    }
    for round in 0..20 {
        world.ann.ok(&format!("INSERT INTO app.notes VALUES ({round}, 1, 'n', 'x')"));
        world.admin.ok(&format!("INSERT INTO app.board VALUES ({round}, 2, 'elsewhere')"));
        let insert = format!("INSERT INTO app.board VALUES ({}, 1, 'here')", 100 + round);
        let written = client.execute(&insert, &[]).await.unwrap();
        soon(client.wait_for_sync(WITHIN)).await.unwrap();
        assert!(matches!(written.state(), MutationState::Accepted { .. }), "{round}");
        let here = "SELECT (SELECT count(*) FROM app.notes), (SELECT count(_seq) FROM app.board)";
        assert_eq!(rows(&client, here).await, [format!("{0} {0}", round + 1)]);
    }
    world.server.take();
}

/// P2: a process that was in the background comes up, is done, and can be ended at any point.
#[tokio::test]
async fn in_the_background_it_is_done_once() {
    let mut world = World::new();
    let client = world.client("ann").await;
    let all = "SELECT * FROM app.notes";
    client.subscribe(all, &[], SubscribeOptions::default()).await.unwrap();
    soon(client.wait_for_sync(WITHIN)).await.unwrap();
    world.proxy.close();
    client.execute("INSERT INTO app.notes (id, body) VALUES (1, 'mine')", &[]).await.unwrap();
    soon(client.suspend(WITHIN)).await.unwrap();
    world.ann.ok("INSERT INTO app.notes (id, body) VALUES (2, 'from elsewhere')");
    let error = soon(client.sync_once(Duration::from_secs(1))).await.unwrap_err();
    assert!(matches!(&error, Error::Unsynced(missing) if missing.undecided == 1), "{error}");
    world.proxy.lead_to(&world.admin.address());
    soon(client.sync_once(Duration::from_secs(20))).await.unwrap();
    assert_eq!(client.status().word, StatusWord::Paused);
    assert_eq!(world.ann.rows("SELECT body FROM app.notes WHERE id = 1"), ["mine"]);
    world.proxy.close();
    client.resume();
    assert_eq!(rows(&client, "SELECT id FROM app.notes ORDER BY id").await, ["1", "2"]);
    assert_eq!(client.pending().await.unwrap().count(), 0);
    soon(client.close()).await;

    // A process that is started for it.
    world.ann.ok("INSERT INTO app.notes (id, body) VALUES (3, 'later')");
    world.proxy.lead_to(&world.admin.address());
    let client = world.client("ann").await;
    soon(client.sync_once(Duration::from_secs(20))).await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM app.notes").await, ["3"]);
    soon(client.close()).await;
    world.server.take();
}
