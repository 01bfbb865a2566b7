//! The log of all groups of a node: one database, written by one thread.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `entries` | shard, index | bytes of all entries up to and with it, the entry |
//! | `marks` | kind, shard | the vote; the last entry that was purged; who this node is |

mod cohort;
mod shard_log;
mod state;
mod tail;
mod writer;

use server_engine::ShardNumber;
use server_storage::key::KeyWriter;
use server_storage::{Access, Family, Journal, KeyRange, Layout, Removal};

pub(crate) use cohort::Cohort;
pub(crate) use shard_log::ShardLog;
pub(crate) use state::LogBounds;
pub(crate) use writer::LogWriter;

const ENTRIES: Family = Family { name: "entries", access: Access::Ranges, removal: Removal::Any };
const MARKS: Family = Family { name: "marks", access: Access::Points, removal: Removal::Any };

/// The log's database. It is the journal of the rows, and has one itself.
pub const LOG_LAYOUT: Layout = Layout { families: &[ENTRIES, MARKS], journal: Journal::Own };

/// What a key of [`MARKS`] is about.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Vote = 1,
    Purged = 2,
}

fn mark(kind: Mark, shard: ShardNumber) -> Vec<u8> {
    KeyWriter::new().u8(kind as u8).u16(shard.0).finish()
}

/// Where it is kept who this node is.
pub(crate) fn identity() -> (Family, Vec<u8>) {
    (MARKS, KeyWriter::new().u8(0).finish())
}

fn entry(shard: ShardNumber, index: u64) -> Vec<u8> {
    KeyWriter::new().u16(shard.0).u64(index).finish()
}

fn entries(shard: ShardNumber) -> KeyRange {
    KeyRange::prefix(KeyWriter::new().u16(shard.0).finish())
}

/// The entries from `start`, and before `end`.
fn entries_between(shard: ShardNumber, start: u64, end: u64) -> KeyRange {
    KeyRange::between(entry(shard, start), entry(shard, end))
}
