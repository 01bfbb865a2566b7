//! The loop: what the user wants goes to the SDK, what the replica has goes to the user.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use futures::stream::BoxStream;
use sdk_core::{
    Client, Error, MutationState, Rejection, ResultState, Status, StatusWord, WatchResult,
};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use crate::chat::{self, Lists, RoomFeed};
use crate::view::{Face, Mention, Message, Room, View, Wish};

/// Others are told no more often that the user is typing.
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// A draft is stored when nothing more was typed for so long.
const DRAFT_AFTER: Duration = Duration::from_secs(1);

/// Whoever leaves waits no longer until what he has said is sent. It is kept otherwise.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct App<F> {
    client: Client,
    face: F,
    view: View,
    lists: Lists,
    feed: RoomFeed,
    statuses: BoxStream<'static, Status>,
    rejected: BoxStream<'static, Rejection>,
    /// What the user is writing, and when it is stored.
    draft: Option<(String, Instant)>,
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
    Rejected(Rejection),
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
            notices: Vec::new(),
        };
        let (statuses, rejected) = (client.statuses().boxed(), client.rejected().boxed());
        let app = Self {
            client,
            face,
            view,
            lists,
            feed,
            statuses,
            rejected,
            draft: None,
            told_typing: None,
            seen: 0,
        };
        app.found(room);
        Ok(app)
    }

    /// Runs until the user leaves. Gives what he has said and waits to be sent.
    pub(crate) async fn run(mut self) -> anyhow::Result<Vec<String>> {
        loop {
            self.face.show(&self.view)?;
            match self.next().await {
                Happened::Wish(None | Some(Wish::Quit)) => break,
                Happened::Wish(Some(wish)) => {
                    if let Err(error) = self.wish(wish).await {
                        self.tell(format!("{error:#}"));
                    }
                }
                Happened::Rooms(result) => {
                    if let Some(rooms) = self.read(&result, Room::read) {
                        self.view.rooms = rooms;
                        self.mark_read().await;
                    }
                }
                Happened::Messages(result) => {
                    if let Some(messages) = self.read(&result, Message::read) {
                        self.view.messages = messages;
                        self.view.is_loading =
                            [ResultState::Loading, ResultState::Cached].contains(&result.state);
                        self.mark_read().await;
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
                Happened::Rejected(rejection) => self.rejected(rejection).await,
                Happened::DraftIsDue => self.store_draft().await,
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
            Some(rejection) = self.rejected.next() => Happened::Rejected(rejection),
            () = draft_is_due => Happened::DraftIsDue,
        }
    }

    async fn wish(&mut self, wish: Wish) -> anyhow::Result<()> {
        match wish {
            Wish::Say(body) => {
                let said = chat_conversation::say(&self.client, &self.view.room, &body).await;
                said.with_context(|| format!("not said: {body}"))?;
                self.draft = Some((String::new(), Instant::now()));
                self.store_draft().await;
            }
            Wish::Write(line) => {
                let is_typing = !line.is_empty();
                self.draft = Some((line, Instant::now() + DRAFT_AFTER));
                if is_typing {
                    self.tell_typing().await;
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
        self.store_draft().await;
        let feed = RoomFeed::open(&self.client, &self.view.user, &room).await?;
        std::mem::replace(&mut self.feed, feed).leave();
        (self.told_typing, self.seen) = (None, 0);
        let view = &mut self.view;
        (view.messages, view.typing, view.draft) = (Vec::new(), Vec::new(), None);
        view.is_loading = true;
        if !view.rooms.iter().any(|known| known.name == room) {
            self.found(&room);
        }
        self.view.room = room;
        Ok(())
    }

    /// Has a room founded, when there is a connection. The user is told when it cannot be.
    fn found(&self, room: &str) {
        let (client, room) = (self.client.clone(), room.to_owned());
        tokio::spawn(async move { chat_conversation::found(&client, &room).await });
    }

    /// The user has read what is shown of the room.
    async fn mark_read(&mut self) {
        let room = self.view.rooms.iter().find(|room| room.name == self.view.room);
        let newest = self.view.messages.iter().map(|message| message.at).max();
        let (Some(room), Some(newest)) = (room, newest) else { return };
        if newest > room.seen.max(self.seen) {
            self.seen = newest;
            let read = chat::read_to(&self.client, &self.view.room, newest).await;
            self.tell_if_wrong(read.err());
        }
    }

    async fn tell_typing(&mut self) {
        // Late, it would not be true any more.
        let is_heard = [StatusWord::Connected, StatusWord::Behind].contains(&self.view.status.word);
        let is_told = self.told_typing.is_some_and(|at| at.elapsed() < TYPING_EVERY);
        if is_heard && !is_told {
            self.told_typing = Some(Instant::now());
            // It does not matter if there was no connection any more.
            let _ = chat::typing(&self.client, &self.view.room).await;
        }
    }

    async fn store_draft(&mut self) {
        let Some((body, _)) = self.draft.take() else { return };
        if body != self.view.draft.as_deref().unwrap_or_default() {
            let stored = chat::draft(&self.client, &self.view.room, &body).await;
            self.view.draft = Some(body).filter(|body| !body.is_empty());
            self.tell_if_wrong(stored.err());
        }
    }

    /// The server has refused something. The user is told what, and it is dealt with.
    async fn rejected(&mut self, rejection: Rejection) {
        let MutationState::Rejected { reason, .. } = &rejection.state else { return };
        let said = rejection.operations.iter().filter(|it| it.table == "chat.messages");
        let bodies = said.flat_map(|it| it.changes.iter().filter(|(name, _)| name == "body"));
        for (_, body) in bodies {
            self.tell(format!("not said: {body:?}: {reason}"));
        }
        let discarded = self.client.discard(rejection.id).await;
        self.tell_if_wrong(discarded.err());
    }

    fn tell_if_wrong(&mut self, error: Option<Error>) {
        if let Some(error) = error {
            self.tell(error.to_string());
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

    /// Waits until what was said is sent, where there is a network for it, or the user wants to be gone.
    async fn leave(mut self) -> anyhow::Result<Vec<String>> {
        self.store_draft().await;
        self.face.show(&self.view)?;
        if [StatusWord::Connected, StatusWord::Behind].contains(&self.client.status().word) {
            let sent = async {
                // What is not sent is told below.
                let _ = self.client.wait_for_sync(LEAVE_WITHIN).await;
            };
            let is_gone = async { while self.face.wish().await != Some(Wish::Quit) {} };
            select! {
                () = sent => {}
                () = is_gone => {}
            }
        }
        let waiting = chat::waiting(&self.client).await.unwrap_or_default();
        self.feed.leave();
        self.client.close().await;
        let kept = "is sent when the chat is opened again";
        Ok(waiting.iter().map(|(room, body)| format!("[{room}] {body}: {kept}")).collect())
    }
}
