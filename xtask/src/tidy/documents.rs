//! What documents promise: invariants have tests, links lead somewhere, numbers are given once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{File, Findings};
use crate::places::checkout;

pub(super) fn check(files: &[File]) -> Findings {
    let mut findings = Findings::new();
    check_invariants(files, &mut findings);
    check_decisions(files, &mut findings);
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        check_links(file, &mut findings);
    }
    findings
}

/// Every invariant in `docs/ARCHITECTURE.md` is cited by a test, unless its row says that it is
/// planned; then no test may cite it yet, so that the row is changed with the first one.
fn check_invariants(files: &[File], findings: &mut Findings) {
    let cited: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && file.path.contains("tests/"))
        .flat_map(|file| invariants(&file.text))
        .collect();
    let architecture = files.iter().find(|file| file.path == "docs/ARCHITECTURE.md");
    let mut known = BTreeSet::new();
    for line in architecture.iter().flat_map(|file| file.text.lines()) {
        let Some(row) = line.strip_prefix("| INV-") else { continue };
        let Some(id) = invariants(&line[2..]).next() else { continue };
        known.insert(id);
        match (row.contains("planned"), cited.contains(id)) {
            (false, false) => findings.push(format!("{id} is cited by no test: write it")),
            (true, true) => findings.push(format!("{id} has a test: it is no longer planned")),
            _ => {}
        }
    }
    for id in cited.difference(&known) {
        findings.push(format!("{id} is not in docs/ARCHITECTURE.md: describe it there"));
    }
}

/// The ids of the form INV-n in a text.
fn invariants(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("INV-").filter_map(|(start, prefix)| {
        let digits = text[start + prefix.len()..].bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0).then(|| &text[start..start + prefix.len() + digits])
    })
}

/// Decisions are numbered once: `docs/adr/0007-title.md`.
fn check_decisions(files: &[File], findings: &mut Findings) {
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for file in files {
        let Some(name) = file.path.strip_prefix("docs/adr/") else { continue };
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            findings.push(format!("{}: name it NNNN-title.md", file.path));
        } else if let Some(other) = numbers.insert(number, name) {
            findings.push(format!("docs/adr: {other} and {name} have one number"));
        }
    }
}

/// A link to a file of the repository leads to one.
fn check_links(file: &File, findings: &mut Findings) {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    for (start, _) in file.text.match_indices("](") {
        let link = file.text[start + 2..].split(')').next().unwrap_or_default();
        let target = link.split('#').next().unwrap_or_default();
        if target.is_empty() || link.contains("://") {
            continue;
        }
        if !checkout().join(folder).join(target).exists() {
            findings.push(format!("{}: the link to {target} leads nowhere", file.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariants_are_found_in_text() {
        let found: Vec<&str> = invariants("INV-1, and INV-10: x; INV-n; INV-").collect();
        assert_eq!(found, ["INV-1", "INV-10"]);
    }
}
