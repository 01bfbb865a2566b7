//! Frames of which most bytes are the same for every client.
//!
//! What a commit means for a query is encoded once. Where a client was before that commit differs
//! from client to client, so a [`Delta`](super::Delta) is a small head in front of shared bytes, and so
//! is a [`Decided`](super::Decided).

use serde::Serialize;

use super::{MutationDecision, RowChange, TableNow};
use crate::codec;
use crate::ids::{ClientId, Lane, QueryNumber, SeqId};

/// `{"delta": {` with five entries to follow, as [`codec::encode`] writes it.
const DELTA: &[u8] = b"\x81\xa5delta\x85";

/// `{"decided": {` as [`codec::encode`] writes it, before how many entries follow.
const DECIDED: &[u8] = b"\x81\xa7decided";

#[derive(Serialize)]
struct DecidedHead<'a> {
    lane: &'a Lane,
    client: ClientId,
    previous: SeqId,
    seq: SeqId,
}

#[derive(Serialize)]
struct DecidedTail<'a> {
    decision: &'a MutationDecision,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tables: &'a [TableNow],
}

#[derive(Serialize)]
struct Head {
    previous: SeqId,
    seq: SeqId,
    end: bool,
}

#[derive(Serialize)]
struct Tail<'a> {
    query: QueryNumber,
    changes: &'a [RowChange],
}

/// The part of a delta that is the same for all who subscribe to `query`.
pub fn delta_tail(query: QueryNumber, changes: &[RowChange]) -> Vec<u8> {
    codec::encode(&Tail { query, changes })
}

/// The whole frame: the bytes of a [`ServerFrame::Delta`](super::ServerFrame::Delta).
pub fn delta(previous: SeqId, seq: SeqId, end: bool, tail: &[u8]) -> Vec<u8> {
    let head = codec::encode(&Head { previous, seq, end });
    // The entries of both maps become those of one.
    let parts = [DELTA, &head[1..], &tail[1..]];
    parts.concat()
}

/// The part of a decision that is the same wherever its client is.
pub fn decided_tail(decision: &MutationDecision, tables: &[TableNow]) -> Vec<u8> {
    codec::encode(&DecidedTail { decision, tables })
}

/// The whole frame: the bytes of a [`ServerFrame::Decided`](super::ServerFrame::Decided).
pub fn decided(lane: &Lane, client: ClientId, previous: SeqId, seq: SeqId, tail: &[u8]) -> Vec<u8> {
    let head = codec::encode(&DecidedHead { lane, client, previous, seq });
    // The entries of both maps become those of one, which says how many they are: each has few.
    let count = (head[0] & 0x0f) + (tail[0] & 0x0f);
    let parts = [DECIDED, &[0x80 | count], &head[1..], &tail[1..]];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::super::{Decided, Delta, RowNow, ServerFrame};
    use super::*;
    use crate::ids::{Birth, ColumnId, ContentHash, MutationNumber, TableId};
    use crate::mutation::Verdict;
    use crate::value::{Row, Value};

    #[test]
    fn a_decision_in_two_parts_has_the_bytes_of_the_frame() {
        let lane: Lane = "shared/app".parse().unwrap();
        let client = ClientId::from_bytes([7; 16]);
        let rows = vec![RowNow::Gone([Value::Integer(7)].into_iter().collect())];
        let table = TableNow { table: TableId(70), columns: vec![ColumnId(1)], rows };
        for (number, tables) in [(1, vec![]), ((1 << 53) - 1, vec![table])] {
            let (seq, previous) = (SeqId::new(number).unwrap(), SeqId::ZERO);
            let (hash, verdict) = (ContentHash::START, Verdict::Accepted);
            let number = MutationNumber::new(number).unwrap();
            let decision = MutationDecision { number, hash, verdict, seq };
            let tail = decided_tail(&decision, &tables);
            let assembled = decided(&lane, client, previous, seq, &tail);
            let lane = lane.clone();
            let decided = Decided { lane, client, previous, seq, decision, tables };
            assert_eq!(assembled, codec::encode(&ServerFrame::Decided(Box::new(decided))));
        }
    }

    #[test]
    fn a_delta_in_two_parts_has_the_bytes_of_the_frame() {
        for number in [1, 200, 1 << 20, (1 << 53) - 1] {
            let seq = SeqId::new(number).unwrap();
            let (previous, query) = (SeqId::ZERO, QueryNumber(number));
            let row: Row = [Value::Integer(7), Value::Null].into_iter().collect();
            let changes =
                vec![RowChange::Row(Birth(seq), row.clone()), RowChange::Left(Birth(seq), row)];
            for end in [false, true] {
                let assembled = delta(previous, seq, end, &delta_tail(query, &changes));
                let changes = changes.clone();
                let frame = ServerFrame::Delta(Delta { previous, seq, end, query, changes });
                assert_eq!(assembled, codec::encode(&frame));
            }
        }
    }
}
