//! What the web chat has for a server of its own: it signs people in, hands out tokens, makes the
//! tables, and tells of mentions. See the README of the chat.
//!
//! **It is a demo: there is no password.** Everything else is as an application would do it: the
//! key that signs tokens stays here, and a page has tokens that end soon.
//!
//! | to find | look in |
//! | --- | --- |
//! | the command line | `main.rs` |
//! | what a page asks | `http.rs` |
//! | who is signed in | `sessions.rs` |
//! | the key, and the tokens | `key.rs` |
//! | a conversation, so that there is something to see | `seed.rs` |

mod clock;
mod http;
mod key;
mod seed;
mod sessions;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::http::HeaderValue;
use clap::Parser;
use sdk_core::{Client, Config};
use tokio::net::TcpListener;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use crate::http::SignIn;
use crate::key::{Key, Role};
use crate::sessions::Sessions;

/// For how long the tokens of this program are good, in seconds: new ones cost nothing.
const OWN_TOKEN_SECONDS: u64 = 300;

/// Signs people in to the web chat, without a password: it is a demo.
#[derive(Debug, Parser)]
#[command(name = "chat-signin")]
struct Arguments {
    /// Where the sync server is: http:// or https://.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The data directory of that server: its key signs the tokens.
    #[arg(long, value_name = "DIR", default_value = "./tidewire-data")]
    data: PathBuf,
    /// The address and port to listen at.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7421")]
    listen: SocketAddr,
    /// An origin whose pages may ask; may be given several times. Without one, that of the server.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<HeaderValue>,
    /// For how many seconds a token is good.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    token_seconds: u64,
    /// Where this program keeps who is signed in, and its own replicas.
    #[arg(long, value_name = "DIR", default_value = "./chat-signin-data")]
    state: PathBuf,
    /// Let a few people have talked before, once.
    #[arg(long)]
    seed: bool,
}

impl Arguments {
    /// The SDK as one of the programs that an application has on its server.
    async fn client(&self, user: &'static str, role: Role, key: &Key) -> anyhow::Result<Client> {
        let key = key.clone();
        let config = Config::new(&self.server, user, self.state.join("replicas"), move || {
            let now = clock::now();
            let token = key.token(user, role, now + OWN_TOKEN_SECONDS, now);
            async move { Ok(token) }
        });
        let client = Client::open(config).await;
        client.with_context(|| format!("the replica of {user} at {}", self.server))
    }

    fn origins(&self) -> anyhow::Result<Vec<HeaderValue>> {
        if !self.origins.is_empty() {
            return Ok(self.origins.clone());
        }
        let server = HeaderValue::from_str(self.server.trim_end_matches('/'));
        Ok(vec![server.context("the address of the server is none: mend --server")?])
    }
}

// It waits most of the time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    select! {
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
        ended = run(&arguments) => ended,
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let key = Key::read(&arguments.data)?;
    let sessions = Sessions::open(&arguments.state)?;
    let listen = arguments.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen at {listen}: name another --listen"))?;
    let root = arguments.client("root", Role::Admin, &key).await?;
    chat_conversation::make_tables(&root).await.context("the tables of the chat")?;
    root.close().await;
    let service = arguments.client("notifier", Role::Service, &key).await?;
    if arguments.seed {
        seed::seed(&service).await.context("the conversation that is there from the start")?;
    }
    let token_seconds = arguments.token_seconds;
    let sign_in = SignIn { key, sessions, token_seconds };
    let router = http::router(Arc::new(sign_in), arguments.origins()?);
    tell(&format!("chat-signin is ready at http://{}", listener.local_addr()?));
    select! {
        ended = axum::serve(listener, router).into_future() => Ok(ended?),
        ended = chat_conversation::notify(service, tell) => ended.context("the mentions"),
    }
}

/// Says something to whoever started this, who may not listen any more.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
