//! What can be said of the sources without running them.

use std::process::Command;

use crate::shell::{self, Outcome, cargo};
use crate::stages::Stages;
use crate::{cache, machine, tidy, web};

/// Our crates that run in browsers.
const BROWSER: [&str; 5] = ["protocol", "sdk-machine", "sdk-replica", "sdk-core", "sdk-wasm"];

/// The command `verify`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    needs()?;
    let mut stages = Stages::new();
    run_stages(&mut stages);
    stages.finish()
}

/// The command `fix`.
pub(crate) fn fix() -> Outcome {
    let _lock = cache::lock()?;
    needs()?;
    shell::run(clippy().args(["--fix", "--allow-dirty", "--allow-staged"]))?;
    shell::run(&mut cargo(["fmt", "--all"]))
}

/// Installs what the stages need, so that a missing package is said once and at the beginning.
pub(crate) fn needs() -> Outcome {
    machine::for_rocksdb()?;
    machine::for_wasm()
}

/// Format, lints, documentation and the rules of the repository. Changes no file of it.
pub(crate) fn run_stages(stages: &mut Stages) {
    stages.run("tidy", &tidy::run);
    stages.run("format", &|| shell::run(&mut cargo(["fmt", "--all", "--check"])));
    stages.run("lints", &|| shell::run(clippy().args(["--", "-Dwarnings"])));
    stages.run("lints for browsers", &|| {
        // What a browser runs must not have come to need a file, a clock or a thread.
        let mut check = web::cargo_for_browsers(["clippy", "--locked", "--quiet"])?;
        for package in BROWSER {
            check.args(["--package", package]);
        }
        shell::run(check.args(["--", "-Dwarnings"]))
    });
    stages.run("documentation", &|| {
        let mut doc =
            cargo(["doc", "--workspace", "--all-features", "--no-deps", "--locked", "--quiet"]);
        shell::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}

fn clippy() -> Command {
    cargo(["clippy", "--workspace", "--all-targets", "--locked"])
}
