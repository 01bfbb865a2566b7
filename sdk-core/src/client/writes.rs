//! Writing, online or not.

use protocol::value::Value;
use sdk_replica::{Change, MutationId, WriteOptions};
use tokio::sync::{mpsc, oneshot};

use super::Client;
use crate::command::Command;
use crate::error::Error;
use crate::mutation::Mutation;
use crate::readers::{Waited, WaitedHere};
use crate::transaction::{Call, OVER, Statement, Transaction, Work};
use crate::written::{Pending, Wrote};

impl Client {
    /// Writes: any SQL on the replica, online or not, in one transaction. It is done when it is
    /// stored on this device, and never waits for the network; what becomes of it says the
    /// [`Mutation`]. Rows of replicated tables are shown at once as they were written, and what the
    /// server says of them goes under that. Local tables, indexes, views and triggers never leave
    /// the device.
    ///
    /// # Errors
    /// [`Error::Replica`] says what is wrong with it, and nothing was done: a value that its column
    /// does not take (`constraint`), a table that is not written by this user (`forbidden`), too
    /// much of it (`too_large`) or of what waits (`quota`).
    ///
    /// # Cancel safety
    /// When it is dropped the statement is stopped: all of it was done, or nothing.
    pub async fn execute(&self, sql: &str, params: &[Value]) -> Result<Mutation, Error> {
        self.batch(&[(sql, params)]).await
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::execute`]; and [`Error::Asked`] with `offline` for one that is not to wait for a
    /// connection.
    pub async fn execute_with(
        &self,
        sql: &str,
        params: &[Value],
        options: WriteOptions,
    ) -> Result<Mutation, Error> {
        self.batch_with(&[(sql, params)], options).await
    }

    /// The same with several statements: all are done, or none.
    ///
    /// # Errors
    /// As [`Client::execute`], for the first that cannot be done. Also where they write tables that
    /// no transaction joins.
    pub async fn batch(&self, statements: &[(&str, &[Value])]) -> Result<Mutation, Error> {
        self.batch_with(statements, WriteOptions::default()).await
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::execute_with`].
    pub async fn batch_with(
        &self,
        statements: &[(&str, &[Value])],
        options: WriteOptions,
    ) -> Result<Mutation, Error> {
        let sql = |(sql, params): &(&str, &[Value])| Statement::Sql {
            sql: (*sql).to_owned(),
            params: params.to_vec(),
        };
        self.write(statements.iter().map(sql).collect(), options).await
    }

    /// The same with statements of all kinds.
    ///
    /// # Errors
    /// As [`Client::execute_with`].
    pub async fn write(
        &self,
        statements: Vec<Statement>,
        options: WriteOptions,
    ) -> Result<Mutation, Error> {
        self.work(statements.into_iter().map(Work::from).collect(), options).await
    }

    /// Inserts a row. Columns that are not named take their defaults.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub async fn insert(&self, table: &str, values: &[(&str, Value)]) -> Result<Mutation, Error> {
        self.write(vec![Statement::insert(table, values)], WriteOptions::default()).await
    }

    /// Changes columns of the row with this key, which need not be on this device: then it is
    /// changed on the server, and shown so when it comes.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub async fn update(
        &self,
        table: &str,
        key: &[(&str, Value)],
        changes: &[(&str, Change)],
    ) -> Result<Mutation, Error> {
        self.write(vec![Statement::update(table, key, changes)], WriteOptions::default()).await
    }

    /// Deletes the row with this key, which need not be on this device.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub async fn delete(&self, table: &str, key: &[(&str, Value)]) -> Result<Mutation, Error> {
        self.write(vec![Statement::delete(table, key)], WriteOptions::default()).await
    }

    /// Writes with code between the statements, in one transaction: committed when the code gives
    /// a value, undone when it gives an error. Nobody else writes meanwhile, so it is given up after
    /// 5 seconds, or 250 milliseconds in which it does nothing: prefer [`Client::batch`].
    ///
    /// # Errors
    /// What the code gives; else as [`Client::execute`], and [`Error::Timeout`].
    ///
    /// # Cancel safety
    /// When it is dropped while the code runs nothing was done.
    ///
    /// # Example
    /// ```
    /// # async fn buy(client: sdk_core::Client) -> Result<(), sdk_core::Error> {
    /// let (left, mutation) = client
    ///     .transaction(|tx| async move {
    ///         tx.execute("UPDATE shop.items SET left = left - 1 WHERE id = 7", &[]).await?;
    ///         let rows = tx.query("SELECT left FROM shop.items WHERE id = 7", &[]).await?;
    ///         rows.iter().next().map_or(Ok(0), |row| row.get::<i64>("left"))
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub async fn transaction<T, F>(
        &self,
        work: impl FnOnce(Transaction) -> F,
    ) -> Result<(T, Mutation), Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.transaction_with(WriteOptions::default(), work).await
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::transaction`], and [`Client::execute_with`]. [`Error::Replica`] with `conflict` where its
    /// request was done before: what the code has done by then is not kept, and [`Client::answer`] says what
    /// was written. That it is the same code is not known.
    ///
    /// # Cancel safety
    /// As [`Client::transaction`].
    pub async fn transaction_with<T, F>(
        &self,
        options: WriteOptions,
        work: impl FnOnce(Transaction) -> F,
    ) -> Result<(T, Mutation), Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (calls, received) = mpsc::unbounded_channel();
        let (done, answer) = oneshot::channel();
        self.tell(Command::Transact { calls: received, options, done })?;
        let value = match work(Transaction::new(calls.clone())).await {
            Ok(value) => value,
            // It was given up, or never begun: the answer says why.
            Err(Error::Timeout(OVER)) => {
                drop(calls);
                let why = answer.await.map_err(|_| Error::Closed)?;
                return Err(why.err().unwrap_or(Error::Timeout(OVER)));
            }
            Err(error) => return Err(error),
        };
        // If it was given up, the answer says so.
        let _ = calls.send(Call::Commit);
        let wrote = answer.await.map_err(|_| Error::Closed)??;
        Ok((value, self.handle(wrote)))
    }

    /// What was written and is not decided yet.
    ///
    /// # Errors
    /// [`Error::Replica`] when the replica cannot be read, [`Error::Closed`].
    pub async fn pending(&self) -> Result<Pending, Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::Pending(done))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// A write that waits, by the id that [`Mutation::id`] and [`Client::pending`] give, also after
    /// a restart; also one that was rejected or is uncertain and not dealt with, and one that was stuck,
    /// was taken back, and of which the server has not said whether it has it. `None` where it was
    /// accepted, taken back before it was sent, has expired, or was dealt with; but of a write that had a
    /// request ([`WriteOptions::request`]) also how it was decided, as long as it is one of the last 1,000
    /// that were.
    ///
    /// # Errors
    /// As [`Client::pending`].
    pub async fn mutation(&self, id: MutationId) -> Result<Option<Mutation>, Error> {
        let (done, answer) = oneshot::channel();
        self.tell(Command::Mutation(id, done))?;
        let wrote = answer.await.map_err(|_| Error::Closed)??;
        Ok(wrote.map(|wrote| self.handle(wrote)))
    }

    pub(super) async fn work(
        &self,
        work: Vec<Work>,
        options: WriteOptions,
    ) -> Result<Mutation, Error> {
        let (done, answer) = oneshot::channel();
        let here = WaitedHere(Waited::default());
        self.tell(Command::Write { work, options, waited: here.0.clone(), done })?;
        Ok(self.handle(answer.await.map_err(|_| Error::Closed)??))
    }

    pub(super) fn handle(&self, wrote: Wrote) -> Mutation {
        Mutation { commands: self.inner.commands.clone(), wrote }
    }
}
