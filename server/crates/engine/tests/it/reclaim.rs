//! What nothing points to any more is dropped, and never anything else.

use std::fmt;
use std::sync::{Arc, Mutex};

use server_engine::{Command, Entry, Import, LAYOUT, Shard, ShardNumber, Slot, Stores, recount};
use server_storage::{Batch, Family, KeyRange, MemoryStore, Snapshot, StorageError, Store};

use crate::transfer::{
    contents, import, left_over, of_node, pieces, receive, reclaim, switch, two,
};
use crate::world::{EPOCH, SHARD, World};

#[test]
fn what_an_import_has_received_is_left_alone_while_it_lives() {
    let (source, node) = two();
    let old = contents(&*node.store);
    let pieces = pieces(&source, 1_000);
    assert!(pieces.len() > 20);
    let (mut first, mut second) = (import(&node), import(&node));
    for piece in &pieces[..15] {
        receive(&node, &mut first, piece).unwrap();
        receive(&node, &mut second, piece).unwrap();
        assert_eq!(reclaim(&node), 0);
    }
    drop(first);
    let reclaimed = reclaim(&node);
    assert!(reclaimed > 0, "what the first has received");
    assert_eq!(reclaim(&node), 0);
    for piece in &pieces[15..] {
        receive(&node, &mut second, piece).unwrap();
    }
    assert!(contents(&*node.store) == old);
    assert_eq!(reclaim(&node), 0);
    switch(&node, &mut second).unwrap();
    assert_eq!(reclaim(&node), 4, "what the shard had before");
    drop(second);
    assert_eq!(reclaim(&node), 0);
    assert!(contents(&*node.store) == contents(&*source.store));
    assert_eq!(left_over(&*node.store), 0);
}

/// Also where what was stored under it is gone, and the node was started again since.
#[test]
fn a_number_is_never_given_twice() {
    let (source, mut node) = two();
    let pieces = pieces(&source, 1_000);
    let numbers = |node: &World| -> Vec<Vec<u8>> {
        of_node(&*node.store, 2).into_iter().map(|(number, _)| number).collect()
    };
    let mut highest = numbers(&node).pop();
    for _ in 0..3 {
        let before = numbers(&node);
        let mut import = import(&node);
        pieces.iter().for_each(|piece| receive(&node, &mut import, piece).unwrap());
        let given: Vec<_> =
            numbers(&node).into_iter().filter(|number| !before.contains(number)).collect();
        assert_eq!(given.len(), 4);
        assert!(given.first() > highest.as_ref(), "{given:?} after {highest:?}");
        highest = given.last().cloned();
        drop(import);
        assert_eq!(reclaim(&node), 4);
        // The record that stays is not a store that could be dropped again.
        assert_eq!(reclaim(&node), 0);
        node = World::open(node.store);
        assert_eq!(reclaim(&node), 0);
        assert_eq!(left_over(&*node.store), 0);
    }
}

/// Shards are founded and received while what others have left is reclaimed.
#[test]
fn reclaiming_never_takes_what_is_just_being_written() {
    let (source, node) = two();
    let pieces = pieces(&source, 3_000);
    let (store, stores) = (&*node.store, &node.stores);
    let founded = 100..160_u16;
    std::thread::scope(|threads| {
        let founding = threads.spawn(|| {
            for number in founded.clone() {
                let mut shard = open(store, stores, number);
                let slots = Slot::all().take(5).collect();
                let found = Entry::new(node.now, vec![Command::Found { slots, epoch: EPOCH }]);
                let applied = shard.apply(&*store.snapshot(), &found).unwrap();
                store.write(applied.batch).unwrap();
            }
        });
        let receiving = threads.spawn(|| {
            for _ in 0..30 {
                let mut import = import(&node);
                pieces.iter().for_each(|piece| receive(&node, &mut import, piece).unwrap());
                switch(&node, &mut import).unwrap();
                drop(import);
                // Half of another one, which comes to nothing.
                let mut import = Import::new(Arc::clone(stores), SHARD);
                let half = &pieces[..pieces.len() / 2];
                half.iter().for_each(|piece| receive(&node, &mut import, piece).unwrap());
            }
        });
        while !founding.is_finished() || !receiving.is_finished() {
            reclaim(&node);
        }
    });
    reclaim(&node);
    assert_eq!(left_over(store), 0);
    assert!(contents(store) == contents(&*source.store));
    for number in founded {
        let shard = open(store, stores, number);
        assert_eq!(shard.slots().count(), 5);
        assert_eq!(recount(&*store.snapshot(), &shard).unwrap(), shard.sum());
    }
}

fn open(store: &dyn Store, stores: &Arc<Stores>, number: u16) -> Shard {
    Shard::open(&*store.snapshot(), ShardNumber(number), Arc::clone(stores)).unwrap()
}

type Hook = Box<dyn FnOnce(&MemoryStore) + Send>;

/// A store in which something happens right before or after a snapshot is taken.
struct Interrupted {
    inner: MemoryStore,
    before: Mutex<Option<Hook>>,
    after: Mutex<Option<Hook>>,
}

impl Interrupted {
    fn happens(&self, hook: &Mutex<Option<Hook>>) {
        let hook = hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook(&self.inner);
        }
    }
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupted").finish_non_exhaustive()
    }
}

impl Store for Interrupted {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(family, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        self.happens(&self.before);
        let snapshot = self.inner.snapshot();
        self.happens(&self.after);
        snapshot
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        self.inner.write(batch)
    }

    fn persist(&self) -> Result<(), StorageError> {
        self.inner.persist()
    }

    fn get_persisted(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get_persisted(family, key)
    }

    fn compact(&self, family: Family, range: &KeyRange) -> Result<(), StorageError> {
        self.inner.compact(family, range)
    }
}

/// The two moments at which what reclaiming knows could be older or newer than what it reads.
#[test]
fn what_begins_or_ends_while_a_snapshot_is_taken_is_left_alone() {
    let (source, _) = two();
    let pieces = pieces(&source, 3_000);
    for begins in [true, false] {
        let [before, after] = [(); 2].map(|()| Mutex::new(None));
        let inner = MemoryStore::new(LAYOUT);
        let store = Arc::new(Interrupted { inner, before, after });
        let stores = Arc::new(Stores::open(&*store).unwrap());
        let write = |store: &dyn Store, import: &mut Import, piece: &[u8]| {
            store.write(import.piece(piece).unwrap()).unwrap();
        };
        let mut import = Import::new(Arc::clone(&stores), SHARD);
        let first = usize::from(!begins) * pieces.len();
        pieces[..first].iter().for_each(|piece| write(&*store, &mut import, piece));
        let arriving = Arc::new(Mutex::new(Some(import)));
        let (of_hook, all) = (Arc::clone(&arriving), pieces.clone());
        let hook: Hook = Box::new(move |store| {
            let mut import = of_hook.lock().unwrap().take().unwrap();
            all[first..].iter().for_each(|piece| write(store, &mut import, piece));
            if begins {
                *of_hook.lock().unwrap() = Some(import);
            } else {
                store.write(import.finish(&*store.snapshot()).unwrap()).unwrap();
            }
        });
        *(if begins { &store.before } else { &store.after }).lock().unwrap() = Some(hook);
        assert_eq!(stores.reclaim(&*store).unwrap(), 0);
        if let Some(mut import) = arriving.lock().unwrap().take() {
            let batch = import.finish(&*store.snapshot()).unwrap();
            store.write(batch).unwrap();
        }
        assert!(contents(&*store) == contents(&*source.store), "begins: {begins}");
        assert_eq!(stores.reclaim(&*store).unwrap(), 0);
    }
}
