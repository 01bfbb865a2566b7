//! `GET /v1/sync`: a live connection.
//!
//! ```text
//!                 ┌───────── one task ─────────┐
//!  the client ───►│ hello, subscribe, token, … │───► SubscriptionPort, SqlPort
//!             ◄───│ everything that waits      │◄─── SendQueue
//!                 └────────────────────────────┘
//! ```
//!
//! What is to be sent waits in one queue, and goes out in one write. A connection costs a task, a
//! queue, and two small buffers: most connections are idle most of the time.
//!
//! | to find | look in |
//! | --- | --- |
//! | from HTTP to a WebSocket | `socket/upgrade.rs` |
//! | from the first frame to the last | `socket/session.rs` |
//! | what a client says, and what is done for it | `socket/frames.rs`, `socket/handle.rs` |
//! | what waits for a client | `socket/send_queue.rs` |
//! | statements | `socket/statements.rs` |

mod frames;
mod handle;
mod send_queue;
mod session;
mod statements;
pub(crate) mod upgrade;

pub use send_queue::SendQueue;
pub(crate) use session::serve;
