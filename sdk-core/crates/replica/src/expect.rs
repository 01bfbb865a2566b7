//! What an application expects the server to find, by the names of rows and columns.

use protocol::mutation::{Action, ColumnValue, Guard};
use protocol::value::Value;

use crate::error::ReplicaError;
use crate::outbox::Draft;
use crate::typed::key_of;
use crate::values::owned;
use crate::writing::Transaction;

impl Transaction<'_> {
    /// The transaction is to happen only where the server has a row with this key, and these values in
    /// it. The row may be one that it does not write, and need not be here.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    pub fn expect(
        &mut self,
        table: &str,
        key: &[(&str, Value)],
        values: &[(&str, Value)],
    ) -> Result<(), ReplicaError> {
        let table = self.table(table)?;
        let key = key_of(&table, key)?;
        let mut expected = Vec::new();
        for (name, value) in values {
            let column = table.column(name)?;
            let value = table.typed(column, &owned(value.clone()))?;
            expected.push(ColumnValue(column.id, value));
        }
        let action = Action::Patch { key: key.clone(), changes: Vec::new() };
        let mut draft = Draft::new(&table, key, action);
        draft.operation.guard = Some(Guard::Values(expected));
        // Noted so, it goes with its savepoint.
        self.note(&table, &draft)
    }
}
