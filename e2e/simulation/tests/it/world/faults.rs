//! What goes wrong: for clients, for nodes, and for the history itself.

use protocol::ids::SeqId;
use protocol::limits::WINDOW_MAX;
use sdk_machine::Event;
use sdk_machine::replica::Spoiling;
use server_engine::Command;

use super::World;
use crate::client::Crash;
use crate::tables::{M, T, U, lane_of};

impl World {
    /// Half a year passes for all. No connection lasts so long, and nothing is so long on its way.
    pub(super) fn forget(&mut self) {
        for node in &mut self.nodes {
            node.proposals.clear();
        }
        for client in &mut self.clients {
            if let Some(attempt) = client.cut(&mut self.nodes) {
                client.event(Event::Disconnected { attempt }, 0, &mut self.nodes);
            }
        }
        let before = self.log.now.0;
        self.log.forget();
        let passed = u64::try_from((self.log.now.0 - before) / 1_000).unwrap();
        for node in &mut self.nodes {
            node.now = self.log.now;
        }
        for client in &mut self.clients {
            client.now = client.now.after(passed);
        }
    }

    pub(super) fn copy(&mut self, client: usize) {
        let of = self.rng.usize(..self.clients.len());
        if of != client {
            let mut copied = self.clients.remove(of);
            let place = if of < client { client - 1 } else { client };
            self.clients[place].become_copy(&mut copied, &mut self.nodes);
            self.clients.insert(of, copied);
        }
    }

    /// A client compares what it has, or something goes wrong with a row of it.
    pub(super) fn compare(&mut self, client: usize) {
        let ids = self.clients[client].subscriptions();
        let (choice, place) = (self.rng.usize(..100), self.rng.usize(..8));
        let client = &mut self.clients[client];
        let Some(id) = ids.get(choice % ids.len().max(1)) else { return };
        if self.plan.spoils && choice < 20 && !client.is_spoilt {
            let how = [Spoiling::Value, Spoiling::Lost, Spoiling::Birth][choice % 3];
            client.is_spoilt = client.replica.spoil(*id, place, how);
        } else {
            client.event(Event::Verify(*id), 0, &mut self.nodes);
        }
    }

    pub(super) fn fault_of_client(&mut self, client: usize) {
        let chance = self.rng.u64(..);
        let choice = self.rng.u32(..10);
        let client = &mut self.clients[client];
        match choice {
            0..5 => {
                if let Some(attempt) = client.cut(&mut self.nodes) {
                    client.event(Event::Disconnected { attempt }, chance, &mut self.nodes);
                }
            }
            5..7 => {
                let (behind, with_power) = (client.commits + 1, false);
                client.crash = Some(Crash { behind, with_power });
            }
            7 => client.crash(&mut self.nodes),
            8 if self.plan.power => {
                let back = self.rng.usize(..6);
                client.lose_power(back, &mut self.nodes);
            }
            _ => {
                client.event(Event::Pause, chance, &mut self.nodes);
                client.event(Event::Resume, chance, &mut self.nodes);
            }
        }
    }

    pub(super) fn fault_of_server(&mut self, node: usize) {
        match self.rng.u32(..11) {
            7..9 => self.crash_node(node),
            9 => self.change_leader(),
            0 if self.plan.forgets => self.forget(),
            0..4 if self.plan.retires => self.retire(),
            4..7 if self.plan.installs => self.nodes[node].install(&self.log),
            _ => {}
        }
    }

    /// The history is kept, or replaced by one that was.
    pub(super) fn back_up_or_restore(&mut self) {
        if self.rng.bool() {
            return self.log.back_up();
        }
        let choice = self.rng.usize(..100);
        self.log.restore(choice);
    }

    /// A client writes more than may be under way, and what leads fails while all of that is.
    pub(super) fn burst(&mut self, client: usize) {
        self.rush();
        for _ in 0..WINDOW_MAX + 40 {
            self.client_writes(client);
            // All at once, or one after the other.
            if self.rng.bool() {
                self.clients[client].flush(&mut self.nodes);
            }
        }
        while self.clients[client].flush(&mut self.nodes) {}
        let Some((id, _, node)) = self.clients[client].connection else { return };
        while self.nodes[node].receive(id, &mut self.log) {}
        // Some of them are decided, and nobody has heard of it.
        for _ in 0..self.rng.u64(..WINDOW_MAX) {
            self.propose(node, false);
        }
        match self.rng.u8(..4) {
            0 => self.change_leader(),
            1 => self.crash_node(node),
            2 => self.clients[client].crash(&mut self.nodes),
            _ => drop(self.clients[client].cut(&mut self.nodes)),
        }
    }

    /// A node crashes. What it was about to propose is in the log, or is not.
    pub(super) fn crash_node(&mut self, node: usize) {
        self.change_leader();
        for client in &mut self.clients {
            if client.connection.is_some_and(|(_, _, of)| of == node)
                && let Some(attempt) = client.cut(&mut self.nodes)
            {
                client.event(Event::Disconnected { attempt }, 0, &mut self.nodes);
            }
        }
        self.nodes[node].restart(&self.plan);
    }

    /// Another node leads. Nobody hears what has become of what was on its way to the log: some of it
    /// is there, in whatever order, and who has sent the rest may be told to send it again.
    pub(super) fn change_leader(&mut self) {
        for node in 0..self.nodes.len() {
            let mut proposals = std::mem::take(&mut self.nodes[node].proposals);
            self.rng.shuffle(&mut proposals);
            for (connection, command) in proposals {
                match self.rng.u8(..3) {
                    0 => drop(self.log.append(vec![command])),
                    1 => self.nodes[node].answered(connection, &command, None),
                    _ => {}
                }
            }
        }
    }

    pub(super) fn retire(&mut self) {
        let table = [T, T, U, M][self.rng.usize(..4)];
        let lane = lane_of(table);
        let (_, last) = self.log.lanes[&lane];
        let through = SeqId::new(last.get().saturating_sub(self.rng.u64(..6))).unwrap();
        self.log.append(vec![Command::Retire { lane, table, through }]);
    }
}
