//! The command `soak`: randomised tests with as many seeds as one likes. The tests read what is
//! set here through the crate `seeds`.

use std::path::PathBuf;

use crate::shell::{Failure, Outcome, cargo, run as run_command, say};
use crate::{cache, machine};

/// A randomised test that can run for long.
pub(crate) struct Soak {
    /// What it is called, here and in the call of the crate `seeds`.
    pub(crate) name: &'static str,
    package: &'static str,
    test: &'static str,
    about: &'static str,
}

/// All of them; `tidy` holds this table against the sources.
pub(crate) const SOAKS: &[Soak] = &[
    Soak {
        name: "decode",
        package: "protocol",
        test: "hostile::mutated_messages_do_no_harm",
        about: "messages with changed bytes are refused, or sound",
    },
    Soak {
        name: "keys",
        package: "server-storage",
        test: "keys::keys_sort_like_their_parts_and_read_back",
        about: "keys sort like what they are made of",
    },
    Soak {
        name: "predicates",
        package: "differential",
        test: "sqlite_selects_what_the_live_engine_selects",
        about: "SQLite selects the rows that the live engine selects",
    },
    Soak {
        name: "storage-kill",
        package: "server-storage",
        test: "kill::a_killed_store_is_at_one_batch_in_all_families_and_keeps_what_was_durable",
        about: "kill -9 leaves RocksDB at one batch, not before what was durable",
    },
    Soak {
        name: "stores",
        package: "server-storage",
        test: "model::rocksdb_answers_like_the_store_in_memory",
        about: "RocksDB answers like the store in memory",
    },
    Soak {
        name: "values",
        package: "differential",
        test: "sqlite_keeps_every_value_and_orders_it_alike",
        about: "SQLite gives back every value, in the same order",
    },
];

/// Minutes that a soak runs when nothing limits it.
const MINUTES_DEFAULT: u64 = 10;

pub(crate) fn list() -> Outcome {
    for soak in SOAKS {
        say(&format!("  {:<14} next seed {:<10} {}", soak.name, next_seed(soak), soak.about));
    }
    Ok(())
}

pub(crate) fn run(name: &str, options: &[&str]) -> Outcome {
    let soak = SOAKS.iter().find(|soak| soak.name == name).ok_or_else(|| {
        Failure(format!("there is no soak {name:?}; `cargo xtask soak` lists them"))
    })?;
    let wish = Wish::parse(options)?;
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    let progress = progress_file(soak);
    if let Some(folder) = progress.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure(format!("cannot create {}: {error}", folder.display())))?;
    }
    let mut test = cargo(["test", "--locked", "--quiet", "--test", "it"]);
    test.args(["--package", soak.package, "--", soak.test, "--exact", "--nocapture"]);
    test.env("TIDEWIRE_SOAK", soak.name);
    let set = |test: &mut std::process::Command, name: &str, number: u64| {
        test.env(name, number.to_string());
    };
    match wish {
        Wish::Replay { seed } => {
            set(&mut test, "TIDEWIRE_SOAK_FROM", seed);
            set(&mut test, "TIDEWIRE_SOAK_SEEDS", 1);
        }
        Wish::Many { from, seeds, minutes } => {
            set(&mut test, "TIDEWIRE_SOAK_FROM", from.unwrap_or_else(|| next_seed(soak)));
            test.env("TIDEWIRE_SOAK_PROGRESS", &progress);
            if let Some(seeds) = seeds {
                set(&mut test, "TIDEWIRE_SOAK_SEEDS", seeds);
            }
            if let Some(minutes) = minutes.or(seeds.is_none().then_some(MINUTES_DEFAULT)) {
                set(&mut test, "TIDEWIRE_SOAK_MINUTES", minutes);
            }
        }
    }
    run_command(&mut test)
}

/// What the options ask for.
#[derive(Debug, PartialEq)]
enum Wish {
    Replay { seed: u64 },
    Many { from: Option<u64>, seeds: Option<u64>, minutes: Option<u64> },
}

impl Wish {
    fn parse(options: &[&str]) -> Outcome<Self> {
        let usage = || Failure("soak NAME [--seed S | --seeds N --from S --minutes M]".to_owned());
        if let ["--seed", seed] = options {
            return seed.parse().map(|seed| Self::Replay { seed }).map_err(|_| usage());
        }
        let (mut from, mut seeds, mut minutes) = (None, None, None);
        for option in options.chunks(2) {
            let [name, number] = option else { return Err(usage()) };
            let place = match *name {
                "--from" => &mut from,
                "--seeds" => &mut seeds,
                "--minutes" => &mut minutes,
                _ => return Err(usage()),
            };
            *place = Some(number.parse().map_err(|_| usage())?);
        }
        Ok(Self::Many { from, seeds, minutes })
    }
}

fn progress_file(soak: &Soak) -> PathBuf {
    cache::folder().join("soak").join(soak.name)
}

/// Where the last run stopped.
fn next_seed(soak: &Soak) -> u64 {
    let text = std::fs::read_to_string(progress_file(soak)).unwrap_or_default();
    text.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_seed_or_a_range_limited_in_time() {
        let parse = |text: &str| Wish::parse(&text.split_whitespace().collect::<Vec<_>>()).ok();
        assert_eq!(parse("--seed 7"), Some(Wish::Replay { seed: 7 }));
        assert_eq!(parse(""), Some(Wish::Many { from: None, seeds: None, minutes: None }));
        assert_eq!(
            parse("--seeds 5 --from 2 --minutes 1"),
            Some(Wish::Many { from: Some(2), seeds: Some(5), minutes: Some(1) })
        );
        for wrong in ["--seed", "--seed x", "--seed 1 --from 2", "--seeds", "7"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
