//! What goes into a report, and how much room there is.

use sdk_core::{SubscribeOptions, Value};

use crate::fake::{Device, Fake, row, soon, table};

/// O4: all that helps, and nothing of anybody.
#[tokio::test]
async fn a_diagnosis_has_everything_but_data() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let sql = "SELECT * FROM app.notes WHERE body = 'my secret' /* my remark */ OR id > 4711";
    let notes = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    session.grant(1, table(64, "app.notes"), &[(3, row(1)), (4, row(2))]).await;
    soon(notes.ready()).await.unwrap();
    client.execute("CREATE TABLE drafts (id INTEGER PRIMARY KEY, body TEXT)", &[]).await.unwrap();
    client.execute("INSERT INTO drafts VALUES (5, 'my draft')", &[]).await.unwrap();
    let typed = [Value::text("my words").unwrap()];
    client.execute("INSERT INTO app.notes VALUES (9, $1)", &typed).await.unwrap();

    let text = soon(client.diagnose()).await.unwrap();
    for private in
        ["note 1", "my secret", "my remark", "4711", "my words", "my draft", "ann", "a token"]
    {
        assert!(!text.contains(private), "{private} in {text}");
    }
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["sdk"]["protocol"], serde_json::json!([1]));
    assert_eq!(told["status"]["word"], "connected");
    assert_eq!((&told["lanes"][0]["lane"], &told["lanes"][0]["seq"]), (&"user".into(), &10.into()));
    let subscription = &told["subscriptions"][0];
    assert_eq!(subscription["sql"], "SELECT * FROM app.notes WHERE body = ?   OR id > ?");
    assert_eq!((&subscription["state"], &subscription["rows_loaded"]), (&"live".into(), &2.into()));
    assert_eq!(told["outbox"]["mutations"], 1);
    assert!(told["outbox"]["bytes"].as_i64() > Some(0));
    assert_eq!(told["storage"]["tables"].as_array().unwrap().len(), 2);

    // While it is suspended it says so, and what it knows.
    soon(client.suspend(std::time::Duration::from_secs(10))).await.unwrap();
    let told: serde_json::Value =
        serde_json::from_str(&soon(client.diagnose()).await.unwrap()).unwrap();
    assert_eq!(
        (&told["status"]["is_suspended"], &told["outbox"]["error"]),
        (&true.into(), &"cancelled".into())
    );
    assert_eq!(told["storage"]["error"], "cancelled");
}

/// E4: which tables and subscriptions take the room.
#[tokio::test]
async fn room_is_told_by_table_and_subscription() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let sql = "SELECT * FROM app.notes";
    let notes = client.subscribe(sql, &[], SubscribeOptions::default()).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    let rows: Vec<_> = (1..=10).map(|id| (id, row(i64::try_from(id).unwrap()))).collect();
    session.grant(1, table(64, "app.notes"), &rows).await;
    soon(notes.ready()).await.unwrap();
    let room = soon(client.storage()).await.unwrap();
    assert_eq!((&*room.tables[0].name, room.tables[0].rows), ("app.notes", 10));
    assert_eq!((&*room.subscriptions[0].sql, room.subscriptions[0].rows), (sql, 10));
    assert!(room.file >= room.tables[0].bytes && room.subscriptions[0].bytes > 0, "{room:?}");
}
