//! What statements read: scans upwards, tables by name, answers that are kept.

use std::ops::ControlFlow;

use protocol::ids::{Birth, ContentHash, RequestId, SchemaVersion, TableId};
use protocol::predicate::{CompareOp, Operand, Predicate};
use server_engine::{Command, Outcome, Query, Request, ScannedRange, Write};

use crate::world::{
    BY_ROOM, EVENTS, ID, NOTES, ROOM, World, delete, everything, insert, int, lane_of, note, notes,
    seq, tenant, upsert, user,
};

/// The births that a scan of `examined_max` rows a step shows, and how many steps it takes.
fn scan(world: &World, query: &Query, examined_max: usize) -> (Vec<u64>, usize) {
    let (mut births, mut after, mut steps) = (Vec::new(), None, 0);
    loop {
        steps += 1;
        let mut visit = |scanned: server_engine::Scanned<'_>| {
            births.push(scanned.birth.0.get());
            ControlFlow::Continue(())
        };
        let lane = lane_of("ann");
        let next =
            world.read(|view| view.scan(&lane, query, after, examined_max, &mut visit)).unwrap();
        if next.is_none() {
            return (births, steps);
        }
        assert!(next > after, "every step goes on");
        after = next;
    }
}

#[test]
fn a_scan_goes_up_by_birth_in_steps_of_any_size() {
    let mut world = World::new();
    for id in 1..=6 {
        world.write("ann", vec![note(id, id % 2)]);
    }
    // Written again, and where it was; gone.
    world.write("ann", vec![note(1, 1)]);
    world.write("ann", vec![delete(NOTES, 4)]);
    let rooms = |rooms: &[i64]| {
        let values = rooms.iter().map(|room| [int(*room)].into_iter().collect()).collect();
        Query { range: ScannedRange::Index { index: BY_ROOM, values }, ..everything(NOTES) }
    };
    let operand = Operand::Value(int(2));
    let predicate = Predicate::Compare { column: ID, op: CompareOp::Greater, operand };
    let above = Query { predicate, ..everything(NOTES) };
    for examined_max in [1, 2, 5, 100] {
        assert_eq!(scan(&world, &everything(NOTES), examined_max).0, [1, 2, 3, 5, 6]);
        assert_eq!(scan(&world, &rooms(&[1]), examined_max).0, [1, 3, 5]);
        assert_eq!(scan(&world, &rooms(&[1, 0, 1]), examined_max).0, [1, 2, 3, 5, 6]);
        assert_eq!(scan(&world, &above, examined_max).0, [3, 5, 6]);
    }
    assert_eq!(scan(&world, &everything(NOTES), 2).1, 3);
}

#[test]
fn a_scan_ends_where_it_is_broken_off_and_goes_on_behind() {
    let mut world = World::new();
    world.write("ann", (1..=3).map(|id| note(id, 1)).collect());
    let first = |after| {
        let mut seen = None;
        let mut visit = |scanned: server_engine::Scanned<'_>| {
            assert_eq!(scanned.seq, scanned.birth.0);
            seen = Some(scanned.birth);
            ControlFlow::Break(())
        };
        let (lane, query) = (lane_of("ann"), everything(NOTES));
        let next = world.read(|view| view.scan(&lane, &query, after, 100, &mut visit)).unwrap();
        assert_eq!(next, seen);
        seen
    };
    let birth = |number| Some(Birth(seq(number)));
    assert_eq!((first(None), first(birth(1)), first(birth(3))), (birth(1), birth(2), None));
}

#[test]
fn a_scan_shows_no_expired_row() {
    let mut world = World::new();
    world.write("ann", vec![upsert(EVENTS, &[(ID, int(1)), (ROOM, int(1))])]);
    assert_eq!(scan(&world, &everything(EVENTS), 10).0, [1]);
    world.now.0 = i64::MAX - 1;
    assert!(scan(&world, &everything(EVENTS), 10).0.is_empty());
}

#[test]
fn a_table_is_found_by_the_name_it_has_now() {
    let mut world = World::new();
    let found = |world: &World, name: &str| {
        let table = world.shard.catalog().named(&name.parse().unwrap());
        table.map(|table| table.schema().id)
    };
    assert_eq!(found(&world, "app.notes"), Some(NOTES));
    let free = world.shard.catalog().free_id().unwrap();
    let renamed =
        |name: &str, version| server_engine::Command::Define(Box::new(renamed(name, version)));
    assert_eq!(world.one(renamed("app.other", 2)), Outcome::Done);
    assert_eq!((found(&world, "app.notes"), found(&world, "app.other")), (None, Some(NOTES)));
    // Its old name is free.
    let table = protocol::schema::TableSchema { id: free, ..notes() };
    assert_eq!(world.one(Command::Define(Box::new(table))), Outcome::Done);
    assert_eq!(found(&world, "app.notes"), Some(free));
    assert_eq!(world.one(Command::Drop(free)), Outcome::Done);
    assert_eq!(found(&world, "app.notes"), None);
    assert_eq!(world.shard.catalog().free_id(), Some(TableId(free.0 + 1)), "no number twice");
}

fn renamed(name: &str, version: u32) -> protocol::schema::TableSchema {
    let version = SchemaVersion(version);
    protocol::schema::TableSchema { name: name.parse().unwrap(), version, ..notes() }
}

#[test]
fn the_answer_to_a_request_can_be_looked_up() {
    let mut world = World::new();
    let id = RequestId::from_bytes([1; 16]);
    let request = Request { id, hash: ContentHash::from_bytes([2; 16]), rows: 1 };
    let ask = |world: &World, name: &str| {
        world.read(|view| view.answer(&lane_of("ann"), &tenant(name), id)).unwrap()
    };
    assert_eq!(ask(&world, "ann"), None);
    let outcome = world.one(Command::Write(Write {
        lane: lane_of("ann"),
        actor: user("ann"),
        operations: vec![insert(NOTES, &[(ID, int(1)), (ROOM, int(1))])],
        request: Some(request),
    }));
    assert_eq!(ask(&world, "ann"), Some((request, outcome)));
    assert_eq!(ask(&world, "bob"), None);
}
