//! `SNOWFLAKE_ID()` and `UUID_V7()`: numbers that grow with time and that nobody else gets.

use std::sync::{Mutex, PoisonError};

use protocol::error_code::ErrorCode;
use protocol::value::Value;
use server_engine::Time;

use crate::error::SqlError;

/// Snowflake ids count milliseconds from 2024-01-01T00:00:00Z, so that they last until 2093.
const SNOWFLAKE_EPOCH_MS: u64 = 1_704_067_200_000;

const NODE_BITS: u32 = 10;
const COUNT_BITS: u32 = 12;

/// Makes ids on one node.
#[derive(Debug)]
pub(crate) struct Ids {
    node: u64,
    /// Milliseconds and count of the last snowflake id, as one number.
    last: Mutex<u64>,
}

impl Ids {
    /// `node` tells nodes apart; 10 bits of it are used.
    pub(crate) fn new(node: u64) -> Self {
        Self { node: node & ((1 << NODE_BITS) - 1), last: Mutex::new(0) }
    }

    /// 41 bits of milliseconds, 10 of the node, 12 of a count (the layout of Twitter's Snowflake).
    /// It grows strictly, also when the clock goes back or 4,096 are not enough for a millisecond.
    pub(crate) fn snowflake(&self, now: Time) -> Value {
        let ms = u64::try_from(now.0 / 1_000).unwrap_or(0).saturating_sub(SNOWFLAKE_EPOCH_MS);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last + 1).max(ms << COUNT_BITS);
        let (ms, count) = (*last >> COUNT_BITS, *last & ((1 << COUNT_BITS) - 1));
        let id = (ms << (NODE_BITS + COUNT_BITS)) | (self.node << COUNT_BITS) | count;
        Value::Integer(id.cast_signed() & i64::MAX)
    }

    /// Milliseconds and 74 random bits (RFC 9562, section 5.7).
    ///
    /// # Errors
    /// `internal` when the system gives no random numbers.
    pub(crate) fn uuid_v7(&self, now: Time) -> Result<Value, SqlError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            tracing::error!(%error, "the system gives no random numbers");
            SqlError::new(ErrorCode::Internal, "the server could not make a UUID: try again")
        })?;
        let ms = u64::try_from(now.0 / 1_000).unwrap_or(0);
        bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Ok(Value::Uuid(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snowflake_ids_grow_though_the_clock_does_not() {
        let ids = Ids::new(0xffff);
        let id = |micros| match ids.snowflake(Time(micros)) {
            Value::Integer(id) => id,
            other => panic!("{other:?}"),
        };
        let now = 1_800_000_000_000_000;
        let first = id(now);
        assert_eq!((first >> 12) & 0x3ff, 0x3ff, "the node is in it");
        assert_eq!(first >> 22, 1_800_000_000_000 - 1_704_067_200_000, "so is the time");
        let mut last = first;
        for _ in 0..10_000 {
            let next = id(now - 5_000_000);
            assert!(next > last);
            last = next;
        }
        assert!(id(i64::MIN) > last && id(i64::MAX) > 0);
    }

    #[test]
    fn a_uuid_of_version_7_begins_with_the_time() {
        let ids = Ids::new(1);
        let Ok(Value::Uuid(uuid)) = ids.uuid_v7(Time(0x0123_4567_89ab * 1_000)) else {
            panic!("no UUID")
        };
        assert_eq!(uuid[..6], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (7, 2));
        assert_ne!(ids.uuid_v7(Time(0)), ids.uuid_v7(Time(0)));
    }
}
