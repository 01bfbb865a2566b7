//! The local copy of what a device subscribes to, in one SQLite file.
//!
//! A [`Replica`] owns the file and does what the machine wants: each [`Step`](sdk_machine::Step) is
//! one transaction. Applications read through [`Reader`]s, each a connection of its own, so nobody
//! waits for rows that are being written. Everything is synchronous; there is no network and no
//! clock. This is the only crate that names rusqlite. `FORMAT.md` describes the file.
//!
//! | to find | look in |
//! | --- | --- |
//! | opening, and what a step is | `replica.rs`, `step.rs` |
//! | what the machine is told when it starts | `stored.rs`; the tables of the SDK: `sql/` |
//! | replicated tables: columns, indexes, triggers | `tables.rs` |
//! | rows, and who holds them | `rows.rs`, `sets.rs` |
//! | `namespace.table` in SQL | `names.rs` |
//! | reading | `reader.rs`; values: `values.rs` |
//! | what an application may do | `guard.rs`, `local.rs` |
//! | what can go wrong | `error.rs` |

mod error;
mod guard;
mod local;
mod names;
mod reader;
mod replica;
mod rows;
mod sets;
mod step;
mod stored;
mod tables;
mod values;

pub use error::ReplicaError;
pub use local::Executed;
pub use names::subscribed_table;
pub use reader::{QueryResult, Reader};
pub use replica::{Changed, Replica};
