//! How a client is set up.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use protocol::ids::TenantId;
use sdk_replica::Place;
#[cfg(target_family = "wasm")]
use sdk_replica::Pool;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// What a token callback gives back.
pub type TokenFuture = BoxFuture<'static, Result<String, TokenError>>;

/// Why there is no token. It is shown in the status, so it must have no secret in it.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// Gives a token whenever one is needed.
pub(crate) type TokenCallback = Arc<dyn Fn() -> TokenFuture + Send + Sync>;

/// Takes lines for a log.
pub(crate) type LogCallback = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Somebody should look at it.
    Warn,
    /// Connections come and go.
    Info,
    /// What helps to find a defect.
    Debug,
}

/// How often each subscription is compared with the server, unless it is said otherwise.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// How long a server may owe something, unless it is said otherwise.
const STALL_AFTER: Duration = Duration::from_secs(60);

/// Where replicas are.
#[derive(Clone)]
enum Kept {
    Directory(PathBuf),
    #[cfg(target_family = "wasm")]
    Pool(Arc<dyn Pool>),
}

/// How a client is set up.
#[derive(Clone)]
pub struct Config {
    pub(crate) servers: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) user: String,
    kept: Kept,
    is_alone: bool,
    pub(crate) token: TokenCallback,
    pub(crate) log: Option<LogCallback>,
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) verify_every: Option<Duration>,
    pub(crate) stall_after: Duration,
    pub(crate) app_version: u32,
}

impl Config {
    /// A client of this user, at this server (`ws://`, `wss://`, `http://` or `https://`), with its
    /// replicas in this directory. `token` is called whenever a token of that user is needed; none
    /// is stored.
    pub fn new<F>(
        server: impl Into<String>,
        user: impl Into<String>,
        directory: impl AsRef<Path>,
        token: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self::kept(
            server.into(),
            user.into(),
            Kept::Directory(directory.as_ref().to_owned()),
            token,
        )
    }

    /// The same, with replicas in a pool of files, as browsers have it.
    #[cfg(target_family = "wasm")]
    pub fn in_pool<F>(
        server: impl Into<String>,
        user: impl Into<String>,
        pool: Arc<dyn Pool>,
        token: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self::kept(server.into(), user.into(), Kept::Pool(pool), token)
    }

    fn kept<F>(
        server: String,
        user: String,
        kept: Kept,
        token: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self {
            servers: vec![server],
            name: None,
            user,
            kept,
            is_alone: false,
            token: Arc::new(move || Box::pin(token())),
            log: None,
            roots: Vec::new(),
            verify_every: Some(VERIFY_EVERY),
            stall_after: STALL_AFTER,
            app_version: 0,
        }
    }

    /// Another address of the same server: tried when one cannot be reached.
    #[must_use]
    pub fn or_server(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// Uses one connection to the file: where the file system has no memory that connections share, as one
    /// on a network. Reads wait for writes then, and nobody else can read the file meanwhile.
    #[must_use]
    pub fn with_one_connection(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// By which the replica of this server is known, whatever its address is. Without it that is
    /// the first address.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where lines for a log go. None has a row's value or a token in it.
    #[must_use]
    pub fn with_log(mut self, log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// A certificate (DER) whose owner is believed to say who a server is, besides those that the
    /// system knows.
    #[must_use]
    pub fn with_root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.roots.push(der.into());
        self
    }

    /// How often each subscription is compared with the server by itself, in time that the client is open;
    /// 24 hours without. `None`, or no time at all, is never:
    /// [`Subscription::verify`](crate::Subscription::verify) does it at any time.
    #[must_use]
    pub fn with_verification(mut self, every: Option<Duration>) -> Self {
        self.verify_every = every.filter(|every| !every.is_zero());
        self
    }

    /// How long a server that is there may owe something, while nothing of it moves, until that is
    /// [`Incident::Stalled`](crate::Incident::Stalled) and the connection is made anew: a minute without,
    /// and a second at least. It is noticed after half of it at the earliest.
    #[must_use]
    pub fn with_stalled_after(mut self, after: Duration) -> Self {
        self.stall_after = after.max(Duration::from_secs(1));
        self
    }

    /// How new the code of the application is: a number that grows with each release that needs other
    /// tables than the one before. A server can be set up to serve no old code any more
    /// (`live.app_version_min`); then the status is
    /// [`UpdateRequired`](crate::StatusWord::UpdateRequired), while reading and local writing go on.
    /// Without it the code says nothing about itself, and is older than any.
    #[must_use]
    pub fn with_app_version(mut self, version: u32) -> Self {
        self.app_version = version;
        self
    }

    /// The addresses of the live connections of all servers.
    pub(crate) fn addresses(&self) -> Result<Vec<String>, Error> {
        if self.servers.is_empty() {
            return Err(Error::Config("there is no server: give an address".to_owned()));
        }
        self.servers.iter().map(|server| address(server)).collect()
    }

    /// How the machine is set up.
    pub(crate) fn machine(&self) -> sdk_machine::Config {
        let millis = |every: Duration| u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
        sdk_machine::Config {
            servers: self.servers.len(),
            verify_every_ms: self.verify_every.map(millis),
            stall_ms: millis(self.stall_after),
            app_version: self.app_version,
        }
    }

    /// The user, if it can be one.
    pub(crate) fn tenant(&self) -> Result<TenantId, Error> {
        TenantId::new(&self.user).map_err(|error| Error::Config(format!("the user: {error}")))
    }

    /// Where the replica is: one for each server and user, whose name tells neither.
    pub(crate) fn place(&self) -> Result<Place, Error> {
        self.tenant()?;
        let name = self.name.as_ref().or(self.servers.first());
        let name = name.map_or("", String::as_str);
        let mut hash = Sha256::new();
        for part in [name, &self.user] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digits = hash.finalize()[..16].iter().fold(String::new(), |mut digits, byte| {
            digits += &format!("{byte:02x}");
            digits
        });
        let name = format!("tidewire-{digits}.sqlite");
        Ok(match &self.kept {
            Kept::Directory(directory) if self.is_alone => {
                Place::file(directory.join(name)).alone()
            }
            Kept::Directory(directory) => Place::file(directory.join(name)),
            #[cfg(target_family = "wasm")]
            Kept::Pool(pool) => Place::pooled(&name, Arc::clone(pool)),
        })
    }
}

/// Why something is no address.
pub(crate) fn no_address(server: &str, why: &str) -> Error {
    Error::Config(format!(
        "{server:?} is no address of a server ({why}): write it as wss://host or ws://host:port"
    ))
}

/// The address of the live connection of a server.
fn address(server: &str) -> Result<String, Error> {
    let wrong = |why: &str| no_address(server, why);
    let (scheme, rest) = server.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let scheme = match scheme {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(wrong("its scheme is another one")),
    };
    if rest.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(wrong("it cannot be read"));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err(wrong("it has no host"));
    }
    let rest = rest.trim_end_matches('/');
    let path = if rest.ends_with("/v1/sync") { "" } else { "/v1/sync" };
    Ok(format!("{scheme}://{rest}{path}"))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("servers", &self.servers)
            .field("user", &self.user)
            .field("is_alone", &self.is_alone)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_live_connection() {
        for (server, expected) in [
            ("ws://127.0.0.1:7420", "ws://127.0.0.1:7420/v1/sync"),
            ("http://localhost:1/", "ws://localhost:1/v1/sync"),
            ("https://sync.example", "wss://sync.example/v1/sync"),
            ("wss://sync.example/app/", "wss://sync.example/app/v1/sync"),
            ("wss://sync.example/v1/sync", "wss://sync.example/v1/sync"),
        ] {
            assert_eq!(address(server).unwrap(), expected);
        }
        for server in ["", "localhost", "ftp://x", "ws://", "ws://a b", "ws://:80"] {
            let error = address(server).unwrap_err().to_string();
            assert!(error.contains(&format!("{server:?}")), "{error}");
        }
    }
}
