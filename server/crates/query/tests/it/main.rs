//! SQL through its public face, on an engine in memory.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod world;

mod alter;
mod bounds;
mod scripts;
mod select;
mod subscriptions;
mod writes;
