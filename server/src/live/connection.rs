//! A connection: what its client asks for becomes queries, and goes to its worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    AskDigest, AskSync, Goodbye, LaneCursor, LaneWriter, LoadOlder, Mutate, OpenLane, Position,
    Refused, ServerFrame, Subscribe, Synced, Unsubscribe,
};
use protocol::ids::{Lane, RequestNumber, SchemaHash};
use protocol::schema::TableSchema;
use server_engine::{Actor, ShardNumber};
use server_gateway::{LiveConnection, LiveFuture, SendQueue};
use server_query::{SqlError, Subscribed};
use server_subscriptions::{Asked, ConnectionId, Cursor, Subscribing, Writing};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::uploads::Uploads;
use super::worker::Message;
use super::{Live, starting};
use crate::wiring::param;

/// How long a shard may take to hear of a table that was created just before.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// How often it is asked.
const TOLD_POLL: Duration = Duration::from_millis(2);

/// How much of its SQL is kept of a subscription, to show it. In characters.
const TEXT_CHARACTERS_MAX: usize = 1_000;

/// A connection that lives as long as this does.
pub(super) struct Connection {
    live: Arc<Live>,
    id: ConnectionId,
    actor: Actor,
    queue: SendQueue,
    uploads: Uploads,
}

/// The connection ends: somebody has said goodbye.
struct Ended;

/// A subscription whose query was compiled, and the shard it is in.
type Compiled = (ShardNumber, Subscribing);

/// What a client has in a lane.
#[derive(Default)]
struct InLane {
    subscriptions: Vec<Subscribing>,
    writer: Option<Writing>,
}

impl Connection {
    pub(super) fn new(live: Arc<Live>, id: ConnectionId, actor: Actor, queue: SendQueue) -> Self {
        let uploads = Uploads::new(Arc::clone(&live), actor.clone(), queue.clone());
        Self { live, id, actor, queue, uploads }
    }

    /// Tells the worker, and waits until it has heard. `None` when it has nothing to say.
    async fn tell<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (done, heard) = oneshot::channel();
        self.live.worker_of(self.id).tell(message(done));
        // It is dropped when it is done.
        heard.await.ok()
    }

    /// Compiles a subscription; `None` when it was refused.
    ///
    /// What cannot be only for now ends the connection: a refusal would be final.
    async fn compile(&self, subscribe: Subscribe) -> Result<Option<Compiled>, Ended> {
        let Subscribe { request, sql, params, fetch_last, batch_rows, held } = subscribe;
        let params: Vec<_> = params.into_iter().map(|value| param(value.into())).collect();
        let asked = match self.live.sql.subscription(self.actor.clone(), &sql, &params).await {
            Ok(asked) => asked,
            // Its description of the tables may be one of before.
            Err(error) if error.code == ErrorCode::NotFound && !self.live.knows_tables() => {
                self.queue.close(starting());
                return Err(Ended);
            }
            Err(error) => return self.not_compiled(request, error).map(|()| None),
        };
        let Subscribed { lane, schema, predicate, columns } = asked;
        let shard = self.live.node.placement().shard(&lane);
        if !self.is_told(shard, &schema).await {
            self.queue.close(starting());
            return Err(Ended);
        }
        let range = Asked::range_of(&schema, &predicate);
        let query = self.live.queries.compile(Asked { lane, schema, range, predicate, columns });
        let text = sql.chars().take(TEXT_CHARACTERS_MAX).collect::<String>().into();
        let subscribing = Subscribing { request, query, text, held, fetch_last, batch_rows };
        Ok(Some((shard, subscribing)))
    }

    fn not_compiled(&self, request: RequestNumber, error: SqlError) -> Result<(), Ended> {
        let SqlError { code, message, retry_after } = error;
        if matches!(code, ErrorCode::Overloaded | ErrorCode::Timeout | ErrorCode::Internal) {
            let retry_after_ms = retry_after.and_then(|time| u64::try_from(time.as_millis()).ok());
            self.queue.close(Goodbye { code, message, retry_after_ms });
            return Err(Ended);
        }
        tracing::debug!(%code, "a subscription was refused");
        let refused = Refused { request: Some(request), code, message };
        self.queue.push(ServerFrame::Refused(refused).encode().into());
        Ok(())
    }

    /// Waits until a shard knows of a table as it is described. One that knows more already has the
    /// subscription follow.
    async fn is_told(&self, shard: ShardNumber, schema: &TableSchema) -> bool {
        let until = Instant::now() + TOLD_WITHIN;
        loop {
            let catalog = self.live.node.catalog(shard);
            let known = catalog.as_ref().and_then(|catalog| catalog.table(schema.id));
            if known.is_some_and(|known| known.schema().version >= schema.version) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            sleep(TOLD_POLL).await;
        }
    }

    async fn resume_all(
        &self,
        lanes: Vec<LaneCursor>,
        all: Vec<Subscribe>,
        writers: Vec<LaneWriter>,
    ) -> Result<(), Ended> {
        let mut of_lane: BTreeMap<Lane, InLane> = BTreeMap::new();
        for LaneWriter { lane, client, confirmed } in writers {
            self.enter(&lane)?;
            of_lane.entry(lane).or_default().writer = Some(Writing { client, confirmed });
        }
        for subscribe in all {
            let Some((_, subscribing)) = self.compile(subscribe).await? else { continue };
            let lane = subscribing.query.lane.clone();
            of_lane.entry(lane).or_default().subscriptions.push(subscribing);
        }
        let mut cursors: BTreeMap<Lane, Cursor> = lanes
            .into_iter()
            .map(|at| (at.lane, Cursor { epoch: at.epoch, seq: at.since_seq, cut: at.cut }))
            .collect();
        for (lane, InLane { subscriptions, writer }) in of_lane {
            let (id, shard) = (self.id, self.live.node.placement().shard(&lane));
            let (cursor, of) = (cursors.remove(&lane), lane.clone());
            let is_open = self
                .tell(|done| Message::Resume {
                    id,
                    shard,
                    lane: of,
                    cursor,
                    subscriptions,
                    writer,
                    done,
                })
                .await;
            if let Some(writing) = writer {
                self.opened(lane, writing, cursor, is_open);
            }
        }
        Ok(())
    }

    /// Where its lanes are by now; `None` where that is not known of one of them. What concerns the
    /// client up to there is in its queue then, where it is not behind.
    async fn positions(&self) -> Option<Vec<Position>> {
        let id = self.id;
        let (mut positions, mut entries) = (Vec::new(), BTreeMap::new());
        for lane in self.tell(|done| Message::Lanes { id, done }).await? {
            let shard = self.live.node.placement().shard(&lane);
            let (at, index) = self.live.reads.leader(shard, lane.clone()).await?;
            positions.push(Position { lane, epoch: at.epoch, seq: at.seq });
            entries.insert(shard, index);
        }
        for (shard, index) in entries {
            while self.tell(|done| Message::Handled { shard, done }).await? < index {
                sleep(TOLD_POLL).await;
            }
        }
        Some(positions)
    }

    /// Ends the connection where its caller may not write at all.
    fn enter(&self, lane: &Lane) -> Result<(), Ended> {
        self.uploads.may_enter(lane).map_err(|goodbye| {
            self.queue.close(goodbye);
            Ended
        })
    }

    /// The worker has heard of a writer.
    fn opened(&self, lane: Lane, writing: Writing, at: Option<Cursor>, is_open: Option<bool>) {
        let Writing { client, confirmed } = writing;
        self.uploads.opened(lane.clone(), client, is_open == Some(true));
        // A number means something in one history alone.
        if let Some(Cursor { epoch, .. }) = at {
            self.uploads.confirm(&lane, client, epoch, confirmed);
        }
    }
}

impl LiveConnection for Connection {
    fn resume(
        &self,
        lanes: Vec<LaneCursor>,
        subscriptions: Vec<Subscribe>,
        writers: Vec<LaneWriter>,
        schema: Option<SchemaHash>,
    ) -> LiveFuture<'_> {
        let held = Message::Schema { id: self.id, held: schema };
        self.live.worker_of(self.id).tell(held);
        Box::pin(async move {
            // Whoever ended it has told why.
            let _ = self.resume_all(lanes, subscriptions, writers).await;
        })
    }

    fn subscribe(&self, subscribe: Subscribe) -> LiveFuture<'_> {
        Box::pin(async move {
            let Ok(Some((shard, subscribing))) = self.compile(subscribe).await else { return };
            let (id, subscribing) = (self.id, Box::new(subscribing));
            self.tell(|done| Message::Subscribe { id, shard, subscribing, done }).await;
        })
    }

    fn unsubscribe(&self, unsubscribe: Unsubscribe) -> LiveFuture<'_> {
        let (id, request) = (self.id, unsubscribe.request);
        Box::pin(async move {
            self.tell(|done| Message::Unsubscribe { id, request, done }).await;
        })
    }

    fn load_older(&self, load_older: LoadOlder) -> LiveFuture<'_> {
        let (id, LoadOlder { request, rows }) = (self.id, load_older);
        Box::pin(async move {
            self.tell(|done| Message::LoadOlder { id, request, rows, done }).await;
        })
    }

    fn digest(&self, digest: AskDigest) -> LiveFuture<'_> {
        let (id, AskDigest { request, below }) = (self.id, digest);
        Box::pin(async move {
            self.tell(|done| Message::Digest { id, request, below, done }).await;
        })
    }

    fn sync(&self, sync: AskSync) -> LiveFuture<'_> {
        Box::pin(async move {
            let positions = self.positions().await;
            let (request, later) = (sync.request, positions.is_none());
            let positions = positions.unwrap_or_default();
            let synced = ServerFrame::Synced(Synced { request, positions, later });
            self.queue.push(synced.encode().into());
            // What concerned somebody else moves its lanes, too.
            self.live.worker_of(self.id).tell(Message::Progress(self.id));
        })
    }

    fn open_lane(&self, open: OpenLane) -> LiveFuture<'_> {
        Box::pin(async move {
            let OpenLane { writer: LaneWriter { lane, client, confirmed }, at } = open;
            if self.enter(&lane).is_err() {
                return;
            }
            let (id, shard) = (self.id, self.live.node.placement().shard(&lane));
            let at = at.map(|at| Cursor { epoch: at.epoch, seq: at.seq, cut: 0 });
            let (writing, of) = (Writing { client, confirmed }, lane.clone());
            let is_open = self
                .tell(|done| Message::OpenLane { id, shard, lane: of, at, writing, done })
                .await;
            self.opened(lane, writing, at, is_open);
        })
    }

    fn mutate(&self, mutate: Mutate, bytes: usize) -> LiveFuture<'_> {
        Box::pin(async move {
            if let Err(goodbye) = self.uploads.mutate(mutate, bytes) {
                self.queue.close(goodbye);
            }
        })
    }

    fn drained(&self) {
        self.live.worker_of(self.id).tell(Message::Drained(self.id));
    }

    fn progress(&self) {
        self.live.worker_of(self.id).tell(Message::Progress(self.id));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.live.worker_of(self.id).tell(Message::Close(self.id));
    }
}

/// A connection that was told to come back.
pub(super) struct NotStarted;

impl LiveConnection for NotStarted {
    fn resume(
        &self,
        _: Vec<LaneCursor>,
        _: Vec<Subscribe>,
        _: Vec<LaneWriter>,
        _: Option<SchemaHash>,
    ) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn subscribe(&self, _: Subscribe) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn unsubscribe(&self, _: Unsubscribe) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn load_older(&self, _: LoadOlder) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn digest(&self, _: AskDigest) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn sync(&self, _: AskSync) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn open_lane(&self, _: OpenLane) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn mutate(&self, _: Mutate, _: usize) -> LiveFuture<'_> {
        Box::pin(async {})
    }

    fn drained(&self) {}

    fn progress(&self) {}
}
