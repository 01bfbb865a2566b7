//! The whole write rule: one entry of the log becomes one batch, the outcome of each command, and
//! the commits that the live engine is told.
//!
//! A pure function of the log. No clock, no chance, no order of a hash map; what a command needs
//! of either travels in it. Every node that has applied the same entries has the same contents,
//! and the same sum over them (INV-6).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::codec;
use protocol::ids::{Epoch, Lane, TableId};
use protocol::mutation::{Reason, Rejection};
use protocol::schema::TableSchema;
use serde::{Deserialize, Serialize};
use server_storage::{Batch, Direction, KeyRange, Snapshot};

use crate::access;
use crate::catalog::{Catalog, Table};
use crate::command::{Command, Confirm, Entry, Mutate, Outcome, Request, Time, Write};
use crate::commit::{self, Commit, Context, Fault};
use crate::decide;
use crate::error::EngineError;
use crate::keys::{self, NodeKind, STATE};
use crate::limits::REQUEST_MICROS;
use crate::partition::OpenLane;
use crate::retention;
use crate::slot::{ShardNumber, Slot, StoreNumber};
use crate::stores::{self, Stores};
use crate::transaction::{ContentSum, Transaction};

/// A shard as this node has applied it.
///
/// After an error, or when a batch could not be written, what it has in memory may be ahead of the
/// store: open it anew.
#[derive(Debug)]
pub struct Shard {
    number: ShardNumber,
    catalog: Arc<Catalog>,
    slots: BTreeMap<Slot, SlotState>,
    sum: ContentSum,
    stores: Arc<Stores>,
}

/// Where a slot lies on this node, and the history it has.
#[derive(Clone, Copy, Debug)]
struct SlotState {
    store: StoreNumber,
    epoch: Epoch,
}

/// What came of an entry.
#[derive(Debug)]
pub struct Applied {
    /// To be written at once, with the entry's log id added.
    pub batch: Batch,
    /// One for each command.
    pub outcomes: Vec<Outcome>,
    /// In their order.
    pub commits: Vec<Commit>,
    /// Whether histories were replaced, which is more than commits can say: who follows them has
    /// to look at the rows.
    pub is_new_history: bool,
}

/// What is kept of a request.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    request: Request,
    outcome: Outcome,
}

impl Shard {
    /// The shard as `snapshot` has it; without any slot before it was founded.
    ///
    /// # Errors
    /// [`EngineError::Storage`] or [`EngineError::Damaged`].
    pub fn open(
        snapshot: &dyn Snapshot,
        number: ShardNumber,
        stores: Arc<Stores>,
    ) -> Result<Self, EngineError> {
        let catalog = Arc::new(Catalog::read(snapshot, number)?);
        let sum = sum(snapshot, number)?;
        let mut shard = Self { number, catalog, slots: BTreeMap::new(), sum, stores };
        for (slot, epoch) in stores::slots(snapshot, number)? {
            let store = stores::of_slot(snapshot, number, slot)?;
            let store = store.ok_or(EngineError::damaged("slot"))?;
            shard.slots.insert(slot, SlotState { store, epoch });
        }
        Ok(shard)
    }

    /// The tables, as of the last entry. Publish it before the batch is written: see [`Catalog`].
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The sum over the contents, as of the last entry.
    pub fn sum(&self) -> ContentSum {
        self.sum
    }

    /// Applies the next entry, on a snapshot that has the entries before it and no other.
    ///
    /// # Errors
    /// [`EngineError`]: the shard cannot go on. A command that is refused is an outcome.
    pub fn apply(
        &mut self,
        snapshot: &dyn Snapshot,
        entry: &Entry,
    ) -> Result<Applied, EngineError> {
        let sum = self.sum;
        let mut applying = Applying {
            shard: self,
            tx: Transaction::new(snapshot, sum),
            time: entry.time,
            commits: Vec::new(),
            is_new_history: false,
        };
        let mut outcomes = Vec::with_capacity(entry.commands.len());
        for command in &entry.commands {
            outcomes.push(applying.run(command)?);
        }
        let Applying { mut tx, commits, is_new_history, .. } = applying;
        let sum = tx.sum();
        tx.put_of_node(keys::of_shard(NodeKind::Sum, self.number), sum.encode());
        self.sum = sum;
        Ok(Applied { batch: tx.finish(), outcomes, commits, is_new_history })
    }

    /// The slots that lie in this shard, in order.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.keys().copied()
    }

    fn slot(&self, slot: Slot) -> Option<SlotState> {
        self.slots.get(&slot).copied()
    }
}

/// An entry being applied.
struct Applying<'a, 's> {
    shard: &'a mut Shard,
    tx: Transaction<'s>,
    time: Time,
    commits: Vec<Commit>,
    is_new_history: bool,
}

impl Applying<'_, '_> {
    fn run(&mut self, command: &Command) -> Result<Outcome, EngineError> {
        if self.shard.slots.is_empty() && !matches!(command, Command::Found { .. }) {
            return Ok(Outcome::WrongShard);
        }
        match command {
            Command::Found { slots, epoch } => self.found(slots, *epoch),
            Command::NewEpoch(epoch) => Ok(self.new_epoch(*epoch)),
            Command::Define(schema) => self.define(schema),
            Command::Drop(table) => {
                if let Some(dropped) = self.shard.catalog.table(*table).map(Table::dropped) {
                    self.put_table(dropped)?;
                }
                Ok(Outcome::Done)
            }
            Command::Write(write) => self.write(write),
            Command::Mutate(mutate) => self.mutate(mutate),
            Command::Confirm(confirm) => self.confirm(confirm),
            Command::Expire { slot, rows_max } => {
                let Some(SlotState { store, .. }) = self.shard.slot(*slot) else {
                    return Ok(Outcome::WrongShard);
                };
                let catalog = Arc::clone(&self.shard.catalog);
                retention::expire(&mut self.tx, &catalog, store, self.time, *rows_max)
            }
            Command::Retire { lane, table, through } => {
                let Some(lane) = self.open(lane)? else { return Ok(Outcome::WrongShard) };
                let catalog = Arc::clone(&self.shard.catalog);
                retention::retire(&mut self.tx, &catalog, &lane, *table, *through)
            }
            Command::Forget { slot, silent_since, count_max } => {
                let Some(SlotState { store, .. }) = self.shard.slot(*slot) else {
                    return Ok(Outcome::WrongShard);
                };
                retention::forget(&mut self.tx, store, self.time, *silent_since, *count_max)
            }
            Command::Sweep { table, rows_max } => self.sweep(*table, *rows_max),
        }
    }

    fn open(&self, lane: &Lane) -> Result<Option<OpenLane>, EngineError> {
        match self.shard.slot(Slot::of(lane)) {
            Some(SlotState { store, epoch }) => {
                OpenLane::open(&self.tx, lane, store, epoch).map(Some)
            }
            None => Ok(None),
        }
    }

    fn found(&mut self, slots: &[Slot], epoch: Epoch) -> Result<Outcome, EngineError> {
        if !self.shard.slots.is_empty() {
            return Ok(Outcome::Done);
        }
        let shard = self.shard.number;
        for slot in slots {
            if self.shard.slots.contains_key(slot) {
                continue;
            }
            let store = self.shard.stores.allocate(&mut self.tx, shard, *slot);
            self.tx.insert(
                STATE,
                keys::of_slot(NodeKind::SlotEpoch, shard, *slot),
                epoch.as_bytes().to_vec(),
            );
            self.shard.slots.insert(*slot, SlotState { store, epoch });
        }
        Ok(Outcome::Done)
    }

    fn new_epoch(&mut self, epoch: Epoch) -> Outcome {
        self.is_new_history = true;
        let shard = self.shard.number;
        for (slot, state) in &mut self.shard.slots {
            let key = keys::of_slot(NodeKind::SlotEpoch, shard, *slot);
            let old = std::mem::replace(&mut state.epoch, epoch);
            self.tx.replace(STATE, key, Some(old.as_bytes()), epoch.as_bytes().to_vec());
        }
        Outcome::Done
    }

    fn define(&mut self, schema: &TableSchema) -> Result<Outcome, EngineError> {
        match self.shard.catalog.define(schema) {
            Some(table) => {
                self.put_table(table)?;
                Ok(Outcome::Done)
            }
            None => Ok(Outcome::SchemaRefused),
        }
    }

    fn put_table(&mut self, table: Table) -> Result<(), EngineError> {
        let key = keys::table(self.shard.number, table.schema().id);
        let (old, new) = (self.tx.get(STATE, &key)?, table.encode());
        if old.as_ref() != Some(&new) {
            self.tx.replace(STATE, key, old.as_deref(), new);
            self.shard.catalog = Arc::new(self.shard.catalog.with(table));
        }
        Ok(())
    }

    fn sweep(&mut self, id: TableId, rows_max: u32) -> Result<Outcome, EngineError> {
        let catalog = Arc::clone(&self.shard.catalog);
        let Some(table) = catalog.unswept().find(|table| table.schema().id == id) else {
            return Ok(Outcome::Removed { count: 0, more: false });
        };
        let stores: Vec<_> = self.shard.slots.values().map(|state| state.store).collect();
        let outcome = retention::sweep(&mut self.tx, &catalog, &stores, id, rows_max)?;
        if matches!(outcome, Outcome::Removed { more: false, .. }) {
            self.put_table(table.swept())?;
        }
        Ok(outcome)
    }

    fn write(&mut self, write: &Write) -> Result<Outcome, EngineError> {
        let Some(mut lane) = self.open(&write.lane)? else { return Ok(Outcome::WrongShard) };
        if !access::may_enter(&write.lane, &write.actor.user) {
            return Ok(Outcome::Forbidden);
        }
        let (user, store) = (&write.actor.user, lane.store);
        if let Some(request) = write.request {
            let key = keys::request(store, &write.lane, user, request.id);
            if let Some(kept) = self.tx.get(STATE, &key)? {
                let (first, outcome) = read_answer(&kept)?;
                let is_same = first.hash == request.hash;
                return Ok(if is_same { outcome } else { Outcome::RequestReused });
            }
        }
        let before = lane.seq;
        let catalog = Arc::clone(&self.shard.catalog);
        let context = Context { catalog: &catalog, actor: &write.actor, time: self.time };
        if self.tx.is_exhausted() {
            return Ok(Outcome::Later);
        }
        if context.is_behind(&write.operations) {
            return Ok(Outcome::SchemaBehind);
        }
        let outcome = match commit::commit(&mut self.tx, &mut lane, context, &write.operations) {
            Ok(changes) => {
                let (epoch, seq) = (lane.epoch, lane.seq);
                if !changes.is_empty() {
                    let lane = lane.lane;
                    self.commits.push(Commit { lane, epoch, before, seq, changes, decided: None });
                }
                let rows = write.request.map_or(write.operations.len() as u64, |r| r.rows);
                Outcome::Written { epoch, seq, rows }
            }
            // Not an answer: the statement is planned again.
            Err(Fault::Rejected(Rejection { reason: Reason::GuardFailed, .. })) => {
                return Ok(Outcome::GuardFailed);
            }
            Err(Fault::Rejected(rejection)) => Outcome::Rejected(rejection),
            Err(Fault::Engine(error)) => return Err(error),
        };
        if let Some(request) = write.request {
            let key = keys::request(store, &write.lane, user, request.id);
            let kept = codec::encode(&Answer { request, outcome: outcome.clone() });
            self.tx.insert(STATE, key, kept);
            let end = Time(self.time.0.saturating_add(REQUEST_MICROS));
            let due = keys::request_due(store, end, &write.lane, user, request.id);
            self.tx.insert(keys::DUE, due, Vec::new());
        }
        Ok(outcome)
    }

    fn mutate(&mut self, mutate: &Mutate) -> Result<Outcome, EngineError> {
        let Some(mut lane) = self.open(&mutate.lane)? else { return Ok(Outcome::WrongShard) };
        if !access::may_enter(&mutate.lane, &mutate.actor.user) {
            return Ok(Outcome::Forbidden);
        }
        let catalog = Arc::clone(&self.shard.catalog);
        let context = Context { catalog: &catalog, actor: &mutate.actor, time: self.time };
        decide::mutate(&mut self.tx, &mut lane, context, mutate, &mut self.commits)
    }

    fn confirm(&mut self, confirm: &Confirm) -> Result<Outcome, EngineError> {
        match self.open(&confirm.lane)? {
            Some(_) if !access::may_enter(&confirm.lane, &confirm.user) => Ok(Outcome::Forbidden),
            Some(lane) => decide::confirm(&mut self.tx, &lane, self.time, confirm),
            None => Ok(Outcome::WrongShard),
        }
    }
}

/// What is kept of a request.
pub(crate) fn read_answer(kept: &[u8]) -> Result<(Request, Outcome), EngineError> {
    let kept: Answer =
        codec::decode(kept, usize::MAX).map_err(|_| EngineError::damaged("request"))?;
    Ok((kept.request, kept.outcome))
}

/// The sum over a shard's contents that was kept while they changed.
///
/// # Errors
/// [`EngineError::Storage`] or [`EngineError::Damaged`].
pub fn sum(snapshot: &dyn Snapshot, shard: ShardNumber) -> Result<ContentSum, EngineError> {
    match snapshot.get(STATE, &keys::of_shard(NodeKind::Sum, shard))? {
        Some(value) => ContentSum::decode(&value),
        None => Ok(ContentSum::default()),
    }
}

/// The same, from all that is stored. Equal to [`sum`] unless something was damaged.
///
/// # Errors
/// [`EngineError::Storage`] or [`EngineError::Damaged`].
pub fn recount(snapshot: &dyn Snapshot, shard: &Shard) -> Result<ContentSum, EngineError> {
    let mut sum = ContentSum::default();
    let of_shard = [NodeKind::SlotEpoch, NodeKind::Table]
        .map(|kind| (STATE, KeyRange::prefix(keys::of_shard(kind, shard.number))));
    let of_stores = shard.slots.values().flat_map(|state| {
        keys::LAYOUT.families.iter().map(|family| (*family, keys::of_store(state.store)))
    });
    for (family, range) in of_shard.into_iter().chain(of_stores) {
        let mut scan = snapshot.scan(family, range, Direction::Forward);
        while let Some(entry) = scan.next()? {
            sum.add(family, entry.key, entry.value);
        }
    }
    Ok(sum)
}
