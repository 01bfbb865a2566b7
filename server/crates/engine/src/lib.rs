//! What a command means: the deterministic state machine of one shard.
//!
//! Entries of the Raft log go in ([`Shard::apply`]); one atomic batch, the outcome of each command
//! and the net changes of each commit come out. Reading is pure: [`load`](View::load) goes down a
//! partition by birth, [`catch_up`](View::catch_up) brings what has changed after a position.
//! Nothing here waits, reads a clock, or draws a number.
//!
//! | to find | look in |
//! | --- | --- |
//! | what enters the log | `command.rs`; its bounds: `limits.rs` |
//! | what an entry does | `apply.rs`: outcomes, `commit.rs`: net changes, `merge.rs`: one row |
//! | exactly once | `decide.rs`, `client.rs` |
//! | where things lie | `keys.rs`, `rows.rs`, `change_index.rs`, `partition.rs`, `stores.rs` |
//! | tables and rights | `catalog.rs`, `catalog/toward.rs`, `access.rs` |
//! | what ends | `retention.rs`, and `wanted.rs` for when |
//! | how a shard goes to another node | `transfer.rs`, and `stores/reclaim.rs` for what it leaves |
//! | what subscribers read | `view.rs`, `load.rs`, `catch_up.rs`; what statements read: `scan.rs` |

mod command;
mod limits;

mod apply;
mod client;
mod commit;
mod decide;
mod merge;

mod access;
mod catalog;

mod change_index;
mod keys;
mod partition;
mod rows;
mod slot;
mod stores;
mod transaction;

mod retention;
mod wanted;

mod transfer;

mod catch_up;
mod load;
mod scan;
mod view;
mod walk;

mod error;

pub use access::{Actor, Role, is_readable, is_writable, may_read, may_write};
pub use apply::{Applied, Shard, recount, sum};
pub use catalog::{Catalog, Table};
pub use catch_up::{CatchUp, CatchUpLimits, Piece, Resuming, Told, What};
pub use client::ClientState;
pub use command::{
    Command, Confirm, EncodedCommand, Entry, Mutate, Numbered, Outcome, Request, Time, Undecided,
    Write,
};
pub use commit::{Change, Commit, Decided};
pub use error::EngineError;
pub use keys::{LAYOUT, of_replication};
pub use limits::{ENTRY_BYTES_MAX, SCANNED_VALUES_MAX};
pub use load::{LoadBatch, LoadLimits, Loaded};
pub use partition::PartitionState;
pub use rows::{Image, RowView};
pub use scan::Scanned;
pub use slot::{SLOTS, ShardNumber, Slot};
pub use stores::Stores;
pub use transaction::ContentSum;
pub use transfer::{Export, Import};
pub use view::{LaneView, Query, ReadError, ScannedRange, View};
pub use wanted::Retention;
