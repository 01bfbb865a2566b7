//! Holds what is told of the rows that change against the rows: each that is another is told as it was and as
//! it is, or all of them are (INV-11).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use protocol::ids::ColumnId;
use protocol::value::Value;
use sdk_replica::{Changed, ChangedRows, Replica, ResultRow, RowImage};

use crate::captures::plain;
use crate::world::query;

const TABLES: [(&str, &str, &str); 2] =
    [("chat__messages", "chat.messages", "id"), ("chat__marks", "chat.marks", "user, room")];

/// All rows of the tables, by their keys: the values, and when they were born.
pub(crate) type Shown = BTreeMap<&'static str, BTreeMap<String, ResultRow>>;

pub(crate) fn tell_rows(replica: &mut Replica) {
    replica.tell_rows_of(TABLES.iter().map(|(name, ..)| (*name).to_owned()).collect());
}

pub(crate) fn shown(replica: &Replica) -> Shown {
    let mut all = Shown::new();
    for (name, table, key) in TABLES {
        let columns = match name {
            "chat__messages" => "id, room, body, extra",
            _ => "user, room, at",
        };
        let sql = format!("SELECT {columns}, _seq FROM {table} ORDER BY {key}");
        let Ok(result) = query(replica, &sql, &[]) else { continue };
        let keys = if name == "chat__messages" { 1 } else { 2 };
        let rows = result.rows.into_iter().map(|row| (format!("{:?}", &row[..keys]), row));
        all.insert(name, rows.collect());
    }
    all
}

/// Whether what was told has every row that is another.
pub(crate) fn check(before: &Shown, now: &Shown, changed: &Changed) -> Result<(), TestCaseError> {
    let none = BTreeMap::new();
    for (name, ..) in TABLES {
        let (before, now) = (before.get(name).unwrap_or(&none), now.get(name).unwrap_or(&none));
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let others: Vec<&String> =
            keys.into_iter().filter(|key| before.get(*key) != now.get(*key)).collect();
        if others.is_empty() || changed.schema {
            continue;
        }
        let Some(told) = changed.tables.get(name) else {
            return Err(TestCaseError::fail(format!("{name} has changed, and nobody says so")));
        };
        let ChangedRows::These(rows) = told else { continue };
        // What is told has the types of the server, and what is shown those of SQLite.
        let is_value = |told: &Value, value: &Value| match told {
            Value::Uuid(_) => matches!(value, Value::Text(text) if **text == *plain(told)),
            told => told == value,
        };
        let is = |image: &RowImage, row: &[Value]| {
            let mut values = (1..).zip(&row[..row.len() - 1]);
            values.all(|(id, value)| image.get(ColumnId(id)).is_some_and(|it| is_value(it, value)))
        };
        for key in others {
            if let Some(row) = before.get(key) {
                let is_told =
                    rows.iter().filter_map(|row| row.old.as_ref()).any(|old| is(old, row));
                prop_assert!(is_told, "{} was not told as it was: {:?}", key, rows);
            }
            if let Some(row) = now.get(key) {
                let is_told =
                    rows.iter().filter_map(|row| row.new.as_ref()).any(|new| is(new, row));
                prop_assert!(is_told, "{} was not told as it is: {:?}", key, rows);
            }
        }
    }
    Ok(())
}
