//! The command `test`: every promise once, and how long each stage took.

use std::time::Duration;

use crate::shell::{self, Outcome, cargo, watch};
use crate::stages::Stages;
use crate::{cache, demo, machine, verify, web};

/// A test that says nothing for this long hangs. libtest names a slow test after a minute.
const SILENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// The command `test`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    verify::needs()?;
    machine::for_tests()?;
    web::needs()?;
    let mut stages = Stages::new();
    verify::run_stages(&mut stages);
    stages.run("build of the tests", &|| {
        // With the binaries, since tests start the server.
        shell::run(&mut demo::everything())
    });
    // What makes the JavaScript was built with the tests.
    stages.run("packages", &|| web::build(&|| Ok(())));
    stages.run("replica in a browser", &|| web::build_replica(&|| Ok(())));
    stages.run_counted("tests", |counts| {
        let mut tests = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
        watch(&mut tests, Some(SILENCE_MAX), |line| counts.see(line))
    });
    stages.run_counted("browser", |counts| web::test(counts, SILENCE_MAX));
    stages.run("demo", &demo::check);
    stages.finish()
}
