//! The command `demo`: a server and a chat, in a browser or in terminals.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::places::{self, checkout};
use crate::shell::{self, Failure, Outcome, cargo, run as run_command, say};
use crate::{cache, machine, node, web};

/// The web chat, as it is written and as it is built.
const WEB: &str = "examples/chat/web";

/// Plays a conversation in a browser. It is told where the page is in `TIDEWIRE_DEMO_URL`, and the
/// browser in `TIDEWIRE_CHROMIUM`.
const PLAY: &str = "e2e/browser/demo.mjs";

/// What somebody wants to see.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    /// The web chat, with the server at this port, or at any.
    Web(Option<&'a str>),
    /// The chat in this terminal.
    Terminal,
    /// That, as somebody else, with a demo that runs.
    As(&'a str),
    /// That all of it works.
    Check,
}

/// The command `demo`.
pub(crate) fn run(options: &[&str]) -> Outcome {
    let wanted = parse(options)?;
    let lock = cache::lock()?;
    machine::for_rocksdb()?;
    if wanted == Wanted::Check {
        if has_web() {
            web::needs()?;
        }
        return check();
    }
    build(&mut programs())?;
    let mut demo = demo();
    match wanted {
        Wanted::Web(port) => {
            web::needs()?;
            demo.arg("--web").arg(build_web()?);
            demo.args(port.into_iter().flat_map(|port| ["--port", port]));
        }
        Wanted::As(user) => {
            demo.args(["--as", user]);
        }
        Wanted::Terminal | Wanted::Check => {}
    }
    // Others may build while it runs.
    drop(lock);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        // It ends when Ctrl-C says so, and everything that it has started before it.
        return Err(shell::give_way_to(&mut demo));
    }
    run_command(&mut demo)
}

fn parse<'a>(options: &[&'a str]) -> Outcome<Wanted<'a>> {
    match options {
        [] => Ok(Wanted::Web(None)),
        ["--port", port] if port.parse::<u16>().is_ok_and(|port| port > 0 && port < u16::MAX) => {
            Ok(Wanted::Web(Some(port)))
        }
        ["--terminal"] => Ok(Wanted::Terminal),
        ["--as", user] | ["--terminal", "--as", user] => Ok(Wanted::As(user)),
        ["--check"] => Ok(Wanted::Check),
        _ => Err(Failure(
            "demo takes nothing but --port N, --terminal, --as USER or --check".to_owned(),
        )),
    }
}

/// Builds and runs the demo without anybody who looks. It ends by itself, and fails when it does not
/// find what it should.
pub(crate) fn check() -> Outcome {
    build(&mut everything())?;
    let mut demo = demo();
    demo.arg("--check").stdin(Stdio::null());
    if has_web() {
        demo.arg("--web").arg(build_web()?);
        play(&mut demo)?;
    } else {
        say(&format!("there is no {WEB}: the chat in terminals is checked alone"));
    }
    run_command(&mut demo)
}

/// What plays a conversation in a browser, where there are both.
fn play(demo: &mut Command) -> Outcome {
    let Ok(chromium) = machine::chromium() else {
        say("there is no chromium: what a browser shows is not checked");
        return Ok(());
    };
    let script = checkout().join(PLAY);
    if !script.is_file() {
        return Ok(());
    }
    web::for_browsers()?;
    // The rest is the command; the demo runs it where it finds what this one has.
    let node = node::command("node");
    demo.envs(node.get_envs().filter_map(|(name, value)| Some((name, value?))));
    demo.env("TIDEWIRE_CHROMIUM", chromium);
    demo.arg("--").arg(node.get_program()).arg(script);
    Ok(())
}

fn build(what: &mut Command) -> Outcome {
    say("building the server and the demo; the first time this includes RocksDB and DataFusion, \
         and takes a while");
    run_command(what)
}

fn has_web() -> bool {
    checkout().join(WEB).join("package.json").is_file()
}

/// Builds the packages and the web chat. Gives the folder that is served.
fn build_web() -> Outcome<PathBuf> {
    if !has_web() {
        return Err(Failure(format!(
            "there is no {WEB} in this checkout: `cargo xtask demo --terminal` opens the chat in a \
             terminal"
        )));
    }
    // What makes the JavaScript was built with the rest.
    web::build(&|| Ok(()))?;
    node::install(WEB)?;
    let mut npm = node::command("npm");
    run_command(npm.args(["run", "build"]).current_dir(checkout().join(WEB)))?;
    Ok(checkout().join(WEB).join("dist"))
}

/// Beside it are the server and the chat that it starts.
fn demo() -> Command {
    let mut demo = Command::new(places::target().join("debug/demo"));
    demo.arg("--note").arg(places::folder().join("demo"));
    demo
}

/// Builds what the demo needs, out of the dependencies that [`everything`] needs, and no tests.
fn programs() -> Command {
    cargo(["build", "--workspace", "--bins", "--locked"])
}

/// Builds all there is, and always all: cargo builds what crates have in common anew for every
/// selection of them, and that is most of the time.
pub(crate) fn everything() -> Command {
    cargo(["build", "--workspace", "--all-targets", "--locked"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_is_seen_in_a_browser_unless_somebody_says_otherwise() {
        for (options, wanted) in [
            (&[][..], Wanted::Web(None)),
            (&["--port", "8000"], Wanted::Web(Some("8000"))),
            (&["--terminal"], Wanted::Terminal),
            (&["--as", "bob"], Wanted::As("bob")),
            (&["--terminal", "--as", "bob"], Wanted::As("bob")),
            (&["--check"], Wanted::Check),
        ] {
            assert!(parse(options).is_ok_and(|parsed| parsed == wanted), "{options:?}");
        }
        for options in [&["--port"][..], &["--port", "65535"], &["--port", "x"], &["--as"], &["x"]]
        {
            assert!(parse(options).is_err(), "{options:?}");
        }
    }
}
