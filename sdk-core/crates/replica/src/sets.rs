//! Which subscriptions hold a row: a number in the row, which names a set of them.
//!
//! There are few different sets and many rows, so a row has one small number, and changing who
//! holds it changes that number alone.

use std::collections::HashMap;

use protocol::ids::ColumnId;
use rusqlite::{Connection, params};
use sdk_machine::{Known, SubscriptionId};

use crate::error::ReplicaError;

/// The number of a set. 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SetId(pub(crate) i64);

/// Somebody in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) subscription: SubscriptionId,
    /// It shows the row only until it is loaded anew.
    pub(crate) is_ghost: bool,
}

/// All sets there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets {
    by_id: HashMap<SetId, Vec<Member>>,
    by_members: HashMap<Vec<Member>, SetId>,
    last: i64,
    /// Given out in this transaction, and not stored.
    fresh: Vec<SetId>,
}

impl Sets {
    pub(crate) fn load(connection: &Connection) -> Result<Self, ReplicaError> {
        let last = connection.query_row("SELECT last_set FROM tw_replica", [], |row| row.get(0))?;
        let mut sets = Self { last, ..Self::default() };
        sets.keep(SetId(0), Vec::new());
        let mut statement = connection.prepare("SELECT id, members FROM tw_sets")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
            let members: Option<Vec<Member>> = text.split(' ').map(member).collect();
            sets.keep(SetId(id), members.ok_or(ReplicaError::Damaged)?);
        }
        Ok(sets)
    }

    fn keep(&mut self, id: SetId, members: Vec<Member>) {
        self.by_members.insert(members.clone(), id);
        self.by_id.insert(id, members);
    }

    pub(crate) fn members(&self, id: SetId) -> &[Member] {
        self.by_id.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody holds such a row for more than until it is loaded anew.
    pub(crate) fn is_held(&self, id: SetId) -> bool {
        self.members(id).iter().any(|member| !member.is_ghost)
    }

    /// All sets with a member that `is_it`.
    pub(crate) fn with(&self, is_it: impl Fn(&Member) -> bool) -> Vec<SetId> {
        let mut found: Vec<SetId> = self
            .by_id
            .iter()
            .filter(|(_, members)| members.iter().any(&is_it))
            .map(|(id, _)| *id)
            .collect();
        found.sort_unstable();
        found
    }

    /// The set with these members.
    pub(crate) fn set(&mut self, mut members: Vec<Member>) -> SetId {
        members.sort_unstable();
        members.dedup();
        if let Some(id) = self.by_members.get(&members) {
            return *id;
        }
        self.last += 1;
        let id = SetId(self.last);
        self.keep(id, members);
        self.fresh.push(id);
        id
    }

    /// The set with one more member.
    pub(crate) fn add(&mut self, id: SetId, member: Member) -> SetId {
        let members = self.members(id);
        if members.contains(&member) {
            return id;
        }
        let members = members.iter().copied().chain([member]).collect();
        self.set(members)
    }

    /// The set without members that `goes`.
    pub(crate) fn without(&mut self, id: SetId, goes: impl Fn(&Member) -> bool) -> SetId {
        let members = self.members(id);
        if !members.iter().any(&goes) {
            return id;
        }
        let members = members.iter().copied().filter(|member| !goes(member)).collect();
        self.set(members)
    }

    /// Forgets sets that no row has any more.
    pub(crate) fn forget(
        &mut self,
        connection: &Connection,
        is_it: impl Fn(&Member) -> bool,
    ) -> Result<(), ReplicaError> {
        for id in self.with(is_it) {
            if let Some(members) = self.by_id.remove(&id) {
                self.by_members.remove(&members);
            }
            self.fresh.retain(|fresh| *fresh != id);
            connection.execute("DELETE FROM tw_sets WHERE id = ?1", [id.0])?;
        }
        Ok(())
    }

    /// Stores what is new.
    pub(crate) fn store(&mut self, connection: &Connection) -> Result<(), ReplicaError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let mut insert =
            connection.prepare_cached("INSERT INTO tw_sets (id, members) VALUES (?1, ?2)")?;
        for id in std::mem::take(&mut self.fresh) {
            let members: Vec<String> = self.members(id).iter().map(text).collect();
            insert.execute(params![id.0, members.join(" ")])?;
        }
        connection.execute("UPDATE tw_replica SET last_set = ?1", [self.last])?;
        Ok(())
    }
}

fn text(member: &Member) -> String {
    (u64::from(member.subscription.0) * 2 + u64::from(member.is_ghost)).to_string()
}

fn member(text: &str) -> Option<Member> {
    let number: u64 = text.parse().ok()?;
    let subscription = SubscriptionId(u32::try_from(number / 2).ok()?);
    Some(Member { subscription, is_ghost: number % 2 == 1 })
}

impl Sets {
    /// The columns that are known of a row with this set.
    pub(crate) fn columns(
        &self,
        id: SetId,
        known: &HashMap<SubscriptionId, Known>,
    ) -> Vec<ColumnId> {
        let of = |member: &Member| Some(&known.get(&member.subscription)?.columns);
        let mut columns: Vec<ColumnId> =
            self.members(id).iter().filter_map(of).flatten().copied().collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}
