//! How much is read and written for what: counted, not timed.

use std::sync::Arc;

use protocol::ids::{Birth, Floor};
use protocol::mutation::Operation;
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::value::Value;
use server_engine::{
    CatchUp, CatchUpLimits, Command, Entry, LAYOUT, LoadLimits, Query, Resuming, ScannedRange,
    Slot, View, What,
};
use server_storage::{Batch, Counted, MemoryStore, Operation as Stored, Reads};

use crate::world::{
    ALL, BY_ROOM, EPOCH, ID, NOTES, RANK, ROOM, SHARD, World, everything, insert, int, lane_of,
    notes, patch, set, upsert, user, write,
};

fn note(id: i64, room: i64) -> Operation {
    upsert(NOTES, &[(ID, int(id)), (ROOM, int(room))])
}

/// What a read costs.
fn counted<T>(world: &World, read: impl FnOnce(View<'_>) -> T) -> (T, Reads) {
    let snapshot = world.store.snapshot();
    let counted = Counted::new(&*snapshot);
    let result = read(View::new(&counted, world.shard.catalog(), SHARD, world.now));
    (result, counted.reads())
}

/// What applying an entry reads, and the keys that it writes.
fn applied(world: &mut World, commands: Vec<Command>) -> (Reads, usize, Batch) {
    let snapshot = world.store.snapshot();
    let counted = Counted::new(&*snapshot);
    let applied = world.shard.apply(&counted, &Entry::new(world.now, commands)).unwrap();
    let reads = counted.reads();
    drop(snapshot);
    world.store.write(applied.batch.clone()).unwrap();
    (reads, applied.batch.operations().count(), applied.batch)
}

/// Each update moves the row's one entry among the changes; only the last of them is there.
#[expect(clippy::print_stdout, reason = "whoever runs the soak wants the figures")]
fn updates_of_one_row(count: u64) {
    let mut world = World::new();
    world.write("ann", vec![note(1, 1), note(2, 2)]);
    let position = world.read(|view| view.lane(&lane_of("ann"))).unwrap().seq;
    let mut written = 0;
    while written < count {
        let some = 500.min(count - written);
        let commands = (written..written + some).map(|number| {
            let rank = set(RANK, int(number.cast_signed() % 1000));
            write(lane_of("ann"), user("ann"), vec![patch(NOTES, 1, vec![rank])])
        });
        let commands = commands.collect();
        world.run(commands);
        written += some;
    }
    let query = everything(NOTES);
    let queries = [Resuming { query: &query, floor: Floor::COMPLETE }];
    let limits = CatchUpLimits { changes: 1000, bytes: 1 << 20 };
    let (caught, reads) = counted(&world, |view| {
        view.catch_up(&lane_of("ann"), EPOCH, position, &queries, limits).unwrap()
    });
    let CatchUp::Piece(piece) = caught else { panic!("{caught:?}") };
    assert_eq!(piece.position.get(), position.get() + count);
    assert!(matches!(&*piece.told, [told] if matches!(told.what, What::Row(_))));
    println!("{count} updates of one row, then a resume: {reads:?}");
    // Store, epoch and position of the lane, the partition's horizon, the change, the row.
    assert_eq!(reads, Reads { gets: 5, scans: 1, entries: 1 });
    world.check_sum();
}

#[test]
fn catching_up_costs_what_differs_however_often_it_was_written() {
    seeds::for_each("hot-row", 1, |seed| {
        updates_of_one_row(if seed == 0 { 3_000 } else { 1_000_000 })
    });
}

/// The cost of a write for one tenant, beside many others.
fn beside(tenants: usize) -> (Reads, usize, usize) {
    let mut world = World::open(Arc::new(MemoryStore::new(LAYOUT)));
    let slots = Slot::all().collect();
    let define = Command::Define(Box::new(notes()));
    world.run(vec![Command::Found { slots, epoch: EPOCH }, define]);
    for tenant in 0..tenants {
        let name = format!("tenant{tenant}");
        world.run(vec![write(lane_of(&name), user(&name), vec![note(1, 1), note(2, 1)])]);
    }
    world.run(vec![write(lane_of("ann"), user("ann"), vec![note(1, 1)])]);
    let command = write(lane_of("ann"), user("ann"), vec![note(1, 2)]);
    let (reads, writes, batch) = applied(&mut world, vec![command]);
    let of_others = batch.operations().filter(|operation| {
        let (Stored::Put { key, .. } | Stored::Delete { key, .. }) = operation else { panic!() };
        key.windows(6).any(|window| window == b"tenant")
    });
    (reads, writes, of_others.count())
}

#[test]
fn a_write_costs_the_same_beside_ten_tenants_and_ten_thousand() {
    let (few, many) = (beside(10), beside(10_000));
    println!("a write beside 10 tenants: {few:?}, beside 10,000: {many:?}");
    assert_eq!(few, many);
    assert_eq!(few.2, 0, "no partition of another tenant is written");
}

#[test]
fn the_last_rows_of_a_large_partition_are_read_alone() {
    seeds::for_each("last-rows", 1, |seed| {
        last_rows_of(if seed == 0 { 10_000 } else { 1_000_000 });
    });
}

#[expect(clippy::print_stdout, reason = "whoever runs the soak wants the figures")]
fn last_rows_of(rows: i64) {
    let mut world = World::new();
    for part in 0..rows / 200 {
        let rows = (part * 200..(part + 1) * 200).map(|id| note(id, id % 100)).collect();
        world.write("ann", rows);
    }
    let load = |query: &Query, rows, below: Option<Birth>| {
        let (lane, limits) = (lane_of("ann"), LoadLimits { rows, ..ALL });
        counted(&world, |view| view.load(&lane, query, below, limits).unwrap())
    };
    // Store, epoch and position of the lane; the rows, and the one that shows that there are more.
    let (batch, reads) = load(&everything(NOTES), 10, None);
    assert_eq!(reads, Reads { gets: 3, scans: 1, entries: 11 });
    let (_, reads) = load(&everything(NOTES), 10, Some(Birth(batch.floor.0)));
    assert_eq!(reads, Reads { gets: 3, scans: 1, entries: 11 });

    let room = [int(7)].into_iter().collect();
    let in_room = Query {
        table: NOTES,
        range: ScannedRange::Index { index: BY_ROOM, values: vec![room] },
        predicate: Predicate::Compare {
            column: ROOM,
            op: CompareOp::Equal,
            operand: Operand::Value(Value::Integer(7)),
        },
    };
    let (batch, reads) = load(&in_room, 10, None);
    assert_eq!(batch.rows.len(), 10);
    println!("the last 10 of a room among {rows} rows: {reads:?}");
    // One more row, which shows that there are more.
    assert_eq!(reads, Reads { gets: 14, scans: 1, entries: 12 });
    let (batch, reads) = load(&in_room, usize::MAX, None);
    let hundredth = u64::try_from(rows / 100).unwrap();
    assert_eq!((batch.rows.len() as u64, batch.floor), (hundredth, Floor::COMPLETE));
    assert_eq!(reads, Reads { gets: 3 + hundredth, scans: 1, entries: hundredth });

    let whole = Query { range: ScannedRange::Partition, ..in_room };
    let limits = LoadLimits { examined: 300, ..ALL };
    let (batch, reads) =
        counted(&world, |view| view.load(&lane_of("ann"), &whole, None, limits).unwrap());
    assert_eq!((batch.rows.len(), reads.entries), (3, 301), "a batch ends, with few rows or none");
    assert!(batch.floor > Floor::COMPLETE);
}

/// One hundred commands about one row are one row in the batch.
#[test]
fn what_many_commands_of_an_entry_change_is_written_once() {
    let mut world = World::new();
    world.write("ann", vec![insert(NOTES, &[(ID, int(1)), (RANK, int(-1))])]);
    let update = |rank| {
        let operations = vec![patch(NOTES, 1, vec![set(RANK, int(rank))])];
        write(lane_of("ann"), user("ann"), operations)
    };
    let (_, one, _) = applied(&mut world, vec![update(0)]);
    let (_, many, _) = applied(&mut world, (1..=100).map(update).collect());
    // The row, its change and its room's change moved, the lane, and the sum.
    assert_eq!((one, many), (7, 7));
}
