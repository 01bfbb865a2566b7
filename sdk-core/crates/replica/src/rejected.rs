//! What was written and did not happen, or is not known to have: kept until the application has dealt
//! with it.

use std::collections::HashSet;

use protocol::codec;
use protocol::frame::v1::{RowNow, TableNow};
use protocol::ids::TableId;
use protocol::limits::COMMIT_BYTES_MAX;
use protocol::mutation::{Mutation, Rejection};
use protocol::value::{Row, Value};
use rusqlite::{OptionalExtension, Row as SqlRow, params};
use sdk_machine::{MutationId, Settled, Write};

use crate::error::ReplicaError;
use crate::outbox::{decode_content, key_of};
use crate::replica::Replica;
use crate::requests::Request;

/// Most bytes of the rows that the server has sent with a decision.
const SERVER_BYTES_MAX: usize = 4 * COMMIT_BYTES_MAX;

const ALL: &str = "SELECT id, place, written_at, queue, content, verdict, server FROM tw_rejected";

/// A write that did not happen, or is not known to have.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedMutation {
    /// Which.
    pub id: MutationId,
    /// Grows in the order in which it was heard.
    pub place: i64,
    /// When it was written: microseconds since 1970, UTC.
    pub written_at: i64,
    /// The queue that waits for it.
    pub queue: Option<String>,
    /// What it was to do; without operations where that cannot be read any more.
    pub mutation: Mutation,
    /// Why it did not happen; `None` where it is not known whether it did, or why.
    pub rejection: Option<Rejection>,
    /// Its rows as the server had them when it was decided, as far as it has said so.
    pub server: Vec<TableNow>,
}

/// A rejected write that was kept, and is not any more.
pub(crate) struct DealtWith {
    pub(crate) queue: Option<String>,
    /// Those that it was to write.
    pub(crate) rows: HashSet<(TableId, Row)>,
}

impl Replica {
    /// What is kept behind this place, `most` of it, in the order in which it was heard.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn rejections(
        &self,
        after: i64,
        most: usize,
    ) -> Result<Vec<RejectedMutation>, ReplicaError> {
        let sql = format!("{ALL} WHERE place > ?1 ORDER BY place LIMIT ?2");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut rows = select.query([after, most])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(rejected(row)?);
        }
        Ok(all)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn rejected(&self, id: MutationId) -> Result<Option<RejectedMutation>, ReplicaError> {
        let mut select = self.connection.prepare_cached(&format!("{ALL} WHERE id = ?1"))?;
        let mut rows = select.query([id.0])?;
        rows.next()?.map(rejected).transpose()
    }

    /// Whether it is one of them.
    pub(crate) fn is_rejected(&self, id: MutationId) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_rejected WHERE id = ?1";
        Ok(self.connection.prepare_cached(sql)?.exists([id.0])?)
    }

    /// The place of the last.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn last_rejected(&self) -> Result<i64, ReplicaError> {
        let sql = "SELECT last_rejected FROM tw_replica";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Forgets one. Says whether it was there.
    ///
    /// # Errors
    /// [`ReplicaError`]; it is kept.
    pub fn discard(&mut self, id: MutationId) -> Result<bool, ReplicaError> {
        self.discard_once(id, None)
    }

    /// The same. With the request of whoever wants it, it is done once; what was not there is looked for
    /// again.
    ///
    /// # Errors
    /// [`ReplicaError`]; it is kept. [`ReplicaError::AlreadyDone`] for a request that was done.
    pub fn discard_once(
        &mut self,
        id: MutationId,
        request: Option<&Request>,
    ) -> Result<bool, ReplicaError> {
        self.check_request(request)?;
        self.transaction(|replica| {
            let was_there = replica.deal_with(id)?.is_some();
            replica.keep_done(request.filter(|_| was_there), id)?;
            Ok(was_there)
        })
    }

    /// One is dealt with, in the transaction that is open, if it is there.
    pub(crate) fn deal_with(&mut self, id: MutationId) -> Result<Option<DealtWith>, ReplicaError> {
        let sql = "DELETE FROM tw_rejected WHERE id = ?1
                   RETURNING length(content) + coalesce(length(verdict), 0)
                   + coalesce(length(server), 0), queue, content";
        let gone = |row: &SqlRow<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let gone = self.connection.prepare_cached(sql)?.query_row([id.0], gone).optional()?;
        let Some::<(i64, _, Vec<u8>)>((bytes, queue, content)) = gone else { return Ok(None) };
        self.outbox.mutations -= 1;
        self.outbox.bytes -= bytes;
        let rows = decode_content(&content).map(|content| self.rows_written(&content));
        Ok(Some(DealtWith { queue, rows: rows.unwrap_or_default() }))
    }

    /// Keeps what was settled and did not happen. The room that it takes is counted on.
    pub(crate) fn keep_rejected(
        &mut self,
        id: MutationId,
        content: &Mutation,
        settled: &Settled,
    ) -> Result<(), ReplicaError> {
        let verdict = match settled {
            Settled::Accepted(_) => return Ok(()),
            Settled::Rejected(rejection) => Some(codec::encode(rejection)),
            Settled::Uncertain => None,
        };
        let content = codec::encode(content);
        self.outbox.mutations += 1;
        self.count_bytes(content.len() + verdict.as_ref().map_or(0, Vec::len));
        self.connection
            .prepare_cached("UPDATE tw_replica SET last_rejected = last_rejected + 1")?
            .execute([])?;
        self.connection
            .prepare_cached(
                "INSERT INTO tw_rejected (id, lane, written_at, queue, content, verdict, place)
                 SELECT id, lane, written_at, queue, ?2, ?3, (SELECT last_rejected FROM tw_replica)
                 FROM tw_outbox WHERE id = ?1",
            )?
            .execute(params![id.0, content, verdict])?;
        Ok(())
    }

    /// Keeps with what was rejected in a step the rows that the server has sent with it.
    pub(crate) fn keep_server_rows(&mut self, writes: &[Write]) -> Result<(), ReplicaError> {
        let of_server = |write: &Write| match write {
            Write::RowsNow(tables) => tables.clone(),
            _ => Vec::new(),
        };
        let tables: Vec<TableNow> = writes.iter().flat_map(of_server).collect();
        if tables.is_empty() {
            return Ok(());
        }
        for write in writes {
            let Write::Settle { id, settled: Settled::Rejected(_) | Settled::Uncertain } = write
            else {
                continue;
            };
            // One that was taken back is not kept.
            let Some(kept) = self.rejected(*id)? else { continue };
            let rows = codec::encode(&self.rows_of(&kept.mutation, &tables));
            let sql = "UPDATE tw_rejected SET server = ?2 WHERE id = ?1";
            self.connection.prepare_cached(sql)?.execute(params![id.0, rows])?;
            self.count_bytes(rows.len());
        }
        Ok(())
    }

    fn count_bytes(&mut self, more: usize) {
        self.outbox.bytes += i64::try_from(more).unwrap_or(i64::MAX);
    }

    /// The rows that a mutation writes, as far as their tables are here.
    fn rows_written(&self, mutation: &Mutation) -> HashSet<(TableId, Row)> {
        let mut rows = HashSet::new();
        for operation in &mutation.operations {
            let Ok(table) = self.tables.get(operation.table) else { continue };
            let key = key_of(&table.schema, operation);
            rows.extend(key.map(|key| (operation.table, key)));
        }
        rows
    }

    /// Those of the rows that a mutation names.
    fn rows_of(&self, mutation: &Mutation, tables: &[TableNow]) -> Vec<TableNow> {
        let keys = self.rows_written(mutation);
        let of_table = |now: &TableNow| {
            let schema = &self.tables.get(now.table).ok()?.schema;
            let is_named = |row: &&RowNow| {
                let key = match row {
                    RowNow::Gone(key) => Some(key.clone()),
                    RowNow::Row(_, row) | RowNow::Expiring(_, row, _) => {
                        let value = |id| value_of(now, row, id).cloned();
                        schema.primary_key.iter().map(value).collect()
                    }
                };
                key.is_some_and(|key| keys.contains(&(now.table, key)))
            };
            let rows: Vec<RowNow> = now.rows.iter().filter(is_named).cloned().collect();
            (!rows.is_empty()).then(|| TableNow { rows, ..now.clone() })
        };
        tables.iter().filter_map(of_table).collect()
    }
}

/// The value of a column in a row that the server has sent with a decision.
fn value_of<'r>(now: &TableNow, row: &'r Row, id: &protocol::ids::ColumnId) -> Option<&'r Value> {
    row.0.get(now.columns.iter().position(|column| column == id)?)
}

/// What of it cannot be read any more is as if it were not known: it is told all the same, and hides no
/// other one.
fn rejected(row: &SqlRow<'_>) -> Result<RejectedMutation, ReplicaError> {
    let (verdict, server): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(5)?, row.get(6)?);
    let nothing = |_| Mutation { operations: Vec::new() };
    Ok(RejectedMutation {
        id: MutationId(row.get(0)?),
        place: row.get(1)?,
        written_at: row.get(2)?,
        queue: row.get(3)?,
        mutation: decode_content(&row.get::<_, Vec<u8>>(4)?).unwrap_or_else(nothing),
        rejection: verdict.and_then(|verdict| codec::decode(&verdict, COMMIT_BYTES_MAX).ok()),
        server: server
            .and_then(|server| codec::decode(&server, SERVER_BYTES_MAX).ok())
            .unwrap_or_default(),
    })
}
