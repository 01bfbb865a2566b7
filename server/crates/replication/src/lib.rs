//! The order of writes: Raft groups in one process, their log, and what applies it.
//!
//! A command goes to the group of its lane's shard, is packed with what waits into one entry, is
//! synced by a quorum, and is applied to the rows on every node. This is the only crate that names
//! openraft; what is stored and sent are bytes of our own.
//!
//! | to find | look in |
//! | --- | --- |
//! | which shard a lane is in | `placement.rs` |
//! | all groups of a node | `node.rs`, `node/core.rs`; one of them: `group.rs`; what it is set up with: `settings.rs` |
//! | waiting commands → one entry | `proposer.rs` |
//! | the log, and its one writer | `log.rs` |
//! | committed entry → rows | `state_machine.rs` |
//! | rows for another node | `snapshot.rs` |
//! | after a failure | `supervisor.rs`; what must hold at a start: `check.rs`, `identity.rs` |
//! | what runs by itself | `tending.rs` |
//! | between nodes | `transport.rs`, `membership.rs` |
//! | every byte stored or sent | `records.rs`, `entry.rs`, `transport/message.rs` |

mod blocking;
mod check;
mod entry;
mod error;
#[cfg(test)]
mod golden;
mod group;
mod identity;
mod ids;
mod log;
mod membership;
mod node;
mod placement;
mod proposer;
mod records;
mod rows;
mod settings;
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
pub use ids::NodeId;
pub use log::LOG_LAYOUT;
pub use node::Node;
pub use placement::{META, Placement};
pub use proposer::Clock;
pub use settings::{Databases, Disk, Health, Ports, Settings};
pub use state_machine::Observer;
pub use transport::{Alone, Transport, TransportError};
