//! One thing fails on the way to the server or back, at every place where one can, and nothing else
//! happens: what waits is sent all the same, and before long (W2).

use sdk_machine::Event;

use crate::settings::Plan;
use crate::tables::{M, T};
use crate::world::World;

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client hears of it: there is no token, no socket, or the connection ends.
    Cut,
    /// Nothing arrives any more in either direction, and nobody says so.
    Silence,
}

/// The steps of a client to the server and back: a token, a socket, a frame, a proposal.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    /// How many there were of this attempt to connect.
    of_attempt: u64,
    faults: u64,
    fails: Option<Failing>,
}

/// Which steps fail.
#[derive(Clone, Copy, Debug)]
enum Failing {
    /// This one of the first attempt that comes so far.
    Once(u64, Fault),
    /// The first of the first attempt, the second of the second, and so on.
    EachAttempt(Fault),
}

impl Errands {
    /// Another attempt begins.
    pub(crate) fn begin(&mut self) {
        self.of_attempt = 0;
    }

    /// One more, which may fail.
    pub(crate) fn next(&mut self) -> Option<Fault> {
        self.of_attempt += 1;
        let fault = match self.fails? {
            Failing::Once(at, fault) if self.faults == 0 && self.of_attempt == at => fault,
            Failing::EachAttempt(fault) if self.of_attempt == self.faults + 1 => fault,
            _ => return None,
        };
        self.faults += 1;
        Some(fault)
    }
}

/// As long as it takes at most until a connection is given up on which nothing arrives, or a token and
/// a socket that do not come, in milliseconds.
const SILENCE_MS: u64 = 40_000;

/// The longest that a client waits in all while so many attempts in a row fail: doubling from half a
/// second up to 20 seconds, in milliseconds.
fn backoff(faults: u64) -> u64 {
    (0..faults).map(|failure| (500 << failure.min(6)).min(20_000)).sum()
}

/// Three mutations in two lanes wait, on a device that was `live` before or never.
fn begin(live: bool) -> World {
    let mut world = World::with(fastrand::Rng::with_seed(1), Plan::calm());
    for text in ["t", "m"] {
        world.clients[0].ask(text, None, &mut world.nodes);
    }
    if live {
        world.come_to_rest();
    }
    world.clients[0].event(Event::Pause, 0, &mut world.nodes);
    for table in [T, M, T] {
        world.write_marked(table, vec![]);
    }
    world.clients[0].event(Event::Resume, 0, &mut world.nodes);
    world
}

/// Runs until everything is sent, complete and equal. Says how many faults there were.
fn drain(live: bool, fails: Failing) -> u64 {
    let (Failing::Once(_, fault) | Failing::EachAttempt(fault)) = fails;
    let mut world = begin(live);
    world.errands = Errands { fails: Some(fails), ..Errands::default() };
    let before = world.clients[0].now;
    world.rest_ms_max = u64::MAX;
    world.come_to_rest();
    let faults = world.errands.faults;
    let silence = if fault == Fault::Silence { SILENCE_MS } else { 0 };
    // What is sent waits a moment for what else there is.
    let bound = backoff(faults) + faults * silence + 100;
    let took = world.clients[0].now.since(before);
    assert!(took <= bound, "{took} ms after {faults} faults, {fails:?}");
    faults
}

#[test]
fn one_step_that_fails_is_made_good_without_anything_else() {
    for (live, fault) in
        [(false, Fault::Cut), (false, Fault::Silence), (true, Fault::Cut), (true, Fault::Silence)]
    {
        let failing = (1..).take_while(|at| drain(live, Failing::Once(*at, fault)) > 0);
        // A token, a socket, a greeting and what it is answered, for each lane a frontier and a load,
        // what is sent, its way to the log, and its decision.
        let steps = failing.count();
        assert!(steps > 12, "{steps} steps of {live}, {fault:?}");
    }
}

#[test]
fn of_attempts_that_fail_one_step_later_each_time_one_gets_through() {
    for (live, fault) in
        [(false, Fault::Cut), (false, Fault::Silence), (true, Fault::Cut), (true, Fault::Silence)]
    {
        let faults = drain(live, Failing::EachAttempt(fault));
        assert!(faults > 6, "{faults} attempts of {live}, {fault:?}");
    }
}
