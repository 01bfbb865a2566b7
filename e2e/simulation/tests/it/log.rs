//! The log that all nodes apply, and what the lanes were at each of their positions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::codec;
use protocol::ids::{Birth, Epoch, Lane, SeqId, TableId};
use protocol::value::{Row, Value};
use server_engine::{
    Applied, Command, Commit, Entry, LAYOUT, Outcome, Shard, ShardNumber, Slot, Stores, Time,
};
use server_storage::{MemoryStore, Store};

use crate::tables::{ID, M, T, U, lane_of, table};
use crate::writes::{History, Writes};

pub(crate) const SHARD: ShardNumber = ShardNumber(1);
/// The first moment.
const BEGIN: Time = Time(1_000_000_000);

/// Longer than the days by which it is remembered when a client was heard of.
const A_WHILE: i64 = 3 * 24 * 60 * 60 * 1_000_000;

/// An item of the log.
pub(crate) enum Item {
    Entry(Vec<u8>),
    /// The rows are those of an earlier time, under a new epoch.
    Restore(Arc<MemoryStore>, Epoch),
}

/// A shard on a store in memory.
pub(crate) struct Rows {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) shard: Shard,
}

impl Rows {
    pub(crate) fn open(store: MemoryStore) -> Self {
        let stores = Arc::new(Stores::open(&store).unwrap());
        let shard = Shard::open(&*store.snapshot(), SHARD, stores).unwrap();
        Self { store: Arc::new(store), shard }
    }

    pub(crate) fn run(&mut self, bytes: &[u8]) -> Applied {
        let snapshot = self.store.snapshot();
        let mut applied = self.shard.apply(&*snapshot, &Entry::decode(bytes).unwrap()).unwrap();
        drop(snapshot);
        self.store.write(std::mem::take(&mut applied.batch)).unwrap();
        applied
    }

    /// Applies an item. `None` when what it did cannot be said as commits.
    pub(crate) fn apply(&mut self, item: &Item) -> Option<Vec<Commit>> {
        match item {
            Item::Entry(bytes) => Some(self.run(bytes).commits),
            Item::Restore(backup, epoch) => {
                *self = Self::open(backup.fork());
                let entry = Entry::new(BEGIN, vec![Command::NewEpoch(*epoch)]);
                self.run(&entry.encode());
                None
            }
        }
    }
}

/// The rows of a lane at one moment.
pub(crate) type Contents = BTreeMap<(TableId, Birth), Row>;

/// Where each lane is.
pub(crate) type Positions = BTreeMap<Lane, (Epoch, SeqId)>;

/// The log, with a node that has all of it, and all that ever was.
pub(crate) struct Log {
    pub(crate) items: Vec<Item>,
    pub(crate) newest: Rows,
    /// The contents of each lane at each of its positions.
    pub(crate) moments: HashMap<(Lane, Epoch, SeqId), Contents>,
    /// Where each lane is.
    pub(crate) lanes: Positions,
    /// What time it is.
    pub(crate) now: Time,
    /// What clients have written, and what became of it.
    pub(crate) writes: Writes,
    backups: Vec<(Arc<MemoryStore>, Positions, History)>,
    epochs: u8,
}

const FIRST: Epoch = Epoch::from_bytes([1; 16]);

impl Log {
    pub(crate) fn new() -> Self {
        let lanes = [lane_of(T), lane_of(M)];
        let slots = lanes.iter().map(Slot::of).collect();
        let mut commands = vec![Command::Found { slots, epoch: FIRST }];
        commands.extend([T, U, M].map(|id| Command::Define(Box::new(table(id)))));
        let at = |lane: &Lane| (lane.clone(), (FIRST, SeqId::ZERO));
        let empty = |lane: &Lane| ((lane.clone(), FIRST, SeqId::ZERO), Contents::new());
        let mut log = Self {
            items: Vec::new(),
            newest: Rows::open(MemoryStore::new(LAYOUT)),
            moments: lanes.iter().map(empty).collect(),
            lanes: lanes.iter().map(at).collect(),
            now: BEGIN,
            writes: Writes::default(),
            backups: Vec::new(),
            epochs: 1,
        };
        log.append(commands);
        log
    }

    pub(crate) fn append(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        let bytes = Entry::new(self.now, commands).encode();
        let applied = self.newest.run(&bytes);
        for commit in &applied.commits {
            self.remember(commit);
            self.writes.decided(commit);
        }
        self.items.push(Item::Entry(bytes));
        applied.outcomes
    }

    /// Time passes, and clients that were silent are forgotten.
    pub(crate) fn forget(&mut self) {
        self.now = Time(self.now.0 + A_WHILE);
        let silent_since = Time(self.now.0 - A_WHILE / 3);
        let slots: Vec<_> = self.lanes.keys().map(Slot::of).collect();
        let forget = |slot| Command::Forget { slot, silent_since, count_max: 10 };
        self.append(slots.into_iter().map(forget).collect());
    }

    /// Whether a table has a row with this id now.
    pub(crate) fn has(&self, table: TableId, id: i64) -> bool {
        let lane = lane_of(table);
        let (epoch, seq) = self.lanes[&lane];
        let mut rows = self.moments[&(lane, epoch, seq)].iter();
        let id = Value::Integer(id);
        rows.any(|((of, _), row)| *of == table && row[usize::from(ID.0)] == id)
    }

    /// Whether clients may have been forgotten.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.now > BEGIN
    }

    /// Whether a history may have come back that was left before (rule 44 of the protocol).
    pub(crate) fn has_come_back(&self) -> bool {
        self.epochs > 2
    }

    fn remember(&mut self, commit: &Commit) {
        let before = (commit.lane.clone(), commit.epoch, commit.before);
        let mut contents = self.moments[&before].clone();
        for change in &commit.changes {
            let place = (change.table, change.birth);
            match &change.new {
                Some(image) => {
                    let row = codec::decode(image.row_bytes(), usize::MAX).unwrap();
                    contents.insert(place, row);
                }
                None => drop(contents.remove(&place)),
            }
        }
        self.lanes.insert(commit.lane.clone(), (commit.epoch, commit.seq));
        self.moments.insert((commit.lane.clone(), commit.epoch, commit.seq), contents);
    }

    /// That of the present history.
    fn epoch(&self) -> Epoch {
        Epoch::from_bytes([self.epochs; 16])
    }

    pub(crate) fn back_up(&mut self) {
        let history = self.writes.history(self.epoch());
        self.backups.push((Arc::new(self.newest.store.fork()), self.lanes.clone(), history));
    }

    /// Goes back to a backup, under a new epoch.
    pub(crate) fn restore(&mut self, choice: usize) {
        if self.backups.is_empty() || self.epochs > 4 {
            return;
        }
        let (store, lanes, history) = self.backups[choice % self.backups.len()].clone();
        self.epochs += 1;
        let epoch = self.epoch();
        self.writes.goes_back(epoch, history);
        for (lane, (old, seq)) in lanes {
            let contents = self.moments[&(lane.clone(), old, seq)].clone();
            self.moments.insert((lane.clone(), epoch, seq), contents);
            self.lanes.insert(lane, (epoch, seq));
        }
        let item = Item::Restore(store, epoch);
        self.newest.apply(&item);
        self.items.push(item);
    }

    pub(crate) fn len(&self) -> u64 {
        self.items.len() as u64
    }
}
