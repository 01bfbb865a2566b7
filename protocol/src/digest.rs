//! Whether both ends of a subscription have the same rows.
//!
//! Each computes a digest from its own storage. It does not matter in which order rows are found, so
//! neither has to sort: the hashes of the rows are added up.

use xxhash_rust::xxh3::xxh3_128;

use crate::codec;
use crate::ids::{Birth, RowsSum};
use crate::value::Row;

/// How many rows there are, and the sum of their hashes modulo 2^128.
///
/// The hash of a row is XXH3 with 128 bits and without a seed, of the bytes of `[birth, [values…]]` as
/// [`codec::encode`] writes them. It finds what went wrong, and nobody gains by forging it: both
/// ends are the client's own.
///
/// # Example
/// ```
/// use protocol::digest::RowsDigest;
/// use protocol::ids::{Birth, SeqId};
/// use protocol::value::{Row, Value};
///
/// let row = |id: i64| [Value::Integer(id), Value::Null].into_iter().collect::<Row>();
/// let (one, two) = (Birth(SeqId::new(7)?), Birth(SeqId::new(12)?));
/// let (mut there, mut back) = (RowsDigest::default(), RowsDigest::default());
/// there.add(one, &row(1));
/// there.add(two, &row(2));
/// back.add(two, &row(2));
/// back.add(one, &row(1));
/// assert_eq!(there, back);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsDigest {
    /// How many rows.
    pub rows: u64,
    /// The sum of their hashes, the most significant byte first.
    pub sum: RowsSum,
}

impl RowsDigest {
    /// One more row.
    pub fn add(&mut self, birth: Birth, values: &Row) {
        let hash = xxh3_128(&codec::encode(&(birth, values)));
        let sum = u128::from_be_bytes(*self.sum.as_bytes()).wrapping_add(hash);
        self.sum = RowsSum::from_bytes(sum.to_be_bytes());
        self.rows = self.rows.saturating_add(1);
    }

    /// One more row, whose values are none that a row can have. No other end has it.
    pub fn add_unreadable(&mut self) {
        self.rows = self.rows.saturating_add(1);
    }
}

impl Default for RowsDigest {
    fn default() -> Self {
        Self { rows: 0, sum: RowsSum::from_bytes([0; 16]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SeqId;
    use crate::value::Value;

    fn of(rows: &[(u64, Row)]) -> RowsDigest {
        let mut digest = RowsDigest::default();
        for (birth, row) in rows {
            digest.add(Birth(SeqId::new(*birth).unwrap()), row);
        }
        digest
    }

    fn row(id: i64, text: &str) -> Row {
        [Value::Integer(id), Value::text(text).unwrap()].into_iter().collect()
    }

    /// The example of `docs/PROTOCOL.md`, by which other clients see that theirs is the same.
    #[test]
    fn the_sum_is_that_of_the_document() {
        let digest = of(&[(7, row(1, "a")), (12, row(2, "b"))]);
        assert_eq!(
            codec::encode(&(Birth(SeqId::new(7).unwrap()), row(1, "a"))),
            b"\x92\x07\x92\x01\xa1a"
        );
        assert_eq!(digest.rows, 2);
        let document = include_str!("../../docs/PROTOCOL.md");
        for rows in
            [&[(7, row(1, "a"))][..], &[(12, row(2, "b"))], &[(7, row(1, "a")), (12, row(2, "b"))]]
        {
            let sum = of(rows).sum.to_string();
            assert!(document.contains(&format!("`{sum}`")), "docs/PROTOCOL.md has not {sum}");
        }
    }

    #[test]
    fn the_order_does_not_matter_and_everything_else_does() {
        let (one, two) = ((7, row(1, "a")), (12, row(2, "b")));
        let digest = of(&[one.clone(), two.clone()]);
        assert_eq!(of(&[two.clone(), one.clone()]), digest);
        for other in [
            vec![one.clone()],
            vec![one.clone(), two.clone(), two.clone()],
            vec![one.clone(), (13, two.1.clone())],
            vec![one.clone(), (12, row(2, "c"))],
            vec![(7, two.1), (12, one.1)],
        ] {
            assert_ne!(of(&other), digest);
        }
        let mut unreadable = of(&[(7, row(1, "a"))]);
        unreadable.add_unreadable();
        assert_ne!(unreadable, digest);
    }
}
