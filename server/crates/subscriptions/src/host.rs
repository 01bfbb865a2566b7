//! What a worker and its host say to each other.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use protocol::frame::v1::Held;
use protocol::ids::{Epoch, Lane, RequestNumber, SeqId};
use server_engine::ShardNumber;

use crate::query::LiveQuery;
use crate::read::Read;

/// Names a connection; the host never gives a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Where the frames for a connection wait to be sent. A handle: clones are the same queue.
pub trait Outbox: Clone + Debug {
    /// How many bytes wait.
    fn waiting(&self) -> usize;
    /// Adds a frame. Never blocks: the worker keeps to the bound.
    fn push(&self, frame: Bytes);
}

/// What a worker wants of its host.
#[derive(Clone, Debug)]
pub enum Action {
    /// To be run on a snapshot that is taken after this was asked for; then
    /// [`Worker::answer`](crate::Worker::answer) or [`Worker::unread`](crate::Worker::unread).
    Read(Read),
    /// A client has been further than this node, or elsewhere: where is the leader? Then
    /// [`Worker::leader`](crate::Worker::leader).
    AskLeader {
        /// The connection.
        connection: ConnectionId,
        /// The shard.
        shard: ShardNumber,
        /// The lane.
        lane: Lane,
    },
}

/// A `subscribe` whose query was compiled.
#[derive(Clone, Debug)]
pub struct Subscribing {
    /// Its number.
    pub request: RequestNumber,
    /// What it means.
    pub query: Arc<LiveQuery>,
    /// What the client has written, for [`Worker::list`](crate::Worker::list); its beginning is enough.
    pub text: Arc<str>,
    /// What the client holds of it.
    pub held: Option<Held>,
    /// How many rows it wants in all.
    pub fetch_last: Option<u64>,
    /// Most rows of a batch.
    pub batch_rows: Option<u32>,
}

/// A subscription, as whoever runs the server sees it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Whose.
    pub connection: ConnectionId,
    /// The `subscribe` that has begun it.
    pub request: RequestNumber,
    /// What it means.
    pub query: Arc<LiveQuery>,
    /// What the client has written.
    pub text: Arc<str>,
    /// Where its feed is, in a word of `SPEC.md`; `loading` as long as rows are to be loaded.
    pub state: &'static str,
}

/// Where a client was in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch.
    pub epoch: Epoch,
    /// The position.
    pub seq: SeqId,
    /// How many connections in a row were cut while they caught up.
    pub cut: u8,
}
