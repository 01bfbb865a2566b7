//! What can be said of the sources without running them.

use crate::shell::{self, Outcome, cargo};
use crate::{cache, machine, tidy};

/// Format, lints, documentation and the rules of the repository. Changes no file of it.
pub(crate) fn run_all(mut stage: impl FnMut(&str, &dyn Fn() -> Outcome)) {
    stage("tidy", &tidy::run);
    stage("format", &|| shell::run(&mut cargo(["fmt", "--all", "--check"])));
    stage("lints", &|| {
        machine::for_rocksdb()?;
        shell::run(&mut cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-Dwarnings",
        ]))
    });
    stage("documentation", &|| {
        let mut doc =
            cargo(["doc", "--workspace", "--all-features", "--no-deps", "--locked", "--quiet"]);
        shell::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}

/// The command `verify`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    let mut stages = crate::test::Stages::new();
    run_all(|name, stage| stages.run(name, stage));
    stages.finish()
}

/// The command `fix`.
pub(crate) fn fix() -> Outcome {
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    shell::run(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--quiet",
    ]))?;
    shell::run(&mut cargo(["fmt", "--all"]))
}
