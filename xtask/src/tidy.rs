//! The rules of this repository that no compiler checks. Each finding is a sentence that says
//! where, and what to do.

mod dependencies;
mod documents;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use crate::places::checkout;
use crate::shell::{Failure, Outcome, output, say};

/// Everything that breaks a rule.
pub(crate) type Findings = Vec<String>;

/// A file of the repository that git knows or would add.
pub(crate) struct File {
    /// Its path within the repository.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// The command `tidy`.
pub(crate) fn run() -> Outcome {
    let files = files()?;
    let mut findings = dependencies::check(&files)?;
    findings.extend(source::check(&files));
    findings.extend(documents::check(&files));
    for finding in &findings {
        say(finding);
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure(format!("{count} rules of the repository are broken"))),
    }
}

fn files() -> Outcome<Vec<File>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = output(git.current_dir(checkout())).map_err(|Failure(failed)| {
        Failure(format!("{failed}\nThe rules are checked in a git checkout, with git installed."))
    })?;
    let mut files = Vec::new();
    for name in names.split_terminator('\0') {
        let path: PathBuf = checkout().join(name);
        // What was deleted and not committed is still listed; what is not text has no rules here.
        if let Some(text) = read(&path) {
            files.push(File { path: name.to_owned(), text });
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).ok()?).ok()
}
