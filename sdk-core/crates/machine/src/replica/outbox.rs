//! What was written and is not decided.

use std::collections::{BTreeMap, BTreeSet};

use protocol::frame::v1::{Mutate, Written};
use protocol::ids::{Lane, TableId};
use protocol::mutation::{Mutation, MutationDigest};
use protocol::value::Row;

use super::rows::Key;
use crate::instruction::Outgoing;
use crate::stored::{MutationId, Place, Settled, StoredMutation, StoredWriter};

/// A mutation that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its lane.
    pub lane: Lane,
    /// What it does.
    pub mutation: Mutation,
    /// Which rows it names.
    pub rows: Vec<(TableId, Row)>,
    /// It was taken back.
    pub is_cancelled: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    pub(super) waiting: BTreeMap<MutationId, Waiting>,
    pub(super) writers: BTreeMap<Lane, StoredWriter>,
    pub(super) since: Option<i64>,
    pub(super) settled: Vec<(MutationId, Settled)>,
    last: MutationId,
}

impl Waiting {
    fn stored(&self, id: MutationId) -> StoredMutation {
        let digest = MutationDigest::of(&self.mutation);
        let (lane, is_cancelled) = (self.lane.clone(), self.is_cancelled);
        StoredMutation { id, place: Place(id.0), lane, digest, bytes: 100, is_cancelled }
    }
}

impl Outbox {
    pub(super) fn stored(&self) -> Vec<StoredMutation> {
        self.waiting.iter().map(|(id, waiting)| waiting.stored(*id)).collect()
    }

    pub(super) fn add(
        &mut self,
        lane: Lane,
        mutation: Mutation,
        rows: Vec<(TableId, Row)>,
    ) -> StoredMutation {
        self.last = MutationId(self.last.0 + 1);
        let waiting = Waiting { lane, mutation, rows, is_cancelled: false };
        let stored = waiting.stored(self.last);
        self.waiting.insert(self.last, waiting);
        stored
    }

    pub(super) fn take_back(&mut self, id: MutationId) {
        match self.waiting.get_mut(&id) {
            Some(waiting) => waiting.is_cancelled = true,
            None => panic!("what does not wait cannot be taken back: {id:?}"),
        }
    }

    pub(super) fn settle(&mut self, id: MutationId, settled: Settled) {
        assert!(self.waiting.remove(&id).is_some(), "a mutation is settled once: {id:?}");
        self.settled.push((id, settled));
    }

    pub(super) fn waits_for(&self, table: TableId, key: &Row) -> bool {
        let mut waiting = self.waiting.values().filter(|waiting| !waiting.is_cancelled);
        waiting.any(|waiting| waiting.rows.iter().any(|row| row.0 == table && row.1 == *key))
    }

    /// The rows for which something waits.
    pub(super) fn rows(&self) -> BTreeSet<(TableId, Key)> {
        let waiting = self.waiting.values().filter(|waiting| !waiting.is_cancelled);
        waiting.flat_map(|it| &it.rows).map(|(table, key)| (*table, Key(key.clone()))).collect()
    }

    pub(super) fn mutate(&self, outgoing: &Outgoing) -> Mutate {
        let Outgoing { lane, client, since, epoch, first, previous, mutations, confirmed } =
            outgoing.clone();
        let written = |id: &MutationId| match self.waiting.get(id) {
            Some(waiting) if waiting.is_cancelled => {
                Written::Cancelled(MutationDigest::of(&waiting.mutation))
            }
            Some(waiting) => Written::Mutation(waiting.mutation.clone()),
            None => panic!("what does not wait cannot be sent: {id:?}"),
        };
        let mutations = mutations.iter().map(written).collect();
        Mutate { lane, client, since, epoch, first, previous, mutations, confirmed }
    }
}
