//! The order of writes: Raft groups in one process, their log, and what applies it.
//!
//! A command goes to the group of its lane's shard, is packed with what waits into one entry, is
//! synced by a quorum, and is applied to the rows on every node. This is the only crate that names
//! openraft; what is stored and sent are bytes of our own.
//!
//! | to find | look in |
//! | --- | --- |
//! | which shard a lane is in | `placement.rs` |
//! | all groups of a node | `node.rs`; one of them: `group.rs` |
//! | waiting commands → one entry | `proposer.rs` |
//! | the log, and its one writer | `log.rs` |
//! | committed entry → rows | `state_machine.rs` |
//! | rows for another node | `snapshot.rs` |
//! | after a failure | `supervisor.rs`; what must hold at a start: `check.rs`, `identity.rs` |
//! | what runs by itself | `tending.rs` |
//! | between nodes | `transport.rs`, `membership.rs` |
//! | every byte stored or sent | `encoding.rs` |

mod blocking;
mod check;
mod encoding;
mod error;
#[cfg(test)]
mod golden;
mod group;
mod identity;
mod log;
mod membership;
mod node;
mod placement;
mod proposer;
mod rows;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite;
mod supervisor;
mod tending;
pub mod transport;
mod types;

pub use error::{ProposeError, ReplicationError};
pub use group::Timing;
pub use log::LOG_LAYOUT;
pub use node::{Databases, Disk, Health, Node, Ports, Settings};
pub use placement::{META, Placement};
pub use proposer::Clock;
pub use state_machine::Observer;
pub use transport::{Alone, Transport, TransportError};
pub use types::NodeId;
