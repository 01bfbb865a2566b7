use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A position in a lane's order of row changes: the n-th change of the lane has SeqId n.
///
/// Dense, strictly increasing, and below 2^53, so that every language's numbers hold it exactly.
/// 0 is the position before the first change.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct SeqId(u64);

impl SeqId {
    /// The position before the first change.
    pub const ZERO: Self = Self(0);
    /// The last position: a lane written a million times a second gets there after 285 years.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Accepts `number` as a position.
    ///
    /// # Errors
    /// [`PositionError`] when it is 2^53 or more.
    pub const fn new(number: u64) -> Result<Self, PositionError> {
        if number > Self::MAX.0 { Err(PositionError(number)) } else { Ok(Self(number)) }
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next position.
    ///
    /// # Panics
    /// Behind [`SeqId::MAX`]: a lane's order must never start anew.
    #[must_use]
    pub fn next(self) -> Self {
        assert!(self < Self::MAX, "the lane has used all of its 2^53 positions");
        Self(self.0 + 1)
    }
}

/// The SeqId of the change that created a row. The row keeps it until it is deleted; a row that is
/// inserted again is a new birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Birth(pub SeqId);

/// The birth down to which a subscription has been loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Floor(pub SeqId);

impl Floor {
    /// Everything is loaded.
    pub const COMPLETE: Self = Self(SeqId::ZERO);

    /// Whether a row of this birth lies in the loaded part.
    pub fn holds(self, birth: Birth) -> bool {
        birth.0 >= self.0
    }
}

/// Numbers the mutations of one client in one lane: 1, 2, 3, … without a hole. The wire carries
/// the last decided one, which is 0 before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct MutationNumber(u64);

impl MutationNumber {
    /// The number before the first mutation.
    pub const ZERO: Self = Self(0);

    /// Accepts `number`.
    ///
    /// # Errors
    /// [`PositionError`] when it is 2^53 or more.
    pub const fn new(number: u64) -> Result<Self, PositionError> {
        if number > SeqId::MAX.0 { Err(PositionError(number)) } else { Ok(Self(number)) }
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the mutation after this one.
    ///
    /// # Panics
    /// Behind 2^53 mutations of one client.
    #[must_use]
    pub fn next(self) -> Self {
        assert!(self.0 < SeqId::MAX.0, "the client has used all of its 2^53 mutation numbers");
        Self(self.0 + 1)
    }
}

/// A number that is no position.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} is not a position: positions and mutation numbers lie below 2^53")]
pub struct PositionError(u64);

impl TryFrom<u64> for SeqId {
    type Error = PositionError;

    fn try_from(number: u64) -> Result<Self, PositionError> {
        Self::new(number)
    }
}

impl From<SeqId> for u64 {
    fn from(seq: SeqId) -> Self {
        seq.0
    }
}

impl TryFrom<u64> for MutationNumber {
    type Error = PositionError;

    fn try_from(number: u64) -> Result<Self, PositionError> {
        Self::new(number)
    }
}

impl From<MutationNumber> for u64 {
    fn from(number: MutationNumber) -> Self {
        number.0
    }
}

impl fmt::Display for SeqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MutationNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_end_where_a_double_would_round() {
        assert_eq!(SeqId::MAX.get(), 9_007_199_254_740_991);
        assert!(SeqId::new(1 << 53).is_err());
        assert!(MutationNumber::new(1 << 53).is_err());
        assert_eq!(SeqId::ZERO.next(), SeqId::new(1).unwrap());
    }

    #[test]
    #[should_panic(expected = "2^53")]
    fn the_order_of_a_lane_never_starts_anew() {
        let _ = SeqId::MAX.next();
    }

    #[test]
    fn a_floor_holds_the_row_born_at_it() {
        let at = |n| SeqId::new(n).unwrap();
        assert!(Floor(at(5)).holds(Birth(at(5))));
        assert!(!Floor(at(5)).holds(Birth(at(4))));
        assert!(Floor::COMPLETE.holds(Birth(at(1))));
    }
}
