//! The queue of a worker for entries: bounded, and nobody waits for room in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use server_engine::ShardNumber;
use server_subscriptions::Entry;
use tokio::sync::mpsc;

/// How many entries wait for a worker. One more is lost, and its feeds go on from storage.
const ENTRIES_MAX: usize = 4_096;

/// How many bytes of rows wait for a worker in entries. The same happens beyond.
const BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// The end of a worker's queue at which entries come in.
#[derive(Debug)]
pub(super) struct EntryQueue {
    entries: mpsc::Sender<Arc<Entry>>,
    state: Arc<Mutex<State>>,
}

/// The end at which they go out.
#[derive(Debug)]
pub(super) struct Entered {
    entries: mpsc::Receiver<Arc<Entry>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// How many of a shard are in.
    inside: BTreeMap<ShardNumber, usize>,
    /// The last entry of a shard that did not get in.
    lost: BTreeMap<ShardNumber, u64>,
}

impl EntryQueue {
    pub(super) fn new() -> (Self, Entered) {
        let (sent, entries) = mpsc::channel(ENTRIES_MAX);
        let state = Arc::default();
        (Self { entries: sent, state: Arc::clone(&state) }, Entered { entries, state })
    }

    /// Takes an entry in. One alone may be of any size.
    pub(super) fn push(&self, entry: &Arc<Entry>) {
        // Held until it is either in or known as lost: who then finds the queue empty finds that.
        let mut state = lock(&self.state);
        let bytes = state.bytes.saturating_add(entry.bytes);
        let has_room = state.bytes == 0 || bytes <= BYTES_MAX;
        if has_room && self.entries.try_send(Arc::clone(entry)).is_ok() {
            state.bytes = bytes;
            *state.inside.entry(entry.shard).or_default() += 1;
        } else {
            state.lost.insert(entry.shard, entry.index);
        }
    }
}

impl Entered {
    pub(super) async fn next(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.recv().await?;
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(entry.bytes);
        if let Some(inside) = state.inside.get_mut(&entry.shard) {
            *inside = inside.saturating_sub(1);
        }
        Some(entry)
    }

    /// What was lost, by the last entry of each shard, once all that came in of it is out.
    pub(super) fn take_lost(&self) -> BTreeMap<ShardNumber, u64> {
        let mut state = lock(&self.state);
        let State { inside, lost, .. } = &mut *state;
        let still_in = |shard: &ShardNumber| inside.get(shard).is_some_and(|count| *count > 0);
        let (later, now) = std::mem::take(lost).into_iter().partition(|(shard, _)| still_in(shard));
        *lost = later;
        now
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use server_engine::{Catalog, ShardNumber};

    use super::*;

    const SHARD: ShardNumber = ShardNumber(1);
    const QUIET: ShardNumber = ShardNumber(2);

    fn entry(index: u64, bytes: usize) -> Arc<Entry> {
        entry_of(SHARD, index, bytes)
    }

    fn entry_of(shard: ShardNumber, index: u64, bytes: usize) -> Arc<Entry> {
        let catalog = Arc::new(Catalog::default());
        Arc::new(Entry { shard, index, catalog, commits: Vec::new(), bytes })
    }

    #[tokio::test]
    async fn a_shard_does_not_wait_for_another_to_know_what_it_lost() {
        let (queue, mut entered) = EntryQueue::new();
        queue.push(&entry_of(QUIET, 1, 1));
        queue.push(&entry(1, BYTES_MAX - 1));
        queue.push(&entry_of(QUIET, 2, 1));
        assert_eq!(entered.take_lost(), BTreeMap::new(), "one of it is still in");
        assert_eq!(entered.next().await.unwrap().shard, QUIET);
        assert_eq!(entered.take_lost(), BTreeMap::from([(QUIET, 2)]));
        assert_eq!(entered.take_lost(), BTreeMap::new(), "told once");
    }

    #[tokio::test]
    async fn what_is_too_large_together_is_lost_and_known_to_be() {
        let (queue, mut entered) = EntryQueue::new();
        // One alone may be of any size.
        queue.push(&entry(1, BYTES_MAX * 2));
        queue.push(&entry(2, 1));
        assert_eq!(entered.take_lost(), BTreeMap::new(), "before what came in is out");
        assert_eq!(entered.next().await.unwrap().index, 1);
        assert_eq!(entered.take_lost(), BTreeMap::from([(SHARD, 2)]));
        queue.push(&entry(3, BYTES_MAX / 2));
        queue.push(&entry(4, BYTES_MAX / 2));
        queue.push(&entry(5, 1));
        assert_eq!(entered.next().await.unwrap().index, 3);
        queue.push(&entry(6, 1));
        assert_eq!(entered.next().await.unwrap().index, 4);
        assert_eq!(entered.next().await.unwrap().index, 6);
        assert_eq!(entered.take_lost(), BTreeMap::from([(SHARD, 5)]));
    }

    #[tokio::test]
    async fn what_is_too_many_is_lost_until_one_is_taken_out() {
        let (queue, mut entered) = EntryQueue::new();
        let max = ENTRIES_MAX as u64;
        for index in 0..=max {
            queue.push(&entry(index, 0));
        }
        assert_eq!(entered.next().await.unwrap().index, 0);
        queue.push(&entry(max + 1, 0));
        for index in (1..max).chain([max + 1]) {
            assert_eq!(entered.next().await.unwrap().index, index);
        }
        assert_eq!(entered.take_lost(), BTreeMap::from([(SHARD, max)]));
    }
}
