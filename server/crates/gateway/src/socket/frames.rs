//! What a client says, and what it is told when that was wrong.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, Goodbye, Received, read_client};
use protocol::limits::CLIENT_FRAME_BYTES_MAX;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::limits::{SOCKET_PIECE_BYTES, STOP_SPREAD_MS};

/// Why a connection ends.
pub(super) enum End {
    /// The client is gone.
    Gone,
    /// The client has said that it ends it.
    Closed,
    /// It is told this.
    Goodbye(Box<Goodbye>),
}

impl From<Goodbye> for End {
    fn from(goodbye: Goodbye) -> Self {
        Self::Goodbye(Box::new(goodbye))
    }
}

pub(super) type Socket = WebSocketStream<TcpStream>;

/// What came from a client.
pub(super) enum Heard {
    /// A frame.
    Frame(Bytes),
    /// A sign of life.
    Life,
}

/// The next message.
///
/// # Cancel safety
/// Nothing is lost: what has come in part stays in the socket.
pub(super) async fn next(socket: &mut Socket) -> Result<Heard, End> {
    match socket.next().await {
        Some(Ok(Message::Binary(bytes))) => Ok(Heard::Frame(bytes)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Heard::Life),
        Some(Ok(Message::Text(_))) => {
            let told = "messages are binary, a MessagePack frame each: send no text";
            Err(said(ErrorCode::InvalidRequest, told).into())
        }
        Some(Err(Error::Capacity(_))) => {
            let told = format!("a frame has at most {CLIENT_FRAME_BYTES_MAX} bytes: send less");
            Err(said(ErrorCode::TooLarge, told).into())
        }
        Some(Err(Error::Protocol(_) | Error::Utf8(_))) => {
            let told = "these bytes are no WebSocket messages: connect again";
            Err(said(ErrorCode::InvalidRequest, told).into())
        }
        Some(Ok(Message::Close(_))) => Err(End::Closed),
        Some(Err(_)) | None => Err(End::Gone),
    }
}

/// Puts a frame on its way to a client: a large one in pieces, which are one message for it.
pub(super) async fn feed(socket: &mut Socket, mut frame: Bytes) -> Result<(), Error> {
    if frame.len() <= SOCKET_PIECE_BYTES {
        return socket.feed(Message::Binary(frame)).await;
    }
    let mut kind = Data::Binary;
    while !frame.is_empty() {
        let piece = frame.split_to(frame.len().min(SOCKET_PIECE_BYTES));
        let piece = Frame::message(piece, OpCode::Data(kind), frame.is_empty());
        socket.feed(Message::Frame(piece)).await?;
        kind = Data::Continue;
    }
    Ok(())
}

/// The frame that these bytes are.
pub(super) fn read(bytes: &[u8]) -> Result<Received<ClientFrame>, Goodbye> {
    read_client(bytes).map_err(|error| said(error.code(), error.to_string()))
}

pub(super) fn said(code: ErrorCode, message: impl Into<String>) -> Goodbye {
    Goodbye { code, message: message.into(), retry_after_ms: None }
}

pub(super) fn expired() -> Goodbye {
    said(ErrorCode::NeedsAuth, "the token has expired: connect with a new one")
}

/// The server stops. Not all shall come back at the same moment.
pub(super) fn stops() -> Goodbye {
    let chance = getrandom::u64().unwrap_or_default();
    Goodbye {
        code: ErrorCode::Offline,
        message: "the server stops: connect again in a moment".to_owned(),
        retry_after_ms: Some(chance % STOP_SPREAD_MS),
    }
}
