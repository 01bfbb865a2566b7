//! Names, positions and identities. Each is a type of its own, so that a birth cannot be passed
//! where a frontier is meant.

mod identity;
mod name;
mod position;

pub use identity::{
    Basis, ClientId, ContentHash, Epoch, ParseIdentityError, RequestId, RowsSum, SchemaHash,
};
pub use name::{Lane, Name, NameError, TableName, TenantId, TenantIdError};
pub use position::{Birth, Floor, MutationNumber, PositionError, SeqId};

use serde::{Deserialize, Serialize};

/// Numbers the tables of a server. A dropped table's number is never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId(pub u32);

/// Numbers the columns of a table, also those that were dropped: rows are stored by column id, so
/// a schema change rewrites none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnId(pub u16);

/// Numbers the indexes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndexId(pub u16);

/// Counts the changes of one table's schema, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaVersion(pub u32);

/// Numbers the subscribes of a connection, from 1; and, from 1 too, its statements, and its syncs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct RequestNumber(pub u64);

/// Numbers the distinct queries of a node; frames name a query by it. No number is given twice
/// while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueryNumber(pub u64);
