//! What clients have written, and what became of it: each at most once in a history.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::ids::{ContentHash, Epoch, SeqId};
use protocol::mutation::{MutationDigest, Verdict};
use server_engine::Commit;

/// A mutation, whatever copies of a replica have it and under whatever number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mark(pub(crate) i64);

/// What was decided in the present history, and where that has changed rows. A restore goes back to
/// that of the backup.
pub(crate) type History = BTreeMap<Mark, Option<(Epoch, SeqId)>>;

#[derive(Default)]
pub(crate) struct Writes {
    last: i64,
    digests: HashMap<MutationDigest, Mark>,
    hashes: HashMap<ContentHash, Mark>,
    pub(crate) history: History,
    /// What was ever accepted, and what was ever rejected, in any history.
    ever: HashSet<(Mark, bool)>,
    /// A copy was told that something is uncertain: what it sends again may be there already.
    pub(crate) is_uncertain: bool,
}

impl Writes {
    pub(crate) fn next(&mut self) -> Mark {
        self.last += 1;
        Mark(self.last)
    }

    pub(crate) fn wrote(&mut self, mark: Mark, digest: MutationDigest) {
        self.digests.insert(digest, mark);
    }

    /// A mutation is sent, with this hash.
    pub(crate) fn sent(&mut self, digest: MutationDigest, hash: ContentHash) {
        self.hashes.insert(hash, self.digests[&digest]);
    }

    pub(crate) fn decided(&mut self, commit: &Commit) {
        let Some(decided) = &commit.decided else { return };
        let mark = self.hashes[&decided.decision.hash];
        let verdict = decided.decision.verdict.clone();
        self.ever.insert((mark, verdict == Verdict::Accepted));
        let effect = (!commit.changes.is_empty()).then_some((commit.epoch, commit.seq));
        let before = self.history.insert(mark, effect);
        let is_once = before.is_none() || self.is_uncertain;
        assert!(is_once, "{mark:?} is decided twice (INV-1)");
    }

    /// Whether it was ever decided so.
    pub(crate) fn was(&self, mark: Mark, is_accepted: bool) -> bool {
        self.ever.contains(&(mark, is_accepted))
    }
}
