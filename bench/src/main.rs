//! What Tidewire costs, as ratios against raw limits that are measured in the same run.
//!
//! `cargo xtask bench [NAME]` builds this in release, runs it, and prints one table. Every raw
//! sample goes to `target/bench/report.json`. Absolute times mean little: machines differ and are
//! noisy. So each round measures the limit and then Tidewire, and the median of the ratios counts.
//!
//! | benchmark | what it does |
//! | --- | --- |
//! | `write-path` | proposer to applied, in process |
//! | `write-sql` | single-row INSERTs over HTTP, each synced before its answer |
//! | `write-sdk`, `write-to-screen` | writes with the SDK: stored, decided, and shown by another device |
//! | `fanout-paced`, `fanout-saturated` | a row to thousands of sockets with one query |
//! | `fanout-distinct`, `tenants-flat` | a write beside subscriptions that it does not concern |
//! | `idle-memory` | what a socket takes on which nothing happens |
//! | `first-load`, `large-load`, `catch-up` | rows come to a device: all, and what has changed |
//! | `local-query` | a watch beside 100,000 local rows, of which one changes |
//! | `slow-reader` | one of a thousand does not read |
//! | `hot-row` | a million updates of one row, then a catch-up |
//! | `browser` | a page has rows that are on the device; what it downloads |
//! | `start` | a server with a million rows starts; memory and size |

#![expect(clippy::disallowed_methods, reason = "what is measured here is time")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

mod beside;
mod browser;
mod client;
mod crowd;
mod fanout;
mod hot_row;
mod limits;
mod loading;
mod local_query;
mod report;
mod server;
mod slow_reader;
mod start;
mod write_path;
mod write_sdk;
mod write_sql;

use anyhow::{Result, bail};

use crate::report::Report;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Benchmark = fn(&mut Report) -> Result<()>;

const BENCHMARKS: [(&str, Benchmark); 17] = [
    ("write-path", write_path::run),
    ("write-sql", write_sql::run),
    ("write-sdk", write_sdk::run),
    ("write-to-screen", write_sdk::to_screen),
    ("fanout-paced", fanout::paced),
    ("fanout-saturated", fanout::saturated),
    ("fanout-distinct", beside::distinct),
    ("tenants-flat", beside::tenants),
    ("idle-memory", beside::idle_memory),
    ("first-load", loading::first_load),
    ("large-load", loading::large_load),
    ("catch-up", loading::catch_up),
    ("local-query", local_query::run),
    ("slow-reader", slow_reader::run),
    ("hot-row", hot_row::run),
    ("browser", browser::run),
    ("start", start::run),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let chosen: Vec<_> = match *words {
        // Itself again, as the process whose costs are compared.
        ["echo"] => return limits::echo::serve(),
        ["broadcast"] => return limits::broadcast::serve(),
        [] => BENCHMARKS.to_vec(),
        [name] => BENCHMARKS.into_iter().filter(|(known, _)| *known == name).collect(),
        _ => bail!("give one benchmark, or none for all of them"),
    };
    if chosen.is_empty() {
        let names: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        bail!("there is no such benchmark: there are {}", names.join(", "));
    }
    let mut report = Report::default();
    let mut failed = Vec::new();
    for (name, run) in chosen {
        progress(&format!("{name} …"));
        if let Err(error) = run(&mut report) {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    println!("{}", report.table());
    report.write()?;
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Says on the error output what is going on, so that the table can be taken by itself.
pub(crate) fn progress(text: &str) {
    use std::io::Write as _;
    // Nobody has to read it.
    let _ = writeln!(std::io::stderr(), "{text}");
}
