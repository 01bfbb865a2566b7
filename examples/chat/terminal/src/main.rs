#![doc = include_str!("../../README.md")]
//!
//! | to find | look in |
//! | --- | --- |
//! | the command line | `main.rs` |
//! | the loop: what the user wants, and what the replica shows | `app.rs`; what is shown: `view.rs` |
//! | subscriptions, queries and statements | `chat.rs` |
//! | in a terminal, and without one | `ui.rs`, `script.rs` |
//! | the tables, what is said, who tells of mentions | the crate `chat-conversation` |

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod app;
mod chat;
mod script;
mod ui;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use sdk_core::{Client, Config};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::script::Script;
use crate::ui::Ui;

/// A chat in the terminal.
#[derive(Debug, clap::Parser)]
#[command(name = "chat")]
enum Command {
    /// Makes the tables. Needs a token of role admin.
    Setup {
        #[command(flatten)]
        session: Session,
    },
    /// Opens the chat. Without a terminal it reads what you say from standard input.
    Open {
        #[command(flatten)]
        session: Session,
        /// The first room.
        #[arg(long, default_value = "lobby")]
        room: String,
    },
    /// Tells people that they were mentioned, for as long as it runs. Needs a token of role
    /// service.
    Notify {
        #[command(flatten)]
        session: Session,
    },
}

#[derive(Debug, clap::Args)]
struct Session {
    /// Where the server is: ws://, wss://, http:// or https://.
    #[arg(long, value_name = "URL")]
    server: String,
    /// Who you are.
    #[arg(long = "as", value_name = "USER")]
    user: String,
    /// A file with a token of that user. It is read whenever one is needed.
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Where the replicas on this device are.
    #[arg(long, value_name = "DIR", default_value = "./chat-data")]
    data: PathBuf,
}

impl Session {
    async fn client(&self) -> anyhow::Result<Client> {
        let file = self.token.clone();
        let config = Config::new(&self.server, &self.user, &self.data, move || {
            let read = std::fs::read_to_string(&file);
            let token = read.map_err(|error| format!("{}: {error}", file.display()).into());
            async move { token.map(|token| token.trim().to_owned()) }
        });
        let client = Client::open(config).await;
        client.with_context(|| format!("the replica of {} at {}", self.user, self.server))
    }
}

// The SDK has a thread of its own, and the chat waits most of the time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Setup { session } => {
            let client = session.client().await?;
            chat_conversation::make_tables(&client).await?;
            client.close().await;
            println!("the tables of the chat are there");
            Ok(())
        }
        Command::Open { session, room } => {
            let client = session.client().await?;
            let is_seen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
            let mut terminated = signal(SignalKind::terminate())?;
            let user = &session.user;
            // Whoever is asked to end gives the terminal back.
            select! {
                _ = terminated.recv() => Ok(()),
                ended = chat(client, user, &room, is_seen) => ended,
            }
        }
        Command::Notify { session } => {
            let tell = |line: &str| println!("* {line}");
            chat_conversation::notify(session.client().await?, tell).await
        }
    }
}

async fn chat(client: Client, user: &str, room: &str, is_seen: bool) -> anyhow::Result<()> {
    let unsent = if is_seen {
        App::open(client, user, room, Ui::start()?).await?.run().await?
    } else {
        App::open(client, user, room, Script::start()).await?.run().await?
    };
    for line in unsent {
        println!("* {line}");
    }
    Ok(())
}
