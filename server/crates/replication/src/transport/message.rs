use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::entry;
use crate::ids::{LogId, NodeId, Vote};
use crate::records::{LogIdRecord, Malformed, VoteRecord};
use crate::snapshot::Part;
use crate::types::TypeConfig;

/// What one group asks another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// To append entries, or to go on following.
    Append(Append),
    /// To be voted for.
    Vote { vote: VoteRecord, last: Option<LogIdRecord> },
    /// To take a part of a snapshot.
    Snapshot(SnapshotPart),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Append {
    vote: VoteRecord,
    previous: Option<LogIdRecord>,
    entries: Vec<ByteBuf>,
    committed: Option<LogIdRecord>,
}

/// A part of a snapshot. Parts of one transfer are numbered; a transfer with a part missing begins
/// anew.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPart {
    pub(crate) vote: VoteRecord,
    /// Which transfer: drawn by the sender.
    pub(crate) transfer: u64,
    pub(crate) number: u64,
    /// `None` behind the last one: the snapshot is to be installed.
    pub(crate) part: Option<Part>,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Appended(Appended),
    Voted {
        vote: VoteRecord,
        granted: bool,
        last: Option<LogIdRecord>,
    },
    /// The part was taken, or the snapshot installed, by a node with this vote.
    Taken(VoteRecord),
    /// Another part was expected: the transfer begins anew.
    Again,
    /// The group is not running there, or has stopped.
    Stopped,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Appended {
    All,
    UpTo(Option<LogIdRecord>),
    Conflict,
    HigherVote(VoteRecord),
}

fn record(id: Option<LogId>) -> Option<LogIdRecord> {
    id.map(LogIdRecord::from)
}

fn id(record: Option<LogIdRecord>) -> Option<LogId> {
    record.map(LogId::from)
}

impl From<AppendEntriesRequest<TypeConfig>> for Request {
    fn from(request: AppendEntriesRequest<TypeConfig>) -> Self {
        let entries = request.entries.iter();
        Self::Append(Append {
            vote: request.vote.into(),
            previous: record(request.prev_log_id),
            entries: entries.map(|entry| ByteBuf::from(entry::encode(entry))).collect(),
            committed: record(request.leader_commit),
        })
    }
}

impl TryFrom<Append> for AppendEntriesRequest<TypeConfig> {
    type Error = Malformed;

    fn try_from(append: Append) -> Result<Self, Malformed> {
        let entries = append
            .entries
            .into_iter()
            .map(|bytes| entry::decode(&bytes::Bytes::from(bytes.into_vec())));
        Ok(Self {
            vote: append.vote.into(),
            prev_log_id: id(append.previous),
            entries: entries.collect::<Result<_, _>>()?,
            leader_commit: id(append.committed),
        })
    }
}

impl From<AppendEntriesResponse<NodeId>> for Appended {
    fn from(response: AppendEntriesResponse<NodeId>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::All,
            AppendEntriesResponse::PartialSuccess(upto) => Self::UpTo(record(upto)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<NodeId> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::All => Self::Success,
            Appended::UpTo(upto) => Self::PartialSuccess(id(upto)),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

/// A request for a vote.
pub(crate) fn vote_request(request: &VoteRequest<NodeId>) -> Request {
    Request::Vote { vote: request.vote.into(), last: record(request.last_log_id) }
}

pub(crate) fn read_vote_request(
    vote: VoteRecord,
    last: Option<LogIdRecord>,
) -> VoteRequest<NodeId> {
    VoteRequest::new(Vote::from(vote), id(last))
}

/// The answer to it.
pub(crate) fn voted(response: &VoteResponse<NodeId>) -> Answer {
    let (granted, last) = (response.vote_granted, record(response.last_log_id));
    Answer::Voted { vote: response.vote.into(), granted, last }
}

pub(crate) fn read_voted(
    vote: VoteRecord,
    granted: bool,
    last: Option<LogIdRecord>,
) -> VoteResponse<NodeId> {
    VoteResponse::new(Vote::from(vote), id(last), granted)
}
