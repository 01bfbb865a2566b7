//! Which binaries are tested: those that cargo built beside the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const BUILD: &str = "cargo build --workspace";

/// The program of this name that was built in the folder in which this test was.
///
/// # Panics
/// There is none, or it is older than its sources.
pub fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap_or_else(|error| panic!("the test's place: {error}"));
    let found = this.ancestors().skip(1).map(|folder| folder.join(name)).find(|p| p.is_file());
    let Some(found) = found else {
        panic!("there is no {name} beside {}: {BUILD}", this.display());
    };
    if let Some(newer) = newer_source(&found) {
        panic!("{} is older than {}: {BUILD}", found.display(), newer.display());
    }
    found
}

/// A source that has changed since the server was built. Cargo writes down which ones it read.
fn newer_source(binary: &Path) -> Option<PathBuf> {
    let read = fs::read_to_string(binary.with_extension("d")).ok()?;
    let (_, sources) = read.split_once(": ")?;
    let built = changed(binary)?;
    // A space in a path is written with a backslash.
    let sources = sources.replace("\\ ", "\0");
    let mut sources = sources.split_whitespace().map(|path| PathBuf::from(path.replace('\0', " ")));
    sources.find(|source| changed(source).is_none_or(|changed| changed > built))
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}
