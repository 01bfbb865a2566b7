//! Version 1.

mod client;
mod schema;
mod server;
pub mod shared;
mod sql;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};

pub use client::{
    AskDigest, AskSync, ClientFrame, Held, Hello, LaneAt, LaneCursor, LaneWriter, LoadOlder,
    Mutate, OpenLane, Subscribe, Token, Unsubscribe, Written,
};
pub use schema::{AllowedTable, Schema};
pub use server::{
    CatchUp, Decided, Delta, Digest, Frontier, Goodbye, InitialDataBatch, LanePosition,
    MutationDecision, Progress, Refused, Reset, RetryAfter, RowChange, RowNow, ServerFrame,
    Subscribed, Synced, TableNow, Undecided, Welcome, WriterState,
};
pub use sql::{Position, Sql, SqlColumn, SqlDone, SqlFailed, SqlOutcome, SqlResult, SqlRows};

use crate::codec::{self, DecodeError};
use crate::limits::{CLIENT_FRAME_BYTES_MAX, SERVER_FRAME_BYTES_MAX};

/// A frame that arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Received<F> {
    /// One of those that this version knows.
    Known(F),
    /// Well-formed, and none of them. A server refuses it politely, a client passes over it.
    Unknown {
        /// What it is called: at most [`MESSAGE_NAME_BYTES_MAX`] bytes of it.
        name: String,
    },
}

/// How much of the name of an unknown message is repeated, in bytes.
pub const MESSAGE_NAME_BYTES_MAX: usize = 32;

/// Reads what a client sent.
///
/// # Errors
/// [`DecodeError`]: the connection cannot go on.
pub fn read_client(bytes: &[u8]) -> Result<Received<ClientFrame>, DecodeError> {
    read(bytes, CLIENT_FRAME_BYTES_MAX, ClientFrame::NAMES)
}

/// Reads what a server sent.
///
/// # Errors
/// [`DecodeError`]: the connection cannot go on.
pub fn read_server(bytes: &[u8]) -> Result<Received<ServerFrame>, DecodeError> {
    read(bytes, SERVER_FRAME_BYTES_MAX, ServerFrame::NAMES)
}

fn read<F: DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    names: &[&str],
) -> Result<Received<F>, DecodeError> {
    match codec::decode(bytes, bytes_max) {
        Ok(frame) => Ok(Received::Known(frame)),
        // Only then is it looked at once more: is it a message at all?
        Err(error) => match codec::decode::<NameOnly>(bytes, bytes_max) {
            Ok(NameOnly(name)) if !names.contains(&&*name) => Ok(Received::Unknown { name }),
            _ => Err(error),
        },
    }
}

/// The name of a message, whatever its content.
struct NameOnly(String);

impl<'de> Deserialize<'de> for NameOnly {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = NameOnly;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map with one entry, the name of a message and its content")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NameOnly, A::Error> {
                let entry = map.next_entry::<String, IgnoredAny>()?;
                let (mut name, _) = entry
                    .ok_or_else(|| serde::de::Error::invalid_length(0, &"a map with one entry"))?;
                name.truncate(name.floor_char_boundary(MESSAGE_NAME_BYTES_MAX));
                Ok(NameOnly(name))
            }
        }

        deserializer.deserialize_map(NameVisitor)
    }
}
