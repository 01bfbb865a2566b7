//! Stages that run one after the other, and what became of each.

use crate::shell::{Failure, Outcome, now, say, seconds};

/// Stages that all run, whatever becomes of the ones before.
pub(crate) struct Stages {
    rows: Vec<String>,
    total: Counts,
}

/// How many tests passed, failed and were skipped. A stage that is no test counts as one.
#[derive(Default)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Test binaries, or runs of Node.js, that began and have not given a result. One that crashes
    /// never does.
    running: u64,
    /// Whether Node.js has begun to sum up: what its tests print before looks the same.
    sums_up: bool,
    /// Which ones failed.
    names: Vec<String>,
}

impl Stages {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), total: Counts::default() }
    }

    /// Runs a stage that is one check.
    pub(crate) fn run(&mut self, name: &str, stage: &dyn Fn() -> Outcome) {
        self.run_counted(name, |_| stage());
    }

    /// The same for a stage that counts its tests.
    pub(crate) fn run_counted(&mut self, name: &str, stage: impl FnOnce(&mut Counts) -> Outcome) {
        say(&format!("\n==> {name}"));
        let started = now();
        let mut counts = Counts::default();
        let outcome = stage(&mut counts);
        counts.failed += counts.running;
        match &outcome {
            Ok(()) if counts.passed + counts.failed + counts.skipped == 0 => counts.passed = 1,
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
        self.total.passed += counts.passed;
        self.total.failed += counts.failed;
        self.total.skipped += counts.skipped;
        self.total.names.append(&mut counts.names);
    }

    /// Shows how it went; the last line is the count.
    pub(crate) fn finish(self) -> Outcome {
        let Counts { passed, failed, skipped, names, .. } = self.total;
        say(&format!("\n{}\n", self.rows.join("\n")));
        for name in names {
            say(&format!("  failed: {name}"));
        }
        say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
        if failed > 0 { Err(Failure::told()) } else { Ok(()) }
    }
}

impl Counts {
    /// Reads what libtest prints: `running 4 tests`, `test NAME ... FAILED`, and at the end
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    ///
    /// And what the test runner of Node.js prints: `TAP version 13`, `not ok 2 - NAME`, and at the
    /// end `1..2`, `# pass 3`, `# fail 1` and others, of which `# duration_ms 5` is the last.
    pub(crate) fn see(&mut self, line: &str) {
        if line == "TAP version 13" {
            self.running += 1;
        } else if line.starts_with("1..") {
            self.sums_up = true;
        } else if let (true, Some(result)) = (self.sums_up, line.strip_prefix("# ")) {
            self.see_summary(result);
        } else if let Some(name) = failed_in_tap(line) {
            self.names.push(name.to_owned());
        } else if line.starts_with("running ")
            && (line.ends_with(" tests") || line.ends_with(" test"))
        {
            self.running += 1;
        } else if let Some(name) = line.strip_suffix(" ... FAILED") {
            self.names.push(name.trim_start_matches("test ").to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            let number = |word: &str| -> u64 {
                let mut parts = result.split([';', '.']);
                let before = parts.find_map(|part| part.trim().strip_suffix(word));
                before.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
            };
            self.running = self.running.saturating_sub(1);
            self.passed += number("passed");
            self.failed += number("failed");
            self.skipped += number("ignored");
        }
    }

    /// A line of the summary of Node.js, without what it begins with.
    fn see_summary(&mut self, result: &str) {
        let Some((word, number)) = result.split_once(' ') else { return };
        let number = || number.parse::<u64>().unwrap_or(0);
        match word {
            "pass" => self.passed += number(),
            // What did not end in time, or whose process died, is cancelled.
            "fail" | "cancelled" => self.failed += number(),
            "skipped" | "todo" => self.skipped += number(),
            "duration_ms" => {
                self.running = self.running.saturating_sub(1);
                self.sums_up = false;
            }
            _ => {}
        }
    }
}

/// The name of a test of Node.js that failed and should not have: `not ok 2 - NAME`.
fn failed_in_tap(line: &str) -> Option<&str> {
    let (number, name) = line.trim_start().strip_prefix("not ok ")?.split_once(" - ")?;
    let is_result = number.bytes().all(|byte| byte.is_ascii_digit());
    (is_result && !name.contains(" # TODO")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_test_binaries_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "running 1 test",
            "test a::b ... FAILED",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out",
            "running 7 tests",
            "error: test failed, to rerun pass `-p x --test it`",
        ] {
            counts.see(line);
        }
        assert_eq!((counts.passed, counts.failed, counts.skipped), (13, 2, 1));
        assert_eq!(counts.running, 1, "the last one crashed");
        assert_eq!(counts.names, ["a::b"]);
    }

    #[test]
    fn the_lines_of_node_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "TAP version 13",
            "# Subtest: a device",
            "    ok 1 - is there",
            "    not ok 2 - writes - and reads",
            "not ok 1 - a device",
            "not ok 2 - waits # TODO later",
            "not ok, says a test",
            "# pass 7",
            "1..2",
            "# tests 9",
            "# suites 1",
            "# pass 3",
            "# fail 1",
            "# cancelled 1",
            "# skipped 2",
            "# todo 1",
            "# duration_ms 123.456",
        ] {
            counts.see(line);
        }
        assert_eq!((counts.passed, counts.failed, counts.skipped), (3, 2, 3));
        assert_eq!(counts.running, 0);
        assert_eq!(counts.names, ["writes - and reads", "a device"]);
        counts.see("TAP version 13");
        assert_eq!(counts.running, 1, "this one crashed");
    }
}
