use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetwork, RaftNetworkFactory};
use server_engine::ShardNumber;

use super::message::{self, Answer, Request, SnapshotPart};
use super::{Transport, TransportError};
use crate::error::ReplicationError;
use crate::ids::{NodeId, Vote};
use crate::records;
use crate::snapshot::{self, Part, ShardSnapshot};
use crate::types::{Snapshot, TypeConfig};

/// How long one part of a snapshot may take to be stored.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a snapshot may take to be switched to: all of it is written out.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);

/// The way from one group to the same group on other nodes.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) shard: ShardNumber,
    pub(crate) transport: Arc<dyn Transport>,
    /// How long a node that cannot be reached is left alone.
    pub(crate) retry: Duration,
}

/// The way to one of them.
#[derive(Debug)]
pub(crate) struct Peer {
    network: Network,
    target: NodeId,
}

type Failed = RPCError<NodeId, EmptyNode, RaftError<NodeId>>;

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, _: &EmptyNode) -> Peer {
        Peer { network: self.clone(), target }
    }
}

impl Peer {
    async fn call(&self, request: &Request, limit: Duration) -> Result<Answer, TransportError> {
        let Network { shard, transport, .. } = &self.network;
        let call = transport.call(self.target, *shard, records::encode(request));
        let answer = tokio::time::timeout(limit, call).await;
        let answer = answer.map_err(|_| TransportError::Unreachable)??;
        match records::decode(&answer).map_err(|_| TransportError::Malformed)? {
            Answer::Stopped => Err(TransportError::NotOpen),
            answer => Ok(answer),
        }
    }

    async fn send_part(
        &self,
        (vote, transfer, number): (Vote, u64, u64),
        part: Option<Part>,
    ) -> Result<Vote, StreamingFailed> {
        let limit = if part.is_some() { PART_TIMEOUT } else { INSTALL_TIMEOUT };
        let part = SnapshotPart { vote: vote.into(), transfer, number, part };
        match self.call(&Request::Snapshot(part), limit).await {
            Ok(Answer::Taken(vote)) => Ok(vote.into()),
            Ok(_) => Err(Unreachable::new(&TransportError::Malformed).into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<NodeId>, StreamingFailed> {
        let ShardSnapshot::View(rows) = *snapshot.snapshot else {
            return Err(Unreachable::new(&ReplicationError::Damaged { what: "snapshot" }).into());
        };
        let failed = |error: ReplicationError| Unreachable::new(&error);
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| failed(ReplicationError::Random(error.to_string())))?;
        let transfer = u64::from_be_bytes(random);
        let mut parts = snapshot::send(rows).map_err(failed)?;
        let mut number = 0;
        while let Some(part) = parts.recv().await {
            let part = part.map_err(failed)?;
            let theirs = self.send_part((vote, transfer, number), Some(part)).await?;
            if theirs > vote {
                return Ok(SnapshotResponse::new(theirs));
            }
            number += 1;
        }
        let theirs = self.send_part((vote, transfer, number), None).await?;
        Ok(SnapshotResponse::new(theirs))
    }
}

type StreamingFailed = StreamingError<TypeConfig, Fatal<NodeId>>;

fn failed(error: TransportError) -> Failed {
    match error {
        TransportError::Unreachable | TransportError::NotOpen => Unreachable::new(&error).into(),
        TransportError::Malformed => NetworkError::new(&error).into(),
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failed> {
        match self.call(&request.into(), option.hard_ttl()).await {
            Ok(Answer::Appended(appended)) => Ok(appended.into()),
            Ok(_) => Err(failed(TransportError::Malformed)),
            Err(error) => Err(failed(error)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failed> {
        match self.call(&message::vote_request(&request), option.hard_ttl()).await {
            Ok(Answer::Voted { vote, granted, last }) => {
                Ok(message::read_voted(vote, granted, last))
            }
            Ok(_) => Err(failed(TransportError::Malformed)),
            Err(error) => Err(failed(error)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.network.retry))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingFailed> {
        let mut sending = pin!(self.send_snapshot(vote, snapshot));
        let mut cancel = pin!(cancel);
        tokio::select! {
            sent = &mut sending => sent,
            closed = &mut cancel => Err(closed.into()),
        }
    }
}
