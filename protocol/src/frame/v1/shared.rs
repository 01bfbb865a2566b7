//! Frames of which most bytes are the same for every client.
//!
//! What a commit means for a query is encoded once. Where a client was before that commit differs
//! from client to client, so a [`Delta`](super::Delta) is a small head in front of shared bytes.

use serde::Serialize;

use super::RowChange;
use crate::codec;
use crate::ids::{QueryNumber, SeqId};

/// `{"delta": {` with five entries to follow, as [`codec::encode`] writes it.
const DELTA: &[u8] = b"\x81\xa5delta\x85";

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

#[cfg(test)]
mod tests {
    use super::super::{Delta, ServerFrame};
    use super::*;
    use crate::ids::Birth;
    use crate::value::{Row, Value};

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
