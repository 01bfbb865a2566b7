//! Random writes of an application, among random words of the server: what is shown is what plain
//! SQLite would have made of the statements, and the server's images with what waits on them (INV-9);
//! and of the rows that are others, what is told is what there was and is. Keys are numbers or UUIDs, which
//! SQLite has as texts and the server as bytes.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::v1::{RowChange, RowNow, TableNow};
use protocol::ids::{ColumnId, TableId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Mutation, Reason, Rejection};
use protocol::schema::{MergeRule, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use rusqlite::Connection;
use sdk_machine::{Settled, SubscriptionId, Write};
use sdk_replica::{Changed, MutationId, Replica};

use crate::rows_told;
use crate::world::{
    Place, all_columns, birth, message, messages, put, query, rows, seq, step, writer,
};

/// What the rows are known by.
#[derive(Clone, Copy, Debug)]
enum Keys {
    Numbers,
    Uuids,
}

/// The UUIDs begin with this, and end with a number in decimal digits: they are in its order.
const UUID: &str = "00000000-0000-7000-8000-";

impl Keys {
    /// The SQL of a key.
    fn sql(self, number: u8) -> String {
        match self {
            Self::Numbers => number.to_string(),
            Self::Uuids => format!("'{UUID}{number:012}'"),
        }
    }

    /// The SQL of the key that is so much further.
    fn further(self, by: u8) -> String {
        match self {
            Self::Numbers => format!("id + {by}"),
            Self::Uuids => {
                format!("printf('{UUID}%012d', CAST(substr(id, {}) AS INT) + {by})", UUID.len() + 1)
            }
        }
    }

    fn value(self, number: i64) -> Value {
        if let Self::Numbers = self {
            return Value::Integer(number);
        }
        let digits = format!("{UUID}{number:012}").replace('-', "");
        Value::Uuid(u128::from_str_radix(&digits, 16).unwrap().to_be_bytes())
    }
}

fn number(key: &Value) -> i64 {
    match key {
        Value::Integer(number) => *number,
        Value::Uuid(_) => plain(key)[UUID.len()..].parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A value as plain SQLite has it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Uuid(bytes) => {
            let mut digits = format!("{:032x}", u128::from_be_bytes(*bytes));
            [20, 16, 12, 8].into_iter().for_each(|place| digits.insert(place, '-'));
            digits
        }
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Debug)]
enum Move {
    /// Statements in one transaction: which kind, with two small numbers.
    Write(Vec<(u8, u8, u8)>),
    /// The server's row, by its key, with a room.
    Row(u8, u8),
    /// The server has another row with this key.
    Again(u8, u8),
    Left(u8),
    Deleted(u8),
    Cancel(u8),
    /// The first that waits is decided, and a row is told with it: how, which, and its room.
    Settle(u8, u8, u8),
    Reopen,
}

fn a_move() -> impl Strategy<Value = Move> {
    let key = || 0..5_u8;
    prop_oneof![
        8 => vec((0..12_u8, key(), 0..5_u8), 1..5).prop_map(Move::Write),
        4 => (key(), any::<u8>()).prop_map(|(key, room)| Move::Row(key, room)),
        1 => (key(), any::<u8>()).prop_map(|(key, room)| Move::Again(key, room)),
        1 => key().prop_map(Move::Left),
        2 => key().prop_map(Move::Deleted),
        2 => any::<u8>().prop_map(Move::Cancel),
        3 => (any::<u8>(), key(), any::<u8>()).prop_map(|(kind, k, r)| Move::Settle(kind, k, r)),
        1 => Just(Move::Reopen),
    ]
}

/// The statements of one choice, on a table that is called `t`.
fn statements(keys: Keys, (kind, a, b): (u8, u8, u8)) -> Vec<String> {
    let one = |sql: String| vec![sql];
    let key = keys.sql(a);
    match kind {
        0 => one(format!("INSERT INTO t (id, room, body) VALUES ({key}, {b}, 'i{b}')")),
        1 => one(format!("INSERT OR REPLACE INTO t (id, body) VALUES ({key}, 'r{b}')")),
        2 => one(format!(
            "INSERT INTO t (id, room, body) VALUES ({key}, {b}, 'u{b}') ON CONFLICT (id)
             DO UPDATE SET body = excluded.body, room = coalesce(room, 0) + 1"
        )),
        3 => one(format!("UPDATE t SET body = 'b{b}' WHERE id = {key}")),
        4 => one(format!("UPDATE t SET room = coalesce(room, 0) + {b} WHERE id <= {key}")),
        5 => one(format!("UPDATE OR REPLACE t SET id = {key} WHERE id = {}", keys.sql(b))),
        6 => one(format!("DELETE FROM t WHERE id = {key}")),
        7 => one(format!("DELETE FROM t WHERE room > {b}")),
        8 => {
            let next = keys.further(1);
            one(format!("INSERT OR IGNORE INTO t SELECT {next}, room, body, extra FROM t"))
        }
        9 => one(format!("UPDATE t SET extra = nullif({b}, 0), body = body")),
        10 => one(format!("UPDATE t SET id = {}", keys.further(a))),
        _ => {
            let mut within = vec!["SAVEPOINT s".to_owned()];
            within.extend(statements(keys, (a * 2, b, a)));
            within.extend(["ROLLBACK TO s".to_owned(), "RELEASE s".to_owned()]);
            within
        }
    }
}

/// The table, whose room is added to.
fn table(keys: Keys) -> TableSchema {
    let mut table = messages();
    if let Keys::Uuids = keys {
        table.columns[0].column_type = ColumnType::Uuid;
    }
    table.columns[1].merge = MergeRule::Add;
    table
}

/// What the server has said of a row.
#[derive(Clone)]
struct Image {
    birth: u64,
    row: Row,
    is_held: bool,
}

struct World {
    keys: Keys,
    replica: Replica,
    /// Behind it: the files go when nobody has them open.
    place: Place,
    images: BTreeMap<i64, Image>,
    pending: Vec<(MutationId, Mutation)>,
    births: u64,
    /// What the present move has changed.
    changed: Changed,
}

impl World {
    fn new(keys: Keys) -> Self {
        let place = Place::new();
        let mut replica = place.open();
        replica.apply(&step(vec![put(1, all_columns(table(keys)))])).unwrap();
        rows_told::tell_rows(&mut replica);
        let (images, changed) = (BTreeMap::new(), Changed::default());
        Self { keys, place, replica, images, pending: vec![], births: 0, changed }
    }

    fn shown(&self) -> Vec<String> {
        rows(&self.replica, "SELECT id, room, body, extra FROM chat.messages ORDER BY id")
    }

    /// The fold, in its plainest form.
    fn folded(&self) -> Vec<String> {
        let mut rows: BTreeMap<i64, Vec<Value>> =
            self.images.iter().map(|(key, image)| (*key, image.row.0.clone())).collect();
        let id = |key: &Row| number(&key[0]);
        let set = |row: &mut Vec<Value>, ColumnValue(id, value): &ColumnValue| {
            row[usize::from(id.0) - 1] = value.clone();
        };
        for operation in self.pending.iter().flat_map(|(_, mutation)| &mutation.operations) {
            match &operation.action {
                Action::Insert(values) | Action::Upsert(values) => {
                    let key = id(&Row(vec![values[0].1.clone()]));
                    let row = rows.entry(key).or_insert_with(|| vec![Value::Null; 4]);
                    values.iter().for_each(|value| set(row, value));
                }
                Action::Delete { key } => drop(rows.remove(&id(key))),
                Action::Patch { key, changes } => {
                    let Some(row) = rows.get_mut(&id(key)) else { continue };
                    for change in changes {
                        match (change, &row[1]) {
                            (ColumnChange::Set(value), _) => set(row, value),
                            (ColumnChange::Add(value), Value::Null) => set(row, value),
                            (
                                ColumnChange::Add(ColumnValue(_, Value::Integer(more))),
                                Value::Integer(had),
                            ) => {
                                row[1] = Value::Integer(had + more);
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                }
            }
        }
        rows.values().map(|row| row.iter().map(plain).collect::<Vec<_>>().join(" ")).collect()
    }

    fn write(&mut self, choices: &[(u8, u8, u8)]) -> Result<(), TestCaseError> {
        let plain = Connection::open_in_memory().unwrap();
        let key = match self.keys {
            Keys::Numbers => "INT",
            Keys::Uuids => "TEXT",
        };
        let made = format!(
            "PRAGMA recursive_triggers = ON;
             CREATE TABLE t (id {key} NOT NULL, room INTEGER, body TEXT, extra TEXT, PRIMARY KEY (id)) STRICT;"
        );
        plain.execute_batch(&made).unwrap();
        let all = "SELECT id, room, body, extra FROM chat.messages ORDER BY rowid";
        let before = query(&self.replica, all, &[]);
        for row in before.unwrap().rows {
            let text = |value: &Value| match value {
                Value::Null => "NULL".to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => format!("'{}'", &**text),
                other => panic!("{other:?}"),
            };
            let values: Vec<String> = row.iter().map(text).collect();
            plain.execute(&format!("INSERT INTO t VALUES ({})", values.join(", ")), []).unwrap();
        }
        plain.execute_batch("BEGIN").unwrap();
        let mut transaction = self.replica.begin(writer()).unwrap();
        for sql in choices.iter().flat_map(|choice| statements(self.keys, *choice)) {
            let ours = format!(" {sql} ").replace(" t ", " chat.messages ").replace(
                "INTO chat.messages SELECT",
                "INTO chat.messages (id, room, body, extra) SELECT",
            );
            let (there, here) = (plain.execute(&sql, []), transaction.execute(&ours, &[]));
            prop_assert_eq!(there.is_ok(), here.is_ok(), "{}: {:?}, {:?}", sql, there, here);
        }
        let committed = transaction.commit().unwrap();
        self.changed = committed.changed;
        if let Some(id) = committed.id {
            let mutation = self.replica.mutation(id).unwrap().unwrap();
            self.pending.push((id, mutation));
        }
        let mut select = plain.prepare("SELECT coalesce(id, 'NULL') || ' ' || coalesce(room, 'NULL') || ' ' || coalesce(body, 'NULL') || ' ' || coalesce(extra, 'NULL') FROM t ORDER BY id").unwrap();
        let expected: Vec<String> =
            select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(self.shown(), expected, "plain SQLite");
        Ok(())
    }

    fn says(&mut self, change: RowChange) {
        let changes = vec![change];
        let write = Write::Changes { subscription: SubscriptionId(1), changes };
        self.changed = self.replica.apply(&step(vec![write])).unwrap();
    }

    fn is_pending(&self, id: i64) -> bool {
        let is_it = |value: &Value| number(value) == id;
        self.pending.iter().flat_map(|(_, mutation)| &mutation.operations).any(|operation| {
            match &operation.action {
                Action::Insert(values) | Action::Upsert(values) => is_it(&values[0].1),
                Action::Patch { key, .. } | Action::Delete { key } => is_it(&key[0]),
            }
        })
    }

    /// A row of the server's.
    fn message(&self, id: i64, room: u8, body: &str) -> Row {
        let mut row = message(id, room.into(), body);
        row.0[0] = self.keys.value(id);
        row
    }

    /// The server's row is this.
    fn row(&mut self, key: u8, room: u8, again: bool) {
        let change = self.image(key, room, again);
        self.says(change);
    }

    /// What the server says of it.
    fn image(&mut self, key: u8, room: u8, again: bool) -> RowChange {
        let id = i64::from(key);
        let known = self.images.get(&id).filter(|_| !again).map(|image| image.birth);
        let born = known.unwrap_or_else(|| {
            self.births += 1;
            self.births
        });
        let row = self.message(id, room, &format!("s{room}"));
        self.images.insert(id, Image { birth: born, row: row.clone(), is_held: true });
        RowChange::Row(birth(born), row)
    }

    /// The first that waits is decided, and with it a row may be told.
    fn settle(&mut self, kind: u8, key: u8, room: u8) {
        if self.pending.is_empty() {
            return;
        }
        let (id, _) = self.pending.remove(0);
        let (operation, table, column) = (0, TableId(64), None);
        let rejection = Rejection { operation, table, column, reason: Reason::RowMissing };
        let settled = match kind % 3 {
            0 => Settled::Accepted(seq(1)),
            1 => Settled::Rejected(rejection),
            _ => Settled::Uncertain,
        };
        let mut writes = vec![Write::Settle { id, settled }];
        if kind / 3 % 4 == 3 {
            // Its commit has a row of a subscription.
            let changes = vec![self.image(key, room, false)];
            writes.insert(0, Write::Changes { subscription: SubscriptionId(1), changes });
            self.changed = self.replica.apply(&step(writes)).unwrap();
            return;
        }
        let (id, of) = (i64::from(key), Row(vec![self.keys.value(key.into())]));
        let counts = match self.images.get(&id) {
            Some(image) => !image.is_held,
            None => self.is_pending(id),
        };
        let row = self.message(id, room, &format!("d{room}"));
        let now = match kind / 3 % 4 {
            0 => None,
            1 => {
                self.births += 1;
                let born = self.births;
                if counts {
                    self.images.insert(id, Image { birth: born, row: row.clone(), is_held: false });
                }
                Some(RowNow::Row(birth(born), row))
            }
            _ => {
                if counts {
                    self.images.remove(&id);
                }
                Some(RowNow::Gone(of))
            }
        };
        let columns = (1..=4).map(ColumnId).collect();
        let table = TableId(64);
        writes.extend(
            now.map(|row| Write::RowsNow(vec![TableNow { table, columns, rows: vec![row] }])),
        );
        self.changed = self.replica.apply(&step(writes)).unwrap();
    }

    fn make(&mut self, a_move: &Move) -> Result<(), TestCaseError> {
        let before = rows_told::shown(&self.replica);
        self.changed = Changed::default();
        match a_move {
            Move::Write(choices) => self.write(choices)?,
            Move::Row(key, room) => self.row(*key, *room, false),
            Move::Again(key, room) => self.row(*key, *room, true),
            Move::Left(key) | Move::Deleted(key) => {
                let id = i64::from(*key);
                let Some(image) = self.images.get(&id) else { return Ok(()) };
                let (born, of) = (birth(image.birth), Row(vec![self.keys.value(id)]));
                if matches!(a_move, Move::Deleted(_)) {
                    self.says(RowChange::Deleted(born, of));
                    self.images.remove(&id);
                } else {
                    self.says(RowChange::Left(born, of));
                    if let Some(image) = self.images.get_mut(&id) {
                        image.is_held = false;
                    }
                }
            }
            Move::Cancel(which) if !self.pending.is_empty() => {
                let (id, _) = self.pending.remove(usize::from(*which) % self.pending.len());
                self.changed = self.replica.cancel(id).unwrap().unwrap();
            }
            Move::Cancel(_) => {}
            Move::Settle(kind, key, room) => self.settle(*kind, *key, *room),
            Move::Reopen => {
                let elsewhere = Place::new();
                let idle = elsewhere.open();
                drop(std::mem::replace(&mut self.replica, idle));
                self.replica = self.place.open();
                rows_told::tell_rows(&mut self.replica);
            }
        }
        // What only a write held goes with it.
        let keys: Vec<i64> = self.images.keys().copied().collect();
        for id in keys {
            if !self.images[&id].is_held && !self.is_pending(id) {
                self.images.remove(&id);
            }
        }
        prop_assert_eq!(self.shown(), self.folded(), "fold");
        rows_told::check(&before, &rows_told::shown(&self.replica), &self.changed)
    }
}

#[test]
fn what_is_shown_is_what_sqlite_makes_and_the_fold() {
    let keys = prop_oneof![Just(Keys::Numbers), Just(Keys::Uuids)];
    seeds::check("captures", 60, &(keys, vec(a_move(), 1..40)), |(keys, moves)| {
        let mut world = World::new(keys);
        moves.iter().try_for_each(|a_move| world.make(a_move))
    });
}
