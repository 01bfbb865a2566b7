//! Somebody types, and the program is killed at any moment: what was typed is there, once. The power goes,
//! too, and takes the end of the journal with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use e2e_harness::{Home, Role};
use rusqlite::Connection;
use sdk_core::{Client, Config, StatusWord, SubscribeOptions, Value, Verdict};

use crate::kills::Dice;
use crate::processes::{Process, be, heard, program, say};
use crate::sdk::{soon, tick};

const TABLES: [&str; 3] = [
    "CREATE NAMESPACE app",
    "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, run BIGINT, body TEXT)",
    "CREATE USER TABLE app.counts (id BIGINT PRIMARY KEY, typed BIGINT DEFAULT 0 MERGE ADD)",
];

/// What was typed in one life of the program is numbered from here on.
const RUN: i64 = 1_000_000;

/// Somebody who types. What is typed is a note, and one more in a sum, which would show what is twice.
async fn typist(command: &str) {
    let [run, server, token, directory] = *command.split(' ').collect::<Vec<_>>().as_slice() else {
        panic!("not somebody who types: {command}");
    };
    let token = token.to_owned();
    let config = Config::new(server, "ann", directory, move || {
        let token = token.clone();
        async move { Ok(token) }
    });
    let client = Client::open(config).await.unwrap();
    for table in ["app.notes", "app.counts"] {
        let sql = format!("SELECT * FROM {table}");
        let subscription = client.subscribe(&sql, &[], SubscribeOptions::default()).await.unwrap();
        // The first time there is no table before the server has said so.
        if run == "0" {
            soon(subscription.ready()).await.unwrap();
        }
    }
    let mut lines = heard();
    let first = run.parse::<i64>().unwrap() * RUN;
    let mut typed = first;
    while lines.try_recv().is_err() {
        say(&format!("tries {typed}"));
        let note = [Value::Integer(typed), Value::Integer(typed / RUN)];
        let both = [
            ("INSERT INTO app.notes (id, run, body) VALUES ($1, $2, 'typed')", &note[..]),
            ("UPDATE app.counts SET typed = typed + 1 WHERE id = 1", &[]),
        ];
        client.batch(&both).await.unwrap();
        say(&format!("typed {typed}"));
        typed += 1;
    }
    loop {
        let pending = client.pending().await.unwrap().count();
        let rejected = client.rejections().await.unwrap().len();
        let is_live = client.status().word == StatusWord::Connected;
        let mut verdicts = Vec::new();
        for table in ["app.notes", "app.counts"] {
            let sql = format!("SELECT * FROM {table}");
            let again = client.subscribe(&sql, &[], SubscribeOptions::default()).await.unwrap();
            verdicts.push(matches!(soon(again.verify()).await, Ok(Verdict::Equal { .. })));
        }
        say(&format!("{pending} {rejected} {is_live} {verdicts:?}"));
        if pending == 0 {
            break;
        }
        tick().await;
    }
    std::future::pending().await
}

/// Numbers that programs have said, by the word before them.
fn numbers(lines: &[String], word: &str) -> Vec<i64> {
    let of = |line: &String| line.strip_prefix(word)?.trim().parse().ok();
    lines.iter().filter_map(of).collect()
}

/// What was typed.
#[derive(Default)]
struct Notes {
    /// It may have been.
    tried: BTreeSet<i64>,
    /// It was, and no power cut has taken it away.
    typed: BTreeSet<i64>,
}

impl Notes {
    fn hear(&mut self, lines: &[String]) {
        self.tried.extend(numbers(lines, "tries"));
        self.typed.extend(numbers(lines, "typed"));
    }

    /// The power goes. What is in the file then is to stay as well; what was in it, and is not any more,
    /// is all that may be lost. Says how many notes that are.
    fn cut(&mut self, folder: &Path, dice: &mut Dice) -> usize {
        let before = stored(folder);
        cut_journal(folder, dice);
        let after = stored(folder);
        let lost: BTreeSet<_> = before.difference(&after).copied().collect();
        self.typed.extend(after);
        self.typed.retain(|id| !lost.contains(id));
        lost.len()
    }
}

/// The notes that a program which was killed has left in its file. They are read in a copy: who opens the
/// file itself takes its journal in.
fn stored(folder: &Path) -> BTreeSet<i64> {
    let copies = tempfile::tempdir().unwrap();
    for end in [".sqlite", "-wal"] {
        if let Some(file) = file_of(folder, end) {
            std::fs::copy(&file, copies.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let copy = Connection::open(file_of(copies.path(), ".sqlite").unwrap()).unwrap();
    // The table itself may be what was cut off.
    if !copy.table_exists(None, "app__notes").unwrap() {
        return BTreeSet::new();
    }
    let mut notes = copy.prepare("SELECT id FROM app__notes").unwrap();
    notes.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Must show 3 of offline writes: killed at any moment. With an odd seed the last of the journal is cut off
/// as well.
#[test]
fn nothing_typed_is_lost_or_doubled() {
    if let Some(command) = program() {
        be(typist(&command));
    }
    seeds::for_each("typing-kills", 2, |seed| {
        let kills = if seed < 2 { 8 } else { 500 };
        killed(seed, kills, seed % 2 == 1);
    });
}

#[expect(clippy::print_stdout, reason = "whoever runs the soak wants the figures")]
fn killed(seed: u64, kills: i64, power_cuts: bool) {
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    TABLES.iter().for_each(|sql| drop(admin.ok(sql)));
    let ann = home.client("ann", Role::User);
    ann.ok("INSERT INTO app.counts (id) VALUES (1)");
    let folder = home.folder("typist");
    let start = |run: i64| {
        let server = format!("ws://{}", admin.address());
        let command = format!("{run} {server} {} {}", ann.token(), folder.display());
        Process::start("typing::nothing_typed_is_lost_or_doubled", command, &Arc::default())
    };
    let mut dice = Dice::new(seed);
    let (mut notes, mut cuts) = (Notes::default(), Vec::new());
    for run in 0..kills {
        let mut typist = start(run);
        // Somewhere in between: before it begins, too.
        let first = if run == 0 { vec![typist.hear()] } else { Vec::new() };
        if run == 0 && power_cuts {
            // From now on it says what is synced.
            std::fs::write(
                file_of(&folder, ".sqlite").unwrap().with_extension("sqlite.synced"),
                "0",
            )
            .unwrap();
        }
        std::thread::sleep(Duration::from_millis(dice.below(250)));
        notes.hear(&[first, typist.kill()].concat());
        if power_cuts {
            cuts.push(notes.cut(&folder, &mut dice));
        }
    }
    let mut last = start(kills);
    last.tell("stop");
    let end = loop {
        let line = last.hear();
        notes.hear(std::slice::from_ref(&line));
        if line.starts_with("0 ") {
            break line;
        }
    };
    assert_eq!(end, "0 0 true [true, true]", "nothing waits or was rejected, and all is as there");
    let there = ann.rows("SELECT id FROM app.notes ORDER BY id");
    let there: BTreeSet<i64> = there.iter().map(|id| id.parse().unwrap()).collect();
    check(&there, &notes);
    let counted = ann.rows("SELECT typed FROM app.counts");
    assert_eq!(counted, [there.len().to_string()], "something was done twice");
    assert!(there.len() > usize::try_from(kills).unwrap(), "{} notes", there.len());
    let (typed, there) = (notes.typed.len(), there.len());
    let (cuts, lost) = (cuts.iter().filter(|lost| **lost > 0).count(), cuts.iter().sum::<usize>());
    println!("{kills} kills: {typed} typed, {there} there; {cuts} cuts took {lost} notes");
    // Of the few kills of a plain run it may be that none comes before all is synced.
    let enough = usize::try_from(kills / 10).unwrap();
    assert!(!power_cuts || cuts >= enough, "{cuts} cuts took something");
    drop((last, server));
}

/// What the server has is what was typed.
fn check(there: &BTreeSet<i64>, Notes { tried, typed }: &Notes) {
    assert!(there.is_subset(tried), "{:?} were never typed", there.difference(tried));
    let lost: Vec<_> = typed.difference(there).collect();
    assert!(lost.is_empty(), "{lost:?} were typed, and are lost");
    // What the journal has lost is the end of a life, and never something in between.
    let mut ends: BTreeMap<i64, i64> = BTreeMap::new();
    for id in there {
        ends.entry(id / RUN).and_modify(|end| *end = *id.max(end)).or_insert(*id);
    }
    let holes: Vec<_> = tried
        .iter()
        .filter(|id| ends.get(&(*id / RUN)) > Some(*id) && !there.contains(id))
        .collect();
    assert!(holes.is_empty(), "{holes:?} are lost, and what was typed later is not");
}

fn file_of(folder: &Path, end: &str) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(folder).ok()?.map(|file| file.unwrap().path());
    files.find(|path| path.to_string_lossy().ends_with(end))
}

/// Takes the end of the journal away, as a power cut may: of what is neither synced nor in the database,
/// at any byte. (The file format of SQLite: the journal's index has the number of its frames at byte 16,
/// and up to where they may be in the database at byte 128.)
fn cut_journal(folder: &Path, dice: &mut Dice) {
    let find = |end: &str| file_of(folder, end);
    let (Some(journal), Some(index)) = (find("-wal"), find("-shm")) else { return };
    // Killed while it says so, it may have said anything.
    let synced = std::fs::read_to_string(find(".synced").unwrap()).unwrap();
    let synced = synced.parse().unwrap_or(u32::MAX);
    let index = std::fs::read(index).unwrap();
    // Killed while it opens the file, it has not said where anything is.
    if index.len() < 132 {
        return;
    }
    let number = |at: usize| u32::from_ne_bytes(index[at..at + 4].try_into().unwrap());
    let page = u64::from(u16::from_ne_bytes(index[14..16].try_into().unwrap()));
    let bytes = |frames: u32| 32 + u64::from(frames) * (24 + page);
    let (least, most) = (bytes(number(128).max(synced)), bytes(number(16)));
    let length = File::open(&journal).unwrap().metadata().unwrap().len();
    if least >= most || most > length {
        return;
    }
    let cut = 1 + dice.below(most - least);
    OpenOptions::new().write(true).open(&journal).unwrap().set_len(most - cut).unwrap();
    std::fs::remove_file(find("-shm").unwrap()).unwrap();
}

/// What this would overlook is worth nothing.
#[test]
fn what_is_lost_or_doubled_is_noticed() {
    let set = |ids: &[i64]| ids.iter().copied().collect::<BTreeSet<i64>>();
    let tried = set(&[0, 1, 2, 3, RUN, RUN + 1]);
    let check_of = |there: &[i64], typed: &[i64]| {
        let (there, notes) = (set(there), Notes { tried: tried.clone(), typed: set(typed) });
        std::panic::catch_unwind(|| check(&there, &notes)).is_ok()
    };
    assert!(check_of(&[0, 1, 2, RUN], &[0, 1, 2, RUN]));
    assert!(check_of(&[0, 1, 2, 3, RUN, RUN + 1], &[0, 1, 2, RUN]));
    assert!(!check_of(&[0, 1, RUN], &[0, 1, 2, RUN]), "2 is lost");
    assert!(check_of(&[0, 1, RUN], &[0, 1, RUN]), "2 was the last, and cut off");
    assert!(!check_of(&[0, 2, RUN], &[0, 2, RUN]), "1 is lost, and 2 is there");
    assert!(!check_of(&[0, 1, 2, RUN, RUN + 2], &[0, 1, 2, RUN]), "nobody typed that");
}
