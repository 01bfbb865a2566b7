//! Which tables there are, as the server says.

use std::collections::BTreeSet;

use protocol::frame::v1::{AllowedTable, Schema};
use protocol::limits::SCHEMA_TABLES_MAX;

use super::{Machine, apply};
use crate::instruction::{Instruction, Write};
use crate::pieces::Pieces;
use crate::stored::StoredSchema;
use crate::violation::ProtocolViolation;

impl Machine {
    /// A piece of a description. With the last of them, all of it is stored in one step; nothing waits
    /// for it meanwhile.
    pub(super) fn schema(
        &mut self,
        piece: Schema,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let Schema { version, revision, tables, end } = piece;
        let schema = StoredSchema { version, revision };
        let empty = Pieces { schema, tables: Vec::new() };
        let mut pieces = self.connection.schema.take().unwrap_or(empty);
        if pieces.schema != schema {
            return Err(ProtocolViolation::Schema("another one begins before its last piece"));
        }
        pieces.tables.extend(tables);
        check(&pieces.tables)?;
        if !end {
            self.connection.schema = Some(pieces);
            return Ok(());
        }
        // A node that is behind another will hear of what this client has heard of already.
        let is_news =
            self.schema.is_none_or(|held| revision >= held.revision && held != pieces.schema);
        if is_news {
            self.schema = Some(schema);
            apply(vec![Write::PutSchema { schema, tables: pieces.tables }], out);
        }
        Ok(())
    }
}

/// Whether a replica can have all of these tables.
fn check(tables: &[AllowedTable]) -> Result<(), ProtocolViolation> {
    if tables.len() > SCHEMA_TABLES_MAX {
        return Err(ProtocolViolation::Schema("it has too many tables"));
    }
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for AllowedTable { table, .. } in tables {
        if table.check().is_err() {
            return Err(ProtocolViolation::Schema("a table of it cannot be"));
        }
        if !ids.insert(table.id) || !names.insert(&table.name) {
            return Err(ProtocolViolation::Schema("it has one table twice"));
        }
    }
    Ok(())
}
