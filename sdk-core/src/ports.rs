//! What a platform provides: sockets. Tests and browsers have their own.

use protocol::frame::v1::ServerFrame;
use tokio::sync::mpsc;

/// What comes of a socket.
#[derive(Debug)]
pub(crate) enum SocketEvent {
    /// It is open.
    Connected,
    /// A frame has come.
    Frame(Box<ServerFrame>),
    /// It is closed, or could not be opened. Why, for the log.
    Disconnected(String),
}

/// Where the events of one socket go, in order. There is room for a few: when nobody takes them,
/// nothing more is read from the network.
pub(crate) type SocketEvents = mpsc::Sender<SocketEvent>;

/// Opens sockets.
pub(crate) trait Transport: Send {
    /// Begins to open one, to one of the servers. Dropping it closes it.
    fn dial(&self, server: usize, events: SocketEvents) -> Box<dyn Socket>;
}

/// A socket.
pub(crate) trait Socket: Send {
    /// Sends a frame behind those before it.
    fn send(&self, frame: Vec<u8>);
}
