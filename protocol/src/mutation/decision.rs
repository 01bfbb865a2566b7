use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::error_code::ErrorCode;
use crate::ids::{ColumnId, ContentHash, SeqId, TableId};
use crate::limits::{COMMIT_BYTES_MAX, KEY_BYTES_MAX, OPERATIONS_MAX, ROW_BYTES_MAX};
use crate::schema::TableSchema;
use crate::value::Row;

/// The server's final answer to a mutation. It never changes, and is kept until the client has
/// confirmed that it knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The chained hash of the mutation that was decided.
    pub hash: ContentHash,
    /// Accepted, or why not.
    pub verdict: Verdict,
    /// Where the lane was right after it: with what was accepted, its last change.
    pub seq: SeqId,
    /// The rows that the mutation names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "bounded::vec::<_, _, OPERATIONS_MAX>")]
    pub keys: Vec<RowKey>,
}

/// Accepted or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All of its operations happened.
    Accepted,
    /// None of them did.
    Rejected(Rejection),
}

/// A row by its primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowKey {
    /// The table.
    pub table: TableId,
    /// The values of the primary key, in key order.
    pub key: Row,
}

/// Why a write was refused: numbers and no sentence, because every node must store the same one,
/// also while two versions of the server run side by side. [`Rejection::describe`] makes the
/// sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Which of the operations, from 0.
    pub operation: u32,
    /// The table of that operation.
    pub table: TableId,
    /// The column, where it is one column's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnId>,
    /// What was wrong.
    pub reason: Reason,
}

/// What was wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// An insert of a key that exists.
    DuplicateKey,
    /// A patch of a row that is not there.
    RowMissing,
    /// A guard that does not hold.
    GuardFailed,
    /// NULL in a column that refuses it.
    NotNull,
    /// A value that the column's type does not admit.
    Value,
    /// A sum that the column's type does not admit.
    Sum,
    /// An addition to a column that is not `MERGE ADD`.
    NotAdded,
    /// A column that is named twice.
    ColumnTwice,
    /// A key without all of its columns.
    KeyIncomplete,
    /// A patch of the primary key.
    KeyChanged,
    /// A primary key or index entry that is too large.
    KeyTooLarge,
    /// A row that is too large.
    RowTooLarge,
    /// A commit that is too large.
    CommitTooLarge,
    /// A table that is not there, or not any more.
    TableUnknown,
    /// A column that is not there, or not any more.
    ColumnUnknown,
    /// A table of another lane.
    LaneOfTable,
    /// A write that the access rule does not allow this user.
    Forbidden,
    /// A row that belongs to somebody else.
    NotOwner,
    /// The client took it back before it was decided.
    Cancelled,
}

impl Reason {
    /// The code an application matches on.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::DuplicateKey | Self::NotNull | Self::Value | Self::Sum => ErrorCode::Constraint,
            Self::RowMissing => ErrorCode::NotFound,
            Self::GuardFailed => ErrorCode::Conflict,
            Self::NotAdded
            | Self::ColumnTwice
            | Self::KeyIncomplete
            | Self::KeyChanged
            | Self::LaneOfTable => ErrorCode::InvalidRequest,
            Self::KeyTooLarge | Self::RowTooLarge | Self::CommitTooLarge => ErrorCode::TooLarge,
            Self::TableUnknown | Self::ColumnUnknown => ErrorCode::SchemaMismatch,
            Self::Forbidden | Self::NotOwner => ErrorCode::Forbidden,
            Self::Cancelled => ErrorCode::Cancelled,
        }
    }
}

impl Rejection {
    /// The code an application matches on.
    pub fn code(&self) -> ErrorCode {
        self.reason.code()
    }

    /// The reason as a sentence, with the names that `schema` gives; without a schema, or where it
    /// does not know them, with numbers.
    pub fn describe(&self, schema: Option<&TableSchema>) -> String {
        let table = match schema {
            Some(schema) => schema.name.to_string(),
            None => format!("table number {}", self.table.0),
        };
        let known = |column| schema?.column(column);
        let place = match (self.column, self.column.and_then(known)) {
            (Some(_), Some(column)) => format!("{table}, column {}", column.name),
            (Some(number), None) => format!("{table}, column number {}", number.0),
            (None, _) => table,
        };
        format!("{place}: {}", self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::DuplicateKey => "a row with this primary key exists: update it, or use another",
            Self::RowMissing => "there is no row with this primary key: insert it first",
            Self::GuardFailed => "the row is not as it was expected: read it again and decide anew",
            Self::NotNull => "it is NOT NULL: give it a value",
            Self::Value => "it does not take this value: write one of its type and range",
            Self::Sum => "the sum is out of its range: add less, or declare a wider type",
            Self::NotAdded => "it is not declared MERGE ADD: set it instead of adding to it",
            Self::ColumnTwice => "it is named twice: name each column once",
            Self::KeyIncomplete => "the primary key is not whole: give each of its columns",
            Self::KeyChanged => "a primary key does not change: delete the row and insert another",
            Self::KeyTooLarge => {
                return write!(f, "a key takes at most {KEY_BYTES_MAX} bytes: shorten it");
            }
            Self::RowTooLarge => {
                return write!(
                    f,
                    "a row takes at most {ROW_BYTES_MAX} bytes: keep large content in a file"
                );
            }
            Self::CommitTooLarge => {
                return write!(
                    f,
                    "one write takes at most {COMMIT_BYTES_MAX} bytes: split it into several"
                );
            }
            Self::TableUnknown => "there is no such table any more: drop this write, or edit it",
            Self::ColumnUnknown => "there is no such column any more: write without it",
            Self::LaneOfTable => {
                "one write stays in the tables of one user, or of one namespace: split it"
            }
            Self::Forbidden => "this user may not write here: ask for the right",
            Self::NotOwner => "only the owner of a row changes or deletes it, or gives it away",
            Self::Cancelled => "it was taken back before it was decided",
        };
        f.write_str(sentence)
    }
}
