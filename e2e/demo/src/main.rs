//! What `cargo xtask demo` shows: a server, three kinds of tables, two users who write, a
//! `kill -9` in the middle of it, and what each of them sees afterwards.
//!
//! What it says is checked. It ends with an error when something else is found.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use e2e_harness::{Client, Failure, Home, Role};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How many notes each of the two writes. With each note goes a count on a shared board.
const NOTES: u32 = 150;

/// After how many answers the server is killed.
const KILLED_AFTER: u32 = 120;

/// Before a request is sent again.
const REPEAT_AFTER: Duration = Duration::from_millis(10);

/// How often it is. A server that stays away for longer is gone.
const REPEATS_MAX: u32 = 6_000;

const TABLES: [(&str, &str); 3] = [
    (
        "rows of each user's own",
        "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT NOT NULL)",
    ),
    (
        "rows that all share",
        "CREATE SHARED TABLE app.board (id BIGINT PRIMARY KEY, count BIGINT NOT NULL DEFAULT 0) \
         WITH (ACCESS_LEVEL = WRITE)",
    ),
    (
        "rows that expire",
        "CREATE STREAM TABLE app.presence (device TEXT PRIMARY KEY, place TEXT) \
         WITH (TTL_SECONDS = 60)",
    ),
];

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nthe demo found something else than promised: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Outcome {
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    println!("A server runs at http://{}, on an empty directory.\n", admin.address());
    run(&admin, "CREATE NAMESPACE app")?;
    for (what, sql) in TABLES {
        run(&admin, sql)?;
        let name = sql.split(" (").next().unwrap_or(sql);
        println!("    {name:<32} {what}");
    }
    run(&admin, "INSERT INTO app.board (id) VALUES (1)")?;

    let (ann, bob) = (home.client("ann", Role::User), home.client("bob", Role::User));
    run(&ann, "INSERT INTO app.presence VALUES ('phone', 'in the harbour')")?;
    println!("\nAnn and Bob write {NOTES} notes each, and count each of them on the board.");
    let answers = AtomicU32::new(0);
    let (at, server) = std::thread::scope(|scope| {
        let writers = [("ann", &ann), ("bob", &bob)].map(|(name, client)| {
            let answers = &answers;
            scope.spawn(move || write(client, name, answers).map_err(|error| error.to_string()))
        });
        while answers.load(Ordering::SeqCst) < KILLED_AFTER
            && !writers.iter().any(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill9();
        let at = answers.load(Ordering::SeqCst);
        println!("    kill -9 after {at} answers. Each repeats what it has no answer to.");
        let server = home.start();
        println!("    Started again on the same directory.");
        for writer in writers {
            writer.join().map_err(|_| "a writer has failed")??;
        }
        Ok::<_, Box<dyn Error>>((at, server))
    })?;
    if at >= 4 * NOTES {
        return Err("the writers were done before the kill".into());
    }
    tell(&ann, &bob)?;
    let ended = server.term();
    if ended.code != Some(0) {
        return Err(format!("the server did not stop: {}", ended.told).into());
    }
    println!("\nAsked to stop, the server has stopped.");
    Ok(())
}

/// Writes all notes, each until there is an answer to it.
fn write(client: &Client, name: &str, answers: &AtomicU32) -> Outcome {
    let user: u32 = if name == "ann" { 1 } else { 2 };
    for number in 1..=NOTES {
        for (step, sql) in [
            format!("INSERT INTO app.notes VALUES ({number}, 'note {number} of {name}')"),
            "UPDATE app.board SET count = count + 1 WHERE id = 1".to_owned(),
        ]
        .iter()
        .enumerate()
        {
            let id = format!("{user:08x}{number:016x}{step:08x}");
            until_answered(client, &id, sql)?;
            answers.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}

fn until_answered(client: &Client, id: &str, sql: &str) -> Outcome {
    for _ in 0..REPEATS_MAX {
        match client.request(id, sql, &[]) {
            Ok(_) => return Ok(()),
            Err(failure) if failure.may_retry() => std::thread::sleep(REPEAT_AFTER),
            Err(failure) => return Err(format!("{sql}: {failure}").into()),
        }
    }
    Err(format!("{sql}: there is no answer").into())
}

/// Says what both see, and checks it.
fn tell(ann: &Client, bob: &Client) -> Outcome {
    println!("\nWhat they see:");
    for (name, client) in [("ann", ann), ("bob", bob)] {
        let notes = rows(client, "SELECT id, body FROM app.notes ORDER BY id")?;
        let expected: Vec<String> =
            (1..=NOTES).map(|number| format!("{number} note {number} of {name}")).collect();
        if notes != expected {
            return Err(format!("{name} sees {} notes: {notes:?}", notes.len()).into());
        }
        let last = notes.last().map_or("", String::as_str);
        println!(
            "    {name}: all {NOTES} notes, each once, and no note of another. The last: {last}"
        );
    }
    let board = rows(ann, "SELECT count FROM app.board")?;
    if board != [(2 * NOTES).to_string()] || board != rows(bob, "SELECT count FROM app.board")? {
        return Err(format!("the board says {board:?}").into());
    }
    println!("    both:  the board has counted {}, no note twice and none not", board[0]);
    let presence = "SELECT place FROM app.presence";
    if rows(ann, presence)? != ["in the harbour"] || !rows(bob, presence)?.is_empty() {
        return Err("the presence is not as written".into());
    }
    println!("    ann's presence is seen by her alone, and goes a minute after it was written");
    match bob.run("CREATE NAMESPACE bobs") {
        Err(Failure::Refused(refusal)) if refusal.code == "forbidden" => {
            println!("    bob may not create a namespace: {}", refusal.message);
            Ok(())
        }
        other => Err(format!("bob created a namespace: {other:?}").into()),
    }
}

fn run(client: &Client, sql: &str) -> Outcome {
    client.run(sql).map(drop).map_err(|failure| format!("{sql}: {failure}").into())
}

/// The rows of a statement, each as one text.
fn rows(client: &Client, sql: &str) -> Outcome<Vec<String>> {
    let answer = client.run(sql).map_err(|failure| format!("{sql}: {failure}"))?;
    Ok(answer.texts())
}
