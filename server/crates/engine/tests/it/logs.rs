//! One log, several nodes: other store numbers, another kind of store, restarts in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use protocol::ids::{
    ClientId, ContentHash, Epoch, Lane, MutationNumber, SchemaVersion, SeqId, TenantId,
};
use protocol::mutation::{Guard, Mutation, MutationDigest, Operation};
use protocol::schema::AccessLevel;
use protocol::value::Value;
use server_engine::{
    Actor, Command, Confirm, Entry, LAYOUT, Mutate, Numbered, Request, Retention, Shard,
    ShardNumber, Slot, Stores, Time, Write,
};
use server_storage::faulty::FaultyDisk;
use server_storage::{MemoryStore, RocksOptions, RocksStore, Store};

use crate::world::{
    COUNT, EPOCH, EVENTS, ID, NOTES, OWNER, POSTS, RANK, ROOM, SECOND, World, add, delete, guarded,
    insert, int, lane_of, patch, posts, service, set, shared, tenant, text, upsert, user, write,
};

fn operation(is_shared: bool) -> BoxedStrategy<Operation> {
    if is_shared {
        let post = (0..4_i64, 0..8_u8).prop_map(|(id, kind)| match kind {
            0..4 => upsert(POSTS, &[(ID, int(id)), (RANK, int(kind.into()))]),
            4 => insert(POSTS, &[(ID, int(id))]),
            5 => patch(POSTS, id, vec![set(OWNER, text("bob"))]),
            _ => delete(POSTS, id),
        });
        return post.boxed();
    }
    let table = select(vec![NOTES, NOTES, EVENTS]);
    let room = || prop_oneof![1 => Just(Value::Null), 4 => (0..3_i64).prop_map(int)];
    let guard = prop_oneof![
        20 => Just(None),
        1 => Just(Some(Guard::Absent)),
        1 => (0..20_u64).prop_map(|n| Some(Guard::Unchanged(SeqId::new(n).unwrap()))),
    ];
    let own = (table, 0..6_i64, room(), 0..12_u8).prop_map(|(table, id, room, kind)| match kind {
        0..7 => upsert(table, &[(ID, int(id)), (ROOM, room)]),
        7 => insert(table, &[(ID, int(id)), (ROOM, room)]),
        8 => patch(table, id, vec![add(COUNT, 1)]),
        _ => delete(table, id),
    });
    let guarded = (own, guard).prop_map(|(operation, guard)| match guard {
        Some(guard) => guarded(operation, guard),
        None => operation,
    });
    guarded.boxed()
}

/// A lane, and somebody who mostly may write in it.
fn place() -> impl Strategy<Value = (Lane, Actor)> {
    let own = |name: &'static str| Just((lane_of(name), user(name)));
    let posts = select(vec![user("ann"), user("bob"), service()]);
    prop_oneof![
        10 => own("ann"),
        5 => own("bob"),
        4 => posts.prop_map(|actor| (shared(), actor)),
        1 => Just((lane_of("ann"), user("bob"))),
    ]
}

/// Operations that mostly are of the lane, and never refused for what is not there.
fn operations(lane: &Lane) -> BoxedStrategy<Vec<Operation>> {
    let own = prop::collection::vec(operation(*lane == shared()), 1..4);
    let any = prop::collection::vec(any::<bool>().prop_flat_map(operation), 1..3);
    prop_oneof![12 => own, 1 => any].boxed()
}

fn command() -> impl Strategy<Value = Command> {
    let slot = || place().prop_map(|(lane, _)| Slot::of(&lane));
    let table = || select(vec![NOTES, EVENTS, POSTS]);
    let statement = place().prop_flat_map(|(lane, actor)| {
        let request = prop::option::weighted(0.2, 0..3_u8);
        (operations(&lane), request).prop_map(move |(operations, request)| {
            let request = request.map(|id| Request {
                id: format!("{id:032x}").parse().unwrap(),
                hash: ContentHash::START
                    .then(MutationDigest::of(&Mutation { operations: operations.clone() })),
                rows: 1,
            });
            let (lane, actor) = (lane.clone(), actor.clone());
            Command::Write(Write { lane, actor, operations, request })
        })
    });
    let mutations = place().prop_flat_map(|(lane, actor)| {
        let contents = prop::collection::vec(operations(&lane), 1..3);
        let number = prop_oneof![4 => Just(None), 1 => (0..6_u64).prop_map(Some)];
        (contents, number, 0..5_u64).prop_map(move |(contents, number, confirmed)| {
            mutate(lane.clone(), actor.clone(), contents, number, confirmed)
        })
    });
    let confirm = (place(), 0..6_u64).prop_map(|((lane, actor), confirmed)| {
        let confirmed = MutationNumber::new(confirmed).unwrap();
        let user = actor.user;
        Command::Confirm(Confirm { lane, user, client: CLIENT, epoch: EPOCH, confirmed })
    });
    let access = vec![AccessLevel::Private, AccessLevel::Read, AccessLevel::Write];
    let define = (select(access), 1..9_u32).prop_map(|(access, version)| {
        let mut schema = posts(access);
        schema.version = SchemaVersion(version);
        Command::Define(Box::new(schema))
    });
    let retire = (place(), table(), 0..60_u64).prop_map(|((lane, _), table, through)| {
        Command::Retire { lane, table, through: SeqId::new(through).unwrap() }
    });
    let forget = (slot(), 0..40_i64, 1..3_u32).prop_map(|(slot, days, count_max)| {
        Command::Forget { slot, silent_since: Time(days * DAY), count_max }
    });
    prop_oneof![
        120 => statement,
        80 => mutations,
        10 => confirm,
        3 => define,
        1 => Just(Command::NewEpoch(Epoch::from_bytes([8; 16]))),
        1 => table().prop_map(Command::Drop),
        10 => (table(), 1..4_u32).prop_map(|(table, rows_max)| Command::Sweep { table, rows_max }),
        20 => (slot(), 1..4_u32).prop_map(|(slot, rows_max)| Command::Expire { slot, rows_max }),
        20 => retire,
        5 => forget,
    ]
}

const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
const DAY: i64 = 24 * 60 * 60 * SECOND;

/// Mutations whose place in the chain is found when the log is put together ([`chained`]): the next
/// one, or the one with this number.
fn mutate(
    lane: Lane,
    actor: Actor,
    contents: Vec<Vec<Operation>>,
    number: Option<u64>,
    confirmed: u64,
) -> Command {
    let mutations = contents
        .into_iter()
        .map(|operations| Numbered { hash: ContentHash::START, operations: Some(operations) })
        .collect();
    Command::Mutate(Mutate {
        lane,
        actor,
        client: CLIENT,
        client_since: Time(0),
        epoch: EPOCH,
        first: MutationNumber::new(number.unwrap_or(NEXT)).unwrap(),
        previous: ContentHash::START,
        mutations,
        confirmed: MutationNumber::new(confirmed).unwrap(),
    })
}

/// A first number that stands for the next one.
const NEXT: u64 = 1_000;

/// Chains the mutations of a log, each client's in the order of the log.
fn chained(entries: &mut [Entry]) {
    let mut chains: BTreeMap<(Lane, TenantId), Vec<ContentHash>> = BTreeMap::new();
    for command in entries.iter_mut().flat_map(|entry| &mut entry.commands) {
        let Command::Mutate(mutate) = command else { continue };
        let chain = chains.entry((mutate.lane.clone(), mutate.actor.user.clone())).or_default();
        let next = chain.len() as u64 + 1;
        let is_next = mutate.first.get() == NEXT;
        let first = if is_next { next } else { mutate.first.get() };
        mutate.first = MutationNumber::new(first).unwrap();
        let before = usize::try_from(first).unwrap().checked_sub(2);
        let mut hash = before.and_then(|place| chain.get(place)).copied();
        mutate.previous = hash.unwrap_or(ContentHash::START);
        for numbered in &mut mutate.mutations {
            let operations = numbered.operations.clone().unwrap_or_default();
            numbered.hash = hash
                .unwrap_or(ContentHash::START)
                .then(MutationDigest::of(&Mutation { operations }));
            hash = Some(numbered.hash);
            if is_next {
                chain.push(numbered.hash);
            }
        }
    }
}

/// Entries whose clock mostly goes forward: by seconds, sometimes by days, sometimes back.
pub(crate) fn log() -> impl Strategy<Value = Vec<Entry>> {
    let step = prop_oneof![
        20 => 0..4 * SECOND,
        3 => Just(11 * SECOND),
        1 => Just(10 * DAY),
        3 => Just(-5 * SECOND),
    ];
    let entry = (step, prop::collection::vec(command(), 1..6));
    prop::collection::vec(entry, 1..25).prop_map(|entries| {
        let mut now = 1_000 * SECOND;
        let mut entries: Vec<Entry> = entries
            .into_iter()
            .map(|(step, commands)| {
                now += step;
                Entry::new(Time(now), commands)
            })
            .collect();
        chained(&mut entries);
        entries
    })
}

/// Founds another shard, so that the store numbers of the next one begin elsewhere.
pub(crate) fn crowd(store: Arc<dyn Store>) {
    let mut other = World::open(Arc::clone(&store));
    let stores = Arc::new(Stores::open(&*store).unwrap());
    other.shard = Shard::open(&*store.snapshot(), ShardNumber(9), stores).unwrap();
    let slots = [9, 3, 700].map(|slot| Slot::new(slot).unwrap()).to_vec();
    other.one(Command::Found { slots, epoch: EPOCH });
}

fn crowded(store: Arc<dyn Store>) -> World {
    crowd(Arc::clone(&store));
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
        let wanted = world.wanted(&retention);
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

/// A store number is given once, also after a restart: two slots in one would read each other.
#[test]
fn shards_of_one_node_lie_apart() {
    let mut one = World::new();
    one.write("ann", vec![insert(NOTES, &[(ID, int(1))])]);
    let mut other = World::open(Arc::clone(&one.store));
    let stores = Arc::new(Stores::open(&*one.store).unwrap());
    other.shard = Shard::open(&*one.store.snapshot(), ShardNumber(9), stores).unwrap();
    let slots = vec![Slot::of(&lane_of("ann"))];
    let define = Command::Define(Box::new(crate::world::notes()));
    other.run(vec![Command::Found { slots, epoch: EPOCH }, define]);
    other.write("ann", vec![insert(NOTES, &[(ID, int(2))])]);
    let found = server_engine::recount(&*other.store.snapshot(), &other.shard).unwrap();
    assert_eq!(found, other.shard.sum());
    one.check_sum();
    assert_eq!(one.contents(&lane_of("ann"), NOTES)[0][0], int(1));
}

#[test]
fn data_of_another_format_is_refused() {
    let world = World::new();
    let state = LAYOUT.families.iter().find(|family| family.name == "state").unwrap();
    // The first line of state in the golden contents.
    let format = [0, 0, 0, 0, 1];
    assert_eq!(world.store.get(*state, &format).unwrap(), Some(1_u64.to_be_bytes().to_vec()));
    let mut batch = server_storage::Batch::new();
    batch.put(*state, format, 2_u64.to_be_bytes());
    world.store.write(batch).unwrap();
    let refused = Stores::open(&*world.store).unwrap_err();
    assert_eq!(refused, server_engine::EngineError::Format { found: 2, known: 1 });
}
