//! A transaction of which each step is called. The writer is its own until it ends; what takes too
//! long is given up by the core.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sdk_core::{Error, Mutation, Rows, Transaction};
use tokio::sync::{mpsc, oneshot};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use super::opening::gone;
use super::{Core, Outcome, told};
use crate::given::{Given, Options, Statement, statement, write_options};
use crate::told::{number, object, rows};

/// One that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// Where its calls go.
    calls: mpsc::UnboundedSender<Call>,
    /// Why it is over, if it ended before it was committed.
    why: Rc<RefCell<Option<Error>>>,
}

/// What was written.
type Committed = oneshot::Sender<Result<Mutation, Error>>;

/// What is called.
#[derive(Debug)]
pub(super) enum Call {
    Run(Statement, oneshot::Sender<Result<(u64, Rows), Error>>),
    Commit(Committed),
}

#[wasm_bindgen]
impl Core {
    /// Begins one, as soon as nobody else writes.
    pub fn begin(&self, handle: String, options: Option<Options>) -> Outcome<()> {
        let options = write_options(options.as_ref())?;
        let (calls, received) = mpsc::unbounded_channel();
        let why = Rc::<RefCell<Option<Error>>>::default();
        let begun = Begun { calls, why: Rc::clone(&why) };
        self.transactions.borrow_mut().insert(handle, begun);
        let client = self.client.clone();
        spawn_local(async move {
            // It is committed for whoever asks for it last.
            let asked = Rc::<Cell<Option<Committed>>>::default();
            let work = |transaction| serve(transaction, received, Rc::clone(&asked));
            let done = client.transaction_with(options, work).await;
            match (asked.take(), done) {
                (Some(asked), done) => {
                    // Nobody may wait any more.
                    let _ = asked.send(done.map(|((), mutation)| mutation));
                }
                (None, done) => *why.borrow_mut() = done.err(),
            }
        });
        Ok(())
    }

    /// Does one thing in it.
    pub async fn run(&self, handle: String, given: Given) -> Outcome<JsValue> {
        let statement = statement(&given)?;
        let (done, answer) = oneshot::channel();
        let why = self.call(&handle, Call::Run(statement, done))?;
        let (affected, found) = answer.await.map_err(|_| over(&why))?.map_err(told)?;
        let [columns, all] = rows(&found);
        Ok(object(&[("rowsAffected", number(affected)), columns, all]))
    }

    /// Ends it: what it has done is done.
    pub async fn commit(&self, handle: String) -> Outcome<JsValue> {
        let (done, answer) = oneshot::channel();
        let called = self.call(&handle, Call::Commit(done));
        self.transactions.borrow_mut().remove(&handle);
        let why = called?;
        let mutation = answer.await.map_err(|_| over(&why))?.map_err(told)?;
        Ok(self.follow(&mutation))
    }

    /// Ends it: nothing has happened.
    pub fn rollback(&self, handle: &str) {
        self.transactions.borrow_mut().remove(handle);
    }
}

impl Core {
    /// Says where it will be why it is over.
    fn call(&self, handle: &str, call: Call) -> Outcome<Rc<RefCell<Option<Error>>>> {
        let transactions = self.transactions.borrow();
        let Begun { calls, why } = transactions.get(handle).ok_or_else(gone)?;
        calls.send(call).map_err(|_| over(why))?;
        Ok(Rc::clone(why))
    }
}

/// Why one is over.
fn over(why: &RefCell<Option<Error>>) -> JsValue {
    why.borrow().clone().map_or_else(gone, told)
}

/// Does what is called, until somebody commits it, or nobody can any more.
async fn serve(
    transaction: Transaction,
    mut calls: mpsc::UnboundedReceiver<Call>,
    asked: Rc<Cell<Option<Committed>>>,
) -> Result<(), Error> {
    while let Some(call) = calls.recv().await {
        match call {
            Call::Run(statement, done) => {
                // Nobody may wait any more.
                let _ = done.send(run(&transaction, &statement).await);
            }
            Call::Commit(committed) => {
                asked.set(Some(committed));
                return Ok(());
            }
        }
    }
    Err(Error::Closed)
}

pub(super) async fn run(
    transaction: &Transaction,
    statement: &Statement,
) -> Result<(u64, Rows), Error> {
    let mut found = Rows::default();
    let affected = match statement {
        Statement::Sql { sql, params } => transaction.execute(sql, params).await?,
        Statement::Query { sql, params } => {
            found = transaction.query(sql, params).await?;
            0
        }
        Statement::Insert { table, values } => {
            transaction.insert(table, &borrowed(values)).await?;
            1
        }
        Statement::Update { table, key, changes } => {
            transaction.update(table, &borrowed(key), &borrowed(changes)).await?;
            1
        }
        Statement::Delete { table, key } => {
            transaction.delete(table, &borrowed(key)).await?;
            1
        }
        Statement::Expect { table, key, values } => {
            transaction.expect(table, &borrowed(key), &borrowed(values)).await?;
            0
        }
    };
    Ok((affected, found))
}

fn borrowed<T: Clone>(columns: &[(String, T)]) -> Vec<(&str, T)> {
    columns.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}
