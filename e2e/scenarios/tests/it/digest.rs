//! What a device has is compared with the server: what is wrong is found, told and mended, and what
//! is right is never taken for wrong.

use futures::StreamExt;
use rusqlite::Connection;
use sdk_core::{Client, Incident, SubscribeOptions, Subscription, Verdict, Verifications};

use crate::sdk::{World, rows, soon, tick};

const ALL: &str = "SELECT * FROM app.notes";

async fn subscribed(client: &Client, sql: &str, options: SubscribeOptions) -> Subscription {
    let subscription = client.subscribe(sql, &[], options).await.unwrap();
    soon(subscription.ready()).await.unwrap();
    subscription
}

/// Changes the file of a device as no program can by accident: without its triggers.
fn damage(world: &World, device: &str, sql: &str) {
    let mut files = std::fs::read_dir(world.replicas(device)).unwrap();
    let is_file = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "sqlite");
    let path = files.find_map(|file| Some(file.unwrap().path()).filter(is_file)).unwrap();
    let file = Connection::open(path).unwrap();
    let of_table = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' \
                    AND tbl_name = 'app__notes'";
    let triggers: Vec<(String, String)> = {
        let mut select = file.prepare(of_table).unwrap();
        let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        found.collect::<Result<_, _>>().unwrap()
    };
    assert!(!triggers.is_empty());
    for (name, _) in &triggers {
        file.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    assert_eq!(file.execute(sql, []).unwrap(), 1, "{sql}");
    for (_, sql) in &triggers {
        file.execute_batch(sql).unwrap();
    }
}

async fn until_equal(client: &Client, equal: u64) {
    soon(async {
        while client.verifications().equal < equal {
            tick().await;
        }
    })
    .await;
}

/// O8: a wrong byte, a lost row, a row too many, each with writes that wait, and under a window.
#[tokio::test]
async fn what_is_wrong_in_a_file_is_found_told_and_mended() {
    let world = World::new();
    let values: Vec<_> = (1..=50).map(|id| format!("({id}, {}, 'n{id}', 'x')", id % 5)).collect();
    world.ann.ok(&format!("INSERT INTO app.notes VALUES {}", values.join(", ")));
    let some = "SELECT id, body FROM app.notes WHERE room = 3";
    for (damaged, sql, options) in [
        ("UPDATE app__notes SET body = 'N8' WHERE id = 8", some, SubscribeOptions::default()),
        ("DELETE FROM app__notes WHERE id = 48", ALL, SubscribeOptions::last(10)),
        (
            "INSERT INTO app__notes (id, body, _seq, _set) \
             SELECT 99, 'no', _seq, _set FROM app__notes WHERE id = 47",
            ALL,
            SubscribeOptions::default(),
        ),
    ] {
        let device = format!("of {}", damaged.len());
        let client = world.client_of("ann", &device).await;
        let subscription = subscribed(&client, sql, options).await;
        let before = rows(&client, "SELECT * FROM app.notes ORDER BY id").await;
        let all = u64::try_from(before.len()).unwrap();
        assert_eq!(soon(subscription.verify()).await, Ok(Verdict::Equal { rows: all }));
        soon(client.close()).await;
        damage(&world, &device, damaged);

        world.proxy.close();
        let client = world.client_of("ann", &device).await;
        let mut incidents = client.incidents();
        assert_ne!(rows(&client, "SELECT * FROM app.notes ORDER BY id").await, before);
        client
            .execute("UPDATE app.notes SET body = body || '!' WHERE id % 5 = 3 AND id <> 8", &[])
            .await
            .unwrap();
        let subscription = client.subscribe(sql, &[], options).await.unwrap();
        let verify = subscription.clone();
        let verdict = tokio::spawn(async move { verify.verify().await });
        world.proxy.lead_to(&world.admin.address());
        client.network_changed();
        let Ok(Verdict::Different(mismatch)) = soon(verdict).await.unwrap() else {
            panic!("{damaged} is not found")
        };
        assert_eq!(soon(incidents.next()).await, Some(Incident::Mismatched(mismatch.clone())));
        assert_eq!(
            (&*mismatch.table, &*mismatch.sql, mismatch.rows_there),
            ("app.notes", sql, all)
        );
        assert_ne!(mismatch.digest_here, mismatch.digest_there);
        assert!(!format!("{mismatch:?}").contains("n8"), "no row is told");
        // It is compared again when it has been loaded.
        until_equal(&client, 1).await;
        assert_eq!(client.verifications(), Verifications { equal: 1, different: 1 });
        soon(async {
            while client.pending().await.unwrap().count() > 0 {
                tick().await;
            }
        })
        .await;
        assert_eq!(soon(subscription.verify()).await, Ok(Verdict::Equal { rows: all }));
        let columns = if sql == some { "id, body" } else { "id, room, body, extra" };
        let compared = format!("SELECT {columns} FROM app.notes ORDER BY id");
        let shown = rows(&client, &compared).await;
        let there = soon(client.remote(&compared, &[])).await.unwrap();
        let there = crate::sdk::texts(&there.rows);
        assert!(shown.iter().all(|row| there.contains(row)), "{shown:?}");
        soon(client.close()).await;
    }
}

/// Rows with a time to live are not compared, and a subscription that has ended says so.
#[tokio::test]
async fn what_cannot_be_compared_is_said() {
    let world = World::new();
    let client = world.client("ann").await;
    let hints = "SELECT * FROM app.hints";
    let hints = subscribed(&client, hints, SubscribeOptions::default()).await;
    assert_eq!(soon(hints.verify()).await, Ok(Verdict::Expiring));
    let gone = hints.clone();
    hints.unsubscribe();
    let error = soon(gone.verify()).await.unwrap_err();
    assert_eq!(error.code(), sdk_core::ErrorCode::NotFound, "{error}");
    let none = client.subscribe("SELECT * FROM app.nothing", &[], SubscribeOptions::default());
    let error = soon(none.await.unwrap().verify()).await.unwrap_err();
    assert_eq!(error.code(), sdk_core::ErrorCode::NotFound, "{error}");
    soon(client.close()).await;
    assert!(gone.verify().await.is_err());
}

/// Fifty thousand rows in pieces, while others write: no false alarm, and what they write comes as ever.
#[tokio::test]
async fn it_is_compared_while_others_write() {
    let world = World::new();
    for part in 0..10 {
        let ids = part * 5_000..(part + 1) * 5_000;
        let values: Vec<_> = ids.map(|id| format!("({id}, 1, 'n', 'x')")).collect();
        world.ann.ok(&format!("INSERT INTO app.notes VALUES {}", values.join(", ")));
    }
    let client = world.client("ann").await;
    let subscription = subscribed(&client, ALL, SubscribeOptions::default()).await;
    let verify = subscription.clone();
    let verdict = tokio::spawn(async move { verify.verify().await });
    let mut written = 0;
    while !verdict.is_finished() {
        let id = (written * 7_919) % 50_000;
        let sql = match written % 3 {
            0 => format!("UPDATE app.notes SET body = 'w{written}' WHERE id = {id}"),
            1 => format!("DELETE FROM app.notes WHERE id = {id}"),
            _ => format!("INSERT INTO app.notes VALUES ({}, 2, 'w', 'x')", 60_000 + written),
        };
        let answer = soon(client.remote(&sql, &[])).await.unwrap();
        soon(client.wait_for(&answer.positions)).await.unwrap();
        written += 1;
    }
    let verdict = soon(verdict).await.unwrap();
    assert!(matches!(verdict, Ok(Verdict::Equal { .. })), "{verdict:?}");
    assert!(written > 3, "{written} were written meanwhile");
}
