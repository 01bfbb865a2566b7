//! What a transaction of the application has done to replicated tables, as operations.
//!
//! Triggers have noted the first image of each row that it touched. At its end the net difference
//! between those and the rows as they are then is the mutation: so statements that failed, savepoints
//! that were rolled back, and what was changed back leave nothing.

use std::collections::{BTreeSet, HashSet};

use protocol::codec;
use protocol::ids::{ColumnId, TableId};
use protocol::limits::{KEY_BYTES_MAX, ROW_BYTES_MAX};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::schema::{Column, ColumnDefault, MergeRule};
use protocol::value::{Row, Value};
use rusqlite::types::Value as Sqlite;
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use crate::error::ReplicaError;
use crate::guard::How;
use crate::outbox::{self, Draft};
use crate::surroundings::{IMAGE, PENDING_SET};
use crate::tables::Table;
use crate::values::{Bound, typed};

/// What a transaction has done to one table, and how its defaults came about.
pub(crate) struct Capture<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) table: &'a Table,
    /// Columns that an INSERT has left to their defaults.
    pub(crate) defaulted: &'a BTreeSet<(TableId, ColumnId)>,
    /// The time of the transaction, which is what `NOW()` gave.
    pub(crate) now: i64,
}

/// The first entry of a row in the log, and what is there of the row now: all columns, in the order
/// of [`Table::all`].
struct Effect {
    place: i64,
    key: Row,
    before: Option<Vec<Sqlite>>,
    after: Option<Vec<Sqlite>>,
    how: i64,
}

impl Capture<'_> {
    /// The operations. Afterwards the log is empty, and each row that was written has its server
    /// image in the base.
    pub(crate) fn take(&self) -> Result<Vec<Draft>, ReplicaError> {
        let effects = self.effects()?;
        let mut drafts = Vec::new();
        for effect in &effects {
            match self.action(effect)? {
                Some(action) => {
                    self.keep_image(effect)?;
                    drafts.push(self.draft(effect.key.clone(), action));
                }
                None => self.restore(effect)?,
            }
        }
        if !effects.is_empty() {
            let sql = format!("DELETE FROM {}", self.table.log());
            self.connection.prepare_cached(&sql)?.execute([])?;
        }
        Ok(drafts)
    }

    fn draft(&self, key: Row, action: Action) -> Draft {
        let schema = &self.table.schema;
        let (table, version) = (schema.id, schema.version);
        Draft { operation: Operation { table, version, action, guard: None }, key }
    }

    fn effects(&self) -> Result<Vec<Effect>, ReplicaError> {
        let all = self.table.all();
        let sql = format!(
            "SELECT _place, _how, {} FROM {} ORDER BY _place",
            all.join(", "),
            self.table.log()
        );
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut rows = select.query([])?;
        let (mut seen, mut effects) = (HashSet::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let values = values(row, 2, all.len())?;
            let key = self.key(&values)?;
            if seen.insert(key.clone()) {
                let (place, how): (i64, i64) = (row.get(0)?, row.get(1)?);
                let before = (how == IMAGE).then_some(values);
                let after = self.row_now(&key)?;
                effects.push(Effect { place, key, before, after, how });
            }
        }
        Ok(effects)
    }

    fn row_now(&self, key: &Row) -> Result<Option<Vec<Sqlite>>, ReplicaError> {
        let all = self.table.all();
        let (names, name, is_row) = (all.join(", "), self.table.quoted(), self.table.is_row(0));
        let sql = format!("SELECT {names} FROM {name} WHERE {is_row}");
        let bound: Vec<Bound<'_>> = key.iter().map(Bound).collect();
        let mut select = self.connection.prepare_cached(&sql)?;
        let found = select.query_row(params_from_iter(&bound), |row| values(row, 0, all.len()));
        Ok(found.optional()?)
    }

    /// The primary key of a row, whose columns have the types that they should.
    fn key(&self, values: &[Sqlite]) -> Result<Row, ReplicaError> {
        let schema = &self.table.schema;
        let of = |id: &ColumnId| {
            let place = schema.columns.iter().position(|column| column.id == *id);
            let place = place.ok_or(ReplicaError::Inconsistent("a key of no column"))?;
            self.value(&schema.columns[place], &values[place])
        };
        let key: Row = schema.primary_key.iter().map(of).collect::<Result<_, _>>()?;
        if codec::encode(&key).len() > KEY_BYTES_MAX {
            let name = &schema.name;
            return Err(ReplicaError::TooLarge(format!(
                "{name}: a key takes at most {KEY_BYTES_MAX} bytes: shorten it"
            )));
        }
        Ok(key)
    }

    fn value(&self, column: &Column, value: &Sqlite) -> Result<Value, ReplicaError> {
        let value = typed(column.column_type, value.into());
        value.map_err(|reason| self.refused(column, &reason))
    }

    fn refused(&self, column: &Column, reason: &str) -> ReplicaError {
        let (table, column) = (&self.table.schema.name, &column.name);
        ReplicaError::Constraint(format!("{table}, column {column}: {reason}"))
    }

    /// What is to be done to the row; nothing where it is as it was.
    fn action(&self, effect: &Effect) -> Result<Option<Action>, ReplicaError> {
        match (&effect.before, &effect.after) {
            (None, None) => Ok(None),
            (None, Some(after)) => self.insert(after, effect.how == How::Upsert as i64).map(Some),
            (Some(_), None) => Ok(Some(Action::Delete { key: effect.key.clone() })),
            (Some(before), Some(after)) => {
                let changes = self.changes(before, after)?;
                let key = effect.key.clone();
                Ok((!changes.is_empty()).then_some(Action::Patch { key, changes }))
            }
        }
    }

    fn insert(&self, after: &[Sqlite], is_upsert: bool) -> Result<Action, ReplicaError> {
        let mut values = Vec::new();
        for (column, value) in self.table.schema.columns.iter().zip(after) {
            let value = self.value(column, value)?;
            self.check_null(column, &value)?;
            let has_default = self.table.default_of(column.id).is_some();
            // NULL is what the server stores without a default.
            let is_needed = !value.is_null() || has_default;
            if is_needed && !(is_upsert && self.is_left_to_default(column, &value)) {
                values.push(ColumnValue(column.id, value));
            }
        }
        self.check_size(&values)?;
        Ok(if is_upsert { Action::Upsert(values) } else { Action::Insert(values) })
    }

    /// Whether an upsert says nothing of the column, so that a row which is there keeps what it has.
    fn is_left_to_default(&self, column: &Column, value: &Value) -> bool {
        let schema = &self.table.schema;
        let is_it = match &column.default {
            Some(ColumnDefault::Value(default)) => value == default,
            Some(ColumnDefault::Now) => *value == Value::Integer(self.now),
            _ => false,
        };
        let was_left = self.defaulted.contains(&(schema.id, column.id));
        is_it && was_left && !self.table.is_key(column.id)
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
            let value = self.value(column, new)?;
            self.check_null(column, &value)?;
            let added = (column.merge == MergeRule::Add).then(|| difference(old, &value)).flatten();
            changes.push(match added {
                Some(added) => ColumnChange::Add(ColumnValue(column.id, added)),
                None => ColumnChange::Set(ColumnValue(column.id, value.clone())),
            });
            values.push(ColumnValue(column.id, value));
        }
        self.check_size(&values)?;
        Ok(changes)
    }

    fn check_null(&self, column: &Column, value: &Value) -> Result<(), ReplicaError> {
        match column.not_null && value.is_null() {
            true => Err(self.refused(column, "it is NOT NULL: give it a value")),
            false => Ok(()),
        }
    }

    fn check_size(&self, values: &[ColumnValue]) -> Result<(), ReplicaError> {
        let bytes = codec::encode(values).len();
        match bytes > ROW_BYTES_MAX {
            true => Err(ReplicaError::TooLarge(format!(
                "{}: a row takes at most {ROW_BYTES_MAX} bytes, this one {bytes}: keep large content \
                 in a file",
                self.table.schema.name
            ))),
            false => Ok(()),
        }
    }

    /// Keeps the server's image of a row that is written for the first time, and marks what is shown.
    fn keep_image(&self, effect: &Effect) -> Result<(), ReplicaError> {
        let is_first = !outbox::is_pending(self.connection, self.table.schema.id, &effect.key)?;
        if is_first && effect.before.is_some() {
            let (all, base, log) =
                (self.table.all().join(", "), self.table.base(), self.table.log());
            let sql =
                format!("INSERT INTO {base} ({all}) SELECT {all} FROM {log} WHERE _place = ?1");
            self.connection.prepare_cached(&sql)?.execute([effect.place])?;
        }
        let seq = effect.before.as_ref().map(|before| &before[self.table.schema.columns.len()]);
        let seq = seq.cloned().unwrap_or(Sqlite::Null);
        self.mark(effect, &[seq, Sqlite::Integer(PENDING_SET), Sqlite::Null])
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

fn values(row: &rusqlite::Row<'_>, from: usize, count: usize) -> rusqlite::Result<Vec<Sqlite>> {
    (from..from + count).map(|place| row.get(place)).collect()
}

/// What was added, where that is a number.
fn difference(old: &Sqlite, new: &Value) -> Option<Value> {
    match (old, new) {
        (Sqlite::Null, new) if !new.is_null() => Some(new.clone()),
        (Sqlite::Integer(old), Value::Integer(new)) => new.checked_sub(*old).map(Value::Integer),
        (Sqlite::Real(old), Value::Double(new)) => Value::double(new.get() - old).ok(),
        _ => None,
    }
}
