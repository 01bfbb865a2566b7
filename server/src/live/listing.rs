//! `system.live_queries` and `KILL LIVE QUERY`, of this node.

use std::sync::{Arc, OnceLock, Weak};

use protocol::ids::{RequestNumber, TenantId};
use server_query::{LiveQueries, RunningQuery};
use server_subscriptions::{ConnectionId, Listed};
use tokio::sync::oneshot;

use super::Live;
use super::worker::Message;

/// The live queries, for SQL, which is there before them.
#[derive(Debug, Default)]
pub(crate) struct Listing(OnceLock<Weak<Live>>);

impl Listing {
    /// From now on there are live queries.
    pub(crate) fn start(&self, live: &Arc<Live>) {
        // Started once. They have SQL, and SQL has these.
        let _ = self.0.set(Arc::downgrade(live));
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

impl LiveQueries for Listing {
    fn list(&self, of: Option<&TenantId>) -> Vec<RunningQuery> {
        let Some(live) = self.live() else { return Vec::new() };
        let asked: Vec<_> = live
            .workers
            .iter()
            .map(|worker| {
                let (done, listed) = oneshot::channel();
                worker.tell(Message::List { of: of.cloned(), done });
                listed
            })
            .collect();
        // A worker that is gone has none.
        let listed = asked.into_iter().filter_map(|listed| listed.blocking_recv().ok());
        listed.flatten().map(|(user, listed)| shown(user, listed)).collect()
    }

    fn kill(&self, id: &str, of: Option<&TenantId>) -> bool {
        let (Some(live), Some((id, request))) = (self.live(), parse(id)) else { return false };
        let (done, was_there) = oneshot::channel();
        live.worker_of(id).tell(Message::Kill { id, request, of: of.cloned(), done });
        was_there.blocking_recv().unwrap_or(false)
    }
}

fn shown(user: TenantId, listed: Listed) -> RunningQuery {
    let Listed { connection, request, query, text, state } = listed;
    RunningQuery {
        id: format!("{}-{}", connection.0, request.0),
        user,
        table: query.schema.name.clone(),
        lane: query.lane.clone(),
        sql: text.to_string(),
        state,
    }
}

fn parse(id: &str) -> Option<(ConnectionId, RequestNumber)> {
    let (connection, request) = id.split_once('-')?;
    Some((ConnectionId(connection.parse().ok()?), RequestNumber(request.parse().ok()?)))
}
