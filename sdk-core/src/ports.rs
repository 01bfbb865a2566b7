//! What a platform provides: sockets, and files where there is no file system. For the SDKs of other
//! languages; applications have no use for it.

use protocol::frame::v1::{Received, ServerFrame, read_server};
pub use sdk_replica::{Pool, PoolError};
use tokio::sync::mpsc;

/// What comes of a socket.
#[derive(Debug)]
pub enum SocketEvent {
    /// It is open.
    Connected,
    /// A frame has come.
    Frame(Box<ServerFrame>),
    /// It is closed, or could not be opened. Why, for the log.
    Disconnected(String),
}

impl SocketEvent {
    /// Bytes have come, which are a frame. Nothing when it is one of a later version.
    ///
    /// # Errors
    /// Why they are none.
    pub fn received(bytes: &[u8]) -> Result<Option<Self>, String> {
        match read_server(bytes).map_err(|error| error.to_string())? {
            Received::Known(frame) => Ok(Some(Self::Frame(Box::new(frame)))),
            Received::Unknown { .. } => Ok(None),
        }
    }
}

/// Where the events of one socket go, in order. There is room for a few: when nobody takes them,
/// nothing more is read from the network.
pub type SocketEvents = mpsc::Sender<SocketEvent>;

/// Opens sockets.
pub trait Transport: Send {
    /// Begins to open one, to one of the servers. Dropping it closes it.
    fn dial(&self, server: usize, events: SocketEvents) -> Box<dyn Socket>;
}

/// A socket.
pub trait Socket: Send {
    /// Sends a frame behind those before it.
    fn send(&self, frame: Vec<u8>);
}
