//! `SNOWFLAKE_ID()` and `UUID_V7()` on one node.

use std::sync::{Mutex, PoisonError};

use protocol::error_code::ErrorCode;
use protocol::generated::{Snowflakes, uuid_v7};
use protocol::value::Value;
use server_engine::Time;

use crate::error::SqlError;

/// Makes ids on one node.
#[derive(Debug)]
pub(crate) struct Ids(Mutex<Snowflakes>);

impl Ids {
    /// `node` tells nodes apart; 10 bits of it are used.
    pub(crate) fn new(node: u64) -> Self {
        Self(Mutex::new(Snowflakes::new(node)))
    }

    pub(crate) fn snowflake(&self, now: Time) -> Value {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Value::Integer(ids.next(now.0))
    }

    /// # Errors
    /// `internal` when the system gives no random numbers.
    pub(crate) fn uuid_v7(&self, now: Time) -> Result<Value, SqlError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the system gives no random numbers");
            SqlError::new(ErrorCode::Internal, "the server could not make a UUID: try again")
        })?;
        Ok(Value::Uuid(uuid_v7(now.0, random)))
    }
}
