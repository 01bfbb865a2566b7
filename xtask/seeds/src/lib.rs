//! Which seeds a randomised test runs.
//!
//! In `cargo xtask test` every such test runs its first few seeds; `cargo xtask soak NAME` runs
//! those it is asked for, through the same function. A failure names its seed and the command that
//! runs it again. Cases come from proptest, which also makes a failing one smaller.

pub mod golden;

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};

/// What `cargo xtask soak` sets; see there for their meaning.
mod variable {
    pub(crate) const NAME: &str = "TIDEWIRE_SOAK";
    pub(crate) const FROM: &str = "TIDEWIRE_SOAK_FROM";
    pub(crate) const SEEDS: &str = "TIDEWIRE_SOAK_SEEDS";
    pub(crate) const MINUTES: &str = "TIDEWIRE_SOAK_MINUTES";
    pub(crate) const PROGRESS: &str = "TIDEWIRE_SOAK_PROGRESS";
}

/// How often progress is written down and shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Runs `test` on one case of `strategy` for every seed.
///
/// `name` is what `cargo xtask soak` calls this test, `seeds_in_test` how many seeds a plain test
/// run takes.
///
/// # Panics
/// At the first case that fails, with the smallest case found that fails too.
pub fn check<S>(
    name: &str,
    seeds_in_test: u64,
    strategy: &S,
    test: impl Fn(S::Value) -> TestCaseResult,
) where
    S: Strategy,
    S::Value: Debug,
{
    for_each(name, seeds_in_test, |seed| {
        let config = Config { cases: 1, failure_persistence: None, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        match TestRunner::new_with_rng(config, rng).run(strategy, &test) {
            Ok(()) => {}
            Err(TestError::Fail(reason, case)) => panic!("{reason}\nsmallest case: {case:#?}"),
            Err(TestError::Abort(reason)) => panic!("no case could be made: {reason}"),
        }
    });
}

/// Runs `test` for every seed. For what is not made of values, such as processes that are killed.
///
/// # Panics
/// When `test` does, after naming the seed.
pub fn for_each(name: &str, seeds_in_test: u64, mut test: impl FnMut(u64)) {
    let plan = Plan::from_environment(name, seeds_in_test);
    let mut clock = plan.is_soak.then(Clock::start);
    let mut seed = plan.from;
    let is_time = |clock: &Option<Clock>| {
        clock.as_ref().is_none_or(|clock| clock.started.elapsed() < plan.time_max)
    };
    while seed - plan.from < plan.seeds && is_time(&clock) {
        let named = NameOnPanic { name, seed };
        test(seed);
        drop(named);
        seed += 1;
        if clock.as_mut().is_some_and(Clock::is_time_to_report) {
            plan.note(name, seed);
        }
    }
    plan.note(name, seed);
}

/// The time of a soak. A plain run looks at no clock: in a browser there is none.
struct Clock {
    started: Instant,
    reported: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a soak may be limited in time")]
    fn start() -> Self {
        let started = Instant::now();
        Self { started, reported: started }
    }

    fn is_time_to_report(&mut self) -> bool {
        let since = self.reported.elapsed();
        if since >= PROGRESS_INTERVAL {
            self.reported += since;
        }
        since >= PROGRESS_INTERVAL
    }
}

/// Which seeds to run, and where to note how far it came.
struct Plan {
    is_soak: bool,
    from: u64,
    seeds: u64,
    time_max: Duration,
    progress: Option<PathBuf>,
}

impl Plan {
    #[expect(clippy::disallowed_methods, reason = "how xtask tells a test which seeds to run")]
    fn from_environment(name: &str, seeds_in_test: u64) -> Self {
        let number = |variable: &str| -> Option<u64> {
            let text = std::env::var(variable).ok()?;
            let Ok(number) = text.parse() else { panic!("{variable} is {text:?}, not a number") };
            Some(number)
        };
        if std::env::var(variable::NAME).ok().as_deref() != Some(name) {
            let (from, seeds, time_max) = (0, seeds_in_test, Duration::MAX);
            return Self { is_soak: false, from, seeds, time_max, progress: None };
        }
        Self {
            is_soak: true,
            from: number(variable::FROM).unwrap_or(0),
            seeds: number(variable::SEEDS).unwrap_or(u64::MAX),
            time_max: number(variable::MINUTES)
                .map_or(Duration::MAX, |minutes| Duration::from_secs(minutes.saturating_mul(60))),
            progress: std::env::var_os(variable::PROGRESS).map(PathBuf::from),
        }
    }

    /// Writes down the next seed to run, for a soak that is continued later.
    #[expect(clippy::print_stdout, reason = "whoever runs a soak wants to see it move")]
    fn note(&self, name: &str, next: u64) {
        let Some(file) = &self.progress else { return };
        println!("{name}: {} seeds passed, next is {next}", next - self.from);
        if let Err(error) = fs::write(file, next.to_string()) {
            panic!("the progress cannot be written to {}: {error}", file.display());
        }
    }
}

/// Names the seed when the test panics, on the way out.
struct NameOnPanic<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for NameOnPanic<'_> {
    #[expect(clippy::print_stderr, reason = "part of the failure's message")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed } = self;
            eprintln!("{name} failed; to run it again: cargo xtask soak {name} --seed {seed}");
        }
    }
}
