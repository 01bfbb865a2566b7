//! Rows, and who holds them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use protocol::frame::v1::{RowNow, TableNow};
use protocol::ids::{Birth, ColumnId, TableId};
use protocol::value::{Row, Value};

use super::Spoiling;
use crate::stored::{Known, SubscriptionId};

/// The values of a primary key, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub Row);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().map(Value::as_ref).cmp(other.0.iter().map(Value::as_ref))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A row as an app sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRow {
    /// Its birth.
    pub birth: Birth,
    /// The columns that are known of it.
    pub values: BTreeMap<ColumnId, Value>,
    /// When it expires, if it does.
    pub expiry: Option<i64>,
    /// The subscriptions that hold it.
    pub holders: BTreeSet<SubscriptionId>,
    /// The subscriptions that held it before they began to load anew.
    pub ghosts: BTreeSet<SubscriptionId>,
}

impl ShownRow {
    fn is_held(&self) -> bool {
        !self.holders.is_empty() || !self.ghosts.is_empty()
    }

    fn holders(&self) -> impl Iterator<Item = &SubscriptionId> {
        self.holders.iter().chain(&self.ghosts)
    }

    /// What only those knew who have let it go since, nobody keeps up to date. Where nobody has it any
    /// more, it goes, or a write that waits keeps it as it is.
    fn forget(&mut self, before: &Self, knows: impl Fn(&SubscriptionId, ColumnId) -> bool) {
        if !self.is_held() {
            return;
        }
        let mut values = std::mem::take(&mut self.values);
        let is_known = |of: &Self, column: ColumnId| of.holders().any(|id| knows(id, column));
        values.retain(|column, _| !is_known(before, *column) || is_known(self, *column));
        self.values = values;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rows(BTreeMap<(TableId, Key), ShownRow>);

impl Rows {
    /// The subscription holds this row.
    pub(super) fn put(
        &mut self,
        id: SubscriptionId,
        known: &Known,
        birth: Birth,
        row: &Row,
        expiry: Option<i64>,
    ) {
        assert_eq!(row.len(), known.columns.len(), "a row has the columns of its query");
        let values = known.columns.iter().copied().zip(row.iter().cloned());
        let values: BTreeMap<_, _> = values.collect();
        let key = known.table.primary_key.iter().map(|column| match values.get(column) {
            Some(value) => value.clone(),
            None => panic!("a query without the primary key"),
        });
        let key = (known.table.id, Key(key.collect()));
        let born = || ShownRow {
            birth,
            values: BTreeMap::new(),
            expiry: None,
            holders: BTreeSet::new(),
            ghosts: BTreeSet::new(),
        };
        let shown = self.0.entry(key).or_insert_with(born);
        // Another birth is another row: the old one is gone, for whoever held it. Of one that nobody
        // holds, what it had is not kept up to date.
        if shown.birth != birth || !shown.is_held() {
            *shown = born();
        }
        shown.values.extend(values);
        shown.expiry = expiry;
        shown.holders.insert(id);
    }

    /// What the subscription holds has a value in a new column, where nobody who `knows` it has said
    /// another.
    pub(super) fn fill(
        &mut self,
        id: SubscriptionId,
        column: ColumnId,
        value: &Value,
        knows: impl Fn(&SubscriptionId) -> bool,
    ) {
        for shown in self.0.values_mut() {
            if shown.holders().any(|holder| *holder == id) && !shown.holders().any(&knows) {
                shown.values.insert(column, value.clone());
            }
        }
    }

    /// The subscription does not hold the row any more.
    pub(super) fn left(
        &mut self,
        id: SubscriptionId,
        table: TableId,
        birth: Birth,
        key: Row,
        knows: impl Fn(&SubscriptionId, ColumnId) -> bool,
    ) {
        let shown = self.0.get_mut(&(table, Key(key)));
        if let Some(shown) = shown.filter(|shown| shown.birth == birth) {
            let before = shown.clone();
            shown.holders.remove(&id);
            shown.ghosts.remove(&id);
            shown.forget(&before, knows);
        }
    }

    /// Nobody holds the row any more.
    pub(super) fn deleted(&mut self, table: TableId, birth: Birth, key: Row) {
        let key = (table, Key(key));
        if self.0.get(&key).is_some_and(|shown| shown.birth == birth) {
            self.0.remove(&key);
        }
    }

    /// What the subscription holds become its ghosts.
    pub(super) fn keep(&mut self, id: SubscriptionId) {
        for shown in self.0.values_mut() {
            if shown.holders.remove(&id) {
                shown.ghosts.insert(id);
            }
        }
    }

    /// The subscription holds nothing, not even until it is loaded anew.
    pub(super) fn release(
        &mut self,
        id: SubscriptionId,
        knows: impl Fn(&SubscriptionId, ColumnId) -> bool,
    ) {
        for shown in self.0.values_mut() {
            let before = shown.clone();
            shown.holders.remove(&id);
            shown.ghosts.remove(&id);
            shown.forget(&before, &knows);
        }
    }

    /// Something goes wrong with a row.
    pub(super) fn spoil(
        &mut self,
        table: TableId,
        key: Key,
        column: Option<ColumnId>,
        how: Spoiling,
    ) {
        let key = (table, key);
        let Some(shown) = self.0.get_mut(&key) else { return };
        match how {
            Spoiling::Value => {
                let value = column.and_then(|column| shown.values.get_mut(&column));
                if let Some(value) = value {
                    *value = Value::text("spoilt").unwrap_or(Value::Null);
                }
            }
            Spoiling::Lost => drop(self.0.remove(&key)),
            Spoiling::Birth => shown.birth = Birth(shown.birth.0.next()),
        }
    }

    pub(super) fn drop_ghosts(
        &mut self,
        id: SubscriptionId,
        knows: impl Fn(&SubscriptionId, ColumnId) -> bool,
    ) {
        for shown in self.0.values_mut() {
            let before = shown.clone();
            shown.ghosts.remove(&id);
            shown.forget(&before, &knows);
        }
    }

    /// A row as the server has it now. It counts where something has `waited` for it, and no subscription
    /// holds it, or only until it is loaded anew.
    pub(super) fn now(
        &mut self,
        table: &TableNow,
        row: &RowNow,
        waited: &BTreeSet<(TableId, Key)>,
    ) {
        let (birth, values, expiry) = match row {
            RowNow::Row(birth, row) => (*birth, row, None),
            RowNow::Expiring(birth, row, expiry) => (*birth, row, Some(*expiry)),
            RowNow::Gone(key) => {
                let key = (table.table, Key(key.clone()));
                let is_held = |shown: &ShownRow| !shown.holders.is_empty();
                if waited.contains(&key) && !self.0.get(&key).is_some_and(is_held) {
                    self.0.remove(&key);
                }
                return;
            }
        };
        let values: BTreeMap<_, _> =
            table.columns.iter().copied().zip(values.iter().cloned()).collect();
        // The tables of these tests have the first column as their key.
        let key = (table.table, Key(values.values().take(1).cloned().collect()));
        if !waited.contains(&key) {
            return;
        }
        let (holders, ghosts) = (BTreeSet::new(), BTreeSet::new());
        let shown = ShownRow { birth, values, expiry, holders, ghosts };
        let known = self.0.entry(key).or_insert_with(|| shown.clone());
        if known.holders.is_empty() {
            *known = ShownRow { ghosts: std::mem::take(&mut known.ghosts), ..shown };
        }
    }

    /// Rows that nothing holds go. At the end of a step: what one subscription lets go within it,
    /// another may take.
    pub(super) fn drop_unheld(&mut self, waits: impl Fn(TableId, &Key) -> bool) {
        self.0.retain(|(table, key), shown| shown.is_held() || waits(*table, key));
    }

    pub(super) fn held_by(&self, id: SubscriptionId, known: &Known) -> BTreeMap<Key, (Birth, Row)> {
        let held = self.0.iter().filter(|(_, shown)| shown.holders.contains(&id));
        let columns_of = |shown: &ShownRow| {
            let values = known.columns.iter().map(|column| shown.values.get(column));
            values.map(|value| value.cloned().unwrap_or(Value::Null)).collect()
        };
        held.map(|((_, key), shown)| (key.clone(), (shown.birth, columns_of(shown)))).collect()
    }

    pub(super) fn ghosts_of(&self, id: SubscriptionId) -> BTreeSet<Key> {
        let ghosts = self.0.iter().filter(|(_, shown)| shown.ghosts.contains(&id));
        ghosts.map(|((_, key), _)| key.clone()).collect()
    }

    pub(super) fn of_table(&self, table: TableId) -> BTreeMap<Key, ShownRow> {
        let rows = self.0.iter().filter(|((of, _), _)| *of == table);
        rows.map(|((_, key), shown)| (key.clone(), shown.clone())).collect()
    }
}
