//! What a client is told of its mutations besides the deltas: what is kept of their decisions, and the
//! rows that they name as they are now.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use protocol::codec;
use protocol::frame::v1::{MutationDecision, RowNow, TableNow, WriterState};
use protocol::ids::{Birth, ClientId, ContentHash, Lane, MutationNumber, TableId};
use protocol::limits::{COMMIT_BYTES_MAX, OPERATIONS_MAX, WINDOW_MAX};
use protocol::mutation::{Decision, RowKey};
use protocol::value::Row;
use server_engine::{Actor, EngineError, Image, ReadError, Table, View, may_read};

/// Most bytes of the rows of a frame: those of a commit. Columns are named once a table.
const ROWS_BYTES_MAX: usize = COMMIT_BYTES_MAX;

/// Most rows of a frame: those that one write may name.
const ROWS_MAX: usize = OPERATIONS_MAX;

/// About how many bytes a table takes in a frame, and each of its columns.
const TABLE_BYTES: usize = 32;
const COLUMN_BYTES: usize = 3;

/// Who writes in a lane over a connection, as whatever user that connection is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing {
    /// The identity under which the mutations are numbered.
    pub client: ClientId,
    /// Up to where the client knows the decisions: no earlier ones are told again.
    pub confirmed: MutationNumber,
}

/// Whose decisions are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) actor: Arc<Actor>,
    pub(crate) writing: Writing,
}

/// Rows as they are now, of a few tables, until they fill a frame.
#[derive(Debug, Default)]
pub(crate) struct RowsNow {
    tables: Vec<TableNow>,
    places: BTreeMap<TableId, usize>,
    rows: usize,
    bytes: usize,
}

impl RowsNow {
    /// Adds the row with this key; says whether there was room.
    pub(crate) fn push(
        &mut self,
        table: &Table,
        key: &Row,
        row: Option<&(Birth, Image)>,
    ) -> Result<bool, EngineError> {
        let schema = table.schema();
        let now = match row {
            Some((birth, image)) => {
                let values = image.view(table)?.row(schema);
                match image.expiry() {
                    Some(expiry) => RowNow::Expiring(*birth, values, expiry.0),
                    None => RowNow::Row(*birth, values),
                }
            }
            None => RowNow::Gone(key.clone()),
        };
        let place = self.places.get(&schema.id).copied();
        let head = place.map_or(TABLE_BYTES + COLUMN_BYTES * schema.columns.len(), |_| 0);
        let bytes = self.bytes + head + codec::encode(&now).len();
        if self.rows >= ROWS_MAX || bytes > ROWS_BYTES_MAX {
            return Ok(false);
        }
        let place = place.unwrap_or_else(|| {
            let columns = schema.columns.iter().map(|column| column.id).collect();
            self.tables.push(TableNow { table: schema.id, columns, rows: Vec::new() });
            self.tables.len() - 1
        });
        self.places.insert(schema.id, place);
        self.tables[place].rows.push(now);
        (self.rows, self.bytes) = (self.rows + 1, bytes);
        Ok(true)
    }

    pub(crate) fn into_tables(self) -> Vec<TableNow> {
        self.tables
    }
}

impl Writer {
    /// What is known of it in a lane.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn state(&self, view: &View<'_>, lane: &Lane) -> Result<WriterState, ReadError> {
        let Writing { client, confirmed: known_to_it } = self.writing;
        let user = &self.actor.user;
        let Some(known) = view.client(lane, user, client)? else {
            let (confirmed, confirmed_hash) = (MutationNumber::ZERO, ContentHash::START);
            let (decisions, tables) = (Vec::new(), Vec::new());
            return Ok(WriterState { client, confirmed, confirmed_hash, decisions, tables });
        };
        let after = known.confirmed.max(known_to_it).get();
        let last = known.last.get().min(after.saturating_add(WINDOW_MAX));
        let (mut decisions, mut named) = (Vec::new(), Named::default());
        // One by one from the newest on: each may name as many keys as fit a commit, and not all of
        // them are needed at once.
        for before in (after..last).rev() {
            let before = MutationNumber::new(before).unwrap_or_default();
            let kept = view.decisions(lane, user, client, before, 1)?;
            for (number, Decision { hash, verdict, seq, keys }) in kept {
                decisions.push(MutationDecision { number, hash, verdict, seq });
                named.add(view, lane, &self.actor, keys)?;
            }
        }
        decisions.reverse();
        let (confirmed, confirmed_hash) = (known.confirmed, known.confirmed_hash);
        let tables = named.rows.into_tables();
        Ok(WriterState { client, confirmed, confirmed_hash, decisions, tables })
    }
}

/// The rows that decisions name.
#[derive(Default)]
struct Named {
    rows: RowsNow,
    seen: HashSet<RowKey>,
    is_full: bool,
}

impl Named {
    /// Adds the rows with these keys, each once, where `actor` may read them by now.
    fn add(
        &mut self,
        view: &View<'_>,
        lane: &Lane,
        actor: &Actor,
        keys: Vec<RowKey>,
    ) -> Result<(), ReadError> {
        for key in keys {
            if self.is_full {
                return Ok(());
            }
            let table = match view.table(lane, key.table) {
                Ok(table) if may_read(table.schema(), lane, actor) => table,
                Ok(_) | Err(ReadError::TableUnknown | ReadError::LaneOfTable) => continue,
                Err(error) => return Err(error),
            };
            if self.seen.contains(&key) {
                continue;
            }
            let row = view.row(lane, key.table, &key.key)?;
            self.is_full = !self.rows.push(table, &key.key, row.as_ref())?;
            self.seen.insert(key);
        }
        Ok(())
    }
}
