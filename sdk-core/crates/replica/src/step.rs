//! A step of the machine: one transaction, all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{Birth, TableId};
use protocol::value::Row;
use sdk_machine::{Known, Step, SubscriptionId, Write};

use crate::error::ReplicaError;
use crate::replica::{Changed, Replica};
use crate::rows::Rows;
use crate::sets::{Member, SetId, Sets};
use crate::stored;

impl Replica {
    /// Does a step. What of the application is in the way of the server's rows, such as a UNIQUE
    /// index, is dropped and reported: what the server says always fits.
    ///
    /// # Errors
    /// [`ReplicaError`]. Nothing of the step was done; a new machine goes on from
    /// [`Replica::load`].
    pub fn apply(&mut self, step: &Step) -> Result<Changed, ReplicaError> {
        self.despite_the_app(|replica| replica.write_all(step))
    }

    /// Says whether tables were made or changed.
    fn write_all(&mut self, step: &Step) -> Result<bool, ReplicaError> {
        let mut is_new = false;
        // Descriptions of tables come before rows.
        for write in &step.writes {
            if let Write::PutSubscription(put) = write
                && let Some(known) = &put.known
            {
                is_new |= self.tables.ensure(&self.connection, &known.table)?;
            }
        }
        let (mut emptied, mut swept) = (BTreeMap::new(), BTreeSet::new());
        let mut gone = Vec::new();
        for write in &step.writes {
            self.write(write, &mut emptied, &mut swept, &mut gone)?;
        }
        self.with_rows(&mut emptied, &mut swept, |rows| rows.drop_unheld())?;
        for id in gone {
            self.sets.forget(&self.connection, |member| member.subscription == id)?;
        }
        self.sets.store(&self.connection)?;
        Ok(is_new)
    }

    fn write(
        &mut self,
        write: &Write,
        emptied: &mut BTreeMap<TableId, Vec<Row>>,
        swept: &mut BTreeSet<TableId>,
        gone: &mut Vec<SubscriptionId>,
    ) -> Result<(), ReplicaError> {
        match write {
            Write::PutSubscription(put) => {
                gone.retain(|id| *id != put.id);
                self.know(put.id, put.known.clone());
                stored::put_subscription(&self.connection, put)
            }
            Write::RemoveSubscription(id) => {
                let id = *id;
                self.connection.execute("DELETE FROM tw_subscriptions WHERE id = ?1", [id.0])?;
                self.connection.execute("DELETE FROM tw_staged WHERE subscription = ?1", [id.0])?;
                self.release(id, emptied, swept, |member| member.subscription == id)?;
                self.know(id, None);
                gone.push(id);
                Ok(())
            }
            Write::Batch { subscription, births, rows, expiries } => {
                self.batch(*subscription, births, rows, expiries, emptied, swept)
            }
            Write::Changes { subscription, changes } => {
                let (id, known) = (*subscription, self.known(*subscription)?.clone());
                self.with_rows(emptied, swept, |rows| rows.change(id, &known, changes))
            }
            Write::Stage { lane, subscription, changes } => {
                stored::stage(&self.connection, lane, *subscription, changes)
            }
            Write::ShowStaged { lane } => {
                for (id, changes) in stored::unstage(&self.connection, lane)? {
                    let known = self.known(id)?.clone();
                    self.with_rows(emptied, swept, |rows| rows.change(id, &known, &changes))?;
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
                self.with_rows(emptied, swept, |rows| rows.move_all(table, is_it, to))
            }
            Write::DropGhosts(id) => {
                let ghost = Member { subscription: *id, is_ghost: true };
                self.release(*id, emptied, swept, |member| *member == ghost)
            }
            Write::PutLane(lane) => stored::put_lane(&self.connection, lane),
            Write::RemoveLane(lane) => {
                let lane = lane.to_string();
                self.connection.execute("DELETE FROM tw_lanes WHERE lane = ?1", [lane])?;
                Ok(())
            }
        }
    }

    fn batch(
        &mut self,
        id: SubscriptionId,
        births: &[Birth],
        rows: &[Row],
        expiries: &[i64],
        emptied: &mut BTreeMap<TableId, Vec<Row>>,
        swept: &mut BTreeSet<TableId>,
    ) -> Result<(), ReplicaError> {
        let known = self.known(id)?.clone();
        self.with_rows(emptied, swept, |into| {
            for (place, (birth, row)) in births.iter().zip(rows).enumerate() {
                into.put(id, &known, *birth, row, expiries.get(place).copied())?;
            }
            Ok(())
        })
    }

    /// Takes members out of the sets of all rows of a subscription's table.
    fn release(
        &mut self,
        id: SubscriptionId,
        emptied: &mut BTreeMap<TableId, Vec<Row>>,
        swept: &mut BTreeSet<TableId>,
        goes: impl Fn(&Member) -> bool,
    ) -> Result<(), ReplicaError> {
        let Some(table) = self.table_of(id) else { return Ok(()) };
        let to = |sets: &mut Sets, from: SetId| sets.without(from, &goes);
        self.with_rows(emptied, swept, |rows| rows.move_all(table, &goes, to))
    }

    fn known(&self, id: SubscriptionId) -> Result<&Known, ReplicaError> {
        let known = self.known.get(&id);
        known.ok_or(ReplicaError::Inconsistent("rows of a subscription that is not known"))
    }

    fn table_of(&self, id: SubscriptionId) -> Option<TableId> {
        self.known.get(&id).map(|known| known.table.id)
    }

    fn with_rows(
        &mut self,
        emptied: &mut BTreeMap<TableId, Vec<Row>>,
        swept: &mut BTreeSet<TableId>,
        work: impl FnOnce(&mut Rows<'_>) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let mut rows = Rows {
            connection: &self.connection,
            tables: &self.tables,
            sets: &mut self.sets,
            columns: &self.columns,
            emptied: std::mem::take(emptied),
            swept: std::mem::take(swept),
        };
        let done = work(&mut rows);
        (*emptied, *swept) = (rows.emptied, rows.swept);
        done
    }
}
