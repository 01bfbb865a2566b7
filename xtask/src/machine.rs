//! What the machine must have, step by step. The README promises a C compiler, git and rustup;
//! what a step needs beyond that is installed when the step comes, and nothing else is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::places::{checkout, variable};
use crate::shell::{Failure, Outcome, exists, output, run, say};

/// What building RocksDB needs: it is C++, and its bindings are made from its header.
pub(crate) fn for_rocksdb() -> Outcome {
    let mut missing = Vec::new();
    if !exists("c++") {
        missing.push("g++");
    }
    if !has_libclang() {
        missing.push("libclang-dev");
    }
    install(&missing, "to build RocksDB")
}

/// What tests need beside: the program `sqlite3`, by which they read replicas like anybody else,
/// and a browser.
pub(crate) fn for_tests() -> Outcome {
    let mut missing = Vec::new();
    if !exists("sqlite3") {
        missing.push("sqlite3");
    }
    if find(CHROMIUM).is_none() {
        missing.push(CHROMIUM);
    }
    install(&missing, "to test what other programs read, and what runs in browsers")
}

/// What a benchmark in a browser needs.
pub(crate) fn for_browsers() -> Outcome {
    let missing = if find(CHROMIUM).is_none() { &[CHROMIUM][..] } else { &[] };
    install(missing, "to measure what runs in browsers")
}

/// The program of the browser, and its package.
const CHROMIUM: &str = "chromium";

/// Where the browser is that [`for_tests`] or [`for_browsers`] has provided.
pub(crate) fn chromium() -> Outcome<PathBuf> {
    find(CHROMIUM).ok_or_else(|| Failure(format!("{CHROMIUM} is missing: install it")))
}

fn has_libclang() -> bool {
    if variable("LIBCLANG_PATH").is_some() {
        return true;
    }
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |file: &std::fs::DirEntry, start: &str| {
        file.file_name().to_string_lossy().starts_with(start)
    };
    entries(Path::new("/usr/lib")).filter(|file| named(file, "llvm-")).any(|version| {
        let library = version.path().join("lib");
        // The headers of the compiler come in a package of their own, and are read as well.
        let mut headers = entries(&library.join("clang"));
        entries(&library).any(|file| named(&file, "libclang.so") || named(&file, "libclang-1"))
            && headers.any(|version| version.path().join("include/stddef.h").exists())
    })
}

/// The target of what runs in browsers.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// The variable by which the builds of C code find the compiler for [`WASM`].
pub(crate) const WASM_CC: &str = "CC_wasm32_unknown_unknown";

/// What building for browsers needs: SQLite is C, which gcc does not compile for them.
pub(crate) fn for_wasm() -> Outcome {
    if wasm_compiler().is_err() {
        install(&["clang"], "to build SQLite for browsers")?;
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "list", "--installed"]).current_dir(checkout());
    if output(&mut rustup)?.lines().any(|target| target == WASM) {
        return Ok(());
    }
    say(&format!("installing the Rust target {WASM}"));
    let mut rustup = Command::new("rustup");
    run(rustup.args(["target", "add", WASM]).current_dir(checkout()))
}

/// The C compiler for browsers: the one that is asked for, or the clang of Debian, which has its
/// version in its name unless the package `clang` is installed.
pub(crate) fn wasm_compiler() -> Outcome<String> {
    if let Some(asked_for) = variable(WASM_CC) {
        return Ok(asked_for);
    }
    let versions = CLANG_VERSIONS.rev().map(|version| format!("clang-{version}"));
    std::iter::once("clang".to_owned())
        .chain(versions)
        .find(|name| find(name).is_some())
        .ok_or_else(|| Failure("there is no clang: install the package clang".to_owned()))
}

/// From the one of Debian 12, the oldest that was seen to build SQLite for browsers, on.
const CLANG_VERSIONS: std::ops::RangeInclusive<u32> = 14..=30;

/// What fetches from PyPI.
pub(crate) fn for_pip() -> Outcome {
    let mut python = Command::new("python3");
    python.args(["-m", "pip", "--version"]).stdin(Stdio::null());
    let is_there = python.output().is_ok_and(|output| output.status.success());
    install(if is_there { &[] } else { &["python3-pip"] }, "to fetch Node.js")
}

/// Where a program is, if it is on the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|place| place.is_file())
}

/// Installs Debian packages as root or through sudo; otherwise says which command would.
fn install(packages: &[&str], why: &str) -> Outcome {
    if packages.is_empty() {
        return Ok(());
    }
    let packages = packages.join(" ");
    let script = format!("apt-get update && apt-get install -y --no-install-recommends {packages}");
    let by_hand = || {
        Failure(format!(
            "{packages} is needed {why}. Run this, then try again:\n\n    sudo sh -c '{script}'"
        ))
    };
    let mut shell = if is_root() {
        Command::new("sh")
    } else if may_sudo() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Err(by_hand());
    };
    if !exists("apt-get") {
        return Err(by_hand());
    }
    say(&format!("installing {packages} {why}"));
    shell.args(["-c", &script]).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    run(&mut shell).map_err(|Failure(failed)| Failure(format!("{failed}\n{}", by_hand().0)))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn may_sudo() -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sudo.status().is_ok_and(|status| status.success())
}
