//! How a message is written, and a room founded.

use std::time::Duration;

use sdk_core::{Client, Error, Mutation, RemoteOptions, Statement, Value};

/// A new room waits so long for a network.
const FOUND_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// Founds a room, if there is none of that name. What would be refused of a room that somebody else has
/// founded is not for a device that does not know all of them.
///
/// # Errors
/// The server's, or there was no network for a day.
pub async fn found(client: &Client, room: &str) -> Result<(), Error> {
    let options = RemoteOptions { timeout: Some(FOUND_WITHIN), ..RemoteOptions::default() };
    let found = "INSERT INTO chat.rooms (name) VALUES ($1) ON CONFLICT DO NOTHING";
    client.remote_with(found, &[text(room)?], options).await.map(drop)
}

/// Says something: it is stored on the device, and sent when there is a connection. The row of its
/// likes is born with it, so that whoever has the message can like it.
///
/// # Errors
/// As [`Client::execute`].
pub async fn say(client: &Client, room: &str, body: &str) -> Result<Mutation, Error> {
    let (room, body) = (text(room)?, text(body)?);
    let ((), said) = client
        .transaction(|tx| async move {
            let sql = "INSERT INTO chat.messages (room, body) VALUES ($1, $2) RETURNING id";
            let say = Statement::Sql { sql: sql.to_owned(), params: vec![room.clone(), body] };
            let (_, rows) = tx.write(say).await?;
            if let Some(said) = rows.get(0) {
                tx.insert("chat.likes", &[("message", text(said.get("id")?)?), ("room", room)])
                    .await?;
            }
            Ok(())
        })
        .await?;
    Ok(said)
}

fn text(text: &str) -> Result<Value, Error> {
    Value::text(text).map_err(|error| Error::Value(error.to_string()))
}
