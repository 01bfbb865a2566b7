//! Sockets of the platforms.

pub(crate) mod native;
