#![doc = include_str!("../README.md")]
//!
//! | to find | look in |
//! | --- | --- |
//! | what applications call | `client.rs`, `subscription.rs`, `watch.rs`, `diff.rs`, `mutation.rs`, `written.rs`, `rejection.rs`, `transaction.rs`, `rows.rs`, `verify.rs` |
//! | how a client is set up, and how it is; what it may write at most | `config.rs`, `status.rs`, `error.rs`; `limits.rs` |
//! | the loop behind it | `driver.rs` and below; what it is told: `command.rs` |
//! | local queries | `readers.rs`, `driver/watches.rs` |
//! | sockets, and clocks | `ports.rs`, `transport/native.rs`; `platform.rs` |
//! | the sync logic, without I/O | the crate `sdk-machine` |
//! | the file | the crate `sdk-replica` |

mod client;
mod command;
mod config;
mod diff;
mod driver;
mod error;
mod incident;
pub mod limits;
mod mutation;
mod platform;
#[doc(hidden)]
pub mod ports;
mod readers;
mod rejection;
mod rows;
mod status;
mod storage;
mod subscription;
mod sync;
mod transaction;
mod transport;
mod verify;
mod watch;
mod written;

pub use client::{Client, Overview, RemoteAnswer, RemoteOptions};
pub use command::SignOut;
pub use config::{Config, LogLevel, TokenError, TokenFuture};
pub use diff::{Diff, FromTo};
pub use error::Error;
pub use incident::{Incident, StalledPart};
pub use mutation::{Answer, Mutation};
pub use protocol::error_code::ErrorCode;
pub use protocol::frame::v1::{Position, SqlColumn};
#[doc(hidden)]
pub use protocol::literal::uuid_text;
pub use protocol::value::{ColumnType, Value};
pub use rejection::{OperationKind, RejectedOperation, Rejection, ServerRow};
pub use rows::{FromValue, Row, Rows};
pub use sdk_machine::SubscriptionState;
pub use sdk_replica::{
    Change, Expect, MutationId, OnReject, Request, Rescued, TableStorage, WriteOptions,
};
pub use status::{ResultState, Status, StatusReason, StatusWord};
pub use storage::{Storage, SubscriptionStorage};
pub use subscription::{Progress, SubscribeOptions, Subscription};
pub use sync::Unsynced;
pub use transaction::{Statement, Transaction};
pub use verify::{Mismatch, Verdict, Verifications};
pub use watch::{Watch, WatchOptions, WatchResult};
pub use written::{MutationState, Pending, PendingMutation};
