//! Rows, and who holds them: what the writes of a step mean for the tables.
//!
//! A row for which writes of the application wait has its server image in the base, so what the
//! server says of it is done there, and what is shown is made anew at the end of the step.
//!
//! [`MemoryReplica`](../../machine/src/replica.rs) says the same in fewer words; tests hold the two
//! against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::frame::v1::{RowChange, TableNow};
use protocol::ids::{Birth, ColumnId, TableId};
use protocol::value::{Row, Value};
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params_from_iter};
use sdk_machine::{Known, SubscriptionId};

use crate::error::ReplicaError;
use crate::names::quoted;
use crate::outbox;
use crate::rebase;
use crate::sets::{Member, SetId, Sets};
use crate::stored::stored_seq;
use crate::table::{Table, Tables};
use crate::values::Bound;

/// A transaction's work on rows.
pub(crate) struct Rows<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) tables: &'a Tables,
    pub(crate) sets: &'a mut Sets,
    pub(crate) known: &'a HashMap<SubscriptionId, Known>,
    pub(crate) left: &'a mut Left,
}

/// What is to be done at the end of a step.
#[derive(Default)]
pub(crate) struct Left {
    /// Rows that nobody holds may be here, by their keys.
    unheld: BTreeMap<TableId, Vec<Row>>,
    /// And in these tables there may be very many.
    unheld_in: BTreeSet<TableId>,
    /// Rows to be shown anew.
    stale: BTreeMap<TableId, Vec<Row>>,
    /// Tables in which all are that writes wait for.
    stale_in: BTreeSet<TableId>,
}

impl Left {
    /// What is shown of a table follows from something else now.
    pub(crate) fn changed(&mut self, table: TableId) {
        self.stale_in.insert(table);
    }

    /// What is shown of a row follows from something else now.
    pub(crate) fn stale(&mut self, table: TableId, key: Row) {
        self.stale.entry(table).or_default().push(key);
    }
}

/// Rows on their way to a subscription.
struct Arrivals<'a> {
    known: &'a Known,
    table: &'a Table,
    /// Where in such a row the columns are that the table still has.
    places: Vec<usize>,
    insert: CachedStatement<'a>,
    /// The same into the base; only where writes wait for rows of the table.
    into_base: Option<CachedStatement<'a>>,
    member: Member,
    /// The set of this subscription alone.
    alone: SetId,
}

impl Arrivals<'_> {
    /// Inserts a row if there is none with its key, and says whether it did.
    fn insert(
        &mut self,
        at: At,
        row: &Row,
        seq: i64,
        expiry: Option<i64>,
    ) -> Result<bool, ReplicaError> {
        let insert = match (at, &mut self.into_base) {
            (At::Base, Some(into_base)) => into_base,
            _ => &mut self.insert,
        };
        let ours = self.places.len();
        for (place, parameter) in self.places.iter().zip(1..) {
            insert.raw_bind_parameter(parameter, Bound(&row[*place]))?;
        }
        insert.raw_bind_parameter(ours + 1, seq)?;
        insert.raw_bind_parameter(ours + 2, self.alone.0)?;
        if self.table.has_expiry() {
            insert.raw_bind_parameter(ours + 3, expiry)?;
        }
        Ok(insert.raw_execute()? > 0)
    }
}

/// Where the server's image of a row is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// It is what is shown.
    Table,
    Base,
}

impl At {
    fn name(self, table: &Table) -> String {
        match self {
            Self::Table => table.quoted(),
            Self::Base => table.base(),
        }
    }
}

/// A row as it is stored.
struct Present {
    seq: i64,
    set: SetId,
}

impl<'a> Rows<'a> {
    pub(crate) fn known(&self, id: SubscriptionId) -> Result<&'a Known, ReplicaError> {
        let known = self.known.get(&id);
        known.ok_or(ReplicaError::Inconsistent("rows of a subscription that is not known"))
    }

    /// Rows of a batch: a subscription holds them.
    pub(crate) fn batch(
        &mut self,
        id: SubscriptionId,
        births: &[Birth],
        rows: &[Row],
        expiries: &[i64],
    ) -> Result<(), ReplicaError> {
        let mut arrivals = self.arrivals(id)?;
        for (place, (birth, row)) in births.iter().zip(rows).enumerate() {
            self.put(&mut arrivals, *birth, row, expiries.get(place).copied())?;
        }
        Ok(())
    }

    /// What is the same for all rows that come to a subscription at once.
    fn arrivals(&mut self, id: SubscriptionId) -> Result<Arrivals<'a>, ReplicaError> {
        let known = self.known(id)?;
        let table = self.tables.get(known.table.id)?;
        let is_there = |id: &ColumnId| table.schema.column(*id).is_some();
        let places = (0..known.columns.len()).filter(|place| is_there(&known.columns[*place]));
        let mut names = table.names(&known.columns);
        names.extend(["_seq".to_owned(), "_set".to_owned()]);
        if table.has_expiry() {
            names.push("_expires".to_owned());
        }
        let mut parameters: Vec<String> =
            (1..=names.len()).map(|place| format!("?{place}")).collect();
        // What it does not bring is not known, whatever the default is.
        let is_unknown = |id: &ColumnId| !known.columns.contains(id);
        let columns = table.schema.columns.iter().map(|column| column.id);
        let unknown: Vec<ColumnId> = columns.filter(is_unknown).collect();
        parameters.extend(unknown.iter().map(|_| "NULL".to_owned()));
        names.extend(table.names(&unknown));
        let insert = |at: At| {
            let insert = format!(
                "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO NOTHING",
                at.name(table),
                names.join(", "),
                parameters.join(", "),
                table.key().join(", ")
            );
            self.connection.prepare_cached(&insert)
        };
        let has_pending = outbox::has_pending(self.connection, table.schema.id)?;
        let member = Member { subscription: id, is_ghost: false };
        Ok(Arrivals {
            known,
            table,
            places: places.collect(),
            insert: insert(At::Table)?,
            into_base: has_pending.then(|| insert(At::Base)).transpose()?,
            member,
            alone: self.sets.add(SetId(0), member),
        })
    }

    /// A subscription holds this row.
    fn put(
        &mut self,
        arrivals: &mut Arrivals<'a>,
        birth: Birth,
        row: &Row,
        expiry: Option<i64>,
    ) -> Result<(), ReplicaError> {
        let (table, known, member) = (arrivals.table, arrivals.known, arrivals.member);
        if row.len() != known.columns.len() {
            return Err(ReplicaError::Inconsistent("a row has other columns than its query"));
        }
        let seq = stored_seq(birth.0);
        let key = || key_of(known, row);
        let at = match &arrivals.into_base {
            Some(_) => self.at(table, &key()?)?,
            None => At::Table,
        };
        // Most rows are new.
        if arrivals.insert(at, row, seq, expiry)? {
            return Ok(());
        }
        let key = key()?;
        let present = self.present(at, table, &key)?;
        let present = present.ok_or(ReplicaError::Inconsistent("a row is there and is not"))?;
        // Another birth is another row: nobody holds that one yet. Of a row that nobody holds, what
        // it had is not kept up to date.
        let held = if present.seq == seq { present.set } else { SetId(0) };
        let set = self.sets.add(held, member);
        let unknown = if held == SetId(0) {
            let columns = table.schema.columns.iter().map(|column| column.id);
            columns.filter(|column| !known.columns.contains(column)).collect()
        } else {
            Vec::new()
        };
        self.update(at, table, &known.columns, row, (seq, set, expiry), &unknown, &key)
    }

    /// Where the server's image of a row is. One that is in the base will be shown anew.
    fn at(&mut self, table: &Table, key: &Row) -> Result<At, ReplicaError> {
        if !outbox::is_pending(self.connection, table.schema.id, key)? {
            return Ok(At::Table);
        }
        self.left.stale(table.schema.id, key.clone());
        Ok(At::Base)
    }

    /// The server has no row with this key.
    pub(crate) fn gone_now(&mut self, table: &Table, key: &Row) -> Result<(), ReplicaError> {
        let present = self.present(At::Base, table, key)?;
        if present.is_some_and(|present| !self.sets.is_held(present.set)) {
            rebase::run_for(self.connection, &table.sql.delete_image, key)?;
            self.left.stale(table.schema.id, key.clone());
        }
        Ok(())
    }

    /// The server has this row.
    pub(crate) fn row_now(
        &mut self,
        table: &Table,
        key: &Row,
        now: &TableNow,
        (birth, row, expiry): (Birth, &Row, Option<i64>),
    ) -> Result<(), ReplicaError> {
        let present = self.present(At::Base, table, key)?;
        let set = match &present {
            Some(present) if self.sets.is_held(present.set) => return Ok(()),
            Some(present) => present.set,
            None if outbox::is_pending(self.connection, table.schema.id, key)? => SetId(0),
            None => return Ok(()),
        };
        if present.is_none() {
            let parameters: Vec<String> =
                (1..=key.len()).map(|place| format!("?{place}")).collect();
            let (names, values) = (table.key().join(", "), parameters.join(", "));
            let sql = format!(
                "INSERT INTO {} ({names}, _seq, _set) VALUES ({values}, 0, 0)",
                table.base()
            );
            let key = params_from_iter(key.iter().map(Bound));
            self.connection.prepare_cached(&sql)?.execute(key)?;
        }
        self.left.stale(table.schema.id, key.clone());
        let seq = stored_seq(birth.0);
        self.update(At::Base, table, &now.columns, row, (seq, set, expiry), &[], key)
    }

    #[expect(clippy::too_many_arguments, reason = "all of a row, and where it goes")]
    fn update(
        &self,
        at: At,
        table: &Table,
        columns: &[ColumnId],
        row: &Row,
        (seq, set, expiry): (i64, SetId, Option<i64>),
        unknown: &[ColumnId],
        key: &Row,
    ) -> Result<(), ReplicaError> {
        let (names_of_row, bound) = pairs(table, columns, row);
        let keys: Vec<Bound<'_>> = key.iter().map(Bound).collect();
        let mut values: Vec<&dyn ToSql> = bound.iter().map(|value| value as &dyn ToSql).collect();
        let mut sets: Vec<String> = names_of_row
            .into_iter()
            .zip(1..)
            .map(|(name, place)| format!("{name} = ?{place}"))
            .collect();
        sets.extend(table.names(unknown).into_iter().map(|name| format!("{name} = NULL")));
        let ours: [(&str, &dyn ToSql); 3] =
            [("_seq", &seq), ("_set", &set.0), ("_expires", &expiry)];
        for (name, value) in &ours[..if table.has_expiry() { 3 } else { 2 }] {
            values.push(*value);
            sets.push(format!("{name} = ?{}", values.len()));
        }
        let is_row = table.is_row(values.len());
        values.extend(keys.iter().map(|value| value as &dyn ToSql));
        let sql = format!("UPDATE {} SET {} WHERE {is_row}", at.name(table), sets.join(", "));
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
        Ok(())
    }

    fn present(&self, at: At, table: &Table, key: &Row) -> Result<Option<Present>, ReplicaError> {
        let sql = match at {
            At::Table => &table.sql.held,
            At::Base => &table.sql.held_image,
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params_from_iter(key.iter().map(Bound)), |row| {
            Ok(Present { seq: row.get(0)?, set: SetId(row.get(1)?) })
        });
        Ok(found.optional()?)
    }

    /// What became of rows.
    pub(crate) fn change(
        &mut self,
        id: SubscriptionId,
        changes: &[RowChange],
    ) -> Result<(), ReplicaError> {
        let mut arrivals = self.arrivals(id)?;
        let table = arrivals.known.table.id;
        for change in changes {
            match change {
                RowChange::Row(birth, row) => self.put(&mut arrivals, *birth, row, None)?,
                RowChange::Expiring(birth, row, expiry) => {
                    self.put(&mut arrivals, *birth, row, Some(*expiry))?;
                }
                RowChange::Left(birth, key) => self.left(id, table, *birth, key)?,
                RowChange::Deleted(birth, key) => self.deleted(table, *birth, key)?,
            }
        }
        Ok(())
    }

    fn left(
        &mut self,
        id: SubscriptionId,
        table_id: TableId,
        birth: Birth,
        key: &Row,
    ) -> Result<(), ReplicaError> {
        let table = self.tables.get(table_id)?;
        let at = self.at(table, key)?;
        let present = self.present(at, table, key)?;
        let Some(present) = present.filter(|present| present.seq == stored_seq(birth.0)) else {
            return Ok(());
        };
        let set = self.sets.without(present.set, |member| member.subscription == id);
        if set == present.set {
            return Ok(());
        }
        let mut changed = vec!["_set = ?1".to_owned()];
        changed.extend(self.forgotten(table, present.set, set));
        let sql = format!(
            "UPDATE {} SET {} WHERE {}",
            at.name(table),
            changed.join(", "),
            table.is_row(1)
        );
        let bound: Vec<Bound<'_>> = key.iter().map(Bound).collect();
        let mut values: Vec<&dyn ToSql> = vec![&set.0];
        values.extend(bound.iter().map(|value| value as &dyn ToSql));
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
        // Writes that wait hold it.
        if set == SetId(0) && at == At::Table {
            self.left.unheld.entry(table_id).or_default().push(key.clone());
        }
        Ok(())
    }

    /// What is set to NULL when a row's set becomes a smaller one: what nobody in it knows, and so
    /// nobody would keep up to date.
    fn forgotten(&self, table: &Table, from: SetId, to: SetId) -> Vec<String> {
        if to == SetId(0) {
            return Vec::new();
        }
        let known = self.sets.columns(to, self.known);
        let mut gone = self.sets.columns(from, self.known);
        gone.retain(|column| !known.contains(column) && !table.schema.primary_key.contains(column));
        table.names(&gone).into_iter().map(|name| format!("{name} = NULL")).collect()
    }

    fn deleted(&mut self, table: TableId, birth: Birth, key: &Row) -> Result<(), ReplicaError> {
        let table = self.tables.get(table)?;
        let at = self.at(table, key)?;
        let sql = format!("DELETE FROM {} WHERE _seq = ?1 AND {}", at.name(table), table.is_row(1));
        let seq = stored_seq(birth.0);
        let bound: Vec<Bound<'_>> = key.iter().map(Bound).collect();
        let mut values: Vec<&dyn ToSql> = vec![&seq];
        values.extend(bound.iter().map(|value| value as &dyn ToSql));
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
        Ok(())
    }

    /// The rows of a subscription have a value in a column that its table has got, where nobody else
    /// who has the row has known the column before.
    pub(crate) fn fill(
        &mut self,
        id: SubscriptionId,
        column: ColumnId,
        value: &Value,
    ) -> Result<(), ReplicaError> {
        let table = self.tables.get(self.known(id)?.table.id)?;
        let Some(name) = table.names(&[column]).pop().filter(|_| !value.is_null()) else {
            return Ok(());
        };
        for set in self.sets.with(|member| member.subscription == id) {
            if self.sets.columns(set, self.known).contains(&column) {
                continue;
            }
            let update = |at: At| {
                let sql = format!("UPDATE {} SET {name} = ?1 WHERE _set = ?2", at.name(table));
                self.connection.execute(&sql, (Bound(value), set.0))
            };
            update(At::Table)?;
            if update(At::Base)? > 0 {
                self.left.stale_in.insert(table.schema.id);
            }
        }
        Ok(())
    }

    /// Every row of a table moves from one set to another: one pass over that set.
    /// `to` says what becomes of the members.
    pub(crate) fn move_all(
        &mut self,
        table_id: TableId,
        is_it: impl Fn(&Member) -> bool,
        to: impl Fn(&mut Sets, SetId) -> SetId,
    ) -> Result<(), ReplicaError> {
        // One that was dropped has no rows.
        let Some(table) = self.tables.0.get(&table_id) else { return Ok(()) };
        for from in self.sets.with(&is_it) {
            let set = to(self.sets, from);
            if set == from {
                continue;
            }
            let mut changed = vec![format!("_set = {}", set.0)];
            changed.extend(self.forgotten(table, from, set));
            let update = |at: At| {
                let (name, changed) = (at.name(table), changed.join(", "));
                let sql = format!("UPDATE {name} SET {changed} WHERE _set = {}", from.0);
                self.connection.execute(&sql, [])
            };
            let rows = update(At::Table)?;
            if rows > 0 && set == SetId(0) {
                self.left.unheld_in.insert(table_id);
            }
            if update(At::Base)? > 0 {
                self.left.stale_in.insert(table_id);
            }
        }
        Ok(())
    }

    /// The end of a step. Rows that writes wait for are shown anew, and then held by those writes at
    /// least. Rows that nothing holds go: what one subscription lets go within it, another may take.
    pub(crate) fn finish(&mut self) -> Result<(), ReplicaError> {
        for table in &self.left.stale_in {
            let schema = &self.tables.get(*table)?.schema;
            let keys = outbox::keys(self.connection, schema)?;
            self.left.stale.entry(*table).or_default().extend(keys);
        }
        for (table, keys) in &self.left.stale {
            let table = self.tables.get(*table)?;
            // Once no write waits for it, a row is as any other.
            let mut done = HashSet::new();
            for key in keys.iter().filter(|key| done.insert(*key)) {
                rebase::row(self.connection, table, key)?;
            }
        }
        for table in &self.left.unheld_in {
            let name = self.tables.get(*table)?.quoted();
            self.connection.execute(&format!("DELETE FROM {name} WHERE _set = 0"), [])?;
        }
        for (table, keys) in &self.left.unheld {
            if self.left.unheld_in.contains(table) {
                continue;
            }
            let table = self.tables.get(*table)?;
            let sql =
                format!("DELETE FROM {} WHERE _set = 0 AND {}", table.quoted(), table.is_row(0));
            let mut statement = self.connection.prepare_cached(&sql)?;
            for key in keys {
                statement.execute(params_from_iter(key.iter().map(Bound)))?;
            }
        }
        Ok(())
    }
}

/// The columns of a row that the table still has, with their values.
fn pairs<'r>(table: &Table, columns: &[ColumnId], row: &'r Row) -> (Vec<String>, Vec<Bound<'r>>) {
    let named = columns.iter().zip(row.iter()).filter_map(|(id, value)| {
        let column = table.schema.column(*id)?;
        Some((quoted(column.name.as_str()), Bound(value)))
    });
    named.unzip()
}

/// The values of the primary key, in its order.
fn key_of(known: &Known, row: &Row) -> Result<Row, ReplicaError> {
    let value = |id: &ColumnId| -> Option<Value> {
        let place = known.columns.iter().position(|column| column == id)?;
        row.0.get(place).cloned()
    };
    let key: Option<Vec<Value>> = known.table.primary_key.iter().map(value).collect();
    key.map(Row).ok_or(ReplicaError::Inconsistent("a query without the primary key"))
}
