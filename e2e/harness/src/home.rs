//! Where a server lives through all of its starts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::binary::binary;
use crate::client::Client;
use crate::server::{Ended, Server, lock};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Own rows.
    User,
    /// All SHARED tables.
    Service,
    /// Definitions.
    Admin,
}

/// A data directory, the servers that run on it one after the other, and what they logged.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    binary: PathBuf,
    listen: Mutex<String>,
    url: Arc<Mutex<String>>,
    log: Arc<Mutex<Vec<String>>>,
    allowed: Mutex<Vec<String>>,
    settings: Option<PathBuf>,
}

impl Home {
    /// An empty one.
    ///
    /// # Panics
    /// There is no server to test, or no place for its data.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap_or_else(|error| panic!("no place for data: {error}")),
            binary: binary("tidewire"),
            listen: Mutex::new("127.0.0.1:0".to_owned()),
            url: Arc::default(),
            log: Arc::default(),
            allowed: Mutex::default(),
            settings: None,
        }
    }

    /// The same, with a file of settings.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn with_settings(text: &str) -> Self {
        let mut home = Self::new();
        home.set(text);
        home
    }

    /// From now on servers start with these settings.
    ///
    /// # Panics
    /// They cannot be written.
    pub fn set(&mut self, text: &str) {
        let file = self.folder("settings.toml");
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("the settings: {error}"));
        self.settings = Some(file);
    }

    /// From now on servers start at this port.
    pub fn take_port(&self, port: u16) {
        *lock(&self.listen) = format!("127.0.0.1:{port}");
    }

    /// The data directory. The first start makes it.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A folder for what else belongs to it. It goes with it.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// From now on servers start at the port that the present one has.
    pub fn keep_port(&self) {
        let address = lock(&self.url).trim_start_matches("http://").to_owned();
        *lock(&self.listen) = address;
    }

    /// Lines of the log with this text in them are expected.
    pub fn allow(&self, text: &str) {
        lock(&self.allowed).push(text.to_owned());
    }

    /// Whether a line of the log has this text in it.
    pub fn has_logged(&self, text: &str) -> bool {
        lock(&self.log).iter().any(|line| line.contains(text))
    }

    /// Starts a server, and waits until it is ready.
    ///
    /// # Panics
    /// It does not become ready.
    pub fn start(&self) -> Server {
        let mut server = self.launch();
        server.wait_until_ready().unwrap_or_else(|ended| panic!("it did not start: {ended:?}"));
        server
    }

    /// Starts a server without waiting for it.
    ///
    /// # Panics
    /// The binary cannot be run.
    pub fn launch(&self) -> Server {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data").arg(self.data());
        command.arg("--listen").arg(&*lock(&self.listen));
        if let Some(settings) = &self.settings {
            command.arg("--config").arg(settings);
        }
        Server::spawn(command, Arc::clone(&self.url), Arc::clone(&self.log))
    }

    /// Starts a server that cannot start.
    ///
    /// # Panics
    /// It does.
    pub fn start_refused(&self) -> Ended {
        match self.launch().wait_until_ready() {
            Err(ended) => ended,
            Ok(()) => panic!("the server has started"),
        }
    }

    /// Asks as this user. There must have been a server once, which made the key.
    ///
    /// # Panics
    /// There is no key.
    pub fn client(&self, user: &str, role: Role) -> Client {
        let token = token(&self.binary, &self.data(), user, role);
        Client::new(Arc::clone(&self.url), token)
    }

    /// Asks as an administrator.
    ///
    /// # Panics
    /// There is no key.
    pub fn admin(&self) -> Client {
        self.client("root", Role::Admin)
    }

    /// Runs the binary with these arguments and a path behind them.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn command(&self, arguments: &[&str], path: &Path) -> Output {
        let output = Command::new(&self.binary).args(arguments).arg(path).output();
        output.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()))
    }

    fn unexpected(&self) -> Vec<String> {
        let allowed = lock(&self.allowed);
        let is_allowed = |line: &&String| !allowed.iter().any(|text| line.contains(text.as_str()));
        lock(&self.log).iter().filter(|line| is_alarm(line)).filter(is_allowed).cloned().collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = lock(&self.log);
            let last = log.len().saturating_sub(40);
            #[expect(clippy::print_stderr, reason = "part of the failure's message")]
            for line in &log[last..] {
                eprintln!("    server: {line}");
            }
            return;
        }
        let unexpected = self.unexpected();
        assert!(unexpected.is_empty(), "the server's log has {unexpected:#?}");
    }
}

/// A token of this user, for servers with their data there.
pub(crate) fn token(binary: &Path, data: &Path, user: &str, role: Role) -> String {
    let role = match role {
        Role::User => "user",
        Role::Service => "service",
        Role::Admin => "admin",
    };
    let mut command = Command::new(binary);
    command.args(["token", "--user", user, "--role", role, "--data"]).arg(data);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "no token for {user}: {told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether somebody should have to look at a line of the log.
fn is_alarm(line: &str) -> bool {
    let level = line.split_whitespace().nth(1);
    matches!(level, Some("WARN" | "ERROR")) || line.contains("panicked at")
}
