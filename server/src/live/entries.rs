//! What is applied, on its way to the workers.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use server_engine::{Catalog, Commit, ShardNumber};
use server_replication::{META, Node, Observer};
use server_subscriptions::Entry;

use super::worker::{Message, WorkerHandle};

/// Gives what a node applies to its workers, when there are some.
#[derive(Default)]
pub(crate) struct Entries {
    to: OnceLock<(Weak<Node>, Vec<WorkerHandle>)>,
    /// The tables that the workers have heard of last.
    tables: Mutex<Arc<Catalog>>,
}

impl Entries {
    pub(super) fn start(&self, node: &Arc<Node>, workers: Vec<WorkerHandle>) {
        // Started once. A strong reference would keep the node for ever: it has this one.
        let _ = self.to.set((Arc::downgrade(node), workers));
    }

    /// Tells the workers when these are other tables.
    fn tables(&self, catalog: &Arc<Catalog>, workers: &[WorkerHandle]) {
        let mut known = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known, catalog) {
            *known = Arc::clone(catalog);
            for worker in workers {
                worker.tell(Message::SchemaChanged);
            }
        }
    }
}

impl Observer for Entries {
    fn applied(&self, shard: ShardNumber, index: u64, commits: Vec<Commit>) {
        let Some((node, workers)) = self.to.get() else { return };
        // The tables as of this entry: the next one is applied when this has returned.
        let Some(catalog) = node.upgrade().and_then(|node| node.catalog(shard)) else { return };
        if shard == META {
            self.tables(&catalog, workers);
        }
        let entry = Entry::new(shard, index, catalog, commits);
        for worker in workers {
            worker.entries.push(&entry);
        }
    }

    /// Entries before it that still wait are passed over then.
    fn skipped(&self, shard: ShardNumber, index: u64) {
        let Some((node, workers)) = self.to.get() else { return };
        if shard == META
            && let Some(catalog) = node.upgrade().and_then(|node| node.catalog(shard))
        {
            self.tables(&catalog, workers);
        }
        for worker in workers {
            worker.tell(Message::Jumped(shard, index));
        }
    }
}
