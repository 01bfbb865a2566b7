//! Running other programs, and saying so.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::places::{self, variable};

/// Why a command did not do what it should: a sentence that says what to do next.
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    /// A failure about which everything has been said already.
    pub(crate) fn told() -> Self {
        Self(String::new())
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// How often it is looked whether a command has ended.
const TICK: Duration = Duration::from_secs(1);

/// How often a long step that says nothing shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Prints a line at once, whoever reads it.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // Nobody listens any more, as behind `| head`.
        std::process::exit(1);
    }
}

#[expect(clippy::disallowed_methods, reason = "xtask times its stages and its children")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Cargo on this workspace, building into the cache.
pub(crate) fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    command
        .args(arguments)
        .current_dir(places::checkout())
        .env("CARGO_TARGET_DIR", places::target())
        .stdin(Stdio::null());
    command
}

/// The failure of a command, which is named by its words.
fn failed(why: impl Display, command: &Command) -> Failure {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    Failure(format!("{}: {why}", words.join(" ")))
}

/// Runs a command to its end, its output shown as it comes.
pub(crate) fn run(command: &mut Command) -> Outcome {
    watch(command, None, |_| {})
}

/// Becomes this command, which has the terminal from then on. Returns when it cannot.
pub(crate) fn give_way_to(command: &mut Command) -> Failure {
    let error = command.exec();
    failed(error, command)
}

/// Runs a command and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| failed(error, command))?;
    if !output.status.success() {
        return Err(failed(output.status, command));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(error, command))
}

/// Whether a program can be run.
pub(crate) fn exists(program: &str) -> bool {
    let quiet = || Stdio::null();
    let mut command = Command::new(program);
    command.arg("--version").stdin(quiet()).stdout(quiet()).stderr(quiet());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command, shows each line of its output and gives it to `see`. A command that says
/// nothing for `silence_max` hangs: it is ended with all that it started, and its last line says
/// what hung.
pub(crate) fn watch(
    command: &mut Command,
    silence_max: Option<Duration>,
    mut see: impl FnMut(&str),
) -> Outcome {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error, command))?;
    let lines = lines(&mut child);
    let (mut heard, mut shown) = (now(), now());
    let mut last = String::new();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                say(&line);
                see(&line);
                (heard, shown) = (now(), now());
                last = line;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // What it started may hold its outputs open when it has ended.
            Err(RecvTimeoutError::Timeout) if matches!(child.try_wait(), Ok(Some(_))) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if shown.elapsed() > HEARTBEAT {
            say(&format!("    … still at it, {} without a word", seconds(heard.elapsed())));
            shown = now();
        }
        if silence_max.is_some_and(|silence_max| heard.elapsed() > silence_max) {
            end_with_children(&mut child);
            return Err(failed(format!("hung, its last words were: {last}"), command));
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status, command)),
        Err(error) => Err(failed(error, command)),
    }
}

/// Ends a child and everything that it started: of a hung test it is cargo's child that hangs.
fn end_with_children(child: &mut Child) {
    let mut family = vec![child.id()];
    let parents = processes();
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    let ids = family.iter().map(u32::to_string);
    // They may have ended by themselves in this moment. The shell has a `kill` of its own, which
    // a small system has not.
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -KILL \"$@\"", "kill"]).args(ids);
    let _: std::io::Result<_> = shell.status();
    let _: std::io::Result<_> = child.kill().and_then(|()| child.wait());
}

/// The processes of this machine, each with its parent.
fn processes() -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            Some((id, parent.trim().parse().ok()?))
        })
        .collect()
}

/// The lines of both outputs of a child, in the order in which they come.
fn lines(child: &mut Child) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = channel();
    let outputs: [Option<Box<dyn std::io::Read + Send>>; 2] = [
        child.stdout.take().map(|output| Box::new(output) as _),
        child.stderr.take().map(|output| Box::new(output) as _),
    ];
    for output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}
