//! What a commit means for a query: said once, whoever asks.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use protocol::codec;
use protocol::frame::v1::{MutationDecision, RowChange, shared};
use protocol::ids::{Birth, ColumnId, QueryNumber, SeqId, TableId};
use protocol::value::{Row, ValueRef};
use server_engine::{
    Actor, Catalog, Change, Commit, Decided, EngineError, Image, RowView, ShardNumber, Table,
    may_read,
};

use crate::query::{LiveQuery, Queries};
use crate::written::RowsNow;

/// About how many bytes a commit takes by itself.
const COMMIT_BYTES: usize = 64;

/// An entry of a shard's log as it was applied, for all workers.
#[derive(Debug)]
pub struct Entry {
    /// The shard.
    pub shard: ShardNumber,
    /// Its place in the log.
    pub index: u64,
    /// The tables after it.
    pub catalog: Arc<Catalog>,
    /// What it did, in order.
    pub commits: Vec<LiveCommit>,
    /// About how many bytes its commits take: rows, and the keys that decisions name.
    pub bytes: usize,
}

/// A commit, with what it means for each query that was held against it.
#[derive(Debug)]
pub struct LiveCommit {
    /// The commit.
    pub commit: Commit,
    told: Mutex<HashMap<QueryNumber, Option<Arc<Told>>>>,
    /// The shared part of the frame that says what was decided.
    decided: Mutex<Option<Bytes>>,
}

/// What a query is told of a commit.
#[derive(Debug)]
pub(crate) struct Told {
    /// The shared part of the frame.
    pub(crate) tail: Bytes,
    /// The last born row that it is about.
    pub(crate) birth_max: Birth,
}

impl Entry {
    /// An entry that was applied.
    pub fn new(
        shard: ShardNumber,
        index: u64,
        catalog: Arc<Catalog>,
        commits: Vec<Commit>,
    ) -> Arc<Self> {
        let of = |image: &Option<Image>| image.as_ref().map_or(0, |image| image.row_bytes().len());
        let changes = commits.iter().flat_map(|commit| &commit.changes);
        let changed: usize = changes.map(|change| of(&change.old) + of(&change.new)).sum();
        let decided = commits.iter().filter_map(|commit| commit.decided.as_ref());
        let named = decided.flat_map(|decided| &decided.rows).map(|(key, row)| {
            let row = row.as_ref().map_or(0, |(_, image)| image.row_bytes().len());
            // The decision has the key once more.
            row + 2 * codec::encode(key).len()
        });
        let bytes = changed + named.sum::<usize>() + COMMIT_BYTES * commits.len();
        let live =
            |commit| LiveCommit { commit, told: Mutex::default(), decided: Mutex::default() };
        let commits = commits.into_iter().map(live).collect();
        Arc::new(Self { shard, index, catalog, commits, bytes })
    }
}

impl LiveCommit {
    /// What `query` is told of this commit; `None` when it does not concern it. Evaluated and
    /// encoded by whoever asks first.
    ///
    /// # Errors
    /// [`EngineError`] when a row cannot be read.
    pub(crate) fn tell(
        &self,
        query: &LiveQuery,
        catalog: &Catalog,
        queries: &Queries,
    ) -> Result<Option<Arc<Told>>, EngineError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = told.get(&query.number) {
            return Ok(known.clone());
        }
        queries.evaluated.fetch_add(1, Ordering::Relaxed);
        let changes = self.changes(query, catalog)?;
        let birth_max = changes.iter().map(RowChange::birth).max();
        let fresh = birth_max.map(|birth_max| {
            queries.encoded.fetch_add(1, Ordering::Relaxed);
            Arc::new(Told { tail: shared::delta_tail(query.number, &changes).into(), birth_max })
        });
        told.insert(query.number, fresh.clone());
        Ok(fresh)
    }

    /// The shared part of the frame for who waits for `decided`, encoded by whoever asks first. It
    /// has the rows that its writer may read. Another connection of the same user may have a lower
    /// role, and gets one of its own.
    ///
    /// # Errors
    /// [`EngineError`] when a row cannot be read.
    pub(crate) fn decided_tail(
        &self,
        decided: &Decided,
        catalog: &Catalog,
        actor: &Actor,
    ) -> Result<Bytes, EngineError> {
        let lane = &self.commit.lane;
        let may = |table: &Table| may_read(table.schema(), lane, actor);
        let tables: BTreeSet<TableId> = decided.rows.iter().map(|(key, _)| key.table).collect();
        if !tables.iter().all(|table| catalog.table(*table).is_none_or(may)) {
            return encode_decided(decided, catalog, may);
        }
        let mut tail = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*tail {
            return Ok(known.clone());
        }
        let fresh = encode_decided(decided, catalog, |_| true)?;
        *tail = Some(fresh.clone());
        Ok(fresh)
    }

    fn changes(&self, query: &LiveQuery, catalog: &Catalog) -> Result<Vec<RowChange>, EngineError> {
        let Some(table) = catalog.table(query.query.table) else { return Ok(Vec::new()) };
        let mut told = Vec::new();
        for change in self.commit.changes.iter().filter(|change| change.table == query.query.table)
        {
            told.extend(of_change(query, table, change)?);
        }
        Ok(told)
    }

    /// The lane's position before and after it.
    pub(crate) fn span(&self) -> (SeqId, SeqId) {
        (self.commit.before, self.commit.seq)
    }
}

/// What was decided, with the rows of those tables that whoever hears of it `may` read.
fn encode_decided(
    decided: &Decided,
    catalog: &Catalog,
    may: impl Fn(&Table) -> bool,
) -> Result<Bytes, EngineError> {
    let mut rows = RowsNow::default();
    for (key, row) in &decided.rows {
        // One that was dropped in the same entry has no rows any more.
        let Some(table) = catalog.table(key.table).filter(|table| may(table)) else { continue };
        if !rows.push(table, &key.key, row.as_ref())? {
            break;
        }
    }
    let Decided { number, decision, .. } = decided;
    let (hash, verdict) = (decision.hash, decision.verdict.clone());
    let decision = MutationDecision { number: *number, hash, verdict, seq: decision.seq };
    Ok(shared::decided_tail(&decision, &rows.into_tables()).into())
}

/// What the change of a row means for a query: it enters, stays with other values, leaves, or
/// nothing.
fn of_change(
    query: &LiveQuery,
    table: &Table,
    change: &Change,
) -> Result<Option<RowChange>, EngineError> {
    let (birth, key) = (change.birth, &change.key);
    let (old, new) = (view_of(&change.old, table)?, view_of(&change.new, table)?);
    let holds = |row: &RowView<'_>| query.query.predicate.evaluate(&|id| row.get(id)).is_true();
    let old = old.filter(holds);
    Ok(match (old, &change.new, new.filter(holds)) {
        (old, Some(image), Some(new)) => {
            let differs = |old: &RowView<'_>| {
                change.old.as_ref().and_then(Image::expiry) != image.expiry()
                    || query.columns.iter().any(|id| old.get(*id) != new.get(*id))
            };
            old.as_ref().is_none_or(differs).then(|| row(query, birth, image, &new))
        }
        (Some(_), Some(_), None) => Some(RowChange::Left(birth, key.clone())),
        (Some(_), None, _) => Some(RowChange::Deleted(birth, key.clone())),
        (None, ..) => None,
    })
}

fn view_of<'a>(
    image: &'a Option<Image>,
    table: &'a Table,
) -> Result<Option<RowView<'a>>, EngineError> {
    image.as_ref().map(|image| image.view(table)).transpose()
}

/// A row as a query shows it.
pub(crate) fn row(query: &LiveQuery, birth: Birth, image: &Image, view: &RowView<'_>) -> RowChange {
    let values = shown(query, view);
    match image.expiry() {
        Some(expiry) => RowChange::Expiring(birth, values, expiry.0),
        None => RowChange::Row(birth, values),
    }
}

/// The values that a query shows of a row.
pub(crate) fn shown(query: &LiveQuery, view: &RowView<'_>) -> Row {
    query.columns.iter().map(|id| view.get(*id).to_value()).collect()
}

/// The value of a column before and after a change, each where there is a row.
pub(crate) fn values_of<'a>(
    change: &'a Change,
    table: &'a Table,
    column: ColumnId,
) -> Result<[Option<ValueRef<'a>>; 2], EngineError> {
    let (old, new) = (view_of(&change.old, table)?, view_of(&change.new, table)?);
    Ok([old, new].map(|view| view.map(|view| view.get(column))))
}
