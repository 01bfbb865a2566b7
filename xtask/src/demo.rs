//! The command `demo`.

use crate::shell::{Outcome, cargo, run as run_command, say};
use crate::{cache, machine};

/// The command `demo`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    check()
}

/// Builds and runs the demo. It ends by itself, and fails when it does not find what it should.
pub(crate) fn check() -> Outcome {
    say("building the demo; the first time this includes RocksDB and takes some minutes");
    run_command(&mut cargo(["build", "--package", "demo", "--locked"]))?;
    run_command(&mut cargo(["run", "--package", "demo", "--locked", "--quiet"]))
}
