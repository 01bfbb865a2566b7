//! What is promised of a server, held against the real one over its socket.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod processes;
mod raw;

mod chat;
mod conformance;
mod devices;
mod digest;
mod hostile;
mod kills;
mod lifecycle;
mod live;
mod liveness;
mod loads;
mod offline;
mod outside;
mod schema;
mod schema_changes;
mod sdk;
mod sdk_faults;
mod sdk_writes;
mod sign_in;
mod sockets;
mod syncing;
mod tenants;
mod typing;
mod writes;
