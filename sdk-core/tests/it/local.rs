//! What applications make for themselves on the tables of the server (M2).

use futures::StreamExt;
use sdk_core::Incident;

use crate::fake::{Device, Fake, delta, ids, soon};

#[tokio::test]
async fn what_is_in_the_way_of_the_servers_rows_is_dropped_and_told() {
    let (fake, device) = (Fake::new().await, Device::new());
    let (client, mut session) = device.with_notes(&fake, 2).await;
    let mut incidents = client.incidents();
    for sql in [
        "CREATE TABLE drafts (id INTEGER PRIMARY KEY, body TEXT)",
        "INSERT INTO drafts VALUES (1, 'mine')",
        "CREATE UNIQUE INDEX one_of_a_length ON app.notes (length(body))",
    ] {
        let refused = client.execute(sql, &[]).await;
        // The two that are here have the same length.
        assert_eq!(refused.is_err(), sql.contains("UNIQUE"), "{refused:?}");
    }
    let index = "CREATE UNIQUE INDEX one_of_a_kind ON app.notes (id % 10)";
    client.execute(index, &[]).await.unwrap();
    session.send(delta(10, 11, 64, 12, true)).await;
    let dropped = Incident::Dropped { names: vec!["one_of_a_kind".to_owned()] };
    assert_eq!(soon(incidents.next()).await, Some(dropped.clone()));
    assert!(dropped.to_string().contains("one_of_a_kind"), "{dropped}");
    let all = "SELECT id FROM app.notes ORDER BY id";
    assert_eq!(ids(&client.query(all, &[]).await.unwrap()), [1, 2, 12]);
    assert_eq!(ids(&client.query("SELECT id FROM drafts", &[]).await.unwrap()), [1]);
    let told = client.diagnose().await.unwrap().to_string();
    assert!(told.contains("\"dropped\""), "{told}");
    client.close().await;
}
