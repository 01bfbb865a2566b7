//! The tables that a client is told of, so that it can write to them and read them offline.

use protocol::frame::v1::AllowedTable;
use server_engine::{Catalog, Role, Table, is_readable, is_writable};

use crate::table::SYSTEM;

/// The tables of applications that may be read in a role, in the order of their numbers. What may not
/// be read does not exist (INV-7), and those of the server are for SQL on the server.
pub fn allowed_tables(catalog: &Catalog, role: Role) -> Vec<AllowedTable> {
    let schemas = catalog.tables().map(Table::schema);
    let readable = schemas
        .filter(|schema| schema.name.namespace.as_str() != SYSTEM && is_readable(schema, role));
    readable
        .map(|schema| AllowedTable { table: schema.clone(), writable: is_writable(schema, role) })
        .collect()
}
