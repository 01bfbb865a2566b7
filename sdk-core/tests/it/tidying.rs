//! What has gone leaves nothing behind, and the journal stays short, by themselves (E3, Z3).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sdk_core::{SubscribeOptions, Value};

use crate::fake::{Device, Fake, row, soon, table};

fn journal(device: &Device) -> PathBuf {
    device.file().with_extension("sqlite-wal")
}

/// Whether a note is in the file or its journal.
fn has(device: &Device, note: &str) -> bool {
    let files = [device.file(), journal(device)].map(|path| fs::read(path).unwrap_or_default());
    files.iter().any(|all| all.windows(note.len()).any(|bytes| bytes == note.as_bytes()))
}

#[tokio::test]
async fn rows_that_nobody_asks_for_any_more_are_in_no_file() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    let options = SubscribeOptions { ttl: Some(Duration::ZERO), ..SubscribeOptions::default() };
    let notes = client.subscribe("SELECT * FROM app.notes", &[], options).await.unwrap();
    let (mut session, _) = fake.welcome().await;
    let rows: Vec<_> = (3..).zip((5_000..5_008).map(row)).collect();
    session.grant(1, table(64, "app.notes"), &rows).await;
    soon(notes.ready()).await.unwrap();
    assert!(has(&device, "note 5007"));
    drop(notes);
    soon(async {
        while has(&device, "note 5007") || has(&device, "note 5001") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    client.close().await;
}

#[tokio::test]
async fn the_journal_stays_short_while_an_application_writes() {
    let (fake, device) = (Fake::new().await, Device::new());
    let client = device.open(&fake.url()).await;
    client.execute("CREATE TABLE drafts (id INTEGER PRIMARY KEY, a BLOB)", &[]).await.unwrap();
    let mut longest = 0;
    for _ in 0..1_500 {
        let write = "INSERT OR REPLACE INTO drafts VALUES (1, randomblob($1))";
        client.execute(write, &[Value::Integer(20_000)]).await.unwrap();
        longest = longest.max(fs::metadata(journal(&device)).unwrap().len());
    }
    assert!(longest < 5_000_000, "{longest}");
    client.close().await;
}
