//! The command `mutants`: breaks rules of the sync protocol one at a time, in a copy of the
//! sources, and sees that the simulation fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Failure, Outcome, cargo, output, say};
use crate::{cache, machine, places};

const LIST: &str = "e2e/simulation/mutants.txt";

/// How many schedules a break has to show itself in.
const SEEDS: &str = "40000";

/// A rule that is broken.
#[derive(Debug, PartialEq)]
struct Mutant {
    name: String,
    what: String,
    file: String,
    old: String,
    new: String,
}

/// Breaks all rules, or one.
pub(crate) fn run(only: Option<&str>) -> Outcome {
    let list = fs::read_to_string(places::checkout().join(LIST))
        .map_err(|error| Failure(format!("{LIST}: {error}")))?;
    let mut mutants = parse(&list)?;
    mutants.retain(|mutant| only.is_none_or(|only| mutant.name == only));
    if mutants.is_empty() {
        return Err(Failure(format!("{LIST} has no such mutant")));
    }
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    let copy = copy_sources()?;
    cache::lend()?;
    say("the sources as they are: must pass");
    if let Some(seed) = failing_seed(&copy, "200")? {
        return Err(Failure(format!("the simulation fails without a break, at seed {seed}")));
    }
    let mut survivors = Vec::new();
    for mutant in &mutants {
        match try_one(&copy, mutant)? {
            Some(seed) => {
                say(&format!("caught at seed {seed:>6}   {}: {}", mutant.name, mutant.what))
            }
            None => {
                say(&format!("SURVIVED                {}: {}", mutant.name, mutant.what));
                survivors.push(mutant.name.as_str());
            }
        }
    }
    if survivors.is_empty() {
        say(&format!("{} mutants, all caught", mutants.len()));
        return Ok(());
    }
    Err(Failure(format!("these breaks are not noticed: {}", survivors.join(", "))))
}

/// Plants one, runs the simulation, and takes it out again.
fn try_one(copy: &Path, mutant: &Mutant) -> Outcome<Option<u64>> {
    let file = copy.join(&mutant.file);
    let failed = |error: std::io::Error| Failure(format!("{}: {error}", mutant.file));
    let sound = fs::read_to_string(&file).map_err(failed)?;
    if sound.matches(&mutant.old).count() != 1 {
        let Mutant { name, file, .. } = mutant;
        return Err(Failure(format!(
            "{name} does not fit {file}: what it replaces is not there once"
        )));
    }
    fs::write(&file, sound.replace(&mutant.old, &mutant.new)).map_err(failed)?;
    let found = failing_seed(copy, SEEDS);
    fs::write(&file, sound).map_err(failed)?;
    found
}

/// Runs schedules until one fails.
fn failing_seed(copy: &Path, seeds: &str) -> Outcome<Option<u64>> {
    let mut test = cargo(["test", "--workspace", "--locked", "--quiet", "--test", "simulation"]);
    test.current_dir(copy).env("TIDEWIRE_SOAK", "simulation").env("TIDEWIRE_SOAK_SEEDS", seeds);
    let told = test.output().map_err(|error| Failure(format!("cargo test: {error}")))?;
    if told.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&told.stderr) + String::from_utf8_lossy(&told.stdout);
    let seed = text.split("soak simulation --seed ").nth(1);
    let seed = seed.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    // It did not build, or hung: that is no proof.
    seed.map(Some).ok_or_else(|| Failure(format!("no schedule failed, and yet:\n{text}")))
}

/// Copies what git knows of.
fn copy_sources() -> Outcome<PathBuf> {
    let (from, to) = (places::checkout(), places::folder().join("mutants/sources"));
    let failed = |error: std::io::Error| Failure(format!("{}: {error}", to.display()));
    let listed = output(Command::new("git").args(["ls-files"]).current_dir(from))?;
    if to.exists() {
        fs::remove_dir_all(&to).map_err(failed)?;
    }
    for name in listed.lines().filter(|name| from.join(name).is_file()) {
        let target = to.join(name);
        target.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        fs::copy(from.join(name), target).map_err(failed)?;
    }
    Ok(to)
}

/// Reads the list: `= name: what is broken`, the file, `-` lines and `+` lines.
fn parse(list: &str) -> Outcome<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for (number, line) in (1..).zip(list.lines()) {
        let wrong = || Failure(format!("{LIST}, line {number}: {line:?} is not in its place"));
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("= ") {
            let (name, what) = title.split_once(": ").ok_or_else(wrong)?;
            let (name, what) = (name.to_owned(), what.to_owned());
            let (file, old, new) = Default::default();
            mutants.push(Mutant { name, what, file, old, new });
            continue;
        }
        let mutant = mutants.last_mut().ok_or_else(wrong)?;
        let (lines, text) = match (line.strip_prefix('-'), line.strip_prefix('+')) {
            (Some(text), _) => (&mut mutant.old, text),
            (_, Some(text)) => (&mut mutant.new, text),
            (None, None) if mutant.file.is_empty() => {
                line.clone_into(&mut mutant.file);
                continue;
            }
            (None, None) => return Err(wrong()),
        };
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(text);
    }
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_a_title_a_file_and_lines() {
        let mutants = parse("# why\n\n= one: what\na.rs\n-old\n-  older\n+new\n").ok().unwrap();
        let text = str::to_owned;
        let (name, what, file) = (text("one"), text("what"), text("a.rs"));
        let (old, new) = (text("old\n  older"), text("new"));
        assert_eq!(mutants, [Mutant { name, what, file, old, new }]);
        assert!(parse("a.rs\n").is_err() && parse("= one: two\na.rs\nb.rs\n").is_err());
    }

    #[test]
    fn the_list_is_well_formed() {
        let list = include_str!("../../e2e/simulation/mutants.txt");
        let mutants = parse(list).ok().unwrap();
        assert!(mutants.iter().all(|mutant| !mutant.old.is_empty() && mutant.old != mutant.new));
        let fits = |mutant: &Mutant| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&mutant.file);
            fs::read_to_string(file).is_ok_and(|text| text.matches(&mutant.old).count() == 1)
        };
        let unfit: Vec<_> = mutants.iter().filter(|m| !fits(m)).map(|m| &m.name).collect();
        assert!(unfit.is_empty(), "what these replace is not in their file once: {unfit:?}");
    }
}
