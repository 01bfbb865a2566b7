//! Who may depend on whom: dependencies between our crates point one way, and a third-party
//! engine is named by one crate.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{File, Findings};
use crate::shell::{Failure, Outcome, cargo, output};

/// A crate and what it may use.
struct Rule {
    package: &'static str,
    /// Our crates that the product code may use.
    ours: &'static [&'static str],
    /// What it must not have: what would bring in I/O, a clock, or chance.
    never: &'static [&'static str],
}

/// The table of `docs/ARCHITECTURE.md`, for the crates there are.
const RULES: &[Rule] = &[
    Rule { package: "protocol", ours: &[], never: &["tokio", "rand", "getrandom"] },
    Rule { package: "server-storage", ours: &[], never: &["tokio", "protocol"] },
    Rule { package: "differential", ours: &[], never: &[] },
    Rule { package: "demo", ours: &["protocol", "server-storage"], never: &[] },
    Rule { package: "xtask", ours: &[], never: &["tokio"] },
    Rule { package: "seeds", ours: &[], never: &["tokio"] },
];

/// A third-party engine, and the one product crate that may name it.
const ENGINES: &[(&str, &str)] = &[
    ("rocksdb", "server-storage"),
    ("openraft", "server-replication"),
    ("datafusion", "server-query"),
    ("arrow", "server-query"),
    ("axum", "server-gateway"),
    ("rusqlite", "sdk-replica"),
    ("uniffi", "sdk-mobile"),
    ("wasm-bindgen", "sdk-wasm"),
];

/// Crates that look at the product from outside may use any engine, and nothing may use them.
const OUTSIDE: &[&str] = &["e2e/", "bench/", "examples/"];

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
    let metadata = metadata()?;
    let mut findings = Findings::new();
    let packages = array(&metadata, "packages");
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        packages.iter().partition(|package| package["source"].is_null());
    let names: BTreeSet<&str> = ours.iter().map(|package| text(package, "name")).collect();
    for package in &ours {
        check_package(package, &names, files, &mut findings);
    }
    for package in others {
        let licence = text(package, "license");
        if !is_allowed(licence) {
            let name = text(package, "name");
            findings.push(format!("{name} has the licence {licence:?}: choose another dependency"));
        }
    }
    Ok(findings)
}

fn metadata() -> Outcome<Value> {
    let text = output(&mut cargo([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    serde_json::from_str(&text).map_err(|error| Failure(format!("cargo metadata: {error}")))
}

fn check_package(package: &Value, ours: &BTreeSet<&str>, files: &[File], findings: &mut Findings) {
    let name = text(package, "name");
    let manifest = text(package, "manifest_path");
    let Some(file) = files.iter().find(|file| {
        file.path.ends_with("Cargo.toml")
            && manifest.ends_with(&format!("/{}", file.path))
            && file.text.contains("[package]")
    }) else {
        findings.push(format!("the manifest of {name} is not known to git: add it"));
        return;
    };
    let folder = file.path.trim_end_matches("Cargo.toml");
    let outside = OUTSIDE.iter().any(|place| folder.starts_with(place));
    if !file.text.contains("[lints]\nworkspace = true") {
        findings.push(format!("{}: add [lints] workspace = true", file.path));
    }
    let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
        findings.push(format!("{name} is new: give it a row in xtask/src/tidy/dependencies.rs"));
        return;
    };
    for dependency in array(package, "dependencies") {
        let used = text(dependency, "name");
        let normal = dependency["kind"].is_null();
        if rule.never.contains(&used) {
            findings.push(format!("{name} must not have {used}, see docs/ARCHITECTURE.md"));
        }
        if normal && ours.contains(used) && !rule.ours.contains(&used) {
            findings.push(format!("{name} may not use {used}, see docs/ARCHITECTURE.md"));
        }
        if let Some((engine, owner)) = ENGINES.iter().find(|(engine, _)| is_part_of(used, engine))
            && *owner != name
            && !outside
        {
            findings.push(format!("{name} depends on {used}: {engine} is named by {owner} alone"));
        }
    }
    for (engine, owner) in ENGINES {
        let crate_name = engine.replace('-', "_");
        for source in files.iter().filter(|source| {
            source.path.starts_with(&format!("{folder}src/")) && source.path.ends_with(".rs")
        }) {
            let names_it = source.text.contains(&format!("{crate_name}::"));
            let passes_it_on = source.text.contains(&format!("pub use {crate_name}"));
            if (names_it && *owner != name && !outside) || passes_it_on {
                let path = &source.path;
                findings.push(format!("{path} shows {engine}, which is {owner}'s to hide"));
            }
        }
    }
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
    fn parts_of_an_engine_are_the_engine() {
        assert!(is_part_of("datafusion-common", "datafusion") && is_part_of("arrow", "arrow"));
        assert!(!is_part_of("arrowhead", "arrow") && !is_part_of("librocksdb-sys", "rocksdb"));
    }
}
