//! Whether what is here is what the server has.

use protocol::ids::{Birth, Floor};
use sdk_machine as machine;

/// What came of comparing a subscription with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All rows that are loaded are as the server has them.
    Equal {
        /// How many there are.
        rows: u64,
    },
    /// Some are not. The subscription is loaded anew by itself: see [`Mismatch`].
    Different(Mismatch),
    /// The table has a time to live. Its rows go at another time on each end, so they are not compared.
    Expiring,
}

/// Rows were not as the server had them. They are loaded anew, which mends it here; that it happened is
/// a defect of a disk or of this software, so tell whoever can look at it. It has no row in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// `namespace.table`.
    pub table: String,
    /// The subscription, as it was asked for, without the values of its parameters.
    pub sql: String,
    /// It is about the rows that were born from there on (`_seq`),
    pub from: u64,
    /// and before; the last born ones without.
    pub below: Option<u64>,
    /// How many of them were here.
    pub rows_here: u64,
    /// And how many at the server.
    pub rows_there: u64,
    /// Their digest here, in hexadecimal digits.
    pub digest_here: String,
    /// And at the server.
    pub digest_there: String,
}

/// What came of comparing since the client was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verifications {
    /// How often a subscription was found to be equal.
    pub equal: u64,
    /// How often rows were found to be different.
    pub different: u64,
}

impl From<machine::Mismatch> for Mismatch {
    fn from(mismatch: machine::Mismatch) -> Self {
        let machine::Mismatch { table, sql, floor: Floor(from), below, ours, theirs, .. } =
            mismatch;
        Self {
            table: table.to_string(),
            sql,
            from: from.get(),
            below: below.map(|Birth(below)| below.get()),
            rows_here: ours.rows,
            rows_there: theirs.rows,
            digest_here: ours.sum.to_string(),
            digest_there: theirs.sum.to_string(),
        }
    }
}

impl From<machine::Verdict> for Verdict {
    fn from(verdict: machine::Verdict) -> Self {
        match verdict {
            machine::Verdict::Equal { rows } => Self::Equal { rows },
            machine::Verdict::Different(mismatch) => Self::Different(mismatch.into()),
            machine::Verdict::Expiring => Self::Expiring,
        }
    }
}
