//! A client's write: operations on rows that are applied all or none, and exactly once.
//!
//! Columns are named by their numbers, so that what a device wrote under an older schema still
//! means the same columns when it arrives.

mod decision;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use decision::{Decision, Reason, Rejection, RowKey, Verdict};

use crate::bounded;
use crate::codec::encode;
use crate::ids::{ClientId, ColumnId, ContentHash, SchemaVersion, SeqId, TableId};
use crate::limits::{COLUMNS_MAX, OPERATIONS_MAX};
use crate::value::{Row, Value};

/// A client's write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    /// What it does, in this order. All tables are of one lane.
    #[serde(deserialize_with = "bounded::vec::<_, _, OPERATIONS_MAX>")]
    pub operations: Vec<Operation>,
}

/// What is done to one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The table.
    pub table: TableId,
    /// The version of the table's schema that the writer knew.
    pub version: SchemaVersion,
    /// What happens.
    pub action: Action,
    /// What must hold of the row for it to happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// What happens to a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A new row. Columns that are not named take their default. Refused where the key exists.
    Insert(#[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")] Vec<ColumnValue>),
    /// A new row, or these columns of the row that has this key.
    Upsert(#[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")] Vec<ColumnValue>),
    /// Some columns of a row. Refused where there is no such row.
    Patch {
        /// The values of the primary key, in key order.
        key: Row,
        /// What becomes of its columns.
        #[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")]
        changes: Vec<ColumnChange>,
    },
    /// The end of a row. Nothing happens where there is none.
    Delete {
        /// The values of the primary key, in key order.
        key: Row,
    },
}

/// A column and what is stored in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnValue(
    /// The column.
    pub ColumnId,
    /// What is stored.
    pub Value,
);

/// What becomes of one column in a patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnChange {
    /// It holds this value from then on.
    Set(ColumnValue),
    /// This number is added to what it holds; NULL counts as 0. For columns declared `MERGE ADD`.
    Add(ColumnValue),
}

/// What a writer expects of a row. Where it does not hold, the operation fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// There is no row with this key.
    Absent,
    /// The last change of the row is this one.
    Unchanged(SeqId),
    /// The row is there and these columns hold these values.
    Values(#[serde(deserialize_with = "bounded::vec::<_, _, COLUMNS_MAX>")] Vec<ColumnValue>),
}

impl ColumnChange {
    /// The column and the value that is set or added.
    pub fn operand(&self) -> &ColumnValue {
        match self {
            Self::Set(operand) | Self::Add(operand) => operand,
        }
    }
}

/// What a mutation is, in 128 bits: the first 16 bytes of the SHA-256 (FIPS 180-4) of the mutation as
/// [`encode`] makes it. A device keeps it beside what it has written, so the chain of a whole outbox
/// is known without reading the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MutationDigest(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl MutationDigest {
    /// Where there is no mutation.
    pub const NONE: Self = Self([0; 16]);

    /// That of a mutation.
    pub fn of(mutation: &Mutation) -> Self {
        Self(first_bytes(Sha256::digest(encode(mutation))))
    }
}

impl ContentHash {
    /// The hash before the first mutation.
    pub const START: Self = Self::from_bytes([0; 16]);

    /// The hash after a mutation, where this is the one before it: the first 16 bytes of the SHA-256
    /// (FIPS 180-4) of the hash before and of the mutation's digest.
    ///
    /// The chain is what tells copies of one replica apart: an equal number with an equal hash is
    /// equal content, there and in all mutations before.
    #[must_use]
    pub fn then(self, digest: MutationDigest) -> Self {
        let chained = Sha256::new().chain_update(self.as_bytes()).chain_update(digest.0);
        Self::from_bytes(first_bytes(chained.finalize()))
    }
}

impl ClientId {
    /// The identity under which a replica goes on that has found itself to be a copy, or a server
    /// whose history was replaced: the first 16 bytes of the SHA-256 (FIPS 180-4) of the identity
    /// before, of `why`, and of what is sent first under the new one.
    ///
    /// Copies that go on with the same mutation come to the same identity, so it is decided once.
    #[must_use]
    pub fn then(self, why: &[u8], first: MutationDigest) -> Self {
        let hash = Sha256::new().chain_update(self.as_bytes()).chain_update(why);
        Self::from_bytes(first_bytes(hash.chain_update(first.0).finalize()))
    }
}

fn first_bytes(hash: impl AsRef<[u8]>) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_ref()[..16]);
    first
}
