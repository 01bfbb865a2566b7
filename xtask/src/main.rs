//! The one entry to this repository: `cargo xtask` lists what it can do.

mod bench;
mod cache;
mod demo;
mod machine;
mod mutants;
mod node;
mod places;
mod shell;
mod soak;
mod stages;
mod test;
mod tidy;
mod verify;
mod web;

use std::process::ExitCode;

use shell::{Failure, Outcome};

const HELP: &str = "\
cargo xtask COMMAND

  demo      a server and the chat in a browser, for real; Ctrl-C stops all it started. --port N
            takes this port, and the next one for what signs people in
  demo --terminal
            the same with the chat in this terminal. Without a terminal it plays a conversation, and
            ends by itself
  demo --as USER
            opens the chat in this terminal, while a demo runs in another one
  demo --check
            plays a conversation without anybody who looks, and ends by itself
  test      everything that must pass, with the seconds of each stage
  verify    reads only: format, lints, documentation, the rules of this repository
  fix       formats, and applies what the lints propose
  web       builds the packages for browsers
  replica [PART]
            the tests of the replica in Chromium, on the private files of an origin; those alone in
            whose names PART is
  bench     what Tidewire costs, as ratios to raw limits of the same run, as one table; the samples
            are in target/bench/report.json
  bench NAME
            one of those that docs/PERFORMANCE.md lists
  tidy      the rules of this repository alone: dependencies, sizes, invariants
  soak      lists the randomised tests that can run for long
  soak NAME [--seed S]
            runs one seed again
  soak NAME [--seeds N] [--from S] [--minutes M]
            runs N seeds from S (0) on, in as many goes as it takes: it goes on where it stopped.
            Without N and M it runs for 10 minutes
  mutants [NAME]
            breaks rules of the sync protocol one at a time, and sees the simulation fail

What is built is kept outside of the checkout, in ~/.cache/tidewire (TIDEWIRE_CACHE changes it);
only xtask itself is built in target/.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match places::locate().map_err(Failure).and_then(|()| run(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            if !message.is_empty() {
                shell::say(&format!("\nfailed: {message}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    match words {
        [] | ["help" | "--help" | "-h", ..] => {
            shell::say(HELP);
            Ok(())
        }
        ["bench"] => bench::run(None),
        ["bench", name] => bench::run(Some(name)),
        ["demo", options @ ..] => demo::run(options),
        ["test"] => test::run(),
        ["verify"] => verify::run(),
        ["fix"] => verify::fix(),
        ["tidy"] => tidy::run(),
        ["web"] => web::run(),
        ["replica"] => web::replica(""),
        ["replica", part] => web::replica(part),
        ["soak"] => soak::list(),
        ["soak", name, options @ ..] => soak::run(name, options),
        ["mutants"] => mutants::run(None),
        ["mutants", name] => mutants::run(Some(name)),
        ["test" | "verify" | "fix" | "tidy" | "web", ..] => {
            Err(Failure(format!("`{}` takes nothing behind it", words[0])))
        }
        _ => Err(Failure(format!("there is no command {:?}\n\n{HELP}", words.join(" ")))),
    }
}
