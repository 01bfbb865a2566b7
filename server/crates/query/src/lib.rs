//! SQL: statements become guarded row operations, or rows.
//!
//! A statement that writes is planned from one look at the rows into operations, each guarded by
//! what was read, and goes through the log like every other write. A SELECT runs in DataFusion,
//! which nobody else names, on rows that the engine streams.
//!
//! | to find | look in |
//! | --- | --- |
//! | what goes in and comes out | `request.rs`, `error.rs`; its bounds: `limits.rs`, `settings.rs` |
//! | what is needed of the shards | `ports.rs` |
//! | from a request to its answer | `sql.rs`, `running.rs` |
//! | which statements there are | `statement.rs` |
//! | those that come again | `statements.rs` |
//! | namespaces and tables | `ddl.rs` |
//! | `INSERT` | `insert.rs`; `UPDATE`, `DELETE`: `change.rs`; `SET …`: `assign.rs` |
//! | plan, guard, and plan again | `write.rs`, `latch.rs` |
//! | conditions | `compile.rs`; which rows they leave to be read: `path.rs` |
//! | literals, parameters, `NOW()` and the like | `constant.rs`, `ids.rs` |
//! | subscriptions | `subscribe.rs` |
//! | what a client is told of tables | `allowed.rs` |
//! | `SELECT` | `select.rs`; system tables: `system.rs` |

mod error;
mod limits;
mod ports;
mod request;
mod running;
mod settings;
mod sql;
mod statement;
mod statements;
mod table;

mod ddl;

mod assign;
mod change;
mod insert;
mod latch;
mod write;

mod compile;
mod constant;
mod ids;
mod path;

mod allowed;
mod subscribe;

mod select;
mod system;

pub use allowed::allowed_tables;
pub use error::SqlError;
pub use limits::{JOINED_ROWS_MAX, PARAMS_MAX, SQL_BYTES_MAX, STACK_BYTES};
pub use ports::{LiveQueries, RunningQuery, ShardError, Shards, TooBusy};
pub use request::{Answer, Param, Position, Request, ResultColumn};
pub use settings::Settings;
pub use sql::Sql;
pub use subscribe::Subscribed;
