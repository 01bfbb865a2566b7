//! Sockets of the platforms.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
