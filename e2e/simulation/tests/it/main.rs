//! The engine, the live engine and clients in one loop: seeded, in simulated time, with every step
//! of a node and of a network a step of its own.
//!
//! ```text
//! log ─► node: storage ─► pushed ─► worker ─► socket ─► machine ─► replica in memory
//!                            ▲         │ reads
//!                            └─ lost   ▼
//!                                   storage
//! ```
//!
//! Now and then the replica in memory has a twin in a file, which must show what it means.
//!
//! After every step each replica is held against what the lane was at its frontier (INV-4, INV-5),
//! and after the faults have ended everything must come to be complete and equal (INV-8).

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod attempts;
mod client;
mod log;
mod node;
mod schedules;
mod scripts;
mod settings;
mod tables;
mod twin;
mod world;
mod writes;
