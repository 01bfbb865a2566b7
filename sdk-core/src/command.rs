//! What applications want of the loop.

use std::time::Duration;

use protocol::frame::v1::Position;
use protocol::value::Value;
use sdk_machine::{Ask, SqlAnswer, SqlAsk, SubscriptionId, SubscriptionView};
use sdk_replica::{MutationId, Request, WriteOptions};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;
use crate::platform::Done;
use crate::readers::Waited;
use crate::rejection::Rejection;
use crate::storage::Subscribed;
use crate::sync::Woken;
use crate::transaction::{Call, Work};
use crate::verify::Verdict;
use crate::watch::Found;
use crate::written::{Answered, Pending, Wrote};

/// Which subscription it is, and how it is with it.
pub(crate) type Shown = (SubscriptionId, SubscriptionView);

/// What becomes of the replica when the user signs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOut {
    /// It stays on the device.
    Keep,
    /// It is removed.
    Wipe,
}

/// What an application wants.
pub(crate) enum Command {
    Subscribe(Ask, Option<Duration>, oneshot::Sender<Result<watch::Receiver<Shown>, Error>>),
    /// Somebody does not ask for a subscription any more.
    LookAtIdle,
    Unsubscribe(SubscriptionId),
    LoadOlder(SubscriptionId, u64),
    Reset(SubscriptionId),
    Verify(SubscriptionId, oneshot::Sender<Result<Verdict, Error>>),
    Watch {
        sql: String,
        params: Vec<Value>,
        results: watch::Sender<Option<Found>>,
    },
    /// Statements that are done together.
    Write {
        work: Vec<Work>,
        options: WriteOptions,
        waited: Waited,
        done: oneshot::Sender<Result<Wrote, Error>>,
    },
    /// The same, one after the other.
    Transact {
        calls: mpsc::UnboundedReceiver<Call>,
        options: WriteOptions,
        done: oneshot::Sender<Result<Wrote, Error>>,
    },
    Cancel(MutationId, Option<Request>, oneshot::Sender<Result<bool, Error>>),
    Pending(oneshot::Sender<Result<Pending, Error>>),
    Mutation(MutationId, oneshot::Sender<Result<Option<Wrote>, Error>>),
    /// What did not happen, from a place on, with the place of each.
    Rejections(i64, oneshot::Sender<Result<Vec<(i64, Rejection)>, Error>>),
    Discard(MutationId, Option<Request>, oneshot::Sender<Result<bool, Error>>),
    /// What a request has given, by its client and number.
    Answer(String, u64, oneshot::Sender<Result<Option<Answered>, Error>>),
    KeepRequests(Vec<String>, oneshot::Sender<Result<(), Error>>),
    Run {
        ask: SqlAsk,
        within: Duration,
        done: oneshot::Sender<Result<SqlAnswer, Error>>,
    },
    WaitFor {
        positions: Vec<Position>,
        within: Duration,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Subscribed(oneshot::Sender<Vec<Subscribed>>),
    Diagnose(oneshot::Sender<serde_json::Value>),
    WaitForSync {
        within: Duration,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// Goes on for a while.
    Wake(oneshot::Sender<Woken>),
    /// The while is over.
    Rest(Woken, Done),
    Pause,
    /// Whoever reads was stopped for a deadline: if the client runs, they go on.
    ReadOn,
    /// Told when no lock is held any more.
    Suspend(Done),
    Resume,
    /// All that was wanted before is done.
    Reached(oneshot::Sender<()>),
    Nudge,
    /// A query has found that the file is damaged, as it was opened for this time.
    Damaged(u64),
    SignOut {
        data: SignOut,
        discard_pending: bool,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Close(oneshot::Sender<()>),
}
