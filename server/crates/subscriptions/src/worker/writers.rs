//! Who writes: a lane is opened for a client before what it writes there is decided, and from then on
//! its feed brings the decisions.

use protocol::frame::v1::{RetryAfter, ServerFrame};
use protocol::ids::{ClientId, Lane, SeqId};
use server_engine::ShardNumber;

use super::{Worker, send};
use crate::feed::{FeedKey, State};
use crate::host::{ConnectionId, Cursor, Outbox};
use crate::written::Writing;

/// When a client may ask again for a lane that a connection has no room for: it ends subscriptions
/// first, if ever.
const LANES_FULL_MS: u64 = 5_000;

impl<O: Outbox> Worker<O> {
    /// A client writes in a lane from now on, or has to hear anew what was decided of it: a frontier
    /// comes, as of now. `at` is where it was, for a lane of which the connection was told nothing yet.
    ///
    /// Says whether it is open. A connection has so many lanes at most; of one more the client is told
    /// to ask again.
    pub fn open_lane(
        &mut self,
        connection: ConnectionId,
        shard: ShardNumber,
        lane: &Lane,
        at: Option<Cursor>,
        writing: Writing,
    ) -> bool {
        let Some(key) = self.feed(connection, shard, lane) else {
            self.retry_lane(connection, lane, writing.client);
            return false;
        };
        if let Some(at) = at.filter(|_| self.feeds[key].epoch.is_none()) {
            self.unregister_all(key);
            self.go_to(key, at);
        }
        self.write(key, writing);
        let near = match &self.feeds[key].state {
            State::Live => {
                let position = self.index.lanes.get(lane).and_then(|lane| lane.position);
                Some(position.map_or(SeqId::ZERO, |(_, seq)| seq))
            }
            State::Loading { position, .. } | State::Ahead { seq: position, .. } => Some(*position),
            // What is read is of another writer, or as of before. It is waited for all the same, so that
            // a feed has one read under way however often its client asks.
            State::Registering { .. } => {
                self.feeds[key].is_asked_again = true;
                None
            }
            // Its frontier is still to come.
            State::Lagging { .. } | State::Asking { .. } | State::Waiting { .. } => None,
        };
        if let Some(position) = near {
            self.lag(key, position);
            self.feeds[key].is_near = true;
        }
        self.agenda.push(key);
        self.go_on();
        true
    }

    /// The feed brings the decisions of this client.
    pub(super) fn write(&mut self, key: FeedKey, writing: Writing) {
        let feed = &mut self.feeds[key];
        let before = feed.writer.replace(writing).map(|before| before.client);
        self.index.write(&feed.lane, key, before, writing.client);
    }

    /// Tells a client that a lane cannot be opened for now.
    pub(super) fn retry_lane(&self, connection: ConnectionId, lane: &Lane, client: ClientId) {
        let Some(connection) = self.connections.get(&connection) else { return };
        let (lane, retry_after_ms) = (lane.clone(), LANES_FULL_MS);
        let frame = RetryAfter { lane, client, retry_after_ms };
        send(&connection.outbox, &ServerFrame::RetryAfter(frame));
    }
}
