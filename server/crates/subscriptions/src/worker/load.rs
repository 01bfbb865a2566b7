//! A load is inserted into its feed: the batch goes out between the commits that it has and those
//! that it has not. So does a digest, and both ends compare the same moment.

use std::sync::Arc;

use protocol::ids::Birth;
use server_engine::LoadLimits;

use super::Worker;
use crate::commit::Entry;
use crate::feed::{FeedKey, Hold, State, Subscription};
use crate::host::Outbox;
use crate::read::{Answer, Brings, Found, ReadKind};

impl<O: Outbox> Worker<O> {
    /// Holds a live feed and reads the next batch or digest, if one is wanted.
    pub(super) fn load_next(&mut self, key: FeedKey) {
        let Some(number) = self.feeds[key].loads_next() else { return };
        let held = &self.feeds[key].subscriptions[&number];
        let (subscription, kind) = (held.id, self.load_of(held));
        self.feeds[key].loaded_last = Some(number);
        let Some(lane) = self.index.lanes.get_mut(&self.feeds[key].lane) else { return };
        let Some((_, position)) = lane.position else { return };
        lane.held.insert(key);
        let since = self.handled(self.feeds[key].shard);
        let hold = Hold::new(self.ask(key, kind), since);
        let (query, batch) = (number, None);
        self.feeds[key].state = State::Loading { position, query, subscription, hold, batch };
    }

    fn load_of(&self, held: &Subscription) -> ReadKind {
        let limits = LoadLimits {
            rows: self.settings.batch_rows_max as usize,
            bytes: self.settings.batch_bytes_max,
            examined: self.settings.batch_examined_max,
        };
        let query = Arc::clone(&held.query);
        if let (false, Some(floor), Some(below)) = (held.is_loading(), held.floor, held.digest) {
            return ReadKind::Digest { query, floor, below, limits };
        }
        let wanted = held.missing.map_or(usize::MAX, |m| usize::try_from(m).unwrap_or(usize::MAX));
        let limits = LoadLimits { rows: wanted.min(held.batch_rows as usize), ..limits };
        let below = held.floor.map(|floor| Birth(floor.0));
        ReadKind::Load { query, below, limits }
    }

    /// A batch was read.
    pub(super) fn loaded(&mut self, key: FeedKey, answer: &Answer) {
        let shard = self.feeds[key].shard;
        let handled = self.handled(shard);
        let State::Loading { query, batch, .. } = &mut self.feeds[key].state else { return };
        match &answer.found {
            Found::Load(Ok(read)) => {
                *batch = Some((answer.index, Arc::clone(read)));
                // Storage is ahead of the worker: what it has in addition must have gone out first.
                if answer.index <= handled {
                    self.finish_load(key);
                } else {
                    self.shards.entry(shard).or_default().due.insert((answer.index, key));
                }
            }
            Found::Load(Err(_)) => {
                let query = *query;
                self.refuse(key, query);
                self.finish_load(key);
            }
            Found::Position(..) | Found::CatchUp(_) | Found::Other(_) => {}
        }
    }

    /// Sends the batch at its place among the commits that were kept.
    pub(super) fn finish_load(&mut self, key: FeedKey) {
        let feed = &mut self.feeds[key];
        let State::Loading { position, query, subscription, hold, batch } =
            std::mem::replace(&mut feed.state, State::Live)
        else {
            return;
        };
        if let Some(lane) = self.index.lanes.get_mut(&feed.lane) {
            lane.held.remove(&key);
        }
        let commits = hold.commits.unwrap_or_default();
        let index = batch.as_ref().map_or(u64::MAX, |(index, _)| *index);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for kept in commits {
            if kept.0.index <= index { before.push(kept) } else { after.push(kept) }
        }
        let position =
            before.last().map_or(position, |(entry, place)| entry.commits[*place].span().1);
        if !self.give_all_kept(key, before.into_iter()) {
            return;
        }
        let feed = &mut self.feeds[key];
        if let Some((_, batch)) = batch
            && let Some(held) = feed.subscriptions.get_mut(&query)
            && held.id == subscription
        {
            if Some(batch.epoch) != feed.epoch {
                self.lag(key, position);
                return;
            }
            match batch.brings {
                Brings::Rows { floor, rows } => {
                    held.floor = Some(floor);
                    held.missing = held.missing.map(|missing| missing.saturating_sub(rows));
                }
                // Another one may have been asked for since.
                Brings::Digest { below } if held.digest == Some(below) => held.digest = None,
                Brings::Digest { .. } => {}
            }
            feed.told = batch.seq;
            feed.outbox.push(batch.frame.clone());
        }
        self.give_all_kept(key, after.into_iter());
        self.agenda.push(key);
    }

    /// Gives commits that were kept, until one finds no room.
    pub(super) fn give_all_kept(
        &mut self,
        key: FeedKey,
        mut commits: impl Iterator<Item = (Arc<Entry>, usize)>,
    ) -> bool {
        commits.all(|(entry, place)| self.give_kept(key, &entry, place))
    }
}
