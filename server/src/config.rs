//! How the server is set up: one typed tree, read and checked once. Nothing else reads a file of
//! settings or a variable of the environment.
//!
//! `tidewire.example.toml` has every key with its default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use server_engine::Retention;
use server_gateway::{Files, FilesError, Limits};
use server_storage::RocksOptions;

const MIB: u64 = 1024 * 1024;

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Where `tidewire sql` finds a token that is not to be seen among the arguments of processes.
const TOKEN_VARIABLE: &str = "TIDEWIRE_TOKEN";

/// All settings. What a file does not name has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The data directory. `./tidewire-data`; a path, relative to where the server is started.
    pub(crate) data: PathBuf,
    /// Address and port. `127.0.0.1:7420`; port 0 takes any that is free.
    pub(crate) listen: SocketAddr,
    /// How the data is spread over logs.
    pub(crate) shards: Shards,
    /// What the two databases may use.
    pub(crate) storage: Storage,
    /// How long things are kept.
    pub(crate) retention: Keeping,
    /// What statements may use.
    pub(crate) sql: Sql,
    /// What clients may do.
    pub(crate) http: Http,
    /// A web application.
    pub(crate) files: FilesServed,
    /// Live connections.
    pub(crate) live: LiveQueries,
    /// What is told on standard error.
    pub(crate) log: Log,
}

/// How the data is spread over logs. Fixed when a server first starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shards {
    /// Logs for the tables of users. 4; 1 to 64.
    pub(crate) user: u16,
    /// Logs for SHARED tables. 2; 1 to 64.
    pub(crate) shared: u16,
}

/// What the two databases, `log` and `rows`, may use. Each has its own share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Storage {
    /// Bytes of blocks that a database keeps in memory for reading. 64 MiB; 1 MiB to 1 TiB.
    pub(crate) block_cache_bytes: u64,
    /// Bytes of written data that a database holds in memory. 32 MiB; 1 MiB to 4 GiB. What a
    /// restart has to repeat grows with it.
    pub(crate) write_buffer_bytes: u64,
    /// Files that a database holds open. 512; 64 to 1,000,000.
    pub(crate) open_files_max: u32,
    /// Bytes of a shard's log above which it is made shorter. 32 MiB; 1 MiB to 64 GiB.
    pub(crate) log_bytes_max: u64,
    /// Bytes of it that stay, for nodes that are a little behind. 8 MiB; 0 to `log_bytes_max`.
    pub(crate) log_bytes_kept: u64,
}

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Keeping {
    /// Days that it is known which rows are gone. 30; 1 to 3,650. A device that was away for
    /// longer loads anew.
    pub(crate) tombstone_days: u32,
    /// So many of them a partition keeps however few rows it has. 10,000; 0 to 100,000,000.
    pub(crate) tombstones_min: u64,
    /// Days after which a client that is silent is forgotten. 180; 1 to 3,650.
    pub(crate) silent_client_days: u32,
    /// Seconds between two looks for what has ended. 60; 1 to 86,400.
    pub(crate) sweep_seconds: u64,
}

/// What statements may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sql {
    /// Bytes that all SELECTs together may take to sort, join and group. 256 MiB; 16 MiB to 1 TiB.
    pub(crate) memory_bytes_max: u64,
    /// SELECTs that run at the same time; the next ones wait. 32; 1 to 1,000.
    pub(crate) selects_max: u32,
    /// Seconds after which a statement that has no answer is given up. 30; 1 to 3,600.
    pub(crate) statement_seconds: u64,
    /// Rows of an answer. 100,000; 1 to 10,000,000.
    pub(crate) answer_rows_max: u32,
    /// Bytes of the values of an answer. 8 MiB; 64 KiB to 1 GiB.
    pub(crate) answer_bytes_max: u64,
}

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Connections at once; one more is refused as `overloaded`. 4,096; 1 to 1,000,000.
    pub(crate) connections_max: u32,
    /// Requests that run at once; the next ones are refused as `overloaded`. 256; 1 to 100,000.
    pub(crate) requests_max: u32,
    /// Bytes of a request's body. 2 MiB; 1 KiB to 1 GiB.
    pub(crate) body_bytes_max: u64,
    /// Seconds that a connection may be idle, and the head of a request take. 30; 1 to 3,600.
    pub(crate) head_seconds: u64,
    /// Seconds that its body may take. 30; 1 to 3,600.
    pub(crate) body_seconds: u64,
    /// Seconds that a client may take none of its answer. 60; 1 to 3,600.
    pub(crate) write_seconds: u64,
    /// Seconds that running requests are waited for when the server stops. 10; 0 to 600.
    pub(crate) stop_seconds: u64,
}

/// A web application, which is served beside the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilesServed {
    /// The folder whose files are served to whoever asks. Empty, which is none; a path, relative to
    /// where the server is started.
    pub(crate) folder: PathBuf,
    /// Origins that its pages may connect to, besides this server. None; such as
    /// `https://sign-in.example.com`.
    pub(crate) connect: Vec<String>,
}

/// Live connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LiveQueries {
    /// Bytes that wait for a client that reads slowly; the rest it gets from storage. 4 MiB; 64 KiB
    /// to 1 GiB.
    pub(crate) queue_bytes_max: u64,
    /// Seconds between two signs of life on a connection on which nothing else happens. 10; 1 to
    /// 600.
    pub(crate) keep_alive_seconds: u64,
    /// Oldest version of the application that is served, by the number that its code gives itself;
    /// an older one is told `update_required`. 0, which is any; 0 to 4,294,967,295.
    pub(crate) app_version_min: u32,
}

/// What is told on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// What is told at least. `info`; `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: Level,
    /// As lines for people or as JSON. `text`; `text` or `json`.
    pub(crate) format: Format,
}

/// How important something must be to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Somebody must act.
    Error,
    /// And what the server helps itself with.
    Warn,
    /// And what it does.
    Info,
    /// And what clients do wrong.
    Debug,
    /// And all else.
    Trace,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is named when the server is started.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// The data directory.
    pub(crate) data: Option<PathBuf>,
    /// Address and port.
    pub(crate) listen: Option<SocketAddr>,
    /// The folder of files.
    pub(crate) files: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./tidewire-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7420)),
            shards: Shards::default(),
            storage: Storage::default(),
            retention: Keeping::default(),
            sql: Sql::default(),
            http: Http::default(),
            files: FilesServed::default(),
            live: LiveQueries::default(),
            log: Log::default(),
        }
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self { user: 4, shared: 2 }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 * MIB,
            write_buffer_bytes: 32 * MIB,
            open_files_max: 512,
            log_bytes_max: 32 * MIB,
            log_bytes_kept: 8 * MIB,
        }
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            tombstone_days: 30,
            tombstones_min: 10_000,
            silent_client_days: 180,
            sweep_seconds: 60,
        }
    }
}

impl Default for Sql {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 * MIB,
            selects_max: 32,
            statement_seconds: 30,
            answer_rows_max: 100_000,
            answer_bytes_max: 8 * MIB,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            requests_max: 256,
            body_bytes_max: 2 * MIB,
            head_seconds: 30,
            body_seconds: 30,
            write_seconds: 60,
            stop_seconds: 10,
        }
    }
}

impl Default for LiveQueries {
    fn default() -> Self {
        Self { queue_bytes_max: 4 * MIB, keep_alive_seconds: 10, app_version_min: 0 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Text }
    }
}

impl Config {
    /// Reads the settings of a file, or the defaults; what was named when the server was started
    /// comes before both.
    ///
    /// # Errors
    /// A sentence that names the file and the key.
    pub(crate) fn load(file: Option<&Path>, named: Named) -> anyhow::Result<Self> {
        let mut config = match file {
            None => Self::default(),
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| {
                    format!("the settings in {} cannot be read", file.display())
                })?;
                Self::parse(&text)
                    .with_context(|| format!("the settings in {} are not right", file.display()))?
            }
        };
        let Named { data, listen, files } = named;
        config.data = data.unwrap_or(config.data);
        config.listen = listen.unwrap_or(config.listen);
        config.files.folder = files.unwrap_or(config.files.folder);
        Ok(config)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let Self { shards, storage, retention, sql, http, live, .. } = self;
        let ranges: [(&str, u64, u64, u64); 25] = [
            ("shards.user", shards.user.into(), 1, 64),
            ("shards.shared", shards.shared.into(), 1, 64),
            ("storage.block_cache_bytes", storage.block_cache_bytes, MIB, MIB << 20),
            ("storage.write_buffer_bytes", storage.write_buffer_bytes, MIB, MIB << 12),
            ("storage.open_files_max", storage.open_files_max.into(), 64, 1_000_000),
            ("storage.log_bytes_max", storage.log_bytes_max, MIB, MIB << 16),
            ("storage.log_bytes_kept", storage.log_bytes_kept, 0, storage.log_bytes_max),
            ("retention.tombstone_days", retention.tombstone_days.into(), 1, 3_650),
            ("retention.tombstones_min", retention.tombstones_min, 0, 100_000_000),
            ("retention.silent_client_days", retention.silent_client_days.into(), 1, 3_650),
            ("retention.sweep_seconds", retention.sweep_seconds, 1, 86_400),
            ("sql.memory_bytes_max", sql.memory_bytes_max, 16 * MIB, MIB << 20),
            ("sql.selects_max", sql.selects_max.into(), 1, 1_000),
            ("sql.statement_seconds", sql.statement_seconds, 1, 3_600),
            ("sql.answer_rows_max", sql.answer_rows_max.into(), 1, 10_000_000),
            ("sql.answer_bytes_max", sql.answer_bytes_max, MIB / 16, MIB << 10),
            ("http.connections_max", http.connections_max.into(), 1, 1_000_000),
            ("http.requests_max", http.requests_max.into(), 1, 100_000),
            ("http.body_bytes_max", http.body_bytes_max, 1_024, MIB << 10),
            ("http.head_seconds", http.head_seconds, 1, 3_600),
            ("http.body_seconds", http.body_seconds, 1, 3_600),
            ("http.write_seconds", http.write_seconds, 1, 3_600),
            ("http.stop_seconds", http.stop_seconds, 0, 600),
            ("live.queue_bytes_max", live.queue_bytes_max, MIB / 16, MIB << 10),
            ("live.keep_alive_seconds", live.keep_alive_seconds, 1, 600),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                bail!("{key} is {value}: set it to something from {min} to {max}");
            }
        }
        Ok(())
    }
}

impl Storage {
    /// What one database may use.
    pub(crate) fn rocks(&self) -> RocksOptions {
        RocksOptions {
            write_buffer_bytes: size(self.write_buffer_bytes),
            block_cache_bytes: size(self.block_cache_bytes),
            open_files_max: i32::try_from(self.open_files_max).unwrap_or(i32::MAX),
            statistics: false,
        }
    }
}

impl Config {
    /// How the node is set up.
    pub(crate) fn node(&self) -> server_replication::Settings {
        let Keeping { tombstone_days, tombstones_min, silent_client_days, sweep_seconds } =
            self.retention;
        server_replication::Settings {
            user_shards: self.shards.user,
            shared_shards: self.shards.shared,
            log_bytes_max: self.storage.log_bytes_max,
            log_bytes_kept: self.storage.log_bytes_kept,
            retention: Retention {
                tombstones_micros: i64::from(tombstone_days) * DAY_MICROS,
                tombstones_min,
                silence_micros: i64::from(silent_client_days) * DAY_MICROS,
                ..Retention::default()
            },
            sweep_every: Duration::from_secs(sweep_seconds),
            ..server_replication::Settings::default()
        }
    }
}

impl Sql {
    /// How SQL is set up on this node.
    pub(crate) fn query(&self, node: u64) -> server_query::Settings {
        server_query::Settings {
            node,
            memory_bytes_max: size(self.memory_bytes_max),
            selects_max: size(self.selects_max.into()),
            answer_rows_max: size(self.answer_rows_max.into()),
            joined_rows_max: server_query::JOINED_ROWS_MAX,
            answer_bytes_max: size(self.answer_bytes_max),
        }
    }
}

impl LiveQueries {
    /// How the live engine is set up.
    pub(crate) fn subscriptions(&self) -> server_subscriptions::Settings {
        let queue_bytes_max = size(self.queue_bytes_max);
        server_subscriptions::Settings { queue_bytes_max, ..Default::default() }
    }
}

impl Config {
    /// The files that the gateway serves.
    ///
    /// # Errors
    /// The folder is none, or an origin is none.
    pub(crate) fn files(&self) -> Result<Option<Files>, FilesError> {
        let FilesServed { folder, connect } = &self.files;
        let is_named = !folder.as_os_str().is_empty();
        is_named.then(|| Files::open(folder, connect)).transpose()
    }

    /// What the gateway lets clients do.
    pub(crate) fn gateway(&self) -> Limits {
        Limits {
            connections_max: size(self.http.connections_max.into()),
            requests_max: size(self.http.requests_max.into()),
            body_bytes_max: size(self.http.body_bytes_max),
            header_read_timeout: Duration::from_secs(self.http.head_seconds),
            body_read_timeout: Duration::from_secs(self.http.body_seconds),
            write_timeout: Duration::from_secs(self.http.write_seconds),
            shutdown_timeout: Duration::from_secs(self.http.stop_seconds),
            statement_timeout: Duration::from_secs(self.sql.statement_seconds),
            keep_alive: Duration::from_secs(self.live.keep_alive_seconds),
            socket_queue_bytes_max: size(self.live.queue_bytes_max),
            app_version_min: self.live.app_version_min,
            sql_bytes_max: server_query::SQL_BYTES_MAX,
            params_max: server_query::PARAMS_MAX,
            ..Limits::default()
        }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The token that the environment names, if it does.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn token_of_environment() -> Option<String> {
    let token = std::env::var(TOKEN_VARIABLE).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests;
