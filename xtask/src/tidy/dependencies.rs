//! Who may depend on whom: dependencies between our crates point one way, and a third-party
//! engine is named by one crate.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{File, Findings};
use crate::machine::WASM;
use crate::shell::{Failure, Outcome, cargo, output};

/// A crate and what it may use.
struct Rule {
    package: &'static str,
    /// Our crates that the product code may use.
    ours: &'static [&'static str],
    /// What it must not have, not even through others: what would bring in I/O, a clock, or chance.
    never: &'static [&'static str],
}

/// The table of `docs/ARCHITECTURE.md`, for the crates there are.
const RULES: &[Rule] = &[
    // Chance would not compile for browsers, for which it is linted.
    Rule { package: "protocol", ours: &[], never: &["tokio", "rand"] },
    Rule { package: "server-storage", ours: &[], never: &["tokio"] },
    Rule {
        package: "server-engine",
        ours: &["protocol", "server-storage"],
        // Not getrandom: metadata joins the features that all crates ask for, and so shows it
        // behind a tree in memory that has it only in somebody else's build.
        never: &["tokio", "rand"],
    },
    Rule {
        package: "server-replication",
        ours: &["protocol", "server-storage", "server-engine"],
        never: &["axum", "datafusion"],
    },
    Rule {
        package: "server-subscriptions",
        ours: &["protocol", "server-engine"],
        never: &["tokio", "axum"],
    },
    Rule {
        package: "server-query",
        ours: &["protocol", "server-engine"],
        never: &["openraft", "axum"],
    },
    Rule {
        package: "server-gateway",
        ours: &["protocol"],
        never: &["rocksdb", "openraft", "datafusion"],
    },
    Rule {
        package: "server",
        ours: &[
            "protocol",
            "server-storage",
            "server-engine",
            "server-replication",
            "server-subscriptions",
            "server-query",
            "server-gateway",
        ],
        never: &[],
    },
    Rule { package: "sdk-machine", ours: &["protocol"], never: &["tokio", "rand", "rusqlite"] },
    Rule {
        package: "sdk-replica",
        ours: &["protocol", "sdk-machine"],
        never: &["tokio", "rand", "rustls"],
    },
    Rule {
        package: "sdk-core",
        ours: &["protocol", "sdk-machine", "sdk-replica"],
        never: &["aws-lc-sys", "openssl-sys", "bindgen"],
    },
    // What it must not have in a browser is in another list.
    Rule { package: "sdk-wasm", ours: &["protocol", "sdk-core"], never: &[] },
    Rule { package: "xtask", ours: &[], never: &["tokio"] },
    Rule { package: "callable", ours: &[], never: &["tokio"] },
    Rule { package: "glue", ours: &[], never: &["tokio"] },
    Rule { package: "seeds", ours: &[], never: &["tokio"] },
];

/// A third-party engine, and the one product crate that may name it.
const ENGINES: &[(&str, &str)] = &[
    ("rocksdb", "server-storage"),
    ("openraft", "server-replication"),
    ("datafusion", "server-query"),
    ("arrow", "server-query"),
    ("axum", "server-gateway"),
    ("hyper", "server-gateway"),
    ("jsonwebtoken", "server-gateway"),
    ("tower-http", "server-gateway"),
    ("rusqlite", "sdk-replica"),
    ("rustls", "sdk-core"),
    ("uniffi", "sdk-mobile"),
    ("wasm-bindgen", "sdk-wasm"),
    ("js-sys", "sdk-wasm"),
    ("web-sys", "sdk-wasm"),
    ("sqlite-wasm-vfs", "sdk-wasm"),
];

/// What makes the JavaScript beside a wasm file: called like an engine, and none.
const GLUE: &str = "wasm-bindgen-cli-support";

/// What a browser downloads, and what must not be in it: it would wait in vain for a socket of
/// the system there, or for a file.
const BROWSER: (&str, &[&str]) =
    ("sdk-wasm", &["mio", "rocksdb", "rustls", "socket2", "tokio-tungstenite"]);

/// The platforms whose dependencies are looked at.
const PLATFORMS: [&str; 2] = ["x86_64-unknown-linux-gnu", WASM];

/// Crates that look at the product from outside may use anything, and need no row.
const OUTSIDE: &[&str] = &["e2e/", "bench/", "examples/"];

/// What the feature `testing` brings in, for tests alone: it needs chance, the product does not.
const TEST_TOOL: &str = "proptest";

/// The licences of dependencies that go with Apache-2.0 and MIT. Each part of an expression that
/// is joined by AND must have one of them.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(super) fn check(files: &[File]) -> Outcome<Findings> {
    let mut findings = Findings::new();
    for platform in PLATFORMS {
        check_platform(&metadata(platform)?, files, &mut findings);
    }
    check_browser(&mut findings)?;
    // Most are found once for each platform.
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn check_platform(metadata: &Value, files: &[File], findings: &mut Findings) {
    let packages = array(metadata, "packages");
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        packages.iter().partition(|package| package["source"].is_null());
    let names: BTreeSet<&str> = ours.iter().map(|package| text(package, "name")).collect();
    for package in &ours {
        check_package(package, &names, files, metadata, findings);
    }
    for package in others {
        let licence = text(package, "license");
        if !is_allowed(licence) {
            let name = text(package, "name");
            findings.push(format!("{name} has the licence {licence:?}: choose another dependency"));
        }
    }
    for node in array(&metadata["resolve"], "nodes") {
        let features = array(node, "features").iter().filter_map(Value::as_str);
        let is_json = text(node, "id").contains("#serde_json@");
        if is_json && features.into_iter().any(|feature| feature == "arbitrary_precision") {
            let told = "serde_json has arbitrary_precision: a server would take JSON that a device \
                        refuses";
            findings.push(told.to_owned());
        }
    }
}

/// What a browser gets has nothing that it must not have. Asked of `cargo tree`: metadata joins
/// the features of all crates, and so shows behind tokio what only a server asks for.
fn check_browser(findings: &mut Findings) -> Outcome {
    let (package, never) = BROWSER;
    let tree = ["tree", "--locked", "--package", package, "--target", WASM];
    let tree = output(cargo(tree).args(["--edges=normal", "--prefix=none"]))?;
    findings.extend(found_in_tree(&tree, never).into_iter().map(|used| {
        format!(
            "{package} must not have {used} in a browser: cargo tree --target {WASM} --package \
             {package} --invert {used}"
        )
    }));
    Ok(())
}

fn metadata(platform: &str) -> Outcome<Value> {
    let mut metadata = cargo(["metadata", "--format-version=1", "--locked"]);
    let text = output(metadata.args(["--filter-platform", platform]))?;
    serde_json::from_str(&text).map_err(|error| Failure(format!("cargo metadata: {error}")))
}

fn check_package(
    package: &Value,
    ours: &BTreeSet<&str>,
    files: &[File],
    metadata: &Value,
    findings: &mut Findings,
) {
    let name = text(package, "name");
    let manifest = text(package, "manifest_path");
    let is_manifest =
        |file: &&File| file.path.ends_with("/Cargo.toml") && manifest.ends_with(&file.path);
    let Some(file) = files.iter().find(is_manifest) else {
        findings.push(format!("the manifest of {name} is not known to git: add it"));
        return;
    };
    if !file.text.contains("[lints]\nworkspace = true") {
        findings.push(format!("{}: add [lints] workspace = true", file.path));
    }
    if OUTSIDE.iter().any(|place| file.path.starts_with(place)) {
        return;
    }
    let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
        findings.push(format!("{name} is new: give it a row in xtask/src/tidy/dependencies.rs"));
        return;
    };
    for dependency in array(package, "dependencies") {
        let used = text(dependency, "name");
        if dependency["kind"].is_null() && ours.contains(used) && !rule.ours.contains(&used) {
            findings.push(format!("{name} may not use {used}, see docs/ARCHITECTURE.md"));
        }
        if let Some((engine, owner)) = ENGINES.iter().find(|(engine, _)| is_part_of(used, engine))
            && used != GLUE
            && *owner != name
        {
            findings.push(format!("{name} depends on {used}: {engine} is named by {owner} alone"));
        }
    }
    for used in reached(text(package, "id"), metadata) {
        if rule.never.contains(&used) {
            findings.push(format!("{name} must not have {used}: cargo tree --invert {used}"));
        }
    }
    if name == "xtask" {
        // This very file names them all.
        return;
    }
    check_engines_in_sources(name, file.path.trim_end_matches("Cargo.toml"), files, findings);
}

/// The names of all packages that the product code of a package needs, itself or through others.
fn reached<'a>(package: &'a str, metadata: &'a Value) -> BTreeSet<&'a str> {
    let nodes = array(&metadata["resolve"], "nodes");
    let names: BTreeMap<&str, &str> = array(metadata, "packages")
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let mut open = vec![package];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(node) = nodes.iter().find(|node| text(node, "id") == id) else { continue };
        for dependency in array(node, "deps") {
            let is_normal =
                array(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            if is_normal
                && text(dependency, "name") != TEST_TOOL
                && seen.insert(text(dependency, "pkg"))
            {
                open.push(text(dependency, "pkg"));
            }
        }
    }
    seen.into_iter().filter_map(|id| names.get(id).copied()).collect()
}

/// The sources of a crate name no engine but its own, and pass none on.
fn check_engines_in_sources(name: &str, folder: &str, files: &[File], findings: &mut Findings) {
    let folder = format!("{folder}src/");
    let is_source = |file: &&File| file.path.starts_with(&folder) && file.path.ends_with(".rs");
    for source in files.iter().filter(is_source) {
        for (engine, owner) in ENGINES {
            let engine_crate = engine.replace('-', "_");
            let names_it = *owner != name && names_crate(&source.text, &engine_crate);
            if names_it || source.text.contains(&format!("pub use {engine_crate}::")) {
                let path = &source.path;
                findings.push(format!("{path} shows {engine}, which is {owner}'s to hide"));
            }
        }
    }
}

/// Whether a path in the text begins with this crate: `arrow::`, and not `narrow::`.
fn names_crate(text: &str, name: &str) -> bool {
    text.match_indices(&format!("{name}::")).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// Which of these are in what `cargo tree` prints: a line for each use, as `tokio v1.47.0 (*)`.
fn found_in_tree<'a>(tree: &'a str, names: &[&'a str]) -> BTreeSet<&'a str> {
    let used = tree.lines().filter_map(|line| line.split(' ').next());
    used.filter(|used| names.contains(used)).collect()
}

/// `datafusion-common` is part of `datafusion`.
fn is_part_of(used: &str, engine: &str) -> bool {
    used.strip_prefix(engine).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether a licence expression can be met. `/` is an old way to write OR.
fn is_allowed(expression: &str) -> bool {
    expression.replace('/', " OR ").split(" AND ").all(|part| {
        let part = part.trim_matches(|c: char| c == '(' || c == ')' || c.is_whitespace());
        part.split(" OR ").any(|licence| {
            LICENCES.contains(&licence.trim_matches(|c: char| c == '(' || c == ')' || c == ' '))
        })
    })
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_when_every_part_can_be_met() {
        for yes in
            ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(is_allowed(yes), "{yes}");
        }
        for no in ["", "GPL-3.0", "MIT AND GPL-3.0", "MITx"] {
            assert!(!is_allowed(no), "{no}");
        }
    }

    #[test]
    fn a_crate_is_named_at_the_beginning_of_a_path() {
        assert!(names_crate("use arrow::array;", "arrow") && names_crate("(arrow::x)", "arrow"));
        assert!(!names_crate("narrow::x, self::arrow::x, arrow.x", "arrow"));
    }

    #[test]
    fn a_crate_is_found_in_a_tree_by_its_whole_name() {
        let tree = "sdk-wasm v0.1.0 (/mio)\nmio-extras v1.0.0\ntokio v1.47.0\ntokio v1.47.0 (*)\n";
        assert_eq!(Vec::from_iter(found_in_tree(tree, &["mio", "tokio"])), ["tokio"]);
    }

    #[test]
    fn parts_of_an_engine_are_the_engine() {
        assert!(is_part_of("datafusion-common", "datafusion") && is_part_of("arrow", "arrow"));
        assert!(!is_part_of("arrowhead", "arrow") && !is_part_of("librocksdb-sys", "rocksdb"));
    }
}
