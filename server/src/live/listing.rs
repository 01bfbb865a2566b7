//! `system.live_queries` and `KILL LIVE QUERY`, of this node.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use protocol::ids::{RequestNumber, TenantId};
use server_query::{LiveQueries, RunningQuery, TooBusy};
use server_subscriptions::{ConnectionId, Listed};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Live;
use super::worker::Message;

/// How long the workers may take to answer. Each may be busy with what a client wants; who asks
/// holds a place that others want.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

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
    fn list(&self, of: Option<&TenantId>) -> Result<Vec<RunningQuery>, TooBusy> {
        let Some(live) = self.live() else { return Ok(Vec::new()) };
        let until = Instant::now() + ANSWERS_WITHIN;
        let asked: Vec<_> = live
            .workers
            .iter()
            .map(|worker| {
                let (done, listed) = oneshot::channel();
                worker.tell(Message::List { of: of.cloned(), done });
                listed
            })
            .collect();
        let mut all = Vec::new();
        for listed in asked {
            let listed = answer(listed, until)?.unwrap_or_default();
            all.extend(listed.into_iter().map(|(user, listed)| shown(user, listed)));
        }
        Ok(all)
    }

    fn kill(&self, id: &str, of: Option<&TenantId>) -> Result<bool, TooBusy> {
        let (Some(live), Some((id, request))) = (self.live(), parse(id)) else { return Ok(false) };
        let (done, was_there) = oneshot::channel();
        live.worker_of(id).tell(Message::Kill { id, request, of: of.cloned(), done });
        Ok(answer(was_there, Instant::now() + ANSWERS_WITHIN)?.unwrap_or(false))
    }
}

/// What a worker says; nothing when it is gone. Called on a thread that may wait.
fn answer<T>(told: oneshot::Receiver<T>, until: Instant) -> Result<Option<T>, TooBusy> {
    let told = Handle::current().block_on(timeout_at(until, told));
    told.map(Result::ok).map_err(|_| TooBusy)
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
