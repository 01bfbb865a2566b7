//! What was measured, as a table and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

/// One figure: a value for each round, beside the limit of that round.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) benchmark: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) rounds: Vec<Round>,
    pub(crate) reach: Option<Reach>,
}

/// What a round measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) value: f64,
    /// What it is held against.
    pub(crate) limit: Option<f64>,
}

/// What is to be reached: by the ratio to the limit, or by the value where there is none.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Reach {
    AtLeast(f64),
    AtMost(f64),
    /// By the value, also where there is a limit.
    ValueAtMost(f64),
}

#[derive(Serialize)]
struct File<'a> {
    machine: String,
    commit: String,
    cores: usize,
    figures: &'a [Figure],
}

impl Report {
    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// One line for each figure: median, least and most; the limit; the median of the ratios.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "\n{:<16} {:<56} {:>32} {:>12} {:>7}  {}\n",
            "benchmark", "what", "median (min – max)", "limit", "ratio", "to reach"
        );
        for figure in &self.figures {
            let values: Vec<f64> = figure.rounds.iter().map(|round| round.value).collect();
            let limits: Vec<f64> = figure.rounds.iter().filter_map(|round| round.limit).collect();
            let ratios: Vec<f64> =
                figure.rounds.iter().filter_map(|r| r.limit.map(|limit| r.value / limit)).collect();
            let (low, middle, high) = spread(&values);
            let range =
                format!("{} ({} – {}) {}", number(middle), number(low), number(high), figure.unit);
            let of = |values: &[f64]| match values {
                [] => String::new(),
                values => number(spread(values).1),
            };
            let judged = if ratios.is_empty() { middle } else { spread(&ratios).1 };
            let verdict = match figure.reach {
                None => String::new(),
                Some(Reach::AtLeast(least)) => told("≥", least, judged >= least),
                Some(Reach::AtMost(most)) => told("≤", most, judged <= most),
                Some(Reach::ValueAtMost(most)) => told("≤", most, middle <= most),
            };
            let _ = writeln!(
                table,
                "{:<16} {:<56} {range:>32} {:>12} {:>7}  {verdict}",
                figure.benchmark,
                figure.what,
                of(&limits),
                of(&ratios),
            );
        }
        table
    }

    /// Writes every sample to `target/bench/report.json`.
    pub(crate) fn write(&self) -> Result<()> {
        let output = |program: &str, arguments: &[&str]| -> String {
            let output = Command::new(program).args(arguments).output();
            output.map_or_else(
                |_| String::new(),
                |o| String::from_utf8_lossy(&o.stdout).trim().into(),
            )
        };
        let file = File {
            machine: output("uname", &["-srm"]),
            commit: output("git", &["rev-parse", "HEAD"]),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            figures: &self.figures,
        };
        let folder = PathBuf::from("target/bench");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(&file)?)?;
        Ok(())
    }
}

/// The least, the median and the most.
pub(crate) fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match &*sorted {
        [] => (f64::NAN, f64::NAN, f64::NAN),
        sorted => (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn told(sign: &str, bound: f64, is_met: bool) -> String {
    format!("{sign} {} {}", number(bound), if is_met { "reached" } else { "MISSED" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_judged_is_the_median_of_the_ratios() {
        let round = |value, limit| Round { value, limit: Some(limit) };
        let figure = |reach| Figure {
            benchmark: "b",
            what: "w".to_owned(),
            unit: "/s",
            rounds: vec![round(60.0, 100.0), round(1.0, 100.0), round(90.0, 100.0)],
            reach: Some(reach),
        };
        let mut report = Report::default();
        report.add(figure(Reach::AtLeast(0.6)));
        report.add(figure(Reach::AtLeast(0.61)));
        report.add(figure(Reach::AtMost(0.6)));
        report.add(figure(Reach::ValueAtMost(59.0)));
        let table = report.table();
        let lines: Vec<&str> = table.trim().lines().skip(1).collect();
        assert!(lines[0].contains("60.0 (1.00 – 90.0) /s") && lines[0].ends_with("reached"));
        assert!(lines[1].ends_with("MISSED") && lines[2].ends_with("reached"), "{table}");
        // Unless it says otherwise.
        assert!(lines[3].ends_with("MISSED"), "{table}");
    }

    #[test]
    fn without_a_limit_the_value_is_judged() {
        let rounds = vec![Round { value: 2.0, limit: None }];
        let reach = Some(Reach::AtMost(1.0));
        let mut report = Report::default();
        report.add(Figure { benchmark: "b", what: String::new(), unit: "s", rounds, reach });
        assert!(report.table().trim().ends_with("MISSED"));
    }
}
