//! The chat of `examples/chat`, as a process that is told lines and tells lines.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::binary::binary;
use crate::home::{Role, token};
use crate::server::{exit_status, read};

/// Longer than anything takes. What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

/// A command of the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatCommand {
    /// Makes the tables.
    Setup,
    /// Opens it.
    Open,
    /// Tells of mentions.
    Notify,
}

/// The chat as this user, at a server with its data in `data`. Tokens and replicas are in `folder`.
///
/// # Panics
/// There is no such program, or no token.
pub fn chat(command: ChatCommand, user: &str, server: &str, data: &Path, folder: &Path) -> Command {
    let (word, role) = match command {
        ChatCommand::Setup => ("setup", Role::Admin),
        ChatCommand::Open => ("open", Role::User),
        ChatCommand::Notify => ("notify", Role::Service),
    };
    let file = folder.join(format!("{user}.token"));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, token(&binary("tidewire"), data, user, role)));
    written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut chat = Command::new(binary("chat"));
    chat.args([word, "--server", &format!("http://{server}"), "--as", user, "--token"]);
    chat.arg(file).arg("--data").arg(folder);
    chat
}

/// The program that signs people in to the web chat, at this address, for a server with its data in
/// `data`. What it keeps is in `folder`.
///
/// # Panics
/// There is no such program.
pub fn sign_in(server: &str, data: &Path, folder: &Path, listen: &str) -> Command {
    let mut sign_in = Command::new(binary("chat-signin"));
    sign_in.args(["--server", &format!("http://{server}"), "--listen", listen, "--data"]);
    sign_in.arg(data).arg("--state").arg(folder);
    sign_in
}

/// A chat that runs, or what signs people in to one. It is killed when this is dropped.
#[derive(Debug)]
pub struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it said that nobody waited for yet.
    heard: Vec<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Chat {
    /// Starts it. `hear` is given each line when it comes.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn spawn(mut command: Command, hear: impl Fn(&str) + Clone + Send + 'static) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        let tell = move |line: String| {
            hear(&line);
            // Nobody may wait for it any more.
            let _ = sender.send(line);
        };
        let readers = [
            child.stdout.take().map(|out| read(out, tell.clone())),
            child.stderr.take().map(|out| read(out, tell)),
        ];
        let stdin = child.stdin.take();
        let readers = readers.into_iter().flatten().collect();
        Self { child, stdin, lines, heard: Vec::new(), readers }
    }

    /// Enters a line.
    ///
    /// # Panics
    /// It has ended.
    pub fn enter(&mut self, line: &str) {
        let written = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}"));
        assert!(matches!(written, Some(Ok(()))), "{line}: the chat has ended: {:?}", self.heard);
    }

    /// Waits for a line that begins like this, and takes it. Lines may have come before.
    ///
    /// # Panics
    /// It does not come.
    pub fn until(&mut self, start: &str) -> String {
        loop {
            if let Some(place) = self.heard.iter().position(|line| line.starts_with(start)) {
                return self.heard.remove(place);
            }
            match self.lines.recv_timeout(WITHIN) {
                Ok(line) => self.heard.push(line),
                Err(error) => panic!("no {start:?} ({error}) but {:#?}", self.heard),
            }
        }
    }

    /// All messages of the room that are on the device, as `[room] author: body`.
    ///
    /// # Panics
    /// It does not say.
    pub fn messages(&mut self) -> Vec<String> {
        self.enter("/show");
        let head = self.until("= ");
        let count = head.split_whitespace().rev().nth(1).and_then(|count| count.parse().ok());
        let count: usize = count.unwrap_or_else(|| panic!("no count in {head:?}"));
        (0..count).map(|_| self.until("- ").trim_start_matches("- ").to_owned()).collect()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a power cut does.
    ///
    /// # Panics
    /// It cannot.
    pub fn kill9(mut self) {
        self.child.kill().unwrap_or_else(|error| panic!("kill -9: {error}"));
    }

    /// Tells it to leave, and waits until it has. Returns what it said that nobody waited for.
    ///
    /// # Panics
    /// It does not, or not as one that is well.
    pub fn leave(mut self) -> Vec<String> {
        self.enter("/quit");
        let status = exit_status(&mut self.child);
        self.hear_out();
        self.heard.extend(self.lines.try_iter());
        assert!(status.success(), "the chat ended with {status}: {:#?}", self.heard);
        std::mem::take(&mut self.heard)
    }

    /// Waits for the last line of one that has ended.
    fn hear_out(&mut self) {
        for reader in self.readers.drain(..) {
            // One that has panicked has shown so.
            let _ = reader.join();
        }
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.hear_out();
    }
}
