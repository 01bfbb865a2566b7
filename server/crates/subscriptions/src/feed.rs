//! A feed: all subscriptions of one connection in one lane, which advance together.
//!
//! ```text
//!              ┌────── waiting ◄── asking ◄──────────┐ the node is not where the client was
//!              ▼                                     │
//!  ──────► lagging ──── room in the queue ────► registering ── a piece that is not the last ──┐
//!              ▲ ▲                                   │  ▲                                     │
//!              │ └───────────────────────────────────┼──┼─────────────────────────────────────┘
//!              │                        frontier sent│  │
//!              │ queue full, jump                    ▼  │
//!              ├─────────────────────── live ◄──── ahead│  until the worker is where the read was
//!              │                        │  ▲            │
//!              │ held too long, jump    ▼  │ batch sent │
//!              └─────────────────────── loading         │
//! ```
//!
//! `SPEC.md` has every state and event. What is held is bounded: see
//! [`Settings`](crate::Settings).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::ids::{Birth, Epoch, Floor, Lane, QueryNumber, RequestNumber, SeqId};
use server_engine::{Actor, Decided, ShardNumber};

use crate::commit::{Entry, LiveCommit};
use crate::host::ConnectionId;
use crate::query::LiveQuery;
use crate::read::{Batch, ReadId};
use crate::written::Writing;

/// The place of a feed in its worker.
pub(crate) type FeedKey = usize;

/// All subscriptions of one connection in one lane.
#[derive(Debug)]
pub(crate) struct Feed<O> {
    pub(crate) connection: ConnectionId,
    pub(crate) outbox: O,
    /// Who is connected.
    pub(crate) actor: Arc<Actor>,
    pub(crate) lane: Lane,
    pub(crate) shard: ShardNumber,
    /// The history that the client follows; `None` before it has heard of one.
    pub(crate) epoch: Option<Epoch>,
    /// Where the client was told that the lane is.
    pub(crate) told: SeqId,
    pub(crate) state: State,
    /// Whose decisions it brings.
    pub(crate) writer: Option<Writing>,
    /// Its client has asked for another frontier while one was being read: that one is of no use.
    pub(crate) is_asked_again: bool,
    /// Little can lie between its position and now: what is known of its writer, which no other feed
    /// reads, comes with the next piece.
    pub(crate) is_near: bool,
    /// In boxes: a map makes room for several, and most feeds have one.
    pub(crate) subscriptions: BTreeMap<QueryNumber, Box<Subscription>>,
    /// How many changes this resume has read.
    pub(crate) resumed: usize,
    /// How often a resume was cut, as the client says.
    pub(crate) cuts: u8,
    /// The subscription that got the last batch: the next one is another's turn.
    pub(crate) loaded_last: Option<QueryNumber>,
}

/// Where a feed is.
#[derive(Debug)]
pub(crate) enum State {
    /// Up to date as of a position, and not registered.
    Lagging {
        position: Option<SeqId>,
    },
    /// The node is not where the client was, and the leader is asked who of them is right.
    Asking {
        position: Option<SeqId>,
        /// The epoch that the node has.
        local: Option<Epoch>,
    },
    /// The node has not come as far as the client, or could not read.
    Waiting {
        position: Option<SeqId>,
    },
    /// Held while what lies between its position and now is read.
    Registering {
        position: Option<SeqId>,
        hold: Hold,
    },
    /// It was told of a frontier that the worker has not come to: commits up to it are skipped.
    Ahead {
        until: u64,
        seq: SeqId,
    },
    Live,
    /// Held while a batch or a digest is read.
    Loading {
        /// Where the lane was at the hold.
        position: SeqId,
        query: QueryNumber,
        /// Which subscription of that query: it may have ended, and another begun.
        subscription: u64,
        hold: Hold,
        /// What was read, and the entry that the worker has to come to first.
        batch: Option<(u64, Arc<Batch>)>,
    },
}

/// Commits wait until a read is done.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) read: ReadId,
    /// What the worker had handled: the read must not be older.
    pub(crate) since: u64,
    /// Commits since then, by their place in the entry; `None` when they were too many.
    pub(crate) commits: Option<Vec<(Arc<Entry>, usize)>>,
}

/// A subscription of a feed.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Never given twice.
    pub(crate) id: u64,
    pub(crate) query: Arc<LiveQuery>,
    pub(crate) text: Arc<str>,
    /// The subscribe that has begun it.
    pub(crate) request: RequestNumber,
    /// Down to where it is loaded; `None` before the first batch.
    pub(crate) floor: Option<Floor>,
    /// How many rows are wanted in all; all that there are without.
    pub(crate) window: Option<u64>,
    /// How many of them are not loaded yet.
    pub(crate) missing: Option<u64>,
    pub(crate) batch_rows: u32,
    /// Its client has asked for a digest of the rows born before, or of the last born ones, and was not
    /// answered.
    pub(crate) digest: Option<Option<Birth>>,
}

impl State {
    /// What it is called in `SPEC.md`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Lagging { .. } => "lagging",
            Self::Asking { .. } => "asking",
            Self::Waiting { .. } => "waiting",
            Self::Registering { .. } => "registering",
            Self::Ahead { .. } => "ahead",
            Self::Live => "live",
            Self::Loading { .. } => "loading",
        }
    }

    /// Whether it waits to read what it has missed.
    pub(crate) fn is_lagging(&self) -> bool {
        matches!(self, Self::Lagging { .. } | Self::Asking { .. } | Self::Waiting { .. })
    }

    /// Whether its queries are in the index.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Live | Self::Loading { .. })
    }
}

impl Subscription {
    /// Whether rows are still to be loaded.
    pub(crate) fn is_loading(&self) -> bool {
        match self.floor {
            // Also where no row is wanted: the client waits for a floor.
            None => true,
            Some(floor) => self.missing != Some(0) && floor != Floor::COMPLETE,
        }
    }

    /// Whether a digest can be read. Before there is a floor there is nothing to be compared.
    pub(crate) fn has_digest(&self) -> bool {
        self.digest.is_some() && self.floor.is_some()
    }

    /// It is loaded anew.
    pub(crate) fn reset(&mut self) {
        self.floor = None;
        self.missing = self.window;
    }
}

impl Hold {
    pub(crate) fn new(read: ReadId, since: u64) -> Self {
        Self { read, since, commits: Some(Vec::new()) }
    }

    /// Keeps a commit; says whether there was room.
    pub(crate) fn keep(&mut self, entry: &Arc<Entry>, place: usize, count_max: usize) -> bool {
        match &mut self.commits {
            Some(commits) if commits.len() < count_max => {
                commits.push((Arc::clone(entry), place));
                true
            }
            commits => {
                *commits = None;
                false
            }
        }
    }
}

impl<O> Feed<O> {
    /// The subscriptions that hold something, with their floors.
    pub(crate) fn held(&self) -> Vec<(Arc<LiveQuery>, Floor)> {
        self.subscriptions
            .values()
            .filter_map(|held| Some((Arc::clone(&held.query), held.floor?)))
            .collect()
    }

    /// What a commit decided, where that is for this feed to tell.
    pub(crate) fn decided_in<'c>(&self, commit: &'c LiveCommit) -> Option<&'c Decided> {
        let writer = self.writer.as_ref()?;
        let decided = commit.commit.decided.as_ref()?;
        (decided.client == writer.client && decided.user == self.actor.user).then_some(decided)
    }

    /// The next subscription that wants rows, or to be compared: rows come first.
    pub(crate) fn loads_next(&self) -> Option<QueryNumber> {
        self.next(Subscription::is_loading).or_else(|| self.next(Subscription::has_digest))
    }

    fn next(&self, is_wanted: impl Fn(&Subscription) -> bool) -> Option<QueryNumber> {
        let wants = |range: (QueryNumber, &Subscription)| is_wanted(range.1).then_some(range.0);
        let all = || self.subscriptions.iter().map(|(number, held)| (*number, &**held));
        let behind = all().filter(|(number, _)| Some(*number) > self.loaded_last).find_map(wants);
        behind.or_else(|| all().find_map(wants))
    }
}
