//! What a write, and all that waits, may take. What is more is refused at once, on the device.

/// Largest row, in bytes, as it is sent: a little more than its values. More is `too_large`: keep files
/// beside rows, and not in them.
pub const ROW_BYTES_MAX: usize = protocol::limits::ROW_BYTES_MAX;

/// Largest primary key of a row, in bytes. More is `too_large`.
pub const KEY_BYTES_MAX: usize = protocol::limits::KEY_BYTES_MAX;

/// Most rows of one write: a statement, a batch or a transaction. More is `too_large`: split it.
pub const WRITE_ROWS_MAX: usize = protocol::limits::OPERATIONS_MAX;

/// Largest write, in bytes, as it is sent. More is `too_large`: split it.
pub const WRITE_BYTES_MAX: usize = protocol::limits::COMMIT_BYTES_MAX;

/// Most writes that wait for the server, or were rejected and are not dealt with. One more is `quota`,
/// until some have gone: connect, or deal with what was rejected.
pub const OUTBOX_WRITES_MAX: u64 = sdk_replica::OUTBOX_MUTATIONS_MAX.unsigned_abs();

/// Most bytes of them. More is `quota`, in the same way.
pub const OUTBOX_BYTES_MAX: u64 = sdk_replica::OUTBOX_BYTES_MAX.unsigned_abs();

/// Most calls with a [`Request`](crate::Request) of one client that are not answered. One more is
/// `invalid_request`.
pub const REQUESTS_MAX: u64 = sdk_replica::REQUESTS_MAX;

/// Most subscriptions of one client. One more is refused as it is asked for.
pub const SUBSCRIPTIONS_MAX: usize = protocol::limits::CONNECTION_SUBSCRIPTIONS_MAX;
