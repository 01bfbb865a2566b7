//! The command `bench`: what Tidewire costs, as ratios to raw limits of the same run.

use std::process::Command;

use crate::shell::{Outcome, cargo, run as run_command, say};
use crate::{cache, machine, places};

/// Builds the server and the benchmarks as they are shipped, and runs one of them, or all.
pub(crate) fn run(name: Option<&str>) -> Outcome {
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    say(
        "building in release; the first time this includes RocksDB and DataFusion, and takes a while",
    );
    run_command(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "server",
        "--package",
        "bench",
    ]))?;
    // Beside it is the server that it starts; its report goes to target/bench of the checkout.
    let mut bench = Command::new(places::target().join("release/bench"));
    run_command(bench.args(name).current_dir(places::checkout()))
}
