//! What is applied, on its way to the workers.

use std::sync::{Arc, OnceLock, Weak};

use server_engine::{Commit, ShardNumber};
use server_replication::{Node, Observer};
use server_subscriptions::Entry;

use super::worker::{Message, WorkerHandle};

/// Gives what a node applies to its workers, when there are some.
#[derive(Default)]
pub(crate) struct Entries(OnceLock<(Weak<Node>, Vec<WorkerHandle>)>);

impl Entries {
    pub(super) fn start(&self, node: &Arc<Node>, workers: Vec<WorkerHandle>) {
        // Started once. A strong reference would keep the node for ever: it has this one.
        let _ = self.0.set((Arc::downgrade(node), workers));
    }
}

impl Observer for Entries {
    fn applied(&self, shard: ShardNumber, index: u64, commits: Vec<Commit>) {
        let Some((node, workers)) = self.0.get() else { return };
        // The tables as of this entry: the next one is applied when this has returned.
        let Some(catalog) = node.upgrade().and_then(|node| node.catalog(shard)) else { return };
        let entry = Entry::new(shard, index, catalog, commits);
        for worker in workers {
            worker.entries.push(&entry);
        }
    }

    /// Entries before it that still wait are passed over then.
    fn skipped(&self, shard: ShardNumber, index: u64) {
        let Some((_, workers)) = self.0.get() else { return };
        for worker in workers {
            worker.tell(Message::Jumped(shard, index));
        }
    }
}
