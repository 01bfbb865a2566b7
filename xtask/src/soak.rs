//! The command `soak`: randomised tests with as many seeds as one likes. The tests read what is
//! set here through the crate `seeds`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::demo::everything;
use crate::places::checkout;
use crate::shell::{Failure, Outcome, output, say, watch};
use crate::{cache, machine, places, web};

/// The package of tests that open a browser.
const BROWSER: &str = "e2e/browser";

/// A randomised test that can run for long.
pub(crate) struct Soak {
    /// What it is called, here and in the call of the crate `seeds`.
    pub(crate) name: &'static str,
    package: &'static str,
    /// The path of the test in the test binary `it`, or its file where a browser is opened.
    pub(crate) test: &'static str,
    about: &'static str,
}

/// All of them; `tidy` holds this table against the sources.
pub(crate) const SOAKS: &[Soak] = &[
    Soak {
        name: "browser-engines",
        package: BROWSER,
        test: "engines.test.mjs",
        about: "Firefox and WebKitGTK: a day of an application, and pages that end; install them first",
    },
    Soak {
        name: "browser-fallback-kills",
        package: BROWSER,
        test: "fallback-files.test.mjs",
        about: "a browser without private files is killed while it stores, and all that was told is there",
    },
    Soak {
        name: "browser-kills",
        package: BROWSER,
        test: "kills.test.mjs",
        about: "kill -9 of a browser twice at seed 0, then 8 times in 100,000 rows that are loaded",
    },
    Soak {
        name: "browser-large-load",
        package: BROWSER,
        test: "large-load.test.mjs",
        about: "the memory of a page that loads 20,000 rows at seed 0, then 1,000,000, and who waits for it",
    },
    Soak {
        name: "browser-silences",
        package: BROWSER,
        test: "silences.test.mjs",
        about: "the page that has the replica does not answer twice at seed 0, then 15 times, while others write",
    },
    Soak {
        name: "browser-tabs",
        package: BROWSER,
        test: "many-tabs.test.mjs",
        about: "25 random events of the pages of a site at seed 0, then 1,000",
    },
    Soak {
        name: "captures",
        package: "sdk-replica",
        test: "captures::what_is_shown_is_what_sqlite_makes_and_the_fold",
        about: "an application writes among words of the server, and the fold is shown",
    },
    Soak {
        name: "crash-scripts",
        package: "simulation",
        test: "scripts::a_crash_behind_any_transaction_of_a_script_loses_and_doubles_nothing",
        about: "a client crashes behind each of its transactions; 55,986 scripts of 6 steps at most",
    },
    Soak {
        name: "cut-loads",
        package: "scenarios",
        test: "loads::a_load_that_is_cut_goes_on_and_ends_complete",
        about: "a load of the SDK is cut 6 times at seed 0, then 30 times in 100,000 rows",
    },
    Soak {
        name: "damaged-logs",
        package: "server-replication",
        test: "damage::a_damaged_log_is_noticed",
        about: "a bit of the log flips on the disk, and the start notices it or nothing is lost",
    },
    Soak {
        name: "decode",
        package: "protocol",
        test: "hostile::mutated_messages_do_no_harm",
        about: "messages with changed bytes are refused, or sound",
    },
    Soak {
        name: "device-kills",
        package: "scenarios",
        test: "devices::after_kills_of_server_and_devices_all_have_the_same",
        about: "kill -9 of the server 50 times and of 20 devices 200 times; seed 0 is small",
    },
    Soak {
        name: "disk-failures",
        package: "server-replication",
        test: "failures::a_node_mends_itself_after_a_failure_of_a_disk",
        about: "a disk fails once and again, and the node mends itself",
    },
    Soak {
        name: "exactly-once",
        package: "server-engine",
        test: "exactly_once::every_number_has_one_effect_and_one_decision",
        about: "mutations twice, out of order and from copies have one effect",
    },
    Soak {
        name: "followers",
        package: "server-engine",
        test: "follow::whoever_follows_gets_there_and_is_never_refused",
        about: "shards follow the tables of another, through renames and stops midway",
    },
    Soak {
        name: "frames",
        package: "protocol",
        test: "frames::frames_read_back",
        about: "frames come back as what they were",
    },
    Soak {
        name: "gateway-frames",
        package: "server-gateway",
        test: "socket_bounds::hostile_frames_do_no_harm",
        about: "broken frames on live connections, and the gateway goes on",
    },
    Soak {
        name: "gateway-hostile",
        package: "server-gateway",
        test: "hostile::no_hostile_request_hangs_or_ends_the_gateway_or_comes_in_as_somebody",
        about: "requests that are no good, and the gateway goes on",
    },
    Soak {
        name: "histories",
        package: "server-engine",
        test: "histories::loads_and_resumes_bring_exactly_what_a_naive_model_holds",
        about: "loads and resumes bring what a naive model holds, over random histories",
    },
    Soak {
        name: "hot-row",
        package: "server-engine",
        test: "work::catching_up_costs_what_differs_however_often_it_was_written",
        about: "one row is updated, then a resume; seed 0 few times, others a million times",
    },
    Soak {
        name: "install-cuts",
        package: "server-replication",
        test: "snapshots::a_power_cut_while_a_snapshot_is_installed_is_nothing",
        about: "the power is cut while a snapshot is installed, five times a seed",
    },
    Soak {
        name: "keys",
        package: "server-storage",
        test: "keys::keys_sort_like_their_parts_and_read_back",
        about: "keys sort like what they are made of",
    },
    Soak {
        name: "kills",
        package: "scenarios",
        test: "kills::a_kill_loses_nothing_that_was_acknowledged_and_doubles_nothing",
        about: "kill -9 of a server ten times a seed, under 32 writers; seed 0 is small",
    },
    Soak {
        name: "last-rows",
        package: "server-engine",
        test: "work::the_last_rows_of_a_large_partition_are_read_alone",
        about: "what the last 10 of a room read among 10,000 rows, and 1,000,000 from seed 1 on",
    },
    Soak {
        name: "like",
        package: "differential",
        test: "sqlite_matches_the_patterns_that_the_live_engine_matches",
        about: "SQLite matches the LIKE patterns that the live engine matches",
    },
    Soak {
        name: "liveness",
        package: "scenarios",
        test: "liveness::after_any_faults_all_outboxes_empty_and_all_have_the_same",
        about: "five runs a seed: ten devices through broken networks and kills, well within 30 s",
    },
    Soak {
        name: "logs",
        package: "server-engine",
        test: "logs::nodes_that_apply_one_log_have_the_same_contents",
        about: "nodes that apply one log have the same contents, whatever is in it",
    },
    Soak {
        name: "logs-on-disk",
        package: "server-engine",
        test: "logs::rocksdb_and_memory_hold_the_same",
        about: "the same on RocksDB and in memory",
    },
    Soak {
        name: "machine-backoff",
        package: "sdk-machine",
        test: "backoff::a_wait_lies_anywhere_between_nothing_and_a_bound_that_doubles",
        about: "how long a client waits before it tries again",
    },
    Soak {
        name: "machine-histories",
        package: "sdk-machine",
        test: "histories::a_replica_is_at_every_moment_one_moment_of_the_server",
        about: "a client follows a small honest server through cuts, crashes and restores",
    },
    Soak {
        name: "delivery-histories",
        package: "sdk-machine",
        test: "delivery_histories::whatever_happens_on_the_way_everything_is_decided_in_the_end",
        about: "what is written gets through or is named, while connections end because of it",
    },
    Soak {
        name: "machine-statements",
        package: "sdk-machine",
        test: "statements::each_statement_is_answered_once_and_done_once",
        about: "statements through cuts and crashes are answered once and done once",
    },
    Soak {
        name: "offline-devices",
        package: "scenarios",
        test: "offline::what_ten_devices_wrote_offline_is_decided_once_and_everywhere",
        about: "ten devices come back at once, with 1,000 writes each after seed 0",
    },
    Soak {
        name: "overlay",
        package: "server-storage",
        test: "model::an_overlay_reads_what_its_batch_writes",
        about: "reads through unwritten operations see what is then written",
    },
    Soak {
        name: "power-cuts",
        package: "server-replication",
        test: "cuts::a_power_cut_loses_nothing_that_was_acknowledged",
        about: "the power of both databases is cut under eight writers, five times a seed",
    },
    Soak {
        name: "predicates",
        package: "differential",
        test: "sqlite_selects_what_the_live_engine_selects",
        about: "SQLite selects the rows that the live engine selects",
    },
    Soak {
        name: "replays",
        package: "server-engine",
        test: "logs::a_log_that_is_applied_again_from_what_was_durable_ends_the_same",
        about: "after a power cut the log is applied again, and ends the same",
    },
    Soak {
        name: "replica-histories",
        package: "sdk-replica",
        test: "histories::the_file_shows_what_the_memory_does",
        about: "random steps, and the file shows what the replica in memory does",
    },
    Soak {
        name: "select-reads",
        package: "server-query",
        test: "select::a_query_reads_no_more_than_it_needs",
        about: "what a SELECT reads beside 100,000 rows, and beside 1,000,000 from seed 1 on",
    },
    Soak {
        name: "server-predicates",
        package: "differential",
        test: "the_server_selects_what_the_live_engine_selects",
        about: "the SQL of the server, pushed down and not, selects what the live engine selects",
    },
    Soak {
        name: "simulation",
        package: "simulation",
        test: "schedules::every_schedule_ends_complete_and_shows_nothing_that_never_was",
        about: "engine, live engine and clients in one loop, with faults between all their steps",
    },
    Soak {
        name: "snapshot-memory",
        package: "server-replication",
        test: "snapshots::rows_are_sent_in_bounded_memory",
        about: "rows go to another node in bounded memory: 16 MB at seed 0, then 500 MB",
    },
    Soak {
        name: "socket-hostile",
        package: "scenarios",
        test: "sockets::hostile_frames_do_no_harm",
        about: "broken frames on live connections of the real server, which does no harm",
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
        name: "transfers",
        package: "server-engine",
        test: "transfer::a_shard_moves_whole_or_not_at_all",
        about: "a shard moves to another node through crashes and damage, whole or not at all",
    },
    Soak {
        name: "typing-kills",
        package: "scenarios",
        test: "typing::nothing_typed_is_lost_or_doubled",
        about: "who types is killed 500 times after seed 1, with power cuts at odd seeds",
    },
    Soak {
        name: "values",
        package: "differential",
        test: "sqlite_keeps_every_value_and_orders_it_alike",
        about: "SQLite gives back every value, in the same order",
    },
    Soak {
        name: "watchers",
        package: "sdk-core",
        test: "watchers::differences_add_up_to_what_a_new_query_gives",
        about: "who applies differences ends with what a new query gives, over writes and deltas",
    },
];

/// Minutes that a soak runs when nothing limits it.
const MINUTES_DEFAULT: u64 = 10;

pub(crate) fn list() -> Outcome {
    let folder = progress_folder()?;
    for soak in SOAKS {
        let next = folder.as_deref().and_then(|folder| next_seed(&soak.progress(folder, 0)));
        let next = next.unwrap_or(0);
        say(&format!("  {:<17} {next:>10} seeds passed   {}", soak.name, soak.about));
    }
    say("\nWhat has passed is counted for a commit, and not while something is changed.");
    Ok(())
}

pub(crate) fn run(name: &str, options: &[&str]) -> Outcome {
    let soak = SOAKS.iter().find(|soak| soak.name == name).ok_or_else(|| {
        Failure(format!("there is no soak {name:?}; `cargo xtask soak` lists them"))
    })?;
    let wish = Wish::parse(options)?;
    let _lock = cache::lock()?;
    machine::for_rocksdb()?;
    machine::for_tests()?;
    let mut test = soak.command()?;
    test.stdin(Stdio::null());
    let mut set = |name: &str, number: u64| {
        test.env(name, number.to_string());
    };
    match wish {
        Wish::Replay { seed } => {
            set("TIDEWIRE_SOAK_FROM", seed);
            set("TIDEWIRE_SOAK_SEEDS", 1);
        }
        Wish::Many { from, seeds, minutes } => {
            let progress = progress_folder()?.map(|folder| soak.progress(&folder, from));
            let start = progress.as_deref().and_then(next_seed).unwrap_or(from).max(from);
            if let Some(seeds) = seeds {
                let end = from.saturating_add(seeds);
                if start >= end {
                    say(&format!("seeds {from} to {} have passed already", end - 1));
                    return Ok(());
                }
                set("TIDEWIRE_SOAK_SEEDS", end - start);
            }
            set("TIDEWIRE_SOAK_FROM", start);
            if let Some(minutes) = minutes.or(seeds.is_none().then_some(MINUTES_DEFAULT)) {
                set("TIDEWIRE_SOAK_MINUTES", minutes);
            }
            // Progress is shown in any case, and kept only where it is known of which code it is.
            let progress = progress.unwrap_or_else(|| places::folder().join("soak/changed"));
            create_parent(&progress)?;
            test.env("TIDEWIRE_SOAK_PROGRESS", progress);
        }
    }
    let mut ran = false;
    watch(test.env("TIDEWIRE_SOAK", soak.name), None, |line| ran |= begins(line))?;
    if ran { Ok(()) } else { Err(Failure(format!("there is no test {}", soak.test))) }
}

/// Whether a line says that a test runs: one of Rust, or one of Node for a seed.
fn begins(line: &str) -> bool {
    line == "running 1 test" || line.trim_start().starts_with("# Subtest: seed ")
}

impl Soak {
    /// The command that runs its test alone.
    fn command(&self) -> Outcome<Command> {
        if self.package == BROWSER {
            web::needs()?;
            output(&mut everything())?;
            web::build(&|| Ok(()))?;
            return web::tests(&[checkout().join(BROWSER).join("tests").join(self.test)]);
        }
        let mut test = self.binary()?;
        test.args([self.test, "--exact", "--nocapture"]);
        Ok(test)
    }

    /// Its test binary, from a build of all there is: of one crate alone, cargo would build what it
    /// depends on with other features, and that is RocksDB once more.
    fn binary(&self) -> Outcome<Command> {
        let built = output(everything().arg("--message-format=json-render-diagnostics"))?;
        let mut artifacts = built.lines().filter_map(|line| serde_json::from_str(line).ok());
        let found = artifacts.find_map(|artifact: Value| {
            if package_of(artifact["package_id"].as_str()?) != self.package
                || artifact["target"]["kind"] != serde_json::json!(["test"])
            {
                return None;
            }
            let folder = Path::new(artifact["manifest_path"].as_str()?).parent()?.to_owned();
            let mut test = Command::new(artifact["executable"].as_str()?);
            test.current_dir(folder);
            Some(test)
        });
        found.ok_or_else(|| Failure(format!("{} has no integration tests", self.package)))
    }

    /// The file that holds how far the seeds from `from` on have come.
    fn progress(&self, folder: &Path, from: u64) -> PathBuf {
        folder.join(self.name).join(from.to_string())
    }
}

/// What the options ask for.
#[derive(Debug, PartialEq)]
enum Wish {
    Replay { seed: u64 },
    Many { from: u64, seeds: Option<u64>, minutes: Option<u64> },
}

impl Wish {
    fn parse(options: &[&str]) -> Outcome<Self> {
        let usage = || Failure("soak NAME [--seed S | --seeds N --from S --minutes M]".to_owned());
        // So small that nothing overflows on the way.
        let number = |text: &str| -> Outcome<u64> {
            text.parse::<u32>().map(u64::from).map_err(|_| usage())
        };
        if let ["--seed", seed] = options {
            return number(seed).map(|seed| Self::Replay { seed });
        }
        let (mut from, mut seeds, mut minutes) = (None, None, None);
        for option in options.chunks(2) {
            let [name, text] = option else { return Err(usage()) };
            let place = match *name {
                "--from" => &mut from,
                "--seeds" => &mut seeds,
                "--minutes" => &mut minutes,
                _ => return Err(usage()),
            };
            if place.replace(number(text)?).is_some() {
                return Err(usage());
            }
        }
        Ok(Self::Many { from: from.unwrap_or(0), seeds, minutes })
    }
}

/// The name in an id that cargo gives a package of a workspace, `path+file:///folder#name@0.1.0`;
/// without the name where that of the folder is the same.
fn package_of(id: &str) -> &str {
    let (place, version) = id.split_once('#').unwrap_or((id, ""));
    match version.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next().unwrap_or(place),
    }
}

/// Where it is noted how far soaks have come with the code of this commit. Nowhere while something
/// is changed: what passed then says nothing of what is there now.
fn progress_folder() -> Outcome<Option<PathBuf>> {
    let git =
        |arguments: &[&str]| output(Command::new("git").args(arguments).current_dir(checkout()));
    if !git(&["status", "--porcelain"])?.is_empty() {
        return Ok(None);
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    Ok(Some(places::folder().join("soak").join(commit.trim())))
}

fn next_seed(progress: &Path) -> Option<u64> {
    std::fs::read_to_string(progress).ok()?.parse().ok()
}

fn create_parent(file: &Path) -> Outcome {
    let Some(folder) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure(format!("cannot create {}: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_ids() {
        for (id, name) in [
            ("path+file:///a/e2e/scenarios#0.1.0", "scenarios"),
            ("path+file:///a/crates/engine#server-engine@0.1.0", "server-engine"),
            ("registry+https://example.org/index#serde@1.0.0", "serde"),
        ] {
            assert_eq!(package_of(id), name);
        }
    }

    #[test]
    fn options_are_seed_or_a_range_limited_in_time() {
        let parse = |text: &str| Wish::parse(&text.split_whitespace().collect::<Vec<_>>()).ok();
        assert_eq!(parse("--seed 7"), Some(Wish::Replay { seed: 7 }));
        assert_eq!(parse(""), Some(Wish::Many { from: 0, seeds: None, minutes: None }));
        assert_eq!(
            parse("--seeds 5 --from 2 --minutes 1"),
            Some(Wish::Many { from: 2, seeds: Some(5), minutes: Some(1) })
        );
        for wrong in
            ["--seed", "--seed x", "--seed 1 --from 2", "--seeds", "7", "--from 1 --from 2"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
