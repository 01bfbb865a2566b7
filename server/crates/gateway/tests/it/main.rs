//! The gateway through its sockets: fake ports behind it, bytes written by hand in front of it.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod socket;
mod world;

mod answers;
mod bounds;
mod connections;
mod files;
mod hostile;
mod log;
mod socket_bounds;
mod socket_sql;
mod sockets;
mod statements;
mod tokens;
