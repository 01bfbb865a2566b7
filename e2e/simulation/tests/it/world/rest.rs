//! The fair run: everybody does what there is to do, in turns, and nothing fails but what is meant to.

use sdk_machine::{Event, Phase};

use super::World;
use crate::attempts::Fault;

impl World {
    /// No fault happens any more.
    pub(super) fn rest(mut self) {
        for client in &mut self.clients {
            client.crash = None;
        }
        self.come_to_rest();
    }

    /// Everything must come to rest, complete and equal.
    pub(crate) fn come_to_rest(&mut self) {
        let (mut quiet, mut is_compared) = (0, false);
        let began: Vec<_> = self.clients.iter().map(|client| client.now).collect();
        for _ in 0..2_000 {
            let moved = self.turn();
            self.check();
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet == 3 && self.clients.iter().any(|client| client.is_spoilt) && !is_compared {
                // Whatever is wrong is found and mended.
                for client in self.clients.iter_mut().filter(|client| client.is_spoilt) {
                    client.verify_all(&mut self.nodes);
                }
                (is_compared, quiet) = (true, 0);
            } else if quiet == 3 {
                for client in &mut self.clients {
                    client.is_spoilt = false;
                }
                for (client, began) in self.clients.iter_mut().zip(began) {
                    client.check_rest(&mut self.log);
                    let took = client.now.since(began);
                    assert!(took <= self.rest_ms_max, "it took {took} ms (INV-8)");
                }
                return;
            }
        }
        let states: Vec<_> = self.clients.iter().map(|client| client.machine.status()).collect();
        panic!("nothing comes to rest (INV-8): {states:?}");
    }

    pub(crate) fn turn(&mut self) -> bool {
        let mut moved = false;
        for node in &mut self.nodes {
            for _ in 0..3 {
                moved |= node.apply(&self.log);
                moved |= node.push();
                moved |= node.handle();
            }
            moved |= node.read(0, false);
            moved |= node.answer(0);
            moved |= node.lead(&self.log, true);
            node.tick();
        }
        for node in 0..self.nodes.len() {
            let is_there = !self.nodes[node].proposals.is_empty();
            if is_there && self.fails(0) {
                self.nodes[node].proposals.remove(0);
                moved = true;
            } else {
                moved |= self.propose(node, false);
            }
        }
        for client in 0..self.clients.len() {
            moved |= self.turn_of(client);
            match self.clients[client].machine.phase() {
                // What got lost on the way is sent again after a while.
                _ if !moved && self.clients[client].is_silent => {
                    self.pass_time(client);
                    moved = true;
                }
                Phase::Open if !moved && !self.clients[client].replica.waiting().is_empty() => {
                    self.pass_time(client);
                    moved = true;
                }
                Phase::Open => {}
                Phase::Waiting => self.pass_time(client),
                _ => moved = true,
            }
        }
        moved
    }

    /// What a client and its node do with each other.
    fn turn_of(&mut self, client: usize) -> bool {
        let mut moved = false;
        if let Some(is_token) = self.clients[client].awaits_platform() {
            if is_token {
                self.errands.begin();
            }
            match self.errands.next() {
                Some(_) => self.clients[client].refuse(&mut self.nodes),
                None => drop(self.connect(client)),
            }
            moved = true;
        }
        if let Some((id, _, node)) = self.clients[client].connection {
            let is_there = !self.nodes[node].sockets[&id].up.is_empty();
            moved |= is_there && !self.fails(client) && self.nodes[node].receive(id, &mut self.log);
        }
        moved |= self.clients[client].flush(&mut self.nodes);
        if self.clients[client].hush(&mut self.nodes) {
            return moved;
        }
        if let Some((id, _, node)) = self.clients[client].connection {
            // Quiet lanes are told of too.
            if self.nodes[node].sockets[&id].down.is_empty() {
                self.nodes[node].progress(id);
            } else if self.fails(client) {
                return true;
            } else {
                // Behind signs of life there may be more.
                moved = true;
            }
        }
        let chance = self.rng.u64(..);
        // A sign of life that says nothing new is no movement.
        let received = self.clients[client].receive(chance, &mut self.nodes);
        moved | (received && self.clients[client].moved())
    }

    /// The next step between a client and its node, which may fail.
    fn fails(&mut self, client: usize) -> bool {
        match self.errands.next() {
            Some(Fault::Cut) => {
                let client = &mut self.clients[client];
                if let Some(attempt) = client.cut(&mut self.nodes) {
                    // The longest wait that there can be.
                    client.event(Event::Disconnected { attempt }, u64::MAX, &mut self.nodes);
                }
            }
            Some(Fault::Silence) => self.clients[client].is_silent = true,
            None => {}
        }
        self.clients[client].hush(&mut self.nodes)
    }
}
