//! How long a page takes until it has rows that are on the device, and what it downloads for that: in
//! Chromium, by the script `e2e/browser/bench/main.mjs`. `cargo xtask bench` builds the packages for it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::fanout::{block_on, make_tables};
use crate::loading::fill;
use crate::progress;
use crate::report::{Figure, Reach, Report, Round};
use crate::server::{Process, token};

const ROUNDS: usize = 7;

/// Rows of about 100 bytes.
const ROWS: u64 = 10_000;

/// From the checkout on, where the benchmarks run.
const SCRIPT: &str = "e2e/browser/bench/main.mjs";

/// By which it is said where Node.js is; the browser is named in `TIDEWIRE_CHROMIUM`.
const NODE: &str = "TIDEWIRE_NODE";

/// What the script calls a sample, and what is said of it. Kilobytes have 1,000 bytes.
const FIGURES: [(&str, &str, &str, Option<Reach>); 11] = [
    ("all", "page load to 10,000 rows, against a bare page", "ms", Some(Reach::ValueAtMost(500.0))),
    ("all-cold", "10,000 rows in a browser just started, against that", "ms", None),
    ("all-offline", "10,000 rows without a connection", "ms", None),
    ("screen", "page load to the last 50 rows of 10,000", "ms", None),
    ("screen-cold", "50 rows in a browser just started", "ms", None),
    ("wasm", "download: wasm", "kB", None),
    ("wasm-gzip", "download: wasm, gzip -9", "kB", None),
    ("wasm-brotli", "download: wasm, brotli 11", "kB", Some(Reach::ValueAtMost(600.0))),
    ("js", "download: JavaScript", "kB", None),
    ("js-gzip", "download: JavaScript, gzip -9", "kB", None),
    ("js-brotli", "download: JavaScript, brotli 11", "kB", Some(Reach::ValueAtMost(25.0))),
];

/// A line of the script.
#[derive(Debug, Deserialize)]
struct Sample {
    what: String,
    value: f64,
    limit: Option<f64>,
}

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let Some(node) = std::env::var_os(NODE) else {
        progress("browser is skipped: `cargo xtask bench browser` finds what it needs");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let process = Process::tidewire(folder.path())?;
    let user = token(folder.path(), "u0", "user")?;
    block_on(async {
        make_tables(&process, &token(folder.path(), "root", "admin")?).await?;
        fill(&process, &user, ROWS).await
    })?;
    let printed = play(Path::new(&node), &process.address, &user)?;
    for figure in figures(&printed)? {
        report.add(figure);
    }
    Ok(())
}

/// Runs the script, which waits for nothing without an end, and gives what it has printed. What it
/// complains of is shown as it comes.
fn play(node: &Path, address: &str, token: &str) -> Result<String> {
    let mut script = Command::new(node);
    script.args([SCRIPT, address, &ROWS.to_string(), &ROUNDS.to_string()]);
    script.env("TIDEWIRE_BENCH_TOKEN", token).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = script.output().with_context(|| format!("{} {SCRIPT}", node.display()))?;
    ensure!(output.status.success(), "{SCRIPT} has failed, and has said why");
    Ok(String::from_utf8(output.stdout)?)
}

/// What is in the table, in the order of [`FIGURES`].
fn figures(printed: &str) -> Result<Vec<Figure>> {
    let mut rounds: [Vec<Round>; FIGURES.len()] = Default::default();
    for line in printed.lines() {
        let sample: Sample =
            serde_json::from_str(line).with_context(|| format!("{SCRIPT} says {line:?}"))?;
        let Some(place) = FIGURES.iter().position(|(name, ..)| *name == sample.what) else {
            bail!("{SCRIPT} has measured {:?}, which is in no table", sample.what);
        };
        rounds[place].push(Round { value: sample.value, limit: sample.limit });
    }
    let figure = |((name, what, unit, reach), rounds): (_, Vec<Round>)| {
        ensure!(!rounds.is_empty(), "{SCRIPT} has not measured {name:?}");
        Ok(Figure { benchmark: "browser", what: String::from(what), unit, rounds, reach })
    };
    FIGURES.into_iter().zip(rounds).map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(names: impl Iterator<Item = &'static str>) -> String {
        names
            .map(|name| format!("{{\"what\":\"{name}\",\"value\":300.5,\"limit\":100}}\n"))
            .collect()
    }

    fn all() -> impl Iterator<Item = &'static str> {
        FIGURES.into_iter().map(|(name, ..)| name)
    }

    #[test]
    fn samples_become_figures_with_a_round_each() {
        let text = printed(all().chain(["all"])) + "{\"what\":\"js\",\"value\":80}\n";
        let figures = figures(&text).unwrap();
        assert_eq!(figures.len(), FIGURES.len());
        let of = |what: &str| &figures.iter().find(|figure| figure.what == what).unwrap().rounds;
        assert_eq!(of("page load to 10,000 rows, against a bare page").len(), 2);
        let limits: Vec<_> = of("download: JavaScript").iter().map(|round| round.limit).collect();
        assert_eq!(limits, [Some(100.0), None]);
        assert!((of("download: wasm")[0].value - 300.5).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_missing_unknown_or_no_sample_is_said() {
        let failure = |text: &str| format!("{:#}", figures(text).unwrap_err());
        assert!(failure(&printed(all().skip(1))).contains("has not measured \"all\""));
        assert!(failure(&printed(["other"].into_iter())).contains("\"other\""));
        assert!(failure("Debugger attached\n").contains("says \"Debugger attached\""));
    }
}
