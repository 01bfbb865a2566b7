//! What waits to be sent, for whoever wrote it: shown, and taken back.

use protocol::ids::{Lane, TableId, TableName};
use protocol::mutation::Mutation;
use protocol::value::Value;
use rusqlite::OptionalExtension;
use sdk_machine::MutationId;

use crate::changed::Changed;
use crate::decisions::Decision;
use crate::error::ReplicaError;
use crate::guard::PENDING;
use crate::outbox::{operations, take_operations};
use crate::rebase;
use crate::replica::Replica;
use crate::requests::Request;
use crate::table::Tables;
use crate::values::read;

/// A mutation that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingMutation {
    /// Which.
    pub id: MutationId,
    /// Its lane.
    pub lane: Lane,
    /// When it was written: microseconds since 1970, UTC.
    pub written_at: i64,
    /// The rows that it writes: the table, and the key as `tw_pending` has it. A table that is not
    /// here any more has no name.
    pub rows: Vec<(Option<TableName>, Value)>,
}

/// How much waits for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many mutations.
    pub mutations: u64,
    /// How many of them are held back.
    pub held: u64,
    /// How many bytes they are.
    pub bytes: u64,
    /// When the first of them was written: microseconds since 1970.
    pub oldest: Option<i64>,
    /// How many were rejected and are not dealt with.
    pub rejections: u64,
}

/// A mutation that was taken back for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// Which.
    pub id: MutationId,
    /// Whether it was held back: then it had no place in the order of sending.
    pub is_held: bool,
    pub(crate) queue: Option<String>,
}

impl Replica {
    /// Takes a mutation back, and undoes what it shows; those behind it stay. Says what has changed,
    /// or nothing where it is not waiting any more.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was done.
    pub fn cancel(&mut self, id: MutationId) -> Result<Option<Changed>, ReplicaError> {
        self.cancel_as(id, Some(&Decision::Cancelled), None)
    }

    /// The same, decided so: by nobody yet where the server has to say whether it has it. With the request
    /// of whoever wants it, it is done once.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was done. [`ReplicaError::AlreadyDone`] for a request that was.
    pub fn cancel_as(
        &mut self,
        id: MutationId,
        decision: Option<&Decision>,
        request: Option<&Request>,
    ) -> Result<Option<Changed>, ReplicaError> {
        self.check_request(request)?;
        let sql = "SELECT bytes, place IS NULL FROM tw_outbox WHERE id = ?1 AND cancelled IS NULL";
        let found = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found = self.connection.prepare_cached(sql)?.query_row([id.0], found).optional()?;
        let Some::<(i64, bool)>((bytes, is_held)) = found else { return Ok(None) };
        let mut changed = self.despite_the_app(|replica| {
            if let Some(decision) = decision {
                replica.decide(id, decision)?;
            }
            replica.take_back(id, bytes, is_held)?;
            replica.keep_done(request, id)?;
            Ok(false)
        })?;
        changed.all_of(PENDING);
        Ok(Some(changed))
    }

    /// In the transaction that is open.
    fn take_back(&mut self, id: MutationId, bytes: i64, is_held: bool) -> Result<(), ReplicaError> {
        self.journal.note_remains();
        let connection = &self.connection;
        for (table, key) in take_operations(connection, &self.tables, id)? {
            // Once no write waits for it, a row is as any other.
            rebase::row(connection, self.tables.get(table)?, &key)?;
        }
        // What is held back has no number, and will have none.
        if is_held {
            return self.forget(id);
        }
        // It takes its number when its turn comes, and that needs no more than its digest.
        let sql = "UPDATE tw_outbox SET cancelled = x'', bytes = 0 WHERE id = ?1";
        connection.execute(sql, [id.0])?;
        self.outbox.bytes -= bytes;
        Ok(())
    }

    /// Takes a mutation back in the transaction that is open, because another one takes its place. Nothing
    /// where it does not wait.
    pub(crate) fn take_back_unsent(
        &mut self,
        id: MutationId,
    ) -> Result<Option<TakenBack>, ReplicaError> {
        let sql = "SELECT o.bytes, o.place IS NULL, o.queue, o.place <= w.sent_id
                   FROM tw_outbox o LEFT JOIN tw_writers w ON w.lane = o.lane
                   WHERE o.id = ?1 AND o.cancelled IS NULL";
        let found = |row: &rusqlite::Row<'_>| {
            let is_sent: Option<bool> = row.get(3)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, is_sent.unwrap_or(false)))
        };
        let found = self.connection.prepare_cached(sql)?.query_row([id.0], found).optional()?;
        let Some::<(_, _, _, bool)>((bytes, is_held, queue, is_sent)) = found else {
            return Ok(None);
        };
        let later = "SELECT 1 FROM tw_operations mine
                     JOIN tw_operations other ON other.table_id = mine.table_id AND other.key = mine.key
                     WHERE mine.mutation = ?1 AND other.mutation > ?1 LIMIT 1";
        if is_sent {
            return Err(ReplicaError::AlreadySent);
        }
        if self.connection.prepare_cached(later)?.exists([id.0])? {
            return Err(ReplicaError::WrittenSince);
        }
        self.decide(id, &Decision::Cancelled)?;
        self.take_back(id, bytes, is_held)?;
        Ok(Some(TakenBack { id, is_held, queue }))
    }

    /// What waits, in the order in which it was written.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn pending(&self) -> Result<Vec<PendingMutation>, ReplicaError> {
        let mut select = self.connection.prepare_cached(
            "SELECT o.id, o.lane, o.written_at, p.table_id, p.key
             FROM tw_outbox o JOIN tw_operations p ON p.mutation = o.id
             WHERE o.cancelled IS NULL ORDER BY o.id, p.place",
        )?;
        let mut rows = select.query([])?;
        let mut pending: Vec<PendingMutation> = Vec::new();
        while let Some(row) = rows.next()? {
            let id = MutationId(row.get(0)?);
            let lane: String = row.get(1)?;
            let key = read(row.get_ref(4)?).ok_or(ReplicaError::Damaged)?;
            let written = (name(&self.tables, TableId(row.get(3)?)), key);
            match pending.last_mut().filter(|last| last.id == id) {
                Some(last) => last.rows.push(written),
                None => pending.push(PendingMutation {
                    id,
                    lane: lane.parse().map_err(|_| ReplicaError::Damaged)?,
                    written_at: row.get(2)?,
                    rows: vec![written],
                }),
            }
        }
        Ok(pending)
    }

    /// How much waits, and was rejected.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn waiting(&self) -> Result<Waiting, ReplicaError> {
        let sql =
            "SELECT count(*), count(*) - count(place), coalesce(sum(bytes), 0), min(written_at),
                   (SELECT count(*) FROM tw_rejected) FROM tw_outbox WHERE cancelled IS NULL";
        let waiting = |row: &rusqlite::Row<'_>| {
            let (mutations, held, bytes) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Waiting { mutations, held, bytes, oldest: row.get(3)?, rejections: row.get(4)? })
        };
        Ok(self.connection.prepare_cached(sql)?.query_row([], waiting)?)
    }

    /// Whether a mutation is in the outbox: it waits, or was taken back and its number is not decided.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn is_waiting(&self, id: MutationId) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE id = ?1";
        Ok(self.connection.prepare_cached(sql)?.exists([id.0])?)
    }

    /// The last mutation that was written here.
    pub fn last_mutation(&self) -> MutationId {
        self.outbox.last
    }

    /// How many mutations wait, of those up to this one.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn undecided(&self, last: MutationId) -> Result<u64, ReplicaError> {
        let sql = "SELECT count(*) FROM tw_outbox WHERE id <= ?1";
        Ok(self.connection.prepare_cached(sql)?.query_row([last.0], |row| row.get(0))?)
    }

    /// Whether a mutation was taken back, and its number is not decided.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn is_taken_back(&self, id: MutationId) -> Result<bool, ReplicaError> {
        let sql = "SELECT 1 FROM tw_outbox WHERE id = ?1 AND cancelled IS NOT NULL";
        Ok(self.connection.prepare_cached(sql)?.exists([id.0])?)
    }

    /// What a mutation that waits does, as it will be sent. `None` where it does not wait.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn mutation(&self, id: MutationId) -> Result<Option<Mutation>, ReplicaError> {
        let operations = operations(&self.connection, id)?;
        Ok((!operations.is_empty()).then_some(Mutation { operations }))
    }
}

fn name(tables: &Tables, id: TableId) -> Option<TableName> {
    tables.0.get(&id).map(|table| table.schema.name.clone())
}
