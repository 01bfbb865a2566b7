//! Watched queries: which run again, when, and what they are told.
//!
//! One that a step concerns is dirty. All that are dirty and not being read are read in one go, at
//! one moment of the replica, and what came of it is told together. So however fast steps come, a
//! query runs at most once at a time, and its last result is that of the last step.
//!
//! A step concerns a query when it changes a table that the query reads. Where the query is that of a
//! subscription, its predicate says which rows concern it ([`concern`]).

mod concern;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::value::Value;
use sdk_machine::{Machine, SubscriptionState};
use sdk_replica::{Changed, ReplicaError, View, subscribed_table};
use tokio::sync::{mpsc, watch};

use self::concern::{Concern, Known};
use crate::readers::{Readers, Waited};
use crate::rows::Rows;
use crate::status::ResultState;
use crate::watch::Found;

/// Numbers the watches.
type WatchId = u64;

/// What came of one go.
pub(crate) struct Finished {
    results: Vec<(WatchId, Result<ReadRows, ReplicaError>)>,
    /// How it was with the subscriptions when it began.
    then: Freshness,
}

/// What a query gave.
struct ReadRows {
    rows: Rows,
    reads: BTreeSet<String>,
    key: Key,
}

/// The primary key of the only table that a query reads, if it reads one that has one.
type Key = Option<Arc<[String]>>;

/// A query that is to be read.
struct Query {
    id: WatchId,
    sql: String,
    params: Vec<Value>,
    /// What it gave before.
    before: Rows,
    /// Its key, where it is known by now.
    key: Option<Key>,
}

pub(super) struct Watches {
    readers: Readers,
    finished: mpsc::UnboundedSender<Finished>,
    all: BTreeMap<WatchId, Watched>,
    last: WatchId,
    states_changed: bool,
    /// The subscriptions as queries were last held against them.
    known: Known,
}

struct Watched {
    sql: String,
    params: Vec<Value>,
    results: watch::Sender<Option<Found>>,
    /// Tables whose changes concern it; without them every change does.
    reads: Option<BTreeSet<String>>,
    /// Which of their rows do.
    concern: Concern,
    key: Option<Key>,
    is_dirty: bool,
    is_read: bool,
    /// What is being read began before tables have changed.
    is_outdated: bool,
}

impl Watches {
    pub(super) fn new(readers: Readers, finished: mpsc::UnboundedSender<Finished>) -> Self {
        let known = Known::default();
        Self { readers, finished, all: BTreeMap::new(), last: 0, states_changed: false, known }
    }

    pub(super) fn add(
        &mut self,
        sql: String,
        params: Vec<Value>,
        results: watch::Sender<Option<Found>>,
    ) {
        self.last += 1;
        let watched = Watched {
            sql,
            params,
            results,
            reads: None,
            concern: Concern::default(),
            key: None,
            is_dirty: true,
            is_read: false,
            is_outdated: false,
        };
        self.all.insert(self.last, watched);
    }

    /// Rows are others now.
    pub(super) fn changed(&mut self, changed: &Changed, machine: &Machine) {
        for watched in self.all.values_mut() {
            if changed.schema {
                watched.forget();
            }
            watched.is_dirty |= watched.is_concerned(changed, machine);
        }
    }

    /// How fresh results are may be another now.
    pub(super) fn states_changed(&mut self) {
        self.states_changed = true;
    }

    /// Another file is read from now on, and nobody reads the one before. What was told of that one
    /// says nothing of it.
    pub(super) fn read_again(&mut self) {
        self.known = Known::default();
        for watched in self.all.values_mut() {
            watched.forget();
            watched.is_read = false;
        }
    }

    /// The tables of which it makes a difference which rows have changed, where they are others than
    /// they were when it was last asked.
    pub(super) fn looks_at(&mut self, machine: &Machine) -> Option<BTreeSet<String>> {
        let subscriptions = Known::of(machine);
        let is_other = self.known.has_other_subscriptions(&subscriptions);
        for watched in self.all.values_mut() {
            watched.concern.look(is_other, &watched.sql, &watched.params, machine);
        }
        let tables = self.all.values().filter_map(|watched| watched.concern.table());
        self.known.now(subscriptions, tables.map(str::to_owned).collect())
    }

    /// Reads what is dirty.
    pub(super) fn run(&mut self, machine: &Machine) {
        self.all.retain(|_, watched| !watched.results.is_closed());
        if std::mem::take(&mut self.states_changed) {
            let now = Freshness::of(machine);
            // What is being read is not what is shown.
            let quiet = |watched: &&mut Watched| !watched.is_dirty && !watched.is_read;
            for watched in self.all.values_mut().filter(quiet) {
                watched.show_state(&now);
            }
        }
        let dirty = |(_, watched): &(&WatchId, &mut Watched)| watched.is_dirty && !watched.is_read;
        let queries: Vec<Query> =
            self.all.iter_mut().filter(dirty).map(|(id, watched)| watched.query(*id)).collect();
        if queries.is_empty() {
            return;
        }
        self.readers.count_watch_runs(queries.len());
        let (finished, then) = (self.finished.clone(), Freshness::of(machine));
        let is_wanted = self.readers.wanted(&Waited::default());
        // When it is closed nobody waits for results.
        let _ = self.readers.run(move |reader| {
            let _ = finished.send(Finished { results: read(reader, queries, is_wanted), then });
        });
    }

    /// Tells what was read. Says whether the file has turned out to be damaged.
    pub(super) fn finished(
        &mut self,
        Finished { results, then }: Finished,
        machine: &Machine,
    ) -> bool {
        let mut is_damaged = false;
        let (now, awaits_tables) = (Freshness::of(machine), awaits_tables(machine));
        for (id, result) in results {
            let Some(watched) = self.all.get_mut(&id) else { continue };
            watched.is_read = false;
            is_damaged |= matches!(result, Err(ReplicaError::Damaged));
            // Its table may have come since, and then it is read again.
            if watched.is_dirty && matches!(result, Err(ReplicaError::NoSuchTable(_))) {
                continue;
            }
            // Rows that have changed since are not here yet, and may be what it is `live` by.
            let freshness = if watched.is_dirty { &then } else { &now };
            watched.take(result, freshness, awaits_tables);
        }
        is_damaged
    }
}

/// Reads queries on the thread of a reader. What is the same as before is found there, too.
fn read(
    reader: &mut View<'_>,
    queries: Vec<Query>,
    is_wanted: impl Fn() -> bool + Clone + Send + 'static,
) -> Vec<(WatchId, Result<ReadRows, ReplicaError>)> {
    let asked = queries.iter().map(|query| (&*query.sql, &*query.params, query.before.parts()));
    let asked: Vec<sdk_replica::Query<'_>> = asked.collect();
    let results = reader.run(&asked, is_wanted);
    let read = |(query, result): (Query, Result<sdk_replica::QueryResult, _>)| {
        let rows = result.map(|result| {
            let key = query.key.unwrap_or_else(|| match result.reads.len() {
                1 => result.reads.first().and_then(|table| primary_key(reader, table)),
                _ => None,
            });
            let rows = Rows::new(result.columns, result.rows).shared_with(&query.before);
            ReadRows { rows, reads: result.reads, key }
        });
        (query.id, rows)
    };
    queries.into_iter().zip(results).map(read).collect()
}

fn primary_key(reader: &View<'_>, table: &str) -> Key {
    // Without it, rows are compared as wholes.
    let key = reader.primary_key(table).unwrap_or_default();
    (!key.is_empty()).then(|| key.into())
}

impl Watched {
    fn query(&mut self, id: WatchId) -> Query {
        (self.is_dirty, self.is_read, self.is_outdated) = (false, true, false);
        let shown = self.results.borrow();
        let before = shown.as_ref().map(|shown| shown.rows.clone()).unwrap_or_default();
        let (sql, params) = (self.sql.clone(), self.params.clone());
        Query { id, sql, params, before, key: self.key.clone() }
    }

    fn is_concerned(&self, changed: &Changed, machine: &Machine) -> bool {
        let Some(reads) = &self.reads else { return true };
        let by = |table: &String| {
            let rows = changed.tables.get(table);
            rows.is_some_and(|rows| {
                reads.len() > 1 || self.concern.may_be(table, rows, &self.params, machine)
            })
        };
        reads.iter().any(by)
    }

    /// There may be other tables and columns: which of them it reads is not known before it is read
    /// anew, and until then every change concerns it.
    fn forget(&mut self) {
        (self.reads, self.key) = (None, None);
        (self.is_dirty, self.is_outdated) = (true, true);
    }

    fn take(
        &mut self,
        result: Result<ReadRows, ReplicaError>,
        freshness: &Freshness,
        awaits_tables: bool,
    ) {
        let next = match result {
            Ok(ReadRows { rows, reads, key }) => {
                let state = freshness.state(&reads, rows.is_empty());
                if !self.is_outdated {
                    (self.reads, self.key) = (Some(reads), Some(key.clone()));
                }
                Found { rows, state, error: None, key }
            }
            // Its table comes with the first answer of the server.
            Err(ReplicaError::NoSuchTable(_)) if awaits_tables => {
                let rows = Rows::default();
                Found { rows, state: ResultState::Loading, error: None, key: None }
            }
            // The client is being closed.
            Err(ReplicaError::Interrupted) => return,
            Err(error) => {
                self.reads = None;
                let shown = self.results.borrow().clone();
                let (rows, key) = shown.map(|shown| (shown.rows, shown.key)).unwrap_or_default();
                Found { rows, state: ResultState::Behind, error: Some(error.into()), key }
            }
        };
        self.results.send_if_modified(|shown| {
            let is_other = shown.as_ref() != Some(&next);
            *shown = Some(next);
            is_other
        });
    }

    fn show_state(&mut self, freshness: &Freshness) {
        let Some(reads) = &self.reads else {
            // It has an error, or waits for its table: then look again.
            self.is_dirty = true;
            return;
        };
        self.results.send_if_modified(|shown| {
            let Some(shown) = shown.as_mut() else { return false };
            let state = freshness.state(reads, shown.rows.is_empty());
            let is_other = shown.state != state;
            shown.state = state;
            is_other
        });
    }
}

/// Whether the server has yet to say of a subscription what it is.
fn awaits_tables(machine: &Machine) -> bool {
    machine.subscriptions().any(|stored| {
        let view = machine.subscription(stored.id);
        stored.known.is_none() && view.is_some_and(|view| view.state == SubscriptionState::Loading)
    })
}

/// How it is with each subscription, and to which table it is.
struct Freshness(Vec<(String, SubscriptionState)>);

impl Freshness {
    fn of(machine: &Machine) -> Self {
        let of = machine.subscriptions().filter_map(|stored| {
            let table = match &stored.known {
                Some(known) => Some(known.table.name.in_replica()),
                // The server has not answered yet.
                None => stored.texts.first().and_then(|text| subscribed_table(&text.sql)),
            };
            Some((table?, machine.subscription(stored.id)?.state))
        });
        Self(of.collect())
    }

    /// How fresh a result is that stands on these tables.
    fn state(&self, reads: &BTreeSet<String>, is_empty: bool) -> ResultState {
        let mut fresh = ResultState::Live;
        for (_, state) in self.0.iter().filter(|(table, _)| reads.contains(table)) {
            match state {
                SubscriptionState::Loading if is_empty => return ResultState::Loading,
                SubscriptionState::Loading => return ResultState::Cached,
                SubscriptionState::Behind => fresh = ResultState::Behind,
                SubscriptionState::Live | SubscriptionState::Refused => {}
            }
        }
        fresh
    }
}
