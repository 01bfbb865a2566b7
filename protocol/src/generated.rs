//! What `SNOWFLAKE_ID()` and `UUID_V7()` give, on servers and on devices: numbers that grow with
//! time and that nobody else gets. Times are microseconds since 1970, UTC.

/// Snowflake ids count milliseconds from 2024-01-01T00:00:00Z, so that they last until 2093.
const SNOWFLAKE_EPOCH_MS: u64 = 1_704_067_200_000;

const NODE_BITS: u32 = 10;
const COUNT_BITS: u32 = 12;

/// Makes snowflake ids in one place.
#[derive(Clone, Debug)]
pub struct Snowflakes {
    node: u64,
    /// Milliseconds and count of the last id, as one number.
    last: u64,
}

impl Snowflakes {
    /// `node` tells places apart; 10 bits of it are used.
    pub fn new(node: u64) -> Self {
        Self { node: node & ((1 << NODE_BITS) - 1), last: 0 }
    }

    /// 41 bits of milliseconds, 10 of the node, 12 of a count (the layout of Twitter's Snowflake).
    /// It grows strictly, also when the clock goes back or 4,096 are not enough for a millisecond.
    pub fn next(&mut self, now: i64) -> i64 {
        let ms = u64::try_from(now / 1_000).unwrap_or(0).saturating_sub(SNOWFLAKE_EPOCH_MS);
        self.last = (self.last + 1).max(ms << COUNT_BITS);
        let (ms, count) = (self.last >> COUNT_BITS, self.last & ((1 << COUNT_BITS) - 1));
        let id = (ms << (NODE_BITS + COUNT_BITS)) | (self.node << COUNT_BITS) | count;
        id.cast_signed() & i64::MAX
    }
}

/// A UUID of version 7 (RFC 9562, section 5.7): milliseconds, and 74 of these random bits.
pub fn uuid_v7(now: i64, mut random: [u8; 16]) -> [u8; 16] {
    let ms = u64::try_from(now / 1_000).unwrap_or(0);
    random[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    random[6] = 0x70 | (random[6] & 0x0f);
    random[8] = 0x80 | (random[8] & 0x3f);
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snowflake_ids_grow_though_the_clock_does_not() {
        let mut ids = Snowflakes::new(0xffff);
        let now = 1_800_000_000_000_000;
        let first = ids.next(now);
        assert_eq!((first >> 12) & 0x3ff, 0x3ff, "the node is in it");
        assert_eq!(first >> 22, 1_800_000_000_000 - 1_704_067_200_000, "so is the time");
        let mut last = first;
        for _ in 0..10_000 {
            let next = ids.next(now - 5_000_000);
            assert!(next > last);
            last = next;
        }
        assert!(ids.next(i64::MIN) > last && ids.next(i64::MAX) > 0);
    }

    #[test]
    fn a_uuid_of_version_7_begins_with_the_time() {
        let uuid = uuid_v7(0x0123_4567_89ab * 1_000, [0xff; 16]);
        assert_eq!(uuid[..6], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (7, 2));
        assert_eq!(uuid[9..], [0xff; 7]);
    }
}
