//! A transaction of which each step is called. The writer is its own until it ends; what takes too
//! long is given up by the core.

use std::cell::Cell;
use std::rc::Rc;

use sdk_core::{Error, ErrorCode, Mutation, Rows, Transaction};
use tokio::sync::{mpsc, oneshot, watch};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use super::{Core, Outcome, failed};
use crate::given::{Given, Options, Work, work, write_options};
use crate::objects::{number, object};
use crate::told::rows;

/// One that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// Where its calls go. When nobody can call any more it is rolled back.
    calls: mpsc::UnboundedSender<Call>,
    /// How it has ended.
    ended: watch::Receiver<Option<Result<(), Error>>>,
}

/// What is called.
#[derive(Debug)]
enum Call {
    Run(Work, oneshot::Sender<Result<(u64, Rows), Error>>),
    Commit(oneshot::Sender<Result<Mutation, Error>>),
}

/// Whom the end of one answers.
#[derive(Default)]
struct Asked {
    commit: Cell<Option<oneshot::Sender<Result<Mutation, Error>>>>,
    is_rolled_back: Cell<bool>,
}

#[wasm_bindgen]
impl Core {
    /// Begins one, as soon as nobody else writes.
    pub fn begin(&self, handle: String, options: Option<Options>) -> Outcome<()> {
        let options = write_options(options.as_ref())?;
        let (calls, received) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(None);
        self.transactions.borrow_mut().insert(handle, Begun { calls, ended });
        let client = self.client.clone();
        spawn_local(async move {
            let asked = Rc::<Asked>::default();
            let code = |transaction| serve(transaction, received, Rc::clone(&asked));
            let done = client.transaction_with(options, code).await;
            let how = match &done {
                Err(error) if !asked.is_rolled_back.get() => Err(error.clone()),
                _ => Ok(()),
            };
            end.send_replace(Some(how));
            if let Some(commit) = asked.commit.take() {
                // Nobody may wait any more.
                let _ = commit.send(done.map(|((), mutation)| mutation));
            }
        });
        Ok(())
    }

    /// Does one thing in it.
    pub async fn run(&self, handle: String, given: Given) -> Outcome<JsValue> {
        let work = work(&given)?;
        let (done, answer) = oneshot::channel();
        let ended = self.call(&handle, Call::Run(work, done))?;
        let (affected, found) = match answer.await {
            Ok(done) => done.map_err(failed)?,
            Err(_) => return Err(why(ended).await),
        };
        let [columns, all] = rows(&found);
        Ok(object(&[("rowsAffected", number(affected)), columns, all]))
    }

    /// Ends it: what it has done is done.
    pub async fn commit(&self, handle: String) -> Outcome<JsValue> {
        let (done, answer) = oneshot::channel();
        let called = self.call(&handle, Call::Commit(done));
        self.transactions.borrow_mut().remove(&handle);
        let ended = called?;
        match answer.await {
            Ok(done) => Ok(self.follow(&done.map_err(failed)?)),
            Err(_) => Err(why(ended).await),
        }
    }

    /// Ends it: nothing has happened.
    pub fn rollback(&self, handle: &str) {
        self.transactions.borrow_mut().remove(handle);
    }

    /// Waits until it is over. When that is not because it was committed or rolled back, it says why.
    pub async fn over(&self, handle: String) -> Outcome<()> {
        let begun = self.transactions.borrow().get(&handle).map(|begun| begun.ended.clone());
        let mut ended = begun.ok_or_else(unknown)?;
        let how = ended.wait_for(Option::is_some).await.map_err(|_| failed(Error::Closed))?;
        how.clone().unwrap_or(Ok(())).map_err(failed)
    }
}

impl Core {
    /// Says how it will be known why it is over.
    fn call(
        &self,
        handle: &str,
        call: Call,
    ) -> Outcome<watch::Receiver<Option<Result<(), Error>>>> {
        let transactions = self.transactions.borrow();
        let Begun { calls, ended } = transactions.get(handle).ok_or_else(unknown)?;
        // When it is over the call is dropped, and its answer with it.
        let _ = calls.send(call);
        Ok(ended.clone())
    }
}

fn unknown() -> JsValue {
    let message = "there is no such transaction: it has ended".to_owned();
    failed(Error::Asked { code: ErrorCode::NotFound, message })
}

/// Why one is over that did not answer.
async fn why(mut ended: watch::Receiver<Option<Result<(), Error>>>) -> JsValue {
    let how = ended.wait_for(Option::is_some).await;
    match how.ok().and_then(|how| how.clone()) {
        Some(Err(error)) => failed(error),
        _ => unknown(),
    }
}

/// Does what is called, until somebody commits it, or nobody can any more, or it is over by itself.
async fn serve(
    transaction: Transaction,
    mut calls: mpsc::UnboundedReceiver<Call>,
    asked: Rc<Asked>,
) -> Result<(), Error> {
    loop {
        let call = tokio::select! {
            biased;
            call = calls.recv() => call,
            error = transaction.over() => return Err(error),
        };
        match call {
            Some(Call::Run(work, done)) => match run(&transaction, work).await {
                // It is over, and why is known when it has ended.
                Err(error @ Error::Timeout(_)) => return Err(error),
                // Nobody may wait any more.
                answer => drop(done.send(answer)),
            },
            Some(Call::Commit(committed)) => {
                asked.commit.set(Some(committed));
                return Ok(());
            }
            None => {
                asked.is_rolled_back.set(true);
                return Err(Error::Closed);
            }
        }
    }
}

async fn run(transaction: &Transaction, work: Work) -> Result<(u64, Rows), Error> {
    match work {
        Work::Query { sql, params } => Ok((0, transaction.query(&sql, &params).await?)),
        Work::Statement(statement) => transaction.write(statement).await,
    }
}
