//! The live engine through its public face.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod bounds;
mod counters;
mod spec;
mod tables;
mod world;
mod writers;
