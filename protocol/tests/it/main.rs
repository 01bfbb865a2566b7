//! The protocol through its public face: bytes that never change, bytes that are hostile, and the
//! rules of schemas and predicates.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod errors;
mod frames;
mod golden;
mod hostile;
mod mutations;
mod predicates;
mod schemas;
