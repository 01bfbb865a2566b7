//! The command `demo`.

use std::io::IsTerminal;
use std::process::Command;

use crate::shell::{self, Failure, Outcome, cargo, run as run_command, say};
use crate::{cache, machine, places};

/// The command `demo`, and with `--as` the one that comes to it.
pub(crate) fn run(options: &[&str]) -> Outcome {
    if !matches!(options, [] | ["--as", _]) {
        return Err(Failure("demo takes nothing but --as USER".to_owned()));
    }
    let lock = cache::lock()?;
    machine::for_rocksdb()?;
    build(&mut programs())?;
    // Others may build while it runs.
    drop(lock);
    let mut demo = demo(options);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return shell::hand_over(&mut demo);
    }
    run_command(&mut demo)
}

/// Builds and runs the demo without a terminal. It ends by itself, and fails when it does not find
/// what it should.
pub(crate) fn check() -> Outcome {
    build(&mut everything())?;
    run_command(demo(&[]).stdin(std::process::Stdio::null()))
}

fn build(what: &mut Command) -> Outcome {
    say("building the server and the demo; the first time this includes RocksDB and DataFusion, \
         and takes a while");
    run_command(what)
}

/// Beside it are the server and the chat that it starts.
fn demo(options: &[&str]) -> Command {
    let mut demo = Command::new(places::target().join("debug/demo"));
    demo.arg("--note").arg(places::folder().join("demo")).args(options);
    demo
}

/// Builds what the demo needs, out of the dependencies that [`everything`] needs, and no tests.
fn programs() -> Command {
    cargo(["build", "--workspace", "--bins", "--locked"])
}

/// Builds all there is, and always all: cargo builds what crates have in common anew for every
/// selection of them, and that is most of the time.
pub(crate) fn everything() -> Command {
    cargo(["build", "--workspace", "--all-targets", "--locked"])
}
