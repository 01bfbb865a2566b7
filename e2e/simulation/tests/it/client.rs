//! A client: a machine, its replica, and the crashes of both.

use protocol::codec;
use std::collections::BTreeMap;

use protocol::frame::v1::{ClientFrame, Received, ServerFrame, Token, read_server};
use protocol::ids::{ClientId, Floor, Lane, SeqId};
use protocol::mutation::{Mutation, Operation};
use sdk_machine::replica::MemoryReplica;
use sdk_machine::{
    Ask, Attempt, Config, Event, Instruction, Machine, Millis, Moment, MutationId, Reason, Settled,
    SubscriptionId, SubscriptionState, Verdict,
};
use server_subscriptions::ConnectionId;

use crate::log::Log;
use crate::node::Node;
use crate::settings::Plan;
use crate::tables::{M, T, U, asked, key_of, lane_of, project, selects};
use crate::twin::{Files, Twin};
use crate::writes::{Mark, Writes};

/// What a client waits for from its platform.
enum Platform {
    Token(Attempt),
    Dial(Attempt),
}

/// A crash to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    /// Behind this transaction, the first of all being 1.
    pub(crate) behind: u64,
    /// What is not synced is lost.
    pub(crate) with_power: bool,
}

const CONFIG: Config =
    Config { servers: 1, verify_every_ms: None, stall_ms: 60_000, app_version: 0 };

pub(crate) struct Client {
    pub(crate) name: usize,
    pub(crate) machine: Machine,
    pub(crate) replica: MemoryReplica,
    /// The same in a file.
    twin: Option<Twin>,
    /// What a power loss may go back to: the replica after earlier steps.
    past: Vec<(MemoryReplica, Option<Files>)>,
    /// Whether its power may fail.
    power: bool,
    platform: Vec<Platform>,
    /// The connection, the attempt it is of, and the node it is with.
    pub(crate) connection: Option<(ConnectionId, Attempt, usize)>,
    pub(crate) now: Millis,
    /// How many transactions it has done.
    pub(crate) commits: u64,
    pub(crate) crash: Option<Crash>,
    has_moved: bool,
    /// What it has written, in which lane, also when a power loss has taken it.
    made: BTreeMap<MutationId, (Lane, Mark)>,
    /// How much of what was settled was looked at.
    looked_at: usize,
    /// Whether there is a replica that was copied.
    pub(crate) is_copied: bool,
    /// Nothing arrives on its connection, in either direction.
    pub(crate) is_silent: bool,
    /// A row of it is not as the server has said it any more.
    pub(crate) is_spoilt: bool,
}

impl Client {
    pub(crate) fn new(name: usize, plan: &Plan) -> Self {
        let id = ClientId::from_bytes([name as u8; 16]);
        let mut replica = MemoryReplica::new(id);
        let machine = Machine::new(CONFIG, replica.load());
        Self {
            name,
            machine,
            replica,
            twin: plan.files.then(|| Twin::new(id)),
            past: Vec::new(),
            platform: Vec::new(),
            connection: None,
            now: Millis(1),
            power: plan.power,
            commits: 0,
            crash: None,
            has_moved: false,
            made: BTreeMap::new(),
            looked_at: 0,
            is_copied: false,
            is_silent: false,
            is_spoilt: false,
        }
    }

    fn moment(&self, chance: u64) -> Moment {
        Moment { now: self.now, chance }
    }

    pub(crate) fn event(&mut self, event: Event, chance: u64, nodes: &mut [Node]) {
        let instructions = self.machine.handle(event, self.moment(chance));
        self.execute(instructions, nodes);
    }

    pub(crate) fn ask(&mut self, text: &str, fetch_last: Option<u64>, nodes: &mut [Node]) {
        let (sql, params) = (text.to_owned(), vec![]);
        let (_, instructions) =
            self.machine.subscribe(Ask { sql, params, fetch_last, batch_rows: None }).unwrap();
        self.execute(instructions, nodes);
    }

    fn execute(&mut self, instructions: Vec<Instruction>, nodes: &mut [Node]) {
        let mut compared = Vec::new();
        for instruction in instructions {
            match instruction {
                Instruction::Compare(of) => {
                    let ours = self.replica.digest(&of);
                    if let Some(twin) = &self.twin {
                        twin.check_digest(&of, &self.replica);
                    }
                    compared.push(Event::Compared(of, ours));
                }
                Instruction::Verified(_, Verdict::Different(what)) => {
                    assert!(self.is_spoilt, "client {}: a false alarm: {what:?}", self.name);
                }
                Instruction::Verified(..) | Instruction::ServerIs(..) => {}
                Instruction::AskToken { attempt } => self.platform.push(Platform::Token(attempt)),
                Instruction::Dial { attempt, .. } => self.platform.push(Platform::Dial(attempt)),
                Instruction::Send(frame) => drop(self.send(&frame, nodes)),
                Instruction::Mutate(outgoing) => {
                    let mutate = self.replica.mutate(&outgoing);
                    if let Some(twin) = &self.twin {
                        assert_eq!(twin.mutate(&outgoing), mutate);
                    }
                    let frame = ClientFrame::Mutate(Box::new(mutate));
                    self.has_moved |= self.send(&frame, nodes);
                }
                Instruction::MutationChanged(id, _) => {
                    assert!(self.made.contains_key(&id), "what this client has written");
                }
                Instruction::Hangup { attempt } => {
                    if self.connection.is_some_and(|(_, of, _)| of == attempt) {
                        self.cut(nodes);
                    }
                }
                Instruction::Apply(step) => {
                    self.keep_past();
                    let is_synced = step.synced;
                    if let Some(twin) = &mut self.twin {
                        twin.apply(&step);
                    }
                    self.replica.execute(step);
                    if is_synced {
                        self.past.clear();
                    }
                    self.has_moved = true;
                    if !self.committed(nodes) {
                        // Nothing that follows happens any more.
                        return;
                    }
                }
                Instruction::SubscriptionChanged(_)
                | Instruction::StatusChanged
                | Instruction::StatementEnded(..) => {}
                Instruction::Same { asked, is } => {
                    assert!(self.machine.subscription(asked).is_none());
                    assert!(self.machine.subscription(is).is_some());
                }
            }
        }
        for event in compared {
            self.event(event, 0, nodes);
        }
    }

    /// Says whether there is somebody to send it to.
    fn send(&self, frame: &ClientFrame, nodes: &mut [Node]) -> bool {
        let Some((id, _, node)) = self.connection else { return false };
        let Some(socket) = nodes[node].sockets.get_mut(&id) else { return false };
        socket.up.push_back(codec::encode(frame).into());
        true
    }

    fn keep_past(&mut self) {
        let files = self.twin.as_ref().filter(|_| self.power).map(Twin::files);
        self.past.push((self.replica.clone(), files));
        if self.past.len() > 12 {
            self.past.remove(0);
        }
    }

    /// The app writes.
    pub(crate) fn write(
        &mut self,
        mark: Mark,
        operations: Vec<Operation>,
        writes: &mut Writes,
        nodes: &mut [Node],
    ) {
        let lane = lane_of(operations[0].table);
        self.keep_past();
        let mutation = match &mut self.twin {
            None => Mutation { operations },
            Some(twin) => match twin.write(&operations) {
                Some((_, mutation)) => mutation,
                // The table is not known yet, a row is there already, or nothing is another.
                None => return twin.check(&self.replica),
            },
        };
        writes.wrote(mark, &mutation);
        let rows = mutation.operations.iter().map(|one| (one.table, key_of(&one.action))).collect();
        let stored = self.replica.wrote(lane.clone(), mutation, rows);
        self.made.insert(stored.id, (lane, mark));
        if self.committed(nodes) {
            self.event(Event::Wrote(stored), 0, nodes);
        }
    }

    /// A transaction has ended. Says whether the process goes on.
    fn committed(&mut self, nodes: &mut [Node]) -> bool {
        if let Some(twin) = &mut self.twin {
            twin.check(&self.replica);
        }
        self.commits += 1;
        let Some(crash) = self.crash.take_if(|crash| crash.behind <= self.commits) else {
            return true;
        };
        match crash.with_power {
            true => self.lose_power(0, nodes),
            false => self.crash(nodes),
        }
        false
    }

    /// The app takes back what it can.
    pub(crate) fn take_back(&mut self, choice: usize, nodes: &mut [Node]) {
        let waiting = self.replica.waiting().iter().filter(|(_, waiting)| !waiting.is_cancelled);
        let waiting: Vec<MutationId> = waiting.map(|(id, _)| *id).collect();
        let Some(id) = waiting.get(choice % waiting.len().max(1)).copied() else { return };
        if self.machine.may_take_back(id) {
            self.keep_past();
            self.replica.take_back(id);
            if let Some(twin) = &mut self.twin {
                twin.take_back(id);
            }
            if self.committed(nodes) {
                self.event(Event::TakenBack(id), 0, nodes);
            }
        }
    }

    /// What was written is sent, as far as it may be.
    pub(crate) fn flush(&mut self, nodes: &mut [Node]) -> bool {
        let has_to = self.machine.has_to_send(self.now);
        if has_to {
            self.event(Event::Flush, 0, nodes);
        }
        has_to
    }

    /// The file of another client is put in place of its own.
    pub(crate) fn become_copy(&mut self, of: &mut Self, nodes: &mut [Node]) {
        self.replica = of.replica.clone();
        if let (Some(twin), Some(of)) = (&mut self.twin, &of.twin) {
            twin.replace(&of.files());
        }
        self.made = of.made.clone();
        self.looked_at = self.replica.settled().len();
        self.past.clear();
        (self.is_copied, of.is_copied) = (true, true);
        self.crash(nodes);
    }

    /// The connection ends, and the machine does not know yet.
    pub(crate) fn cut(&mut self, nodes: &mut [Node]) -> Option<Attempt> {
        self.is_silent = false;
        let (id, attempt, node) = self.connection.take()?;
        nodes[node].disconnect(id);
        Some(attempt)
    }

    pub(crate) fn crash(&mut self, nodes: &mut [Node]) {
        self.cut(nodes);
        self.platform.clear();
        let stored = self.replica.load();
        if let Some(twin) = &mut self.twin {
            twin.replace(&twin.files());
            assert_eq!(twin.load(), stored, "the file, and memory");
        }
        self.machine = Machine::new(CONFIG, stored);
        self.event(Event::Resume, 0, nodes);
    }

    /// The power fails: some of the last transactions never were.
    pub(crate) fn lose_power(&mut self, choice: usize, nodes: &mut [Node]) {
        if !self.past.is_empty() {
            let back = choice % self.past.len();
            let (replica, files) = self.past.swap_remove(back);
            self.replica = replica;
            if let (Some(twin), Some(files)) = (&mut self.twin, files) {
                twin.replace(&files);
            }
            self.past.truncate(back);
        }
        self.crash(nodes);
    }

    /// What is on the way got lost, if its connection is silent.
    pub(crate) fn hush(&mut self, nodes: &mut [Node]) -> bool {
        let Some((id, _, node)) = self.connection.filter(|_| self.is_silent) else { return false };
        if let Some(socket) = nodes[node].sockets.get_mut(&id) {
            socket.up.clear();
            while socket.down.pop().is_some() {}
        }
        true
    }

    /// Whether it waits for a token, or for a socket.
    pub(crate) fn awaits_platform(&self) -> Option<bool> {
        self.platform.last().map(|next| matches!(next, Platform::Token(_)))
    }

    /// The platform cannot do what the machine waits for.
    pub(crate) fn refuse(&mut self, nodes: &mut [Node]) {
        let event = match self.platform.pop() {
            Some(Platform::Token(attempt)) => Event::TokenFailed { attempt },
            Some(Platform::Dial(attempt)) => Event::Disconnected { attempt },
            None => return,
        };
        self.event(event, u64::MAX, nodes);
    }

    /// The platform does what the machine waits for.
    pub(crate) fn platform(&mut self, id: ConnectionId, node: usize, nodes: &mut [Node]) -> bool {
        let Some(next) = self.platform.pop() else { return false };
        match next {
            Platform::Token(attempt) => {
                self.event(
                    Event::TokenReady { attempt, token: Token("token".to_owned()) },
                    0,
                    nodes,
                );
            }
            Platform::Dial(attempt) => {
                // One of an attempt that was given up comes late, and is of no use.
                if self.connection.is_none_or(|(_, of, _)| of < attempt) {
                    self.cut(nodes);
                    nodes[node].connect(id);
                    self.connection = Some((id, attempt, node));
                }
                self.event(Event::Connected { attempt }, 0, nodes);
            }
        }
        true
    }

    /// Reads the next frame from the socket.
    pub(crate) fn receive(&mut self, chance: u64, nodes: &mut [Node]) -> bool {
        let Some((id, attempt, node)) = self.connection else { return false };
        let Some(bytes) = nodes[node].sockets.get(&id).and_then(|socket| socket.down.pop()) else {
            return false;
        };
        nodes[node].drained(id);
        let Received::Known(frame) = read_server(&bytes).unwrap() else {
            panic!("a frame that the client does not know")
        };
        self.has_moved |= !matches!(frame, ServerFrame::Progress(_));
        self.event(Event::Frame { attempt, frame }, chance, nodes);
        if let Some(Reason::Violation(what)) = self.machine.status().reason {
            panic!("client {}: the server has said what cannot be: {what}", self.name);
        }
        true
    }

    /// Holds what was written against what was decided.
    fn check_writes(&mut self, log: &mut Log) {
        let settled = self.replica.settled();
        self.looked_at = self.looked_at.min(settled.len());
        for (id, settled) in &settled[self.looked_at..] {
            let (lane, mark) = &self.made[id];
            let at = self.replica.lane(lane).expect("something was sent there");
            match settled {
                Settled::Accepted(seq) => {
                    let was = log.writes.was_accepted(at.epoch, *mark, *seq);
                    assert!(was, "{mark:?} was not accepted there (INV-1)");
                    assert!(*seq <= at.seq, "{mark:?} is settled before its rows are here");
                }
                Settled::Rejected(_) => {
                    let was = log.writes.was_rejected(at.epoch, *mark);
                    assert!(was, "{mark:?} was not rejected there (INV-1)");
                }
                Settled::Uncertain => {
                    let may_be = self.is_copied || log.has_forgotten() || log.has_come_back();
                    assert!(may_be, "{mark:?} of client {} is uncertain", self.name);
                    if self.is_copied {
                        let waiting = self.replica.waiting().keys().map(|id| &self.made[id]);
                        let here = waiting.filter(|(of, _)| of == lane);
                        log.writes.may_double(here.map(|(_, mark)| *mark));
                    }
                }
            }
        }
        self.looked_at = settled.len();
        // Of what a server has forgotten, and of what copies have sent, a client hears later.
        if self.is_copied || log.has_forgotten() {
            return;
        }
        for (id, waiting) in self.replica.waiting() {
            let (lane, mark) = &self.made[id];
            let Some(at) = self.replica.lane(lane) else { continue };
            let is_here = log.writes.is_behind(at.epoch, *mark, at.seq);
            assert!(!is_here || waiting.is_cancelled, "{mark:?} waits, and is here (INV-9)");
        }
    }

    /// Holds the replica against what the lanes were.
    pub(crate) fn check(&mut self, log: &mut Log) {
        self.check_writes(log);
        if self.is_spoilt {
            return;
        }
        for stored in self.replica.subscriptions() {
            let (Some(known), Some(floor)) = (&stored.known, stored.floor) else { continue };
            let lane = self.replica.lane(&known.lane).expect("a floor without a frontier");
            let at = (lane.lane.clone(), lane.epoch, lane.seq);
            let Some(moment) = log.moments.get(&at) else {
                panic!("client {}: {at:?} is no commit's end (INV-3)", self.name)
            };
            let query = asked(&stored.texts[0].sql);
            let expected: std::collections::BTreeMap<_, _> = moment
                .iter()
                .filter(|((table, birth), row)| {
                    *table == known.table.id
                        && floor.holds(*birth)
                        && selects(&query.predicate, row)
                })
                .map(|((_, birth), row)| (*birth, project(row, &known.columns)))
                .collect();
            let rows = self.replica.rows(stored.id);
            let held: std::collections::BTreeMap<_, _> = rows.into_values().collect();
            assert_eq!(
                held, expected,
                "client {} has of {:?} as of {at:?} down to {floor:?} (INV-4)",
                self.name, stored.texts
            );
        }
    }

    /// What must be so when all faults have ended.
    pub(crate) fn check_rest(&mut self, log: &mut Log) {
        self.check(log);
        assert!(self.replica.waiting().is_empty(), "client {} has sent all (INV-8)", self.name);
        assert_eq!(
            self.machine.status().word,
            sdk_machine::StatusWord::Connected,
            "client {} is connected (INV-8)",
            self.name
        );
        for stored in self.replica.subscriptions() {
            let view = self.machine.subscription(stored.id).unwrap();
            assert_eq!(view.state, SubscriptionState::Live, "client {}", self.name);
            assert!(stored.is_complete() && !stored.resetting);
            let lane = self.replica.lane(&stored.known.as_ref().unwrap().lane).unwrap();
            let newest: (_, SeqId) = log.lanes[&lane.lane];
            assert_eq!((lane.epoch, lane.seq), newest, "client {} is where the log is", self.name);
            if stored.fetch_last.is_none() {
                assert_eq!(stored.floor, Some(Floor::COMPLETE));
            }
            assert_eq!(self.replica.ghosts(stored.id).len(), 0, "nothing is kept after a reset");
        }
        let held: usize = self.replica.subscriptions().count();
        if held == 0 {
            for table in [T, U, M] {
                assert!(self.replica.visible(table).is_empty(), "a row that nobody holds");
            }
        }
    }

    /// Compares all that it has with the server.
    pub(crate) fn verify_all(&mut self, nodes: &mut [Node]) {
        for id in self.subscriptions() {
            self.event(Event::Verify(id), 0, nodes);
        }
        self.has_moved = true;
    }

    /// Whether it has heard or written anything since this was asked last, signs of life aside.
    pub(crate) fn moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    pub(crate) fn text_of(&self, id: SubscriptionId) -> String {
        self.replica.subscription(id).unwrap().texts[0].sql.clone()
    }

    pub(crate) fn subscriptions(&self) -> Vec<SubscriptionId> {
        self.replica.subscriptions().map(|stored| stored.id).collect()
    }
}
