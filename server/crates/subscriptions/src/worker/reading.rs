//! Reads: asked for, joined, and answered.

use protocol::ids::{
    Birth, ClientId, Epoch, Floor, Lane, MutationNumber, QueryNumber, SeqId, TenantId,
};
use server_engine::Role;

use super::Worker;
use crate::feed::{FeedKey, State};
use crate::host::{Action, Outbox};
use crate::read::{Answer, Found, Read, ReadId, ReadKind};
use crate::written::Writer;

/// Reads that are equal are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReadKey {
    Position(Lane, Option<WriterKey>),
    CatchUp(Lane, Epoch, SeqId, Vec<(QueryNumber, Floor)>, Option<WriterKey>),
    Load(QueryNumber, Option<Birth>, usize),
    Digest(QueryNumber, Floor, Option<Birth>),
}

/// What is known of a writer is read for that one alone.
type WriterKey = (TenantId, Role, ClientId, MutationNumber);

#[derive(Debug)]
pub(super) struct Pending {
    key: ReadKey,
    kind: ReadKind,
    feeds: Vec<FeedKey>,
}

impl<O: Outbox> Worker<O> {
    /// Asks for a read, or joins one that was asked for and is not done.
    pub(super) fn ask(&mut self, key: FeedKey, kind: ReadKind) -> ReadId {
        let feed = &self.feeds[key];
        let read_key = read_key(&feed.lane, &kind);
        if let Some(id) = self.read_of.get(&read_key)
            && let Some(pending) = self.reads.get_mut(id)
        {
            pending.feeds.push(key);
            return *id;
        }
        self.last_read += 1;
        let id = ReadId(self.last_read);
        let (shard, lane) = (feed.shard, feed.lane.clone());
        self.actions.push(Action::Read(Read { id, shard, lane, kind: kind.clone() }));
        self.read_of.insert(read_key.clone(), id);
        self.reads.insert(id, Pending { key: read_key, kind, feeds: vec![key] });
        id
    }

    /// A read that was asked for is done.
    pub fn answer(&mut self, id: ReadId, answer: &Answer) {
        let Some(Pending { key: read_key, kind, feeds }) = self.reads.remove(&id) else { return };
        self.read_of.remove(&read_key);
        for key in feeds {
            self.answered(key, id, &kind, answer);
        }
        self.go_on();
    }

    /// A read could not be done: who waits for it asks again after a [`Worker::tick`].
    pub fn unread(&mut self, id: ReadId) {
        let Some(Pending { key: read_key, feeds, .. }) = self.reads.remove(&id) else { return };
        self.read_of.remove(&read_key);
        for key in feeds {
            let position = match self.feeds.get(key).map(|feed| &feed.state) {
                Some(State::Registering { position, hold }) if hold.read == id => *position,
                Some(State::Loading { position, hold, .. }) if hold.read == id => Some(*position),
                _ => continue,
            };
            self.wait(key, position);
        }
    }

    fn answered(&mut self, key: FeedKey, id: ReadId, kind: &ReadKind, answer: &Answer) {
        let Some(feed) = self.feeds.get_mut(key) else { return };
        if let State::Registering { position, hold } = &feed.state
            && hold.read == id
            && feed.is_asked_again
        {
            let position = *position;
            self.again(key, position);
            return;
        }
        let (hold, is_load) = match &mut feed.state {
            State::Registering { hold, .. } => (hold, false),
            State::Loading { hold, .. } => (hold, true),
            _ => return,
        };
        if hold.read != id {
            return;
        }
        // Joined later than its snapshot was taken: it lacks what this feed was not given.
        if answer.index < hold.since {
            let read = self.ask(key, kind.clone());
            if let State::Registering { hold, .. } | State::Loading { hold, .. } =
                &mut self.feeds[key].state
            {
                hold.read = read;
            }
        } else if let Found::Other(tables) = &answer.found {
            self.read_of_others(key, tables);
        } else if is_load {
            self.loaded(key, answer);
        } else {
            self.caught(key, kind, answer);
        }
    }
}

fn read_key(lane: &Lane, kind: &ReadKind) -> ReadKey {
    match kind {
        ReadKind::Position { writer } => {
            ReadKey::Position(lane.clone(), writer.as_ref().map(writer_key))
        }
        ReadKind::CatchUp { epoch, position, queries, writer, .. } => {
            let queries = queries.iter().map(|(query, floor)| (query.number, *floor)).collect();
            let writer = writer.as_ref().map(writer_key);
            ReadKey::CatchUp(lane.clone(), *epoch, *position, queries, writer)
        }
        ReadKind::Load { query, below, limits } => ReadKey::Load(query.number, *below, limits.rows),
        ReadKind::Digest { query, floor, below, .. } => {
            ReadKey::Digest(query.number, *floor, *below)
        }
    }
}

fn writer_key(writer: &Writer) -> WriterKey {
    let (actor, writing) = (&writer.actor, writer.writing);
    (actor.user.clone(), actor.role, writing.client, writing.confirmed)
}
