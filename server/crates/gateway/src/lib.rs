//! The sockets: HTTP in, typed calls out.
//!
//! A request is authenticated, bounded and parsed here, and what it asks for is a call of a port;
//! what is behind the ports is somebody else's. Nothing that comes in through a socket ends the
//! process, waits forever, or takes more memory than [`Limits`] says. This is the only crate that
//! names axum and hyper.
//!
//! | to find | look in |
//! | --- | --- |
//! | what the rest of the server provides | `ports.rs` |
//! | how much anything may be, and what happens then | `limits.rs` |
//! | every route, and what surrounds it | `router.rs`, `http/observe.rs` |
//! | who is asking: tokens | `auth.rs`, and the one algorithm: `auth/hs256.rs` |
//! | the bytes of a body → a statement | `http/body.rs`, `http/statement.rs` |
//! | running it | `http/sql.rs` |
//! | rows → the bytes of an answer | `http/answer.rs` |
//! | why there is none | `error.rs` |
//! | files of a web application | `files.rs` |
//! | live connections | `socket.rs` and below |
//! | connections, their bounds and their end | `server.rs`, `server/connection.rs`, `server/timed.rs` |

mod auth;
mod error;
mod files;
mod gateway;
mod http;
mod limits;
mod ports;
mod router;
mod server;
mod socket;

pub use auth::{Caller, Role, SigningKey};
pub use error::{FilesError, KeyError, SqlError};
pub use files::Files;
pub use limits::Limits;
pub use ports::{
    Clock, HealthPort, LiveConnection, LiveFuture, Param, Ports, Position, Readiness, SqlAnswer,
    SqlColumn, SqlFuture, SqlPort, SqlRequest, SubscriptionPort,
};
pub use server::serve;
pub use socket::SendQueue;
