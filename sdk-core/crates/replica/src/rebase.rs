//! What is shown of a row for which writes wait: the server's last image of it, and on that the
//! writes in their order (INV-9).

use protocol::ids::ColumnId;
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::schema::Column;
use protocol::value::{Row, Value};
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

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
    if is_in(connection, table, &table.base(), key)?
        || outbox::is_pending(connection, table.schema.id, key)?
    {
        return Ok(());
    }
    let (all, base, name) = (table.all().join(", "), table.base(), table.quoted());
    let is_row = table.is_row(0);
    let sql = format!("INSERT INTO {base} ({all}) SELECT {all} FROM {name} WHERE {is_row}");
    connection.prepare_cached(&sql)?.execute(params_from_iter(key.iter().map(Bound)))?;
    Ok(())
}

/// Shows a row anew. Where no write waits for it any more it is the server's image, and the base has
/// it no longer.
pub(crate) fn row(connection: &Connection, table: &Table, key: &Row) -> Result<(), ReplicaError> {
    let image = image(connection, table, key)?;
    let operations = outbox::of_row(connection, &table.schema, key)?;
    if operations.is_empty() {
        // What nobody holds was kept for the writes alone.
        match image.filter(|image| image.set != Value::Integer(0)) {
            Some(image) => show(connection, table, &image)?,
            None => delete(connection, &table.quoted(), table, key)?,
        }
        return delete(connection, &table.base(), table, key);
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
            show(connection, table, &folded)
        }
        None => delete(connection, &table.quoted(), table, key),
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
    let sql = format!(
        "SELECT {} FROM {} WHERE {}",
        table.all().join(", "),
        table.base(),
        table.is_row(0)
    );
    let mut select = connection.prepare_cached(&sql)?;
    let found = select.query_row(params_from_iter(key.iter().map(Bound)), |row| {
        let values: rusqlite::Result<Vec<Option<Value>>> =
            (0..table.all().len()).map(|place| Ok(read(row.get_ref(place)?))).collect();
        values
    });
    let Some(values) = found.optional()? else { return Ok(None) };
    let values: Option<Vec<Value>> = values.into_iter().collect();
    let mut values = values.ok_or(ReplicaError::Damaged)?;
    let mut hidden = values.split_off(table.schema.columns.len()).into_iter();
    let mut next = || hidden.next().unwrap_or(Value::Null);
    Ok(Some(Shown { values, seq: next(), set: next(), expires: next() }))
}

/// Writes a row as it is shown, if it is not shown so already. Never by REPLACE, which would leave
/// a full-text index wrong.
fn show(connection: &Connection, table: &Table, row: &Shown) -> Result<(), ReplicaError> {
    let all = table.all();
    let places: Vec<String> = (1..=all.len()).map(|place| format!("?{place}")).collect();
    let excluded: Vec<String> = all.iter().map(|name| format!("excluded.{name}")).collect();
    let sets: Vec<String> =
        all.iter().zip(&excluded).map(|(name, value)| format!("{name} = {value}")).collect();
    let name = table.quoted();
    let old: Vec<String> = all.iter().map(|column| format!("{name}.{column}")).collect();
    let sql = format!(
        "INSERT INTO {name} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} WHERE ({}) IS NOT \
         ({})",
        all.join(", "),
        places.join(", "),
        table.key().join(", "),
        sets.join(", "),
        old.join(", "),
        excluded.join(", ")
    );
    let mut bound: Vec<Bound<'_>> = row.values.iter().map(Bound).collect();
    let hidden = [Bound(&row.seq), Bound(&row.set), Bound(&row.expires)];
    bound.extend(hidden.into_iter().take(all.len() - row.values.len()));
    let values: Vec<&dyn ToSql> = bound.iter().map(|value| value as &dyn ToSql).collect();
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}

pub(crate) fn delete(
    connection: &Connection,
    place: &str,
    table: &Table,
    key: &Row,
) -> Result<(), ReplicaError> {
    let sql = format!("DELETE FROM {place} WHERE {}", table.is_row(0));
    connection.prepare_cached(&sql)?.execute(params_from_iter(key.iter().map(Bound)))?;
    Ok(())
}
