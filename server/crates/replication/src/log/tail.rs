use std::collections::VecDeque;

use crate::types::Entry;

/// Most bytes of entries kept in memory for each group. What is applied or sent to others was
/// mostly appended just before.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The last entries of a log, without a hole.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    /// The bytes of all entries of the log up to and with this one.
    pub(super) total: u64,
}

impl Tail {
    /// Adds entries behind those there are, and lets go of the oldest ones; of the new ones none,
    /// which are read before they are on disk.
    pub(super) fn extend(&mut self, added: Vec<Kept>) {
        let Some(last) = added.last() else { return };
        let (end, keep) = (last.total, added.len());
        let follows = |kept: &Kept| kept.entry.log_id.index + 1 == added[0].entry.log_id.index;
        if !self.kept.back().is_some_and(follows) {
            self.kept.clear();
        }
        self.kept.extend(added);
        while self.kept.len() > keep && end - self.kept[0].total > BYTES_MAX {
            self.kept.pop_front();
        }
    }

    /// Lets go of the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        while self.kept.back().is_some_and(|kept| kept.entry.log_id.index >= index) {
            self.kept.pop_back();
        }
    }

    /// Lets go of the entries up to and with `index`.
    pub(super) fn purge(&mut self, index: u64) {
        while self.kept.front().is_some_and(|kept| kept.entry.log_id.index <= index) {
            self.kept.pop_front();
        }
    }

    pub(super) fn get(&self, index: u64) -> Option<&Kept> {
        let at = index.checked_sub(self.start()?)?;
        self.kept.get(usize::try_from(at).ok()?)
    }

    /// The index of the first entry.
    pub(super) fn start(&self) -> Option<u64> {
        self.kept.front().map(|kept| kept.entry.log_id.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LeaderId, LogId, NodeId};
    use openraft::EntryPayload;

    #[test]
    fn what_was_added_last_is_kept_as_a_whole() {
        let kept = |index: u64| {
            let log_id = LogId::new(LeaderId::new(1, NodeId(1)), index);
            Kept { entry: Entry { log_id, payload: EntryPayload::Blank }, total: index * BYTES_MAX }
        };
        let mut tail = Tail::default();
        tail.extend((1..=3).map(kept).collect());
        assert!((1..=3).all(|index| tail.get(index).is_some()));
        tail.extend((4..=6).map(kept).collect());
        assert_eq!(tail.start(), Some(4));
        // What does not follow replaces all.
        tail.extend(vec![kept(9)]);
        assert_eq!((tail.start(), tail.get(9).is_some()), (Some(9), true));
    }
}
