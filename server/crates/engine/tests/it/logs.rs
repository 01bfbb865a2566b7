//! One log, several nodes: other store numbers, another kind of store, restarts in between.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use protocol::ids::{ClientId, ContentHash, Epoch, MutationNumber, SchemaVersion, SeqId};
use protocol::mutation::{Guard, Mutation, Operation};
use protocol::schema::AccessLevel;
use protocol::value::Value;
use server_engine::{
    Command, Confirm, Entry, LAYOUT, Mutate, Numbered, Request, Retention, Shard, ShardNumber,
    Slot, Stores, Time, Write,
};
use server_storage::faulty::FaultyDisk;
use server_storage::{MemoryStore, RocksOptions, RocksStore, Store};

use crate::world::{
    COUNT, EPOCH, EVENTS, ID, NOTES, OWNER, POSTS, RANK, ROOM, SECOND, World, add, delete, guarded,
    insert, int, lane_of, patch, posts, service, set, shared, tenant, text, upsert, user, write,
};

fn operation() -> impl Strategy<Value = Operation> {
    let table = select(vec![NOTES, NOTES, EVENTS]);
    let room = || prop_oneof![1 => Just(Value::Null), 4 => (0..3_i64).prop_map(int)];
    let guard = prop_oneof![
        8 => Just(None),
        1 => Just(Some(Guard::Absent)),
        1 => (0..20_u64).prop_map(|n| Some(Guard::Unchanged(SeqId::new(n).unwrap()))),
    ];
    let own = (table, 0..4_i64, room(), 0..7_u8).prop_map(|(table, id, room, kind)| match kind {
        0 | 1 => upsert(table, &[(ID, int(id)), (ROOM, room)]),
        2 => insert(table, &[(ID, int(id)), (ROOM, room)]),
        3 => patch(table, id, vec![set(ROOM, room)]),
        4 => patch(table, id, vec![add(COUNT, 1)]),
        _ => delete(table, id),
    });
    let guarded = (own, guard).prop_map(|(operation, guard)| match guard {
        Some(guard) => guarded(operation, guard),
        None => operation,
    });
    let post = (0..3_i64, 0..4_u8).prop_map(|(id, kind)| match kind {
        0 => insert(POSTS, &[(ID, int(id))]),
        1 => patch(POSTS, id, vec![set(RANK, int(1))]),
        2 => patch(POSTS, id, vec![set(OWNER, text("bob"))]),
        _ => delete(POSTS, id),
    });
    prop_oneof![6 => guarded, 1 => post]
}

fn command() -> impl Strategy<Value = Command> {
    let lane = || select(vec![lane_of("ann"), lane_of("ann"), lane_of("bob"), shared()]);
    let actor = || select(vec![user("ann"), user("ann"), user("bob"), service()]);
    let operations = || prop::collection::vec(operation(), 1..4);
    let slot = || lane().prop_map(|lane| Slot::of(&lane));
    let table = || select(vec![NOTES, EVENTS, POSTS]);
    let statement = (lane(), actor(), operations(), prop::option::weighted(0.2, 0..3_u8)).prop_map(
        |(lane, actor, operations, request)| {
            let request = request.map(|id| Request {
                id: format!("{id:032x}").parse().unwrap(),
                hash: ContentHash::START.then(&Mutation { operations: operations.clone() }),
                rows: 1,
            });
            Command::Write(Write { lane, actor, operations, request })
        },
    );
    let mutations =
        (lane(), actor(), prop::collection::vec(operations(), 1..3), 1..6_u64, 0..4_u64).prop_map(
            |(lane, actor, contents, first, confirmed)| {
                mutate(lane, actor, contents, first, confirmed)
            },
        );
    let confirm = (lane(), actor(), 0..6_u64).prop_map(|(lane, actor, confirmed)| {
        let confirmed = MutationNumber::new(confirmed).unwrap();
        Command::Confirm(Confirm {
            lane,
            user: actor.user,
            client: CLIENT,
            epoch: EPOCH,
            confirmed,
        })
    });
    let define =
        (select(vec![AccessLevel::Private, AccessLevel::Read, AccessLevel::Write]), 1..9_u32)
            .prop_map(|(access, version)| {
                let mut schema = posts(access);
                schema.version = SchemaVersion(version);
                Command::Define(Box::new(schema))
            });
    prop_oneof![
        20 => statement,
        10 => mutations,
        2 => confirm,
        1 => define,
        1 => Just(Command::NewEpoch(Epoch::from_bytes([8; 16]))),
        1 => table().prop_map(Command::Drop),
        2 => (table(), 1..4_u32).prop_map(|(table, rows_max)| Command::Sweep { table, rows_max }),
        3 => (slot(), 1..4_u32).prop_map(|(slot, rows_max)| Command::Expire { slot, rows_max }),
        3 => (lane(), table(), 0..30_u64).prop_map(|(lane, table, through)| {
            Command::Retire { lane, table, through: SeqId::new(through).unwrap() }
        }),
        2 => (slot(), 0..40_i64, 1..3_u32).prop_map(|(slot, days, count_max)| {
            Command::Forget { slot, silent_since: Time(days * DAY), count_max }
        }),
    ]
}

const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
const DAY: i64 = 24 * 60 * 60 * SECOND;

/// Mutations that may be the next ones of the client: every content has one place in the chain.
fn mutate(
    lane: protocol::ids::Lane,
    actor: server_engine::Actor,
    contents: Vec<Vec<Operation>>,
    first: u64,
    confirmed: u64,
) -> Command {
    // Without what went before, only the first few numbers chain up; enough to be decided.
    let mut hash = (1..first)
        .fold(ContentHash::START, |hash, _| hash.then(&Mutation { operations: Vec::new() }));
    let previous = hash;
    let mutations = contents
        .into_iter()
        .enumerate()
        .map(|(place, operations)| {
            let empty = place % 2 == 1 || first > 1;
            let operations = if empty { Vec::new() } else { operations };
            hash = hash.then(&Mutation { operations: operations.clone() });
            Numbered { hash, operations: Some(operations) }
        })
        .collect();
    Command::Mutate(Mutate {
        lane,
        actor,
        client: CLIENT,
        client_since: Time(DAY),
        epoch: EPOCH,
        first: MutationNumber::new(first).unwrap(),
        previous,
        mutations,
        confirmed: MutationNumber::new(confirmed).unwrap(),
    })
}

/// Entries whose clock mostly goes forward: by seconds, sometimes by days, sometimes back.
fn log() -> impl Strategy<Value = Vec<Entry>> {
    let step = prop_oneof![
        6 => 0..4 * SECOND,
        1 => Just(11 * SECOND),
        1 => Just(10 * DAY),
        1 => Just(-5 * SECOND),
    ];
    let entry = (step, prop::collection::vec(command(), 1..6));
    prop::collection::vec(entry, 1..20).prop_map(|entries| {
        let mut now = 1_000 * SECOND;
        entries
            .into_iter()
            .map(|(step, commands)| {
                now += step;
                Entry::new(Time(now), commands)
            })
            .collect()
    })
}

/// A node whose store numbers begin elsewhere: it holds another shard, too.
fn crowded(store: Arc<dyn Store>) -> World {
    let mut other = World::open(Arc::clone(&store));
    let stores = Arc::new(Stores::open(&*store).unwrap());
    other.shard = Shard::open(&*store.snapshot(), ShardNumber(9), stores).unwrap();
    let slots = [9, 3, 700].map(|slot| Slot::new(slot).unwrap()).to_vec();
    other.one(Command::Found { slots, epoch: EPOCH });
    World::on(store)
}

fn same_log_same_contents(entries: &[Entry], restart_every: usize) -> TestCaseResult {
    let mut one = World::new();
    let mut other = crowded(Arc::new(MemoryStore::new(LAYOUT)));
    for (place, entry) in entries.iter().enumerate() {
        let (left, right) = (one.apply(entry), other.apply(entry));
        prop_assert_eq!(left.outcomes, right.outcomes);
        prop_assert_eq!(left.commits, right.commits);
        prop_assert_eq!(one.shard.sum(), other.shard.sum(), "INV-6");
        if place % restart_every == 0 {
            other = World::open(other.store);
            prop_assert_eq!(one.shard.sum(), other.shard.sum(), "INV-6");
            prop_assert_eq!(one.shard.catalog(), other.shard.catalog());
        }
    }
    one.check_sum();
    other.check_sum();
    settle(&mut one)
}

/// Whatever has happened, all that ends can be removed, and the counts end at what is there.
fn settle(world: &mut World) -> TestCaseResult {
    let retention =
        Retention { tombstones_micros: 0, silence_micros: 0, tombstones_min: 0, rows_max: 3 };
    world.now = Time(1_000_000 * DAY);
    for _ in 0..200 {
        let snapshot = world.store.snapshot();
        let slots = world.shard.slots();
        let wanted: Vec<Command> = slots
            .flat_map(|slot| world.shard.wanted(&*snapshot, slot, world.now, &retention).unwrap())
            .collect();
        drop(snapshot);
        if wanted.is_empty() {
            world.check_sum();
            for (lane, table) in [
                (lane_of("ann"), NOTES),
                (lane_of("bob"), NOTES),
                (lane_of("ann"), EVENTS),
                (shared(), POSTS),
            ] {
                let state = world.read(|view| view.partition(&lane, table)).unwrap();
                let rows = match world.shard.catalog().table(table) {
                    Some(_) => world.rows(&lane, table).len() as u64,
                    None => 0,
                };
                prop_assert_eq!((state.rows, state.tombstones), (rows, 0));
            }
            return Ok(());
        }
        world.run(wanted);
    }
    prop_assert!(false, "what ends is never gone");
    Ok(())
}

#[test]
fn nodes_that_apply_one_log_have_the_same_contents() {
    let strategy = (log(), 1..5_usize);
    seeds::check("logs", 200, &strategy, |(entries, every)| {
        same_log_same_contents(&entries, every)
    });
}

/// The rows have no journal: after a crash they stand at some earlier entry, and the log is applied
/// again from there.
fn crashed(entries: &[Entry], persisted: usize, survivors: usize) -> TestCaseResult {
    let disk = FaultyDisk::new(LAYOUT);
    let mut whole = World::new();
    let mut node = World::on(Arc::new(disk.open().unwrap()));
    node.store.persist().unwrap();
    let (mut sums, mut outcomes) = (vec![whole.shard.sum()], Vec::new());
    for (place, entry) in entries.iter().enumerate() {
        outcomes.push(whole.apply(entry).outcomes);
        sums.push(whole.shard.sum());
        node.apply(entry);
        if place == persisted {
            node.store.persist().unwrap();
        }
    }
    drop(node);
    disk.cut_power(|unpersisted| survivors % (unpersisted + 1));
    let mut node = World::open(Arc::new(disk.open().unwrap()));
    let found = sums.iter().rposition(|sum| *sum == node.shard.sum());
    let Some(found) = found else { return Err(TestCaseError::fail("at no entry's state")) };
    node.check_sum();
    // An entry that changed nothing leaves the sum as it was, so this may be one of several.
    for (entry, outcomes) in entries.iter().zip(&outcomes).skip(found) {
        prop_assert_eq!(&node.apply(entry).outcomes, outcomes);
    }
    prop_assert_eq!(node.shard.sum(), whole.shard.sum(), "INV-6");
    Ok(())
}

#[test]
fn a_log_that_is_applied_again_from_what_was_durable_ends_the_same() {
    let strategy = (log(), 0..20_usize, 0..20_usize);
    seeds::check("replays", 100, &strategy, |(entries, persisted, survivors)| {
        crashed(&entries, persisted, survivors)
    });
}

#[test]
fn rocksdb_and_memory_hold_the_same() {
    seeds::check("logs-on-disk", 10, &log(), |entries| {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let options = RocksOptions::default();
            Arc::new(RocksStore::open(directory.path(), LAYOUT, &options).unwrap())
        };
        let mut memory = World::new();
        let mut rocks = World::on(open());
        for entry in &entries {
            prop_assert_eq!(memory.apply(entry).commits, rocks.apply(entry).commits);
        }
        rocks.store.persist().unwrap();
        drop(rocks);
        let rocks = World::open(open());
        prop_assert_eq!(memory.shard.sum(), rocks.shard.sum(), "INV-6");
        rocks.check_sum();
        Ok(())
    });
}

/// The name of a tenant is no path: partitions whose keys begin alike stay apart.
#[test]
fn partitions_with_names_that_begin_alike_stay_apart() {
    let mut world = World::open(Arc::new(MemoryStore::new(LAYOUT)));
    let slots = Slot::all().collect();
    world.run(vec![
        Command::Found { slots, epoch: EPOCH },
        Command::Define(Box::new(crate::world::notes())),
    ]);
    let names = ["a", "a/b", "ab", "a b", "ä", "a\u{ffff}", "user/a", "A"];
    for (place, name) in (0..).zip(names) {
        let lane = lane_of(name);
        world.one(write(lane, user(name), vec![insert(NOTES, &[(ID, int(place))])]));
    }
    for (place, name) in (0..).zip(names) {
        let contents = world.contents(&lane_of(name), NOTES);
        assert_eq!(contents.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), [int(place)]);
        assert_eq!(tenant(name).as_str(), name);
    }
}
