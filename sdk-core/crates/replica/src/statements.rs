//! The SQL of a replicated table that runs for each row: written once, and found again by SQLite's
//! cache of prepared statements.

use protocol::ids::TableId;
use protocol::schema::TableSchema;

use crate::names::quoted;

/// What runs for each row of a table. Values of a key are parameters in the order of the key.
#[derive(Debug)]
pub(crate) struct Statements {
    /// The columns of a row as it is shown: those of the server in its order, then the SDK's.
    pub(crate) shown: String,
    /// The same of the server's image of a row that writes wait for.
    pub(crate) image: String,
    /// Whether there is a row with this key; in the base; in the log.
    pub(crate) is_shown: String,
    pub(crate) is_image: String,
    pub(crate) is_logged: String,
    /// `_seq` and `_set` of a row; of an image.
    pub(crate) held: String,
    pub(crate) held_image: String,
    /// Makes a row of all its columns.
    pub(crate) insert: String,
    /// Copies a row into the base; of the log, the one at a place.
    pub(crate) keep: String,
    pub(crate) keep_logged: String,
    /// Removes a row; an image.
    pub(crate) delete: String,
    pub(crate) delete_image: String,
    /// All that the log has, in its order.
    pub(crate) logged: String,
    pub(crate) clear_log: String,
}

impl Statements {
    pub(crate) fn new(schema: &TableSchema, name: &str, all: &[String], key: &[String]) -> Self {
        let (name, base, log) = (quoted(name), base(schema.id), log(schema.id));
        let values: Vec<String> = (1..=all.len()).map(|place| format!("?{place}")).collect();
        let (all, values) = (all.join(", "), values.join(", "));
        let is_row = is_row(key, 0);
        Self {
            shown: format!("SELECT {all} FROM {name} WHERE {is_row}"),
            image: format!("SELECT {all} FROM {base} WHERE {is_row}"),
            is_shown: format!("SELECT 1 FROM {name} WHERE {is_row}"),
            is_image: format!("SELECT 1 FROM {base} WHERE {is_row}"),
            is_logged: format!("SELECT 1 FROM {log} WHERE {is_row}"),
            held: format!("SELECT _seq, _set FROM {name} WHERE {is_row}"),
            held_image: format!("SELECT _seq, _set FROM {base} WHERE {is_row}"),
            insert: format!("INSERT INTO {name} ({all}) VALUES ({values})"),
            keep: format!("INSERT INTO {base} ({all}) SELECT {all} FROM {name} WHERE {is_row}"),
            keep_logged: format!(
                "INSERT INTO {base} ({all}) SELECT {all} FROM {log} WHERE _place = ?1"
            ),
            delete: format!("DELETE FROM {name} WHERE {is_row}"),
            delete_image: format!("DELETE FROM {base} WHERE {is_row}"),
            logged: format!("SELECT _place, _how, {all} FROM {log} ORDER BY _place"),
            clear_log: format!("DELETE FROM {log}"),
        }
    }
}

/// The name of the base of a table.
pub(crate) fn base(table: TableId) -> String {
    format!("tw_base_{}", table.0)
}

/// The name of its log.
pub(crate) fn log(table: TableId) -> String {
    format!("tw_log_{}", table.0)
}

/// That a row has the key whose values are the parameters behind `before` others.
pub(crate) fn is_row(key: &[String], before: usize) -> String {
    let parts: Vec<String> =
        key.iter().zip(before + 1..).map(|(name, place)| format!("{name} = ?{place}")).collect();
    parts.join(" AND ")
}
