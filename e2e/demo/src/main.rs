//! What `cargo xtask demo` shows: a server and a chat. With the files of the web chat it serves that,
//! until somebody ends it. Else in a terminal it opens the chat there; without one it plays a
//! conversation of two people, with a `kill -9` of the server and a time without a network in it, and
//! checks what each of them has at the end.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod browse;
mod open;
mod play;
mod signals;
mod web;

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e_harness::{Chat, ChatCommand, Home, chat};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Debug, clap::Parser)]
struct Arguments {
    /// Opens the chat as somebody else, with the demo that runs.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Where a demo notes where it is.
    #[arg(long, value_name = "FILE")]
    note: PathBuf,
    /// The files of the web chat, as they were built.
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// The port of the server; what signs people in has the next one.
    #[arg(long, requires = "web")]
    port: Option<u16>,
    /// Checks what there is, and ends.
    #[arg(long, conflicts_with = "user")]
    check: bool,
    /// What plays a conversation in a browser, with its arguments, when all is checked.
    #[arg(last = true, value_name = "COMMAND")]
    play: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    signals::end_what_was_started();
    let outcome = run(&arguments);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { user, note, web, port, check, play }: &Arguments) -> Outcome {
    let is_seen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match (user, web) {
        (Some(user), _) => open::as_another(note, user),
        (None, None) if is_seen && !check => open::as_alice(note),
        (None, None) => play::play(),
        (None, Some(web)) if *check => play::play().and_then(|()| browse::check(web, play)),
        (None, Some(web)) => browse::run(web, *port, note),
    }
}

/// Makes the tables of the chat, and starts what tells of mentions.
fn set_up(home: &Home, server: &str) -> Outcome<Chat> {
    let (data, folder) = (home.data(), home.folder("chat"));
    let output = chat(ChatCommand::Setup, "root", server, &data, &folder).output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the tables of the chat cannot be made: {told}").into());
    }
    let notify = chat(ChatCommand::Notify, "notifier", server, &data, &folder);
    Ok(Chat::spawn(notify, |_| {}))
}
