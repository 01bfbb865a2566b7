//! WebSockets on tokio; `wss` by rustls, with a provider that a C compiler alone can build.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use protocol::limits::SERVER_FRAME_BYTES_MAX;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use crate::error::Error;
use crate::ports::{Socket, SocketEvent, SocketEvents, Transport};

/// How much is read at once, in bytes. A load comes in batches of some hundred kilobytes.
const READ_BYTES: usize = 16 * 1024;

/// How much small frames are gathered for one write, in bytes.
const WRITE_BYTES: usize = 8 * 1024;

/// A larger frame goes in pieces of so many bytes.
const PIECE_BYTES: usize = 16 * 1024;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How many frames are gathered for one write.
const WRITES_AT_ONCE: usize = 64;

/// Dials these servers.
pub(crate) struct Native {
    servers: Vec<Uri>,
    roots: Vec<Vec<u8>>,
    /// Made when it is first needed: reading the system's certificates takes a while.
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, String>>>,
}

impl Native {
    /// # Errors
    /// [`Error::Config`] names the address that is none.
    pub(crate) fn new(
        given: &[String],
        addresses: &[String],
        roots: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let read = |(given, address): (&String, &String)| {
            let why = "it cannot be read";
            address.parse().map_err(|_| crate::config::no_address(given, why))
        };
        let servers = given.iter().zip(addresses).map(read).collect::<Result<_, _>>()?;
        Ok(Self { servers, roots, tls: Arc::default() })
    }
}

struct NativeSocket {
    frames: mpsc::UnboundedSender<Bytes>,
    task: JoinHandle<()>,
}

impl Socket for NativeSocket {
    fn send(&self, frame: Vec<u8>) {
        // One that has ended says so by itself.
        let _ = self.frames.send(frame.into());
    }
}

impl Drop for NativeSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Transport for Native {
    fn dial(&self, server: usize, events: SocketEvents) -> Box<dyn Socket> {
        let (frames, outgoing) = mpsc::unbounded_channel();
        let uri = self.servers[server % self.servers.len()].clone();
        let (roots, tls) = (self.roots.clone(), Arc::clone(&self.tls));
        let task = tokio::spawn(async move {
            let ended = serve(uri, roots, tls, outgoing, &events).await;
            let why = ended.err().unwrap_or_else(|| "the server has closed it".to_owned());
            // Whoever hung up listens no more.
            let _ = events.send(SocketEvent::Disconnected(why)).await;
        });
        Box::new(NativeSocket { frames, task })
    }
}

async fn serve(
    uri: Uri,
    roots: Vec<Vec<u8>>,
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, String>>>,
    outgoing: mpsc::UnboundedReceiver<Bytes>,
    events: &SocketEvents,
) -> Result<(), String> {
    let connector = match uri.scheme_str() {
        Some("wss") => {
            let made =
                tokio::task::spawn_blocking(move || tls.get_or_init(|| config(roots)).clone());
            Connector::Rustls(made.await.map_err(|error| error.to_string())??)
        }
        _ => Connector::Plain,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_message_size(Some(SERVER_FRAME_BYTES_MAX))
        .max_frame_size(Some(SERVER_FRAME_BYTES_MAX));
    let dialled = connect_async_tls_with_config(uri, Some(config), true, Some(connector));
    let (socket, _) = dialled.await.map_err(|error| error.to_string())?;
    if events.send(SocketEvent::Connected).await.is_err() {
        return Ok(());
    }
    talk(socket, outgoing, events).await
}

async fn talk(
    socket: Stream,
    outgoing: mpsc::UnboundedReceiver<Bytes>,
    events: &SocketEvents,
) -> Result<(), String> {
    let (sink, stream) = socket.split();
    // Side by side: what comes does not wait for what goes.
    select! {
        ended = write(sink, outgoing) => ended.map_err(|error| error.to_string()),
        ended = read(stream, events) => ended,
    }
}

async fn write(
    mut sink: SplitSink<Stream, Message>,
    mut outgoing: mpsc::UnboundedReceiver<Bytes>,
) -> Result<(), tungstenite::Error> {
    let mut frames = Vec::new();
    while outgoing.recv_many(&mut frames, WRITES_AT_ONCE).await > 0 {
        for mut frame in frames.drain(..) {
            if frame.len() <= PIECE_BYTES {
                sink.feed(Message::Binary(frame)).await?;
                continue;
            }
            // A sign of life fits between the pieces, however slow the network is.
            let mut kind = Data::Binary;
            while !frame.is_empty() {
                let piece = frame.split_to(frame.len().min(PIECE_BYTES));
                let piece = Frame::message(piece, OpCode::Data(kind), frame.is_empty());
                sink.send(Message::Frame(piece)).await?;
                kind = Data::Continue;
            }
        }
        sink.flush().await?;
    }
    Ok(())
}

async fn read(mut stream: SplitStream<Stream>, events: &SocketEvents) -> Result<(), String> {
    loop {
        let bytes = match stream.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Text(_))) => return Err("the server sent text".to_owned()),
            Some(Ok(Message::Close(_))) | None => return Ok(()),
            Some(Err(error)) => return Err(error.to_string()),
        };
        if let Some(event) = SocketEvent::received(&bytes)?
            && events.send(event).await.is_err()
        {
            return Ok(());
        }
    }
}

fn config(roots: Vec<Vec<u8>>) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    // What of the system cannot be read is left out.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in roots {
        let added = store.add(CertificateDer::from(root));
        added.map_err(|error| format!("a root certificate cannot be read: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
