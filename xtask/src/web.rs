//! The command `web`: the packages for browsers. Rust becomes wasm, JavaScript comes beside it,
//! and the TypeScript that calls both is compiled. And `replica`: the tests of the replica in a browser, which
//! are made in the same way.

mod imports;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::machine::{self, WASM};
use crate::places::{self, checkout};
use crate::shell::{self, Failure, Outcome, cargo, output, say, watch};
use crate::stages::Counts;
use crate::{cache, node};

/// The packages, which npm takes for one workspace.
const PACKAGES: &str = "packages";

/// The tests that open a browser.
const TESTS: &str = "e2e/browser";

/// The package for which the wasm is made, and where in it.
const CLIENT: &str = "packages/client";
const WASM_OF_CLIENT: &str = "packages/client/wasm";

/// Where the tests of the replica are made.
const REPLICA: &str = "e2e/browser/replica";

/// The file that runs them, and the variable that says which: those with this in their names.
const REPLICA_TESTS: &str = "e2e/browser/tests/replica.test.mjs";
const REPLICA_PART: &str = "TIDEWIRE_REPLICA_TESTS";

/// The packages that have tests of their own.
const TESTED: &[&str] = &[CLIENT, "packages/react"];

/// What is made of `sdk-wasm`: all of it must be there for it to be up to date.
const MADE: &[&str] = &["tidewire.js", "tidewire.d.ts", "tidewire_bg.wasm"];

/// What makes the JavaScript. Here to notice a change: then all is made anew.
const GLUE: [&str; 2] =
    [include_str!("../glue/src/main.rs"), include_str!("../glue/src/smaller.rs")];

/// The command `web`.
pub(crate) fn run() -> Outcome {
    let _lock = cache::lock()?;
    needs()?;
    build(&build_glue)
}

/// The command `replica`: the tests of the replica in a browser, all or a part.
pub(crate) fn replica(part: &str) -> Outcome {
    let _lock = cache::lock()?;
    needs()?;
    machine::for_tests()?;
    build_replica(&build_glue)?;
    watch(tests(&[checkout().join(REPLICA_TESTS)])?.env(REPLICA_PART, part), None, |_| {})
}

/// Alone, so that what is for browsers does not wait for RocksDB.
pub(crate) fn build_glue() -> Outcome {
    shell::run(&mut cargo(["build", "--package", "glue", "--locked"]))
}

/// Installs what [`build`] needs.
pub(crate) fn needs() -> Outcome {
    machine::for_wasm()?;
    node::needs()
}

/// Builds the packages. `build_glue` is called when the program that makes the JavaScript is
/// needed, and builds it.
pub(crate) fn build(build_glue: &dyn Fn() -> Outcome) -> Outcome {
    let mut wasm = cargo_for_browsers(["build", "--package", "sdk-wasm"])?;
    shell::run(wasm.args(["--profile", "web", "--locked"]))?;
    make(&places::target().join(WASM).join("web/sdk_wasm.wasm"), WASM_OF_CLIENT, build_glue)?;
    node::install(PACKAGES)?;
    let mut npm = node::command("npm");
    npm.args(["run", "build", "--workspaces", "--if-present"]);
    shell::run(npm.current_dir(checkout().join(PACKAGES)))
}

/// Builds the tests of the replica so that a page can call them. They are no package: nothing is built to be
/// small.
pub(crate) fn build_replica(build_glue: &dyn Fn() -> Outcome) -> Outcome {
    let mut tests = cargo_for_browsers(["build", "--package", "sdk-replica", "--test", "it"])?;
    let built = output(tests.args(["--locked", "--message-format=json-render-diagnostics"]))?;
    let mut artifacts = built.lines().filter_map(|line| serde_json::from_str(line).ok());
    let wasm = artifacts.find_map(|artifact: serde_json::Value| {
        let is_test = artifact["target"]["kind"] == serde_json::json!(["test"]);
        artifact["executable"].as_str().filter(|_| is_test).map(PathBuf::from)
    });
    let wasm = wasm.ok_or_else(|| Failure("cargo has built no tests of the replica".to_owned()))?;
    make(&wasm, REPLICA, build_glue)
}

/// Runs the tests of the packages on what [`build`] has built: those that need nothing else, and those
/// that open a browser.
pub(crate) fn test(counts: &mut Counts, silence_max: Duration) -> Outcome {
    let mut files = Vec::new();
    for folder in TESTED.iter().copied().chain([TESTS]) {
        files.extend(tests_in(&checkout().join(folder).join("tests"))?);
    }
    watch(&mut tests(&files)?, Some(silence_max), |line| counts.see(line))
}

/// Installs what drives a browser.
pub(crate) fn for_browsers() -> Outcome {
    node::install(TESTS)
}

/// What runs these tests.
pub(crate) fn tests(files: &[PathBuf]) -> Outcome<Command> {
    for_browsers()?;
    let mut node = node::command("node");
    // One file at a time: each opens browsers, and waits only so long for what they show.
    node.args(["--test", "--test-reporter=tap", "--test-concurrency=1"]);
    node.args(files).current_dir(checkout().join(TESTS));
    node.env("TIDEWIRE_BINARY", places::target().join("debug/tidewire"));
    node.env("TIDEWIRE_CHROMIUM", machine::chromium()?);
    Ok(node)
}

/// The files of tests in a folder.
fn tests_in(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut tests: Vec<_> =
        paths.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    tests.sort();
    match tests.is_empty() {
        true => Err(Failure(format!("there is no *.test.mjs in {}", folder.display()))),
        false => Ok(tests),
    }
}

/// Cargo on what runs in browsers, for some of which it calls a C compiler.
pub(crate) fn cargo_for_browsers<const N: usize>(arguments: [&str; N]) -> Outcome<Command> {
    let mut command = cargo(arguments);
    command.args(["--target", WASM]).env(machine::WASM_CC, machine::wasm_compiler()?);
    Ok(command)
}

/// Makes of the wasm that cargo has built what there is of it in a folder of the checkout, unless it was made
/// of the same already.
fn make(built: &Path, place: &str, build_glue: &dyn Fn() -> Outcome) -> Outcome {
    let wasm = fs::read(built).map_err(|error| failed(built, &error))?;
    check(&wasm)?;
    let folder = checkout().join(place);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let note = folder.with_file_name(format!(".{name}-made-from"));
    let from = fingerprint(&wasm);
    let is_there = MADE.iter().all(|name| folder.join(name).exists());
    if is_there && fs::read_to_string(&note).is_ok_and(|made_from| made_from == from) {
        say(&format!("{place} is up to date"));
        return Ok(());
    }
    // What is there must not be taken for whole, or for something else, when this stops halfway.
    if_there(fs::remove_file(&note)).map_err(|error| failed(&note, &error))?;
    if_there(fs::remove_dir_all(&folder)).map_err(|error| failed(&folder, &error))?;
    build_glue()?;
    shell::run(Command::new(places::target().join("debug/glue")).arg(built).arg(&folder))?;
    let made = folder.join("tidewire_bg.wasm");
    fs::write(&note, from).map_err(|error| failed(&note, &error))?;
    let bytes = fs::metadata(&made).map_err(|error| failed(&made, &error))?.len();
    say(&format!("{place}/tidewire_bg.wasm has {} kB", bytes / 1000));
    Ok(())
}

fn if_there(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A browser refuses a wasm file that wants what nobody gives it. wasm-bindgen passes such
/// imports on without a word.
fn check(wasm: &[u8]) -> Outcome {
    let unknown = imports::unknown(wasm)
        .ok_or_else(|| Failure("sdk_wasm.wasm cannot be read: is it wasm?".to_owned()))?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "sdk-wasm imports {}, which a browser has not, so that it would not start. C code in it \
         calls them: see who brings it with\n\n    cargo tree --package sdk-wasm --target {WASM}\n\n\
         and leave it out, or turn on the feature by which it brings them itself",
        unknown.join(", ")
    )))
}

/// Tells whether anything has changed of which the package is made.
fn fingerprint(wasm: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    (wasm, GLUE).hash(&mut hasher);
    format!("{:016x}\n", hasher.finish())
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{}: {error}", path.display()))
}
