//! The replica through its public face, held against the plain one in memory.
//!
//! In a browser each test is a function that a page calls, and its files are those of the origin: see
//! `e2e/browser/tests/replica.test.mjs`.

#![cfg_attr(target_family = "wasm", no_main)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[cfg(target_family = "wasm")]
#[macro_use]
extern crate callable;

#[cfg_attr(target_family = "wasm", path = "place/origin.rs")]
#[cfg_attr(not(target_family = "wasm"), path = "place/system.rs")]
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
