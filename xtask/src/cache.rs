//! The build folder that all checkouts share, so that a fresh clone is not a fresh build of
//! RocksDB; and how they keep out of each other's way in it.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::machine::WASM;
use crate::places::{checkout, folder, target};
use crate::shell::{Failure, Outcome, cargo, now, run, say};

/// The cache is emptied when it has grown beyond this, in bytes: builds of old dependencies stay
/// in it for ever otherwise.
const BYTES_MAX: u64 = 20 << 30;

/// How often it is tried to take the cache.
const WAIT_STEP: Duration = Duration::from_millis(200);

/// How often whoever waits for the cache is told for whom.
const WAIT_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps other checkouts off the build folder for as long as it lives.
#[must_use]
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the build folder for this checkout.
///
/// Cargo decides by the age of files whether a crate is up to date, and two checkouts have the
/// same crates: a file here may be older than what was built from its other version there. So
/// whoever comes from another checkout than the last one drops what was built of our own crates;
/// what is built of dependencies stays.
pub(crate) fn lock() -> Outcome<Lock> {
    fs::create_dir_all(target()).map_err(|error| failed("create", &error))?;
    let place = target().join("tidewire-lock");
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(&place)
        .map_err(|error| failed("lock", &error))?;
    let mut told: Option<Instant> = None;
    while let Err(error) = file.try_lock() {
        if let TryLockError::Error(error) = error {
            return Err(failed("lock", &error));
        }
        if told.is_none_or(|told| told.elapsed() > WAIT_INTERVAL) {
            let holder = fs::read_to_string(&place).unwrap_or_default();
            say(&format!("waiting for {} to end", holder.trim()));
            told = Some(now());
        }
        std::thread::sleep(WAIT_STEP);
    }
    let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let here = checkout().display();
    let holder = format!("`cargo xtask {arguments}` of {here} (process {})\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(holder.as_bytes()))
        .map_err(|error| failed("lock", &error))?;
    let lock = Lock { _file: file };
    empty_if_large().map_err(|error| failed("empty", &error))?;
    own()?;
    Ok(lock)
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure(format!("cannot {what} {}: {error}", target().display()))
}

/// Empties the build folder when it is too large, and ours to empty.
fn empty_if_large() -> std::io::Result<()> {
    if target() != folder().join("target") || bytes(target()) <= BYTES_MAX {
        return Ok(());
    }
    say(&format!("{} has grown beyond {} GB: emptying it", target().display(), BYTES_MAX >> 30));
    for profile in ["debug", "release", "web", "doc", WASM] {
        match fs::remove_dir_all(target().join(profile)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes down that this checkout built last, and drops what another one built of our crates.
fn own() -> Outcome {
    let data = fs::metadata(checkout()).map_err(|error| failed("take", &error))?;
    let here = format!("{} {}:{}", checkout().display(), data.dev(), data.ino());
    let owner = target().join("tidewire-checkout");
    if fs::read_to_string(&owner).ok().as_deref() == Some(&here) {
        return Ok(());
    }
    let clean = || cargo(["clean", "--workspace", "--locked", "--quiet"]);
    run(&mut clean())?;
    run(clean().args(["--target", WASM]))?;
    run(clean().args(["--target", WASM, "--profile", "web"]))?;
    run(clean().arg("--release"))?;
    fs::write(&owner, here).map_err(|error| failed("write to", &error))
}

/// Lets a copy of the sources build here, with the dependencies that are built already. What was
/// built of our own crates goes; so does what the copy builds of them, when a checkout comes next.
pub(crate) fn lend() -> Outcome {
    run(&mut cargo(["clean", "--workspace", "--locked", "--quiet"]))?;
    match fs::remove_file(target().join("tidewire-checkout")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("lend", &error)),
        _ => Ok(()),
    }
}

fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
