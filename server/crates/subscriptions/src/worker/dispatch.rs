//! What was applied goes to whom it concerns.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::frame::v1::shared;
use protocol::ids::{QueryNumber, SeqId};
use server_engine::{EngineError, ShardNumber};

use super::Worker;
use crate::commit::{Entry, LiveCommit, Told};
use crate::feed::{Feed, FeedKey, State};
use crate::host::Outbox;

/// What a query is told.
type Hit = (QueryNumber, Arc<Told>);

/// Whom a commit concerns by what it decided, and what they are told.
#[derive(Default)]
struct Deciding {
    /// By their key.
    feeds: Vec<(FeedKey, Bytes)>,
}

impl Deciding {
    fn concerns(&self, key: FeedKey) -> bool {
        self.feeds.binary_search_by_key(&key, |(feed, _)| *feed).is_ok()
    }
}

/// The last frame that was put together: most feeds are at the same position and get the same.
#[derive(Default)]
struct LastFrame {
    of: Option<(QueryNumber, SeqId)>,
    frame: Bytes,
}

impl<O: Outbox> Worker<O> {
    /// An entry of a shard's log was applied. Entries come in order; one that is missing is a jump.
    ///
    /// # Errors
    /// [`EngineError`] when what it did cannot be read: then all feeds of the shard go on from
    /// storage.
    pub fn applied(&mut self, entry: &Arc<Entry>) -> Result<(), EngineError> {
        let handled = self.handled(entry.shard);
        if entry.index <= handled {
            return Ok(());
        }
        if entry.index > handled + 1 {
            self.jumped(entry.shard, entry.index - 1);
        }
        self.look_at_tables(entry);
        for place in 0..entry.commits.len() {
            if let Err(error) = self.commit(entry, place) {
                self.jumped(entry.shard, entry.index);
                return Err(error);
            }
        }
        self.shards.entry(entry.shard).or_default().handled = entry.index;
        self.release(entry.shard);
        self.go_on();
        Ok(())
    }

    /// The worker was told nothing of the entries up to `index`: its queue was full, a snapshot was
    /// installed, or histories were replaced. Every feed that was before it goes on from storage.
    pub fn jumped(&mut self, shard: ShardNumber, index: u64) {
        if index <= self.handled(shard) {
            return;
        }
        let keys: Vec<FeedKey> = self.feeds.iter().map(|(key, _)| key).collect();
        for key in keys {
            let feed = &mut self.feeds[key];
            if feed.shard != shard {
                continue;
            }
            match &mut feed.state {
                State::Registering { hold, .. } => {
                    hold.commits = None;
                    feed.is_near = false;
                }
                State::Live => {
                    let position = self.index.lanes.get(&feed.lane).and_then(|lane| lane.position);
                    self.lag(key, position.map_or(SeqId::ZERO, |(_, seq)| seq));
                }
                State::Loading { position, .. } => {
                    let position = *position;
                    self.lag(key, position);
                }
                State::Ahead { until, seq } if *until < index => {
                    let position = *seq;
                    self.lag(key, position);
                }
                State::Ahead { .. }
                | State::Lagging { .. }
                | State::Asking { .. }
                | State::Waiting { .. } => {}
            }
        }
        let feeds = self.feeds.iter().filter(|(_, feed)| feed.shard == shard);
        for (_, feed) in feeds {
            if let Some(lane) = self.index.lanes.get_mut(&feed.lane) {
                lane.position = None;
            }
        }
        self.shards.entry(shard).or_default().handled = index;
        self.release(shard);
        self.go_on();
    }

    fn commit(&mut self, entry: &Arc<Entry>, place: usize) -> Result<(), EngineError> {
        let commit = &entry.commits[place];
        let Some(lane) = self.index.lanes.get_mut(&commit.commit.lane) else { return Ok(()) };
        let (before, after) = commit.span();
        if let Some((epoch, seq)) = lane.position {
            let is_next = epoch != commit.commit.epoch || seq == before;
            assert!(is_next, "a commit follows the one before it (INV-3)");
        }
        lane.position = Some((commit.commit.epoch, after));
        let held: Vec<FeedKey> = lane.held.iter().copied().collect();
        let concerned = lane.concerned(&commit.commit.changes, &entry.catalog)?;
        let mut hits: Vec<Hit> = Vec::new();
        for number in concerned {
            let query = &self.index.queries[&number].query;
            let told = commit.tell(query, &entry.catalog, &self.queries)?;
            hits.extend(told.map(|told| (number, told)));
        }
        let deciding = self.deciding(entry, place)?;
        for key in held {
            self.hold(key, entry, place);
        }
        self.fan_out(commit, &hits, &deciding);
        Ok(())
    }

    /// The live feeds whose writer waits for what a commit decided. Encoded where there is one.
    fn deciding(&self, entry: &Entry, place: usize) -> Result<Deciding, EngineError> {
        let commit = &entry.commits[place];
        let mut deciding = Deciding::default();
        let lane = self.index.lanes.get(&commit.commit.lane);
        let (Some(lane), Some(decided)) = (lane, &commit.commit.decided) else {
            return Ok(deciding);
        };
        for key in lane.writers_of(decided.client) {
            let feed = &self.feeds[key];
            if matches!(feed.state, State::Live) && feed.decided_in(commit).is_some() {
                let tail = commit.decided_tail(decided, &entry.catalog, &feed.actor)?;
                deciding.feeds.push((key, tail));
            }
        }
        Ok(deciding)
    }

    /// Keeps a commit for a feed that waits for a read.
    fn hold(&mut self, key: FeedKey, entry: &Arc<Entry>, place: usize) {
        let count_max = self.settings.held_commits_max;
        match &mut self.feeds[key].state {
            State::Registering { hold, .. } => drop(hold.keep(entry, place, count_max)),
            State::Loading { position, hold, .. } => {
                let position = *position;
                if !hold.keep(entry, place, count_max) {
                    self.lag(key, position);
                }
            }
            // It has what is in this commit.
            State::Ahead { .. } => {}
            State::Live | State::Lagging { .. } | State::Asking { .. } | State::Waiting { .. } => {}
        }
    }

    /// Gives a commit to all live feeds that it concerns.
    fn fan_out(&mut self, commit: &LiveCommit, hits: &[Hit], deciding: &Deciding) {
        let most = self.settings.queue_bytes_max;
        let (feeds, mut last, mut full) = (&mut self.feeds, LastFrame::default(), Vec::new());
        // A query whose last feed has begun to lag just before is not in the index any more.
        let queries = &self.index.queries;
        let feeds_of = |hit: &Hit| queries.get(&hit.0).into_iter().flat_map(|active| &active.feeds);
        let mut give = |key: FeedKey, hits: &[&Hit], tail: Option<&Bytes>| {
            let feed = &mut feeds[key];
            if matches!(feed.state, State::Live) && !feed.give(commit, hits, tail, most, &mut last)
            {
                full.push(key);
            }
        };
        let writes = |key: &FeedKey| deciding.concerns(*key);
        match hits {
            [] => {}
            [hit] => {
                for key in feeds_of(hit).filter(|key| !writes(key)) {
                    give(*key, &[hit], None);
                }
            }
            hits => {
                let mut of_feed: BTreeMap<FeedKey, Vec<&Hit>> = BTreeMap::new();
                for hit in hits {
                    for key in feeds_of(hit).filter(|key| !writes(key)) {
                        of_feed.entry(*key).or_default().push(hit);
                    }
                }
                for (key, hits) in of_feed {
                    give(key, &hits, None);
                }
            }
        }
        for (key, tail) in &deciding.feeds {
            let is_of =
                |hit: &&Hit| queries.get(&hit.0).is_some_and(|active| active.feeds.contains(key));
            give(*key, &hits.iter().filter(is_of).collect::<Vec<_>>(), Some(tail));
        }
        for key in full {
            self.lag(key, commit.span().0);
        }
    }

    /// Gives a commit that was kept to one live feed; says whether it took it.
    pub(super) fn give_kept(&mut self, key: FeedKey, entry: &Entry, place: usize) -> bool {
        let commit = &entry.commits[place];
        let feed = &mut self.feeds[key];
        let mut hits = Vec::new();
        for (number, held) in &feed.subscriptions {
            match commit.tell(&held.query, &entry.catalog, &self.queries) {
                Ok(told) => hits.extend(told.map(|told| (*number, told))),
                // Storage has it, and says what is wrong with it.
                Err(_) => {
                    self.lag(key, commit.span().0);
                    return false;
                }
            }
        }
        let decided = feed.decided_in(commit);
        let tail = |decided| commit.decided_tail(decided, &entry.catalog, &feed.actor);
        let decided = decided.map(tail).transpose();
        let Ok(decided) = decided else {
            self.lag(key, commit.span().0);
            return false;
        };
        let (hits, bytes_max) = (hits.iter().collect::<Vec<_>>(), self.settings.queue_bytes_max);
        let mut last = LastFrame::default();
        let is_taken = feed.give(commit, &hits, decided.as_ref(), bytes_max, &mut last);
        if !is_taken {
            self.lag(key, commit.span().0);
        }
        is_taken
    }

    /// The feed is up to date as of `position`, and goes on from storage when it has room.
    pub(super) fn lag(&mut self, key: FeedKey, position: SeqId) {
        self.unregister_all(key);
        let feed = &mut self.feeds[key];
        feed.is_near = false;
        feed.state = State::Lagging { position: Some(position) };
        self.agenda.push(key);
    }

    /// Lets those go on who waited for what has been handled.
    fn release(&mut self, shard: ShardNumber) {
        loop {
            let Some(state) = self.shards.get_mut(&shard) else { return };
            match state.due.first().copied() {
                Some((index, key)) if index <= state.handled => {
                    state.due.pop_first();
                    self.arrived(key, index);
                }
                _ => return,
            }
        }
    }

    /// The worker has handled the entry that a feed waited for.
    fn arrived(&mut self, key: FeedKey, index: u64) {
        let Some(feed) = self.feeds.get_mut(key) else { return };
        match &feed.state {
            State::Ahead { until, seq } if *until == index => {
                let (epoch, seq) = (feed.epoch, *seq);
                feed.state = State::Live;
                self.now_live(key, epoch, seq);
                self.agenda.push(key);
            }
            State::Loading { batch: Some((at, _)), .. } if *at == index => self.finish_load(key),
            _ => {}
        }
    }
}

impl<O: Outbox> Feed<O> {
    /// Queues what a commit means for this feed, and last what it `decided` of its writer: all of it
    /// or nothing. Says whether it did.
    fn give(
        &mut self,
        commit: &LiveCommit,
        hits: &[&Hit],
        decided: Option<&Bytes>,
        bytes_max: usize,
        last: &mut LastFrame,
    ) -> bool {
        let concerns = |hit: &&&Hit| {
            let floor = self.subscriptions.get(&hit.0).and_then(|held| held.floor);
            floor.is_some_and(|floor| floor.holds(hit.1.birth_max))
        };
        let mut hits = hits.iter().filter(concerns).peekable();
        let (previous, (_, seq)) = (self.told, commit.span());
        let mut frames: Vec<Bytes> = Vec::new();
        while let Some((number, told)) = hits.next() {
            let end = hits.peek().is_none();
            // A decision comes behind all of them.
            let end = end && decided.is_none();
            let is_only = frames.is_empty() && end;
            if !is_only || last.of != Some((*number, previous)) {
                let frame: Bytes = shared::delta(previous, seq, end, &told.tail).into();
                if !is_only {
                    frames.push(frame);
                    continue;
                }
                *last = LastFrame { of: Some((*number, previous)), frame };
            }
            frames.push(last.frame.clone());
        }
        if let (Some(tail), Some(writer)) = (decided, &self.writer) {
            let frame = shared::decided(&self.lane, writer.client, previous, seq, tail);
            frames.push(frame.into());
        }
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        if frames.is_empty() {
            return true;
        }
        // An empty queue takes any commit, or one that is larger than a queue would never arrive.
        let waiting = self.outbox.waiting();
        if waiting > 0 && waiting + bytes > bytes_max {
            return false;
        }
        for frame in frames {
            self.outbox.push(frame);
        }
        self.told = seq;
        true
    }
}
