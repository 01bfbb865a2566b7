//! What is too much is refused at once, with a code, and nothing of it is done (W10).

use sdk_core::limits::{ROW_BYTES_MAX, WRITE_BYTES_MAX, WRITE_ROWS_MAX};
use sdk_core::{Client, Error, ErrorCode, Value};

use crate::fake::{Device, Fake};

async fn offline(device: &Device) -> Client {
    let fake = Fake::new().await;
    let (client, session) = device.with_notes(&fake, 1).await;
    client.pause();
    drop(session);
    client
}

fn text(bytes: usize) -> Value {
    Value::text("x".repeat(bytes)).unwrap()
}

/// Changes the one note to a text of this size.
async fn update(client: &Client, bytes: usize) -> Result<sdk_core::Mutation, Error> {
    client.execute("UPDATE app.notes SET body = $1 WHERE id = 1", &[text(bytes)]).await
}

#[tokio::test]
async fn a_row_or_a_write_that_is_too_large_is_refused() {
    let device = Device::new();
    let client = offline(&device).await;
    update(&client, ROW_BYTES_MAX - 100).await.unwrap();
    let refused = update(&client, ROW_BYTES_MAX).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge, "{refused}");
    assert!(refused.to_string().contains(&ROW_BYTES_MAX.to_string()), "{refused}");

    let many = "INSERT INTO app.notes (id, body) WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL \
                SELECT i + 1 FROM n WHERE i < 9 + $1) SELECT i, $2 FROM n";
    let rows = |count: usize| Value::Integer(i64::try_from(count).unwrap());
    let refused = client.execute(many, &[rows(WRITE_ROWS_MAX + 1), text(1)]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge, "{refused}");
    let refused = client.execute(many, &[rows(10), text(WRITE_BYTES_MAX / 10)]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::TooLarge, "{refused}");
    let count = client.query("SELECT id FROM app.notes", &[]).await.unwrap().len();
    assert_eq!(count, 1, "nothing of it was done");
    client.execute(many, &[rows(WRITE_ROWS_MAX), text(1)]).await.unwrap();
    assert_eq!(client.pending().await.unwrap().count(), 2);
    client.close().await;
}
