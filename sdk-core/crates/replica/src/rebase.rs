//! What is shown of a row for which writes wait: the server's last image of it, and on that the
//! writes in their order (INV-9).

use protocol::ids::ColumnId;
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::schema::Column;
use protocol::value::{Row, Value};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::capture::{default_left, is_in};
use crate::error::ReplicaError;
use crate::outbox;
use crate::surroundings::PENDING_SET;
use crate::table::Table;
use crate::values::{Bound, read};

/// A row on its way to be shown.
struct Shown {
    /// In the order of the table.
    values: Vec<Value>,
    /// Its birth; none of one that is only here.
    seq: Value,
    /// Who holds it on the server's word.
    set: Value,
    expires: Value,
}

/// Keeps the server's image of a row that is about to be written, where it is shown and no write waits for
/// it.
pub(crate) fn keep_image(
    connection: &Connection,
    table: &Table,
    key: &Row,
) -> Result<(), ReplicaError> {
    if is_in(connection, &table.sql.is_image, key)?
        || outbox::is_pending(connection, table.schema.id, key)?
    {
        return Ok(());
    }
    run_for(connection, &table.sql.keep, key)
}

/// Shows a row anew. Where no write waits for it any more it is the server's image, and the base has
/// it no longer.
pub(crate) fn row(connection: &Connection, table: &Table, key: &Row) -> Result<(), ReplicaError> {
    let image = image(connection, table, key)?;
    let operations = outbox::of_row(connection, &table.schema, key)?;
    if operations.is_empty() {
        let is_kept = image.is_some();
        // What nobody holds was kept for the writes alone.
        match image.filter(|image| image.set != Value::Integer(0)) {
            Some(image) => show(connection, table, &image, key)?,
            None => run_for(connection, &table.sql.delete, key)?,
        }
        return if is_kept { run_for(connection, &table.sql.delete_image, key) } else { Ok(()) };
    }
    let folded = operations
        .iter()
        .fold(image, |row, (written_at, operation)| fold(table, row, *written_at, operation));
    match folded {
        Some(mut folded) => {
            if folded.set == Value::Integer(0) {
                folded.set = Value::Integer(PENDING_SET);
            }
            // It expires when it is decided.
            folded.expires = Value::Null;
            show(connection, table, &folded, key)
        }
        None => run_for(connection, &table.sql.delete, key),
    }
}

/// One write on a row. It never fails: what the server will not have, it says itself.
fn fold(table: &Table, row: Option<Shown>, at: i64, operation: &Operation) -> Option<Shown> {
    let place = |id: ColumnId| table.schema.columns.iter().position(|column| column.id == id);
    let set = |row: &mut Shown, id: ColumnId, value: &Value| {
        // A column may be gone.
        if let Some(place) = place(id) {
            row.values[place] = value.clone();
        }
    };
    match (&operation.action, row) {
        (Action::Delete { .. }, _) | (Action::Patch { .. }, None) => None,
        (Action::Insert(values) | Action::Upsert(values), row) => {
            let mut row = row.unwrap_or_else(|| fresh(table, at));
            for ColumnValue(id, value) in values {
                set(&mut row, *id, value);
            }
            Some(row)
        }
        (Action::Patch { changes, .. }, Some(mut row)) => {
            for change in changes {
                let ColumnValue(id, operand) = change.operand();
                match (change, place(*id)) {
                    (ColumnChange::Set(_), _) => set(&mut row, *id, operand),
                    (ColumnChange::Add(_), Some(place)) => {
                        add(&table.schema.columns[place], &mut row.values[place], operand);
                    }
                    (ColumnChange::Add(_), None) => {}
                }
            }
            Some(row)
        }
    }
}

/// A row that is only here, with the defaults that an upsert leaves to the server.
fn fresh(table: &Table, at: i64) -> Shown {
    let values = table.schema.columns.iter().map(|column| default_left(column, at)).collect();
    let set = Value::Integer(PENDING_SET);
    Shown { values, seq: Value::Null, set, expires: Value::Null }
}

/// A sum that is none is left as it was.
fn add(column: &Column, current: &mut Value, operand: &Value) {
    let sum = match (&*current, operand) {
        (Value::Null, operand) => Some(operand.clone()),
        (Value::Integer(current), Value::Integer(operand)) => {
            current.checked_add(*operand).map(Value::Integer)
        }
        (Value::Double(current), Value::Double(operand)) => {
            Value::double(current.get() + operand.get()).ok()
        }
        _ => None,
    };
    if let Some(sum) = sum.filter(|sum| column.column_type.admit(sum.as_ref()).is_ok()) {
        *current = sum;
    }
}

/// The server's image of a row.
fn image(connection: &Connection, table: &Table, key: &Row) -> Result<Option<Shown>, ReplicaError> {
    let mut select = connection.prepare_cached(&table.sql.image)?;
    let found = select.query_row(params_from_iter(key.iter().map(Bound)), |row| {
        let values: rusqlite::Result<Vec<Option<Value>>> =
            (0..table.width()).map(|place| Ok(read(row.get_ref(place)?))).collect();
        values
    });
    let Some(values) = found.optional()? else { return Ok(None) };
    let values: Option<Vec<Value>> = values.into_iter().collect();
    let mut values = values.ok_or(ReplicaError::Damaged)?;
    let mut hidden = values.split_off(table.schema.columns.len()).into_iter();
    let mut next = || hidden.next().unwrap_or(Value::Null);
    Ok(Some(Shown { values, seq: next(), set: next(), expires: next() }))
}

/// Writes a row as it is shown: the columns that are not so already, since each that is named is
/// written into its indexes anew. Never by REPLACE, which would leave a full-text index wrong.
fn show(
    connection: &Connection,
    table: &Table,
    row: &Shown,
    key: &Row,
) -> Result<(), ReplicaError> {
    let mut bound: Vec<Bound<'_>> = row.values.iter().map(Bound).collect();
    let hidden = [Bound(&row.seq), Bound(&row.set), Bound(&row.expires)];
    bound.extend(hidden.into_iter().take(table.hidden().count()));
    let mut select = connection.prepare_cached(&table.sql.shown)?;
    let is_so = |now: &rusqlite::Row<'_>| {
        let is_so = |(place, value): (usize, &Bound<'_>)| Ok(value.is(now.get_ref(place)?));
        bound.iter().enumerate().map(is_so).collect::<rusqlite::Result<Vec<bool>>>()
    };
    let found = select.query_row(params_from_iter(key.iter().map(Bound)), is_so).optional()?;
    let Some(is_so) = found else {
        connection.prepare_cached(&table.sql.insert)?.execute(params_from_iter(bound))?;
        return Ok(());
    };
    let all = table.all();
    let (mut sets, mut values) = (Vec::new(), Vec::new());
    for ((name, value), _) in all.iter().zip(&bound).zip(is_so).filter(|(_, is_so)| !is_so) {
        values.push(value);
        sets.push(format!("{name} = ?{}", values.len()));
    }
    if sets.is_empty() {
        return Ok(());
    }
    let (name, is_row) = (table.quoted(), table.is_row(values.len()));
    let key: Vec<Bound<'_>> = key.iter().map(Bound).collect();
    values.extend(&key);
    let sql = format!("UPDATE {name} SET {} WHERE {is_row}", sets.join(", "));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}

/// Runs a statement of a table for one row.
pub(crate) fn run_for(connection: &Connection, sql: &str, key: &Row) -> Result<(), ReplicaError> {
    connection.prepare_cached(sql)?.execute(params_from_iter(key.iter().map(Bound)))?;
    Ok(())
}
