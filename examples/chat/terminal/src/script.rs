//! The chat without a terminal: lines in, lines out. What is new is told once.
//!
//! ```text
//! [lobby] alice: hello        a message
//! * connected                 how it is with the connection, and whatever else there is to say
//! = lobby: 1 message          what /show shows: so many messages follow,
//! - [lobby] alice: hello      each like this,
//! ~ [lobby] alice: and?       and then what waits for a connection
//! ```

use std::collections::BTreeSet;
use std::io::{BufRead, Write};

use sdk_core::StatusWord;
use tokio::sync::mpsc;

use crate::view::{Face, Message, View, Wish};

pub(crate) struct Script<W = std::io::Stdout> {
    lines: mpsc::UnboundedReceiver<String>,
    out: W,
    told: Told,
    /// What is wrong with a line, for whoever wrote it.
    complaint: Option<String>,
}

/// What was told already.
#[derive(Default)]
struct Told {
    status: Option<String>,
    room: Option<String>,
    messages: BTreeSet<String>,
    /// Those that wait, where there was no connection for them.
    waiting: BTreeSet<String>,
    mentions: BTreeSet<String>,
    typing: Vec<String>,
    draft: Option<String>,
    unread: Vec<(String, i64)>,
    notices: usize,
}

impl Script {
    /// Reads standard input.
    pub(crate) fn start() -> Self {
        let (line, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for read in std::io::stdin().lock().lines().map_while(Result::ok) {
                if line.send(read).is_err() {
                    return;
                }
            }
        });
        Self::new(lines, std::io::stdout())
    }
}

impl<W: Write> Script<W> {
    fn new(lines: mpsc::UnboundedReceiver<String>, out: W) -> Self {
        Self { lines, out, told: Told::default(), complaint: None }
    }

    fn message(&mut self, room: &str, message: &Message) -> std::io::Result<()> {
        writeln!(self.out, "[{room}] {}: {}", message.author, message.body)
    }
}

impl<W: Write> Face for Script<W> {
    async fn wish(&mut self) -> Option<Wish> {
        let line = self.lines.recv().await?;
        Some(Wish::parse(&line).unwrap_or_else(|complaint| {
            self.complaint = Some(complaint);
            Wish::Look
        }))
    }

    fn show(&mut self, view: &View) -> std::io::Result<()> {
        let mut lines = Vec::new();
        let told = &mut self.told;
        if told.room.as_ref() != Some(&view.room) {
            lines.push(format!("joined {}", view.room));
            *told = Told { room: Some(view.room.clone()), ..std::mem::take(told) };
            (told.draft, told.typing) = (None, Vec::new());
        }
        let reason = view.status.reason.as_ref().map(|reason| format!(": {}", reason.message));
        let status = format!("{}{}", view.status.word, reason.unwrap_or_default());
        if told.status.as_ref() != Some(&status) {
            lines.push(status.clone());
            told.status = Some(status);
        }
        for name in view.typing.iter().filter(|name| !told.typing.contains(name)) {
            lines.push(format!("{name} is typing"));
        }
        told.typing.clone_from(&view.typing);
        if let Some(draft) = view.draft.as_ref().filter(|draft| told.draft.as_ref() != Some(draft))
        {
            lines.push(format!("not sent yet, as a draft: {draft}"));
        }
        told.draft.clone_from(&view.draft);
        let unread: Vec<_> = view
            .rooms
            .iter()
            .filter(|room| room.unread > 0 && room.name != view.room)
            .map(|room| (room.name.clone(), room.unread))
            .collect();
        for (room, unread) in unread.iter().filter(|unread| !told.unread.contains(unread)) {
            lines.push(format!("{unread} unread in {room}"));
        }
        told.unread = unread;
        for mention in &view.mentions {
            if told.mentions.insert(mention.message.clone()) {
                let (author, room, body) = (&mention.author, &mention.room, &mention.body);
                lines.push(format!("{author} mentioned you in {room}: {body}"));
            }
        }
        let is_heard = [StatusWord::Connected, StatusWord::Behind].contains(&view.status.word);
        for Message { id, body, is_waiting, .. } in &view.messages {
            if *is_waiting && !is_heard && told.waiting.insert(id.clone()) {
                lines.push(format!("waiting: {body}"));
            }
            if !is_waiting && told.waiting.remove(id) {
                lines.push(format!("sent: {body}"));
            }
        }
        lines.extend(view.notices.iter().skip(told.notices).cloned());
        told.notices = view.notices.len();
        lines.extend(self.complaint.take());
        for line in lines {
            writeln!(self.out, "* {line}")?;
        }
        for message in view.messages.iter().filter(|message| !message.is_waiting) {
            if self.told.messages.insert(message.id.clone()) {
                self.message(&view.room, message)?;
            }
        }
        self.out.flush()
    }

    fn show_all(&mut self, view: &View) -> std::io::Result<()> {
        let (waiting, sent): (Vec<_>, Vec<_>) =
            view.messages.iter().partition(|message| message.is_waiting);
        let count = sent.len();
        let messages = if count == 1 { "message" } else { "messages" };
        writeln!(self.out, "= {}: {count} {messages}", view.room)?;
        for message in sent {
            write!(self.out, "- ")?;
            self.message(&view.room, message)?;
        }
        for message in waiting {
            write!(self.out, "~ ")?;
            self.message(&view.room, message)?;
        }
        self.out.flush()
    }
}
