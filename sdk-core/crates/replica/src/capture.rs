//! What a transaction of the application has done to replicated tables, as operations.
//!
//! Triggers have noted the first image of each row that it touched. At its end the net difference
//! between those and the rows as they are then is the mutation: so statements that failed, savepoints
//! that were rolled back, and what was changed back leave nothing.

use std::collections::{BTreeSet, HashMap};

use protocol::codec;
use protocol::ids::ColumnId;
use protocol::limits::{KEY_BYTES_MAX, ROW_BYTES_MAX};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Guard};
use protocol::schema::{Column, ColumnDefault, MergeRule};
use protocol::value::{Row, Value};
use rusqlite::types::Value as Sqlite;
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use crate::error::ReplicaError;
use crate::guard::INSERTS;
use crate::outbox::{self, Draft};
use crate::sets::SetId;
use crate::surroundings::{IMAGE, PENDING_SET};
use crate::table::Table;
use crate::values::{Bound, owned, read};

/// What a transaction has done to one table.
pub(crate) struct Capture<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) table: &'a Table,
    /// The columns that each upsert of the transaction names.
    pub(crate) upserts: &'a [BTreeSet<ColumnId>],
    /// The columns of the table that an UPDATE of the transaction sets, or the second half of an
    /// upsert.
    pub(crate) set: &'a BTreeSet<ColumnId>,
    /// The time of the transaction, which is what `NOW()` gave.
    pub(crate) now: i64,
    /// Where rows are to be found unchanged: the columns that are known of a row with this set.
    pub(crate) unchanged: Option<&'a dyn Fn(SetId) -> Vec<ColumnId>>,
}

/// The first entry of a row in the log, and what is there of the row now: all columns, in the order
/// of [`Table::all`].
struct Effect {
    place: i64,
    /// As SQLite has it.
    key: Row,
    before: Option<Vec<Sqlite>>,
    after: Option<Vec<Sqlite>>,
    /// How it came, each time that it was not there.
    hows: Vec<i64>,
    /// Whether it was changed after that.
    is_updated: bool,
}

impl Capture<'_> {
    /// The operations. Afterwards the log is empty, and each row that was written has its server
    /// image in the base.
    pub(crate) fn take(&self) -> Result<Vec<Draft>, ReplicaError> {
        let effects = self.effects()?;
        let mut drafts = Vec::new();
        for effect in &effects {
            // What came and went may have had any key.
            if effect.before.is_none() && effect.after.is_none() {
                continue;
            }
            let key = self.key(&effect.key)?;
            let actions = self.actions(effect, &key)?;
            if actions.is_empty() {
                self.restore(effect)?;
                continue;
            }
            self.keep_image(effect)?;
            let first = drafts.len();
            for action in actions {
                drafts.push(Draft::new(self.table, key.clone(), action));
            }
            drafts[first].operation.guard = self.guard(effect)?;
        }
        if !effects.is_empty() {
            self.connection.prepare_cached(&self.table.sql.clear_log)?.execute([])?;
        }
        Ok(drafts)
    }

    fn effects(&self) -> Result<Vec<Effect>, ReplicaError> {
        let count = self.table.width();
        let mut select = self.connection.prepare_cached(&self.table.sql.logged)?;
        let mut rows = select.query([])?;
        let (mut seen, mut effects) = (HashMap::<Row, usize>::new(), Vec::<Effect>::new());
        while let Some(row) = rows.next()? {
            let values = values(row, 2, count)?;
            let key = self.raw_key(&values)?;
            let (place, how): (i64, i64) = (row.get(0)?, row.get(1)?);
            let first = effects.len();
            let at = *seen.entry(key.clone()).or_insert(first);
            if at == first {
                let before = (how == IMAGE).then_some(values);
                let after = self.row_now(&key)?;
                effects.push(Effect {
                    place,
                    key,
                    before,
                    after,
                    hows: Vec::new(),
                    is_updated: false,
                });
            }
            // What it was before a change says that there was one; the very first one is of before.
            effects[at].is_updated = how == IMAGE && at != first;
            if how != IMAGE {
                effects[at].hows.push(how);
            }
        }
        Ok(effects)
    }

    fn row_now(&self, key: &Row) -> Result<Option<Vec<Sqlite>>, ReplicaError> {
        let mut select = self.connection.prepare_cached(&self.table.sql.shown)?;
        let found = select.query_row(params_from_iter(key.iter().map(Bound)), |row| {
            values(row, 0, self.table.width())
        });
        Ok(found.optional()?)
    }

    /// The primary key of a row, as SQLite has it.
    fn raw_key(&self, values: &[Sqlite]) -> Result<Row, ReplicaError> {
        let schema = &self.table.schema;
        let of = |id: &ColumnId| {
            let place = schema.columns.iter().position(|column| column.id == *id);
            let place = place.ok_or(ReplicaError::Inconsistent("a key of no column"))?;
            let told =
                || self.table.refused(&schema.columns[place], "text is UTF-8 without U+0000");
            read((&values[place]).into()).ok_or_else(told)
        };
        schema.primary_key.iter().map(of).collect()
    }

    /// The primary key of a row, whose columns have the types that they should.
    fn key(&self, raw: &Row) -> Result<Row, ReplicaError> {
        let schema = &self.table.schema;
        let columns = schema.primary_key.iter().filter_map(|id| schema.column(*id));
        let typed =
            |(column, value): (&Column, &Value)| self.table.typed(column, &owned(value.clone()));
        let key: Row = columns.zip(raw.iter()).map(typed).collect::<Result<_, _>>()?;
        check_key(self.table, &key)?;
        Ok(key)
    }

    /// What is to be done to the row; nothing where it is as it was.
    fn actions(&self, effect: &Effect, key: &Row) -> Result<Vec<Action>, ReplicaError> {
        let key = || key.clone();
        match (&effect.before, &effect.after) {
            (None, None) => Ok(Vec::new()),
            (None, Some(after)) => match self.named(effect) {
                Some(named) => self.upsert(after, key(), &named),
                None => Ok(vec![self.insert(after)?]),
            },
            (Some(_), None) => Ok(vec![Action::Delete { key: key() }]),
            (Some(before), Some(after)) => match self.changes(before, after)? {
                changes if changes.is_empty() => Ok(Vec::new()),
                changes => Ok(vec![Action::Patch { key: key(), changes }]),
            },
        }
    }

    /// The columns that the application means of a row that came by an upsert.
    fn named(&self, effect: &Effect) -> Option<BTreeSet<ColumnId>> {
        let upsert = |how: &i64| {
            let place = usize::try_from(how.checked_sub(INSERTS + 1)?).ok()?;
            self.upserts.get(place)
        };
        effect.hows.last().and_then(upsert)?;
        let mut named: BTreeSet<ColumnId> =
            effect.hows.iter().filter_map(upsert).flatten().copied().collect();
        if effect.is_updated {
            named.extend(self.set);
        }
        Some(named)
    }

    /// What the server is to find of a row, where it is to be unchanged. Of a row that is only here
    /// there is nothing to compare.
    fn guard(&self, effect: &Effect) -> Result<Option<Guard>, ReplicaError> {
        let Some(known) = self.unchanged else { return Ok(None) };
        let columns = &self.table.schema.columns;
        let Some(before) = &effect.before else { return Ok(Some(Guard::Absent)) };
        let known = match before.get(columns.len() + 1) {
            Some(Sqlite::Integer(set)) if *set > 0 => known(SetId(*set)),
            _ => return Ok(None),
        };
        let mut values = Vec::new();
        for (column, value) in columns.iter().zip(before) {
            let is_compared = known.contains(&column.id)
                && column.merge != MergeRule::Add
                && !self.table.is_key(column.id);
            if is_compared {
                values.push(ColumnValue(column.id, self.table.typed(column, value)?));
            }
        }
        Ok(Some(Guard::Values(values)))
    }

    fn insert(&self, after: &[Sqlite]) -> Result<Action, ReplicaError> {
        let mut values = Vec::new();
        for (column, value) in self.table.schema.columns.iter().zip(after) {
            let value = self.table.typed(column, value)?;
            self.table.check_null(column, &value)?;
            // NULL is what the server stores without a default.
            if !value.is_null() || self.table.default_of(column.id).is_some() {
                values.push(ColumnValue(column.id, value));
            }
        }
        check_size(self.table, &values)?;
        Ok(Action::Insert(values))
    }

    /// What the statement does not name, and nothing has changed since, a row that is there keeps. A
    /// sum is added to.
    fn upsert(
        &self,
        after: &[Sqlite],
        key: Row,
        named: &BTreeSet<ColumnId>,
    ) -> Result<Vec<Action>, ReplicaError> {
        let (mut values, mut added) = (Vec::new(), Vec::new());
        for (column, value) in self.table.schema.columns.iter().zip(after) {
            let value = self.table.typed(column, value)?;
            self.table.check_null(column, &value)?;
            let left = default_left(column, self.now);
            let may_be_left = !left.is_null() || !column.not_null;
            let is_key = self.table.is_key(column.id);
            if column.merge == MergeRule::Add && may_be_left {
                if value == left {
                    continue;
                }
                if let Some(more) = difference(column, &owned(left), &value) {
                    added.push(ColumnChange::Add(ColumnValue(column.id, more)));
                    continue;
                }
            } else if !is_key && !named.contains(&column.id) && value == left {
                continue;
            }
            values.push(ColumnValue(column.id, value));
        }
        check_size(self.table, &values)?;
        let mut actions = vec![Action::Upsert(values)];
        if !added.is_empty() {
            actions.push(Action::Patch { key, changes: added });
        }
        Ok(actions)
    }

    /// The columns that are others now. Only those are looked at: what the server said is its own.
    fn changes(
        &self,
        before: &[Sqlite],
        after: &[Sqlite],
    ) -> Result<Vec<ColumnChange>, ReplicaError> {
        let mut changes = Vec::new();
        let mut values = Vec::new();
        for ((column, old), new) in self.table.schema.columns.iter().zip(before).zip(after) {
            if old == new {
                continue;
            }
            let value = self.table.typed(column, new)?;
            self.table.check_null(column, &value)?;
            let adds = column.merge == MergeRule::Add;
            changes.push(match adds.then(|| difference(column, old, &value)).flatten() {
                Some(added) => ColumnChange::Add(ColumnValue(column.id, added)),
                None => ColumnChange::Set(ColumnValue(column.id, value.clone())),
            });
            values.push(ColumnValue(column.id, value));
        }
        check_size(self.table, &values)?;
        Ok(changes)
    }

    /// Keeps the server's image of a row that is written for the first time.
    fn keep_image(&self, effect: &Effect) -> Result<(), ReplicaError> {
        let is_first = !outbox::is_pending(self.connection, self.table.schema.id, &effect.key)?;
        if is_first && effect.before.is_some() {
            let sql = &self.table.sql.keep_logged;
            self.connection.prepare_cached(sql)?.execute([effect.place])?;
        }
        // A row that waits does not expire.
        let hidden =
            effect.before.as_ref().map(|before| &before[self.table.schema.columns.len()..]);
        let (seq, set) = match hidden {
            Some([seq, set, ..]) if *set != Sqlite::Integer(0) => (seq.clone(), set.clone()),
            _ => (Sqlite::Null, Sqlite::Integer(PENDING_SET)),
        };
        self.mark(effect, &[seq, set, Sqlite::Null])
    }

    /// A row that came back as it was is whose it was.
    fn restore(&self, effect: &Effect) -> Result<(), ReplicaError> {
        match &effect.before {
            Some(before) => self.mark(effect, &before[self.table.schema.columns.len()..]),
            None => Ok(()),
        }
    }

    /// Sets the SDK's columns of a row, where it is there and has others.
    fn mark(&self, effect: &Effect, hidden: &[Sqlite]) -> Result<(), ReplicaError> {
        let Some(after) = &effect.after else { return Ok(()) };
        let names: Vec<&str> = self.table.hidden().collect();
        let hidden = &hidden[..names.len()];
        if after[self.table.schema.columns.len()..] == *hidden {
            return Ok(());
        }
        let sets: Vec<String> =
            names.iter().zip(1..).map(|(name, place)| format!("{name} = ?{place}")).collect();
        let (name, is_row) = (self.table.quoted(), self.table.is_row(names.len()));
        let sql = format!("UPDATE {name} SET {} WHERE {is_row}", sets.join(", "));
        let key: Vec<Bound<'_>> = effect.key.iter().map(Bound).collect();
        let mut values: Vec<&dyn ToSql> = hidden.iter().map(|value| value as &dyn ToSql).collect();
        values.extend(key.iter().map(|value| value as &dyn ToSql));
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
        Ok(())
    }
}

/// Whether a statement of a table finds the row with this key.
pub(crate) fn is_in(connection: &Connection, sql: &str, key: &Row) -> Result<bool, ReplicaError> {
    let mut select = connection.prepare_cached(sql)?;
    Ok(select.exists(params_from_iter(key.iter().map(Bound)))?)
}

fn values(row: &rusqlite::Row<'_>, from: usize, count: usize) -> rusqlite::Result<Vec<Sqlite>> {
    (from..from + count).map(|place| row.get(place)).collect()
}

/// What was added, where that is a number that can be.
fn difference(column: &Column, old: &Sqlite, new: &Value) -> Option<Value> {
    let added = match (old, new) {
        (Sqlite::Null, new) if !new.is_null() => Some(new.clone()),
        (Sqlite::Integer(old), Value::Integer(new)) => new.checked_sub(*old).map(Value::Integer),
        (Sqlite::Real(old), Value::Double(new)) => Value::double(new.get() - old).ok(),
        _ => None,
    };
    added.filter(|added| column.column_type.admit(added.as_ref()).is_ok())
}

/// What a row has in a column that an upsert leaves to the server, while it is only here.
pub(crate) fn default_left(column: &Column, now: i64) -> Value {
    match &column.default {
        Some(ColumnDefault::Value(value)) => value.clone(),
        Some(ColumnDefault::Now) => Value::Integer(now),
        _ => Value::Null,
    }
}

/// A key that is sent has a size.
pub(crate) fn check_key(table: &Table, key: &Row) -> Result<(), ReplicaError> {
    let bytes = codec::encode(key).len();
    match bytes > KEY_BYTES_MAX {
        true => Err(ReplicaError::TooLarge(format!(
            "{}: a key takes at most {KEY_BYTES_MAX} bytes, this one {bytes}: shorten it",
            table.schema.name
        ))),
        false => Ok(()),
    }
}

/// So has a row.
pub(crate) fn check_size(table: &Table, values: &[ColumnValue]) -> Result<(), ReplicaError> {
    let bytes = codec::encode(values).len();
    match bytes > ROW_BYTES_MAX {
        true => Err(ReplicaError::TooLarge(format!(
            "{}: a row takes at most {ROW_BYTES_MAX} bytes, this one {bytes}: keep large content in a \
             file",
            table.schema.name
        ))),
        false => Ok(()),
    }
}
