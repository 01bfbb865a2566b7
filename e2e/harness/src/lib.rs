//! Real servers for end-to-end tests: started on a free port with a data directory of their own,
//! asked over HTTP, killed and started again.
//!
//! What goes wrong in here ends the test, with a sentence. At the end of a [`Home`] the server's
//! log is read: a line of level WARN or ERROR that the test did not expect fails it.
//!
//! | to find | look in |
//! | --- | --- |
//! | the data directory, the log, tokens | `home.rs` |
//! | a running process | `server.rs`; which binary that is: `binary.rs` |
//! | the programs of `examples/chat`, as processes | `chat.rs` |
//! | requests and typed answers | `client.rs` |
//! | a network that breaks | `proxy.rs` |
//! | requests of a web page | `web.rs` |

mod binary;
mod chat;
mod client;
mod home;
mod proxy;
mod server;
mod web;

pub use binary::binary;
pub use chat::{Chat, ChatCommand, chat, sign_in};
pub use client::{Answer, Client, Failure, Refusal};
pub use home::{Home, Role};
pub use proxy::Proxy;
pub use server::{Ended, Server};
pub use web::{Page, ask};
