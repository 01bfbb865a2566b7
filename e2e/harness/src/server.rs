//! A running server.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than any start takes. What takes longer hangs.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Longer than any end takes.
const END_WITHIN: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(5);

const READY: &str = "tidewire is ready at ";

/// A process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    output: Receiver<String>,
    url: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// What this one process wrote to standard error.
    told: Arc<Mutex<Vec<String>>>,
}

/// How a process has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub told: String,
}

impl Server {
    pub(crate) fn spawn(
        mut command: Command,
        url: Arc<Mutex<String>>,
        log: Arc<Mutex<Vec<String>>>,
    ) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("RUST_BACKTRACE", "0");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, output) = channel();
        let told = Arc::<Mutex<Vec<String>>>::default();
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stdout| {
            read(stdout, move |line| {
                // Nobody waits for a second line.
                let _ = sender.send(line);
            })
        }));
        let also = Arc::clone(&told);
        readers.extend(child.stderr.take().map(|stderr| {
            read(stderr, move |line| {
                lock(&also).push(line.clone());
                lock(&log).push(line);
            })
        }));
        Self { child, output, url, readers, told }
    }

    /// Waits for the line that says so.
    ///
    /// # Errors
    /// The process has ended instead.
    ///
    /// # Panics
    /// It does neither.
    pub fn wait_until_ready(&mut self) -> Result<(), Ended> {
        match self.output.recv_timeout(READY_WITHIN) {
            Ok(line) => {
                let address = line.strip_prefix(READY);
                let address = address.unwrap_or_else(|| panic!("the server said {line:?}"));
                address.trim().clone_into(&mut lock(&self.url));
                Ok(())
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.wait()),
            Err(RecvTimeoutError::Timeout) => panic!("the server is not ready, and says nothing"),
        }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Bytes of memory that the process has in use.
    ///
    /// # Panics
    /// It does not run.
    pub fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.unwrap_or_else(|error| panic!("the process is gone: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("no memory in {status}")) * 1024
    }

    /// Ends it as a power cut ends a process, `kill -9`.
    ///
    /// # Panics
    /// It cannot.
    pub fn kill9(mut self) {
        self.child.kill().unwrap_or_else(|error| panic!("kill -9: {error}"));
        self.wait();
    }

    /// Sends it a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// It cannot.
    pub fn signal(&self, name: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "kill -s \"$1\" \"$2\"", "kill", name]).arg(self.id().to_string());
        let sent = shell.status().is_ok_and(|status| status.success());
        assert!(sent, "SIG{name} was not sent");
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// It does not.
    pub fn term(mut self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end, and for the last line of its log.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(&mut self) -> Ended {
        let status = exit_status(&mut self.child);
        for reader in self.readers.drain(..) {
            // One that has panicked has shown so.
            let _ = reader.join();
        }
        Ended { code: status.code(), told: lock(&self.told).join("\n") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Waits for the end of a process.
///
/// # Panics
/// It does not end.
pub(crate) fn exit_status(child: &mut Child) -> ExitStatus {
    let mut waited = Duration::ZERO;
    while waited < END_WITHIN {
        if let Ok(Some(status)) = child.try_wait() {
            return status;
        }
        std::thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
    panic!("process {} does not end", child.id());
}

pub(crate) fn read(
    output: impl Read + Send + 'static,
    mut take: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            take(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
