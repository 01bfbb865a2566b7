//! How it is with comparing a subscription with the server.

use protocol::digest::RowsDigest;
use protocol::ids::{Birth, Floor, TableName};

use crate::stored::SubscriptionId;
use crate::time::Millis;

/// How long it is waited before a subscription that differs again is loaded anew again: doubled each
/// time. A defect that loading does not mend must not load for ever.
const REPAIR_MS: u64 = 60_000;

/// And at most.
const REPAIR_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Rows to be compared, before anything else is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The subscription that holds them.
    pub subscription: SubscriptionId,
    /// Those that were born from there on,
    pub floor: Floor,
    /// and before; all others without.
    pub below: Option<Birth>,
    /// How the server has them.
    pub theirs: RowsDigest,
}

/// Rows of a subscription are not as the server has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which subscription.
    pub subscription: SubscriptionId,
    /// Its table.
    pub table: TableName,
    /// Its SQL, without the values of parameters.
    pub sql: String,
    /// It is about the rows that were born from there on,
    pub floor: Floor,
    /// and before; the last born ones without.
    pub below: Option<Birth>,
    /// How they were here.
    pub ours: RowsDigest,
    /// How they were at the server.
    pub theirs: RowsDigest,
}

/// What came of comparing a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that is loaded is as the server has it: so many rows.
    Equal {
        /// How many.
        rows: u64,
    },
    /// Something is not. It was reported, and the subscription is loaded anew.
    Different(Mismatch),
    /// The table has a TTL. Its rows go at another time on each end, so they are not compared.
    Expiring,
}

/// How it is with comparing a subscription.
#[derive(Clone, Debug, Default)]
pub(crate) struct Check {
    /// It is to be begun, with the last born rows.
    pub(crate) is_wanted: bool,
    /// What was born before was asked for, and is not answered.
    pub(crate) asked: Option<Option<Birth>>,
    /// How many rows were equal since it was begun.
    pub(crate) rows: u64,
    /// When it is begun by itself.
    pub(crate) due: Option<Millis>,
    /// How often in a row something was different.
    pub(crate) differed: u32,
    /// When it is loaded anew, because it was different once more.
    pub(crate) repair_at: Option<Millis>,
}

impl Check {
    /// What was asked for is not answered any more.
    pub(crate) fn disconnect(&mut self) {
        self.is_wanted |= self.asked.take().is_some();
    }

    /// What is held is loaded anew, so what was compared of it says nothing.
    pub(crate) fn begin_anew(&mut self) {
        self.is_wanted |= self.asked.is_some();
        self.repair_at = None;
    }

    /// All is as the server has it.
    pub(crate) fn is_equal(&mut self) {
        (self.differed, self.repair_at) = (0, None);
    }

    /// Something is not. Says whether it is to be loaded anew at once.
    pub(crate) fn is_different(&mut self, now: Millis) -> bool {
        self.is_wanted = false;
        self.differed = self.differed.saturating_add(1);
        if self.differed == 1 {
            return true;
        }
        let doubled = REPAIR_MS.saturating_mul(1 << (self.differed - 2).min(20));
        self.repair_at.get_or_insert(now.after(doubled.min(REPAIR_MS_MAX)));
        false
    }
}
