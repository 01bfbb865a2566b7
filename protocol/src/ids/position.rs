use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The last number that every language's numbers hold exactly.
const MAX: u64 = (1 << 53) - 1;

/// Not a position.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} is not a position: positions and mutation numbers lie below 2^53")]
pub struct PositionError(u64);

/// Defines a number that counts without a hole, lies below 2^53, and is 0 before the first.
macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);
            /// The last one: counted a million times a second, it comes after 285 years.
            pub const MAX: Self = Self(MAX);

            /// Accepts `number`.
            ///
            /// # Errors
            /// [`PositionError`] when it is 2^53 or more.
            pub const fn new(number: u64) -> Result<Self, PositionError> {
                if number > MAX { Err(PositionError(number)) } else { Ok(Self(number)) }
            }

            /// The number itself.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            ///
            /// # Panics
            /// Behind [`Self::MAX`]: no order ever starts anew.
            #[must_use]
            pub fn next(self) -> Self {
                assert!(self < Self::MAX, "all 2^53 numbers are used");
                Self(self.0 + 1)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = PositionError;

            fn try_from(number: u64) -> Result<Self, PositionError> {
                Self::new(number)
            }
        }

        impl From<$name> for u64 {
            fn from(position: $name) -> Self {
                position.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

position! {
    /// A position in a lane's order of row changes: the n-th change of the lane has SeqId n. Dense
    /// and strictly increasing; 0 is the position before the first change.
    SeqId
}

position! {
    /// Numbers the mutations of one client in one lane: 1, 2, 3, … without a hole. As "the last
    /// decided one" it is 0 before the first.
    MutationNumber
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
