//! The commands of the binary.

mod sql;
mod table;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{Config, Named};
use crate::{run, telemetry};

/// A local SQLite replica on every device, in step with a server. This is the server.
#[derive(Debug, Parser)]
#[command(name = "tidewire", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server until it is stopped.
    Serve {
        /// A file of settings; `tidewire.example.toml` has all of them.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// The address and port to listen at.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// A folder of files, such as a web application, to serve beside the API.
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
    },
    /// Run one statement on a server, and show what comes of it.
    Sql(sql::Arguments),
    /// Print a token for a user, signed with the key of a data directory.
    Token(token::Arguments),
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Own rows, and what SHARED tables grant.
    User,
    /// All SHARED tables, and to act for users.
    Service,
    /// That, and to define tables.
    Admin,
}

impl From<Role> for server_gateway::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Service => Self::Service,
            Role::Admin => Self::Admin,
        }
    }
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { config, data, listen, files } => {
            serve(config, Named { data, listen, files })
        }
        Command::Sql(arguments) => sql::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve(file: Option<PathBuf>, named: Named) -> anyhow::Result<()> {
    let config = Config::load(file.as_deref(), named)?;
    telemetry::start(&config.log);
    run::run(&config)
}

fn complain(error: &anyhow::Error) {
    use std::io::Write;
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "tidewire: {error:#}");
}

/// Prints what a command was asked for.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
