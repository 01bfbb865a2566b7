//! A server in the fewest words: one lane, whose whole history it keeps.

use std::collections::{BTreeMap, VecDeque};

use protocol::digest::RowsDigest;
use protocol::frame::v1::{
    CatchUp, ClientFrame, Delta, Digest, InitialDataBatch, Reset, RowChange, ServerFrame, Subscribe,
};
use protocol::ids::{ColumnId, Epoch, Floor, QueryNumber, RequestNumber};
use protocol::value::{Row, Value};

use crate::client::{altered, birth, frontier, key, progress, row, seq, welcome};

/// A row: birth, room, text, and the columns that its table had got when it was written.
pub(super) type Stored = (u64, i64, String, Vec<i64>);
/// All rows by their key.
pub(super) type State = BTreeMap<i64, Stored>;

/// The texts that mean each of the queries.
pub(super) const TEXTS: &[(&str, u64)] = &[("all", 1), ("ALL", 1), ("room 1", 2), ("room 2", 3)];

/// What a query holds of a row, if it matches, when the table is in this version. Rows that are older
/// than a column hold its default.
pub(super) fn matching(
    query: u64,
    key: i64,
    (_, room, text, added): &Stored,
    version: u32,
) -> Option<Row> {
    let mut whole = row(key, *room, text);
    let added = (2..=version as usize).map(|at| added.get(at - 2).copied().unwrap_or(5));
    match query {
        1 => {
            whole.0.extend(added.map(Value::Integer));
            Some(whole)
        }
        2 => (*room == 1).then(|| Row(vec![whole[0].clone(), whole[2].clone()])),
        3 => (*room == 2).then(|| Row(vec![whole[0].clone(), whole[1].clone()])),
        unknown => panic!("{unknown}"),
    }
}

/// What a query is called in a version of its table.
fn number(query: u64, version: u32) -> QueryNumber {
    QueryNumber(query + 10 * u64::from(version - 1))
}

fn answer(request: RequestNumber, query: u64, version: u32) -> ServerFrame {
    let mut answer = altered(request.0, number(query, version).0, version);
    if let ServerFrame::Subscribed(answer) = &mut answer {
        answer.basis = protocol::ids::Basis::from_bytes([u8::try_from(query).unwrap(); 16]);
        match query {
            1 => {}
            2 => answer.columns = vec![ColumnId(0), ColumnId(2)],
            _ => answer.columns = vec![ColumnId(0), ColumnId(1)],
        }
    }
    answer
}

/// The lane, at every end of a commit.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) epoch: Epoch,
    /// That of the table: it has a column more with each.
    pub(super) version: u32,
    pub(super) ends: BTreeMap<u64, State>,
}

impl Lane {
    pub(super) fn head(&self) -> (u64, &State) {
        let (seq, state) = self.ends.last_key_value().unwrap();
        (*seq, state)
    }

    /// What the query is told of what happened between two positions: the latest of each row.
    fn told(&self, query: u64, from: u64, to: u64) -> Vec<RowChange> {
        let matching = |query, id, stored| matching(query, id, stored, self.version);
        let (before, after) = (&self.ends[&from], &self.ends[&to]);
        let mut told = Vec::new();
        for (id, old) in before {
            let now = after.get(id).filter(|now| now.0 == old.0);
            if matching(query, *id, old).is_some() {
                match now {
                    None => told.push(RowChange::Deleted(birth(old.0), key(*id))),
                    Some(now) if matching(query, *id, now).is_none() => {
                        told.push(RowChange::Left(birth(old.0), key(*id)));
                    }
                    Some(_) => {}
                }
            }
        }
        for (id, now) in after {
            let old = before.get(id).filter(|old| old.0 == now.0);
            let values = matching(query, *id, now);
            if let Some(values) = values
                && old.and_then(|old| matching(query, *id, old)).as_ref() != Some(&values)
            {
                told.push(RowChange::Row(birth(now.0), values));
            }
        }
        told
    }
}

#[derive(Clone, Debug)]
struct Subscription {
    request: RequestNumber,
    floor: Option<u64>,
    window: Option<u64>,
    missing: Option<u64>,
    /// Asked for, of what was born before.
    digest: Option<Option<u64>>,
}

/// The server's end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    pub(super) up: VecDeque<ClientFrame>,
    pub(super) down: VecDeque<ServerFrame>,
    subscriptions: BTreeMap<u64, Subscription>,
    requests: BTreeMap<RequestNumber, u64>,
    /// Where the feed is, once it has begun.
    position: Option<u64>,
    /// Where the client was told that it is: pieces do not count before their frontier.
    told: Option<u64>,
    is_live: bool,
}

impl Connection {
    /// Takes one frame of the client.
    pub(super) fn receive(&mut self, lane: &Lane) -> bool {
        match self.up.pop_front() {
            None => return false,
            Some(ClientFrame::Hello(hello)) => {
                self.down.push_back(welcome());
                let cursor = hello.lanes.first();
                self.position = cursor.map(|cursor| cursor.since_seq.get());
                self.told = self.position;
                for subscribe in hello.subscriptions {
                    assert!(subscribe.held.is_none() || cursor.is_some(), "held as of nowhere");
                    self.subscribe(&subscribe, lane);
                }
                if cursor.is_some_and(|cursor| cursor.epoch != lane.epoch) {
                    self.begin_anew(lane.version);
                }
            }
            Some(ClientFrame::Subscribe(subscribe)) => self.subscribe(&subscribe, lane),
            Some(ClientFrame::Unsubscribe(ended)) => {
                self.subscriptions.retain(|_, other| other.request != ended.request);
            }
            Some(ClientFrame::Sql(_) | ClientFrame::OpenLane(_) | ClientFrame::Mutate(_)) => {}
            Some(ClientFrame::LoadOlder(older)) => {
                let mut all = self.subscriptions.values_mut();
                if let Some(it) = all.find(|other| other.request == older.request) {
                    let more = |rows: u64| rows.saturating_add(older.rows);
                    (it.window, it.missing) = (it.window.map(more), it.missing.map(more));
                }
            }
            Some(ClientFrame::Digest(asked)) => {
                let mut all = self.subscriptions.values_mut();
                if let Some(it) = all.find(|other| other.request == asked.request) {
                    it.digest = Some(asked.below.map(|below| below.0.get()));
                }
            }
            Some(ClientFrame::Token(_) | ClientFrame::Sync(_)) => {}
        }
        true
    }

    fn subscribe(&mut self, subscribe: &Subscribe, lane: &Lane) {
        let text = TEXTS.iter().find(|(text, _)| *text == subscribe.sql);
        let (_, query) = text.expect("a text that was subscribed to");
        let held = subscribe.held.as_ref();
        self.requests.insert(subscribe.request, *query);
        self.subscriptions.entry(*query).or_insert(Subscription {
            request: subscribe.request,
            floor: held.map(|held| held.floor.0.get()),
            window: subscribe.fetch_last,
            missing: held.map_or(subscribe.fetch_last, |held| held.missing),
            digest: None,
        });
        self.down.push_back(answer(subscribe.request, *query, lane.version));
    }

    /// The table has got a column: every subscription follows, as of where the client is.
    pub(super) fn alter(&mut self, lane: &Lane) {
        for (query, subscription) in &self.subscriptions {
            self.down.push_back(answer(subscription.request, *query, lane.version));
        }
        // What was staged is dropped.
        if !self.is_live && !self.subscriptions.is_empty() {
            self.position = self.position.and(self.told);
        }
    }

    /// A commit has happened: tells a live feed, all or nothing.
    pub(super) fn commit(&mut self, lane: &Lane) {
        let Some(previous) = self.position.filter(|_| self.is_live) else { return };
        let (to, _) = lane.head();
        let (before, _) = lane.ends.range(..to).next_back().unwrap();
        let mut parts = Vec::new();
        for (query, subscription) in &self.subscriptions {
            let changes = lane.told(*query, *before, to);
            let floor = subscription.floor.unwrap_or(u64::MAX);
            // The bytes are the same for everybody: all of them, or none.
            if changes.iter().any(|change| change.birth().0.get() >= floor) {
                parts.push((number(*query, lane.version), changes));
            }
        }
        let count = parts.len();
        for (place, (query, changes)) in parts.into_iter().enumerate() {
            let (end, previous, seq) = (place + 1 == count, seq(previous), seq(to));
            self.down.push_back(ServerFrame::Delta(Delta { previous, seq, end, query, changes }));
            (self.position, self.told) = (Some(to), Some(to));
        }
    }

    /// Does one thing: a piece, a frontier, or a batch.
    pub(super) fn work(&mut self, lane: &Lane, last_piece: bool, rows: usize) -> bool {
        let (head, _) = lane.head();
        if self.is_live {
            return self.load(lane, rows) || self.digest(lane, rows);
        }
        if self.requests.is_empty() {
            return false;
        }
        if let Some(from) = self.position {
            self.pieces(lane, from, head);
        }
        self.position = Some(head);
        if last_piece {
            self.down.push_back(frontier(lane.epoch, head));
            (self.told, self.is_live) = (self.position, true);
        }
        true
    }

    fn pieces(&mut self, lane: &Lane, from: u64, to: u64) {
        for (query, subscription) in &self.subscriptions {
            let Some(floor) = subscription.floor else { continue };
            let mut changes = lane.told(*query, from, to);
            changes.retain(|change| change.birth().0.get() >= floor);
            if !changes.is_empty() {
                let query = number(*query, lane.version);
                self.down.push_back(ServerFrame::CatchUp(CatchUp { query, changes }));
            }
        }
    }

    fn load(&mut self, lane: &Lane, rows: usize) -> bool {
        let mut all = self.subscriptions.iter_mut();
        let next =
            all.find(|(_, it)| it.floor.is_none() || it.floor != Some(0) && it.missing != Some(0));
        let Some((query, subscription)) = next else { return false };
        let (head, state) = lane.head();
        let below = subscription.floor.unwrap_or(u64::MAX);
        let mut found: Vec<_> = state
            .iter()
            .filter(|(_, stored)| stored.0 < below)
            .filter_map(|(id, stored)| {
                Some((stored.0, matching(*query, *id, stored, lane.version)?))
            })
            .collect();
        found.sort_unstable_by_key(|(born, _)| *born);
        let missing = subscription.missing.unwrap_or(u64::MAX);
        let count = rows.min(usize::try_from(missing).unwrap_or(usize::MAX));
        let floor = match found.len() > count {
            true => {
                found.drain(..found.len() - count);
                found.first().map_or(head + 1, |(born, _)| *born)
            }
            false => 0,
        };
        subscription.floor = Some(floor);
        subscription.missing =
            subscription.missing.map(|missing| missing.saturating_sub(found.len() as u64));
        let (births, rows) = found.into_iter().map(|(born, row)| (birth(born), row)).unzip();
        (self.position, self.told) = (Some(head), Some(head));
        self.down.push_back(ServerFrame::InitialDataBatch(InitialDataBatch {
            query: number(*query, lane.version),
            seq: seq(head),
            floor: Floor(seq(floor)),
            remaining: floor,
            births,
            rows,
            expiries: Vec::new(),
        }));
        true
    }

    /// Answers how the rows are, of a few of them.
    fn digest(&mut self, lane: &Lane, rows: usize) -> bool {
        let mut all = self.subscriptions.iter_mut();
        let next = all.find_map(|(query, it)| Some((query, it.floor?, it.digest.take()?)));
        let Some((query, floor, below)) = next else { return false };
        let (head, state) = lane.head();
        let mut found = BTreeMap::new();
        for (id, stored) in state {
            let is_there = stored.0 >= floor && below.is_none_or(|below| stored.0 < below);
            if let Some(values) = matching(*query, *id, stored, lane.version).filter(|_| is_there) {
                found.insert(stored.0, values);
            }
        }
        let floor = found.keys().rev().nth(rows).map_or(floor, |born| born + 1);
        let mut digest = RowsDigest::default();
        for (born, values) in found.range(floor..) {
            digest.add(birth(*born), values);
        }
        (self.position, self.told) = (Some(head), Some(head));
        let RowsDigest { rows, sum } = digest;
        let (query, floor) = (number(*query, lane.version), Floor(seq(floor)));
        let (seq, below) = (seq(head), below.map(birth));
        self.down.push_back(ServerFrame::Digest(Digest { query, seq, floor, below, rows, sum }));
        true
    }

    /// The queue was full: the feed catches up from where it is.
    pub(super) fn lag(&mut self) {
        self.is_live = false;
    }

    /// Loads a query anew.
    pub(super) fn reset(&mut self, query: u64, version: u32) {
        if let Some(subscription) = self.subscriptions.get_mut(&query) {
            subscription.floor = None;
            subscription.missing = subscription.window;
            self.down.push_back(ServerFrame::Reset(Reset { query: number(query, version) }));
        }
    }

    /// The history is another one: everything is loaded anew.
    pub(super) fn begin_anew(&mut self, version: u32) {
        (self.position, self.is_live) = (None, false);
        for query in self.subscriptions.keys().copied().collect::<Vec<_>>() {
            self.reset(query, version);
        }
    }

    /// Says where a live feed is.
    pub(super) fn progress(&mut self, lane: &Lane) {
        if self.is_live {
            let (head, _) = lane.head();
            (self.position, self.told) = (Some(head), Some(head));
            self.down.push_back(progress(head));
        }
    }
}
