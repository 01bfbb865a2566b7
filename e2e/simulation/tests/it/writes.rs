//! What clients have written, and what became of it: each at most once in a history.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::ids::{ContentHash, Epoch, SeqId};
use protocol::mutation::{Action, Mutation, MutationDigest, Operation, Verdict};
use server_engine::Commit;

use crate::tables::MARK;

/// A mutation, whatever copies of a replica have it and under whatever number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mark(pub(crate) i64);

/// What was decided about a mutation, and where the lane was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    is_accepted: bool,
    has_effect: bool,
    seq: SeqId,
}

/// What was decided in a history: once about each, but for `may_double`.
pub(crate) type History = BTreeMap<Mark, Vec<Decided>>;

#[derive(Default)]
pub(crate) struct Writes {
    last: i64,
    digests: HashMap<MutationDigest, Mark>,
    hashes: HashMap<ContentHash, Mark>,
    /// Those that give a row their mark, which no other one has: what SQL makes may be a DELETE alone.
    marked: HashSet<Mark>,
    histories: HashMap<Epoch, History>,
    /// What waited in a copy when it was told that something is uncertain: another copy may send it
    /// under another identity (rule 43 of the protocol).
    may_double: HashSet<Mark>,
}

impl Writes {
    pub(crate) fn next(&mut self) -> Mark {
        self.last += 1;
        Mark(self.last)
    }

    pub(crate) fn wrote(&mut self, mark: Mark, mutation: &Mutation) {
        self.digests.insert(MutationDigest::of(mutation), mark);
        let sets_mark = |operation: &Operation| match &operation.action {
            Action::Insert(values) | Action::Upsert(values) => {
                values.iter().any(|value| value.0 == MARK)
            }
            Action::Patch { changes, .. } => {
                changes.iter().any(|change| change.operand().0 == MARK)
            }
            Action::Delete { .. } => false,
        };
        if mutation.operations.iter().any(sets_mark) {
            self.marked.insert(mark);
        }
    }

    /// A mutation is sent, with this hash.
    pub(crate) fn sent(&mut self, digest: MutationDigest, hash: ContentHash) {
        self.hashes.insert(hash, self.digests[&digest]);
    }

    pub(crate) fn decided(&mut self, commit: &Commit) {
        let Some(decided) = &commit.decided else { return };
        let mark = self.hashes[&decided.decision.hash];
        let is_accepted = decided.decision.verdict == Verdict::Accepted;
        let has_effect = !commit.changes.is_empty();
        assert!(is_accepted || !has_effect, "{mark:?} is rejected, and has an effect");
        let about = self.histories.entry(commit.epoch).or_default().entry(mark).or_default();
        let must_have = is_accepted && about.is_empty() && self.marked.contains(&mark);
        assert!(has_effect || !must_have, "{mark:?} is accepted, and has no effect");
        let is_once = about.is_empty() || self.may_double.contains(&mark);
        assert!(is_once, "{mark:?} is decided twice (INV-1)");
        about.push(Decided { is_accepted, has_effect, seq: decided.decision.seq });
    }

    /// What was decided in a history so far.
    pub(crate) fn history(&self, epoch: Epoch) -> History {
        self.histories.get(&epoch).cloned().unwrap_or_default()
    }

    /// Another history begins, with what the backup had.
    pub(crate) fn goes_back(&mut self, epoch: Epoch, history: History) {
        self.histories.insert(epoch, history);
    }

    pub(crate) fn may_double(&mut self, marks: impl Iterator<Item = Mark>) {
        self.may_double.extend(marks);
    }

    /// Whether it was accepted there, so that it ended there.
    pub(crate) fn was_accepted(&self, epoch: Epoch, mark: Mark, seq: SeqId) -> bool {
        self.about(epoch, mark).any(|decided| decided.is_accepted && decided.seq == seq)
    }

    /// Whether it was rejected there.
    pub(crate) fn was_rejected(&self, epoch: Epoch, mark: Mark) -> bool {
        self.about(epoch, mark).any(|decided| !decided.is_accepted)
    }

    /// Whether a replica that is there has the rows of it.
    pub(crate) fn is_behind(&self, epoch: Epoch, mark: Mark, seq: SeqId) -> bool {
        self.about(epoch, mark).any(|decided| decided.has_effect && decided.seq <= seq)
    }

    fn about(&self, epoch: Epoch, mark: Mark) -> impl Iterator<Item = &Decided> {
        self.histories.get(&epoch).and_then(|history| history.get(&mark)).into_iter().flatten()
    }
}
