//! Who is concerned by a change: lane → partition → distinct queries → feeds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::ids::{ClientId, ColumnId, Epoch, Lane, QueryNumber, SeqId, TableId};
use protocol::value::{Value, ValueRef};
use server_engine::{Catalog, Change, EngineError};

use crate::commit;
use crate::feed::FeedKey;
use crate::query::{Equality, LiveQuery};

/// A lane in which the worker has feeds.
#[derive(Debug)]
pub(crate) struct LaneEntry {
    /// Where the lane is after what the worker has handled; unknown until a feed has read it.
    pub(crate) position: Option<(Epoch, SeqId)>,
    /// All feeds of it.
    pub(crate) feeds: BTreeSet<FeedKey>,
    /// Those that keep commits until a read is done.
    pub(crate) held: BTreeSet<FeedKey>,
    /// Those whose client writes.
    writers: BTreeSet<(ClientId, FeedKey)>,
    tables: BTreeMap<TableId, Partition>,
}

/// The queries of a partition.
#[derive(Debug, Default)]
struct Partition {
    /// Those that are tried for every change.
    all: BTreeSet<QueryNumber>,
    /// Those that no row meets unless a column has one of some values.
    equal: BTreeMap<ColumnId, HashMap<Value, BTreeSet<QueryNumber>>>,
}

/// A query that has live feeds.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) query: Arc<LiveQuery>,
    pub(crate) feeds: BTreeSet<FeedKey>,
}

/// The index of one worker.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) lanes: HashMap<Lane, LaneEntry>,
    pub(crate) queries: BTreeMap<QueryNumber, Active>,
}

impl Index {
    /// The lane's entry, made for its first feed.
    pub(crate) fn open(&mut self, lane: &Lane, feed: FeedKey) {
        let entry = self.lanes.entry(lane.clone()).or_insert_with(|| LaneEntry {
            position: None,
            feeds: BTreeSet::new(),
            held: BTreeSet::new(),
            writers: BTreeSet::new(),
            tables: BTreeMap::new(),
        });
        entry.feeds.insert(feed);
    }

    /// From now on the feed is told of what is decided of `client`, and of nobody else.
    pub(crate) fn write(
        &mut self,
        lane: &Lane,
        feed: FeedKey,
        before: Option<ClientId>,
        client: ClientId,
    ) {
        let Some(entry) = self.lanes.get_mut(lane) else { return };
        if let Some(before) = before {
            entry.writers.remove(&(before, feed));
        }
        entry.writers.insert((client, feed));
    }

    /// Forgets a feed that has no query registered any more, and who writes.
    pub(crate) fn close(&mut self, lane: &Lane, feed: FeedKey, client: Option<ClientId>) {
        let Some(entry) = self.lanes.get_mut(lane) else { return };
        if let Some(client) = client {
            entry.writers.remove(&(client, feed));
        }
        entry.feeds.remove(&feed);
        entry.held.remove(&feed);
        if entry.feeds.is_empty() {
            self.lanes.remove(lane);
        }
    }

    /// From now on the feed is told of what concerns the query.
    pub(crate) fn register(&mut self, query: &Arc<LiveQuery>, feed: FeedKey) {
        let active = self.queries.entry(query.number).or_insert_with(|| {
            if let Some(lane) = self.lanes.get_mut(&query.lane) {
                lane.tables.entry(query.query.table).or_default().insert(query);
            }
            Active { query: Arc::clone(query), feeds: BTreeSet::new() }
        });
        active.feeds.insert(feed);
    }

    /// From now on it is not.
    pub(crate) fn unregister(&mut self, query: &LiveQuery, feed: FeedKey) {
        let Some(active) = self.queries.get_mut(&query.number) else { return };
        active.feeds.remove(&feed);
        if !active.feeds.is_empty() {
            return;
        }
        self.queries.remove(&query.number);
        let Some(lane) = self.lanes.get_mut(&query.lane) else { return };
        if let Some(partition) = lane.tables.get_mut(&query.query.table) {
            partition.remove(query);
            if partition.all.is_empty() && partition.equal.is_empty() {
                lane.tables.remove(&query.query.table);
            }
        }
    }
}

impl LaneEntry {
    /// The feeds in which a client writes: one, unless there are copies of a replica.
    pub(crate) fn writers_of(&self, client: ClientId) -> impl Iterator<Item = FeedKey> {
        let all = (client, FeedKey::MIN)..=(client, FeedKey::MAX);
        self.writers.range(all).map(|(_, feed)| *feed)
    }

    /// The queries that changes may concern: of a table with many queries, those whose values the
    /// rows have or had, and those that depend on no value.
    pub(crate) fn concerned(
        &self,
        changes: &[Change],
        catalog: &Catalog,
    ) -> Result<BTreeSet<QueryNumber>, EngineError> {
        let mut concerned = BTreeSet::new();
        for change in changes {
            let Some(partition) = self.tables.get(&change.table) else { continue };
            let Some(table) = catalog.table(change.table) else { continue };
            concerned.extend(&partition.all);
            for (column, by_value) in &partition.equal {
                let values = commit::values_of(change, table, *column)?;
                for value in values.into_iter().flatten().filter(|value| *value != ValueRef::Null) {
                    concerned.extend(by_value.get(&value.to_value()).into_iter().flatten());
                }
            }
        }
        Ok(concerned)
    }
}

impl Partition {
    fn insert(&mut self, query: &LiveQuery) {
        match &query.equality {
            None => drop(self.all.insert(query.number)),
            Some(Equality { column, values }) => {
                let by_value = self.equal.entry(*column).or_default();
                for value in values {
                    by_value.entry(value.clone()).or_default().insert(query.number);
                }
            }
        }
    }

    fn remove(&mut self, query: &LiveQuery) {
        let Some(Equality { column, values }) = &query.equality else {
            self.all.remove(&query.number);
            return;
        };
        let Some(by_value) = self.equal.get_mut(column) else { return };
        for value in values {
            if let Some(queries) = by_value.get_mut(value) {
                queries.remove(&query.number);
                if queries.is_empty() {
                    by_value.remove(value);
                }
            }
        }
        if by_value.is_empty() {
            self.equal.remove(column);
        }
    }
}
