//! Scripts of few steps: each runs with a crash of the client behind every transaction that it does in
//! it, and with a loss of its power there.

use protocol::mutation::{Action, ColumnChange, ColumnValue, Operation};
use protocol::value::{Row, Value};
use sdk_machine::Event;

use crate::client::Crash;
use crate::settings::Plan;
use crate::tables::{B, ID, M, T};
use crate::world::{World, operation};

/// A step of a script.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A row is written that all share.
    Write,
    /// Two of the user's own are, one of them by adding.
    Add,
    /// The first that can be taken back is.
    TakeBack,
    /// Somebody else writes, and takes the second of those away, or brings it back.
    Other,
    /// The connection is lost.
    Cut,
    /// Everybody gets on by one turn.
    Turn,
}

const STEPS: [Step; 6] =
    [Step::Write, Step::Add, Step::TakeBack, Step::Other, Step::Cut, Step::Turn];

/// How many scripts there are of at most so many steps.
const fn scripts_of(steps_max: u32) -> u64 {
    let (mut count, mut length) = (0, 1);
    while length <= steps_max {
        count += STEPS.len().pow(length) as u64;
        length += 1;
    }
    count
}

/// The script of a number: all of one step come first, then those of two.
fn script(number: u64) -> Vec<Step> {
    let mut number = number % scripts_of(6);
    let mut length = 1;
    while number >= STEPS.len().pow(length) as u64 {
        number -= STEPS.len().pow(length) as u64;
        length += 1;
    }
    let digit = |place| number / STEPS.len().pow(place) as u64 % STEPS.len() as u64;
    (0..length).map(|place| STEPS[digit(place) as usize]).collect()
}

/// A client that is live, and has all there is.
fn begin(files: bool) -> World {
    let mut world = World::with(fastrand::Rng::with_seed(1), Plan { files, ..Plan::calm() });
    for text in ["t", "m"] {
        world.clients[0].ask(text, None, &mut world.nodes);
    }
    world.write_as_other(second(true));
    world.come_to_rest();
    world
}

/// The row that is added to, there or gone.
fn second(is_there: bool) -> Operation {
    let id = Value::Integer(1);
    let action = match is_there {
        true => Action::Insert(vec![ColumnValue(ID, id), ColumnValue(B, Value::Integer(1))]),
        false => Action::Delete { key: [id].into_iter().collect() },
    };
    operation(M, action)
}

impl World {
    fn perform(&mut self, step: Step) {
        let id = || ColumnValue(ID, Value::Integer(0));
        match step {
            Step::Write => self.write_marked(T, vec![]),
            Step::Add => {
                let key: Row = [Value::Integer(1)].into_iter().collect();
                let changes = vec![ColumnChange::Add(ColumnValue(B, Value::Integer(1)))];
                self.write_marked(M, vec![operation(M, Action::Patch { key, changes })]);
            }
            Step::TakeBack => self.clients[0].take_back(0, &mut self.nodes),
            Step::Other => {
                let values = vec![id(), ColumnValue(B, Value::Integer(2))];
                self.write_as_other(operation(T, Action::Upsert(values)));
                let is_there = self.log.has(M, 1);
                self.write_as_other(second(!is_there));
            }
            Step::Cut => {
                if let Some(attempt) = self.clients[0].cut(&mut self.nodes) {
                    self.clients[0].event(Event::Disconnected { attempt }, 0, &mut self.nodes);
                }
            }
            Step::Turn => drop(self.turn()),
        }
        self.check();
    }
}

/// Runs it, and says how many transactions there had been before, and in the end.
fn run(script: &[Step], files: bool, crash: Option<Crash>) -> (u64, u64) {
    let mut world = begin(files);
    let before = world.clients[0].commits;
    world.clients[0].crash = crash;
    for step in script {
        world.perform(*step);
    }
    world.come_to_rest();
    (before, world.clients[0].commits)
}

/// INV-1, INV-8, INV-9.
#[test]
fn a_crash_behind_any_transaction_of_a_script_loses_and_doubles_nothing() {
    // What a file does is held against memory in the short ones.
    let with_files = scripts_of(4);
    seeds::for_each("crash-scripts", scripts_of(2), |number| {
        let (script, files) = (script(number), number < with_files);
        let (before, last) = run(&script, files, None);
        for behind in before + 1..=last {
            for with_power in [false, true] {
                run(&script, files, Some(Crash { behind, with_power }));
            }
        }
    });
}
