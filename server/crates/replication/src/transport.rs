//! What groups say to each other, and how it gets there.

#[cfg(feature = "testing")]
pub mod memory;
mod message;
mod network;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use server_engine::ShardNumber;
use thiserror::Error;

use crate::ids::NodeId;

#[cfg(test)]
pub(crate) use message::vote_request;
pub(crate) use message::{Answer, Request, SnapshotPart, read_vote_request, voted};
pub(crate) use network::Network;

/// Brings a request to a node and its answer back. One connection of nodes serves all groups.
///
/// Bytes may be lost, and may arrive twice or late; they may not be changed.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` to the group of `shard` at `target`, and waits for the answer. The caller
    /// gives up by dropping it.
    fn call(&self, target: NodeId, shard: ShardNumber, request: Vec<u8>) -> Answering<'_>;
}

/// An answer that is waited for.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Nobody is there.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The node is there, and the group is not open.
    #[error("the shard is not open there")]
    NotOpen,
    /// What arrived was not understood.
    #[error("the message is of another version")]
    Malformed,
}

/// A server that is alone.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Transport for Alone {
    fn call(&self, _: NodeId, _: ShardNumber, _: Vec<u8>) -> Answering<'_> {
        Box::pin(std::future::ready(Err(TransportError::Unreachable)))
    }
}
