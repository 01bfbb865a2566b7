//! Tells people that they were mentioned: a service that reads the messages of all rooms, and
//! writes into the STREAM of each user who is meant.

use std::collections::BTreeSet;
use std::time::Duration;

use sdk_core::{Client, Row, SubscribeOptions, Value};

/// With the last of them it begins, on a device that has none yet.
const MESSAGES_FIRST: u64 = 1_000;

/// After a statement that was not done.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A local table of its own says what is done. It joins with what is replicated, and is changed on
/// this device alone.
const DONE: &str = "CREATE TABLE IF NOT EXISTS notified (message TEXT PRIMARY KEY)";

const NEW: &str = "
    SELECT id, room, author, body FROM chat.messages m
    WHERE NOT EXISTS (SELECT 1 FROM notified n WHERE n.message = m.id) ORDER BY _seq LIMIT 100";

/// Tells people of mentions until the client is closed. `tell` is given what there is to know of it.
///
/// # Errors
/// The replica's.
pub async fn notify(client: Client, tell: impl Fn(&str)) -> anyhow::Result<()> {
    client.execute(DONE, &[]).await?;
    let sql = "SELECT id, room, author, body FROM chat.messages WHERE body LIKE '%@%'";
    client.subscribe(sql, &[], SubscribeOptions::last(MESSAGES_FIRST)).await?;
    let mut new = client.watch(NEW, &[])?;
    tell("watching for mentions");
    while let Some(result) = new.next().await {
        if let Some(error) = result.error {
            tell(&error.to_string());
        }
        for row in result.rows.iter() {
            notify_of(&client, &row, &tell).await?;
        }
    }
    Ok(())
}

/// Tells all whom a message mentions. A message may come here twice; who was told is not told
/// again, because the mention has the key of the message.
async fn notify_of(client: &Client, row: &Row<'_>, tell: &impl Fn(&str)) -> anyhow::Result<()> {
    let (id, author, body): (&str, &str, &str) =
        (row.get("id")?, row.get("author")?, row.get("body")?);
    let params = [id, row.get("room")?, author, body].map(Value::text);
    let params = params.into_iter().collect::<Result<Vec<_>, _>>()?;
    for user in mentioned(body).into_iter().filter(|user| *user != author) {
        let sql = format!(
            "EXECUTE AS USER '{user}' (INSERT INTO chat.mentions (message, room, author, body) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING)"
        );
        while let Err(error) = client.remote(&sql, &params).await {
            tell(&format!("{user}: {error}"));
            if !error.code().may_retry() {
                break;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    client.execute("INSERT OR IGNORE INTO notified VALUES ($1)", &params[..1]).await?;
    Ok(())
}

/// The users whom a text names, as in `@bob`. An address, `ann@home`, names nobody.
fn mentioned(body: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let begins = |at: &usize| !body[..*at].ends_with(is_of_name);
    let names = body.match_indices('@').map(|(at, _)| at).filter(begins).map(|at| {
        let rest = &body[at + 1..];
        &rest[..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())]
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::mentioned;

    #[test]
    fn names_are_found_in_texts() {
        for (body, names) in [
            ("nobody", &[][..]),
            ("@bob, are you there?", &["bob"]),
            ("@bob and @ann-lee!@bob", &["ann-lee", "bob"]),
            ("a @ b @'x' @ ann@home", &[]),
        ] {
            assert_eq!(mentioned(body).into_iter().collect::<Vec<_>>(), names, "{body}");
        }
    }
}
