//! The command `demo`.

use std::process::Command;

use crate::shell::{Outcome, cargo, run as run_command, say};
use crate::{cache, machine, places};

/// The command `demo`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    check()
}

/// Builds and runs the demo. It ends by itself, and fails when it does not find what it should.
pub(crate) fn check() -> Outcome {
    say("building the server and the demo; the first time this includes RocksDB and DataFusion, \
         and takes a while");
    run_command(&mut everything())?;
    // Beside it is the server that it starts.
    run_command(&mut Command::new(places::target().join("debug/demo")))
}

/// Builds all there is, and always all: cargo builds what crates have in common anew for every
/// selection of them, and that is most of the time.
pub(crate) fn everything() -> Command {
    cargo(["build", "--workspace", "--all-targets", "--locked"])
}
