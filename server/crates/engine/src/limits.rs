//! Every bound of the engine, with its unit and its reason.
//!
//! What they bound is part of what an entry does: another value comes with another version of the
//! log, or nodes would differ.

use protocol::limits::FRAME_BYTES_MAX;

/// Largest encoded entry, in bytes, that a leader proposes: one command as large as a message, or
/// many small ones. What is in the log already is applied whatever its size.
pub const ENTRY_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// Most bytes that one commit may read and write: rows before and after, and what the indexes keep
/// of them. A few bytes of a command can name rows of half a megabyte each.
pub(crate) const COMMIT_WORK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// After so many bytes of work, an entry begins no further commit: they are left for another entry,
/// so that what an entry needs in memory stays bounded whatever is in it.
pub(crate) const ENTRY_WORK_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most indexed values that a query scans: each is a walk of its own in every batch and piece.
pub const SCANNED_VALUES_MAX: usize = 128;

/// Most tombstones that one command removes.
pub(crate) const RETIRE_MAX: usize = 10_000;

/// How far ahead of the log's clock the date of a new identity may lie, in microseconds: clocks
/// differ, and an identity must not outlive what is remembered of it.
pub(crate) const CLOCKS_DIFFER_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// How long the answer to a request is kept, in microseconds.
pub(crate) const REQUEST_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
