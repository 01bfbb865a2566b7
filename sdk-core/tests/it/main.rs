//! The SDK through its public face, on a server of the test's that says what it is told to.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod fake;
mod honest;

mod background;
mod connecting;
mod diagnosing;
mod diffs;
mod full_disk;
mod idle;
mod limits;
mod local;
mod obstacles;
mod rejections;
mod requests;
mod sending;
mod statements;
mod suspending;
mod syncing;
mod tidying;
mod together;
mod users;
mod verdicts;
mod watchers;
mod watching;
mod writing;
