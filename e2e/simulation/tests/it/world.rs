//! The loop.

mod faults;
mod rest;

use fastrand::Rng;

use protocol::ids::{Lane, SchemaVersion, TableId};
use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::value::{Row, Value};
use sdk_machine::Event;
use server_engine::{Command, Write};
use server_subscriptions::ConnectionId;

use crate::attempts::Errands;
use crate::client::Client;
use crate::log::Log;
use crate::node::{Node, ann};
use crate::settings::Plan;
use crate::tables::{A, B, G, ID, M, MARK, T, TEXTS, U, key_of, lane_of};
use crate::writes::Mark;

/// Two of the longest waits before an attempt, and a little for each of the writes of a burst, which waits
/// for others to go with it. Nothing else waits once there are no faults.
const REST_MS: u64 = 2 * 20_000 + 1_000;

pub(crate) struct World {
    rng: Rng,
    plan: Plan,
    pub(crate) log: Log,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    connections: u64,
    pub(crate) errands: Errands,
    /// How long it may take to come to rest, in milliseconds.
    pub(crate) rest_ms_max: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        Self::with(rng, plan)
    }

    pub(crate) fn with(rng: Rng, plan: Plan) -> Self {
        let log = Log::new();
        let nodes = (0..plan.nodes).map(|_| Node::new(&plan)).collect();
        let clients = (0..plan.clients).map(|name| Client::new(name, &plan)).collect();
        let mut world = {
            let errands = Errands::default();
            let (connections, rest_ms_max) = (0, REST_MS);
            Self { rng, plan, log, nodes, clients, connections, errands, rest_ms_max }
        };
        for client in &mut world.clients {
            client.event(Event::Resume, 0, &mut world.nodes);
        }
        for node in &mut world.nodes {
            node.now = world.log.now;
            while node.apply(&world.log) {
                node.push();
                node.handle();
            }
        }
        world
    }

    /// Random steps, then a fair run to rest.
    pub(crate) fn run(mut self) {
        for _ in 0..self.plan.steps {
            self.step();
            self.check();
        }
        self.rest();
    }

    pub(crate) fn check(&mut self) {
        for client in &mut self.clients {
            client.check(&mut self.log);
        }
    }

    fn step(&mut self) {
        let node = self.rng.usize(..self.nodes.len());
        let client = self.rng.usize(..self.clients.len());
        if self.rng.u8(..25) == 0 {
            return self.rush();
        }
        if self.plan.restores && self.rng.u8(..50) == 0 {
            return self.back_up_or_restore();
        }
        if self.plan.bursts && self.rng.u8(..100) == 0 {
            return self.burst(client);
        }
        if self.plan.compares && self.rng.u8(..16) == 0 {
            return self.compare(client);
        }
        match self.rng.u32(..if self.plan.copies { 137 } else { 132 }) {
            100..112 if self.plan.writes => self.client_writes(client),
            112..120 => drop(self.clients[client].flush(&mut self.nodes)),
            120..132 => drop(self.propose(node, true)),
            132..137 => self.copy(client),
            0..12 => self.write(),
            12..22 => drop(self.nodes[node].apply(&self.log)),
            22..32 => drop(self.nodes[node].push()),
            32..43 => drop(self.nodes[node].handle()),
            43..49 => {
                let choice = self.rng.usize(..100);
                self.nodes[node].answer(choice);
            }
            49..55 => {
                let (choice, fails) = (self.rng.usize(..100), self.rng.u8(..20) == 0);
                self.nodes[node].read(choice, fails);
            }
            55..57 => {
                let is_there = self.rng.u8(..4) > 0;
                if !self.nodes[node].lead(&self.log, is_there) {
                    self.nodes[node].tick();
                }
            }
            57..63 => self.up(client),
            63..78 => {
                let chance = self.rng.u64(..);
                self.clients[client].receive(chance, &mut self.nodes);
            }
            78..82 => drop(self.connect(client)),
            82..88 => self.app(client),
            88..91 => {
                if let Some((id, _, node)) = self.clients[client].connection {
                    self.nodes[node].progress(id);
                }
            }
            91..95 => self.fault_of_client(client),
            95..98 => self.fault_of_server(node),
            _ => self.pass_time(client),
        }
    }

    /// All goes well for a while: most of what can go wrong needs somebody to be live before.
    fn rush(&mut self) {
        for _ in 0..self.rng.usize(1..16) {
            self.turn();
            self.check();
        }
    }

    /// A frame of a client arrives at its node.
    fn up(&mut self, client: usize) {
        if let Some((id, _, node)) = self.clients[client].connection {
            self.nodes[node].receive(id, &mut self.log);
        }
    }

    /// The app of a client writes, or takes back what it wrote.
    fn client_writes(&mut self, client: usize) {
        if self.rng.u8(..6) == 0 {
            let choice = self.rng.usize(..10);
            return self.clients[client].take_back(choice, &mut self.nodes);
        }
        let is_own = self.rng.bool();
        let mark = self.log.writes.next();
        let mut operations = Vec::new();
        if self.rng.u8(..3) == 0 {
            operations.push(self.operation(is_own));
        }
        operations.push(self.marked(is_own, mark));
        self.clients[client].write(mark, operations, &mut self.log.writes, &mut self.nodes);
    }

    /// An operation that nobody else makes. The server may refuse it.
    fn marked(&mut self, is_own: bool, mark: Mark) -> Operation {
        let mut operation = self.operation(is_own);
        let id = ColumnValue(ID, key_of(&operation.action)[0].clone());
        let marked = ColumnValue(MARK, Value::Integer(mark.0));
        operation.action = match self.rng.u8(..4) {
            0 => Action::Insert(vec![id, marked]),
            1 => {
                let key: Row = [id.1].into_iter().collect();
                Action::Patch { key, changes: vec![ColumnChange::Set(marked)] }
            }
            _ => Action::Upsert(vec![id, marked]),
        };
        operation
    }

    /// What a client has written comes to the log: late, twice, or not at all.
    fn propose(&mut self, node: usize, with_faults: bool) -> bool {
        let count = self.nodes[node].proposals.len();
        if count == 0 {
            return false;
        }
        let faults = if with_faults { self.rng.u8(..12) } else { 9 };
        let place = if faults < 4 { self.rng.usize(..count) } else { 0 };
        let (connection, command) = self.nodes[node].proposals.remove(place);
        match faults {
            0 | 1 => self.nodes[node].proposals.push((connection, command.clone())),
            2 => return true,
            3 => {
                self.nodes[node].answered(connection, &command, None);
                return true;
            }
            _ => {}
        }
        let outcomes = self.log.append(vec![command.clone()]);
        self.nodes[node].answered(connection, &command, outcomes.first());
        true
    }

    fn connect(&mut self, client: usize) -> bool {
        self.connections += 1;
        let (id, node) = (ConnectionId(self.connections), self.rng.usize(..self.nodes.len()));
        self.clients[client].platform(id, node, &mut self.nodes)
    }

    fn app(&mut self, client: usize) {
        let ids = self.clients[client].subscriptions();
        let choice = self.rng.u32(..100);
        let chance = self.rng.u64(..);
        let client = &mut self.clients[client];
        let id = if ids.is_empty() { None } else { Some(ids[self.rng.usize(..ids.len())]) };
        let event = match (choice, id) {
            (0..50, _) | (_, None) => {
                let text = TEXTS[self.rng.usize(..self.plan.texts)];
                let fetch_last =
                    [None, None, None, Some(0), Some(1), Some(1), Some(2)][self.rng.usize(..7)];
                return client.ask(text, fetch_last, &mut self.nodes);
            }
            (50..70, Some(id)) => Event::Unsubscribe(id),
            (70..78, Some(id)) => {
                // At once again, while frames of the first one are under way.
                let text = client.text_of(id);
                client.event(Event::Unsubscribe(id), chance, &mut self.nodes);
                return client.ask(&text, Some(2), &mut self.nodes);
            }
            (78..94, Some(id)) => Event::LoadOlder(id, self.rng.u64(1..3)),
            (_, Some(id)) => Event::Reset(id),
        };
        client.event(event, chance, &mut self.nodes);
    }

    fn pass_time(&mut self, client: usize) {
        let chance = self.rng.u64(..);
        let client = &mut self.clients[client];
        if let Some(at) = client.machine.wakes_at() {
            client.now = at.max(client.now);
            client.event(Event::Tick, chance, &mut self.nodes);
        }
    }

    fn write(&mut self) {
        let count = self.rng.usize(1..3);
        let commands = (0..count).map(|_| self.command()).collect();
        self.log.append(commands);
    }

    /// The first client writes: besides these, a row gets a mark that no other one has.
    pub(crate) fn write_marked(&mut self, table: TableId, mut operations: Vec<Operation>) {
        let mark = self.log.writes.next();
        let values =
            vec![ColumnValue(ID, Value::Integer(0)), ColumnValue(MARK, Value::Integer(mark.0))];
        operations.push(operation(table, Action::Upsert(values)));
        self.clients[0].write(mark, operations, &mut self.log.writes, &mut self.nodes);
    }

    /// Somebody who is no client writes.
    pub(crate) fn write_as_other(&mut self, operation: Operation) {
        let (lane, operations) = (lane_of(operation.table), vec![operation]);
        let write = Write { lane, actor: ann(), operations, request: None };
        self.log.append(vec![Command::Write(write)]);
    }

    fn command(&mut self) -> Command {
        let is_own = self.rng.u8(..5) == 0;
        let count = self.rng.usize(1..4);
        let operations = (0..count).map(|_| self.operation(is_own)).collect();
        let lane: Lane = lane_of(if is_own { M } else { T });
        Command::Write(Write { lane, actor: ann(), operations, request: None })
    }

    fn operation(&mut self, is_own: bool) -> Operation {
        let table: TableId = match (is_own, self.rng.u8(..4)) {
            (true, _) => M,
            (false, 0) => U,
            (false, _) => T,
        };
        let id = Value::Integer(self.rng.i64(0..if table == T { 4 } else { 2 }));
        let one = [G, A, B][self.rng.usize(..3)];
        let mut value = |column| ColumnValue(column, Value::Integer(self.rng.i64(0..3)));
        let all = vec![ColumnValue(ID, id.clone()), value(G), value(A), value(B)];
        let some = vec![ColumnValue(ID, id.clone()), value(one)];
        let key: Row = [id].into_iter().collect();
        let action = match self.rng.u8(..10) {
            0..4 => Action::Upsert(all),
            4..7 => Action::Upsert(some),
            7 => {
                let change = match one {
                    B => ColumnChange::Add,
                    _ => ColumnChange::Set,
                };
                let changes = some.into_iter().skip(1).map(change).collect();
                Action::Patch { key, changes }
            }
            _ => Action::Delete { key },
        };
        operation(table, action)
    }
}

pub(crate) fn operation(table: TableId, action: Action) -> Operation {
    Operation { table, version: SchemaVersion(1), action, guard: None }
}
