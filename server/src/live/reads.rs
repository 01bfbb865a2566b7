//! What the workers read: on threads that may wait for the disk, a few at a time.

use std::sync::{Arc, Weak};

use protocol::ids::{ClientId, Lane, TenantId};
use server_engine::{ClientState, LaneView, ReadError, ShardNumber, View};
use server_replication::{Node, ReplicationError};
use server_subscriptions::{Answer, Read};
use tokio::sync::Semaphore;

/// Reads that run at once for each core. They are a batch of a load, or a piece of a resume: short,
/// and more of them at once would only wait for each other.
const READS_PER_CORE: usize = 2;

#[derive(Debug)]
pub(super) struct Reads {
    node: Weak<Node>,
    places: Arc<Semaphore>,
}

impl Reads {
    pub(super) fn new(node: &Arc<Node>, cores: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(READS_PER_CORE * cores));
        Arc::new(Self { node: Arc::downgrade(node), places })
    }

    /// Reads, on a snapshot that is taken from here on. `None` where it cannot be done now.
    pub(super) async fn run(&self, read: Read) -> Option<Answer> {
        let shard = read.shard;
        self.look(shard, move |view, index| read.run(&view, index)).await
    }

    /// Where the leader has this lane, and the last entry that is in that; `None` when it is not known
    /// now.
    pub(super) async fn leader(&self, shard: ShardNumber, lane: Lane) -> Option<(LaneView, u64)> {
        if !self.node.upgrade()?.is_leader(shard) {
            return None;
        }
        self.look(shard, move |view, index| Ok((view.lane(&lane)?, index))).await
    }

    /// What is remembered of a client, if anything. `None` where it cannot be read now.
    pub(super) async fn client(
        &self,
        shard: ShardNumber,
        lane: Lane,
        user: TenantId,
        client: ClientId,
    ) -> Option<Option<ClientState>> {
        self.look(shard, move |view, _| view.client(&lane, &user, client)).await
    }

    async fn look<T: Send + 'static>(
        &self,
        shard: ShardNumber,
        look: impl FnOnce(View<'_>, u64) -> Result<T, ReadError> + Send + 'static,
    ) -> Option<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let node = self.node.upgrade()?;
        let looked = tokio::task::spawn_blocking(move || {
            let looked = node.read(shard, |view, index| look(view, index.unwrap_or(0)));
            drop(place);
            looked
        });
        match looked.await {
            Ok(Ok(Ok(found))) => Some(found),
            Ok(Err(ReplicationError::NotOpen)) => None,
            Ok(Ok(Err(error))) => {
                tracing::error!(shard = shard.0, %error, "rows cannot be read for a live query");
                None
            }
            Ok(Err(error)) => {
                tracing::error!(shard = shard.0, %error, "a shard cannot be read");
                None
            }
            Err(_) => {
                tracing::error!("a read for a live query was not finished");
                None
            }
        }
    }
}
