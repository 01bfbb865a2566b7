//! Which changes of its table concern a query that is the SQL of a subscription.
//!
//! What the server has said that the subscription selects is looked up whenever it is used, so it is
//! never that of another time. To look whether a query is that of a subscription at all takes longer,
//! and is done when there are other subscriptions than before; until then all changes concern it. A query
//! that does not run would have given the same (INV-11).

use std::collections::BTreeSet;

use protocol::value::Value;
use sdk_machine::{Machine, StoredSubscription, SubscriptionId};
use sdk_replica::{ChangedRows, means_the_same, selects_like, subscribed_table};

/// What a query was found to be.
#[derive(Default)]
pub(super) struct Concern {
    has_looked: bool,
    like: Option<Like>,
}

/// The query gives what this subscription selects, as it is asked for in this text.
struct Like {
    id: SubscriptionId,
    sql: String,
    table: String,
}

impl Concern {
    /// Looks for a subscription that the query is, if that may be another than before.
    pub(super) fn look(&mut self, again: bool, sql: &str, params: &[Value], machine: &Machine) {
        if self.has_looked && !again {
            return;
        }
        self.has_looked = true;
        self.like = machine.subscriptions().find_map(|stored| {
            let mut texts = stored.texts.iter().filter(|text| text.params == params);
            let text = texts.find(|text| selects_like(sql, &text.sql))?;
            let (sql, table) = (text.sql.clone(), subscribed_table(&text.sql)?);
            Some(Like { id: stored.id, sql, table })
        });
    }

    /// The table of which it makes a difference which rows have changed.
    pub(super) fn table(&self) -> Option<&str> {
        self.like.as_ref().map(|like| &*like.table)
    }

    /// Whether changed rows of the only table that the query reads may concern it.
    pub(super) fn may_be(
        &self,
        table: &str,
        rows: &ChangedRows,
        params: &[Value],
        machine: &Machine,
    ) -> bool {
        let is_none = || {
            let like = self.like.as_ref()?;
            let stored = machine.stored(like.id)?;
            let is_asked =
                |text: &sdk_machine::SqlText| text.sql == like.sql && text.params == params;
            let known = stored.known.as_ref().filter(|_| stored.texts.iter().any(is_asked))?;
            let (of, predicate) = (&known.table, &known.predicate);
            let is_it =
                of.name.in_replica() == table && means_the_same(&like.sql, params, predicate, of);
            Some(is_it && !rows.may_meet(predicate))
        };
        // Where anything is missing, it may.
        !is_none().unwrap_or(false)
    }
}

/// What was known when queries were last looked at.
#[derive(Default)]
pub(super) struct Known {
    subscriptions: Vec<(SubscriptionId, usize)>,
    tables: BTreeSet<String>,
}

impl Known {
    /// The subscriptions, with how many texts each has.
    pub(super) fn of(machine: &Machine) -> Vec<(SubscriptionId, usize)> {
        let texts = |stored: &StoredSubscription| (stored.id, stored.texts.len());
        machine.subscriptions().map(texts).collect()
    }

    pub(super) fn has_other_subscriptions(&self, now: &[(SubscriptionId, usize)]) -> bool {
        self.subscriptions != now
    }

    /// Remembers them. Gives the tables if they are others.
    pub(super) fn now(
        &mut self,
        subscriptions: Vec<(SubscriptionId, usize)>,
        tables: BTreeSet<String>,
    ) -> Option<BTreeSet<String>> {
        self.subscriptions = subscriptions;
        if self.tables == tables {
            return None;
        }
        self.tables.clone_from(&tables);
        Some(tables)
    }
}
