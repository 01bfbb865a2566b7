//! What can go wrong with a replica.

use protocol::error_code::ErrorCode;
use protocol::ids::TableName;
use sdk_machine::MutationId;
use thiserror::Error;

use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_MUTATIONS_MAX};
use crate::pool::PoolError;

/// Why a replica did not do something. No text has a value of a row in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// Another process has it.
    #[error("another process has this replica open: close it there, or open it in one place only")]
    InUse,
    /// A later version of the SDK has written the file.
    #[error(
        "the replica was written by a later version of the SDK (format {found}, this one knows \
         {known}): update the application"
    )]
    TooNew {
        /// The format of the file.
        found: i64,
        /// The last format that is known here.
        known: i64,
    },
    /// The file is closed for now.
    #[error("the client is suspended: resume it first")]
    Suspended,
    /// The file is damaged.
    #[error(
        "the replica is damaged: it is set aside, and another one is made of what can be read; \
         everything else is loaded again"
    )]
    Damaged,
    /// There is no room.
    #[error("the disk is full: free some space, and it goes on by itself")]
    DiskFull,
    /// The file or its directory cannot be used.
    #[error("the replica's file cannot be used: {0}")]
    File(String),
    /// The SQL is wrong, as SQLite says.
    #[error("{0}")]
    Sql(String),
    /// The SQL names a table that is not here.
    #[error(
        "there is no table {0} here: check its spelling; a table of the server is here once the client \
         was connected, if its user may read it"
    )]
    NoSuchTable(String),
    /// A row breaks a rule of its table.
    #[error("{0}")]
    Constraint(String),
    /// A write is too large.
    #[error("{0}")]
    TooLarge(String),
    /// Too much waits to be sent.
    #[error(
        "too much waits to be sent or was rejected, {} writes or {} MiB: connect, and write when it has \
         gone; retry or discard what was rejected",
        OUTBOX_MUTATIONS_MAX, OUTBOX_BYTES_MAX >> 20
    )]
    OutboxFull,
    /// What waits to be sent is not what was stored.
    #[error(
        "what was written cannot be read any more, so it is not sent: take it back, and write it again"
    )]
    Unreadable(MutationId),
    /// There is no such rejected write, or none that waits.
    #[error(
        "no write of this id waits or was rejected: it was decided, taken back, retried or discarded \
         already"
    )]
    NoSuchRejection,
    /// A call was done before.
    #[error(
        "this request was done already, and is done once: ask for what it has given, and give the next one \
         another number"
    )]
    AlreadyDone,
    /// What is to be replaced may have left the device.
    #[error(
        "this write may have left the device, and cannot be replaced any more: wait until it is \
         decided, and write another one"
    )]
    AlreadySent,
    /// What is to be replaced is not the last of its rows.
    #[error(
        "a later write changes a row of this one, and would be lost: replace or take back that one \
         first, or write another one"
    )]
    WrittenSince,
    /// A write that is not to wait would have to.
    #[error(
        "this write is not to wait, but a write before it is held back: retry or discard what was \
         rejected, or write without `online`"
    )]
    WouldWait,
    /// A row is not here, so nothing is known that it could be compared with.
    #[error(
        "{0}: the row is not on this device, so it cannot be expected to be unchanged: say what is \
         expected of it, or subscribe to it"
    )]
    NothingExpected(String),
    /// A table is not to be written by this user.
    #[error("{0} is not written by this user: ask for the right, or have the server do it")]
    NotWritable(String),
    /// A table is not there any more, or not for this user.
    #[error(
        "{0} is not there any more, or its user may not read it any more: discard this write, or ask \
         for the right"
    )]
    Gone(String),
    /// A write is about tables that no transaction joins.
    #[error(
        "{first} and {second} are not written together: one write stays in the tables of its user, \
         or in the shared ones of one namespace"
    )]
    TwoLanes {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A transaction has ended before it was committed.
    #[error(
        "the transaction has ended and nothing of it was done: a statement was stopped, or OR \
         ROLLBACK or RAISE(ROLLBACK) undid all of it; begin anew"
    )]
    RolledBack,
    /// The SQL does what an application may not do in a replica.
    #[error("{0}")]
    Refused(String),
    /// It was stopped.
    #[error("the query was stopped")]
    Interrupted,
    /// A value that SQLite gave is none of ours.
    #[error("column {column} of row {row} has text that is not UTF-8, or a number that is none")]
    Value {
        /// Which row of the result, from 0.
        row: usize,
        /// Which column.
        column: String,
    },
    /// What the machine wants contradicts what is stored.
    #[error("the replica and what is to be written to it do not fit: {0}")]
    Inconsistent(&'static str),
}

impl ReplicaError {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InUse => ErrorCode::LeaderChanged,
            Self::TooNew { .. } => ErrorCode::UpdateRequired,
            Self::DiskFull | Self::OutboxFull => ErrorCode::Quota,
            Self::Constraint(_) => ErrorCode::Constraint,
            Self::TooLarge(_) => ErrorCode::TooLarge,
            Self::NotWritable(_) => ErrorCode::Forbidden,
            Self::TwoLanes { .. } | Self::NothingExpected(_) => ErrorCode::InvalidRequest,
            Self::Suspended | Self::RolledBack => ErrorCode::Cancelled,
            Self::Sql(_) | Self::Value { .. } => ErrorCode::InvalidRequest,
            Self::NoSuchTable(_) | Self::Gone(_) | Self::NoSuchRejection => ErrorCode::NotFound,
            Self::WouldWait | Self::AlreadySent | Self::WrittenSince | Self::AlreadyDone => {
                ErrorCode::Conflict
            }
            Self::Refused(_) => ErrorCode::Unsupported,
            Self::Interrupted => ErrorCode::Cancelled,
            Self::Damaged | Self::Unreadable(_) | Self::File(_) | Self::Inconsistent(_) => {
                ErrorCode::Internal
            }
        }
    }
}

impl ReplicaError {
    /// Whether the same can succeed later, with nothing changed in the file.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::InUse | Self::DiskFull | Self::File(_) | Self::Interrupted)
    }
}

impl From<PoolError> for ReplicaError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Full => Self::DiskFull,
            PoolError::Failed(why) => Self::File(why),
        }
    }
}

impl From<rusqlite::Error> for ReplicaError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sqlite;
        match error.sqlite_error_code() {
            // A full-text index of the application is damaged, and nothing else.
            Some(Sqlite::DatabaseCorrupt) if is_of_a_module(&error) => Self::of_sql(&error),
            Some(Sqlite::DiskFull) => Self::DiskFull,
            Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => Self::Damaged,
            Some(Sqlite::OperationInterrupted) => Self::Interrupted,
            Some(
                Sqlite::CannotOpen
                | Sqlite::ReadOnly
                | Sqlite::SystemIoFailure
                | Sqlite::PermissionDenied
                | Sqlite::DatabaseBusy
                | Sqlite::DatabaseLocked,
            ) => Self::File(error.to_string()),
            _ => Self::of_sql(&error),
        }
    }
}

fn is_of_a_module(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    extended == Some(rusqlite::ffi::SQLITE_CORRUPT_VTAB)
}

impl ReplicaError {
    fn of_sql(error: &rusqlite::Error) -> Self {
        let text = match error {
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            other => other.to_string(),
        };
        match text.strip_prefix("no such table: ") {
            Some(table) => Self::NoSuchTable(told(table)),
            None if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Self::Constraint(in_words(&text))
            }
            None => Self::Sql(text),
        }
    }
}

/// A table as it is called in messages: one of a server as the server calls it.
pub(crate) fn told(table: &str) -> String {
    TableName::of_replica(table).map_or_else(|| table.to_owned(), |name| name.to_string())
}

/// What SQLite says of a constraint, with tables as they are called in messages.
fn in_words(text: &str) -> String {
    let word = |word: &str| match word.split_once('.') {
        Some((table, column)) => format!("{}.{column}", told(table)),
        None => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
