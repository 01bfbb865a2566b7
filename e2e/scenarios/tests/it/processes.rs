//! Programs that run in processes of their own, so that they can be killed. Each is a test of this binary
//! that finds out by a variable that it is to be the program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::sync::mpsc;

/// How a program is told what it is.
const PROGRAM: &str = "TIDEWIRE_DEVICE";

/// Longer than any wait. What takes longer hangs.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// What this process was told that it is, if it is a program.
#[expect(clippy::disallowed_methods, reason = "how a program is told what it is")]
pub(crate) fn program() -> Option<String> {
    std::env::var(PROGRAM).ok()
}

/// Runs a program to its end.
pub(crate) fn be(program: impl Future<Output = ()>) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(program);
    std::process::exit(0)
}

/// Tells whoever started this program.
#[expect(clippy::print_stdout, reason = "whoever started it reads that")]
pub(crate) fn say(line: &str) {
    println!("device: {line}");
    let _ = std::io::stdout().flush();
}

/// What a program is told while it runs. It ends with whoever started it.
pub(crate) fn heard() -> mpsc::UnboundedReceiver<String> {
    let (told, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = told.send(line);
        }
        std::process::exit(0);
    });
    lines
}

/// A program, as its parent sees it.
pub(crate) struct Process {
    test: &'static str,
    pub(crate) command: String,
    child: Child,
    stdin: ChildStdin,
    /// What it says, but for how often it has written.
    pub(crate) lines: Receiver<String>,
}

impl Process {
    /// Starts one: a test, and what it is told. Each `wrote` that it says is counted.
    pub(crate) fn start(test: &'static str, command: String, wrote: &Arc<AtomicU64>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(PROGRAM, &command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, lines) = channel();
        let (out, wrote) = (child.stdout.take().unwrap(), Arc::clone(wrote));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                match line.split_once("device: ") {
                    Some((_, "wrote")) => drop(wrote.fetch_add(1, Ordering::SeqCst)),
                    Some((_, line)) => drop(told.send(line.to_owned())),
                    None => {}
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { test, command, child, stdin, lines }
    }

    /// Ends it as the system does, and gives what it has said and nobody has read.
    pub(crate) fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // All that it has said ends with it.
        self.lines.iter().collect()
    }

    /// Starts it again, after it was killed.
    pub(crate) fn again(self, wrote: &Arc<AtomicU64>) -> Self {
        Self::start(self.test, self.command.clone(), wrote)
    }

    /// Stops it for a while, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(done.success(), "{signal} {id}");
    }

    /// It must not have ended by itself, nor have anything to complain about.
    pub(crate) fn check(&mut self) {
        let told: Vec<_> = self.lines.try_iter().collect();
        let ended = self.child.try_wait().unwrap();
        assert!(told.is_empty() && ended.is_none(), "{}: {told:?} {ended:?}", self.command);
    }

    /// Tells it something.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// What it says next.
    pub(crate) fn hear(&mut self) -> String {
        self.lines.recv_timeout(WITHIN).expect("a device hangs")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
