//! What a chat shows, and what its user can want. Both faces know no more.

use sdk_core::{Error, Row, Status};

/// What is shown.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) user: String,
    pub(crate) status: Status,
    pub(crate) rooms: Vec<Room>,
    /// The room that is open.
    pub(crate) room: String,
    /// Its messages on this device, in their order.
    pub(crate) messages: Vec<Message>,
    /// Whether some of them may still be to come.
    pub(crate) is_loading: bool,
    /// Who is writing in it.
    pub(crate) typing: Vec<String>,
    /// Where somebody has mentioned the user, the latest last.
    pub(crate) mentions: Vec<Mention>,
    /// What was written in it and not sent, on whatever device.
    pub(crate) draft: Option<String>,
    /// What the user is told besides, the latest last.
    pub(crate) notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) name: String,
    /// When the last message that was read was written, in microseconds since 1970.
    pub(crate) seen: i64,
    /// How many messages of others came after it.
    pub(crate) unread: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) body: String,
    /// When it was written, in microseconds since 1970.
    pub(crate) at: i64,
    /// It is only on this device, until there is a connection.
    pub(crate) is_waiting: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) message: String,
    pub(crate) room: String,
    pub(crate) author: String,
    pub(crate) body: String,
}

impl Room {
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self { name: row.get("name")?, seen: row.get("seen")?, unread: row.get("unread")? })
    }
}

impl Message {
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let (id, author, body, at) =
            (row.get("id")?, row.get("author")?, row.get("body")?, row.get("at")?);
        Ok(Self { id, author, body, at, is_waiting: row.get::<i64>("is_waiting")? != 0 })
    }
}

impl Mention {
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let (message, room, author, body) =
            (row.get("message")?, row.get("room")?, row.get("author")?, row.get("body")?);
        Ok(Self { message, room, author, body })
    }
}

/// What a user wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Says something in the room.
    Say(String),
    /// The line that he writes is this now.
    Write(String),
    /// Goes to another room, which is founded if there is none.
    Join(String),
    /// Sees so many older messages.
    Older(u64),
    /// Is shown all that is here of the room.
    Show,
    /// Goes without a network.
    Offline,
    /// And with one again.
    Online,
    /// Leaves.
    Quit,
    /// Nothing that concerns anybody else.
    Look,
}

/// The commands, for whoever asks.
pub(crate) const HELP: &str =
    "/join ROOM  /older [N]  /show  /offline  /online  /quit; anything else is said";

/// How many older messages come at once, unless it is said.
pub(crate) const OLDER: u64 = 50;

impl Wish {
    /// Reads a line that the user has entered.
    ///
    /// # Errors
    /// What to tell him.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return Ok(if line.is_empty() { Self::Look } else { Self::Say(line.to_owned()) });
        };
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (word, rest.trim()) {
            ("join", "") => Err("which room? /join ROOM".to_owned()),
            ("join", room) => Ok(Self::Join(room.to_owned())),
            ("older", "") => Ok(Self::Older(OLDER)),
            ("older", rows) => {
                let rows = rows.parse().map_err(|_| format!("/older takes a number, not {rows:?}"));
                Ok(Self::Older(rows?))
            }
            ("draft", text) => Ok(Self::Write(text.to_owned())),
            ("show", "") => Ok(Self::Show),
            ("offline", "") => Ok(Self::Offline),
            ("online", "") => Ok(Self::Online),
            ("quit", "") => Ok(Self::Quit),
            _ => Err(format!("there is no /{word}: {HELP}")),
        }
    }
}

/// A face of the chat.
pub(crate) trait Face {
    /// Waits for what the user wants next; `None` when he is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn wish(&mut self) -> Option<Wish>;

    /// Shows what there is now.
    fn show(&mut self, view: &View) -> std::io::Result<()>;

    /// Shows all messages of the room.
    fn show_all(&mut self, view: &View) -> std::io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_said_and_commands_are_done() {
        for (line, wish) in [
            ("hello /you", Wish::Say("hello /you".to_owned())),
            ("  ", Wish::Look),
            ("/join the harbour ", Wish::Join("the harbour".to_owned())),
            ("/older", Wish::Older(OLDER)),
            ("/older 7", Wish::Older(7)),
            ("/draft not yet", Wish::Write("not yet".to_owned())),
            ("/draft", Wish::Write(String::new())),
            ("/show", Wish::Show),
            ("/offline", Wish::Offline),
            ("/online", Wish::Online),
            ("/quit", Wish::Quit),
        ] {
            assert_eq!(Wish::parse(line), Ok(wish), "{line}");
        }
        for (line, told) in [
            ("/join", "which room"),
            ("/older many", "a number"),
            ("/quit now", "there is no /quit"),
            ("/what", "there is no /what"),
        ] {
            let error = Wish::parse(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
