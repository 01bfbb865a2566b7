//! What `cargo xtask demo` shows: a process applies a log and is killed with `kill -9`; another one
//! opens what it left, applies the rest, and answers a subscription.
//!
//! It ends with an error when it does not find what was promised.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod log;
mod node;
mod writer;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use protocol::predicate::{CompareOp, LikePattern, Operand, Predicate};
use protocol::value::{Row, Value};
use server_engine::{Entry, Query, ScannedRange, Time, What};

use node::Node;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// After how many durable entries the writer is killed.
const DURABLE_ENTRIES: u64 = 200;

/// How many entries the log has.
const ENTRIES: u64 = 300;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let result = match arguments.get(1).map(String::as_str) {
        Some(writer::COMMAND) => writer::run(Path::new(&arguments[2])),
        _ => show(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nthe demo found something else than promised: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Outcome {
    let directory = tempfile::tempdir()?;
    println!("A process applies a log, 100 messages of two users in an entry, on RocksDB.");
    let durable = write_until_killed(directory.path())?;
    println!("    kill -9 after it had told us that entry {durable} is on disk\n");
    let (mut node, entries) = recover(directory.path(), durable)?;
    subscribe(&mut node, entries * log::MESSAGES_AN_ENTRY)
}

/// Starts this program as the writer and kills it once enough is on disk. Returns the number of
/// the last entry it told us to be there.
fn write_until_killed(directory: &Path) -> Outcome<u64> {
    let mut writer = Command::new(std::env::current_exe()?)
        .arg(writer::COMMAND)
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = writer.stdout.take().ok_or("the writer has no output")?;
    let mut durable = 0;
    for line in BufReader::new(output).lines() {
        durable = line?.parse()?;
        if durable >= DURABLE_ENTRIES {
            writer.kill()?;
        }
    }
    writer.wait()?;
    Ok(durable)
}

/// Opens what the writer left, which must be the state after some whole entry that is not before
/// `durable`, and applies the rest of the log. Returns how many entries of messages that were.
fn recover(directory: &Path, durable: u64) -> Outcome<(Node, u64)> {
    let mut node = Node::on_disk(directory)?;
    let messages = node.count(log::USERS[0])? + node.count(log::USERS[1])?;
    let at = messages / log::MESSAGES_AN_ENTRY;
    if messages % log::MESSAGES_AN_ENTRY != 0 || at < durable {
        return Err(format!("{messages} messages, and entry {durable} was on disk").into());
    }
    println!("Opened again:");
    println!("    it stands after entry {at}, with {messages} messages");

    let mut unharmed = Node::in_memory()?;
    for number in 0..=at {
        unharmed.apply(&log::entry(number)?)?;
    }
    check_equal(&node, &unharmed, "as a node that was never killed has after that entry")?;
    // Where the writer was faster than the kill, there is no rest.
    let entries = ENTRIES.max(at);
    for number in at + 1..=entries {
        let entry = log::entry(number)?;
        node.apply(&entry)?;
        unharmed.apply(&entry)?;
    }
    check_equal(&node, &unharmed, "after the rest of the log, too\n")?;
    Ok((node, entries))
}

fn check_equal(node: &Node, unharmed: &Node, when: &str) -> Outcome {
    let (sum, expected) = (node.checked_sum()?, unharmed.checked_sum()?);
    if sum != expected {
        return Err(format!("the contents have the sum {sum:032x}, not {expected:032x}").into());
    }
    println!("    the sum over all that is stored is {sum:032x}, {when}");
    Ok(())
}

/// Ann's device loads the last rows of a query, is away, and catches up.
fn subscribe(node: &mut Node, messages: u64) -> Outcome {
    let room = Predicate::Compare {
        column: log::ROOM,
        op: CompareOp::Equal,
        operand: Operand::Value(Value::Integer(7)),
    };
    let tide = Predicate::Like { column: log::BODY, pattern: LikePattern::new("%the tide%")? };
    let predicate = Predicate::And(vec![room, tide]);
    predicate.check(&log::table()?)?;
    let query = Query { table: log::MESSAGES, range: ScannedRange::Partition, predicate };

    println!("Ann subscribes: WHERE room = 7 AND body LIKE '%the tide%', the last three");
    let batch = node.last("ann", &query, 3)?;
    let mut found = Vec::new();
    for loaded in &batch.rows {
        let row = node.row(&loaded.image)?;
        println!("    {}   born at {}", shown(&row), loaded.birth.0);
        found.extend(id(&row));
    }
    let expected: Vec<i64> = (0..messages)
        .filter(|number| {
            log::user_of(*number) == "ann" && log::message(*number) == (7, "the tide is coming in")
        })
        .map(u64::cast_signed)
        .collect();
    if !expected.ends_with(&found) || found.len() != 3 {
        return Err(format!("the last three are {found:?}").into());
    }

    println!("She is away. Bob edits his own messages, she edits one 1,000 times elsewhere,");
    println!("and deletes another.");
    let mut commands = vec![log::delete("ann", found[0])?];
    for time in 1..=1_000 {
        commands.push(log::edit("ann", found[2], format!("the tide is going out, edit {time}"))?);
        commands.push(log::edit("bob", 1, format!("the tide, edit {time}"))?);
    }
    node.apply(&Entry::new(Time(0), commands))?;

    let piece = node.catch_up("ann", &query, batch.floor, batch.seq)?;
    println!("Back again, behind {}, where her lane is at {} by now:", batch.seq, piece.seq);
    let mut told = Vec::new();
    for change in &piece.told {
        match &change.what {
            What::Row(image) => {
                let row = node.row(image)?;
                println!("    row      {}", shown(&row));
                told.push(id(&row));
            }
            What::Left(key) | What::Deleted(key) => {
                println!("    deleted  {:>6}", id(key).unwrap_or_default());
                told.push(id(key));
            }
        }
    }
    println!("    {} changes read, for 1,001 writes", piece.changes);
    if told != [Some(found[0]), Some(found[2])] || piece.changes != 2 {
        return Err(format!("she was told of {told:?}").into());
    }
    Ok(())
}

fn id(row: &Row) -> Option<i64> {
    match row.first() {
        Some(Value::Integer(id)) => Some(*id),
        _ => None,
    }
}

fn shown(row: &Row) -> String {
    match (&row[0], &row[2]) {
        (Value::Integer(id), Value::Text(body)) => format!("{id:>6}  {}", &**body),
        other => format!("{other:?}"),
    }
}
