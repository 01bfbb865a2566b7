#![doc = include_str!("../README.md")]
//!
//! | to find | look in |
//! | --- | --- |
//! | what is called | `core.rs`, `core/` |
//! | what is told unasked | `events.rs` |
//! | objects of JavaScript: those that come, those that go; values | `given.rs`, `told.rs`, `objects.rs`; `values.rs` |
//! | sockets | `socket.rs` |
//! | files | `files.rs`: `files/origin.rs` of browsers, `files/host.rs` of Node |
//! | what tests in a browser want | `testing.rs` |
#![cfg(all(target_family = "wasm", target_os = "unknown"))]

mod core;
mod events;
mod files;
mod given;
mod objects;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod told;
mod values;

pub use core::Core;
pub use files::Files;
pub use given::{Config, Given, Host, Options};
