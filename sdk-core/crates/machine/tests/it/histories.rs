//! A client follows a server through random histories: commits, loads, cuts, crashes, full disks,
//! resets, restores of the server, subscriptions that come and go while frames are under way.
//!
//! After every step the replica is compared with the server's history at the client's frontier
//! (INV-4), so a frontier ahead of rows (INV-5) or a commit that is missing, torn or doubled
//! (INV-3) shows at once. In the end everything comes to rest, live and complete.

mod server;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use protocol::ids::Epoch;
use sdk_machine::replica::{Key, Spoiling};
use sdk_machine::{
    Event, Instruction, Machine, Moment, Phase, Reason, SubscriptionId, SubscriptionState, Verdict,
};

use crate::client::{CONFIG, Client, EPOCH, ask, birth, key, lane};
use server::{Connection, Lane, State, TEXTS, matching};

#[derive(Clone, Debug)]
enum Move {
    /// Rows are written: key, and room with text, or deleted first where `fresh`.
    Commit(Vec<(i64, bool, Option<i64>)>),
    Receive,
    Work {
        last_piece: bool,
        rows: usize,
    },
    Deliver(usize),
    Cut,
    Crash,
    /// The next step that is to be applied cannot be.
    FullDisk,
    Subscribe {
        text: usize,
        window: Option<u64>,
    },
    Unsubscribe(usize),
    LoadOlder(usize, u64),
    Anew(usize),
    Verify(usize),
    /// A row is not any more as the server has said it. Once in a history.
    Spoil(usize, usize, Spoiling),
    Lag,
    ServerReset(u64),
    Restore(usize),
    Progress,
    Connect,
    /// The table gets a column.
    Alter,
}

fn a_move() -> impl Strategy<Value = Move> {
    let write = (0..6_i64, any::<bool>(), proptest::option::weighted(0.75, 1..3_i64));
    prop_oneof![
        8 => vec(write, 1..4).prop_map(Move::Commit),
        6 => Just(Move::Receive),
        8 => (any::<bool>(), 1..4_usize)
            .prop_map(|(last_piece, rows)| Move::Work { last_piece, rows }),
        10 => (1..5_usize).prop_map(Move::Deliver),
        1 => Just(Move::Cut),
        1 => Just(Move::Crash),
        1 => Just(Move::FullDisk),
        3 => (0..TEXTS.len(), proptest::option::of(0..6_u64))
            .prop_map(|(text, window)| Move::Subscribe { text, window }),
        1 => (0..4_usize).prop_map(Move::Unsubscribe),
        2 => (0..4_usize, 1..4_u64).prop_map(|(which, rows)| Move::LoadOlder(which, rows)),
        1 => (0..4_usize).prop_map(Move::Anew),
        3 => (0..4_usize).prop_map(Move::Verify),
        1 => (0..4_usize, 0..6_usize, select(vec![Spoiling::Value, Spoiling::Lost, Spoiling::Birth]))
            .prop_map(|(which, place, how)| Move::Spoil(which, place, how)),
        1 => Just(Move::Lag),
        1 => (1..4_u64).prop_map(Move::ServerReset),
        1 => (0..4_usize).prop_map(Move::Restore),
        2 => Just(Move::Progress),
        4 => Just(Move::Connect),
        1 => Just(Move::Alter),
    ]
}

#[test]
fn a_replica_is_at_every_moment_one_moment_of_the_server() {
    seeds::check("machine-histories", 2_000, &vec(a_move(), 10..150), |moves| {
        let mut world = World::new();
        for step in moves {
            world.step(step);
            world.check()?;
        }
        world.come_to_rest()
    });
}

struct World {
    client: Client,
    lane: Lane,
    /// The histories that a restore has replaced.
    old: Vec<Lane>,
    connection: Option<Connection>,
    full_disk: bool,
    /// A row is spoilt. How often something was found to be different.
    is_spoilt: bool,
    found: usize,
}

impl World {
    fn new() -> Self {
        let ends = BTreeMap::from([(0, State::new())]);
        let mut lane = Lane { epoch: EPOCH, version: 1, ends };
        let old = |id: u64| {
            (id.cast_signed(), (id + 1, 1 + id.cast_signed() % 2, "old".to_owned(), Vec::new()))
        };
        lane.ends.insert(4, (0..4).map(old).collect());
        Self {
            client: Client::new(),
            lane,
            old: Vec::new(),
            connection: None,
            full_disk: false,
            is_spoilt: false,
            found: 0,
        }
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Commit(writes) => self.commit(&writes),
            Move::Cut => {
                if self.connection.take().is_some() {
                    let attempt = self.client.attempt;
                    self.event(Event::Disconnected { attempt });
                }
            }
            Move::Crash => self.crash(),
            Move::FullDisk => self.full_disk = true,
            Move::Deliver(frames) => {
                for _ in 0..frames {
                    self.deliver();
                }
            }
            Move::Subscribe { text, window } => {
                if let Ok((_, instructions)) =
                    self.client.machine.subscribe(ask(TEXTS[text].0, window))
                {
                    self.follow(instructions);
                }
            }
            Move::Unsubscribe(which) => self.app(which, Event::Unsubscribe),
            Move::LoadOlder(which, rows) => self.app(which, |id| Event::LoadOlder(id, rows)),
            Move::Anew(which) => self.app(which, Event::Reset),
            Move::Verify(which) => self.app(which, Event::Verify),
            Move::Spoil(which, place, how) => self.spoil(which, place, how),
            Move::Connect => self.connect(),
            Move::Restore(lost) => self.restore(lost),
            Move::Alter => self.alter(),
            Move::Receive
            | Move::Work { .. }
            | Move::Lag
            | Move::ServerReset(_)
            | Move::Progress => {
                self.server(step);
            }
        }
    }

    fn server(&mut self, step: Move) {
        let Some(connection) = &mut self.connection else { return };
        match step {
            Move::Receive => {
                connection.receive(&self.lane);
            }
            Move::Work { last_piece, rows } => {
                connection.work(&self.lane, last_piece, rows);
            }
            Move::Lag => connection.lag(),
            Move::ServerReset(query) => connection.reset(query, self.lane.version),
            _ => connection.progress(&self.lane),
        }
    }

    fn commit(&mut self, writes: &[(i64, bool, Option<i64>)]) {
        let (mut at, state) = self.lane.head();
        let before = state.clone();
        let mut state = before.clone();
        for (id, fresh, room) in writes {
            let old = state.remove(id);
            // The changes of a commit are net: a row that is changed twice is changed once.
            let changed = |at: &mut u64| {
                *at += 1;
                *at
            };
            let Some(room) = room else {
                if old.is_some() {
                    changed(&mut at);
                }
                continue;
            };
            let at = changed(&mut at);
            let born = old.filter(|_| !fresh).map_or(at, |(born, ..)| born);
            let added = vec![at.cast_signed(); self.lane.version as usize - 1];
            state.insert(*id, (born, *room, format!("written at {at}"), added));
        }
        if at > self.lane.head().0 {
            self.lane.ends.insert(at, state);
            if let Some(connection) = &mut self.connection {
                connection.commit(&self.lane);
            }
        }
    }

    /// Rows of before hold the default of the new column, which is the last that a few get.
    fn alter(&mut self) {
        if self.lane.version < 4 {
            self.lane.version += 1;
            if let Some(connection) = &mut self.connection {
                connection.alter(&self.lane);
            }
        }
    }

    /// The app does something with one of the subscriptions.
    fn app(&mut self, which: usize, event: impl Fn(SubscriptionId) -> Event) {
        let stored = self.client.replica.clone().load().subscriptions;
        if let Some(subscription) = stored.get(which) {
            self.event(event(subscription.id));
        }
    }

    fn spoil(&mut self, which: usize, place: usize, how: Spoiling) {
        let stored = self.client.replica.clone().load().subscriptions;
        if let Some(subscription) = stored.get(which).filter(|_| !self.is_spoilt) {
            self.is_spoilt = self.client.replica.spoil(subscription.id, place, how);
        }
    }

    fn connect(&mut self) {
        self.client.now = self.client.now.after(1_000);
        let event = match self.client.machine.phase() {
            Phase::Waiting => Event::Nudge,
            _ => Event::Resume,
        };
        self.event(event);
    }

    fn deliver(&mut self) {
        let frame = self.connection.as_mut().and_then(|connection| connection.down.pop_front());
        if let Some(frame) = frame {
            let attempt = self.client.attempt;
            self.event(Event::Frame { attempt, frame });
        }
    }

    fn event(&mut self, event: Event) {
        let moment = Moment { now: self.client.now, chance: 7 };
        let instructions = self.client.machine.handle(event, moment);
        self.follow(instructions);
    }

    fn follow(&mut self, instructions: Vec<Instruction>) {
        let mut compared = Vec::new();
        for instruction in instructions {
            match instruction {
                Instruction::Compare(of) => {
                    let ours = self.client.replica.digest(&of);
                    compared.push(Event::Compared(of, ours));
                }
                Instruction::Verified(_, Verdict::Different(_)) => self.found += 1,
                Instruction::Verified(..) | Instruction::ServerIs(..) => {}
                Instruction::AskToken { attempt } => {
                    self.client.attempt = attempt;
                    let token = protocol::frame::v1::Token("token".to_owned());
                    self.event(Event::TokenReady { attempt, token });
                }
                Instruction::Dial { attempt, .. } => {
                    self.connection = Some(Connection::default());
                    self.event(Event::Connected { attempt });
                }
                Instruction::Send(frame) => {
                    let connection = self.connection.as_mut().expect("sent on a socket");
                    connection.up.push_back(frame);
                }
                Instruction::Hangup { .. } => self.connection = None,
                Instruction::Apply(_) if std::mem::take(&mut self.full_disk) => {
                    self.crash();
                    return;
                }
                Instruction::Apply(step) => self.client.replica.execute(step),
                Instruction::StatementEnded(..)
                | Instruction::Mutate(_)
                | Instruction::MutationChanged(..)
                | Instruction::StatusChanged
                | Instruction::SubscriptionChanged(_)
                | Instruction::Same { .. } => {}
            }
        }
        for event in compared {
            self.event(event);
        }
    }

    fn crash(&mut self) {
        self.connection = None;
        let stored = self.client.replica.load();
        self.client.machine = Machine::new(CONFIG, stored);
    }

    /// The server is restored from a backup that lacks the last commits.
    fn restore(&mut self, lost: usize) {
        self.old.push(self.lane.clone());
        for _ in 0..lost.min(self.lane.ends.len() - 1) {
            self.lane.ends.pop_last();
        }
        self.lane.epoch = Epoch::from_bytes([u8::try_from(self.old.len() + 1).unwrap(); 16]);
        if let Some(connection) = &mut self.connection {
            connection.begin_anew(self.lane.version);
        }
    }

    /// The history in which the client is.
    fn history(&self) -> &BTreeMap<u64, State> {
        let epoch = self.client.replica.lane(&lane()).map(|stored| stored.epoch);
        let old = self.old.iter().find(|old| Some(old.epoch) == epoch);
        &old.unwrap_or(&self.lane).ends
    }

    /// Compares what is held with the history.
    fn check(&self) -> Result<(), TestCaseError> {
        let reason = self.client.machine.status().reason;
        let violated = matches!(reason, Some(Reason::Violation(_)));
        prop_assert!(!violated, "an honest server is hung up on: {reason:?}");
        prop_assert!(self.is_spoilt || self.found == 0, "a false alarm");
        if self.is_spoilt {
            return Ok(());
        }
        for stored in self.client.replica.clone().load().subscriptions {
            let held = self.client.replica.rows(stored.id);
            let Some(floor) = stored.floor else {
                prop_assert!(held.is_empty(), "rows without a floor");
                continue;
            };
            let at = self.client.position().expect("a floor has a frontier");
            let state = self.history().get(&at);
            prop_assert!(state.is_some(), "the frontier {at} is the end of no commit");
            let query = TEXTS.iter().find(|(text, _)| *text == stored.texts[0].sql).unwrap().1;
            let mut expected = BTreeMap::new();
            let version = stored.known.as_ref().map_or(1, |known| known.table.version.0);
            for (id, row) in state.into_iter().flatten() {
                if let Some(values) =
                    matching(query, *id, row, version).filter(|_| floor.holds(birth(row.0)))
                {
                    expected.insert(Key(key(*id)), (birth(row.0), values));
                }
            }
            prop_assert_eq!(held, expected, "{:?} at {} down to {:?}", stored.texts, at, floor);
        }
        Ok(())
    }

    /// Nothing is in the way any more: everything comes to be live and complete.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        self.full_disk = false;
        for _ in 0..3 {
            self.connect();
            self.check()?;
        }
        self.work_all()?;
        if self.is_spoilt {
            for which in 0..4 {
                self.app(which, Event::Verify);
            }
            self.work_all()?;
            // Whatever was wrong was found and mended.
            (self.is_spoilt, self.found) = (false, 0);
            self.check()?;
        }
        let (_, state) = self.lane.head();
        for stored in self.client.replica.clone().load().subscriptions {
            let view = self.client.machine.subscription(stored.id).unwrap();
            prop_assert_eq!(view.state, SubscriptionState::Live, "{:?}", &stored);
            prop_assert!(self.client.replica.ghosts(stored.id).is_empty(), "ghosts of {stored:?}");
            let query = TEXTS.iter().find(|(text, _)| *text == stored.texts[0].sql).unwrap().1;
            let all = state.iter().filter(|(id, row)| matching(query, **id, row, 1).is_some());
            if stored.fetch_last.is_none() {
                prop_assert_eq!(self.client.replica.rows(stored.id).len(), all.count());
            }
        }
        Ok(())
    }

    fn work_all(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..200 {
            if let Some(connection) = &mut self.connection {
                while connection.receive(&self.lane) {}
                connection.work(&self.lane, true, 2);
            }
            while self.connection.as_ref().is_some_and(|open| !open.down.is_empty()) {
                self.deliver();
                self.check()?;
            }
        }
        Ok(())
    }
}
