//! What a subscription means, compiled once for all who have the same.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use protocol::codec;
use protocol::ids::{Basis, ColumnId, IndexId, Lane, QueryNumber, SchemaVersion};
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::schema::TableSchema;
use protocol::value::{Row, Value};
use server_engine::{Query, ScannedRange};
use sha2::{Digest, Sha256};

use crate::limits::HASHED_VALUES_MAX;

/// A live query as all who subscribe to the same share it. When its table changes, another one with
/// the same basis takes its place.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveQuery {
    /// What frames call it.
    pub number: QueryNumber,
    /// What it means.
    pub basis: Basis,
    /// The lane of its table.
    pub lane: Lane,
    /// The table as it was when the query was compiled. What is told of the query is told while the
    /// table is in this version.
    pub schema: Arc<TableSchema>,
    /// Where it reads, and which rows it selects. The predicate alone decides; the range is where
    /// its rows can lie, and holds no key that the subscriber may not know.
    pub query: Query,
    /// The columns that rows carry, in their order; those of the primary key are among them.
    pub columns: Vec<ColumnId>,
    /// It shows all columns, whatever they become.
    pub(crate) has_all: bool,
    /// An equality without which no row is selected.
    pub(crate) equality: Option<Equality>,
}

/// `column = one of these`, which every row that a query selects meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Equality {
    pub(crate) column: ColumnId,
    pub(crate) values: Vec<Value>,
}

/// What a subscription asks for, with names found and values bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The lane of the table, for this user.
    pub lane: Lane,
    /// The table.
    pub schema: Arc<TableSchema>,
    /// Where its rows can lie.
    pub range: ScannedRange,
    /// Which rows it selects, with what the access rule demands of them.
    pub predicate: Predicate,
    /// The columns that were asked for; those of the primary key are added. `None`: all of them,
    /// whatever they become.
    pub columns: Option<Vec<ColumnId>>,
}

impl Asked {
    /// The columns in the order in which rows carry them: that of the table.
    fn columns(&self) -> Vec<ColumnId> {
        let wanted = |id: &ColumnId| {
            let asked = self.columns.as_ref();
            asked.is_none_or(|asked| asked.contains(id)) || self.schema.primary_key.contains(id)
        };
        self.schema.columns.iter().map(|column| column.id).filter(wanted).collect()
    }

    /// The narrowest range that the predicate allows: values of an index, where each of its columns
    /// has to be equal to something, or else the partition.
    pub fn range_of(schema: &TableSchema, predicate: &Predicate) -> ScannedRange {
        let equalities = equalities(predicate);
        let of_index = schema.indexes.iter().find_map(|index| {
            let values = index_values(&index.columns, &equalities)?;
            (values.len() <= HASHED_VALUES_MAX).then_some((index.id, values))
        });
        match of_index {
            Some((index, values)) => ScannedRange::Index { index, values },
            None => ScannedRange::Partition,
        }
    }
}

/// Every combination of the values that the columns of an index may have.
fn index_values(columns: &[ColumnId], equalities: &[Equality]) -> Option<Vec<Row>> {
    let mut rows = vec![Vec::new()];
    for column in columns {
        let Equality { values, .. } = equalities.iter().find(|known| known.column == *column)?;
        if rows.len() * values.len() > HASHED_VALUES_MAX {
            return None;
        }
        let with = |row: &Vec<Value>| -> Vec<Vec<Value>> {
            values
                .iter()
                .map(|value| [row.as_slice(), std::slice::from_ref(value)].concat())
                .collect()
        };
        rows = rows.iter().flat_map(with).collect();
    }
    Some(rows.into_iter().map(Row).collect())
}

/// The equalities that every row meets which `predicate` selects.
fn equalities(predicate: &Predicate) -> Vec<Equality> {
    match predicate {
        Predicate::Compare { column, op: CompareOp::Equal, operand: Operand::Value(value) } => {
            vec![Equality { column: *column, values: vec![value.clone()] }]
        }
        // NULL is equal to nothing.
        Predicate::In { column, values } => {
            let mut seen = HashSet::from([&Value::Null]);
            let values = values.iter().filter(|value| seen.insert(value)).cloned().collect();
            vec![Equality { column: *column, values }]
        }
        Predicate::And(parts) => parts.iter().flat_map(equalities).collect(),
        _ => Vec::new(),
    }
}

/// The live queries of a node, each once, whatever worker its subscribers are at.
#[derive(Debug, Default)]
pub struct Queries {
    known: Mutex<HashMap<(Basis, SchemaVersion), Weak<LiveQuery>>>,
    last: AtomicU64,
    pub(crate) encoded: AtomicU64,
    pub(crate) evaluated: AtomicU64,
}

impl Queries {
    /// The query that means what was asked for.
    pub fn compile(&self, asked: Asked) -> Arc<LiveQuery> {
        let columns = asked.columns();
        let (basis, version) = (basis(&asked, &columns), asked.schema.version);
        self.known(basis, version, |number| {
            let Asked { lane, schema, range, predicate, columns: named } = asked;
            let equality = equalities(&predicate)
                .into_iter()
                .filter(|equality| equality.values.len() <= HASHED_VALUES_MAX)
                .min_by_key(|equality| equality.values.len());
            let (has_all, query) = (named.is_none(), Query { table: schema.id, range, predicate });
            LiveQuery { number, basis, lane, schema, query, columns, has_all, equality }
        })
    }

    /// What takes the place of a query whose table has changed. An error is a column that it names
    /// and that is gone.
    pub(crate) fn renew(
        &self,
        query: &LiveQuery,
        schema: &Arc<TableSchema>,
    ) -> Result<Arc<LiveQuery>, ColumnId> {
        let named = if query.has_all { &[] } else { &*query.columns };
        let mut named = named.iter().copied().chain(query.query.predicate.columns());
        if let Some(gone) = named.find(|id| schema.column(*id).is_none()) {
            return Err(gone);
        }
        let columns = match query.has_all {
            true => schema.columns.iter().map(|column| column.id).collect(),
            false => query.columns.clone(),
        };
        Ok(self.known(query.basis, schema.version, |number| LiveQuery {
            number,
            schema: Arc::clone(schema),
            columns,
            ..query.clone()
        }))
    }

    /// The query with this basis on this version of its table, made if there is none.
    fn known(
        &self,
        basis: Basis,
        version: SchemaVersion,
        make: impl FnOnce(QueryNumber) -> LiveQuery,
    ) -> Arc<LiveQuery> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(query) = known.get(&(basis, version)).and_then(Weak::upgrade) {
            return query;
        }
        if known.len() == known.capacity() {
            known.retain(|_, query| query.strong_count() > 0);
        }
        let number = QueryNumber(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let query = Arc::new(make(number));
        known.insert((basis, version), Arc::downgrade(&query));
        query
    }

    /// How often rows were encoded for a query: once a commit, however many subscribe to it.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    /// How often a query was held against the changes of a commit.
    pub fn evaluated(&self) -> u64 {
        self.evaluated.load(Ordering::Relaxed)
    }
}

/// The hash of all that decides what a subscriber gets. That somebody wants all columns is hashed,
/// and not which they are: as the table changes, so does what he gets, and he keeps what he has.
fn basis(asked: &Asked, columns: &[ColumnId]) -> Basis {
    let Asked { lane, schema, range, predicate, .. } = asked;
    let range: Option<(IndexId, &[Row])> = match range {
        ScannedRange::Partition => None,
        ScannedRange::Index { index, values } => Some((*index, values)),
    };
    let columns = asked.columns.is_some().then_some(columns);
    let hash = Sha256::digest(codec::encode(&(lane, schema.id, range, predicate, columns)));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Basis::from_bytes(bytes)
}
