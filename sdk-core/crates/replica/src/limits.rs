//! How much may wait on a device.

/// Most mutations that wait to be sent.
pub const OUTBOX_MUTATIONS_MAX: i64 = 100_000;

/// Most bytes of their operations.
pub const OUTBOX_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// Most rows that are told one by one when they change. Of more, their whole tables count as changed:
/// to look at so many rows costs as much as to run a query again.
pub(crate) const CHANGED_ROWS_MAX: usize = 256;

/// Most bytes of them, as they were and as they are.
pub(crate) const CHANGED_BYTES_MAX: usize = 256 * 1024;

/// Most writes that are let go at once: whoever waits for the writer has its turn between.
pub const LET_GO_AT_ONCE_MAX: usize = 256;

/// Most writes that are said at once to have expired.
pub const OVERDUE_AT_ONCE_MAX: usize = 100;
