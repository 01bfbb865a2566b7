//! The machine: what it has in memory, and who handles which event.
//!
//! ```text
//!            resume             token            socket           welcome
//!   Paused ────────► Authorizing ────► Dialing ─────────► Greeting ───────► Open
//!     ▲                   ▲ │             │                  │               │
//!     │ pause, from         │ no token    │ no socket        │ goodbye,      │ goodbye, silence,
//!     │ everywhere       time ▼           ▼ in time          ▼ silence       ▼ violation, cut
//!     └──────────────── Waiting ◄────────────────────────────────────────────┘
//!   close, from everywhere: Closed, for ever
//! ```

mod answers;
mod asking;
mod checks;
mod feeds;
mod phases;
mod schema;
mod stalls;
mod statements;
mod syncs;
mod turns;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, ServerFrame, Token};
use protocol::ids::{ClientId, Lane};

use crate::backoff::Backoff;
use crate::check::Check;
use crate::connection::Connection;
use crate::event::{Attempt, Config, Event};
use crate::instruction::{Instruction, Step, Write};
use crate::outgoing::Outgoing;
use crate::statement::Statements;
use crate::status::{Reason, Status, StatusWord, SubscriptionState, SubscriptionView};
use crate::stored::{Stored, StoredLane, StoredSchema, StoredSubscription, SubscriptionId};
use crate::subscription::Subscription;
use crate::sync::Syncs;
use crate::time::{Millis, Moment};

/// The sync logic of one client.
#[derive(Clone, Debug)]
pub struct Machine {
    servers: usize,
    app_version: u32,
    client: ClientId,
    /// Which description of the tables is stored.
    schema: Option<StoredSchema>,
    /// The frontiers, as they are stored.
    lanes: BTreeMap<Lane, StoredLane>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// The last number that a subscription was given.
    last_id: u32,
    statements: Statements,
    syncs: Syncs,
    verify_every_ms: Option<u64>,
    /// How long it is from one look at what does not move to the next.
    look_ms: u64,
    /// How it is with comparing each subscription.
    checks: BTreeMap<SubscriptionId, Check>,
    /// When a server first heard of the replica.
    since: Option<i64>,
    /// What waits in each lane, and where something was ever sent.
    outgoing: BTreeMap<Lane, Outgoing>,

    state: State,
    /// Of the state, where it has one.
    connection: Connection,
    attempt: Attempt,
    backoff: Backoff,
    /// The server to dial next.
    server: usize,
    /// A server does not want to be dialled before.
    not_before: Option<Millis>,
    /// Why the last attempt ended.
    failure: Option<Reason>,

    /// What the app was told last.
    told: Told,
}

/// The phase, with what only it has.
#[derive(Clone, Debug)]
enum State {
    Paused,
    Waiting { until: Millis },
    Authorizing { until: Millis },
    Dialing { until: Millis, token: Token },
    Greeting { until: Millis },
    Open(Open),
    Closed,
}

/// A connection that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    since: Millis,
    /// When something was last heard.
    heard: Millis,
    /// How long nothing may be heard.
    silence_ms_max: u64,
    renewal: Renewal,
    /// The server's time when it began: microseconds since 1970, UTC.
    time: i64,
}

impl Open {
    fn is_renewal_due(&self, now: Millis) -> bool {
        match self.renewal {
            Renewal::Never => false,
            Renewal::Due { at, .. } => now >= at,
            Renewal::Asked { until, .. } => now >= until,
        }
    }
}

/// When a new token is needed.
#[derive(Clone, Copy, Debug)]
enum Renewal {
    /// Never: the token does not expire.
    Never,
    /// Then.
    Due { at: Millis, interval_ms: u64 },
    /// It is asked for, and is to come before.
    Asked { until: Millis, interval_ms: u64 },
}

/// How far the machine is on the way to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing is tried.
    Paused,
    /// The next attempt begins after some time.
    Waiting,
    /// The app is asked for a token.
    Authorizing,
    /// A socket is opened.
    Dialing,
    /// `hello` is sent.
    Greeting,
    /// The server has answered.
    Open,
    /// The end.
    Closed,
}

/// What the app was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    status: Status,
    subscriptions: BTreeMap<SubscriptionId, SubscriptionView>,
}

impl Machine {
    /// A machine that goes on from what is stored, paused.
    pub fn new(config: Config, stored: Stored) -> Self {
        let Stored { client, lanes, subscriptions, since, writers, schema, outbox } = stored;
        let subscriptions: BTreeMap<_, _> = subscriptions
            .into_iter()
            .map(|stored| (stored.id, Subscription::from_stored(stored)))
            .collect();
        let mut machine = Self {
            servers: config.servers.max(1),
            app_version: config.app_version,
            client,
            schema,
            lanes: lanes.into_iter().map(|lane| (lane.lane.clone(), lane)).collect(),
            last_id: subscriptions.keys().next_back().map_or(0, |id| id.0),
            subscriptions,
            statements: Statements::default(),
            syncs: Syncs::default(),
            verify_every_ms: config.verify_every_ms,
            look_ms: (config.stall_ms / 2).max(1),
            checks: BTreeMap::new(),
            since,
            outgoing: writes::from_stored(client, writers, &outbox),
            state: State::Paused,
            connection: Connection::default(),
            attempt: Attempt(0),
            backoff: Backoff::default(),
            server: 0,
            not_before: None,
            failure: None,
            told: Told {
                status: Status { word: StatusWord::Paused, reason: None },
                subscriptions: BTreeMap::new(),
            },
        };
        machine.told = machine.to_tell();
        machine
    }

    /// Something has happened: says what is to be done.
    pub fn handle(&mut self, event: Event, moment: Moment) -> Vec<Instruction> {
        let mut out = Vec::new();
        if self.phase() == Phase::Closed {
            return out;
        }
        // These are the frequent ones. They change rows and positions and nothing that is told.
        let quiet = matches!(
            &event,
            Event::Frame {
                frame: ServerFrame::Delta(_) | ServerFrame::Progress(_) | ServerFrame::Decided(_),
                ..
            } | Event::Wrote(_)
                | Event::Flush
        );
        match event {
            Event::Resume => self.resume(moment, &mut out),
            Event::Pause => self.stop(State::Paused, moment, &mut out),
            Event::Close => {
                self.stop(State::Closed, moment, &mut out);
                self.end_statements(&mut out);
            }
            Event::Nudge => self.nudge(moment, &mut out),
            Event::Unsubscribe(id) => self.unsubscribe(id, &mut out),
            Event::LoadOlder(id, rows) => self.load_older(id, rows, &mut out),
            Event::Reset(id) => self.load_anew(id, &mut out),
            Event::Verify(id) => self.verify(id),
            Event::Compared(of, ours) => self.compared(&of, ours, moment.now, &mut out),
            Event::ForgetStatement(id) => self.forget_statement(id),
            Event::ForgetSync(id) => self.forget_sync(id),
            Event::Wrote(stored) => self.wrote(&stored),
            Event::TakenBack(id) => self.taken_back(id, &mut out),
            Event::Unreadable(id) => self.unreadable(id, &mut out),
            Event::Flush => self.flush(moment, &mut out),
            Event::Tick => self.tick(moment, &mut out),
            Event::TokenReady { attempt, token } if self.is_current(attempt) => {
                self.token_ready(token, moment, &mut out);
            }
            Event::TokenFailed { attempt } if self.is_current(attempt) => {
                self.token_failed(moment, &mut out);
            }
            Event::Connected { attempt } if self.is_current(attempt) => {
                self.connected(moment, &mut out);
            }
            Event::Disconnected { attempt } if self.is_current(attempt) => {
                self.disconnected(moment, &mut out);
            }
            Event::Frame { attempt, frame } if self.is_current(attempt) => {
                self.frame(frame, moment, &mut out);
            }
            // Of an attempt that is over.
            Event::TokenReady { .. }
            | Event::TokenFailed { .. }
            | Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::Frame { .. } => {}
        }
        if !quiet || self.phase() != Phase::Open {
            self.look_at_checks(moment, &mut out);
            self.send_syncs(moment.now, &mut out);
            self.tell(&mut out);
            self.note_behind(moment.now);
        }
        out
    }

    /// When the machine wants an [`Event::Tick`], if nothing else happens.
    pub fn wakes_at(&self) -> Option<Millis> {
        match &self.state {
            State::Paused | State::Closed => None,
            State::Waiting { until }
            | State::Authorizing { until }
            | State::Dialing { until, .. }
            | State::Greeting { until } => Some(*until),
            State::Open(open) => {
                let renewal = match open.renewal {
                    Renewal::Never => None,
                    Renewal::Due { at, .. } => Some(at),
                    Renewal::Asked { until, .. } => Some(until),
                };
                let dead = open.heard.after(open.silence_ms_max);
                let due = [self.sends_again_at(), self.looks_at(), self.checks_at()];
                let due = due.into_iter().chain([renewal, self.syncs.again_at()]).flatten();
                due.chain([dead]).min()
            }
        }
    }

    /// How far the machine is on the way to a connection.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Paused => Phase::Paused,
            State::Waiting { .. } => Phase::Waiting,
            State::Authorizing { .. } => Phase::Authorizing,
            State::Dialing { .. } => Phase::Dialing,
            State::Greeting { .. } => Phase::Greeting,
            State::Open(_) => Phase::Open,
            State::Closed => Phase::Closed,
        }
    }

    /// How it is with the connection.
    pub fn status(&self) -> Status {
        let offline = |failure: &Reason| match failure.code() {
            ErrorCode::NeedsAuth => StatusWord::NeedsAuth,
            ErrorCode::UpdateRequired => StatusWord::UpdateRequired,
            _ => StatusWord::Offline,
        };
        let is_current = |subscription: &Subscription| {
            let state = self.state_of(subscription);
            matches!(state, SubscriptionState::Live | SubscriptionState::Refused)
        };
        let word = match self.phase() {
            Phase::Paused => StatusWord::Paused,
            // One more attempt is no news, or it would change to and fro for as long as they fail.
            Phase::Waiting | Phase::Authorizing | Phase::Dialing | Phase::Greeting => {
                self.failure.as_ref().map_or(StatusWord::Connecting, offline)
            }
            Phase::Open if self.subscriptions.values().all(is_current) => StatusWord::Connected,
            Phase::Open => StatusWord::Behind,
            Phase::Closed => StatusWord::Closed,
        };
        Status { word, reason: self.failure.clone() }
    }

    /// How it is with a subscription; `None` when there is none of this number.
    pub fn subscription(&self, id: SubscriptionId) -> Option<SubscriptionView> {
        let subscription = self.subscriptions.get(&id)?;
        Some(SubscriptionView {
            state: self.state_of(subscription),
            rows_loaded: subscription.rows_loaded,
            remaining: subscription.remaining,
            refusal: subscription.refusal.clone(),
        })
    }

    /// What is subscribed to, as it is stored; also what is refused.
    pub fn subscriptions(&self) -> impl Iterator<Item = &StoredSubscription> {
        self.subscriptions.values().map(|subscription| &subscription.stored)
    }

    /// One of them.
    pub fn stored(&self, id: SubscriptionId) -> Option<&StoredSubscription> {
        self.subscriptions.get(&id).map(|subscription| &subscription.stored)
    }

    /// How far a lane is, if something of it is subscribed to.
    pub fn lane(&self, lane: &Lane) -> Option<&StoredLane> {
        self.lanes.get(lane)
    }

    /// How far it is in each lane.
    pub fn lanes(&self) -> impl Iterator<Item = &StoredLane> {
        self.lanes.values()
    }

    /// Which description of the tables is stored.
    pub fn held_schema(&self) -> Option<StoredSchema> {
        self.schema
    }

    fn state_of(&self, subscription: &Subscription) -> SubscriptionState {
        let stored = &subscription.stored;
        let is_live = || {
            self.phase() == Phase::Open
                && self.connection.is_answered(stored.id)
                && stored.lane().is_some_and(|lane| self.connection.is_live(lane))
        };
        match stored.ready {
            _ if subscription.refusal.is_some() => SubscriptionState::Refused,
            // Also while older rows are loaded: those that were here are here, as of now.
            true if !stored.resetting && is_live() => SubscriptionState::Live,
            true => SubscriptionState::Behind,
            false => SubscriptionState::Loading,
        }
    }

    /// Whether something of this attempt still matters.
    fn is_current(&self, attempt: Attempt) -> bool {
        let over = matches!(self.phase(), Phase::Paused | Phase::Waiting | Phase::Closed);
        attempt == self.attempt && !over
    }

    /// Whether there is a socket on which `hello` was sent.
    fn has_connection(&self) -> bool {
        matches!(self.phase(), Phase::Greeting | Phase::Open)
    }

    /// Sends a frame as soon as the server has answered `hello`; not at all without a connection.
    fn send(&mut self, frame: ClientFrame, out: &mut Vec<Instruction>) {
        match self.phase() {
            Phase::Open => out.push(Instruction::Send(frame)),
            Phase::Greeting => self.connection.waiting.push(frame),
            _ => {}
        }
    }

    /// Lanes of which no subscription is left, and in which nothing was written.
    fn unused_lanes(&self) -> BTreeSet<Lane> {
        let is_used = |lane: &Lane| {
            // Of a lane that was written to, a server must not tell an older history.
            self.outgoing.contains_key(lane)
                || self.subscriptions.values().any(|it| it.stored.lane() == Some(lane))
        };
        self.lanes.keys().filter(|lane| !is_used(lane)).cloned().collect()
    }

    /// Forgets lanes of which no subscription is left. While there is a connection the server
    /// still says where they are.
    fn remove_unused_lanes(&mut self, writes: &mut Vec<Write>) {
        for lane in self.unused_lanes() {
            self.lanes.remove(&lane);
            writes.push(Write::RemoveLane(lane));
        }
    }

    fn to_tell(&self) -> Told {
        let views = self.subscriptions.keys().filter_map(|id| Some((*id, self.subscription(*id)?)));
        Told { status: self.status(), subscriptions: views.collect() }
    }

    /// Tells the app what is not as it was told last.
    fn tell(&mut self, out: &mut Vec<Instruction>) {
        let now = self.to_tell();
        let before = std::mem::replace(&mut self.told, now);
        let ids = before.subscriptions.keys().chain(self.told.subscriptions.keys());
        for id in ids.copied().collect::<BTreeSet<_>>() {
            if before.subscriptions.get(&id) != self.told.subscriptions.get(&id) {
                out.push(Instruction::SubscriptionChanged(id));
            }
        }
        if before.status != self.told.status {
            out.push(Instruction::StatusChanged);
        }
    }
}

/// Wants the writes done in one step, if there are any.
fn apply(writes: Vec<Write>, out: &mut Vec<Instruction>) {
    if !writes.is_empty() {
        out.push(Instruction::Apply(Step { writes, synced: false }));
    }
}
