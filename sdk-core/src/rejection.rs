//! What was written and did not happen.

use protocol::frame::v1::{RowNow, TableNow};
use protocol::ids::{ColumnId, TableId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::schema::TableSchema;
use protocol::value::{Row, Value};
use sdk_replica::{Change, MutationId, RejectedMutation};

use crate::written::MutationState;

/// A write that did not happen, or is not known to have. It is kept on this device until the application
/// has dealt with it: [`Client::retry`](crate::Client::retry),
/// [`Client::discard`](crate::Client::discard), or a write with
/// [`WriteOptions::replaces`](crate::WriteOptions::replaces).
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Which.
    pub id: MutationId,
    /// When it was written: microseconds since 1970, UTC.
    pub written_at: i64,
    /// [`MutationState::Rejected`] with code and reason, or [`MutationState::Uncertain`].
    pub state: MutationState,
    /// The queue that waits for it.
    pub queue: Option<String>,
    /// What it was to do.
    pub operations: Vec<RejectedOperation>,
}

/// What a write was to do to one row.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedOperation {
    /// `namespace.table`.
    pub table: String,
    /// What was to happen.
    pub kind: OperationKind,
    /// The row: the columns of the primary key, and their values. Of a table that is not here any more
    /// they are called `key column 1`, and so on, and of a new row there the key is only in `changes`.
    pub key: Vec<(String, Value)>,
    /// The columns that were written.
    pub changes: Vec<(String, Change)>,
    /// The row as the server had it when it decided.
    pub server: ServerRow,
}

/// What was to happen to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// A new row.
    Insert,
    /// A new row, or these columns of the row that has its key.
    Upsert,
    /// Some columns of a row.
    Update,
    /// The end of a row.
    Delete,
}

/// A row as the server had it.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerRow {
    /// The server has not said.
    Unknown,
    /// It was not there.
    Gone,
    /// The columns that may be read, and their values.
    Row(Vec<(String, Value)>),
}

impl Rejection {
    /// `schema` gives the names of tables and columns, as far as they are known.
    pub(crate) fn new<'s>(
        kept: RejectedMutation,
        state: MutationState,
        schema: impl Fn(TableId) -> Option<&'s TableSchema>,
    ) -> Self {
        let RejectedMutation { id, written_at, queue, mutation, server, .. } = kept;
        let operation = |operation: Operation| {
            let names = Names(operation.table, schema(operation.table));
            names.operation(operation.action, &server)
        };
        let operations = mutation.operations.into_iter().map(operation).collect();
        Self { id, written_at, state, queue, operations }
    }
}

/// Names of a table and its columns. What is not known is called by its number.
struct Names<'s>(TableId, Option<&'s TableSchema>);

impl Names<'_> {
    fn table(&self) -> String {
        self.1.map_or_else(|| format!("table number {}", self.0.0), |it| it.name.to_string())
    }

    fn column(&self, id: ColumnId) -> String {
        let column = self.1.and_then(|schema| schema.column(id));
        column.map_or_else(|| format!("column number {}", id.0), |it| it.name.to_string())
    }

    fn key_columns(&self) -> &[ColumnId] {
        self.1.map_or(&[], |schema| &schema.primary_key)
    }

    fn operation(&self, action: Action, server: &[TableNow]) -> RejectedOperation {
        let (kind, key, changes) = match action {
            Action::Insert(values) => {
                (OperationKind::Insert, self.key_in(&values), self.set(values))
            }
            Action::Upsert(values) => {
                (OperationKind::Upsert, self.key_in(&values), self.set(values))
            }
            Action::Patch { key, changes } => (OperationKind::Update, key, self.changes(changes)),
            Action::Delete { key } => (OperationKind::Delete, key, Vec::new()),
        };
        let row = self.server_row(&key, server);
        let columns = self.key_columns().iter().map(|id| self.column(*id));
        // Without a description of the table it is known where in the key they are, and no more.
        let places = (columns.len()..key.0.len()).map(|at| format!("key column {}", at + 1));
        let columns: Vec<String> = columns.chain(places).collect();
        RejectedOperation {
            table: self.table(),
            kind,
            key: columns.into_iter().zip(key.0).collect(),
            changes,
            server: row,
        }
    }

    fn key_in(&self, values: &[ColumnValue]) -> Row {
        let value = |id: &ColumnId| {
            let named = values.iter().find(|ColumnValue(column, _)| column == id);
            named.map_or(Value::Null, |ColumnValue(_, value)| value.clone())
        };
        self.key_columns().iter().map(value).collect()
    }

    fn set(&self, values: Vec<ColumnValue>) -> Vec<(String, Change)> {
        let set = |ColumnValue(id, value)| (self.column(id), Change::Set(value));
        values.into_iter().map(set).collect()
    }

    fn changes(&self, changes: Vec<ColumnChange>) -> Vec<(String, Change)> {
        let change = |change| match change {
            ColumnChange::Set(ColumnValue(id, value)) => (self.column(id), Change::Set(value)),
            ColumnChange::Add(ColumnValue(id, value)) => (self.column(id), Change::Add(value)),
        };
        changes.into_iter().map(change).collect()
    }

    fn server_row(&self, key: &Row, server: &[TableNow]) -> ServerRow {
        for now in server.iter().filter(|now| now.table == self.0) {
            for row in &now.rows {
                match row {
                    RowNow::Gone(gone) if gone == key => return ServerRow::Gone,
                    RowNow::Gone(_) => {}
                    RowNow::Row(_, row) | RowNow::Expiring(_, row, _) => {
                        if self.has_key(now, row, key) {
                            let names = now.columns.iter().map(|id| self.column(*id));
                            return ServerRow::Row(names.zip(row.0.iter().cloned()).collect());
                        }
                    }
                }
            }
        }
        ServerRow::Unknown
    }

    fn has_key(&self, now: &TableNow, row: &Row, key: &Row) -> bool {
        let value = |id: &ColumnId| {
            let place = now.columns.iter().position(|column| column == id)?;
            row.0.get(place)
        };
        self.key_columns().iter().map(value).eq(key.0.iter().map(Some))
    }
}
