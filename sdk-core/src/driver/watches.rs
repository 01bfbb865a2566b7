//! Watched queries: which run again, when, and what they are told.
//!
//! One that a step concerns is dirty. All that are dirty and not being read are read in one go, at
//! one moment of the replica, and what came of it is told together. So however fast steps come, a
//! query runs at most once at a time, and its last result is that of the last step.

use std::collections::{BTreeMap, BTreeSet};

use protocol::value::Value;
use sdk_machine::{Machine, SubscriptionState};
use sdk_replica::{Changed, QueryResult, ReplicaError, subscribed_table};
use tokio::sync::{mpsc, watch};

use crate::readers::{Readers, Waited};
use crate::rows::Rows;
use crate::status::ResultState;
use crate::watch::WatchResult;

/// Numbers the watches.
type WatchId = u64;

/// What came of one go.
pub(crate) struct Finished {
    results: Vec<(WatchId, Result<QueryResult, ReplicaError>)>,
    /// How it was with the subscriptions when it began.
    then: Freshness,
}

pub(super) struct Watches {
    readers: Readers,
    finished: mpsc::UnboundedSender<Finished>,
    all: BTreeMap<WatchId, Watched>,
    last: WatchId,
    states_changed: bool,
}

struct Watched {
    sql: String,
    params: Vec<Value>,
    results: watch::Sender<Option<WatchResult>>,
    /// Tables whose changes concern it; without them every change does.
    reads: Option<BTreeSet<String>>,
    is_dirty: bool,
    is_read: bool,
}

impl Watches {
    pub(super) fn new(readers: Readers, finished: mpsc::UnboundedSender<Finished>) -> Self {
        Self { readers, finished, all: BTreeMap::new(), last: 0, states_changed: false }
    }

    pub(super) fn add(
        &mut self,
        sql: String,
        params: Vec<Value>,
        results: watch::Sender<Option<WatchResult>>,
    ) {
        self.last += 1;
        let watched = Watched { sql, params, results, reads: None, is_dirty: true, is_read: false };
        self.all.insert(self.last, watched);
    }

    /// Rows are others now.
    pub(super) fn changed(&mut self, changed: &Changed) {
        for watched in self.all.values_mut() {
            let is_concerned = |reads: &BTreeSet<String>| !reads.is_disjoint(&changed.tables);
            watched.is_dirty |= changed.schema || watched.reads.as_ref().is_none_or(is_concerned);
        }
    }

    /// How fresh results are may be another now.
    pub(super) fn states_changed(&mut self) {
        self.states_changed = true;
    }

    /// What was being read is read again: nobody reads it any more.
    pub(super) fn read_again(&mut self) {
        for watched in self.all.values_mut() {
            (watched.is_dirty, watched.is_read) = (true, false);
        }
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
        let mut queries = Vec::new();
        for (id, watched) in &mut self.all {
            if watched.is_dirty && !watched.is_read {
                (watched.is_dirty, watched.is_read) = (false, true);
                queries.push((*id, watched.sql.clone(), watched.params.clone()));
            }
        }
        if queries.is_empty() {
            return;
        }
        let (finished, then) = (self.finished.clone(), Freshness::of(machine));
        let is_wanted = self.readers.wanted(&Waited::default());
        // When it is closed nobody waits for results.
        let _ = self.readers.run(move |reader| {
            let asked: Vec<(&str, &[Value])> =
                queries.iter().map(|(_, sql, params)| (&**sql, &**params)).collect();
            let results = reader.run(&asked, is_wanted);
            let ids = queries.iter().map(|(id, ..)| *id);
            let _ = finished.send(Finished { results: ids.zip(results).collect(), then });
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

impl Watched {
    fn take(
        &mut self,
        result: Result<QueryResult, ReplicaError>,
        freshness: &Freshness,
        awaits_tables: bool,
    ) {
        let next = match result {
            Ok(QueryResult { columns, rows, reads }) => {
                let state = freshness.state(&reads, rows.is_empty());
                self.reads = Some(reads);
                WatchResult { rows: Rows::new(columns, rows), state, error: None }
            }
            // Its table comes with the first answer of the server.
            Err(ReplicaError::NoSuchTable(_)) if awaits_tables => {
                WatchResult { rows: Rows::default(), state: ResultState::Loading, error: None }
            }
            // The client is being closed.
            Err(ReplicaError::Interrupted) => return,
            Err(error) => {
                self.reads = None;
                let shown = self.results.borrow().clone();
                let rows = shown.map(|shown| shown.rows).unwrap_or_default();
                WatchResult { rows, state: ResultState::Behind, error: Some(error.into()) }
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
