//! The exact bytes of the log, of its marks, and of what nodes say to each other.

use std::collections::BTreeSet;

use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry;
use crate::ids::{LeaderId, LogId, Membership, NodeId, StoredMembership, Vote};
use crate::records::{self, AppliedState, LogIdRecord, VoteRecord};
use crate::snapshot::Part;
use crate::transport::{Answer, Request, SnapshotPart, vote_request, voted};
use crate::types::{Entry, Payload};

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, NodeId(0xa1)), index)
}

fn membership() -> Membership {
    let (old, new) = ([1, 2, 3].map(NodeId), [2, 3, 4].map(NodeId));
    let voters = vec![BTreeSet::from(old), BTreeSet::from(new)];
    Membership::new(voters, BTreeSet::from([NodeId(9)]))
}

fn entries() -> Vec<(&'static str, Entry)> {
    let payload = Payload::new(b"an entry of the engine".as_slice());
    let entry = |index, payload| Entry { log_id: id(5, index), payload };
    vec![
        ("blank", entry(7, EntryPayload::Blank)),
        ("normal", entry(8, EntryPayload::Normal(payload))),
        ("membership", entry(9, EntryPayload::Membership(membership()))),
    ]
}

/// The bytes of a message, after reading them again.
fn both_ways<T: Serialize + DeserializeOwned>(message: &T) -> Vec<u8> {
    let bytes = records::encode(message);
    let read: T = records::decode(&bytes).unwrap();
    assert_eq!(records::encode(&read), bytes);
    bytes
}

#[test]
fn stored_bytes_do_not_change() {
    let mut lines = Vec::new();
    for (name, entry) in entries() {
        let bytes = entry::encode(&entry);
        assert_eq!(entry::decode(&bytes.clone().into()).unwrap(), entry);
        lines.push((format!("entry-{name}"), bytes));
    }
    let applied = AppliedState {
        log_id: Some(id(5, 9)),
        membership: StoredMembership::new(Some(id(4, 2)), membership()),
        installed: Some(id(5, 6)),
    };
    for (name, state) in [("nothing", AppliedState::default()), ("something", applied)] {
        assert_eq!(AppliedState::decode(&state.encode()).unwrap(), state);
        lines.push((format!("applied-{name}"), state.encode()));
    }
    lines.push(("log-id".to_owned(), both_ways(&LogIdRecord::from(id(5, 9)))));
    for (name, vote) in
        [("asked", Vote::new(6, NodeId(0xa1))), ("committed", Vote::new_committed(6, NodeId(0xa1)))]
    {
        lines.push((format!("vote-{name}"), both_ways(&VoteRecord::from(vote))));
    }
    seeds::golden::check(env!("CARGO_MANIFEST_DIR"), "stored.hex", &lines);
}

#[test]
fn sent_bytes_do_not_change() {
    let vote = Vote::new_committed(6, NodeId(0xa1));
    let append = AppendEntriesRequest {
        vote,
        prev_log_id: Some(id(5, 6)),
        entries: entries().into_iter().map(|(_, entry)| entry).collect(),
        leader_commit: Some(id(5, 5)),
    };
    let part = |part| SnapshotPart { vote: vote.into(), transfer: 0xfeed, number: 3, part };
    let requests = [
        ("append", append.into()),
        ("vote", vote_request(&VoteRequest::new(vote, Some(id(5, 9))))),
        ("snapshot-state", Request::Snapshot(part(Some(Part::State(b"a state".to_vec()))))),
        ("snapshot-rows", Request::Snapshot(part(Some(Part::Rows(b"some rows".to_vec()))))),
        ("snapshot-end", Request::Snapshot(part(None))),
    ];
    let answers = [
        ("appended", Answer::Appended(AppendEntriesResponse::Success.into())),
        ("conflict", Answer::Appended(AppendEntriesResponse::Conflict.into())),
        ("up-to", Answer::Appended(AppendEntriesResponse::PartialSuccess(Some(id(5, 7))).into())),
        ("higher", Answer::Appended(AppendEntriesResponse::HigherVote(vote).into())),
        ("voted", voted(&VoteResponse::new(vote, Some(id(5, 9)), true))),
        ("taken", Answer::Taken(vote.into())),
        ("again", Answer::Again),
        ("stopped", Answer::Stopped),
    ];
    let mut lines: Vec<_> = requests
        .iter()
        .map(|(name, request)| (format!("request-{name}"), both_ways(request)))
        .collect();
    lines.extend(answers.iter().map(|(name, a)| (format!("answer-{name}"), both_ways(a))));
    seeds::golden::check(env!("CARGO_MANIFEST_DIR"), "sent.hex", &lines);
}

/// Bytes that somebody cut off or changed are refused, or something sound.
#[test]
fn changed_bytes_do_no_harm() {
    for (_, entry) in entries() {
        let bytes = entry::encode(&entry);
        for at in 0..bytes.len() {
            let _ = entry::decode(&bytes[..at].to_vec().into());
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let _ = entry::decode(&changed.into());
            }
        }
    }
}
