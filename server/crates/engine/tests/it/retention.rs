//! What ends: expiry, tombstones, tables.

use protocol::ids::SeqId;
use protocol::ids::{Floor, TableId};
use protocol::mutation::Operation;
use server_engine::{
    CatchUp, CatchUpLimits, Command, Outcome, Request, Resuming, Retention, Slot, Time, Write,
};

use crate::world::{
    EPOCH, EVENTS, ID, NOTES, RANK, ROOM, SECOND, World, delete, everything, hash, insert, int,
    lane_of, notes, patch, set, upsert, user,
};

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

fn wanted(world: &World, retention: &Retention) -> Vec<Command> {
    let slot = Slot::of(&lane_of("ann"));
    world.read(|view| view.wanted(slot, retention)).unwrap()
}

/// Runs what the leader would propose until there is nothing left, in all slots.
fn settle(world: &mut World, retention: &Retention) -> usize {
    for round in 0..100 {
        let commands = world.wanted(retention);
        if commands.is_empty() {
            return round;
        }
        world.run(commands);
        world.check_sum();
    }
    panic!("it never ends");
}

fn note(id: i64) -> Operation {
    insert(NOTES, &[(ID, int(id)), (ROOM, int(id % 3))])
}

#[test]
fn expired_rows_go_in_bounded_steps_and_leave_nothing_behind() {
    let mut world = World::new();
    let event = |id| upsert(EVENTS, &[(ID, int(id)), (ROOM, int(id % 3))]);
    for id in 0..25 {
        world.now.0 += SECOND / 10;
        world.write("ann", vec![event(id)]);
    }
    let retention = Retention { rows_max: 10, ..Retention::default() };
    assert_eq!(wanted(&world, &retention), []);
    world.now.0 += 9 * SECOND;
    let some = wanted(&world, &retention);
    assert!(matches!(&*some, [Command::Expire { .. }]));
    assert_eq!(world.run(some).outcomes, [Outcome::Removed { count: 10, more: true }]);
    let before = world.read(|view| view.lane(&lane_of("ann"))).unwrap().seq;
    assert_eq!(before, seq(25), "expiry is not a change");
    world.now.0 += 60 * SECOND;
    assert_eq!(settle(&mut world, &retention), 2);
    let state = world.read(|view| view.partition(&lane_of("ann"), EVENTS)).unwrap();
    assert_eq!((state.rows, state.tombstones), (0, 0));
    let everything = everything(EVENTS);
    let queries = [Resuming { query: &everything, floor: Floor::COMPLETE }];
    let limits = CatchUpLimits { changes: 100, bytes: 1000 };
    let caught = world
        .read(|view| view.catch_up(&lane_of("ann"), EPOCH, SeqId::ZERO, &queries, limits).unwrap());
    let CatchUp::Piece(piece) = caught else { panic!("{caught:?}") };
    assert_eq!((piece.position, piece.changes, piece.told.len()), (seq(25), 0, 0));
}

#[test]
fn tombstones_retire_by_age_and_by_number_and_never_silently() {
    let mut world = World::new();
    world.write("ann", (0..40).map(note).collect());
    for id in 0..20 {
        world.now.0 += SECOND;
        world.write("ann", vec![delete(NOTES, id)]);
    }
    world.write("ann", vec![patch(NOTES, 30, vec![set(ROOM, int(9))])]);
    // 20 rows are left, and 41 tombstones: one each of 20 rows and of their rooms, one of a move.
    let state = world.read(|view| view.partition(&lane_of("ann"), NOTES)).unwrap();
    assert_eq!((state.rows, state.tombstones), (20, 41));

    let by_age = Retention { tombstones_micros: 15 * SECOND, ..Retention::default() };
    world.now.0 += 5 * SECOND;
    let retire = wanted(&world, &by_age);
    let through = seq(49);
    let expected = Command::Retire { lane: lane_of("ann"), table: NOTES, through };
    assert_eq!(retire, [expected], "those made more than 15 seconds ago");
    world.run(retire);
    assert_eq!(wanted(&world, &by_age), []);
    let state = world.read(|view| view.partition(&lane_of("ann"), NOTES)).unwrap();
    assert_eq!((state.tombstones, state.oldest_resumable), (23, through));
    let everything = everything(NOTES);
    let queries = [Resuming { query: &everything, floor: Floor::COMPLETE }];
    let limits = CatchUpLimits { changes: 100, bytes: 10_000 };
    let at = |world: &World, position| {
        let lane = lane_of("ann");
        world.read(|view| view.catch_up(&lane, EPOCH, position, &queries, limits)).unwrap()
    };
    assert_eq!(at(&world, seq(48)), CatchUp::Reset(vec![0]));
    assert!(matches!(at(&world, seq(49)), CatchUp::Piece(piece) if piece.told.len() == 12));
    assert_eq!(at(&world, seq(99)), CatchUp::Behind { seq: seq(61) });

    world.write("ann", (20..40).map(|id| delete(NOTES, id)).collect());
    let by_number = Retention { tombstones_min: 10, ..Retention::default() };
    assert_eq!(settle(&mut world, &by_number), 1);
    let state = world.read(|view| view.partition(&lane_of("ann"), NOTES)).unwrap();
    assert_eq!(
        (state.rows, state.tombstones),
        (0, 4),
        "half of what may be kept, in whole changes"
    );
}

/// To the microsecond, and of a SHARED table too.
#[test]
fn a_row_goes_when_it_has_expired_and_not_before() {
    let mut world = World::new();
    let start = world.now;
    world.write("ann", vec![upsert(EVENTS, &[(ID, int(1))])]);
    let slot = Slot::of(&lane_of("ann"));
    let expire = Command::Expire { slot, rows_max: 10 };
    world.now.0 = start.0 + 10 * SECOND - 1;
    assert_eq!(wanted(&world, &Retention::default()), []);
    assert_eq!(world.one(expire.clone()), Outcome::Removed { count: 0, more: false });
    world.now.0 += 1;
    assert_eq!(wanted(&world, &Retention::default()).len(), 1);
    assert_eq!(world.one(expire), Outcome::Removed { count: 1, more: false });

    let shared = crate::world::shared();
    let post = |id| insert(crate::world::POSTS, &[(ID, int(id))]);
    let posts = |world: &mut World, operations| {
        world.one(crate::world::write(crate::world::shared(), user("ann"), operations))
    };
    posts(&mut world, (0..20).map(post).collect());
    posts(&mut world, (0..3).map(|id| delete(crate::world::POSTS, id)).collect());
    let few = Retention { tombstones_min: 2, ..Retention::default() };
    assert_eq!(settle(&mut world, &few), 0, "two for each row are kept");
    posts(&mut world, (3..15).map(|id| delete(crate::world::POSTS, id)).collect());
    assert_eq!(settle(&mut world, &few), 1);
    let state = world.read(|view| view.partition(&shared, crate::world::POSTS)).unwrap();
    assert_eq!((state.rows, state.tombstones), (5, 5));
}

/// A horizon beyond the lane would reset everybody who stands at its end.
#[test]
fn a_horizon_never_lies_beyond_the_lane() {
    let mut world = World::new();
    world.write("ann", vec![note(1), note(2)]);
    world.one(Command::Retire { lane: lane_of("ann"), table: NOTES, through: seq(1_000) });
    let state = world.read(|view| view.partition(&lane_of("ann"), NOTES)).unwrap();
    assert_eq!(state.oldest_resumable, seq(2));
}

#[test]
fn answers_are_kept_for_a_day() {
    let mut world = World::new();
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let ask = |world: &mut World| {
        let request = Some(Request { id, hash: hash(1), rows: 1 });
        let operations = vec![upsert(NOTES, &[(ID, int(1)), (RANK, int(1))])];
        let (lane, actor) = (lane_of("ann"), user("ann"));
        world.one(Command::Write(Write { lane, actor, operations, request }))
    };
    let first = ask(&mut world);
    world.write("ann", vec![note(2)]);
    let hour = 60 * 60 * SECOND;
    world.now.0 += 24 * hour;
    let slot = Slot::of(&lane_of("ann"));
    let forget = Command::Forget { slot, silent_since: Time(0), count_max: 10 };
    assert_eq!(world.one(forget), Outcome::Removed { count: 0, more: false });
    assert_eq!(settle(&mut world, &Retention::default()), 0);
    assert_eq!(ask(&mut world), first);
    world.now.0 += 1;
    assert_eq!(settle(&mut world, &Retention::default()), 1);
    assert_ne!(ask(&mut world), first, "by then it is another request");
}

#[test]
fn a_table_that_was_dropped_is_swept_and_its_number_stays_taken() {
    let mut world = World::new();
    for name in ["ann", "bob"] {
        world.write(name, (0..30).map(note).collect());
        world.write(name, (0..5).map(|id| delete(NOTES, id)).collect());
    }
    world.one(Command::Drop(NOTES));
    let gone = world.read(|view| {
        view.load(&lane_of("ann"), &everything(NOTES), None, crate::world::ALL).unwrap_err()
    });
    assert_eq!(gone, server_engine::ReadError::TableUnknown);
    let retention = Retention { rows_max: 16, ..Retention::default() };
    assert!(settle(&mut world, &retention) > 3, "in bounded steps");
    let state = world.read(|view| view.partition(&lane_of("ann"), NOTES)).unwrap();
    assert_eq!(state, server_engine::PartitionState::default());
    assert_eq!(world.one(Command::Define(Box::new(notes()))), Outcome::SchemaRefused);
    let mut other = notes();
    other.id = TableId(50);
    assert_eq!(world.one(Command::Define(Box::new(other))), Outcome::Done);
    let lane = lane_of("ann");
    assert_eq!(world.read(|view| view.lane(&lane)).unwrap().seq, seq(35), "the order goes on");
}

/// Whatever the leader asks for, it gets somewhere.
#[test]
fn a_bound_of_nothing_still_removes_something() {
    let mut world = World::new();
    world.write("ann", (0..5).map(note).collect());
    world.one(Command::Drop(NOTES));
    let sweep = Command::Sweep { table: NOTES, rows_max: 0 };
    assert_eq!(world.one(sweep.clone()), Outcome::Removed { count: 1, more: true });
    assert_eq!(settle(&mut world, &Retention { rows_max: 0, ..Retention::default() }), 6);
    assert_eq!(world.one(sweep), Outcome::Removed { count: 0, more: false });
    // What comes late writes nothing about a table that is gone, or of another lane.
    let sum = world.shard.sum();
    for lane in [lane_of("ann"), crate::world::shared()] {
        let outcome = world.one(Command::Retire { lane, table: NOTES, through: seq(5) });
        assert_eq!(outcome, Outcome::Removed { count: 0, more: false });
    }
    assert_eq!(world.shard.sum(), sum);
}

#[test]
fn a_tombstone_that_a_wrong_clock_made_holds_up_no_other() {
    let mut world = World::new();
    world.write("ann", (0..10).map(note).collect());
    let now = world.now;
    world.now.0 += 365 * 24 * 60 * 60 * SECOND;
    world.write("ann", vec![delete(NOTES, 0)]);
    world.now = now;
    world.write("ann", vec![delete(NOTES, 1)]);
    world.now.0 += 40 * 24 * 60 * 60 * SECOND;
    assert_eq!(settle(&mut world, &Retention::default()), 1);
    let state = world.read(|view| view.partition(&lane_of("ann"), NOTES)).unwrap();
    assert_eq!(state.tombstones, 0);
}
