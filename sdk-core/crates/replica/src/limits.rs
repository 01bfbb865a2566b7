//! How much may wait on a device.

/// Most mutations that wait to be sent.
pub const OUTBOX_MUTATIONS_MAX: i64 = 100_000;

/// Most bytes of their operations.
pub const OUTBOX_BYTES_MAX: i64 = 64 * 1024 * 1024;
