//! What a machine wants done.

use protocol::frame::v1::{AllowedTable, ClientFrame, Position, RowChange, SqlFailed, TableNow};
use protocol::ids::{Birth, ClientId, ContentHash, Epoch, Lane, MutationNumber};
use protocol::value::Row;

use crate::check::{Comparison, Verdict};
use crate::event::Attempt;
use crate::statement::{SqlAnswer, StatementId};
use crate::stored::{
    MutationId, Settled, StoredLane, StoredSchema, StoredSubscription, StoredWriter, SubscriptionId,
};
use crate::sync::SyncId;

/// Something to be done. The host does one after the other, in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// Ask the app for a token: answered by [`Event::TokenReady`](crate::Event::TokenReady) or
    /// [`Event::TokenFailed`](crate::Event::TokenFailed).
    AskToken {
        /// To be given back.
        attempt: Attempt,
    },
    /// Open a socket.
    Dial {
        /// To be given back with all that comes of it.
        attempt: Attempt,
        /// To which of the servers.
        server: usize,
    },
    /// Send a frame on the socket.
    Send(ClientFrame),
    /// Send what was written, as a `mutate` frame on the socket: the replica has what it does.
    Mutate(Outgoing),
    /// Close the socket, or stop dialling. No answer is expected.
    Hangup {
        /// Which.
        attempt: Attempt,
    },
    /// Execute a step on the replica. If that fails, everything stops here: see the crate's
    /// documentation.
    Apply(Step),
    /// [`Machine::status`](crate::Machine::status) says something else now.
    StatusChanged,
    /// [`Machine::subscription`](crate::Machine::subscription) says something else now.
    SubscriptionChanged(SubscriptionId),
    /// A statement was answered, or will not be.
    StatementEnded(StatementId, Box<Result<SqlAnswer, SqlFailed>>),
    /// Where the server is in each lane that is subscribed to, when it was asked or later. Positions that
    /// came before for the same question are of another connection.
    ServerIs(SyncId, Vec<Position>),
    /// It is otherwise with a mutation now.
    MutationChanged(MutationId, MutationProgress),
    /// Have the replica say how it has these rows, as it is right now, and answer at once with
    /// [`Event::Compared`](crate::Event::Compared).
    Compare(Comparison),
    /// A subscription was compared with the server.
    Verified(SubscriptionId, Verdict),
    /// Two texts have turned out to be one subscription. From now on only `is` exists.
    Same {
        /// The one that is gone.
        asked: SubscriptionId,
        /// The one that takes its place.
        is: SubscriptionId,
    },
}

impl Instruction {
    /// The step that it wants executed.
    pub fn step(&self) -> Option<&Step> {
        match self {
            Self::Apply(step) => Some(step),
            _ => None,
        }
    }
}

/// Mutations that follow each other, to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Their lane.
    pub lane: Lane,
    /// The identity under which they are numbered.
    pub client: ClientId,
    /// When it was drawn.
    pub since: i64,
    /// The lane's history.
    pub epoch: Epoch,
    /// The number of the first.
    pub first: MutationNumber,
    /// The chained hash before it.
    pub previous: ContentHash,
    /// Which they are. One that was taken back goes as its digest.
    pub mutations: Vec<MutationId>,
    /// Up to where the decisions are known, also after a power cut.
    pub confirmed: MutationNumber,
}

/// How it is with a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutationProgress {
    /// It may have left the device.
    Sent,
    /// It could not be delivered. Its lane waits; it is tried again from time to time, and can be
    /// taken back.
    Stuck,
    /// It is decided, or will never be known to be.
    Settled(Settled),
}

/// One transaction of the replica: all of it or nothing, and what it changes is seen at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// Whether it must survive a power cut, with all steps before, before anything that follows is
    /// done.
    pub synced: bool,
}

/// A part of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Stores a subscription, in place of what is stored of it. From its `known` the replica
    /// learns what is in the rows.
    PutSubscription(Box<StoredSubscription>),
    /// Stores which tables there are for the user, in place of what is stored of it. What is not named
    /// is not there any more. A table that is stored in a later version stays in that one.
    PutSchema {
        /// Which description it is.
        schema: StoredSchema,
        /// The tables.
        tables: Vec<AllowedTable>,
    },
    /// Forgets a subscription. Rows that nothing else holds go, and so do its staged pieces.
    RemoveSubscription(SubscriptionId),
    /// Rows of a load.
    Batch {
        /// Whose.
        subscription: SubscriptionId,
        /// Their births.
        births: Vec<Birth>,
        /// Their values.
        rows: Vec<Row>,
        /// When each expires, in microseconds since 1970, UTC; none where rows do not.
        expiries: Vec<i64>,
    },
    /// What became of rows.
    Changes {
        /// Whose.
        subscription: SubscriptionId,
        /// What became of them, in order.
        changes: Vec<RowChange>,
    },
    /// Puts changes aside.
    Stage {
        /// Of which lane.
        lane: Lane,
        /// Whose.
        subscription: SubscriptionId,
        /// What became of rows, in order.
        changes: Vec<RowChange>,
    },
    /// Applies what was put aside for a lane, in its order.
    ShowStaged {
        /// The lane.
        lane: Lane,
    },
    /// Forgets what was put aside.
    DropStaged(Staged),
    /// The rows that a subscription holds become its ghosts: they stay visible, and it does not
    /// hold them.
    KeepRows(SubscriptionId),
    /// The ghosts of a subscription go, unless something else holds them.
    DropGhosts(SubscriptionId),
    /// Stores how far a lane is.
    PutLane(StoredLane),
    /// Forgets a lane.
    RemoveLane(Lane),
    /// Stores when a server first heard of the replica: microseconds since 1970, UTC.
    PutSince(i64),
    /// Stores how far what was written in a lane is sent and decided.
    PutWriter(Box<StoredWriter>),
    /// A mutation waits no longer. What was not accepted, and not taken back, is kept for the app.
    Settle {
        /// Which.
        id: MutationId,
        /// What became of it.
        settled: Settled,
    },
    /// The replica is a copy of another one, which may have sent what is held back of this lane: none
    /// of it waits any longer, and it is kept for the app as uncertain.
    HeldBackUncertain(Lane),
    /// Rows as the server has them after what is settled in this step. They count for rows that no
    /// subscription holds and that mutations wait for; of others the changes say it.
    RowsNow(Vec<TableNow>),
}

/// Some of what was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Staged {
    /// All of a lane.
    OfLane(Lane),
    /// All of a subscription.
    OfSubscription(SubscriptionId),
}
