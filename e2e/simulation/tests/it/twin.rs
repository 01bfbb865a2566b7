//! The replica of a client in a file, beside that in memory: it does the same, and shows to the app
//! what the server has said and what waits on it, at each commit and nothing in between (INV-9).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::frame::v1::Mutate;
use protocol::ids::{ClientId, ColumnId, TableId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Mutation, Operation};
use protocol::value::{Row, Value};
use sdk_machine::replica::MemoryReplica;
use sdk_machine::{Comparison, MutationId, Outgoing, Step, Stored};
use sdk_replica::{Change, Reader, Replica, ReplicaError, Transaction, Writer};
use tempfile::TempDir;

use crate::tables::{COLUMNS, M, T, U, USER, table};

/// What an app is shown: of each row, by its table and key, the columns in their order.
type Shown = BTreeMap<(TableId, i64), Vec<Value>>;

/// What is on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    main: Vec<u8>,
    journal: Vec<u8>,
}

pub(crate) struct Twin {
    client: ClientId,
    /// Behind a crash, until it is opened.
    replica: Option<Replica>,
    folder: TempDir,
    /// What was shown before each commit since this was looked at.
    seen: Arc<Mutex<Vec<Shown>>>,
    /// What was shown when this was looked at.
    shown: Shown,
}

impl Twin {
    pub(crate) fn new(client: ClientId) -> Self {
        // In memory where that can be: of what a disk keeps, copies are made.
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() { TempDir::new_in(shared) } else { TempDir::new() };
        let (seen, shown) = Default::default();
        let mut twin = Self { client, replica: None, folder: folder.unwrap(), seen, shown };
        twin.open();
        twin
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("replica")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("replica-wal")
    }

    fn open(&mut self) {
        let mut replica = Replica::open(&self.path(), self.client).unwrap();
        let (mut reader, seen) = (replica.reader().unwrap(), Arc::clone(&self.seen));
        replica.before_commits(move || seen.lock().unwrap().push(shown_by(&mut reader)));
        self.replica = Some(replica);
    }

    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().unwrap()
    }

    /// What a crash at this moment leaves.
    pub(crate) fn files(&self) -> Files {
        let main = fs::read(self.path()).unwrap();
        Files { main, journal: fs::read(self.journal()).unwrap_or_default() }
    }

    /// The process has ended, and these files are there.
    pub(crate) fn replace(&mut self, files: &Files) {
        drop(self.replica.take());
        let _ = fs::remove_file(self.folder.path().join("replica-shm"));
        fs::write(self.path(), &files.main).unwrap();
        fs::write(self.journal(), &files.journal).unwrap();
        self.open();
    }

    /// What a machine starts from.
    pub(crate) fn load(&mut self) -> Stored {
        let mut stored = self.replica().load().unwrap();
        stored.lanes.sort_by(|one, other| one.lane.cmp(&other.lane));
        stored.writers.sort_by(|one, other| one.lane.cmp(&other.lane));
        // The one in memory does not count them.
        stored.outbox.iter_mut().for_each(|mutation| mutation.bytes = 100);
        self.seen.lock().unwrap().clear();
        let mut reader = self.replica().reader().unwrap();
        self.shown = shown_by(&mut reader);
        stored
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        self.replica().apply(step).unwrap();
    }

    pub(crate) fn mutate(&self, outgoing: &Outgoing) -> Mutate {
        self.replica.as_ref().unwrap().mutate(outgoing).unwrap()
    }

    pub(crate) fn take_back(&mut self, id: MutationId) {
        self.replica().cancel(id).unwrap().unwrap();
    }

    pub(crate) fn check_digest(&self, of: &Comparison, memory: &MemoryReplica) {
        let ours = self.replica.as_ref().unwrap().digest(of).unwrap();
        assert_eq!(ours, memory.digest(of), "{of:?}");
    }

    /// The app writes. What comes of it is what was changed, which is nothing where the last of the
    /// operations cannot be.
    pub(crate) fn write(&mut self, operations: &[Operation]) -> Option<(MutationId, Mutation)> {
        let writer = Writer { user: USER.parse().unwrap(), now: 1_800_000_000_000_000 };
        let mut transaction = self.replica().begin(writer).unwrap();
        let done: Vec<_> = operations.iter().map(|one| perform(&mut transaction, one)).collect();
        if done.last().is_some_and(Result::is_err) {
            return None;
        }
        let id = transaction.commit().unwrap().id?;
        Some((id, self.replica().mutation(id).unwrap().unwrap()))
    }

    /// Holds what is shown, and what was shown on the way, against the replica in memory.
    pub(crate) fn check(&mut self, memory: &MemoryReplica) {
        let shown = expected(memory);
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let mut reader = self.replica().reader().unwrap();
        assert_eq!(shown_by(&mut reader), shown, "the fold of what waits (INV-9)");
        assert!(seen.len() < 2, "a step is one commit");
        for between in seen {
            assert_eq!(between, self.shown, "nothing is shown between two steps");
        }
        self.shown = shown;
    }
}

/// All that an app can see of the tables.
fn shown_by(reader: &mut Reader) -> Shown {
    let mut shown = Shown::new();
    for id in [T, U, M] {
        let names = COLUMNS.map(|(_, name)| name).join(", ");
        let rows = match reader.query(&format!("SELECT {names} FROM {}", table(id).name), &[]) {
            Ok(result) => result.rows,
            // It is not known yet.
            Err(ReplicaError::NoSuchTable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        for row in rows {
            let values: Vec<Value> = row.iter().cloned().collect();
            shown.insert((id, number(&values[0])), values);
        }
    }
    shown
}

/// What is to be shown: the server's rows, and what waits on them, in its plainest form.
fn expected(memory: &MemoryReplica) -> Shown {
    let mut shown = Shown::new();
    for id in [T, U, M] {
        for (key, row) in memory.visible(id) {
            let value = |(column, _)| row.values.get(&column).cloned().unwrap_or(Value::Null);
            shown.insert((id, number(&key.0[0])), COLUMNS.map(value).into());
        }
    }
    let waiting = memory.waiting().values().filter(|waiting| !waiting.is_cancelled);
    for operation in waiting.flat_map(|waiting| &waiting.mutation.operations) {
        fold(&mut shown, operation);
    }
    shown
}

fn fold(shown: &mut Shown, operation: &Operation) {
    let place = |id: &ColumnId| usize::from(id.0);
    let at = |key: &Value| (operation.table, number(key));
    match &operation.action {
        Action::Insert(values) | Action::Upsert(values) => {
            let empty = || vec![Value::Null; COLUMNS.len()];
            let row = shown.entry(at(&values[0].1)).or_insert_with(empty);
            values.iter().for_each(|ColumnValue(id, value)| row[place(id)] = value.clone());
        }
        Action::Delete { key } => drop(shown.remove(&at(&key[0]))),
        Action::Patch { key, changes } => {
            let Some(row) = shown.get_mut(&at(&key[0])) else { return };
            for change in changes {
                let ColumnValue(id, operand) = change.operand();
                let to = &mut row[place(id)];
                *to = match (change, &*to) {
                    (ColumnChange::Add(_), Value::Integer(had)) => {
                        Value::Integer(had + number(operand))
                    }
                    _ => operand.clone(),
                };
            }
        }
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        other => panic!("{other:?} is no number"),
    }
}

/// Does as an app would.
fn perform(transaction: &mut Transaction<'_>, operation: &Operation) -> Result<(), ReplicaError> {
    let name = table(operation.table).name.to_string();
    let column = |id: &ColumnId| COLUMNS[usize::from(id.0)].1;
    let key = |key: &Row| vec![("id", key[0].clone())];
    match &operation.action {
        Action::Insert(values) => {
            let named: Vec<_> = values.iter().map(|it| (column(&it.0), it.1.clone())).collect();
            transaction.insert(&name, &named)
        }
        Action::Upsert(values) => {
            let names: Vec<_> = values.iter().map(|it| column(&it.0)).collect();
            let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
            let sets = names[1..].iter().map(|name| format!("{name} = excluded.{name}"));
            let (sets, names) = (sets.collect::<Vec<_>>().join(", "), names.join(", "));
            let sql = format!(
                "INSERT INTO {name} ({names}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {sets}",
                places.join(", ")
            );
            let values: Vec<_> = values.iter().map(|it| it.1.clone()).collect();
            transaction.execute(&sql, &values).map(drop)
        }
        Action::Patch { key: of, changes } => {
            let change = |change: &ColumnChange| {
                let ColumnValue(id, operand) = change.operand();
                let operand = operand.clone();
                let change = match change {
                    ColumnChange::Set(_) => Change::Set(operand),
                    ColumnChange::Add(_) => Change::Add(operand),
                };
                (column(id), change)
            };
            let changes: Vec<_> = changes.iter().map(change).collect();
            transaction.update(&name, &key(of), &changes).map(drop)
        }
        Action::Delete { key: of } => transaction.delete(&name, &key(of)).map(drop),
    }
}
