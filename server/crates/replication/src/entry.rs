//! The bytes of an entry, logged and sent. Laid out by hand, because every one passes here several
//! times.

use bytes::Bytes;
use openraft::EntryPayload;
use protocol::codec;
use server_storage::key::{KeyReader, KeyWriter};

use crate::ids::{LeaderId, LogId, NodeId};
use crate::records::{self, Malformed, MembershipRecord, VERSION};
use crate::types::{Entry, Payload};

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// An entry as it is logged and sent.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let id = entry.log_id;
    let head = KeyWriter::new()
        .u8(VERSION)
        .u64(id.leader_id.term)
        .u64(id.leader_id.node_id.0)
        .u64(id.index);
    let bytes = match &entry.payload {
        EntryPayload::Blank => head.u8(BLANK),
        EntryPayload::Normal(payload) => head.u8(NORMAL).parts(&payload.bytes),
        EntryPayload::Membership(membership) => {
            let record = MembershipRecord::from(membership);
            head.u8(MEMBERSHIP).parts(&codec::encode(&record))
        }
    };
    bytes.finish()
}

/// The entry of these bytes; it shares them.
pub(crate) fn decode(bytes: &Bytes) -> Result<Entry, Malformed> {
    let mut reader = KeyReader::new(bytes);
    if reader.u8()? != VERSION {
        return Err(Malformed);
    }
    let leader = LeaderId::new(reader.u64()?, NodeId(reader.u64()?));
    let log_id = LogId::new(leader, reader.u64()?);
    let kind = reader.u8()?;
    let payload = match (kind, reader.rest()) {
        (BLANK, []) => EntryPayload::Blank,
        (NORMAL, rest) => EntryPayload::Normal(Payload::new(bytes.slice_ref(rest))),
        (MEMBERSHIP, rest) => {
            EntryPayload::Membership(records::decode::<MembershipRecord>(rest)?.into())
        }
        _ => return Err(Malformed),
    };
    Ok(Entry { log_id, payload })
}
