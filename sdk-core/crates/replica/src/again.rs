//! A rejected write, written again as it was.

use sdk_machine::MutationId;

use crate::error::ReplicaError;
use crate::outbox::{Draft, key_of};
use crate::writing::{Transaction, check_table};

impl Transaction<'_> {
    /// Writes what a rejected write was to do, for which this transaction is given
    /// [`WriteOptions::replaces`](crate::WriteOptions::replaces). Says how many rows that is.
    ///
    /// # Errors
    /// [`ReplicaError`] where it is not there or cannot be read any more, its table is gone, or its
    /// user may not write it any more.
    pub fn write_again(&mut self, id: MutationId) -> Result<u64, ReplicaError> {
        let rejected = self.replica.rejected(id)?.ok_or(ReplicaError::NoSuchRejection)?;
        // It is kept without what was in it.
        if rejected.mutation.operations.is_empty() {
            return Err(ReplicaError::Unreadable(id));
        }
        for operation in rejected.mutation.operations {
            // Another one may have its name by now, and what was written is of the first.
            let table = self.replica.tables.get(operation.table);
            let gone = |_| ReplicaError::Gone("the table of this write".to_owned());
            let table = table.map_err(gone)?;
            check_table(&self.replica.allowed, table, &self.writer, &mut self.lane)?;
            let key = key_of(&table.schema, &operation).ok_or(ReplicaError::Damaged)?;
            self.again.push(Draft { operation, key });
        }
        Ok(self.again.len() as u64)
    }
}
