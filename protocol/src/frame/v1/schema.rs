//! The tables that a user may read.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bounded;
use crate::codec;
use crate::ids::SchemaHash;
use crate::limits::{SCHEMA_PIECE_BYTES, SCHEMA_TABLES_MAX};
use crate::schema::TableSchema;

/// A piece of what tables there are for the user of a connection. A client takes all pieces of one
/// version together, and only then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Which description it is a piece of.
    pub version: SchemaHash,
    /// Grows with each change of any table, on all nodes alike. Who has heard of a higher one is not
    /// told anything by a lower one.
    pub revision: u64,
    /// Tables, each in one piece of all.
    #[serde(deserialize_with = "bounded::vec::<_, _, SCHEMA_TABLES_MAX>")]
    pub tables: Vec<AllowedTable>,
    /// Whether this was the last piece.
    pub end: bool,
}

/// A table that a user may read. What is not named is not there for that user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedTable {
    /// The table.
    pub table: TableSchema,
    /// Whether the user may write rows of it, owners aside.
    pub writable: bool,
}

impl Schema {
    /// All pieces of a description, at least one.
    pub fn pieces(revision: u64, tables: Vec<AllowedTable>) -> Vec<Self> {
        let mut hash = Sha256::new();
        let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
        for table in tables {
            let encoded = codec::encode(&table);
            hash.update(&encoded);
            if !piece.is_empty() && bytes + encoded.len() > SCHEMA_PIECE_BYTES {
                pieces.push(std::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += encoded.len();
            piece.push(table);
        }
        pieces.push(piece);
        let mut version = [0; 16];
        version.copy_from_slice(&hash.finalize()[..16]);
        let version = SchemaHash::from_bytes(version);
        let last = pieces.len() - 1;
        let piece = |(place, tables)| Self { version, revision, tables, end: place == last };
        pieces.into_iter().enumerate().map(piece).collect()
    }
}
