//! What the chat asks of the SDK: subscriptions, local queries, and what is written.

use sdk_core::{
    Client, Error, Mutation, SubscribeOptions, Subscription, Value, Watch, WatchResult,
    WriteOptions,
};

/// How many messages of a room come at first.
const MESSAGES_FIRST: u64 = 50;

/// Rooms, with how much is unread of those whose messages are here.
const ROOMS: &str = "
    SELECT r.name, coalesce(k.seen, 0) AS seen,
      (SELECT count(*) FROM chat.messages m
       WHERE m.room = r.name AND m.author <> $1 AND m.at > coalesce(k.seen, 0)) AS unread
    FROM chat.rooms r LEFT JOIN chat.read_marks k ON k.room = r.name ORDER BY r.name";

/// `_seq` is when a row was born, for everybody in the same order. What is only on this device has none.
const MESSAGES: &str = "SELECT id, author, body, at, _seq IS NULL AS is_waiting
    FROM chat.messages WHERE room = $1 ORDER BY _seq IS NULL, _seq, at, id";

/// What waits for the server, in all rooms.
const WAITING: &str = "SELECT room, body FROM chat.messages WHERE _seq IS NULL ORDER BY at, id";

const MENTIONS: &str = "SELECT message, room, author, body FROM chat.mentions ORDER BY _seq";

const TYPING: &str =
    "SELECT author FROM chat.typing WHERE room = $1 AND author <> $2 ORDER BY author";

const DRAFT: &str = "SELECT body FROM chat.drafts WHERE room = $1";

/// What goes on whatever room is open.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) rooms: Watch,
    pub(crate) mentions: Watch,
}

/// What goes on in one room.
#[derive(Debug)]
pub(crate) struct RoomFeed {
    pub(crate) all: Subscription,
    typing_there: Subscription,
    pub(crate) messages: Watch,
    pub(crate) typing: Watch,
    pub(crate) draft: Watch,
}

impl Lists {
    pub(crate) async fn open(client: &Client, user: &str) -> Result<Self, Error> {
        for table in ["chat.rooms", "chat.read_marks", "chat.drafts", "chat.mentions"] {
            let sql = format!("SELECT * FROM {table}");
            client.subscribe(&sql, &[], SubscribeOptions::default()).await?;
        }
        let rooms = client.watch(ROOMS, &[text(user)?])?;
        Ok(Self { rooms, mentions: client.watch(MENTIONS, &[])? })
    }
}

impl RoomFeed {
    pub(crate) async fn open(client: &Client, user: &str, room: &str) -> Result<Self, Error> {
        let [room, user] = [text(room)?, text(user)?];
        let here = std::slice::from_ref(&room);
        let messages = "SELECT * FROM chat.messages WHERE room = $1";
        let all = client.subscribe(messages, here, SubscribeOptions::last(MESSAGES_FIRST)).await?;
        let typing = "SELECT * FROM chat.typing WHERE room = $1";
        let typing_there = client.subscribe(typing, here, SubscribeOptions::default()).await?;
        Ok(Self {
            all,
            typing_there,
            messages: client.watch(MESSAGES, here)?,
            draft: client.watch(DRAFT, here)?,
            typing: client.watch(TYPING, &[room, user])?,
        })
    }

    /// Messages keep coming, since what is unread counts. Who is typing is of no interest.
    pub(crate) fn leave(self) {
        self.typing_there.unsubscribe();
    }
}

/// Tells others that the user is typing: now, or not at all.
pub(crate) async fn typing(client: &Client, room: &str) -> Result<Mutation, Error> {
    let typing = "INSERT INTO chat.typing (room, at) VALUES ($1, NOW())
                  ON CONFLICT (room, author) DO UPDATE SET at = NOW()";
    let options = WriteOptions { online: true, ..WriteOptions::default() };
    client.execute_with(typing, &[text(room)?], options).await
}

/// Keeps what is written and not said.
pub(crate) async fn draft(client: &Client, room: &str, body: &str) -> Result<Mutation, Error> {
    let room = text(room)?;
    if body.is_empty() {
        return client.execute("DELETE FROM chat.drafts WHERE room = $1", &[room]).await;
    }
    let draft = "INSERT INTO chat.drafts (room, body) VALUES ($1, $2)
                 ON CONFLICT (room) DO UPDATE SET body = $2";
    client.execute(draft, &[room, text(body)?]).await
}

/// Notes up to where a room was read. Another device may have come further.
pub(crate) async fn read_to(client: &Client, room: &str, seen: i64) -> Result<Mutation, Error> {
    let mark = "INSERT INTO chat.read_marks (room, seen) VALUES ($1, $2)
                ON CONFLICT (room) DO UPDATE SET seen = max(seen, $2)";
    client.execute(mark, &[text(room)?, Value::Integer(seen)]).await
}

/// What waits for the server: rooms, and what was said in them.
pub(crate) async fn waiting(client: &Client) -> Result<Vec<(String, String)>, Error> {
    let rows = client.query(WAITING, &[]).await?;
    rows.iter().map(|row| Ok((row.get("room")?, row.get("body")?))).collect()
}

/// The rows of a result, each read. What cannot be read is said once, by whoever asked for it.
pub(crate) fn read<T>(
    result: &WatchResult,
    read: impl Fn(&sdk_core::Row<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    match &result.error {
        Some(error) => Err(error.clone()),
        None => result.rows.iter().map(|row| read(&row)).collect(),
    }
}

fn text(text: &str) -> Result<Value, Error> {
    Value::text(text).map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::Value(error.to_string())
}
