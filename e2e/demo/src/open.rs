//! The demo in terminals: one has the server and alice, the others are whoever they like.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e_harness::{ChatCommand, Home, Server, chat};

use crate::{Outcome, set_up, signals};

/// How long a server that was killed stays away: long enough to be seen.
pub(crate) const AWAY: Duration = Duration::from_secs(3);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts a server, and opens the chat as alice until she leaves.
pub(crate) fn as_alice(note: &Path) -> Outcome {
    let home = Home::new();
    let server = home.start();
    home.keep_port();
    let address = home.admin().address();
    let notifier = set_up(&home, &address)?;
    let (data, folder) = (home.data(), home.folder("chat"));
    let noted = Note::of(&home);
    noted.write(note)?;
    println!("A server runs at http://{address}, on an empty directory.\n");
    println!("  in another terminal      cargo xtask demo --as bob");
    println!("  ends the server          kill -9 {}", server.id());
    println!("                           it is started again after {} seconds", AWAY.as_secs());
    println!("  without a network        /offline, and /online again");
    println!("  leaves                   /quit, which stops the server\n");
    println!("Press Enter to open the chat as alice.");
    wait_for_enter();
    let is_over = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        scope.spawn(|| keep_running(&home, server, &is_over));
        let opened = run(chat(ChatCommand::Open, "alice", &address, &data, &folder));
        is_over.store(true, Ordering::SeqCst);
        opened
    });
    drop(notifier);
    noted.remove(note)?;
    opened
}

/// Opens the chat with the server of a demo that runs.
pub(crate) fn as_another(note: &Path, user: &str) -> Outcome {
    let Note { address, data, folder } = Note::read(note).filter(|note| note.data.is_dir()).ok_or(
        "there is no demo that runs: start one with `cargo xtask demo` in another terminal",
    )?;
    run(chat(ChatCommand::Open, user, &address, &data, &folder))
}

/// Waits for a line, or the end of the demo. Reading goes on when a signal comes, so it has a thread
/// of its own.
fn wait_for_enter() {
    let reading = std::thread::spawn(|| std::io::stdin().read_line(&mut String::new()));
    while !reading.is_finished() && !signals::is_over() {
        std::thread::sleep(LOOK_EVERY);
    }
}

fn run(mut chat: Command) -> Outcome {
    if signals::is_over() {
        return Ok(());
    }
    let status = chat.status()?;
    if status.success() || signals::is_over() {
        return Ok(());
    }
    Err(format!("the chat has ended: {status}").into())
}

/// Starts the server again when somebody has killed it.
pub(crate) fn keep_running(home: &Home, mut server: Server, is_over: &AtomicBool) {
    let goes_on = || !is_over.load(Ordering::SeqCst) && !signals::is_over();
    while goes_on() {
        std::thread::sleep(LOOK_EVERY);
        if !server.is_running() && goes_on() {
            std::thread::sleep(AWAY);
            server = home.start();
        }
    }
    // A signal may have ended it already.
    if server.is_running() {
        server.term();
    }
}

/// Where a demo is, for those that come to it.
#[derive(PartialEq, Eq)]
pub(crate) struct Note {
    address: String,
    data: PathBuf,
    folder: PathBuf,
}

impl Note {
    /// Of a demo that has begun.
    pub(crate) fn of(home: &Home) -> Self {
        Self { address: home.admin().address(), data: home.data(), folder: home.folder("chat") }
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome {
        let Self { address, data, folder } = self;
        let text = format!("{address}\n{}\n{}\n", data.display(), folder.display());
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, text)?)
    }

    /// Removes it, unless another demo has begun since.
    pub(crate) fn remove(&self, file: &Path) -> Outcome {
        if Self::read(file).is_some_and(|present| present == *self) {
            std::fs::remove_file(file)?;
        }
        Ok(())
    }

    fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).ok()?;
        let mut lines = text.lines();
        let (address, data, folder) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Self { address: address.to_owned(), data: data.into(), folder: folder.into() })
    }
}
