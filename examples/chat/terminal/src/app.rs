//! The loop: what the user wants goes to the SDK, what the replica has goes to the user.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use sdk_core::{Client, Error, ResultState, Status, StatusWord, WatchResult};
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::chat::{self, Lists, RoomFeed, Write, Written};
use crate::view::{Face, Mention, Message, Room, View, Wish};

/// Others are told no more often that the user is typing.
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// A draft is stored when nothing more was typed for so long.
const DRAFT_AFTER: Duration = Duration::from_secs(1);

/// Whoever leaves waits no longer for what he has said.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct App<F> {
    client: Client,
    face: F,
    view: View,
    lists: Lists,
    feed: RoomFeed,
    statuses: BoxStream<'static, Status>,
    writes: mpsc::UnboundedSender<Write>,
    written: mpsc::UnboundedReceiver<Written>,
    writer: JoinHandle<()>,
    /// Writes that are not done.
    waiting: usize,
    /// What the user is writing, and when it is stored.
    draft: Option<(String, Instant)>,
    /// What the server was told last of the draft of this room. What the replica shows may be
    /// older.
    told_draft: Option<String>,
    told_typing: Option<Instant>,
    /// Up to where the room was read, as far as the server was told.
    seen: i64,
}

/// Something has happened.
enum Happened {
    Wish(Option<Wish>),
    Rooms(WatchResult),
    Messages(WatchResult),
    Typing(WatchResult),
    Draft(WatchResult),
    Mentions(WatchResult),
    Status(Status),
    Written(Written),
    DraftIsDue,
}

impl<F: Face> App<F> {
    pub(crate) async fn open(
        client: Client,
        user: &str,
        room: &str,
        face: F,
    ) -> Result<Self, Error> {
        let (lists, feed) =
            (Lists::open(&client, user).await?, RoomFeed::open(&client, user, room).await?);
        let (writes, to_write) = mpsc::unbounded_channel();
        let (tell_written, written) = mpsc::unbounded_channel();
        let writer = tokio::spawn(chat::write_all(client.clone(), to_write, tell_written));
        let view = View {
            user: user.to_owned(),
            status: client.status(),
            rooms: Vec::new(),
            room: room.to_owned(),
            messages: Vec::new(),
            is_loading: true,
            typing: Vec::new(),
            mentions: Vec::new(),
            draft: None,
            unsent: Vec::new(),
            notices: Vec::new(),
        };
        let statuses = client.statuses().boxed();
        let mut app = Self {
            client,
            face,
            view,
            lists,
            feed,
            statuses,
            writes,
            written,
            writer,
            waiting: 0,
            draft: None,
            told_draft: None,
            told_typing: None,
            seen: 0,
        };
        app.write(Write::Found { room: room.to_owned() });
        Ok(app)
    }

    /// Runs until the user leaves. Gives what he has said and was not sent.
    pub(crate) async fn run(mut self) -> anyhow::Result<Vec<String>> {
        loop {
            self.face.show(&self.view)?;
            match self.next().await {
                Happened::Wish(None | Some(Wish::Quit)) => break,
                Happened::Wish(Some(wish)) => {
                    if let Err(error) = self.wish(wish).await {
                        self.tell(error.to_string());
                    }
                }
                Happened::Rooms(result) => {
                    if let Some(rooms) = self.read(&result, Room::read) {
                        self.view.rooms = rooms;
                        self.mark_read();
                    }
                }
                Happened::Messages(result) => {
                    if let Some(messages) = self.read(&result, Message::read) {
                        self.view.messages = messages;
                        self.view.is_loading =
                            [ResultState::Loading, ResultState::Cached].contains(&result.state);
                        self.mark_read();
                    }
                }
                Happened::Typing(result) => {
                    if let Some(typing) = self.read(&result, |row| row.get("author")) {
                        self.view.typing = typing;
                    }
                }
                Happened::Draft(result) => {
                    if let Some(draft) = self.read(&result, |row| row.get("body")) {
                        self.view.draft = draft.into_iter().next();
                    }
                }
                Happened::Mentions(result) => {
                    if let Some(mentions) = self.read(&result, Mention::read) {
                        self.view.mentions = mentions;
                    }
                }
                Happened::Status(status) => self.view.status = status,
                Happened::Written(written) => self.written(written),
                Happened::DraftIsDue => self.store_draft(),
            }
        }
        self.leave().await
    }

    async fn next(&mut self) -> Happened {
        let draft_is_due = async {
            match &self.draft {
                Some((_, at)) => sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        select! {
            wish = self.face.wish() => Happened::Wish(wish),
            Some(result) = self.lists.rooms.next() => Happened::Rooms(result),
            Some(result) = self.lists.mentions.next() => Happened::Mentions(result),
            Some(result) = self.feed.messages.next() => Happened::Messages(result),
            Some(result) = self.feed.typing.next() => Happened::Typing(result),
            Some(result) = self.feed.draft.next() => Happened::Draft(result),
            Some(status) = self.statuses.next() => Happened::Status(status),
            Some(written) = self.written.recv() => Happened::Written(written),
            () = draft_is_due => Happened::DraftIsDue,
        }
    }

    async fn wish(&mut self, wish: Wish) -> anyhow::Result<()> {
        match wish {
            Wish::Say(body) => {
                self.view.unsent.push((self.view.room.clone(), body.clone()));
                self.write(Write::Say { room: self.view.room.clone(), body });
                self.draft = Some((String::new(), Instant::now()));
                self.store_draft();
            }
            Wish::Write(line) => {
                let is_typing = !line.is_empty();
                self.draft = Some((line, Instant::now() + DRAFT_AFTER));
                if is_typing {
                    self.tell_typing();
                }
            }
            Wish::Join(room) => self.join(room).await?,
            Wish::Older(rows) => self.feed.all.load_older(rows),
            Wish::Show => self.face.show_all(&self.view)?,
            Wish::Offline => self.client.pause(),
            Wish::Online => self.client.resume(),
            Wish::Quit | Wish::Look => {}
        }
        Ok(())
    }

    async fn join(&mut self, room: String) -> Result<(), Error> {
        if room == self.view.room {
            return Ok(());
        }
        self.store_draft();
        let feed = RoomFeed::open(&self.client, &self.view.user, &room).await?;
        std::mem::replace(&mut self.feed, feed).leave();
        (self.told_typing, self.told_draft, self.seen) = (None, None, 0);
        let view = &mut self.view;
        (view.messages, view.typing, view.draft) = (Vec::new(), Vec::new(), None);
        view.is_loading = true;
        if !view.rooms.iter().any(|known| known.name == room) {
            self.write(Write::Found { room: room.clone() });
        }
        self.view.room = room;
        Ok(())
    }

    /// The user has read what is shown of the room.
    fn mark_read(&mut self) {
        let room = self.view.rooms.iter().find(|room| room.name == self.view.room);
        let newest = self.view.messages.iter().map(|message| message.at).max();
        let (Some(room), Some(newest)) = (room, newest) else { return };
        if newest > room.seen.max(self.seen) {
            self.seen = newest;
            self.write(Write::Read { room: self.view.room.clone(), seen: newest });
        }
    }

    fn tell_typing(&mut self) {
        // Late, it would not be true any more.
        let is_heard = [StatusWord::Connected, StatusWord::Behind].contains(&self.view.status.word);
        let is_told = self.told_typing.is_some_and(|at| at.elapsed() < TYPING_EVERY);
        if is_heard && !is_told {
            self.told_typing = Some(Instant::now());
            self.write(Write::Type { room: self.view.room.clone() });
        }
    }

    fn store_draft(&mut self) {
        let Some((body, _)) = self.draft.take() else { return };
        let shown = self.view.draft.as_deref().unwrap_or_default();
        if body != self.told_draft.as_deref().unwrap_or(shown) {
            self.told_draft = Some(body.clone());
            self.view.draft = Some(body.clone()).filter(|body| !body.is_empty());
            self.write(Write::Draft { room: self.view.room.clone(), body });
        }
    }

    fn write(&mut self, write: Write) {
        self.waiting += 1;
        // The writer ends with this.
        let _ = self.writes.send(write);
    }

    fn written(&mut self, Written { write, outcome }: Written) {
        self.waiting -= 1;
        let said = match write {
            Write::Say { body, .. } => {
                // They are done in the order in which they were said.
                self.view.unsent.remove(0);
                Some(body)
            }
            _ => None,
        };
        match (outcome, said) {
            (Err(error), Some(body)) => self.tell(format!("not sent: {body}: {error}")),
            (Err(error), None) => self.tell(error.to_string()),
            (Ok(()), _) => {}
        }
    }

    /// Rows of a result. What is wrong with it is told once.
    fn read<T>(
        &mut self,
        result: &WatchResult,
        read: impl Fn(&sdk_core::Row<'_>) -> Result<T, Error>,
    ) -> Option<Vec<T>> {
        let rows = chat::read(result, read);
        rows.map_err(|error| self.tell(error.to_string())).ok()
    }

    fn tell(&mut self, notice: String) {
        if self.view.notices.last() != Some(&notice) {
            self.view.notices.push(notice);
        }
    }

    /// Waits for what is not written, unless there is no network for it, or the user wants to be
    /// gone.
    async fn leave(mut self) -> anyhow::Result<Vec<String>> {
        self.store_draft();
        let (closed, _) = mpsc::unbounded_channel();
        // The writer ends when it has done what is left.
        self.writes = closed;
        let until = Instant::now() + LEAVE_WITHIN;
        while self.is_worth_waiting() {
            if !self.view.unsent.is_empty() {
                self.tell("leaving, as soon as what was said is sent".to_owned());
                self.face.show(&self.view)?;
            }
            select! {
                Some(written) = self.written.recv() => self.written(written),
                Some(Wish::Quit) = self.face.wish() => break,
                () = sleep_until(until) => break,
                else => break,
            }
        }
        self.writer.abort();
        self.face.show(&self.view)?;
        self.feed.leave();
        self.client.close().await;
        let unsent = self.view.unsent.into_iter();
        Ok(unsent.map(|(room, body)| format!("not sent: [{room}] {body}")).collect())
    }

    /// What was said is worth a connection that there may be soon, without anybody's help. A draft
    /// is worth one that there is.
    fn is_worth_waiting(&self) -> bool {
        use StatusWord::{Behind, Connected, Connecting, Offline};
        match self.client.status().word {
            Connected | Behind => self.waiting > 0,
            Connecting | Offline => !self.view.unsent.is_empty(),
            _ => false,
        }
    }
}
