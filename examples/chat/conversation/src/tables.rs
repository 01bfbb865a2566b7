//! The tables: what all share, and what each user has alone.

use anyhow::Context;
use sdk_core::Client;

/// Each can be run again.
const TABLES: [&str; 10] = [
    "CREATE NAMESPACE IF NOT EXISTS chat",
    "CREATE SHARED TABLE IF NOT EXISTS chat.rooms (name TEXT PRIMARY KEY, founder TEXT)
     WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = founder)",
    // The server says who the author is, so nobody writes in the name of another. With the index,
    // whoever watches one room is sent nothing of others, not even their keys.
    "CREATE SHARED TABLE IF NOT EXISTS chat.messages (
       id UUID PRIMARY KEY DEFAULT UUID_V7(), room TEXT NOT NULL, author TEXT, body TEXT NOT NULL,
       at TIMESTAMP DEFAULT NOW(), INDEX (room)
     ) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = author)",
    // Anybody likes a message, so its row has no owner.
    "CREATE SHARED TABLE IF NOT EXISTS chat.likes (
       message UUID PRIMARY KEY, room TEXT NOT NULL, n BIGINT NOT NULL DEFAULT 0 MERGE ADD,
       INDEX (room)
     ) WITH (ACCESS_LEVEL = WRITE)",
    // Nobody has to say that he does not type any more.
    "CREATE SHARED TABLE IF NOT EXISTS chat.typing (
       room TEXT, author TEXT, at TIMESTAMP, PRIMARY KEY (room, author), INDEX (room)
     ) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = author, TTL_SECONDS = 5)",
    // Or that he has gone.
    "CREATE SHARED TABLE IF NOT EXISTS chat.presence (
       person TEXT PRIMARY KEY, room TEXT, at TIMESTAMP
     ) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = person, TTL_SECONDS = 60)",
    "CREATE USER TABLE IF NOT EXISTS chat.drafts (room TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE USER TABLE IF NOT EXISTS chat.read_marks (room TEXT PRIMARY KEY, seen TIMESTAMP)",
    "CREATE USER TABLE IF NOT EXISTS chat.settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    // Written by the notifier, for each user alone.
    "CREATE STREAM TABLE IF NOT EXISTS chat.mentions (
       message UUID PRIMARY KEY, room TEXT NOT NULL, author TEXT NOT NULL, body TEXT NOT NULL
     ) WITH (TTL_SECONDS = 604800)",
];

/// Makes those that are not there. Needs role admin.
///
/// # Errors
/// The server's, with the table.
pub async fn make_tables(client: &Client) -> anyhow::Result<()> {
    for sql in TABLES {
        let name = sql.split(" (").next().unwrap_or(sql);
        client.remote(sql, &[]).await.with_context(|| name.to_owned())?;
    }
    Ok(())
}
