//! A network between clients and a server that does what networks do: it breaks, waits, is slow,
//! and swallows.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::server::lock;

/// How long a copier waits for bytes before it looks at what has been set.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What is copied at once, in bytes: small, so that a cut comes in the middle of something.
const CHUNK_BYTES: usize = 4 * 1024;

/// Passes bytes on, from a port of its own to wherever the server is just then.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Where the server is; nowhere, and nobody is let in.
    target: Mutex<Option<SocketAddr>>,
    streams: Mutex<Vec<TcpStream>>,
    copiers: Mutex<Vec<JoinHandle<()>>>,
    is_over: AtomicBool,
    /// Bytes are read and thrown away, and nobody is told.
    swallows: AtomicBool,
    /// Nothing goes in a direction.
    holds_up: AtomicBool,
    holds_down: AtomicBool,
    delay_ms: AtomicU64,
    /// Bytes a second towards the clients; 0 is as fast as it goes.
    bytes_per_second: AtomicU64,
    /// So many bytes more, and then everything is cut.
    cut_after: Mutex<Option<u64>>,
    down: AtomicU64,
    up: AtomicU64,
    accepted: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Proxy {
    /// One that leads to this address, `host:port`.
    ///
    /// # Panics
    /// There is no port, or that is no address.
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0));
        let listener = listener.unwrap_or_else(|error| panic!("no port for a proxy: {error}"));
        let address = listener.local_addr();
        let address = address.unwrap_or_else(|error| panic!("the port is not known: {error}"));
        let shared = Arc::<Shared>::default();
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared))
        };
        let proxy = Self { address, shared, accepting: Some(accepting) };
        proxy.lead_to(server);
        proxy
    }

    /// Where clients connect, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on it leads there.
    ///
    /// # Panics
    /// That is no address.
    pub fn lead_to(&self, server: &str) {
        let address = server.parse();
        let address = address.unwrap_or_else(|error| panic!("{server}: {error}"));
        *lock(&self.shared.target) = Some(address);
    }

    /// Lets nobody in from now on. Who is in stays.
    pub fn close(&self) {
        *lock(&self.shared.target) = None;
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts every connection when so many bytes more have gone to clients.
    pub fn cut_after(&self, bytes: u64) {
        *lock(&self.shared.cut_after) = Some(bytes);
    }

    /// Whether a cut that was asked for is still to come.
    pub fn will_cut(&self) -> bool {
        lock(&self.shared.cut_after).is_some()
    }

    /// Swallows what comes from either side, or not any more.
    pub fn swallow(&self, swallows: bool) {
        self.shared.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Nothing goes towards the server until it may again, and then all of it, as with a network that is
    /// broken in one direction.
    pub fn hold_up(&self, holds: bool) {
        self.shared.holds_up.store(holds, Ordering::SeqCst);
    }

    /// The same, towards the clients.
    pub fn hold_down(&self, holds: bool) {
        self.shared.holds_down.store(holds, Ordering::SeqCst);
    }

    /// Holds every piece back for so long.
    pub fn delay(&self, delay: Duration) {
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(milliseconds, Ordering::SeqCst);
    }

    /// So many bytes a second go to clients; 0 is as fast as it goes.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.shared.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
    }

    /// How many bytes have gone to clients.
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// How many bytes have come from clients.
    pub fn bytes_up(&self) -> u64 {
        self.shared.up.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes up who accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            // One that has panicked has shown so.
            let _ = accepting.join();
        }
        self.shared.cut();
        for copier in std::mem::take(&mut *lock(&self.shared.copiers)) {
            let _ = copier.join();
        }
    }
}

impl Shared {
    fn cut(&self) {
        for stream in std::mem::take(&mut *lock(&self.streams)) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Counts bytes on their way to clients. Says how many of them still go before a cut.
    fn count_down(&self, bytes: usize) -> usize {
        let mut left = lock(&self.cut_after);
        let goes = left.map_or(bytes as u64, |left| left.min(bytes as u64));
        self.down.fetch_add(goes, Ordering::SeqCst);
        if let Some(left) = left.as_mut() {
            *left -= goes;
        }
        usize::try_from(goes).unwrap_or(bytes)
    }

    fn is_cut(&self) -> bool {
        let mut left = lock(&self.cut_after);
        let is_cut = *left == Some(0);
        if is_cut {
            *left = None;
        }
        is_cut
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let target = *lock(&shared.target);
        let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else {
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        for stream in [&client, &server] {
            // Without them it is only slower.
            let _ = stream.set_nodelay(true);
            let _ = stream.set_read_timeout(Some(LOOK_EVERY));
        }
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        lock(&shared.streams)
            .extend([client.try_clone(), server.try_clone()].into_iter().flatten());
        let mut copiers = lock(&shared.copiers);
        for (from, to, direction) in
            [(client, server, Direction::Up), (server_too, client_too, Direction::Down)]
        {
            let shared = Arc::clone(shared);
            copiers.push(thread::spawn(move || copy(from, to, direction, &shared)));
        }
    }
}

/// Copies until either end has had enough, and then ends both.
fn copy(mut from: TcpStream, mut to: TcpStream, direction: Direction, shared: &Shared) {
    let mut buffer = [0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        if shared.swallows.load(Ordering::SeqCst) {
            continue;
        }
        let holds = if direction == Direction::Up { &shared.holds_up } else { &shared.holds_down };
        while holds.load(Ordering::SeqCst) && !shared.is_over.load(Ordering::SeqCst) {
            thread::sleep(LOOK_EVERY);
        }
        let delay = shared.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            thread::sleep(Duration::from_millis(delay));
        }
        let mut goes = read;
        if direction == Direction::Down {
            goes = shared.count_down(read);
            let per_second = shared.bytes_per_second.load(Ordering::SeqCst);
            if let Some(micros) = (goes as u64 * 1_000_000).checked_div(per_second) {
                thread::sleep(Duration::from_micros(micros));
            }
        } else {
            shared.up.fetch_add(read as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..goes]).is_err() {
            break;
        }
        if direction == Direction::Down && shared.is_cut() {
            shared.cut();
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
