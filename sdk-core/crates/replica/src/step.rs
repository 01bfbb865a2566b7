//! A step of the machine: one transaction, all of it or nothing.

use protocol::ids::TableId;
use sdk_machine::{Staged, Step, StoredSubscription, SubscriptionId, Write};

use crate::changed::Changed;
use crate::error::ReplicaError;
use crate::guard::PENDING;
use crate::replica::Replica;
use crate::rows::{Left, Rows};
use crate::sets::{Member, SetId, Sets};
use crate::stored;
use crate::writers;

impl Replica {
    /// Does a step. What of the application is in the way of the server's rows, such as a UNIQUE
    /// index, is dropped and reported: what the server says always fits.
    ///
    /// # Errors
    /// [`ReplicaError`]. Nothing of the step was done; a new machine goes on from
    /// [`Replica::load`].
    pub fn apply(&mut self, step: &Step) -> Result<Changed, ReplicaError> {
        self.apply_all(&[step])
    }

    /// Does steps one after the other, in one transaction: all of them or none.
    ///
    /// # Errors
    /// As [`Replica::apply`]; some of them may be possible alone.
    pub fn apply_all(&mut self, steps: &[&Step]) -> Result<Changed, ReplicaError> {
        let mut changed = match steps.iter().any(|step| step.synced) {
            true => self.synced(|replica| replica.write_steps(steps))?,
            false => self.write_steps(steps)?,
        };
        let is_of_writes =
            |write: &Write| matches!(write, Write::Settle { .. } | Write::PutWriter(_));
        if steps.iter().any(|step| step.writes.iter().any(is_of_writes)) {
            changed.all_of(PENDING);
        }
        Ok(changed)
    }

    fn write_steps(&mut self, steps: &[&Step]) -> Result<Changed, ReplicaError> {
        self.despite_the_app(|replica| {
            let mut is_new = false;
            for step in steps {
                is_new |= replica.write_all(step)?;
            }
            Ok(is_new)
        })
    }

    /// The journal is synced at the end of the transaction, and so with all that was before it.
    fn synced<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        let done = work(self);
        #[cfg(feature = "testing")]
        self.note_synced_frames();
        // What is done is done. Where it stays so, the next ones are synced, too.
        let _ = self.connection.execute_batch("PRAGMA synchronous = NORMAL");
        done
    }

    /// Says whether tables were made or changed.
    fn write_all(&mut self, step: &Step) -> Result<bool, ReplicaError> {
        let mut left = Left::default();
        let mut is_new = false;
        // Descriptions of tables come before rows.
        for write in &step.writes {
            if let Write::PutSubscription(put) = write
                && let Some(known) = &put.known
            {
                let is_other = self.ensure_table(&known.table)?;
                if is_other {
                    left.changed(known.table.id);
                }
                is_new |= is_other;
            }
        }
        let mut gone = Vec::new();
        for write in &step.writes {
            self.write(write, &mut left, &mut gone)?;
        }
        self.keep_server_rows(&step.writes)?;
        self.with_rows(&mut left, |rows| rows.finish())?;
        for id in gone {
            self.sets.forget(&self.connection, |member| member.subscription == id)?;
        }
        is_new |= self.follow_schema()?;
        self.sets.store(&self.connection)?;
        if is_new {
            self.forget_statements();
            self.making.know(&self.tables);
        }
        Ok(is_new)
    }

    fn write(
        &mut self,
        write: &Write,
        left: &mut Left,
        gone: &mut Vec<SubscriptionId>,
    ) -> Result<(), ReplicaError> {
        match write {
            Write::PutSubscription(put) => {
                gone.retain(|id| *id != put.id);
                self.describe(put, left)
            }
            Write::PutSchema { schema, tables } => self.put_schema(schema, tables),
            Write::RemoveSubscription(id) => {
                let id = *id;
                self.connection.execute("DELETE FROM tw_subscriptions WHERE id = ?1", [id.0])?;
                stored::drop_staged(&self.connection, &Staged::OfSubscription(id))?;
                self.release(id, left, |member| member.subscription == id)?;
                self.know(id, None);
                gone.push(id);
                Ok(())
            }
            Write::Batch { subscription, births, rows, expiries } => {
                self.with_rows(left, |into| into.batch(*subscription, births, rows, expiries))
            }
            Write::Changes { subscription, changes } => {
                self.with_rows(left, |rows| rows.change(*subscription, changes))
            }
            Write::Stage { lane, subscription, changes } => {
                stored::stage(&self.connection, lane, *subscription, changes)
            }
            Write::ShowStaged { lane } => {
                for (id, changes) in stored::unstage(&self.connection, lane)? {
                    self.with_rows(left, |rows| rows.change(id, &changes))?;
                }
                Ok(())
            }
            Write::DropStaged(staged) => stored::drop_staged(&self.connection, staged),
            Write::KeepRows(id) => {
                let id = *id;
                let holder = Member { subscription: id, is_ghost: false };
                let ghost = Member { subscription: id, is_ghost: true };
                let Some(table) = self.table_of(id) else { return Ok(()) };
                let to = |sets: &mut Sets, from: SetId| {
                    let others = sets.without(from, |member| *member == holder);
                    sets.add(others, ghost)
                };
                let is_it = |member: &Member| *member == holder;
                self.with_rows(left, |rows| rows.move_all(table, is_it, to))
            }
            Write::DropGhosts(id) => {
                let ghost = Member { subscription: *id, is_ghost: true };
                self.release(*id, left, |member| *member == ghost)
            }
            Write::PutLane(lane) => stored::put_lane(&self.connection, lane),
            Write::RemoveLane(lane) => stored::remove_lane(&self.connection, lane),
            Write::PutSince(since) => {
                self.connection.execute("UPDATE tw_replica SET since = ?1", [since])?;
                Ok(())
            }
            Write::PutWriter(writer) => writers::put_writer(&self.connection, writer),
            Write::Settle { id, settled } => self.settle(*id, settled, left),
            Write::HeldBackUncertain(lane) => self.give_up_held(lane, left),
            Write::RowsNow(tables) => {
                self.with_rows(left, |rows| tables.iter().try_for_each(|now| rows.now(now)))
            }
        }
    }

    /// Stores a subscription. Where its table has got columns, so have the rows that it has.
    fn describe(&mut self, put: &StoredSubscription, left: &mut Left) -> Result<(), ReplicaError> {
        let known = self.known.get(&put.id).zip(put.known.as_ref());
        let filled = known.map(|(before, now)| now.filled_since(before));
        for (column, value) in filled.unwrap_or_default() {
            self.with_rows(left, |rows| rows.fill(put.id, column, &value))?;
        }
        self.know(put.id, put.known.clone());
        stored::put_subscription(&self.connection, put)
    }

    /// Takes members out of the sets of all rows of a subscription's table.
    fn release(
        &mut self,
        id: SubscriptionId,
        left: &mut Left,
        goes: impl Fn(&Member) -> bool,
    ) -> Result<(), ReplicaError> {
        let Some(table) = self.table_of(id) else { return Ok(()) };
        let to = |sets: &mut Sets, from: SetId| sets.without(from, &goes);
        self.with_rows(left, |rows| rows.move_all(table, &goes, to))
    }

    fn table_of(&self, id: SubscriptionId) -> Option<TableId> {
        self.known.get(&id).map(|known| known.table.id)
    }

    pub(crate) fn with_rows(
        &mut self,
        left: &mut Left,
        work: impl FnOnce(&mut Rows<'_>) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        work(&mut Rows {
            connection: &self.connection,
            tables: &self.tables,
            sets: &mut self.sets,
            known: &self.known,
            left,
        })
    }
}
