//! A replica in memory, for the tests of this and other crates: the meaning of every [`Write`], in
//! the fewest words.
//!
//! A real replica must show the same rows. What a machine never asks for panics here.

mod outbox;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use protocol::digest::RowsDigest;
use protocol::frame::v1::{AllowedTable, Mutate, RowChange};
use protocol::ids::{Birth, ClientId, ColumnId, Lane, TableId};
use protocol::mutation::Mutation;
use protocol::value::Row;

pub use outbox::Waiting;
pub use rows::{Key, ShownRow};

use crate::check::Comparison;
use crate::instruction::{Outgoing, Staged, Step, Write};
use crate::stored::{
    Known, MutationId, Settled, Stored, StoredLane, StoredMutation, StoredSchema,
    StoredSubscription, StoredWriter, SubscriptionId,
};
use outbox::Outbox;
use rows::Rows;

/// A replica in memory. A clone is what a power cut leaves of it.
#[derive(Clone, Debug)]
pub struct MemoryReplica {
    client: ClientId,
    schema: Option<(StoredSchema, Vec<AllowedTable>)>,
    lanes: BTreeMap<Lane, StoredLane>,
    subscriptions: BTreeMap<SubscriptionId, StoredSubscription>,
    rows: Rows,
    outbox: Outbox,
    /// In the order in which they came.
    staged: Vec<(Lane, SubscriptionId, Vec<RowChange>)>,
}

/// What goes wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoiling {
    /// It has another value in the last column of the query.
    Value,
    /// It is not there any more.
    Lost,
    /// It was born at another time.
    Birth,
}

impl MemoryReplica {
    /// An empty replica.
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            schema: None,
            lanes: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            rows: Rows::default(),
            outbox: Outbox::default(),
            staged: Vec::new(),
        }
    }

    /// What a machine starts from. As whenever a replica is opened, staged pieces are dropped.
    pub fn load(&mut self) -> Stored {
        self.staged.clear();
        Stored {
            client: self.client,
            lanes: self.lanes.values().cloned().collect(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            since: self.outbox.since,
            writers: self.outbox.writers.values().cloned().collect(),
            schema: self.schema.as_ref().map(|(schema, _)| *schema),
            outbox: self.outbox.stored(),
        }
    }

    /// Executes a step.
    ///
    /// # Panics
    /// Where it is none that a machine may ask for.
    pub fn execute(&mut self, step: Step) {
        let waited = self.outbox.rows();
        for write in step.writes {
            self.write(write, &waited);
        }
        let outbox = &self.outbox;
        self.rows.drop_unheld(|table, key| outbox.waits_for(table, &key.0));
    }

    fn write(&mut self, write: Write, waited: &BTreeSet<(TableId, Key)>) {
        match write {
            Write::PutSubscription(stored) => {
                self.fill(&stored);
                self.subscriptions.insert(stored.id, *stored);
            }
            Write::PutSchema { schema, tables } => self.schema = Some((schema, tables)),
            Write::RemoveSubscription(id) => {
                self.staged.retain(|(_, subscription, _)| *subscription != id);
                self.rows.release(id, knowing(&self.subscriptions));
                self.subscriptions.remove(&id);
            }
            Write::Batch { subscription, births, rows, expiries } => {
                let known = self.known(subscription).clone();
                assert_eq!(births.len(), rows.len(), "each row has a birth");
                for (place, (birth, row)) in births.into_iter().zip(rows).enumerate() {
                    let expiry = expiries.get(place).copied();
                    self.rows.put(subscription, &known, birth, &row, expiry);
                }
            }
            Write::Changes { subscription, changes } => self.change(subscription, changes),
            Write::Stage { lane, subscription, changes } => {
                assert_eq!(self.known(subscription).lane, lane, "staged for its own lane");
                self.staged.push((lane, subscription, changes));
            }
            Write::ShowStaged { lane } => {
                for (of, subscription, changes) in std::mem::take(&mut self.staged) {
                    match of == lane {
                        true => self.change(subscription, changes),
                        false => self.staged.push((of, subscription, changes)),
                    }
                }
            }
            Write::DropStaged(Staged::OfLane(lane)) => self.staged.retain(|(of, ..)| *of != lane),
            Write::DropStaged(Staged::OfSubscription(id)) => {
                self.staged.retain(|(_, subscription, _)| *subscription != id);
            }
            Write::KeepRows(id) => self.rows.keep(id),
            Write::DropGhosts(id) => self.rows.drop_ghosts(id, knowing(&self.subscriptions)),
            Write::PutLane(lane) => {
                self.lanes.insert(lane.lane.clone(), lane);
            }
            Write::RemoveLane(lane) => {
                self.lanes.remove(&lane);
            }
            Write::PutSince(since) => self.outbox.since = Some(since),
            Write::PutWriter(writer) => {
                self.outbox.writers.insert(writer.lane.clone(), *writer);
            }
            Write::Settle { id, settled } => self.outbox.settle(id, settled),
            // Nothing is held back here.
            Write::HeldBackUncertain(_) => {}
            Write::RowsNow(tables) => {
                for now in &tables {
                    now.rows.iter().for_each(|row| self.rows.now(now, row, waited));
                }
            }
        }
    }

    /// The rows of a subscription get the columns that its table has got.
    fn fill(&mut self, put: &StoredSubscription) {
        let known: BTreeMap<_, _> = self
            .subscriptions
            .iter()
            .filter_map(|(id, stored)| Some((*id, stored.known.as_ref()?)))
            .collect();
        let (Some(before), Some(now)) = (known.get(&put.id), &put.known) else { return };
        for (column, value) in now.filled_since(before) {
            let knows = |id: &_| known.get(id).is_some_and(|it| it.columns.contains(&column));
            self.rows.fill(put.id, column, &value, knows);
        }
    }

    fn change(&mut self, id: SubscriptionId, changes: Vec<RowChange>) {
        let known = self.known(id).clone();
        for change in changes {
            match change {
                RowChange::Row(birth, row) => self.rows.put(id, &known, birth, &row, None),
                RowChange::Expiring(birth, row, expiry) => {
                    self.rows.put(id, &known, birth, &row, Some(expiry));
                }
                RowChange::Left(birth, key) => {
                    let knows = knowing(&self.subscriptions);
                    self.rows.left(id, known.table.id, birth, key, knows);
                }
                RowChange::Deleted(birth, key) => self.rows.deleted(known.table.id, birth, key),
            }
        }
    }

    /// Which tables there are, once the server has said so.
    pub fn tables(&self) -> Option<&[AllowedTable]> {
        self.schema.as_ref().map(|(_, tables)| &**tables)
    }

    fn known(&self, id: SubscriptionId) -> &Known {
        let stored = self.subscriptions.get(&id);
        match stored.and_then(|stored| stored.known.as_ref()) {
            Some(known) => known,
            None => panic!("rows of a subscription that is not known: {id:?}"),
        }
    }

    /// The rows that a subscription holds, with their birth and the values of its columns.
    pub fn rows(&self, id: SubscriptionId) -> BTreeMap<Key, (Birth, Row)> {
        let stored = self.subscriptions.get(&id);
        let known = stored.and_then(|stored| stored.known.as_ref());
        known.map_or_else(BTreeMap::new, |known| self.rows.held_by(id, known))
    }

    /// How it has the rows of a subscription that were born from `floor` on and before `below`.
    pub fn digest(&self, of: &Comparison) -> RowsDigest {
        let mut digest = RowsDigest::default();
        for (birth, row) in self.rows(of.subscription).values() {
            if of.floor.holds(*birth) && of.below.is_none_or(|below| *birth < below) {
                digest.add(*birth, row);
            }
        }
        digest
    }

    /// Spoils the subscription's row at this place, if there is one, as a disk may that goes bad: it
    /// has another value, is not there any more, or was born at another time. Says whether it did.
    pub fn spoil(&mut self, id: SubscriptionId, place: usize, how: Spoiling) -> bool {
        let Some(table) = self.subscription(id).and_then(|stored| stored.known.as_ref()) else {
            return false;
        };
        let (table, last) = (table.table.id, table.columns.last().copied());
        let keys: Vec<Key> = self.rows(id).into_keys().collect();
        let Some(key) = keys.into_iter().cycle().nth(place).filter(|_| last.is_some()) else {
            return false;
        };
        self.rows.spoil(table, key, last, how);
        true
    }

    /// The keys of the rows that a subscription shows only until it is loaded anew.
    pub fn ghosts(&self, id: SubscriptionId) -> BTreeSet<Key> {
        self.rows.ghosts_of(id)
    }

    /// Every row of a table that an app sees.
    pub fn visible(&self, table: TableId) -> BTreeMap<Key, ShownRow> {
        self.rows.of_table(table)
    }

    /// Writes, as an app does. `rows` are those that the mutation names.
    pub fn wrote(
        &mut self,
        lane: Lane,
        mutation: Mutation,
        rows: Vec<(TableId, Row)>,
    ) -> StoredMutation {
        self.outbox.add(lane, mutation, rows)
    }

    /// Takes back what a machine says can be taken back.
    pub fn take_back(&mut self, id: MutationId) {
        self.outbox.take_back(id);
        let outbox = &self.outbox;
        self.rows.drop_unheld(|table, key| outbox.waits_for(table, &key.0));
    }

    /// The frame that a machine wants sent.
    pub fn mutate(&self, outgoing: &Outgoing) -> Mutate {
        self.outbox.mutate(outgoing)
    }

    /// What was written and is not decided.
    pub fn waiting(&self) -> &BTreeMap<MutationId, Waiting> {
        &self.outbox.waiting
    }

    /// How far a lane's mutations are sent and decided.
    pub fn writer(&self, lane: &Lane) -> Option<&StoredWriter> {
        self.outbox.writers.get(lane)
    }

    /// What became of mutations, in the order in which that was heard.
    pub fn settled(&self) -> &[(MutationId, Settled)] {
        &self.outbox.settled
    }

    /// How far a lane is.
    pub fn lane(&self, lane: &Lane) -> Option<&StoredLane> {
        self.lanes.get(lane)
    }

    /// What is stored of a subscription.
    pub fn subscription(&self, id: SubscriptionId) -> Option<&StoredSubscription> {
        self.subscriptions.get(&id)
    }

    /// All that is stored of subscriptions, in the order of their numbers.
    pub fn subscriptions(&self) -> impl Iterator<Item = &StoredSubscription> {
        self.subscriptions.values()
    }

    /// How many pieces are put aside.
    pub fn staged(&self) -> usize {
        self.staged.len()
    }
}

/// Which subscriptions have which columns.
fn knowing(
    subscriptions: &BTreeMap<SubscriptionId, StoredSubscription>,
) -> impl Fn(&SubscriptionId, ColumnId) -> bool {
    |id, column| {
        let known = subscriptions.get(id).and_then(|stored| stored.known.as_ref());
        known.is_some_and(|known| known.columns.contains(&column))
    }
}
