//! How a client begins.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
#[cfg(not(target_family = "wasm"))]
use tokio::sync::oneshot;

use super::{Client, Inner};
use crate::config::Config;
use crate::driver::{Driver, ReplicaFile};
use crate::error::Error;
use crate::ports::Transport;
#[cfg(not(target_family = "wasm"))]
use crate::transport::native::Native;

impl Client {
    /// Opens the replica of a server and user, or makes it, and begins to connect. What is there
    /// can be read at once, also without a network.
    ///
    /// # Errors
    /// [`Error::Config`] for an address or user that is none; [`Error::Replica`] when the file
    /// cannot be used, or another process has it.
    #[cfg(not(target_family = "wasm"))]
    pub async fn open(config: Config) -> Result<Self, Error> {
        let transport = Native::new(&config.servers, &config.addresses()?, config.roots.clone())?;
        let (opened, is_open) = oneshot::channel();
        let (commands, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("tidewire".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Error::Config(error.to_string()));
            let begun =
                runtime.and_then(|runtime| Ok((runtime, begin(config, Box::new(transport))?)));
            match begun {
                Ok((runtime, driver)) => {
                    // Nobody may wait for it any more; then there is nobody to command it, either.
                    let _ = opened.send(Ok((driver.shown(), driver.readers())));
                    runtime.block_on(driver.run(received));
                    // Looking up an address may take long, and nobody waits for it.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        });
        let thread = thread
            .map_err(|error| Error::Config(format!("the system gives no thread: {error}")))?;
        let (shown, readers) = is_open.await.map_err(|_| Error::Closed)??;
        let thread = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { commands, readers, shown, thread }) })
    }

    /// Opens the replica of a server and user, or makes it, where there are no threads, and sockets are the
    /// platform's. `transport` is given the addresses of the servers. Nothing happens but while the future is
    /// polled; it ends when the client is closed.
    ///
    /// # Errors
    /// [`Error::Config`] for an address or user that is none; [`Error::Replica`] when the files cannot be
    /// used.
    #[cfg(target_family = "wasm")]
    pub fn open_with(
        config: Config,
        transport: impl FnOnce(Vec<String>) -> Box<dyn Transport>,
    ) -> Result<(Self, impl Future<Output = ()>), Error> {
        let transport = transport(config.addresses()?);
        let (commands, received) = mpsc::unbounded_channel();
        let driver = begin(config, transport)?;
        let (readers, shown, thread) = (driver.readers(), driver.shown(), Mutex::new(None));
        let client = Self { inner: Arc::new(Inner { commands, readers, shown, thread }) };
        Ok((client, driver.run(received)))
    }
}

fn begin(config: Config, transport: Box<dyn Transport>) -> Result<Driver, Error> {
    let replica = ReplicaFile::open(config.place()?)?;
    Driver::new(config, transport, replica)
}
