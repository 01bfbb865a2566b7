//! A dispatch worker: the feeds of some connections, and what is done for them.
//!
//! It does no I/O. The host gives it what was applied, what clients ask and what was read, and
//! takes from it what is to be read; frames go to the [`Outbox`] of a connection. A node has a
//! worker for each core; a connection belongs to one, which handles the commits of a lane in order.

mod dispatch;
mod load;
mod reading;
mod resume;
mod tables;
mod writers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Held, LanePosition, Progress, Refused, Reset, ServerFrame, Subscribed};
use protocol::ids::{Birth, Lane, QueryNumber, RequestNumber, SeqId};
use server_engine::{Actor, Catalog, ShardNumber};
use slab::Slab;

use self::reading::{Pending, ReadKey};
use crate::feed::{Feed, FeedKey, State, Subscription};
use crate::host::{Action, ConnectionId, Cursor, Listed, Outbox, Subscribing};
use crate::index::Index;
use crate::limits::Settings;
use crate::query::{LiveQuery, Queries};
use crate::read::ReadId;
use crate::written::Writing;

#[derive(Debug)]
struct Connection<O> {
    actor: Arc<Actor>,
    outbox: O,
    feeds: BTreeMap<Lane, FeedKey>,
}

/// What the worker knows of a shard.
#[derive(Debug, Default)]
struct ShardState {
    /// The last entry that it has handled.
    handled: u64,
    catalog: Option<Arc<Catalog>>,
    /// Feeds that wait until an entry was handled.
    due: BTreeSet<(u64, FeedKey)>,
}

/// A dispatch worker.
#[derive(Debug)]
pub struct Worker<O> {
    settings: Settings,
    queries: Arc<Queries>,
    connections: HashMap<ConnectionId, Connection<O>>,
    feeds: Slab<Feed<O>>,
    index: Index,
    shards: BTreeMap<ShardNumber, ShardState>,
    reads: BTreeMap<ReadId, Pending>,
    read_of: BTreeMap<ReadKey, ReadId>,
    last_read: u64,
    last_subscription: u64,
    actions: Vec<Action>,
    /// Feeds that may be able to go on.
    agenda: Vec<FeedKey>,
    /// Feeds that have begun to wait for this node; some may not do so any more.
    waiting: Vec<FeedKey>,
}

impl<O: Outbox> Worker<O> {
    /// A worker without connections. For each shard it is told first where it begins, by
    /// [`Worker::jumped`].
    pub fn new(settings: Settings, queries: Arc<Queries>) -> Self {
        Self {
            settings,
            queries,
            connections: HashMap::new(),
            feeds: Slab::new(),
            index: Index::default(),
            shards: BTreeMap::new(),
            reads: BTreeMap::new(),
            read_of: BTreeMap::new(),
            last_read: 0,
            last_subscription: 0,
            actions: Vec::new(),
            agenda: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Begins anew without connections, as after a defect. What was asked before is no answer to
    /// what is asked from now on.
    pub fn begin_anew(&mut self) {
        let fresh = Self::new(self.settings, Arc::clone(&self.queries));
        let (last_read, last_subscription) = (self.last_read, self.last_subscription);
        let shards = std::mem::take(&mut self.shards).into_iter();
        let shards = shards
            .map(|(shard, known)| {
                (shard, ShardState { catalog: known.catalog, ..ShardState::default() })
            })
            .collect();
        *self = Self { last_read, last_subscription, shards, ..fresh };
    }

    /// The tables of a shard before the first entry that it hears of: from then on it notices
    /// by itself when one is gone.
    pub fn tables(&mut self, shard: ShardNumber, catalog: Arc<Catalog>) {
        self.shards.entry(shard).or_default().catalog = Some(catalog);
    }

    /// Whether feeds wait for this node: then [`Worker::tick`] is wanted in a while.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What it wants by now.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// A connection of `actor` begins.
    pub fn open(&mut self, connection: ConnectionId, actor: Actor, outbox: O) {
        let (actor, feeds) = (Arc::new(actor), BTreeMap::new());
        self.connections.insert(connection, Connection { actor, outbox, feeds });
    }

    /// A connection has ended.
    pub fn close(&mut self, connection: ConnectionId) {
        let Some(connection) = self.connections.remove(&connection) else { return };
        for (lane, key) in connection.feeds {
            self.close_feed(&lane, key);
        }
    }

    fn close_feed(&mut self, lane: &Lane, key: FeedKey) {
        self.unregister_all(key);
        let feed = self.feeds.remove(key);
        self.index.close(lane, key, feed.writer.map(|writer| writer.client));
    }

    /// A client goes on where it was in a lane, with these subscriptions in it, and writes there.
    ///
    /// Says whether it may: as in [`Worker::open_lane`].
    pub fn resume(
        &mut self,
        connection: ConnectionId,
        shard: ShardNumber,
        lane: &Lane,
        cursor: Option<Cursor>,
        subscriptions: Vec<Subscribing>,
        writer: Option<Writing>,
    ) -> bool {
        let Some(key) = self.feed(connection, shard, lane) else {
            for refused in subscriptions {
                self.refuse_lane(connection, refused.request);
            }
            if let Some(writer) = writer {
                self.retry_lane(connection, lane, writer.client);
            }
            return false;
        };
        if let Some(cursor) = cursor {
            self.go_to(key, cursor);
        }
        if let Some(writer) = writer {
            self.write(key, writer);
        }
        for subscribing in subscriptions {
            self.add(key, subscribing, cursor.is_some());
        }
        self.agenda.push(key);
        self.go_on();
        writer.is_some()
    }

    /// A feed of which nothing was told is where its client was.
    fn go_to(&mut self, key: FeedKey, Cursor { epoch, seq, cut }: Cursor) {
        let feed = &mut self.feeds[key];
        (feed.epoch, feed.told, feed.cuts) = (Some(epoch), seq, cut);
        feed.state = State::Lagging { position: Some(seq) };
    }

    /// A subscription begins. `shard` is where its lane lies.
    pub fn subscribe(
        &mut self,
        connection: ConnectionId,
        shard: ShardNumber,
        subscribing: Subscribing,
    ) {
        let lane = subscribing.query.lane.clone();
        let Some(key) = self.feed(connection, shard, &lane) else {
            self.refuse_lane(connection, subscribing.request);
            return;
        };
        // What is held is as of a cursor, which comes with the lane or not at all.
        self.add(key, subscribing, false);
        self.agenda.push(key);
        self.go_on();
    }

    /// A subscription ends. One that has joined another began nothing, and ends nothing.
    pub fn unsubscribe(&mut self, connection: ConnectionId, request: RequestNumber) {
        let Some((key, number)) = self.find(connection, request) else { return };
        self.remove(key, number);
    }

    /// The window of a subscription becomes wider.
    pub fn load_older(&mut self, connection: ConnectionId, request: RequestNumber, rows: u64) {
        let Some((key, number)) = self.find(connection, request) else { return };
        let Some(held) = self.feeds[key].subscriptions.get_mut(&number) else { return };
        held.window = held.window.map(|window| window.saturating_add(rows));
        held.missing = held.missing.map(|missing| missing.saturating_add(rows));
        self.agenda.push(key);
        self.go_on();
    }

    /// A client wants to compare the rows of a subscription, from those born before `below` on. Rows of a
    /// table with a TTL go at another time on each end, so there is nothing to be said of them.
    pub fn digest(
        &mut self,
        connection: ConnectionId,
        request: RequestNumber,
        below: Option<Birth>,
    ) {
        let Some((key, number)) = self.find(connection, request) else { return };
        let Some(held) = self.feeds[key].subscriptions.get_mut(&number) else { return };
        if held.query.schema.ttl_seconds.is_none() {
            held.digest = Some(below);
            self.agenda.push(key);
            self.go_on();
        }
    }

    /// What waits for a connection has become less.
    pub fn drained(&mut self, connection: ConnectionId) {
        let Some(connection) = self.connections.get(&connection) else { return };
        self.agenda.extend(connection.feeds.values());
        self.go_on();
    }

    /// Tells a connection where its lanes are, as a sign of life and so that a quiet subscription's
    /// cursor does not age (INV-5: never ahead of what was told before).
    pub fn progress(&mut self, connection: ConnectionId) {
        let Some(connection) = self.connections.get(&connection) else { return };
        let mut lanes = Vec::new();
        for (lane, key) in &connection.feeds {
            let feed = &mut self.feeds[*key];
            let position = self.index.lanes.get(lane).and_then(|lane| lane.position);
            // One that is held or lagging has not been told of all up to there.
            if let (State::Live, Some((_, seq))) = (&feed.state, position)
                && seq > feed.told
            {
                feed.told = seq;
                lanes.push(LanePosition(lane.clone(), seq));
            }
        }
        send(&connection.outbox, &ServerFrame::Progress(Progress { lanes }));
    }

    /// Some time has passed: feeds that wait for this node try again.
    pub fn tick(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            let Some(feed) = self.feeds.get_mut(key) else { continue };
            if let State::Waiting { position } = feed.state {
                feed.state = State::Lagging { position };
                self.agenda.push(key);
            }
        }
        self.go_on();
    }

    /// Ends a subscription because somebody wants it to end, and tells its client why. Says whether
    /// there was one.
    pub fn end(
        &mut self,
        connection: ConnectionId,
        request: RequestNumber,
        code: ErrorCode,
        message: &str,
    ) -> bool {
        let Some((key, number)) = self.find(connection, request) else { return false };
        refuse(&self.feeds[key].outbox, request, code, message.to_owned());
        self.remove(key, number);
        true
    }

    /// The subscriptions of a connection.
    pub fn list(&self, connection: ConnectionId) -> Vec<Listed> {
        let of_feed = |feed: &Feed<O>| {
            let state = feed.state.name();
            let listed = |held: &Subscription| Listed {
                connection,
                request: held.request,
                query: Arc::clone(&held.query),
                text: Arc::clone(&held.text),
                state: if held.is_loading() { "loading" } else { state },
            };
            feed.subscriptions.values().map(|held| listed(held)).collect::<Vec<_>>()
        };
        let feeds = self.connections.get(&connection).into_iter().flat_map(|c| c.feeds.values());
        feeds.flat_map(|key| of_feed(&self.feeds[*key])).collect()
    }

    /// The lanes in which a connection has a subscription.
    pub fn lanes(&self, connection: ConnectionId) -> Vec<Lane> {
        let feeds = self.connections.get(&connection).into_iter().flat_map(|c| &c.feeds);
        let is_followed = |key: &FeedKey| !self.feeds[*key].subscriptions.is_empty();
        feeds.filter(|(_, key)| is_followed(key)).map(|(lane, _)| lane.clone()).collect()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.feeds.iter().map(|(_, feed)| feed.subscriptions.len()).sum()
    }

    /// The state of each feed of a connection, for tests.
    pub fn states(&self, connection: ConnectionId) -> Vec<(Lane, &'static str)> {
        let feeds = self.connections.get(&connection).into_iter().flat_map(|c| &c.feeds);
        feeds.map(|(lane, key)| (lane.clone(), self.feeds[*key].state.name())).collect()
    }

    fn feed(&mut self, id: ConnectionId, shard: ShardNumber, lane: &Lane) -> Option<FeedKey> {
        let connection = self.connections.get_mut(&id)?;
        if let Some(key) = connection.feeds.get(lane) {
            return Some(*key);
        }
        if connection.feeds.len() >= self.settings.lanes_max {
            // One without subscriptions stays for as long as there is room for it. Who writes waits
            // for decisions.
            let is_empty = |key: &FeedKey| {
                let feed = &self.feeds[*key];
                feed.subscriptions.is_empty() && feed.writer.is_none()
            };
            let (lane, key) = connection.feeds.iter().find(|(_, key)| is_empty(key))?;
            let (lane, key) = (lane.clone(), *key);
            connection.feeds.remove(&lane);
            self.close_feed(&lane, key);
        }
        let connection = self.connections.get_mut(&id)?;
        let key = self.feeds.insert(Feed {
            connection: id,
            outbox: connection.outbox.clone(),
            actor: Arc::clone(&connection.actor),
            lane: lane.clone(),
            shard,
            epoch: None,
            told: SeqId::ZERO,
            state: State::Lagging { position: None },
            writer: None,
            is_asked_again: false,
            is_near: false,
            subscriptions: BTreeMap::new(),
            resumed: 0,
            cuts: 0,
            loaded_last: None,
        });
        connection.feeds.insert(lane.clone(), key);
        self.index.open(lane, key);
        Some(key)
    }

    fn find(
        &self,
        connection: ConnectionId,
        request: RequestNumber,
    ) -> Option<(FeedKey, QueryNumber)> {
        let connection = self.connections.get(&connection)?;
        connection.feeds.values().find_map(|key| {
            let mut held = self.feeds[*key].subscriptions.iter();
            let found = held.find(|(_, held)| held.request == request);
            found.map(|(number, _)| (*key, *number))
        })
    }

    fn refuse_lane(&self, connection: ConnectionId, request: RequestNumber) {
        let Some(connection) = self.connections.get(&connection) else { return };
        let message = format!(
            "a connection follows at most {} lanes: end other subscriptions first",
            self.settings.lanes_max
        );
        refuse(&connection.outbox, request, ErrorCode::TooLarge, message);
    }

    /// Adds a subscription to a feed, and says so. `has_cursor` says whether it is known as of when
    /// the client holds what it holds.
    fn add(&mut self, key: FeedKey, subscribing: Subscribing, has_cursor: bool) {
        let Subscribing { request, query, text, held, fetch_last, batch_rows } = subscribing;
        let feed = &mut self.feeds[key];
        let count = self.connections.get(&feed.connection).into_iter().flat_map(|c| &c.feeds);
        let count: usize = count.map(|(_, key)| self.feeds[*key].subscriptions.len()).sum();
        let query = self.present(key, query);
        let feed = &mut self.feeds[key];
        if count >= self.settings.subscriptions_max {
            let most = self.settings.subscriptions_max;
            let message =
                format!("a connection has at most {most} subscriptions: end others first");
            refuse(&feed.outbox, request, ErrorCode::TooLarge, message);
            return;
        }
        let query = match query {
            Ok(query) => query,
            Err(message) => return refuse(&feed.outbox, request, ErrorCode::NotFound, message),
        };
        // The client joins the two, and asks for more where the second wants more. The one that is
        // there may be of a version of before, as long as the worker has not come to the next.
        let mut held_before = feed.subscriptions.values();
        if let Some(same) = held_before.find(|held| held.query.basis == query.basis) {
            return send(&feed.outbox, &subscribed(request, &same.query));
        }
        send(&feed.outbox, &subscribed(request, &query));
        self.last_subscription += 1;
        let is_useful = |held: &Held| held.basis == query.basis && has_cursor;
        let is_stale = held.as_ref().is_some_and(|held| !is_useful(held));
        let held = held.filter(is_useful);
        if is_stale {
            send(&feed.outbox, &ServerFrame::Reset(Reset { query: query.number }));
        }
        let missing = fetch_last.map(|all| {
            held.as_ref().and_then(|held| held.missing).map_or(all, |missing| missing.min(all))
        });
        let subscription = Subscription {
            id: self.last_subscription,
            query: Arc::clone(&query),
            text,
            request,
            floor: held.map(|held| held.floor),
            window: fetch_last,
            missing,
            batch_rows: batch_rows.unwrap_or(u32::MAX).clamp(1, self.settings.batch_rows_max),
            digest: None,
        };
        feed.subscriptions.insert(query.number, Box::new(subscription));
        if feed.state.is_registered() {
            self.index.register(&query, key);
        }
    }

    fn remove(&mut self, key: FeedKey, number: QueryNumber) {
        if let Some(gone) = self.feeds[key].subscriptions.remove(&number) {
            self.index.unregister(&gone.query, key);
        }
    }

    /// Ends a subscription that cannot go on.
    fn refuse(&mut self, key: FeedKey, number: QueryNumber) {
        let feed = &self.feeds[key];
        if let Some(held) = feed.subscriptions.get(&number) {
            let table = &held.query.schema.name;
            let message = format!("there is no table {table} any more: subscribe to another");
            refuse(&feed.outbox, held.request, ErrorCode::NotFound, message);
        }
        self.remove(key, number);
    }

    fn handled(&self, shard: ShardNumber) -> u64 {
        self.shards.get(&shard).map_or(0, |shard| shard.handled)
    }

    fn has_room(&self, key: FeedKey) -> bool {
        self.feeds[key].outbox.waiting() <= self.settings.queue_bytes_max / 2
    }

    fn unregister_all(&mut self, key: FeedKey) {
        let feed = &self.feeds[key];
        for held in feed.subscriptions.values() {
            self.index.unregister(&held.query, key);
        }
        if let Some(lane) = self.index.lanes.get_mut(&feed.lane) {
            lane.held.remove(&key);
        }
    }

    /// Lets every feed on the agenda do what it can.
    fn go_on(&mut self) {
        while let Some(key) = self.agenda.pop() {
            let Some(feed) = self.feeds.get(key) else { continue };
            match feed.state {
                State::Lagging { position } if self.has_room(key) => self.register(key, position),
                State::Live if self.has_room(key) => self.load_next(key),
                _ => {}
            }
        }
    }
}

fn subscribed(request: RequestNumber, query: &LiveQuery) -> ServerFrame {
    ServerFrame::Subscribed(Box::new(Subscribed {
        request,
        query: query.number,
        lane: query.lane.clone(),
        basis: query.basis,
        table: (*query.schema).clone(),
        columns: query.columns.clone(),
        predicate: query.query.predicate.clone(),
    }))
}

fn refuse(outbox: &impl Outbox, request: RequestNumber, code: ErrorCode, message: String) {
    send(outbox, &ServerFrame::Refused(Refused { request: Some(request), code, message }));
}

fn send(outbox: &impl Outbox, frame: &ServerFrame) {
    outbox.push(frame.encode().into());
}
