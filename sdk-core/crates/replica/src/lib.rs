//! The local copy of what a device subscribes to, in one SQLite file.
//!
//! A [`Replica`] owns the file and does what the machine wants: each [`Step`](sdk_machine::Step) is
//! one transaction. Applications read through [`Reader`]s, each a connection of its own, so nobody
//! waits for rows that are being written. Everything is synchronous; there is no network and no
//! clock. This is the only crate that names rusqlite. `FORMAT.md` describes the file.
//!
//! | to find | look in |
//! | --- | --- |
//! | where it is: a file of the system, or of a browser | `place.rs`; `files.rs`: `file.rs`, `pool.rs` |
//! | opening, and what a step is | `replica.rs`, `step.rs` |
//! | what the machine is told when it starts | `stored.rs`; the tables of the SDK: `sql/` |
//! | which tables there are, and which of them the user may write | `allowed.rs`; how the file follows: `schema.rs` |
//! | replicated tables: columns; indexes, triggers and what else is beside them | `table.rs`, `tables.rs`, `surroundings.rs` |
//! | rows, and who holds them | `rows.rs`, `sets.rs` |
//! | what a transaction has changed, for those who watch | `changed.rs`, `alike.rs` |
//! | `namespace.table` in SQL, and what else its text says | `names.rs`, `said.rs`; `tokens.rs` |
//! | reading | `reader.rs`; values: `values.rs` |
//! | what an application may do | `guard.rs`, `local.rs` |
//! | writing: SQL; by key; what a transaction has done; defaults | `writing.rs`, `options.rs`, `typed.rs`, `capture.rs`, `functions.rs` |
//! | what waits to be sent, what is held back, and what is shown meanwhile | `outbox.rs`, `pending.rs`, `hold.rs`, `rebase.rs` |
//! | what is sent of it, and what becomes of it; how far that is | `sending.rs`, `rejected.rs`; `writers.rs` |
//! | what is done once, for those who call again; how writes were decided that were not heard of | `requests.rs`; `decisions.rs` |
//! | how much room it takes, and what is given back of it; what is kept for a full disk | `storage.rs`, `tidy.rs`, `journal.rs`; `reserve.rs` |
//! | what can go wrong | `error.rs` |

mod again;
mod alike;
mod allowed;
mod capture;
mod changed;
mod decisions;
mod digest;
mod error;
mod expect;
#[cfg(feature = "testing")]
mod faults;
mod file;
mod files;
mod functions;
mod guard;
mod hold;
mod idle;
mod journal;
mod limits;
mod local;
mod names;
mod options;
mod outbox;
mod pending;
mod place;
mod pool;
mod reader;
mod ready;
mod rebase;
mod rejected;
mod replica;
mod requests;
mod rescue;
mod reserve;
mod rows;
mod said;
mod schema;
mod sending;
mod sets;
mod statements;
mod step;
mod storage;
mod stored;
mod surroundings;
mod table;
mod tables;
mod tidy;
mod tokens;
mod typed;
mod values;
mod writers;
mod writing;

pub use alike::{means_the_same, selects_like};
pub use changed::{Changed, ChangedRow, ChangedRows, RowImage};
pub use decisions::{DECISIONS_MAX, Decision};
pub use error::ReplicaError;
pub use functions::Writer;
pub use idle::Idle;
pub use limits::{LET_GO_AT_ONCE_MAX, OUTBOX_BYTES_MAX, OUTBOX_MUTATIONS_MAX, OVERDUE_AT_ONCE_MAX};
pub use options::{Expect, OnReject, WriteOptions};
pub use pending::{PendingMutation, TakenBack, Waiting};
pub use place::Place;
pub use pool::{Pool, PoolError};
pub use reader::{Query, QueryResult, Reader, ResultRow, View};
pub use rejected::RejectedMutation;
pub use replica::Replica;
#[cfg(feature = "testing")]
pub use replica::{can_be_had_alone, hold};
pub use requests::{Answer, REQUEST_CLIENTS_MAX, REQUESTS_MAX, Request};
pub use rescue::Rescued;
pub use said::{subscribed_table, without_values};
pub use sdk_machine::MutationId;
pub use storage::{Held, Storage, TableStorage};
pub use tidy::Tidied;
pub use typed::Change;
pub use writing::{Committed, Executed, Transaction};
