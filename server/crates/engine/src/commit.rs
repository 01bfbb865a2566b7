//! From operations to the net changes of one commit.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use protocol::codec;
use protocol::ids::{Birth, ClientId, Epoch, Lane, MutationNumber, SeqId, TableId, TenantId};
use protocol::limits::{COMMIT_BYTES_MAX, KEY_BYTES_MAX, OPERATIONS_MAX, ROW_BYTES_MAX};
use protocol::mutation::{Decision, Guard, Operation, Reason, Rejection, RowKey};
use protocol::value::Row;

use crate::access::{self, Actor};
use crate::catalog::{Catalog, Table};
use crate::change_index::Mark;
use crate::command::Time;
use crate::error::EngineError;
use crate::keys;
use crate::limits::COMMIT_WORK_BYTES_MAX;
use crate::merge::{self, Refused, Writer};
use crate::partition::{OpenLane, OpenPartition};
use crate::rows::{self, Image, Place, Stored};
use crate::transaction::Transaction;

/// What one statement or mutation did: visible all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The lane.
    pub lane: Lane,
    /// Its epoch.
    pub epoch: Epoch,
    /// The lane's last change before.
    pub before: SeqId,
    /// The lane's last change after it; the same where nothing changed.
    pub seq: SeqId,
    /// The net changes, at most one for each birth, with consecutive SeqIds.
    pub changes: Vec<Change>,
    /// The decision, of a mutation.
    pub decided: Option<Decided>,
}

/// The net change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its position.
    pub seq: SeqId,
    /// The table.
    pub table: TableId,
    /// The birth of the row.
    pub birth: Birth,
    /// The values of its primary key.
    pub key: Row,
    /// The row before the commit; `None` when it is born here.
    pub old: Option<Image>,
    /// The row after the commit; `None` when it is deleted. It can differ from the one before in
    /// its expiry alone, which whoever holds it must hear, or would drop it too early.
    pub new: Option<Image>,
}

/// A mutation that was decided, for the client that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Whose it is.
    pub user: TenantId,
    /// Of which replica.
    pub client: ClientId,
    /// Its number.
    pub number: MutationNumber,
    /// The answer.
    pub decision: Decision,
    /// The rows that it names as they are now, where the user may read them.
    pub rows: Vec<(RowKey, Option<(Birth, Image)>)>,
}

/// Why a commit does not come about.
#[derive(Debug)]
pub(crate) enum Fault {
    Rejected(Rejection),
    Engine(EngineError),
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// What every commit of an entry is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) actor: &'a Actor,
    pub(crate) time: Time,
}

/// A commit that is being put together. It only reads until it is whole.
#[derive(Debug)]
struct Draft<'a> {
    context: Context<'a>,
    lane: &'a OpenLane,
    touched: Vec<Touched<'a>>,
    /// The last of `touched` with a key.
    latest: BTreeMap<(TableId, Vec<u8>), usize>,
    /// Bytes read so far.
    work: usize,
}

/// A row that operations of the commit name.
#[derive(Debug)]
struct Touched<'a> {
    /// The last operation that names it.
    operation: u32,
    table: &'a Table,
    key: Row,
    key_bytes: Vec<u8>,
    /// The row before the commit.
    stored: Option<Stored>,
    /// A row with this key that nobody sees any more.
    expired: Option<Stored>,
    old: Option<Row>,
    new: Option<Row>,
}

/// A net change that has not got its place yet.
struct Pending<'t> {
    touched: &'t Touched<'t>,
    /// The encoded row and its expiry; `None` when it is deleted.
    new: Option<(Vec<u8>, Option<Time>)>,
}

/// Makes one commit of `operations`, and moves the lane.
pub(crate) fn commit(
    tx: &mut Transaction<'_>,
    lane: &mut OpenLane,
    context: Context<'_>,
    operations: &[Operation],
) -> Result<Vec<Change>, Fault> {
    let (touched, latest) = (Vec::new(), BTreeMap::new());
    let mut draft = Draft { context, lane, touched, latest, work: 0 };
    let operated = draft.operate_all(tx, operations);
    let Draft { touched, mut work, .. } = draft;
    let pending = operated.and_then(|()| net(context, &touched, &mut work));
    tx.spend(work);
    let changes = write(tx, lane, context, pending?)?;
    if let Some(last) = changes.last() {
        lane.advance(tx, last.seq);
    }
    Ok(changes)
}

/// The rows that operations name, where the writer may read them. No more than a commit has room
/// for: only of what was refused there can be more.
pub(crate) fn keys_of(lane: &Lane, context: Context<'_>, operations: &[Operation]) -> Vec<RowKey> {
    let (mut keys, mut bytes) = (Vec::new(), 0);
    let mut seen = BTreeSet::new();
    for operation in operations {
        let Some(table) = context.catalog.table(operation.table) else { continue };
        let schema = table.schema();
        if !access::may_read(schema, lane, context.actor) {
            continue;
        }
        let Ok(key) = merge::key(schema, &operation.action, context.writer()) else { continue };
        let key_bytes = keys::of_row(&key);
        bytes += key_bytes.len();
        if bytes > COMMIT_BYTES_MAX {
            break;
        }
        if seen.insert((schema.id, key_bytes)) {
            keys.push(RowKey { table: schema.id, key });
        }
    }
    keys
}

/// A row by its key, as the writer would read it.
pub(crate) fn row_now(
    tx: &Transaction<'_>,
    lane: &OpenLane,
    context: Context<'_>,
    key: &RowKey,
) -> Result<Option<(Birth, Image)>, EngineError> {
    let Some(table) = context.catalog.table(key.table) else { return Ok(None) };
    let partition = lane.partition(key.table);
    let place = Place { table, partition: &partition, key: &keys::of_row(&key.key) };
    place.find_seen(context.time, |family, key| tx.get(family, key))
}

impl<'a> Context<'a> {
    fn writer(self) -> Writer<'a> {
        Writer { user: &self.actor.user, time: self.time }
    }

    /// Whether operations name what this shard has not been told of yet. Then it is not for this
    /// place of the log to say that there is no such thing.
    pub(crate) fn is_behind(self, operations: &[Operation]) -> bool {
        operations.iter().any(|operation| match self.catalog.any(operation.table) {
            None => true,
            Some(table) => table.is_used() && operation.version > table.schema().version,
        })
    }
}

impl<'a> Draft<'a> {
    fn operate_all(&mut self, tx: &Transaction<'_>, operations: &[Operation]) -> Result<(), Fault> {
        for (number, operation) in (0..).zip(operations) {
            self.operate(tx, number, operation)?;
        }
        Ok(())
    }

    fn operate(
        &mut self,
        tx: &Transaction<'_>,
        number: u32,
        operation: &Operation,
    ) -> Result<(), Fault> {
        let refuse = |(reason, column)| {
            Fault::Rejected(Rejection { operation: number, table: operation.table, column, reason })
        };
        let context = self.context;
        if number as usize >= OPERATIONS_MAX {
            return Err(refuse((Reason::CommitTooLarge, None)));
        }
        let table = context.catalog.table(operation.table);
        let table = table.ok_or_else(|| refuse((Reason::TableUnknown, None)))?;
        let schema = table.schema();
        if !access::is_of_lane(schema, &self.lane.lane) {
            return Err(refuse((Reason::LaneOfTable, None)));
        }
        if !access::may_write(schema, &self.lane.lane, context.actor) {
            return Err(refuse((Reason::Forbidden, None)));
        }
        let key = merge::key(schema, &operation.action, context.writer()).map_err(refuse)?;
        let key_bytes = keys::of_row(&key);
        if key_bytes.len() > KEY_BYTES_MAX {
            return Err(refuse((Reason::KeyTooLarge, None)));
        }
        let place = self.touch(tx, table, number, key, key_bytes)?;
        if self.work > COMMIT_WORK_BYTES_MAX {
            return Err(refuse((Reason::CommitTooLarge, None)));
        }
        let touched = &self.touched[place];
        if let Some(guard) = &operation.guard {
            touched.meet(guard).map_err(refuse)?;
        }
        let current = touched.new.as_ref();
        let next = merge::act(schema, current, &operation.action, context.writer());
        let next = next.map_err(refuse)?;
        access::check_owner(schema, context.actor, current, next.as_ref())
            .map_err(|reason| refuse((reason, access::owner_column(schema))))?;
        self.put(place, number, next);
        Ok(())
    }

    /// The place in `touched` of the row with this key, as the operations before have left it.
    fn touch(
        &mut self,
        tx: &Transaction<'_>,
        table: &'a Table,
        operation: u32,
        key: Row,
        key_bytes: Vec<u8>,
    ) -> Result<usize, EngineError> {
        let schema = table.schema();
        if let Some(place) = self.latest.get(&(schema.id, key_bytes.clone())) {
            return Ok(*place);
        }
        let partition = self.lane.partition(schema.id);
        let found = Place { table, partition: &partition, key: &key_bytes };
        let found = found.find(|family, key| tx.get(family, key))?;
        self.work += key_bytes.len();
        self.work += found.as_ref().map_or(0, |found| found.image.row_bytes().len());
        let is_expired = |found: &Stored| found.image.is_expired(self.context.time);
        let (expired, stored) = match found {
            Some(found) if is_expired(&found) => (Some(found), None),
            found => (None, found),
        };
        let old = match &stored {
            Some(stored) => Some(stored.image.view(table)?.row(schema)),
            None => None,
        };
        let new = old.clone();
        let touched = Touched { operation, table, key, key_bytes, stored, expired, old, new };
        Ok(self.push(touched))
    }

    fn push(&mut self, touched: Touched<'a>) -> usize {
        let place = self.touched.len();
        self.latest.insert((touched.table.schema().id, touched.key_bytes.clone()), place);
        self.touched.push(touched);
        place
    }

    /// Makes `next` of the row at `place`. What was there before the commit and was deleted in it
    /// stays deleted: a row that is inserted again is another row.
    fn put(&mut self, place: usize, operation: u32, next: Option<Row>) {
        let touched = &mut self.touched[place];
        if next.is_none() || touched.new.is_some() || touched.old.is_none() {
            touched.operation = operation;
            touched.new = next;
            return;
        }
        let (table, key) = (touched.table, touched.key.clone());
        let key_bytes = touched.key_bytes.clone();
        let (stored, expired, old, new) = (None, None, None, next);
        self.push(Touched { operation, table, key, key_bytes, stored, expired, old, new });
    }
}

impl Touched<'_> {
    /// Holds a guard against the row.
    fn meet(&self, guard: &Guard) -> Result<(), Refused> {
        let holds = match guard {
            Guard::Absent => self.new.is_none(),
            Guard::Unchanged(seq) => {
                self.new.is_some()
                    && self.stored.as_ref().is_some_and(|stored| stored.image.seq() == *seq)
            }
            Guard::Values(expected) => {
                let schema = self.table.schema();
                if let Some(gone) = expected.iter().find(|e| schema.column(e.0).is_none()) {
                    return Err((Reason::ColumnUnknown, Some(gone.0)));
                }
                self.new.as_ref().is_some_and(|row| {
                    expected.iter().all(|e| rows::values_of(schema, row, &[e.0]) == [&e.1])
                })
            }
        };
        if holds { Ok(()) } else { Err((Reason::GuardFailed, None)) }
    }

    fn refuse(&self, reason: Reason) -> Fault {
        let (operation, table) = (self.operation, self.table.schema().id);
        Fault::Rejected(Rejection { operation, table, column: None, reason })
    }

    /// When the row expires if it is written at `time`: never earlier than it did.
    fn expiry(&self, time: Time) -> Option<Time> {
        let micros = i64::from(self.table.schema().ttl_seconds?) * 1_000_000;
        let expiry = Time(time.0.saturating_add(micros).min(i64::MAX - 1));
        Some(self.expiry_before().map_or(expiry, |before| before.max(expiry)))
    }

    fn expiry_before(&self) -> Option<Time> {
        self.stored.as_ref().and_then(|stored| stored.image.expiry())
    }

    /// The bytes that the indexes keep of the row before and after, and whether one of them is too
    /// large.
    fn index_bytes(&self) -> (usize, bool) {
        let schema = self.table.schema();
        let (mut bytes, mut is_large) = (0, false);
        for index in &schema.indexes {
            for row in self.old.iter().chain(&self.new) {
                let length = rows::key_of(schema, row, &index.columns).len();
                bytes += length;
                is_large |= length > KEY_BYTES_MAX;
            }
        }
        (bytes, is_large)
    }
}

/// What is different after the commit, if all of it is within bounds.
fn net<'t>(
    context: Context<'_>,
    touched: &'t [Touched<'t>],
    work: &mut usize,
) -> Result<Vec<Pending<'t>>, Fault> {
    let mut pending = Vec::with_capacity(touched.len());
    let mut bytes = 0;
    for touched in touched {
        let expiry = touched.expiry(context.time);
        let is_same = match (&touched.old, &touched.new) {
            (None, None) => true,
            (old, new) => old == new && touched.expiry_before() == expiry,
        };
        if is_same {
            continue;
        }
        let new = touched.new.as_ref().map(|row| (codec::encode(row), expiry));
        let row_bytes = new.as_ref().map_or(0, |(row, _)| row.len());
        if row_bytes > ROW_BYTES_MAX {
            return Err(touched.refuse(Reason::RowTooLarge));
        }
        let (index_bytes, is_large) = touched.index_bytes();
        if is_large {
            return Err(touched.refuse(Reason::KeyTooLarge));
        }
        bytes += row_bytes + touched.key_bytes.len();
        // An indexed value is in up to three keys that are written.
        *work += row_bytes + 3 * index_bytes;
        if bytes > COMMIT_BYTES_MAX || *work > COMMIT_WORK_BYTES_MAX {
            return Err(touched.refuse(Reason::CommitTooLarge));
        }
        pending.push(Pending { touched, new });
    }
    Ok(pending)
}

fn write(
    tx: &mut Transaction<'_>,
    lane: &OpenLane,
    context: Context<'_>,
    pending: Vec<Pending<'_>>,
) -> Result<Vec<Change>, EngineError> {
    let mut partitions: BTreeMap<TableId, OpenPartition> = BTreeMap::new();
    let mut changes = Vec::with_capacity(pending.len());
    let mut seq = lane.seq;
    for Pending { touched, new } in pending {
        let schema = touched.table.schema();
        let open = match partitions.entry(schema.id) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => {
                closed.insert(OpenPartition::open(tx, lane.partition(schema.id))?)
            }
        };
        seq = seq.next();
        let new = new.map(|(row, expiry)| Image::new(seq, schema.version, expiry, &row));
        changes.push(write_one(tx, context.time, open, touched, seq, new)?);
    }
    for partition in partitions.into_values() {
        partition.close(tx);
    }
    Ok(changes)
}

fn write_one(
    tx: &mut Transaction<'_>,
    time: Time,
    OpenPartition { partition, state, .. }: &mut OpenPartition,
    touched: &Touched<'_>,
    seq: SeqId,
    new: Option<Image>,
) -> Result<Change, EngineError> {
    let place = Place { table: touched.table, partition, key: &touched.key_bytes };
    let mark = Mark { key: &touched.key, time };
    match (&touched.stored, &new) {
        (None, None) => {}
        (None, Some(new)) => {
            if let Some(expired) = &touched.expired {
                place.remove(tx, state, expired)?;
            }
            place.insert(tx, state, new)?;
        }
        (Some(old), Some(new)) => place.update(tx, state, old, new, &mark)?,
        (Some(old), None) => place.delete(tx, state, old, seq, &mark)?,
    }
    let birth = touched.stored.as_ref().map_or(Birth(seq), |stored| stored.birth);
    let old = touched.stored.as_ref().map(|stored| stored.image.clone());
    let (table, key) = (touched.table.schema().id, touched.key.clone());
    Ok(Change { seq, table, birth, key, old, new })
}
