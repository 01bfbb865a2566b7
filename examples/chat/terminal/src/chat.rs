//! What the chat asks of the SDK: subscriptions, local queries, and statements for the server.

use std::time::Duration;

use sdk_core::{
    Client, Error, RemoteOptions, SubscribeOptions, Subscription, Value, Watch, WatchResult,
};
use tokio::sync::mpsc;

/// How many messages of a room come at first.
const MESSAGES_FIRST: u64 = 50;

/// What is said waits so long for a network. The SDK asks again under the same request id, so that
/// it is said once.
const SAY_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// Rooms, with how much is unread of those whose messages are here.
const ROOMS: &str = "
    SELECT r.name, coalesce(k.seen, 0) AS seen,
      (SELECT count(*) FROM chat.messages m
       WHERE m.room = r.name AND m.author <> $1 AND m.at > coalesce(k.seen, 0)) AS unread
    FROM chat.rooms r LEFT JOIN chat.read_marks k ON k.room = r.name ORDER BY r.name";

/// `_seq` is when a row was born, for everybody in the same order.
const MESSAGES: &str =
    "SELECT id, author, body, at FROM chat.messages WHERE room = $1 ORDER BY _seq";

const MENTIONS: &str = "SELECT message, room, author, body FROM chat.mentions ORDER BY _seq";

const TYPING: &str =
    "SELECT author FROM chat.typing WHERE room = $1 AND author <> $2 ORDER BY author";

const DRAFT: &str = "SELECT body FROM chat.drafts WHERE room = $1";

/// Something to have the server write.
#[derive(Debug)]
pub(crate) enum Write {
    Found { room: String },
    Say { room: String, body: String },
    Type { room: String },
    Draft { room: String, body: String },
    Read { room: String, seen: i64 },
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) write: Write,
    pub(crate) outcome: Result<(), Error>,
}

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

/// Does one write after the other, so that messages arrive in the order in which they were said.
pub(crate) async fn write_all(
    client: Client,
    mut writes: mpsc::UnboundedReceiver<Write>,
    written: mpsc::UnboundedSender<Written>,
) {
    while let Some(write) = writes.recv().await {
        let outcome = run(&client, &write).await;
        if written.send(Written { write, outcome }).is_err() {
            return;
        }
    }
}

async fn run(client: &Client, write: &Write) -> Result<(), Error> {
    let options = RemoteOptions { timeout: Some(SAY_WITHIN), ..RemoteOptions::default() };
    let (sql, params) = match write {
        Write::Found { room } => {
            ("INSERT INTO chat.rooms (name) VALUES ($1) ON CONFLICT DO NOTHING", vec![text(room)?])
        }
        Write::Say { room, body } => (
            "INSERT INTO chat.messages (room, body) VALUES ($1, $2)",
            vec![text(room)?, text(body)?],
        ),
        Write::Type { room } => (
            "INSERT INTO chat.typing (room, at) VALUES ($1, NOW())
             ON CONFLICT (room, author) DO UPDATE SET at = NOW()",
            vec![text(room)?],
        ),
        Write::Draft { room, body } if body.is_empty() => {
            ("DELETE FROM chat.drafts WHERE room = $1", vec![text(room)?])
        }
        Write::Draft { room, body } => (
            "INSERT INTO chat.drafts (room, body) VALUES ($1, $2)
             ON CONFLICT (room) DO UPDATE SET body = $2",
            vec![text(room)?, text(body)?],
        ),
        Write::Read { room, seen } => {
            let params = [text(room)?, Value::Integer(*seen)];
            let mark = "INSERT INTO chat.read_marks (room, seen) VALUES ($1, $2)
                        ON CONFLICT DO NOTHING";
            client.remote_with(mark, &params, options).await?;
            // Another device may have come further.
            ("UPDATE chat.read_marks SET seen = $2 WHERE room = $1 AND seen < $2", params.to_vec())
        }
    };
    client.remote_with(sql, &params, options).await.map(drop)
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
