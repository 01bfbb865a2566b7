//! Nodes on real and on failing databases, alone and together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod alone;
mod cuts;
mod damage;
mod endings;
mod failures;
mod snapshots;
mod voters;
mod world;

mod mending;
