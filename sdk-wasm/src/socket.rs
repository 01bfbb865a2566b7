//! Sockets of the browser.
//!
//! It answers pings itself, and has nothing to hold back a server by. While the worker is busy what has come
//! waits in the browser, and then the network waits. While the core waits for the code of a transaction
//! it waits here, up to a limit.

use std::cell::Cell;
use std::rc::Rc;

use futures::future::{Either, select};
use futures::pin_mut;
use js_sys::{ArrayBuffer, Uint8Array};
use sdk_core::ports::{Socket, SocketEvent, SocketEvents, Transport};
use tokio::sync::mpsc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::spawn_local;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

/// How much may have come that nobody has taken, in bytes. Beyond that the socket is closed, and another
/// one goes on from what is stored.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Dials these servers.
pub(crate) struct Web(pub(crate) Vec<String>);

impl Transport for Web {
    fn dial(&self, server: usize, events: SocketEvents) -> Box<dyn Socket> {
        let (frames, outgoing) = mpsc::unbounded_channel();
        let address = self.0[server % self.0.len()].clone();
        spawn_local(async move {
            let why = match serve(&address, outgoing, &events).await {
                Ok(()) => "hung up".to_owned(),
                Err(why) => why,
            };
            // Whoever hung up listens no more.
            let _ = events.send(SocketEvent::Disconnected(why)).await;
        });
        Box::new(WebSocketHandle(frames))
    }
}

/// The socket is closed when this is dropped.
struct WebSocketHandle(mpsc::UnboundedSender<Vec<u8>>);

impl Socket for WebSocketHandle {
    fn send(&self, frame: Vec<u8>) {
        // One that has ended says so by itself.
        let _ = self.0.send(frame);
    }
}

/// What the browser tells of it.
enum Told {
    Open,
    Frame(Vec<u8>),
    Text,
    Closed(String),
}

/// A socket with those who listen to it. It is closed, and nobody listens, when this is dropped.
struct Open {
    socket: WebSocket,
    told: mpsc::UnboundedReceiver<Told>,
    /// The bytes of frames that nobody has taken.
    waiting: Rc<Cell<usize>>,
    _opened: Closure<dyn FnMut(Event)>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _closed: Closure<dyn FnMut(CloseEvent)>,
}

impl Open {
    fn new(address: &str) -> Result<Self, String> {
        let socket = WebSocket::new(address).map_err(|error| format!("{address}: {error:?}"))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let (tell, told) = mpsc::unbounded_channel();
        // Whoever listens goes after the socket, so all that is told is heard.
        let to = tell.clone();
        let opened = Closure::new(move |_: Event| drop(to.send(Told::Open)));
        let to = tell.clone();
        let waiting = Rc::<Cell<usize>>::default();
        let more = Rc::clone(&waiting);
        let message = Closure::new(move |message: MessageEvent| {
            let told = match message.data().dyn_into::<ArrayBuffer>() {
                Ok(frame) => {
                    let frame = Uint8Array::new(&frame);
                    more.set(more.get() + frame.length() as usize);
                    match more.get() <= WAITING_BYTES_MAX {
                        true => Told::Frame(frame.to_vec()),
                        false => Told::Closed("more has come than can wait".to_owned()),
                    }
                }
                Err(_) => Told::Text,
            };
            drop(to.send(told));
        });
        let closed = Closure::new(move |event: CloseEvent| {
            let reason = event.reason();
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            drop(tell.send(Told::Closed(format!("closed with {}{reason}", event.code()))));
        });
        socket.set_onopen(Some(opened.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(closed.as_ref().unchecked_ref()));
        Ok(Self { socket, told, waiting, _opened: opened, _message: message, _closed: closed })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // It may be closed already.
        let _ = self.socket.close();
    }
}

async fn serve(
    address: &str,
    outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    events: &SocketEvents,
) -> Result<(), String> {
    let mut open = Open::new(address)?;
    let socket = open.socket.clone();
    // Side by side: what comes does not wait for what goes.
    let (read, write) = (read(&mut open, events), write(&socket, outgoing));
    pin_mut!(read, write);
    match select(read, write).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}

async fn read(open: &mut Open, events: &SocketEvents) -> Result<(), String> {
    while let Some(told) = open.told.recv().await {
        let event = match told {
            Told::Open => Some(SocketEvent::Connected),
            Told::Frame(bytes) => {
                open.waiting.set(open.waiting.get().saturating_sub(bytes.len()));
                SocketEvent::received(&bytes)?
            }
            Told::Text => return Err("the server sent text".to_owned()),
            Told::Closed(why) => return Err(why),
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Ends when the handle is dropped.
async fn write(
    socket: &WebSocket,
    mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<(), String> {
    while let Some(frame) = outgoing.recv().await {
        socket.send_with_u8_array(&frame).map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}
