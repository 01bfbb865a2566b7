//! Several statements that are done together, with code of the application between them.

use protocol::codec;
use protocol::value::Value;
use sdk_replica::{Change, Executed, MutationId};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::readers::{Waited, WaitedHere};
use crate::rows::Rows;

/// Something that writes. Columns that are not named take their defaults, or stay.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Statement {
    /// SQL of SQLite.
    Sql {
        /// Its text.
        sql: String,
        /// Its values.
        params: Vec<Value>,
    },
    /// Inserts a row.
    Insert {
        /// `namespace.table`.
        table: String,
        /// Its columns.
        values: Vec<(String, Value)>,
    },
    /// Changes columns of a row, which need not be on this device.
    Update {
        /// `namespace.table`.
        table: String,
        /// Which row.
        key: Vec<(String, Value)>,
        /// What becomes of its columns.
        changes: Vec<(String, Change)>,
    },
    /// Deletes a row, which need not be on this device.
    Delete {
        /// `namespace.table`.
        table: String,
        /// Which row.
        key: Vec<(String, Value)>,
    },
    /// All is to happen only where the server has such a row: see [`Transaction::expect`].
    Expect {
        /// `namespace.table`.
        table: String,
        /// Which row.
        key: Vec<(String, Value)>,
        /// What it is to have.
        values: Vec<(String, Value)>,
    },
}

/// What is done to the replica.
#[derive(Debug)]
pub(crate) enum Work {
    Statement(Statement),
    Query {
        sql: String,
        params: Vec<Value>,
    },
    /// What was rejected.
    Again(MutationId),
}

impl From<Statement> for Work {
    fn from(statement: Statement) -> Self {
        Self::Statement(statement)
    }
}

/// Which call this is: the first 16 bytes of the SHA-256 of what is to be done. It is the same in every version,
/// since it is stored.
pub(crate) fn call_of(work: &[Work], replaces: Option<MutationId>) -> [u8; 16] {
    let mut hash = Sha256::new().chain_update(codec::encode(&replaces.map(|id| id.0)));
    for work in work {
        hash.update(match work {
            Work::Statement(Statement::Sql { sql, params }) => codec::encode(&(0, sql, params)),
            Work::Statement(Statement::Insert { table, values }) => {
                codec::encode(&(1, table, values))
            }
            Work::Statement(Statement::Update { table, key, changes }) => {
                let change = |(column, change): &(String, Change)| match change {
                    Change::Set(value) => (column.clone(), false, value.clone()),
                    Change::Add(value) => (column.clone(), true, value.clone()),
                };
                let changes: Vec<_> = changes.iter().map(change).collect();
                codec::encode(&(2, table, key, changes))
            }
            Work::Statement(Statement::Delete { table, key }) => codec::encode(&(3, table, key)),
            Work::Statement(Statement::Expect { table, key, values }) => {
                codec::encode(&(4, table, key, values))
            }
            Work::Query { sql, params } => codec::encode(&(5, sql, params)),
            Work::Again(id) => codec::encode(&(6, id.0)),
        });
    }
    let mut call = [0; 16];
    call.copy_from_slice(&hash.finalize()[..16]);
    call
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows_affected: u64,
    pub(crate) rows: Rows,
}

impl Outcome {
    /// The same, to be stored with a request.
    pub(crate) fn given(&self) -> Executed {
        let (columns, rows) = self.rows.parts();
        Executed {
            rows_affected: self.rows_affected,
            columns: columns.to_vec(),
            rows: rows.to_vec(),
        }
    }
}

/// What the code of a transaction wants.
pub(crate) enum Call {
    Run { work: Work, waited: Waited, done: oneshot::Sender<Result<Outcome, Error>> },
    Commit,
}

/// A transaction that is open: see [`Client::transaction`](crate::Client::transaction). Nobody else
/// writes meanwhile.
#[derive(Clone, Debug)]
pub struct Transaction {
    calls: mpsc::UnboundedSender<Call>,
}

impl Transaction {
    pub(crate) fn new(calls: mpsc::UnboundedSender<Call>) -> Self {
        Self { calls }
    }

    /// Runs a statement; SAVEPOINT, RELEASE and ROLLBACK TO, too. When it fails nothing of it was
    /// done, and the transaction goes on. Says how many rows it has written.
    ///
    /// # Errors
    /// [`Error::Replica`] says what is wrong with it; [`Error::Timeout`] when the transaction has
    /// taken too long and is undone.
    pub async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        let statement = Statement::Sql { sql: sql.to_owned(), params: params.to_vec() };
        Ok(self.run(statement).await?.rows_affected)
    }

    /// The same for a statement of any kind. Gives the rows of RETURNING, too.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn write(&self, statement: Statement) -> Result<(u64, Rows), Error> {
        let Outcome { rows_affected, rows } = self.run(statement).await?;
        Ok((rows_affected, rows))
    }

    /// Reads, with what this transaction has written.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn query(&self, sql: &str, params: &[Value]) -> Result<Rows, Error> {
        let work = Work::Query { sql: sql.to_owned(), params: params.to_vec() };
        Ok(self.run(work).await?.rows)
    }

    /// Inserts a row. Columns that are not named take their defaults.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn insert(&self, table: &str, values: &[(&str, Value)]) -> Result<(), Error> {
        self.run(Statement::insert(table, values)).await.map(drop)
    }

    /// Changes columns of a row, which need not be on this device.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn update(
        &self,
        table: &str,
        key: &[(&str, Value)],
        changes: &[(&str, Change)],
    ) -> Result<(), Error> {
        self.run(Statement::update(table, key, changes)).await.map(drop)
    }

    /// Deletes a row, which need not be on this device.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn delete(&self, table: &str, key: &[(&str, Value)]) -> Result<(), Error> {
        self.run(Statement::delete(table, key)).await.map(drop)
    }

    /// The transaction is to happen only where the server has a row with this key, and these values in
    /// it; otherwise it is rejected with `conflict`. The row may be one that is not written, and need
    /// not be on this device. Where the transaction writes nothing, nothing is expected.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn expect(
        &self,
        table: &str,
        key: &[(&str, Value)],
        values: &[(&str, Value)],
    ) -> Result<(), Error> {
        let (table, key, values) = (table.to_owned(), owned(key), owned(values));
        self.run(Statement::Expect { table, key, values }).await.map(drop)
    }

    /// Waits until it is over other than by its code, and gives an error for that: whoever only waits for
    /// something else hears of it. The transaction itself ends with the reason.
    pub async fn over(&self) -> Error {
        self.calls.closed().await;
        Error::Timeout(OVER)
    }

    async fn run(&self, work: impl Into<Work>) -> Result<Outcome, Error> {
        let (done, answer) = oneshot::channel();
        let here = WaitedHere(Waited::default());
        let call = Call::Run { work: work.into(), waited: here.0.clone(), done };
        self.calls.send(call).map_err(|_| Error::Timeout(OVER))?;
        answer.await.map_err(|_| Error::Timeout(OVER))?
    }
}

/// Why a transaction was given up.
pub(crate) const OVER: &str = "the transaction is over: one may take 5 s, and pause for 250 ms, \
                               since nobody else writes meanwhile; what is slow goes before it";

impl Statement {
    pub(crate) fn insert(table: &str, values: &[(&str, Value)]) -> Self {
        Self::Insert { table: table.to_owned(), values: owned(values) }
    }

    pub(crate) fn update(table: &str, key: &[(&str, Value)], changes: &[(&str, Change)]) -> Self {
        Self::Update { table: table.to_owned(), key: owned(key), changes: owned(changes) }
    }

    pub(crate) fn delete(table: &str, key: &[(&str, Value)]) -> Self {
        Self::Delete { table: table.to_owned(), key: owned(key) }
    }
}

fn owned<T: Clone>(named: &[(&str, T)]) -> Vec<(String, T)> {
    named.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}
