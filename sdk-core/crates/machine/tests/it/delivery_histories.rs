//! Random histories of what is written and of connections that end: the machine rests after each tick, names
//! what is stuck, and in the end everything is decided.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::v1::{RetryAfter, ServerFrame, Written};
use protocol::ids::{ContentHash, MutationNumber};
use sdk_machine::{Event, MutationId, Phase, Settled};

use crate::client::{CLIENT, Client, EPOCH, lane};
use crate::writing::{decided, frontier};

#[derive(Clone, Debug)]
enum Move {
    Write,
    Flush,
    Decide,
    /// The connection is lost, and there again.
    Again,
    After(u64),
    /// Until the machine wants to be woken.
    Wake,
    PutOff(u64),
    Unreadable(usize),
    TakeBack(usize),
    Crash,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => Just(Move::Write),
        6 => Just(Move::Flush),
        2 => Just(Move::Decide),
        6 => Just(Move::Again),
        2 => (1..20_000_u64).prop_map(Move::After),
        6 => Just(Move::Wake),
        1 => (1..400_000_u64).prop_map(Move::PutOff),
        1 => (0..4_usize).prop_map(Move::Unreadable),
        2 => (0..4_usize).prop_map(Move::TakeBack),
        1 => Just(Move::Crash),
    ]
}

struct World {
    client: Client,
    written: i64,
    /// What the server has decided, and the hash after it.
    number: u64,
    hash: ContentHash,
    /// What was sent on this connection and is not decided.
    on_the_way: Vec<Written>,
    /// What the disk has lost.
    unreadable: Vec<MutationId>,
}

impl World {
    fn open(&mut self) {
        self.on_the_way.clear();
        self.client.open();
        self.client.frame(frontier(EPOCH, CLIENT, (self.number, self.hash), Vec::new()));
    }

    fn waiting(&mut self) -> Vec<MutationId> {
        self.client.replica.load().outbox.iter().map(|stored| stored.id).collect()
    }

    fn flush(&mut self) {
        let instructions = self.client.flush();
        for mutate in self.client.mutates(&instructions) {
            let first = mutate.first.get() - self.number;
            let at = usize::try_from(first).unwrap() - 1;
            let lost = |id: &MutationId| self.unreadable.contains(id);
            let ids: Vec<MutationId> = self.client.replica.load().outbox[at..]
                .iter()
                .take(mutate.mutations.len())
                .map(|stored| stored.id)
                .collect();
            // A host that cannot read one of them sends nothing of the frame.
            match ids.into_iter().find(lost) {
                Some(id) => {
                    self.client.event(Event::Unreadable(id));
                    assert!(self.client.machine.may_take_back(id));
                    break;
                }
                None => {
                    self.on_the_way.truncate(at);
                    assert_eq!(self.on_the_way.len(), at, "nothing is left out");
                    self.on_the_way.extend(mutate.mutations);
                }
            }
        }
    }

    fn decide(&mut self) {
        if self.on_the_way.is_empty() || self.client.machine.phase() != Phase::Open {
            return;
        }
        let written = self.on_the_way.remove(0);
        self.number += 1;
        self.hash = self.hash.then(written.digest());
        self.client.frame(decided(CLIENT, self.number, self.hash, false));
        assert_eq!(self.client.writer().settled, MutationNumber::new(self.number).unwrap());
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Write => {
                self.written += 1;
                self.client.write(&[self.written]);
            }
            Move::Flush => self.flush(),
            Move::Decide => self.decide(),
            Move::Again => {
                self.client.disconnected();
                self.open();
            }
            Move::After(time) => {
                self.client.after(time);
            }
            Move::Wake => {
                if let Some(at) = self.client.machine.wakes_at() {
                    self.client.now = self.client.now.max(at);
                    self.client.after(0);
                }
            }
            Move::PutOff(retry_after_ms) if self.client.machine.phase() == Phase::Open => {
                let later = RetryAfter { lane: lane(), client: CLIENT, retry_after_ms };
                self.client.frame(ServerFrame::RetryAfter(later));
                self.on_the_way.clear();
            }
            Move::PutOff(_) => {}
            Move::Unreadable(which) => {
                let lost = self.waiting().get(which).copied();
                self.unreadable.extend(lost);
            }
            Move::TakeBack(which) => {
                let id = self.waiting().get(which).copied();
                let id = id.filter(|id| self.client.machine.may_take_back(*id));
                if let Some(id) = id {
                    self.take_back(id);
                }
            }
            Move::Crash => {
                self.client.crash();
                self.open();
            }
        }
        if self.client.machine.phase() != Phase::Open {
            self.on_the_way.clear();
        }
    }

    fn take_back(&mut self, id: MutationId) {
        self.client.replica.take_back(id);
        self.client.event(Event::TakenBack(id));
        self.unreadable.retain(|lost| *lost != id);
        assert!(!self.client.machine.is_stuck(id));
    }

    /// Whoever takes back what cannot be read gets everything decided, without anything else.
    fn come_to_rest(&mut self) {
        for _ in 0..400 {
            if self.waiting().is_empty() {
                break;
            }
            if self.client.machine.phase() != Phase::Open {
                self.client.event(Event::Nudge);
                self.open();
            }
            self.flush();
            for id in self.waiting() {
                if self.client.machine.is_stuck(id) && self.unreadable.contains(&id) {
                    self.take_back(id);
                }
            }
            while !self.on_the_way.is_empty() {
                self.decide();
            }
            if let Some(at) = self.client.machine.wakes_at() {
                self.client.now = self.client.now.max(at);
                self.client.after(0);
            }
        }
        assert_eq!(self.waiting(), []);
        assert_eq!(self.client.replica.writer(&lane()).and_then(|it| it.stuck), None);
        let is_decided = |settled: &Settled| matches!(settled, Settled::Rejected(_));
        assert!(self.client.replica.settled().iter().all(|(_, settled)| is_decided(settled)));
    }
}

#[test]
fn whatever_happens_on_the_way_everything_is_decided_in_the_end() {
    seeds::check("delivery-histories", 500, &vec(a_move(), 10..80), |moves| {
        let mut world = World {
            client: Client::new(),
            written: 0,
            number: 0,
            hash: ContentHash::START,
            on_the_way: Vec::new(),
            unreadable: Vec::new(),
        };
        world.client.write(&[0]);
        world.open();
        for step in moves {
            world.step(step);
        }
        world.come_to_rest();
        Ok(())
    });
}
