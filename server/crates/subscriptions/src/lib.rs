//! The live engine: who is told of which change, and how each comes to be up to date.
//!
//! ```text
//! lane ─► partition ─► distinct queries ─► feeds ─► the outbox of a connection
//! ```
//!
//! All subscriptions of a connection in a lane are one *feed*: they advance together, commit by
//! commit, each commit whole or not at all (INV-3). What a commit means for a query is evaluated
//! and encoded once, however many subscribe to it. Nothing here waits for a client: one that does
//! not read fills its outbox, its feed lags, and goes on from storage when there is room.
//!
//! There is no I/O and no clock. A [`Worker`] is told what happens; what it wants to have read it
//! says as an [`Action`].
//!
//! | to find | look in |
//! | --- | --- |
//! | the rules, state by state | `SPEC.md` |
//! | what a subscription means | `query.rs` |
//! | what a commit means for it | `commit.rs` |
//! | who is concerned | `index.rs` |
//! | what a feed is | `feed.rs` |
//! | what is done | `worker.rs`, `worker/dispatch.rs`, `worker/resume.rs`, `worker/load.rs`, `worker/reading.rs`, `worker/writers.rs` |
//! | what it and its host say to each other | `host.rs` |
//! | what is read for it | `read.rs` |
//! | what a client is told of its mutations | `written.rs` |
//! | bounds | `limits.rs` |

mod limits;

mod query;

mod commit;
mod feed;
mod host;
mod index;
mod read;
mod worker;
mod written;

pub use commit::{Entry, LiveCommit};
pub use host::{Action, ConnectionId, Cursor, Listed, Outbox, Subscribing};
pub use limits::Settings;
pub use query::{Asked, LiveQuery, Queries};
pub use read::{Answer, Read, ReadId};
pub use worker::Worker;
pub use written::Writing;
