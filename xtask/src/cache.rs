//! Where what is built is kept: outside of the checkout, so that a fresh clone is not a fresh
//! build of RocksDB.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::shell::{Failure, Outcome, cargo, run, say, variable};

/// The cache is emptied when it has grown beyond this, in bytes: builds of old dependencies stay
/// in it for ever otherwise.
const BYTES_MAX: u64 = 20 << 30;

/// The folder of the repository.
pub(crate) fn checkout() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The folder for all that is kept between runs.
pub(crate) fn folder() -> PathBuf {
    let named = |name: &str| variable(name).map(PathBuf::from);
    named("TIDEWIRE_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("tidewire")))
        .or_else(|| Some(named("HOME")?.join(".cache/tidewire")))
        .unwrap_or_else(|| checkout().join("target/cache"))
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    variable("CARGO_TARGET_DIR").map_or_else(|| folder().join("target"), PathBuf::from)
}

/// Keeps other checkouts off the cache for as long as it lives.
#[must_use]
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the cache for this checkout.
///
/// Cargo decides by the age of files whether a crate is up to date, and two checkouts have the
/// same crates: a file here may be older than what was built from its other version there. So
/// whoever comes from another checkout than the last one drops what was built of our own crates;
/// what is built of dependencies stays.
pub(crate) fn lock() -> Outcome<Lock> {
    let folder = folder();
    let failed = |what: &str, error: std::io::Error| {
        let place = folder.display();
        Failure(format!("{what} {place}: {error}; TIDEWIRE_CACHE names another place"))
    };
    fs::create_dir_all(&folder).map_err(|error| failed("cannot create", error))?;
    let file = File::create(folder.join("lock")).map_err(|error| failed("cannot lock", error))?;
    if file.try_lock().is_err() {
        say("waiting for another cargo xtask to end");
        file.lock().map_err(|error| failed("cannot lock", error))?;
    }
    let lock = Lock { _file: file };
    if bytes(&folder) > BYTES_MAX {
        say(&format!("{} has grown beyond {} GB: emptying it", folder.display(), BYTES_MAX >> 30));
        fs::remove_dir_all(folder.join("target")).map_err(|error| failed("cannot empty", error))?;
    }
    let owner = folder.join("checkout");
    let here = checkout().display().to_string();
    if fs::read_to_string(&owner).ok().as_deref() != Some(&here) {
        if target().exists() {
            run(&mut cargo(["clean", "--workspace", "--quiet"]))?;
        }
        fs::write(&owner, here).map_err(|error| failed("cannot write to", error))?;
    }
    Ok(lock)
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
