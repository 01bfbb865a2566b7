//! What `cargo xtask demo` shows: a server and a chat. In a terminal it opens the chat; without
//! one it plays a conversation of two people, with a `kill -9` of the server and a time without a
//! network in it, and checks what each of them has at the end.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod open;
mod play;
mod signals;

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
}

fn main() -> ExitCode {
    let Arguments { user, note } = Arguments::parse();
    signals::end_what_was_started();
    let is_seen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let outcome = match user {
        Some(user) => open::as_another(&note, &user),
        None if is_seen => open::as_alice(&note),
        None => play::play(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\n{error}");
            ExitCode::FAILURE
        }
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
