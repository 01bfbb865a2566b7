//! The command `test`: every promise once, and how long each stage took.

use std::time::Duration;

use crate::shell::{self, Failure, Outcome, cargo, now, say, seconds, watch};
use crate::{cache, demo, machine, verify};

/// A test that says nothing for this long hangs. libtest names a slow test after a minute.
const SILENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// The command `test`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    let mut stages = Stages::new();
    verify::run_all(|name, stage| stages.run(name, stage));
    stages.run("build of the tests", &|| {
        machine::for_rocksdb()?;
        shell::run(&mut cargo(["test", "--workspace", "--locked", "--no-run", "--quiet"]))
    });
    let mut counts = Counts::default();
    stages.run_counted("tests", &mut counts, |counts| {
        let mut tests = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
        watch(&mut tests, Some(SILENCE_MAX), |line| counts.see(line))
    });
    stages.run("demo", &demo::check);
    stages.finish()
}

/// Stages that all run, whatever becomes of the ones before.
pub(crate) struct Stages {
    rows: Vec<String>,
    counts: Counts,
}

/// How many tests passed, failed and were skipped. A stage that is no test counts as one.
#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Stages {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), counts: Counts::default() }
    }

    pub(crate) fn run(&mut self, name: &str, stage: &dyn Fn() -> Outcome) {
        let mut counts = Counts::default();
        self.run_counted(name, &mut counts, |_| stage());
    }

    fn run_counted(
        &mut self,
        name: &str,
        counts: &mut Counts,
        stage: impl FnOnce(&mut Counts) -> Outcome,
    ) {
        say(&format!("\n==> {name}"));
        let started = now();
        let outcome = stage(counts);
        match &outcome {
            Ok(()) if counts.total() == 0 => counts.passed = 1,
            Err(_) if counts.failed == 0 => counts.failed = 1,
            _ => {}
        }
        let result = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(Failure(message)) => {
                say(&format!("{name} failed: {message}"));
                "FAILED".to_owned()
            }
        };
        let time = seconds(started.elapsed());
        self.rows.push(format!("  {name:<22} {time:>10}   {result}"));
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        self.counts.skipped += counts.skipped;
    }

    pub(crate) fn finish(self) -> Outcome {
        let Counts { passed, failed, skipped } = self.counts;
        say(&format!("\n{}\n", self.rows.join("\n")));
        say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
        if failed > 0 { Err(Failure::told()) } else { Ok(()) }
    }
}

impl Counts {
    fn total(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }

    /// Adds up the closing lines of libtest: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn see(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let number = |word: &str| -> u64 {
            let before = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(word));
            before.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        self.passed += number("passed");
        self.failed += number("failed");
        self.skipped += number("ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_test_binaries_are_added_up() {
        let mut counts = Counts::default();
        counts.see("running 4 tests");
        counts.see("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        counts
            .see("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out");
        assert_eq!((counts.passed, counts.failed, counts.skipped), (13, 2, 1));
    }
}
