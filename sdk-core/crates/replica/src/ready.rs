//! Statements of the application that were run before: they are neither taken apart nor prepared again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use protocol::ids::ColumnId;

use crate::guard::Seen;

/// How many are kept. An application has few, unless it writes values into their text.
const KEPT_MAX: usize = 64;

/// The longest that is kept, in bytes.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// A statement as it is prepared.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) sql: String,
    /// The columns that it names, if it is an upsert into a replicated table.
    pub(crate) upsert: Option<BTreeSet<ColumnId>>,
    /// What was seen when it was prepared. Without, it was not yet.
    pub(crate) seen: Option<Seen>,
}

/// Those that are kept, by the text of the application. All go when a table, index, view or trigger is
/// made or goes: what was seen of a statement is what it does to the tables that there are.
#[derive(Debug, Default)]
pub(crate) struct ReadyStatements(HashMap<String, Arc<Ready>>);

impl ReadyStatements {
    pub(crate) fn get(&self, sql: &str) -> Option<Arc<Ready>> {
        self.0.get(sql).map(Arc::clone)
    }

    pub(crate) fn keep(&mut self, sql: &str, ready: Ready) {
        if sql.len() > KEPT_BYTES_MAX {
            return;
        }
        if self.0.len() >= KEPT_MAX {
            self.clear();
        }
        self.0.insert(sql.to_owned(), Arc::new(ready));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
