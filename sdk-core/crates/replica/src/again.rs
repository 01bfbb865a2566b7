//! A rejected write, written again as it was.

use protocol::value::Row;
use rusqlite::params_from_iter;
use sdk_machine::MutationId;

use crate::capture::is_in;
use crate::error::ReplicaError;
use crate::outbox::{self, Draft, key_of};
use crate::rebase;
use crate::table::Table;
use crate::values::Bound;
use crate::writing::{Transaction, check_table};

impl Transaction<'_> {
    /// Writes what a rejected write was to do, for which this transaction is given
    /// [`WriteOptions::replaces`](crate::WriteOptions::replaces). Says how many rows that is.
    ///
    /// # Errors
    /// [`ReplicaError`] where it is not there, or its user may not write it any more.
    pub fn write_again(&mut self, id: MutationId) -> Result<u64, ReplicaError> {
        let rejected = self.replica.rejected(id)?.ok_or(ReplicaError::NoSuchRejection)?;
        for operation in rejected.mutation.operations {
            let found = self.replica.tables.0.get(&operation.table);
            // Another one may have its name by now, and what was written is of the first.
            let gone = || ReplicaError::Gone(format!("table {}", operation.table.0));
            let table = found.ok_or_else(gone)?;
            check_table(&self.replica.allowed, table, &self.writer, &mut self.lane)?;
            let key = key_of(&table.schema, &operation).ok_or(ReplicaError::Damaged)?;
            self.again.push(Draft { operation, key });
        }
        Ok(self.again.len() as u64)
    }

    /// Keeps the server's images of the rows that are written again and for which nothing waits.
    pub(crate) fn keep_images_again(&self) -> Result<(), ReplicaError> {
        let connection = &self.replica.connection;
        for (table, key) in self.rows_again()? {
            let is_there = is_in(connection, table, &table.base(), key)?
                || outbox::is_pending(connection, table.schema.id, key)?;
            if is_there {
                continue;
            }
            let (all, base, name) = (table.all().join(", "), table.base(), table.quoted());
            let is_row = table.is_row(0);
            let sql = format!("INSERT INTO {base} ({all}) SELECT {all} FROM {name} WHERE {is_row}");
            connection.prepare_cached(&sql)?.execute(params_from_iter(key.iter().map(Bound)))?;
        }
        Ok(())
    }

    /// Shows the rows that are written again as they are to be.
    pub(crate) fn show_again(&self) -> Result<(), ReplicaError> {
        let connection = &self.replica.connection;
        self.rows_again()?
            .into_iter()
            .try_for_each(|(table, key)| rebase::row(connection, table, key))
    }

    fn rows_again(&self) -> Result<Vec<(&Table, &Row)>, ReplicaError> {
        let mut rows = Vec::new();
        for Draft { operation, key } in &self.again {
            rows.push((self.replica.tables.get(operation.table)?, key));
        }
        Ok(rows)
    }
}
