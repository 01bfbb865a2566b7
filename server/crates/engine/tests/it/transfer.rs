//! A shard goes to another node: whole or not at all, and what it leaves is reclaimed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use protocol::ids::TableId;
use protocol::schema::TableSchema;
use server_engine::{
    Command, EngineError, Entry, Export, Import, LAYOUT, Shard, ShardNumber, Slot, recount,
};
use server_storage::faulty::FaultyDisk;
use server_storage::{
    Batch, Counted, Direction, Family, KeyRange, MemoryStore, RocksOptions, RocksStore, Store,
};

use crate::logs::{crowd, log};
use crate::world::{
    EPOCH, EVENTS, ID, NOTES, POSTS, ROOM, SHARD, World, insert, int, lane_of, notes, shared,
};

/// The records of the node about one kind of thing, which lie in store 0.
pub(crate) fn of_node(store: &dyn Store, kind: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let state = LAYOUT.families.iter().find(|family| family.name == "state").unwrap();
    entries(store, *state, &[0, 0, 0, 0, kind])
}

pub(crate) fn entries(store: &dyn Store, family: Family, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let snapshot = store.snapshot();
    let mut scan = snapshot.scan(family, KeyRange::prefix(prefix), Direction::Forward);
    let mut entries = Vec::new();
    while let Some(entry) = scan.next().unwrap() {
        entries.push((entry.key[prefix.len()..].to_vec(), entry.value.to_vec()));
    }
    entries
}

/// Shard and slot, and the number of the store that the slot points to.
pub(crate) fn pointers(store: &dyn Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    of_node(store, 4).into_iter().collect()
}

/// Everything that nodes have alike of [`SHARD`], without store numbers.
pub(crate) fn contents(store: &dyn Store) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let shard = SHARD.0.to_be_bytes();
    let mut contents = Vec::new();
    for kind in [3, 5, 6] {
        let records = of_node(store, kind).into_iter().filter(|(key, _)| key.starts_with(&shard));
        contents.extend(records.map(|(key, value)| (format!("node {kind}"), key, value)));
    }
    for (slot, number) in pointers(store) {
        if let Some(slot) = slot.strip_prefix(&shard) {
            for family in LAYOUT.families {
                let entries = entries(store, *family, &number).into_iter();
                let place = format!("slot {slot:?} {}", family.name);
                contents.extend(entries.map(|(key, value)| (place.clone(), key, value)));
            }
        }
    }
    contents
}

/// What lies under numbers that no slot points to: keys, and records of the numbers but the
/// highest.
pub(crate) fn left_over(store: &dyn Store) -> usize {
    let live: Vec<Vec<u8>> = pointers(store).into_values().collect();
    let is_over = |number: &[u8]| number != [0; 4] && !live.iter().any(|live| live == number);
    let keys = LAYOUT.families.iter().flat_map(|family| entries(store, *family, &[]));
    let mut owners = of_node(store, 2);
    owners.pop();
    keys.filter(|(key, _)| is_over(&key[..4])).count()
        + owners.iter().filter(|(number, _)| is_over(number)).count()
}

pub(crate) fn pieces(world: &World, bytes_max: usize) -> Vec<Vec<u8>> {
    let snapshot = world.store.snapshot();
    let mut export = Export::new(&*snapshot, SHARD).unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = export.next(bytes_max).unwrap() {
        pieces.push(piece);
    }
    assert_eq!(export.next(bytes_max).unwrap(), None);
    pieces
}

pub(crate) fn import(node: &World) -> Import {
    Import::new(Arc::clone(&node.stores), SHARD)
}

pub(crate) fn receive(node: &World, import: &mut Import, piece: &[u8]) -> Result<(), EngineError> {
    node.store.write(import.piece(piece)?).unwrap();
    Ok(())
}

pub(crate) fn switch(node: &World, import: &mut Import) -> Result<(), EngineError> {
    let batch = import.finish(&*node.store.snapshot())?;
    node.store.write(batch).unwrap();
    Ok(())
}

pub(crate) fn reclaim(node: &World) -> u64 {
    node.stores.reclaim(&*node.store).unwrap()
}

/// Brings `pieces` to `node`, and opens what it has then.
fn transfer(node: World, pieces: &[Vec<u8>]) -> World {
    let mut import = import(&node);
    pieces.iter().for_each(|piece| receive(&node, &mut import, piece).unwrap());
    switch(&node, &mut import).unwrap();
    drop(import);
    World { now: node.now, ..World::open(node.store) }
}

/// A shard on its way, and what the node that it comes to has of it.
#[derive(Clone, Debug)]
struct Move {
    log: Vec<Entry>,
    /// Entries that the source has applied.
    applied: usize,
    /// Entries that the other node has applied, if the shard is founded there.
    older: Option<usize>,
    bytes_max: usize,
}

fn moves() -> impl Strategy<Value = Move> {
    let bytes_max = prop_oneof![0..2_usize, 20..2_000_usize, Just(usize::MAX)];
    let older = prop::option::weighted(0.8, any::<prop::sample::Index>());
    (log(), any::<prop::sample::Index>(), older, bytes_max).prop_map(
        |(log, at, older, bytes_max)| {
            let applied = at.index(log.len() + 1);
            let older = older.map(|older| older.index(applied + 1));
            Move { log, applied, older, bytes_max }
        },
    )
}

impl Move {
    fn source(&self) -> World {
        let mut source = World::new();
        for entry in &self.log[..self.applied] {
            source.apply(entry);
        }
        source
    }

    /// A node with another shard, too.
    fn target(&self, store: Arc<dyn Store>) -> World {
        crowd(Arc::clone(&store));
        let Some(older) = self.older else { return World::open(store) };
        let mut target = World::on(store);
        for entry in &self.log[..older] {
            target.apply(entry);
        }
        target
    }
}

fn other_shard_is_whole(node: &World) {
    let snapshot = node.store.snapshot();
    let other = Shard::open(&*snapshot, ShardNumber(9), Arc::clone(&node.stores)).unwrap();
    assert_eq!(other.slots().count(), 3);
    assert_eq!(recount(&*snapshot, &other).unwrap(), other.sum());
}

fn same_rows(left: &World, right: &World) {
    let ann = || lane_of("ann");
    for (lane, table) in
        [(ann(), NOTES), (lane_of("bob"), NOTES), (ann(), EVENTS), (shared(), POSTS)]
    {
        if left.shard.catalog().table(table).is_some() {
            assert_eq!(left.rows(&lane, table), right.rows(&lane, table));
        }
    }
}

/// The shard is the same on both nodes, and stays the same.
fn moved(case: &Move) -> TestCaseResult {
    let mut source = case.source();
    let node = case.target(Arc::new(MemoryStore::new(LAYOUT)));
    let old = contents(&*node.store);
    let mut import = import(&node);
    let pieces = pieces(&source, case.bytes_max);
    for piece in &pieces {
        prop_assert!(piece.len() < case.bytes_max.saturating_add(2_000));
        receive(&node, &mut import, piece).unwrap();
        prop_assert!(contents(&*node.store) == old, "nothing is seen before all has arrived");
    }
    prop_assert_eq!(reclaim(&node), 0, "an import lives");
    switch(&node, &mut import).unwrap();
    let mut node = World { now: source.now, ..World::open(node.store) };
    prop_assert_eq!(contents(&*source.store), contents(&*node.store));
    prop_assert_eq!(source.shard.sum(), node.shard.sum(), "INV-6");
    prop_assert_eq!(source.shard.catalog(), node.shard.catalog());
    node.check_sum();
    same_rows(&source, &node);

    let replaced = if case.older.is_some() { 4 } else { 0 };
    prop_assert_eq!(reclaim(&node), replaced);
    prop_assert_eq!(left_over(&*node.store), 0);
    other_shard_is_whole(&node);
    for entry in &case.log[case.applied..] {
        let (left, right) = (source.apply(entry), node.apply(entry));
        prop_assert_eq!(left.outcomes, right.outcomes);
        prop_assert_eq!(left.commits, right.commits);
        prop_assert_eq!(source.shard.sum(), node.shard.sum(), "INV-6");
    }
    node.check_sum();
    prop_assert_eq!(contents(&*source.store), contents(&*node.store));
    Ok(())
}

/// Where a transfer stops and the power fails, and what of the last writes is left then.
#[derive(Clone, Debug)]
struct Crash {
    after: prop::sample::Index,
    persisted: prop::sample::Index,
    survivors: prop::sample::Index,
}

fn crashes() -> impl Strategy<Value = Crash> {
    let index = any::<prop::sample::Index>;
    (index(), index(), index()).prop_map(|(after, persisted, survivors)| Crash {
        after,
        persisted,
        survivors,
    })
}

/// A node that stops at any point has the shard as it was or as it comes, and nothing else stays.
fn crashed(case: &Move, crash: &Crash) -> TestCaseResult {
    let source = case.source();
    let (pieces, new) = (pieces(&source, case.bytes_max), contents(&*source.store));
    let disk = FaultyDisk::new(LAYOUT);
    let node = case.target(Arc::new(disk.open().unwrap()));
    node.store.persist().unwrap();
    let old = contents(&*node.store);
    let cut = |node: World| {
        drop(node);
        disk.cut_power(|unpersisted| crash.survivors.index(unpersisted + 1));
        World::open(Arc::new(disk.open().unwrap()))
    };

    let mut arriving = Some(import(&node));
    let steps = pieces.len() + 3;
    for step in 0..crash.after.index(steps) {
        match (pieces.get(step), &mut arriving) {
            (Some(piece), Some(import)) => receive(&node, import, piece).unwrap(),
            (None, Some(import)) => {
                switch(&node, import).unwrap();
                arriving = None;
            }
            _ => drop(reclaim(&node)),
        }
        if step == crash.persisted.index(steps) {
            node.store.persist().unwrap();
        }
    }
    let mut node = cut(node);
    for _ in 0..2 {
        let found = contents(&*node.store);
        prop_assert!(found == old || found == new);
        node.check_sum();
        reclaim(&node);
        prop_assert_eq!(left_over(&*node.store), 0);
        prop_assert!(contents(&*node.store) == found, "reclaiming takes nothing that is in use");
        node = cut(node);
    }
    let node = transfer(node, &pieces);
    reclaim(&node);
    prop_assert!(contents(&*node.store) == new);
    prop_assert_eq!(left_over(&*node.store), 0);
    other_shard_is_whole(&node);
    Ok(())
}

/// Where a transfer is damaged, and how.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Lose,
    Repeat,
    Exchange,
}

fn damages() -> impl Strategy<Value = (prop::sample::Index, Damage)> {
    let index = any::<prop::sample::Index>;
    let damage = prop_oneof![
        4 => (index(), 0..8_u8).prop_map(|(place, bit)| Damage::Flip(place, bit)),
        1 => index().prop_map(Damage::Cut),
        1 => Just(Damage::Lose),
        1 => Just(Damage::Repeat),
        1 => Just(Damage::Exchange),
    ];
    (index(), damage)
}

fn damaged(case: &Move, at: prop::sample::Index, damage: &Damage) -> TestCaseResult {
    let source = case.source();
    let node = case.target(Arc::new(MemoryStore::new(LAYOUT)));
    let old = contents(&*node.store);
    let mut pieces = pieces(&source, case.bytes_max);
    let at = at.index(pieces.len());
    match damage {
        Damage::Flip(place, bit) => {
            let place = place.index(pieces[at].len());
            pieces[at][place] ^= 1 << bit;
        }
        Damage::Cut(place) => {
            let length = place.index(pieces[at].len());
            pieces[at].truncate(length);
        }
        Damage::Lose => drop(pieces.remove(at)),
        Damage::Repeat => pieces.insert(at, pieces[at].clone()),
        Damage::Exchange => {
            let last = pieces.len() - 1;
            prop_assume!(at != last);
            pieces.swap(at, last);
        }
    }
    let mut import = import(&node);
    let arrived: Vec<_> = pieces.iter().map(|piece| receive(&node, &mut import, piece)).collect();
    if let Some(first) = arrived.iter().position(Result::is_err) {
        let damaged = Err(EngineError::TransferDamaged);
        prop_assert!(arrived[first..].iter().all(|arrived| *arrived == damaged));
    } else {
        // Nothing tells that more should have come, but that the end has not.
        prop_assert!(matches!(damage, Damage::Lose) && at == pieces.len());
    }
    prop_assert_eq!(switch(&node, &mut import), Err(EngineError::TransferDamaged));
    drop(import);
    reclaim(&node);
    prop_assert_eq!(left_over(&*node.store), 0);
    prop_assert!(contents(&*node.store) == old);
    other_shard_is_whole(&node);
    Ok(())
}

#[test]
fn a_shard_moves_whole_or_not_at_all() {
    let strategy = (moves(), crashes(), damages());
    seeds::check("transfers", 60, &strategy, |(case, crash, (at, damage))| {
        moved(&case)?;
        crashed(&case, &crash)?;
        damaged(&case, at, &damage)
    });
}

/// A node with notes of ann's, and one that has none and another shard.
pub(crate) fn two() -> (World, World) {
    let mut source = World::new();
    let note = |id| insert(NOTES, &[(ID, int(id)), (ROOM, int(id % 3))]);
    source.write("ann", (0..200).map(note).collect());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(LAYOUT));
    crowd(Arc::clone(&store));
    (source, World::on(store))
}

/// Slots and tables that it has no more are not there any more.
#[test]
fn a_shard_that_arrives_replaces_the_one_there_was() {
    let (mut source, _) = two();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(LAYOUT));
    crowd(Arc::clone(&store));
    let mut node = World::open(store);
    let slots = [1, 2, Slot::of(&lane_of("ann")).number()].map(|slot| Slot::new(slot).unwrap());
    let other = Command::Define(Box::new(TableSchema { id: TableId(50), ..notes() }));
    node.run(vec![Command::Found { slots: slots.to_vec(), epoch: EPOCH }, other]);
    let mut node = transfer(node, &pieces(&source, 500));
    assert_eq!(contents(&*source.store), contents(&*node.store));
    assert_eq!(source.shard.catalog(), node.shard.catalog());
    assert_eq!(node.read(|view| view.slots()).unwrap(), source.shard.slots().collect::<Vec<_>>());
    assert_eq!(reclaim(&node), 3);
    assert_eq!(left_over(&*node.store), 0);
    let more = insert(NOTES, &[(ID, int(1_000))]);
    assert_eq!(node.write("bob", vec![more.clone()]), source.write("bob", vec![more]));

    // One that was never founded goes over too, as nothing.
    let empty = World::open(Arc::new(MemoryStore::new(LAYOUT)));
    let pieces = pieces(&empty, 100);
    assert_eq!(pieces.len(), 1);
    let node = transfer(node, &pieces);
    assert_eq!(node.shard.slots().count(), 0);
    node.check_sum();
    assert_eq!(reclaim(&node), 4);
    assert_eq!(left_over(&*node.store), 0);
    other_shard_is_whole(&node);
}

/// What was damaged on the node that sends it does not spread.
#[test]
fn a_shard_that_is_not_what_its_sum_says_is_refused() {
    let (source, node) = two();
    let number = pointers(&*source.store).into_values().next().unwrap();
    let family = LAYOUT.families[0];
    let mut batch = Batch::new();
    batch.put(family, [&number[..], b"x"].concat(), b"damaged");
    source.store.write(batch).unwrap();
    let mut import = import(&node);
    for piece in pieces(&source, 1_000) {
        receive(&node, &mut import, &piece).unwrap();
    }
    assert_eq!(switch(&node, &mut import), Err(EngineError::TransferDamaged));
}

/// A walk for each family of each slot, however many pieces there are.
#[test]
fn an_export_passes_over_everything_once() {
    let (source, _) = two();
    let snapshot = source.store.snapshot();
    let work = |bytes_max| {
        let counted = Counted::new(&*snapshot);
        let mut export = Export::new(&counted, SHARD).unwrap();
        let mut count = 0;
        while export.next(bytes_max).unwrap().is_some() {
            count += 1;
        }
        (count, counted.reads())
    };
    let (many, reads) = work(0);
    let (one, same) = work(usize::MAX);
    assert!(many > 800 && one == 1, "{many} and {one}");
    assert_eq!(reads, same);
    assert_eq!(reads.scans, 1 + 1 + 4 * LAYOUT.families.len() as u64);
    assert!(reads.entries < 2 * many, "{reads:?}");
}

/// On the store of the product, through a restart.
#[test]
fn a_shard_moves_from_disk_to_disk() {
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let open = |place: usize| -> Arc<dyn Store> {
        let options = RocksOptions::default();
        Arc::new(RocksStore::open(directories[place].path(), LAYOUT, &options).unwrap())
    };
    let mut source = World::on(open(0));
    let note = |id| insert(NOTES, &[(ID, int(id)), (ROOM, int(id % 3))]);
    for part in 0..20 {
        source.write("ann", (part * 100..part * 100 + 100).map(note).collect());
    }
    source.store.persist().unwrap();
    crowd(open(1));
    let mut node = World::on(open(1));
    node.write("ann", vec![note(5)]);
    node.store.persist().unwrap();
    for _ in 0..2 {
        node = transfer(node, &pieces(&source, 10_000));
        node.store.persist().unwrap();
        assert_eq!(reclaim(&node), 4);
    }
    drop(node);
    let mut node = World::open(open(1));
    assert_eq!(left_over(&*node.store), 0);
    assert!(contents(&*source.store) == contents(&*node.store));
    node.check_sum();
    other_shard_is_whole(&node);
    assert_eq!(node.write("ann", vec![note(9_000)]), source.write("ann", vec![note(9_000)]));
    assert_eq!(source.shard.sum(), node.shard.sum(), "INV-6");
}
