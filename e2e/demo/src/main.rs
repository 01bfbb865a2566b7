//! What `cargo xtask demo` shows: a process writes messages and is killed with `kill -9`, and a
//! second one opens what it left and answers a live query's question about it.
//!
//! It ends with an error when it does not find what was promised.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod messages;
mod writer;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use protocol::ids::ColumnId;
use protocol::predicate::{CompareOp, LikePattern, Operand, Predicate};
use protocol::value::Value;
use server_storage::{Direction, KeyRange, Store};

use messages::{BODY, COUNT, ID, MESSAGES, ROOM};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// After how many durable messages the writer is killed.
const DURABLE_MESSAGES: u64 = 20_000;

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
    println!("A process writes messages into a store, and every 1,000 of them to disk.");
    let durable = write_until_killed(directory.path())?;
    println!("    kill -9 after it had told us that message {durable} is on disk\n");

    println!("Opened again:");
    let store = messages::open(directory.path())?;
    let found = check_messages(&store, durable)?;
    println!("    {found} messages, whole and without a hole, and the counter agrees;");
    println!("    what was written after the last of them was in memory only, and is gone\n");

    let predicate = Predicate::And(vec![
        Predicate::Compare {
            column: ROOM,
            op: CompareOp::Equal,
            operand: Operand::Value(Value::Integer(7)),
        },
        Predicate::Like { column: BODY, pattern: LikePattern::new("%the tide%")? },
    ]);
    let table = messages::table()?;
    predicate.check(&table)?;
    println!("A subscription asks: WHERE room = 7 AND body LIKE '%the tide%'");
    println!("    the replica will run: {}", predicate.to_sql(&table).text);
    let selected = select(&store, &predicate)?;
    println!("    the server evaluates it on each row and selects {}:", selected.len());
    for (id, body) in selected.iter().take(3) {
        println!("    {id:>8}  {body}");
    }
    println!("         …");
    let expected = messages::numbers_with_tide_in_room_7(found);
    if selected.iter().map(|(id, _)| *id).ne(expected) {
        return Err("the selected rows are not those that were written so".into());
    }
    Ok(())
}

/// Starts this program as the writer and kills it once enough is on disk. Returns the number of
/// the last message it told us to be there.
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
        if durable >= DURABLE_MESSAGES {
            writer.kill()?;
        }
    }
    writer.wait()?;
    Ok(durable)
}

/// Checks that messages 1 to n are there, that n is what the counter in the other family says,
/// and that n is not less than what was on disk. Returns n.
fn check_messages(store: &dyn Store, durable: u64) -> Outcome<u64> {
    let snapshot = store.snapshot();
    let counted = snapshot.get(COUNT, messages::COUNT_KEY)?.ok_or("there is no counter")?;
    let counted = u64::from_be_bytes(counted.as_slice().try_into()?);
    let mut found = 0;
    let mut scan = snapshot.scan(MESSAGES, KeyRange::all(), Direction::Forward);
    while let Some(entry) = scan.next()? {
        found += 1;
        if messages::decode(entry.value)? != messages::message(found)? {
            return Err(format!("message {found} is not what was written").into());
        }
    }
    if found != counted || found < durable {
        let told = format!("{found} messages, counted {counted}, on disk {durable}");
        return Err(told.into());
    }
    Ok(found)
}

/// The id and body of every message that satisfies the predicate.
fn select(store: &dyn Store, predicate: &Predicate) -> Outcome<Vec<(i64, String)>> {
    let snapshot = store.snapshot();
    let mut selected = Vec::new();
    let mut scan = snapshot.scan(MESSAGES, KeyRange::all(), Direction::Forward);
    while let Some(entry) = scan.next()? {
        let row = messages::decode(entry.value)?;
        let value = |column: ColumnId| row[usize::from(column.0)].as_ref();
        if predicate.evaluate(&value).is_true()
            && let (Value::Integer(id), Value::Text(body)) =
                (&row[usize::from(ID.0)], &row[usize::from(BODY.0)])
        {
            selected.push((*id, body.to_string()));
        }
    }
    Ok(selected)
}
