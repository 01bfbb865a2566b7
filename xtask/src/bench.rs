//! The command `bench`: what Tidewire costs, as ratios to raw limits of the same run.

use std::process::Command;

use crate::shell::{Failure, Outcome, cargo, run as run_command, say};
use crate::{cache, machine, node, places, web};

/// The benchmark that opens a browser. It is told which one in `TIDEWIRE_CHROMIUM`, and what runs its
/// script in `TIDEWIRE_NODE`; without that it does nothing.
const BROWSER: &str = "browser";

/// Builds the server and the benchmarks as they are shipped, and runs one of them, or all.
pub(crate) fn run(name: Option<&str>) -> Outcome {
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    let mut bench = Command::new(places::target().join("release/bench"));
    prepare(name, &mut bench)?;
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
    run_command(bench.args(name).current_dir(places::checkout()))
}

/// Builds what a page downloads, where it is measured. Where there is no browser, it is left out of all.
fn prepare(name: Option<&str>, bench: &mut Command) -> Outcome {
    if name.is_some_and(|name| name != BROWSER) {
        return Ok(());
    }
    match machine::for_browsers().and_then(|()| machine::chromium()) {
        Ok(chromium) => bench.env("TIDEWIRE_CHROMIUM", chromium),
        Err(failed) if name.is_some() => return Err(failed),
        Err(Failure(failed)) => {
            say(&format!("{failed}\n\nUntil then the benchmark {BROWSER} is left out"));
            return Ok(());
        }
    };
    web::needs()?;
    web::build(&web::build_glue)?;
    web::for_browsers()?;
    let node = node::command("node");
    bench.envs(node.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bench.env("TIDEWIRE_NODE", node.get_program());
    Ok(())
}
