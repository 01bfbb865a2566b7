//! Calls that are done once, however often they are asked for: what a call has given is stored in the
//! transaction of what it has done (INV-12).

use protocol::codec;
use protocol::limits::COMMIT_BYTES_MAX;
use protocol::value::Value;
use rusqlite::{OptionalExtension, Row as SqlRow, params};
use sdk_machine::MutationId;

use crate::error::ReplicaError;
use crate::reader::ResultRow;
use crate::replica::Replica;
use crate::writing::Executed;

/// Most bytes of the name of who asks.
const CLIENT_BYTES_MAX: usize = 64;

/// Most calls of one that are not answered: as many as there may be writes that wait. So many records are
/// kept of it at most.
pub const REQUESTS_MAX: u64 = 100_000;

/// Of how many clients there are records: of those that have done something last. Who waits for an answer has
/// done so lately, however many calls others have; who has gone stays until others have come.
pub const REQUEST_CLIENTS_MAX: i64 = 1_000;

/// Most bytes of what RETURNING gives to a call.
const RETURNED_BYTES_MAX: usize = 16 * COMMIT_BYTES_MAX;

/// Which call of whom it is: what it does is done once, however often it is asked for.
///
/// Whoever does not hear the answer asks again with the same request, also after a restart, and is given
/// what was given then. Nothing is stored of a call that failed: it is tried again.
///
/// A number is one call. Whoever begins to count again takes another name: under this one, its first calls
/// were done already. A call that is another one is refused as far as that is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose call: 1 to 64 bytes. Nobody else has this name.
    pub client: String,
    /// Which: grows from one call of this client to the next.
    pub number: u64,
    /// All below this have been answered, and are asked for never again: nothing is known of them any
    /// more, so one that is asked for all the same is done again. At most `number`, and less than
    /// [`REQUESTS_MAX`] before it.
    pub answered: u64,
}

/// What a request has given.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A write.
    Wrote {
        /// Which; nothing where it stays on the device, or has changed nothing.
        id: Option<MutationId>,
        /// What came of it.
        executed: Executed,
    },
    /// This was taken back, or discarded.
    Done(MutationId),
}

impl Request {
    pub(crate) fn check(&self) -> Result<(), ReplicaError> {
        let told = if self.client.is_empty() || self.client.len() > CLIENT_BYTES_MAX {
            "the client of a request has 1 to 64 bytes: give it another name"
        } else if i64::try_from(self.number).is_err() {
            "the number of a request is below 2^63: count from 0 or 1 on"
        } else if self.answered > self.number {
            "this request is said to be answered, so nothing is known of it: give it a number from \
             `answered` on"
        } else if self.number - self.answered >= REQUESTS_MAX {
            "at most 100,000 requests of one client are not answered: wait for some of them"
        } else {
            return Ok(());
        };
        Err(ReplicaError::Sql(told.to_owned()))
    }
}

impl Replica {
    /// What a request has given, if it was done and is not said to be answered.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn answer(&self, client: &str, number: u64) -> Result<Option<Answer>, ReplicaError> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let sql = "SELECT mutation, rows_affected, returned FROM tw_requests
                   WHERE client = ?1 AND number = ?2";
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params![client, number])?;
        rows.next()?.map(answer).transpose()
    }

    /// Which call a request was, if it was done and that is known: see [`Transaction::set_call`].
    ///
    /// [`Transaction::set_call`]: crate::Transaction::set_call
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn call(&self, client: &str, number: u64) -> Result<Option<[u8; 16]>, ReplicaError> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let sql = "SELECT call FROM tw_requests WHERE client = ?1 AND number = ?2";
        let mut select = self.connection.prepare_cached(sql)?;
        let found = select.query_row(params![client, number], |row| row.get(0)).optional()?;
        Ok(found.flatten())
    }

    /// Forgets the requests of everybody else: what they still ask for is done again. It is for whoever knows
    /// who is gone for good; without that, records of the last [`REQUEST_CLIENTS_MAX`] clients are kept.
    ///
    /// # Errors
    /// [`ReplicaError`]; none was forgotten.
    pub fn keep_requests(&mut self, clients: &[String]) -> Result<(), ReplicaError> {
        let mut select = self.connection.prepare("SELECT DISTINCT client FROM tw_requests")?;
        let known = select.query_map([], |row| row.get(0))?;
        let mut gone: Vec<String> = known.collect::<Result<_, _>>()?;
        drop(select);
        gone.retain(|client| !clients.contains(client));
        if gone.is_empty() {
            return Ok(());
        }
        self.journal.note_remains();
        self.transaction(|replica| {
            let sql = "DELETE FROM tw_requests WHERE client = ?1";
            for client in gone {
                replica.connection.prepare_cached(sql)?.execute([client])?;
            }
            Ok(())
        })
    }

    /// A call is about to be done, which must not have been before.
    pub(crate) fn check_request(&self, request: Option<&Request>) -> Result<(), ReplicaError> {
        let Some(request) = request else { return Ok(()) };
        request.check()?;
        match self.answer(&request.client, request.number)? {
            Some(_) => Err(ReplicaError::AlreadyDone),
            None => Ok(()),
        }
    }

    /// Keeps what a call has given, in the transaction that has done it, and forgets what its client has
    /// heard. It fails with all of the transaction where the call was done before (INV-12).
    pub(crate) fn keep_answer(
        &self,
        request: &Request,
        call: Option<[u8; 16]>,
        answer: &Answer,
    ) -> Result<(), ReplicaError> {
        let Request { client, number, answered } = request;
        let (mutation, rows_affected, returned) = match answer {
            Answer::Wrote { id, executed } => {
                let affected = i64::try_from(executed.rows_affected).unwrap_or(i64::MAX);
                (id.map(|id| id.0), Some(affected), returned(executed)?)
            }
            Answer::Done(id) => (Some(id.0), None, None),
        };
        let known = "SELECT 1 FROM tw_requests WHERE client = ?1 LIMIT 1";
        let is_known = self.connection.prepare_cached(known)?.exists([client])?;
        let sql =
            "INSERT INTO tw_requests (client, number, call, mutation, rows_affected, returned)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let number = i64::try_from(*number).unwrap_or(i64::MAX);
        let kept = self.connection.prepare_cached(sql)?.execute(params![
            client,
            number,
            call,
            mutation,
            rows_affected,
            returned
        ]);
        kept.map_err(|error| match ReplicaError::from(error) {
            ReplicaError::Constraint(_) => ReplicaError::AlreadyDone,
            other => other,
        })?;
        let heard = "DELETE FROM tw_requests WHERE client = ?1 AND number < ?2
                     RETURNING returned IS NOT NULL";
        let answered = i64::try_from(*answered).unwrap_or(i64::MAX);
        let mut heard = self.connection.prepare_cached(heard)?;
        let mut gone = heard.query(params![client, answered])?;
        while let Some(row) = gone.next()? {
            // What is told of the client's own tables does not count.
            if row.get(0)? {
                self.journal.note_remains();
            }
        }
        if !is_known {
            let sql = "DELETE FROM tw_requests WHERE client IN
                       (SELECT client FROM tw_requests GROUP BY client
                        ORDER BY max(place) DESC LIMIT -1 OFFSET ?1)";
            if self.connection.prepare_cached(sql)?.execute([REQUEST_CLIENTS_MAX])? > 0 {
                self.journal.note_remains();
            }
        }
        Ok(())
    }

    /// The same for what is no write.
    pub(crate) fn keep_done(
        &self,
        request: Option<&Request>,
        id: MutationId,
    ) -> Result<(), ReplicaError> {
        let keep = |request| self.keep_answer(request, None, &Answer::Done(id));
        request.map_or(Ok(()), keep)
    }
}

/// What RETURNING has given, if it has. The rows are stored as one list: what has more columns than a row
/// of the protocol can be read, too.
fn returned(executed: &Executed) -> Result<Option<Vec<u8>>, ReplicaError> {
    if executed.columns.is_empty() {
        return Ok(None);
    }
    let values: Vec<&Value> = executed.rows.iter().flat_map(|row| row.iter()).collect();
    let bytes = codec::encode(&(&executed.columns, values));
    match bytes.len() > RETURNED_BYTES_MAX {
        true => Err(ReplicaError::TooLarge(format!(
            "what a write with a request gives has at most {RETURNED_BYTES_MAX} bytes, and this {}: \
             read it with a query",
            bytes.len()
        ))),
        false => Ok(Some(bytes)),
    }
}

fn answer(row: &SqlRow<'_>) -> Result<Answer, ReplicaError> {
    let id = row.get::<_, Option<i64>>(0)?.map(MutationId);
    let Some(rows_affected) = row.get::<_, Option<i64>>(1)? else {
        return id.map(Answer::Done).ok_or(ReplicaError::Damaged);
    };
    let returned: Option<Vec<u8>> = row.get(2)?;
    // Of what cannot be read any more it is known all the same that it was done.
    let (columns, values): (Vec<String>, Vec<Value>) = returned
        .and_then(|bytes| codec::decode(&bytes, RETURNED_BYTES_MAX).ok())
        .unwrap_or_default();
    let rows = values.chunks(columns.len().max(1)).map(ResultRow::from).collect();
    Ok(Answer::Wrote {
        id,
        executed: Executed { rows_affected: rows_affected.unsigned_abs(), columns, rows },
    })
}
