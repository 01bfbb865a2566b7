//! `tidewire sql`: one statement, and what comes of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{Role, print, table, token};
use crate::config;

/// For how long the token of one statement is good, in seconds.
const TOKEN_SECONDS: u64 = 60;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 2 << 30;

/// Longer than any server gives a statement.
const ANSWER_WITHIN: Duration = Duration::from_secs(3_700);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The statement.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    statement: String,
    /// Where the server is.
    #[arg(long, default_value = "http://127.0.0.1:7420")]
    url: String,
    /// Who asks. Without it and --as, the variable TIDEWIRE_TOKEN is read.
    #[arg(long, conflicts_with = "user")]
    token: Option<String>,
    /// Ask as this user, with a token signed by the key in --data.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// What that user may do.
    #[arg(long, value_enum, default_value = "user", requires = "user")]
    role: Role,
    /// The data directory of the server.
    #[arg(long, value_name = "DIR", default_value = "./tidewire-data")]
    data: PathBuf,
    /// 32 hexadecimal digits, drawn at random. A write that is sent again with the same ones is not
    /// done twice.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Print the answer as the server sent it.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let token = arguments.token()?;
    let (status, text) = arguments.ask(&token)?;
    let answer: Value = serde_json::from_str(&text).with_context(|| {
        format!("{} answered {status}, and not like a Tidewire server: check --url", arguments.url)
    })?;
    if status != 200 {
        let error = &answer["error"];
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => bail!("{code}: {message}"),
            _ => bail!("{} answered {status}, and not why: check --url", arguments.url),
        }
    }
    print(&if arguments.json { text } else { table::show(&answer) })
}

impl Arguments {
    fn token(&self) -> anyhow::Result<String> {
        if let Some(user) = &self.user {
            return token::sign(&self.data, user, self.role, TOKEN_SECONDS);
        }
        self.token.clone().or_else(config::token_of_environment).context(
            "who asks? Name a token with --token or TIDEWIRE_TOKEN, or a user with --as, where \
             the data directory is at hand",
        )
    }

    fn ask(&self, token: &str) -> anyhow::Result<(u16, String)> {
        let url = &self.url;
        if url.starts_with("https:") {
            bail!(
                "this command speaks no TLS: reach the server by http, for instance from its \
                 machine"
            );
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_WITHIN))
            // A token goes to the server, and through nobody whom the environment names.
            .proxy(None)
            .build()
            .into();
        let mut body = json!({ "sql": self.statement });
        if let Some(id) = &self.request_id {
            body["request_id"] = id.as_str().into();
        }
        let answer = agent
            .post(format!("{}/v1/sql", url.trim_end_matches('/')))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .send(body.to_string());
        let mut answer = answer.with_context(|| {
            format!(
                "there is no answer from {url}: does a server run there? `tidewire serve` starts \
                 one"
            )
        })?;
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Ok((answer.status().as_u16(), text.context("the answer broke off")?))
    }
}
