//! Processes that are measured from outside.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Clock ticks a second in `/proc/PID/stat`, which Linux fixes for user space.
const TICKS: u64 = 100;

/// A server that was started. It ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    /// From starting the program to its ready line.
    pub(crate) started_in: Duration,
}

impl Process {
    /// Starts a program and waits for the line that says where it is ready.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let start = Instant::now();
        // What it logs would be in the table.
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the server cannot be started")?;
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let started_in = start.elapsed();
        let Some((_, address)) = line.trim().split_once("http://") else {
            let _ = child.kill();
            bail!("the server did not start: {line}");
        };
        Ok(Self { address: address.to_owned(), child, started_in })
    }

    /// Starts Tidewire on a folder.
    pub(crate) fn tidewire(data: &Path) -> Result<Self> {
        Self::tidewire_with(data, "")
    }

    /// The same, with settings.
    pub(crate) fn tidewire_with(data: &Path, settings: &str) -> Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), settings)?;
        let mut command = Command::new(binary()?);
        command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
        // It is read before the ready line.
        Self::start(command.arg("--config").arg(file.path()))
    }

    /// The time that the process has had on processors.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("stat")?;
        let field = |place: usize| -> Result<u64> {
            Ok(rest.split_whitespace().nth(place).context("stat")?.parse()?)
        };
        Ok(Duration::from_millis((field(11)? + field(12)?) * 1_000 / TICKS))
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<f64> {
        resident(&self.child.id().to_string())
    }

    /// Ends it as a power button does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(status.success(), "the server could not be asked to end");
        anyhow::ensure!(self.child.wait()?.success(), "the server did not end well");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kill();
    }
}

/// Settings for very many sockets.
pub(crate) const MANY_SOCKETS: &str = "[http]\nconnections_max = 100000\n";

/// How many sockets a process may have.
pub(crate) fn open_files_max() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().next()).context("no limit")?;
    Ok(most.parse().unwrap_or(usize::MAX))
}

/// The resident memory of this process, in bytes.
pub(crate) fn own_resident() -> Result<f64> {
    resident("self")
}

fn resident(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0)
}

/// The binary that was built beside this one.
pub(crate) fn binary() -> Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("tidewire");
    anyhow::ensure!(binary.exists(), "{} is not built: use `cargo xtask bench`", binary.display());
    Ok(binary)
}

/// A token of a data folder.
pub(crate) fn token(data: &Path, user: &str, role: &str) -> Result<String> {
    let mut command = Command::new(binary()?);
    command.args(["token", "--user", user, "--role", role, "--data"]).arg(data);
    let output = command.output()?;
    anyhow::ensure!(
        output.status.success(),
        "no token: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
