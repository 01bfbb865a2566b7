//! The replica through its public face, held against the plain one in memory.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "place/system.rs"]
mod place;
mod world;

mod allowed;
mod capture;
mod captures;
// In a browser there is one connection, so nobody sees how a row was, and all of a table count: `pooled.rs`.
#[cfg(not(target_family = "wasm"))]
mod changes;
mod crashes;
mod cuts;
mod damage;
mod digests;
mod expecting;
mod formats;
mod histories;
mod holding;
mod local;
mod pooled;
mod reading;
mod ready;
mod rejections;
mod replacing;
mod requests;
mod rows_told;
mod schema;
mod sending;
mod settled;
mod storage;
mod syncs;
mod tidying;
mod unreadable;
mod writing;
