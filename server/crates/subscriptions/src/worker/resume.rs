//! A feed comes to be up to date: what it missed is read in pieces, the last of them while it is
//! held, so that nothing comes between.

use std::sync::Arc;

use bytes::Bytes;
use protocol::frame::v1::{Frontier, Reset, ServerFrame};
use protocol::ids::{Epoch, Lane, QueryNumber, SeqId};
use server_engine::LaneView;

use super::{Worker, send};
use crate::feed::{FeedKey, Hold, State};
use crate::host::{Action, ConnectionId, Outbox};
use crate::read::{Answer, Caught, Found, PieceFrames, ReadKind};
use crate::written::Writer;

impl<O: Outbox> Worker<O> {
    /// Holds the feed and reads what lies between its position and now.
    pub(super) fn register(&mut self, key: FeedKey, position: Option<SeqId>) {
        let feed = &mut self.feeds[key];
        if feed.cuts >= self.settings.resume_cuts_max {
            feed.cuts = 0;
            self.reset_all(key);
        }
        let feed = &self.feeds[key];
        let queries = feed.held();
        let actor = &feed.actor;
        // Many feeds may come back at once, all from the same position: what they read together is
        // without writers, as long as it may be much.
        let writing = feed.writer.filter(|_| feed.is_near || queries.is_empty());
        let writer = writing.map(|writing| Writer { actor: Arc::clone(actor), writing });
        let (kind, position) = match (position, feed.epoch) {
            // Of a writer also without queries: of another history than its client's there is
            // nothing to be told (rule 7).
            (Some(position), Some(epoch)) if !queries.is_empty() || feed.writer.is_some() => {
                let limits = self.settings.piece;
                (ReadKind::CatchUp { epoch, position, queries, limits, writer }, Some(position))
            }
            // Nothing is held that could have been missed.
            _ => (ReadKind::Position { writer }, None),
        };
        let since = self.handled(feed.shard);
        if let Some(lane) = self.index.lanes.get_mut(&feed.lane) {
            lane.held.insert(key);
        }
        let hold = Hold::new(self.ask(key, kind), since);
        let feed = &mut self.feeds[key];
        feed.is_asked_again = false;
        feed.state = State::Registering { position, hold };
    }

    /// What was missed was read.
    pub(super) fn caught(&mut self, key: FeedKey, kind: &ReadKind, answer: &Answer) {
        let feed = &mut self.feeds[key];
        let State::Registering { position, hold } = &feed.state else { return };
        let (position, was_held) = (*position, hold.commits.is_some());
        let is_whole = feed.writer.is_none() || has_writer(kind);
        match &answer.found {
            Found::Position(lane, frontier) => {
                if was_held && is_whole {
                    self.arrive(key, lane.epoch, lane.seq, answer.index, frontier.as_ref());
                } else {
                    self.again(key, None);
                }
            }
            Found::CatchUp(Caught::Piece(piece)) => {
                let epoch = feed.epoch;
                for frame in &piece.frames {
                    feed.outbox.push(frame.clone());
                }
                feed.resumed += piece.changes;
                feed.is_near = piece.position == piece.seq;
                match epoch.filter(|_| was_held && piece.position == piece.seq) {
                    Some(epoch) if is_whole => {
                        self.arrive(key, epoch, piece.seq, answer.index, piece.frontier.as_ref());
                    }
                    _ => self.go_further(key, piece),
                }
            }
            Found::CatchUp(Caught::Reset(places)) => {
                self.reset(key, &numbers(kind, places));
                self.again(key, position);
            }
            Found::CatchUp(Caught::Gone(places)) => {
                for number in numbers(kind, places) {
                    self.refuse(key, number);
                }
                self.again(key, position);
            }
            Found::CatchUp(Caught::OtherEpoch(lane)) => {
                self.ask_leader(key, position, Some(lane.epoch))
            }
            Found::CatchUp(Caught::Behind) => {
                let epoch = feed.epoch;
                self.ask_leader(key, position, epoch);
            }
            Found::Load(_) | Found::Other(_) => {}
        }
    }

    /// A piece that was not the last. One that has become too long is a load instead, which goes on
    /// where it is cut.
    fn go_further(&mut self, key: FeedKey, piece: &PieceFrames) {
        let rows = usize::try_from(piece.rows / 4).unwrap_or(usize::MAX);
        if self.feeds[key].resumed > self.settings.resume_changes_max.max(rows) {
            self.reset_all(key);
        }
        self.again(key, Some(piece.position));
    }

    /// Registers it once more.
    pub(super) fn again(&mut self, key: FeedKey, position: Option<SeqId>) {
        self.unregister_all(key);
        self.feeds[key].state = State::Lagging { position };
        self.agenda.push(key);
    }

    /// The client has all up to `seq`, which the entry `index` of the log was the last to move.
    fn arrive(
        &mut self,
        key: FeedKey,
        epoch: Epoch,
        seq: SeqId,
        index: u64,
        frontier: Option<&Bytes>,
    ) {
        let shard = self.feeds[key].shard;
        let is_ahead = self.handled(shard) < index;
        let feed = &mut self.feeds[key];
        let State::Registering { hold, .. } = &mut feed.state else { return };
        let commits = hold.commits.take().unwrap_or_default();
        match frontier {
            Some(frontier) => feed.outbox.push(frontier.clone()),
            None => {
                let frontier = Frontier { lane: feed.lane.clone(), epoch, seq, writer: None };
                send(&feed.outbox, &ServerFrame::Frontier(frontier));
            }
        }
        (feed.epoch, feed.told, feed.resumed, feed.cuts) = (Some(epoch), seq, 0, 0);
        feed.is_near = false;
        // Commits up to there are skipped by their place in the log: after one that only decided
        // something the SeqId is the same, and after a restore it is lower.
        feed.state = if is_ahead { State::Ahead { until: index, seq } } else { State::Live };
        for held in feed.subscriptions.values() {
            self.index.register(&held.query, key);
        }
        if is_ahead {
            self.shards.entry(shard).or_default().due.insert((index, key));
            return;
        }
        self.now_live(key, Some(epoch), seq);
        self.give_all_kept(key, commits.into_iter().filter(|(entry, _)| entry.index > index));
        self.agenda.push(key);
    }

    /// A feed is where the worker is.
    pub(super) fn now_live(&mut self, key: FeedKey, epoch: Option<Epoch>, seq: SeqId) {
        let feed = &self.feeds[key];
        if let Some(lane) = self.index.lanes.get_mut(&feed.lane) {
            lane.held.remove(&key);
            // Commits that came since are in it already.
            lane.position = lane.position.or(epoch.map(|epoch| (epoch, seq)));
        }
    }

    /// This node is not where the client was: it is behind, or the client's history is no more.
    fn ask_leader(&mut self, key: FeedKey, position: Option<SeqId>, local: Option<Epoch>) {
        self.unregister_all(key);
        let feed = &mut self.feeds[key];
        feed.is_near = false;
        feed.state = State::Asking { position, local };
        let (connection, shard, lane) = (feed.connection, feed.shard, feed.lane.clone());
        self.actions.push(Action::AskLeader { connection, shard, lane });
    }

    /// Where the leader of a lane is, or `None` when there is no answer.
    pub fn leader(&mut self, connection: ConnectionId, lane: &Lane, leader: Option<LaneView>) {
        let Some(connection) = self.connections.get(&connection) else { return };
        let Some(key) = connection.feeds.get(lane).copied() else { return };
        self.led(key, leader);
        self.go_on();
    }

    /// The leader knows. As long as this node is behind it too, it only waits: a reset before it
    /// knows of a new history would be followed by another.
    fn led(&mut self, key: FeedKey, leader: Option<LaneView>) {
        let feed = &self.feeds[key];
        let State::Asking { position, local } = feed.state else { return };
        let is_ours = leader.is_some_and(|leader| {
            let is_other = feed.epoch != Some(leader.epoch);
            let is_lost = !is_other && position > Some(leader.seq);
            is_lost || (is_other && local == Some(leader.epoch))
        });
        if is_ours {
            self.reset_all(key);
            self.again(key, None);
        } else {
            self.wait(key, position);
        }
    }

    /// Until the next [`Worker::tick`].
    pub(super) fn wait(&mut self, key: FeedKey, position: Option<SeqId>) {
        self.unregister_all(key);
        let feed = &mut self.feeds[key];
        feed.is_near = false;
        feed.state = State::Waiting { position };
        self.waiting.push(key);
    }

    /// Loads these queries anew.
    fn reset(&mut self, key: FeedKey, numbers: &[QueryNumber]) {
        let feed = &mut self.feeds[key];
        for number in numbers {
            let Some(held) = feed.subscriptions.get_mut(number) else { continue };
            held.reset();
            send(&feed.outbox, &ServerFrame::Reset(Reset { query: *number }));
        }
    }

    fn reset_all(&mut self, key: FeedKey) {
        let held = self.feeds[key].held();
        let numbers: Vec<_> = held.iter().map(|(query, _)| query.number).collect();
        self.feeds[key].resumed = 0;
        self.reset(key, &numbers);
    }
}

/// Whether what is known of a writer comes with a read.
fn has_writer(kind: &ReadKind) -> bool {
    match kind {
        ReadKind::Position { writer } | ReadKind::CatchUp { writer, .. } => writer.is_some(),
        ReadKind::Load { .. } | ReadKind::Digest { .. } => false,
    }
}

/// The queries of a resume, by their places.
fn numbers(kind: &ReadKind, places: &[usize]) -> Vec<QueryNumber> {
    let ReadKind::CatchUp { queries, .. } = kind else { return Vec::new() };
    places.iter().filter_map(|place| Some(queries.get(*place)?.0.number)).collect()
}
