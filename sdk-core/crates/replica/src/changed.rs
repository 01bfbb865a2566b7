//! What a transaction has changed: which tables, and of some of them which rows, as they were and as
//! they are.
//!
//! SQLite tells of every row that is written, whoever writes it and why, and [`Touched`] notes it.
//! Nothing else has to say that it changes rows, so nothing can forget to. Before a transaction
//! commits, the rows are read twice: as they will be by the connection that writes, as they were by
//! another, which sees what was committed last. Where anything is not certain, all rows of the table
//! count as changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use protocol::ids::ColumnId;
use protocol::predicate::{Predicate, Truth};
use protocol::value::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::error::ReplicaError;
use crate::limits::{CHANGED_BYTES_MAX, CHANGED_ROWS_MAX};
use crate::table::{Table, Tables};

/// What a write has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The SQLite names of the tables with other rows, in lower case, and which rows those are.
    pub tables: BTreeMap<String, ChangedRows>,
    /// Whether there are other tables or columns: what was not found may be there now.
    pub schema: bool,
    /// What of the application was in the way, and is gone: names of indexes, triggers and views.
    pub dropped: Vec<String>,
}

/// Which rows of a table are others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedRows {
    /// Any of them may be.
    All,
    /// These alone.
    These(Vec<ChangedRow>),
}

/// A row as it was and as it is; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRow {
    /// Before.
    pub old: Option<RowImage>,
    /// After.
    pub new: Option<RowImage>,
}

/// The columns of a row. Its debugging text has no value in it.
#[derive(Clone, PartialEq, Eq)]
pub struct RowImage {
    columns: Arc<[ColumnId]>,
    values: Vec<Value>,
}

impl Changed {
    /// Any row of a table may be another.
    pub fn all_of(&mut self, table: impl Into<String>) {
        self.tables.insert(table.into(), ChangedRows::All);
    }

    /// Something else has changed, too, before or afterwards.
    pub fn add(&mut self, other: Self) {
        let Self { tables, schema, dropped } = other;
        for (table, rows) in tables {
            match (self.tables.get_mut(&table), rows) {
                (None, rows) => drop(self.tables.insert(table, rows)),
                (Some(ChangedRows::These(all)), ChangedRows::These(rows))
                    if all.len() + rows.len() <= CHANGED_ROWS_MAX =>
                {
                    all.extend(rows);
                }
                (Some(all), _) => *all = ChangedRows::All,
            }
        }
        self.schema |= schema;
        self.dropped.extend(dropped);
    }
}

impl ChangedRows {
    /// Whether a query that gives rows which meet this predicate may give others now. It says so
    /// wherever that is not certain.
    pub fn may_meet(&self, predicate: &Predicate) -> bool {
        let Self::These(rows) = self else { return true };
        let columns = predicate.columns();
        let images = rows.iter().flat_map(|row| row.old.iter().chain(&row.new));
        images.into_iter().any(|image| image.may_meet(predicate, &columns))
    }
}

impl RowImage {
    /// The value of a column, if the table has it.
    pub fn get(&self, column: ColumnId) -> Option<&Value> {
        let place = self.columns.iter().position(|id| *id == column)?;
        self.values.get(place)
    }

    fn may_meet(&self, predicate: &Predicate, columns: &[ColumnId]) -> bool {
        if columns.iter().any(|column| self.get(*column).is_none()) {
            return true;
        }
        let value = |id| self.get(id).map_or(ValueRef::Null, Value::as_ref);
        // What a subscription does not know of a row is NULL here, too: nobody can say.
        predicate.evaluate(&value) != Truth::False
    }

    fn bytes(&self) -> usize {
        let of = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.values.iter().map(|value| of(value) + size_of::<Value>()).sum()
    }
}

impl fmt::Debug for RowImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowImage").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// What is written since the last transaction began, by the names of tables.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    tables: BTreeMap<String, TouchedRows>,
    /// Of these tables somebody wants to know which rows.
    wanted: BTreeSet<String>,
    rows: usize,
    /// Rows go of which SQLite does not tell.
    is_silent: bool,
    /// What of the application is gone.
    dropped: Vec<String>,
}

#[derive(Debug)]
enum TouchedRows {
    All,
    /// By their row ids.
    Ids(BTreeSet<i64>),
    /// As they were and will be when nothing more is written.
    Read(Vec<ChangedRow>),
}

impl Touched {
    pub(crate) fn want(&mut self, tables: BTreeSet<String>) {
        self.wanted = tables;
    }

    /// A row is written.
    pub(crate) fn row(&mut self, table: &str, id: i64) {
        match self.tables.get_mut(table) {
            Some(TouchedRows::All) => {}
            Some(TouchedRows::Ids(ids)) if self.rows < CHANGED_ROWS_MAX => {
                self.rows += usize::from(ids.insert(id));
            }
            Some(rows) => *rows = TouchedRows::All,
            None => {
                let table = table.to_ascii_lowercase();
                let rows = match self.wanted.contains(&table) && !self.is_silent {
                    true if self.rows < CHANGED_ROWS_MAX => {
                        self.rows += 1;
                        TouchedRows::Ids(BTreeSet::from([id]))
                    }
                    _ => TouchedRows::All,
                };
                self.tables.insert(table, rows);
            }
        }
    }

    /// From here on SQLite may not tell of all rows.
    pub(crate) fn silent(&mut self) {
        self.is_silent = true;
        self.tables.values_mut().for_each(|rows| *rows = TouchedRows::All);
    }

    pub(crate) fn dropped(&mut self, names: Vec<String>) {
        self.dropped.extend(names);
    }

    /// A transaction begins: what was written before is told.
    pub(crate) fn clear(&mut self) {
        self.tables.clear();
        self.dropped.clear();
        (self.rows, self.is_silent) = (0, false);
    }

    /// The tables of which rows are to be read, with the row ids.
    fn unread(&self) -> Vec<(String, Vec<i64>)> {
        let ids = |(table, rows): (&String, &TouchedRows)| match rows {
            TouchedRows::Ids(ids) => Some((table.clone(), ids.iter().copied().collect())),
            TouchedRows::All | TouchedRows::Read(_) => None,
        };
        self.tables.iter().filter_map(ids).collect()
    }

    fn read(&mut self, table: String, rows: Option<Vec<ChangedRow>>) {
        let rows = rows.map_or(TouchedRows::All, TouchedRows::Read);
        self.tables.insert(table, rows);
    }

    /// What was written since the last transaction began, and what of the application is gone.
    pub(crate) fn told(&self) -> (BTreeMap<String, ChangedRows>, Vec<String>) {
        let told = |(table, rows): (&String, &TouchedRows)| {
            let rows = match rows {
                TouchedRows::Read(rows) => ChangedRows::These(rows.clone()),
                // Of what was not read before its end, nobody knows how it was.
                TouchedRows::Ids(_) | TouchedRows::All => ChangedRows::All,
            };
            (table.clone(), rows)
        };
        (self.tables.iter().map(told).collect(), self.dropped.clone())
    }
}

/// Sees what was committed last.
pub(crate) struct Before(Connection);

impl Before {
    pub(crate) fn open(path: &Path) -> Result<Self, ReplicaError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;")?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self(connection))
    }
}

/// Reads the rows that a transaction has touched, right before it commits. What cannot be read is
/// no reason for it to fail: then all rows of the table count as changed. So they do without a path,
/// where there is no other connection.
pub(crate) fn read_touched(
    touched: &mut Touched,
    tables: &Tables,
    now: &Connection,
    before: &mut Option<Before>,
    path: Option<&Path>,
) {
    let mut bytes = 0;
    for (name, ids) in touched.unread() {
        if before.is_none() {
            *before = path.and_then(|path| Before::open(path).ok());
        }
        let rows = tables.named(&name).zip(before.as_ref()).and_then(|(table, before)| {
            let rows = changed_rows(table, &ids, now, &before.0).ok()?;
            let images = rows.iter().flat_map(|row| row.old.iter().chain(&row.new));
            bytes += images.map(RowImage::bytes).sum::<usize>();
            (bytes <= CHANGED_BYTES_MAX).then_some(rows)
        });
        touched.read(name, rows);
    }
}

fn changed_rows(
    table: &Table,
    ids: &[i64],
    now: &Connection,
    before: &Connection,
) -> Result<Vec<ChangedRow>, ReplicaError> {
    let columns: Arc<[ColumnId]> = table.schema.columns.iter().map(|column| column.id).collect();
    // No column of the server's is called so.
    let sql = format!(
        "SELECT {} FROM {} WHERE _rowid_ = ?1",
        table.names(&columns).join(", "),
        table.quoted()
    );
    let (mut now, mut before) = (now.prepare_cached(&sql)?, before.prepare_cached(&sql)?);
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let image = |statement: &mut rusqlite::CachedStatement<'_>| {
            let read = |row: &rusqlite::Row<'_>| {
                let typed = |(place, column)| Ok(table.stored(column, row.get_ref(place)?));
                let columns = table.schema.columns.iter().enumerate();
                columns.map(typed).collect::<rusqlite::Result<Option<Vec<Value>>>>()
            };
            let Some(values) = statement.query_row([id], read).optional()? else {
                return Ok::<_, ReplicaError>(None);
            };
            let values = values.ok_or(ReplicaError::Damaged)?;
            Ok(Some(RowImage { columns: Arc::clone(&columns), values }))
        };
        rows.push(ChangedRow { old: image(&mut before)?, new: image(&mut now)? });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::predicate::{CompareOp, Operand};

    fn image(values: &[Value]) -> RowImage {
        let columns = (0..).take(values.len()).map(ColumnId).collect();
        RowImage { columns, values: values.to_vec() }
    }

    fn equals(column: u16, value: i64) -> Predicate {
        let operand = Operand::Value(Value::Integer(value));
        Predicate::Compare { column: ColumnId(column), op: CompareOp::Equal, operand }
    }

    #[test]
    fn a_row_counts_as_it_was_and_as_it_is_and_when_nobody_can_say() {
        let row = |old: Option<i64>, new: Option<i64>| {
            let image = |value: i64| image(&[Value::Integer(value)]);
            ChangedRows::These(vec![ChangedRow { old: old.map(image), new: new.map(image) }])
        };
        assert!(row(Some(7), Some(8)).may_meet(&equals(0, 7)), "it has gone from there");
        assert!(row(Some(7), Some(8)).may_meet(&equals(0, 8)), "it has come there");
        assert!(row(Some(7), None).may_meet(&equals(0, 7)));
        assert!(row(None, Some(7)).may_meet(&equals(0, 7)));
        assert!(!row(Some(7), Some(8)).may_meet(&equals(0, 9)));
        assert!(!row(None, None).may_meet(&equals(0, 9)));
        assert!(ChangedRows::All.may_meet(&equals(0, 9)));
        let unknown = ChangedRow { old: None, new: Some(image(&[Value::Null])) };
        let unknown = ChangedRows::These(vec![unknown]);
        assert!(unknown.may_meet(&equals(0, 9)), "nobody can say");
        assert!(unknown.may_meet(&Predicate::Not(Box::new(equals(0, 9)))), "nobody can say");
        let is_there = Predicate::Not(Box::new(Predicate::IsNull(ColumnId(1))));
        assert!(unknown.may_meet(&is_there), "there is no such column");
    }

    #[test]
    fn what_has_changed_adds_up_to_a_bound() {
        let these = |rows: usize| {
            let row = ChangedRow { old: None, new: Some(image(&[])) };
            let tables = BTreeMap::from([("t".to_owned(), ChangedRows::These(vec![row; rows]))]);
            Changed { tables, ..Changed::default() }
        };
        let mut changed = these(CHANGED_ROWS_MAX - 1);
        changed.add(these(1));
        assert_eq!(changed, these(CHANGED_ROWS_MAX));
        changed.add(these(1));
        assert_eq!(changed.tables["t"], ChangedRows::All);
        changed.add(these(1));
        assert_eq!(changed.tables["t"], ChangedRows::All);
        let mut all = Changed { schema: true, ..Changed::default() };
        all.all_of("t");
        let mut changed = these(1);
        changed.add(all.clone());
        assert_eq!(changed, all);
    }
}
