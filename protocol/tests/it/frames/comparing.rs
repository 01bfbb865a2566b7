//! What a client asks to compare, and where the server is.

use protocol::frame::v1::{AskDigest, AskSync, ClientFrame, Digest, Position, ServerFrame, Synced};
use protocol::ids::{Birth, Epoch, Floor, QueryNumber, RequestNumber, RowsSum};

use super::{alice, birth, seq};

pub(super) fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let request = RequestNumber(300);
    vec![
        ("digest", ClientFrame::Digest(AskDigest { request, below: None })),
        ("digest-below", ClientFrame::Digest(AskDigest { request, below: Some(birth(12)) })),
        ("sync", ClientFrame::Sync(AskSync { request })),
    ]
}

pub(super) fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    vec![
        ("digest", ServerFrame::Digest(digest(None))),
        ("digest-below", ServerFrame::Digest(digest(Some(birth(12))))),
        ("synced", ServerFrame::Synced(synced(vec![position()], false))),
        ("synced-later", ServerFrame::Synced(synced(vec![], true))),
    ]
}

pub(super) fn position() -> Position {
    Position { lane: alice(), epoch: Epoch::from_bytes([0xee; 16]), seq: seq(13) }
}

pub(super) fn synced(positions: Vec<Position>, later: bool) -> Synced {
    Synced { request: RequestNumber(300), positions, later }
}

fn digest(below: Option<Birth>) -> Digest {
    let (query, floor, sum) = (QueryNumber(9), Floor(seq(7)), RowsSum::from_bytes([0x5a; 16]));
    Digest { query, seq: seq(12), floor, below, rows: 2, sum }
}
