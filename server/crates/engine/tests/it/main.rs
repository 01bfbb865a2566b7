//! The engine through its public face: what a log does, and what is read of it.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod world;

mod alter;
mod exactly_once;
mod follow;
mod golden;
mod histories;
mod logs;
mod reads;
mod reclaim;
mod retention;
mod rules;
mod statements;
mod tables;
mod transfer;
mod work;
