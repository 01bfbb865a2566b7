//! Several statements that are done together, with code of the application between them.

use protocol::value::Value;
use sdk_replica::{Change, MutationId};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::readers::{Waited, WaitedHere};
use crate::rows::Rows;

/// What is done to the replica.
#[derive(Debug)]
pub(crate) enum Statement {
    Sql {
        sql: String,
        params: Vec<Value>,
    },
    Query {
        sql: String,
        params: Vec<Value>,
    },
    Insert {
        table: String,
        values: Vec<(String, Value)>,
    },
    Update {
        table: String,
        key: Vec<(String, Value)>,
        changes: Vec<(String, Change)>,
    },
    Delete {
        table: String,
        key: Vec<(String, Value)>,
    },
    Expect {
        table: String,
        key: Vec<(String, Value)>,
        values: Vec<(String, Value)>,
    },
    /// What was rejected.
    Again(MutationId),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows_affected: u64,
    pub(crate) rows: Rows,
}

/// What the code of a transaction wants.
pub(crate) enum Call {
    Run { statement: Statement, waited: Waited, done: oneshot::Sender<Result<Outcome, Error>> },
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

    /// Reads, with what this transaction has written.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn query(&self, sql: &str, params: &[Value]) -> Result<Rows, Error> {
        let statement = Statement::Query { sql: sql.to_owned(), params: params.to_vec() };
        Ok(self.run(statement).await?.rows)
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

    async fn run(&self, statement: Statement) -> Result<Outcome, Error> {
        let (done, answer) = oneshot::channel();
        let here = WaitedHere(Waited::default());
        let call = Call::Run { statement, waited: here.0.clone(), done };
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
