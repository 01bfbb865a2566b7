//! Writes of one row by its key, without SQL; also of rows that are not on the device.

use protocol::ids::ColumnId;
use protocol::mutation::{Action, ColumnChange, ColumnValue, Reason};
use protocol::schema::{Column, MergeRule};
use protocol::value::{Row, Value};

use crate::capture::{check_key, check_size, is_in};
use crate::error::ReplicaError;
use crate::names::quoted;
use crate::outbox::Draft;
use crate::table::Table;
use crate::values::owned;
use crate::writing::Transaction;

/// What becomes of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It holds this from then on.
    Set(Value),
    /// This is added to what it holds; for columns declared `MERGE ADD`.
    Add(Value),
}

impl Transaction<'_> {
    /// Inserts a row. Columns that are not named take their defaults.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn insert(&mut self, table: &str, values: &[(&str, Value)]) -> Result<(), ReplicaError> {
        let table = self.table(table)?;
        let mut names = Vec::new();
        for (name, _) in values {
            names.push(quoted(table.column(name)?.name.as_str()));
        }
        let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        let sql = match names.is_empty() {
            true => format!("INSERT INTO {} DEFAULT VALUES", table.quoted()),
            false => format!(
                "INSERT INTO {} ({}) VALUES ({})",
                table.quoted(),
                names.join(", "),
                places.join(", ")
            ),
        };
        let values: Vec<Value> = values.iter().map(|(_, value)| value.clone()).collect();
        self.execute(&sql, &values).map(drop)
    }

    /// Changes columns of a row, which need not be here: then it is changed on the server, and here
    /// when it comes. Says how many rows were changed here, 0 or 1.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn update(
        &mut self,
        table: &str,
        key: &[(&str, Value)],
        changes: &[(&str, Change)],
    ) -> Result<u64, ReplicaError> {
        let table = self.table(table)?;
        let key = key_of(&table, key)?;
        let (mut wanted, mut operands) = (Vec::new(), Vec::<ColumnValue>::new());
        for (name, change) in changes {
            let column = table.column(name)?;
            if operands.iter().any(|ColumnValue(id, _)| *id == column.id) {
                let told = format!("column {name} is changed twice: name each once");
                return Err(ReplicaError::Sql(told));
            }
            let change = column_change(&table, column, change)?;
            operands.push(change.operand().clone());
            wanted.push(change);
        }
        check_size(&table, &operands)?;
        if wanted.is_empty() {
            return Ok(0);
        }
        if !self.is_here(&table, &key)? {
            let action = Action::Patch { key: key.clone(), changes: wanted };
            return self.direct(&table, &Draft::new(&table, key, action)).map(|()| 0);
        }
        let mut sets = Vec::new();
        let mut values = Vec::new();
        for change in &wanted {
            let ColumnValue(id, value) = change.operand();
            let name = table.names(&[*id]).join("");
            values.push(value.clone());
            let place = values.len();
            sets.push(match change {
                ColumnChange::Set(_) => format!("{name} = ?{place}"),
                ColumnChange::Add(_) => format!("{name} = coalesce({name}, 0) + ?{place}"),
            });
        }
        let (name, is_row) = (table.quoted(), table.is_row(values.len()));
        let sql = format!("UPDATE {name} SET {} WHERE {is_row}", sets.join(", "));
        values.extend(key.0);
        Ok(self.execute(&sql, &values)?.rows_affected)
    }

    /// Deletes a row, which need not be here. Says how many rows went from here, 0 or 1.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn delete(&mut self, table: &str, key: &[(&str, Value)]) -> Result<u64, ReplicaError> {
        let table = self.table(table)?;
        let key = key_of(&table, key)?;
        if !self.is_here(&table, &key)? {
            let action = Action::Delete { key: key.clone() };
            return self.direct(&table, &Draft::new(&table, key, action)).map(|()| 0);
        }
        let sql = format!("DELETE FROM {} WHERE {}", table.quoted(), table.is_row(0));
        Ok(self.execute(&sql, &key.0)?.rows_affected)
    }

    fn is_here(&self, table: &Table, key: &Row) -> Result<bool, ReplicaError> {
        is_in(&self.replica.connection, &table.sql.is_shown, key)
    }
}

pub(crate) fn key_of(table: &Table, named: &[(&str, Value)]) -> Result<Row, ReplicaError> {
    let key = &table.schema.primary_key;
    let value = |id: &ColumnId| {
        let column = table.schema.column(*id)?;
        let (_, value) = named.iter().find(|(name, _)| *name == column.name.as_str())?;
        Some(as_typed(table, column, value))
    };
    let values: Option<Vec<_>> = key.iter().map(value).collect();
    let values = values.filter(|values| values.len() == named.len()).ok_or_else(|| {
        let (table, columns) = (&table.schema.name, table.key().join(", "));
        ReplicaError::Sql(format!("the key of {table} is {columns}: name each of it, and no other"))
    })?;
    let key: Row = values.into_iter().collect::<Result<_, _>>()?;
    check_key(table, &key)?;
    Ok(key)
}

/// A value as SQLite would store it, and then as one of the column's type.
fn as_typed(table: &Table, column: &Column, value: &Value) -> Result<Value, ReplicaError> {
    let value = table.typed(column, &owned(value.clone()))?;
    table.check_null(column, &value)?;
    Ok(value)
}

fn column_change(
    table: &Table,
    column: &Column,
    change: &Change,
) -> Result<ColumnChange, ReplicaError> {
    let refused = |told: &str| Err(table.refused(column, told));
    if table.is_key(column.id) {
        return refused(&Reason::KeyChanged.to_string());
    }
    match change {
        Change::Set(value) => {
            Ok(ColumnChange::Set(ColumnValue(column.id, as_typed(table, column, value)?)))
        }
        Change::Add(_) if column.merge != MergeRule::Add => refused(&Reason::NotAdded.to_string()),
        Change::Add(value) => match as_typed(table, column, value)? {
            Value::Null => refused("NULL cannot be added: give a number"),
            value => Ok(ColumnChange::Add(ColumnValue(column.id, value))),
        },
    }
}
