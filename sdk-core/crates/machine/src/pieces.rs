//! A description of the tables that has not come wholly.

use protocol::frame::v1::AllowedTable;

use crate::stored::StoredSchema;

/// The pieces of a description that have come, and not the last.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    /// Which description it is.
    pub(crate) schema: StoredSchema,
    /// The tables that it has named so far.
    pub(crate) tables: Vec<AllowedTable>,
}
