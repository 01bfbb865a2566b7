//! Which tables there are, for the users of each role: encoded once, and shared by all connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use protocol::frame::v1::{Schema, ServerFrame};
use protocol::ids::SchemaHash;
use server_engine::{Catalog, Role};
use server_query::allowed_tables;
use server_replication::{META, Node};

/// A description of tables.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) version: SchemaHash,
    /// Its pieces.
    pub(super) frames: Vec<Bytes>,
}

/// A description, and of which tables it is.
type Made = (Arc<Catalog>, Arc<Described>);

/// What was described last, by role.
#[derive(Debug)]
pub(super) struct Schemas {
    /// A strong reference would keep the node for ever: its workers have this.
    node: Weak<Node>,
    made: Mutex<BTreeMap<Role, Made>>,
}

impl Schemas {
    pub(super) fn new(node: &Arc<Node>) -> Arc<Self> {
        Arc::new(Self { node: Arc::downgrade(node), made: Mutex::default() })
    }

    /// The tables as they are by now; nothing while the server stops.
    pub(super) fn of(&self, role: Role) -> Option<Arc<Described>> {
        let catalog = self.node.upgrade()?.catalog(META)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, described)) = made.get(&role) {
            // A shard that is opened anew comes by what it was before.
            let is_known = Arc::ptr_eq(known, &catalog) || catalog.revision() < known.revision();
            if is_known {
                return Some(Arc::clone(described));
            }
        }
        let described = Arc::new(describe(&catalog, role));
        made.insert(role, (catalog, Arc::clone(&described)));
        Some(described)
    }
}

fn describe(catalog: &Catalog, role: Role) -> Described {
    let pieces = Schema::pieces(catalog.revision(), allowed_tables(catalog, role));
    // There is one at least.
    let version = pieces.first().map_or(SchemaHash::from_bytes([0; 16]), |piece| piece.version);
    let frames = pieces.into_iter().map(|piece| ServerFrame::Schema(piece).encode().into());
    Described { version, frames: frames.collect() }
}
