//! What a write means, one rule at a time.

use protocol::ids::{Birth, ColumnId, TableId};
use protocol::limits::{COMMIT_BYTES_MAX, KEY_BYTES_MAX, ROW_BYTES_MAX};
use protocol::mutation::{Action, Guard, Reason};
use protocol::value::{ColumnType, Value};
use server_engine::{Command, Outcome, Request, Time, Write};

use crate::world::{
    BODY, COUNT, EVENTS, ID, NOTES, POSTS, RANK, ROOM, World, add, delete, guarded, hash, insert,
    int, lane_of, note, notes, operation, patch, reason, row, seq, service, set, text, upsert,
    user, values, write, written,
};

#[test]
fn a_commit_has_the_net_change_of_each_row_and_dense_positions() {
    let mut world = World::new();
    assert_eq!(world.write("ann", vec![note(1, 7), note(2, 7)]), written(2, 2));
    let operations = vec![
        patch(NOTES, 1, vec![set(RANK, int(1))]),
        note(3, 7),
        patch(NOTES, 1, vec![set(RANK, int(2))]),
        delete(NOTES, 3),
        patch(NOTES, 2, vec![set(ROOM, int(7))]),
        delete(NOTES, 9),
    ];
    let applied = world.run(vec![write(lane_of("ann"), user("ann"), operations)]);
    let [commit] = &*applied.commits else { panic!("{:?}", applied.commits) };
    assert_eq!((commit.before, commit.seq), (seq(2), seq(3)));
    let [change] = &*commit.changes else { panic!("one row is different: {:?}", commit.changes) };
    assert_eq!((change.seq, change.birth), (seq(3), Birth(seq(1))));
    assert_eq!(change.old.as_ref().map(|old| old.seq()), Some(seq(1)));
    world.check_sum();
}

#[test]
fn a_row_that_is_deleted_and_inserted_in_one_commit_is_another_row() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let applied =
        world.run(vec![write(lane_of("ann"), user("ann"), vec![delete(NOTES, 1), note(1, 8)])]);
    let changes = &applied.commits[0].changes;
    let told: Vec<_> = changes.iter().map(|c| (c.seq, c.birth, c.new.is_some())).collect();
    assert_eq!(told, [(seq(2), Birth(seq(1)), false), (seq(3), Birth(seq(3)), true)]);
    world.check_sum();
}

#[test]
fn a_write_that_is_refused_changes_nothing_at_all() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let sum = world.shard.sum();
    let refused = world.write("ann", vec![note(2, 7), delete(NOTES, 1), patch(NOTES, 1, vec![])]);
    assert_eq!(reason(refused), (2, None, Reason::RowMissing));
    assert_eq!(world.shard.sum(), sum);
    assert_eq!(world.write("ann", vec![note(1, 7)]), {
        let Outcome::Rejected(rejection) = world.write("ann", vec![note(1, 8)]) else { panic!() };
        assert_eq!(rejection.reason, Reason::DuplicateKey);
        Outcome::Rejected(rejection)
    });
    assert_eq!(world.write("ann", vec![note(2, 7)]), written(2, 1), "no position is used up");
}

#[test]
fn values_are_held_to_their_columns() {
    let mut world = World::new();
    let refused = |world: &mut World, operation| reason(world.write("ann", vec![operation]));
    let with = |column, value| insert(NOTES, &[(ID, int(1)), (column, value)]);
    let cases = [
        (with(ROOM, int(1 << 31)), (Some(ROOM), Reason::Value)),
        (with(ROOM, text("a")), (Some(ROOM), Reason::Value)),
        (with(ColumnId(9), int(1)), (Some(ColumnId(9)), Reason::ColumnUnknown)),
        (with(ID, int(1)), (Some(ID), Reason::ColumnTwice)),
        (insert(NOTES, &[(ROOM, int(1))]), (Some(ID), Reason::KeyIncomplete)),
        (insert(NOTES, &[(ID, Value::Null)]), (Some(ID), Reason::KeyIncomplete)),
        (insert(NOTES, &[(ID, text("a"))]), (Some(ID), Reason::Value)),
        (operation(NOTES, Action::Delete { key: row([]) }), (None, Reason::KeyIncomplete)),
        (operation(NOTES, Action::Delete { key: row([text("a")]) }), (Some(ID), Reason::Value)),
        (insert(POSTS, &[(ID, int(1))]), (None, Reason::LaneOfTable)),
    ];
    for (operation, (column, why)) in cases {
        assert_eq!(refused(&mut world, operation.clone()), (0, column, why), "{operation:?}");
    }
    world.write("ann", vec![note(1, 7)]);
    let cases = [
        (patch(NOTES, 1, vec![set(ID, int(2))]), (Some(ID), Reason::KeyChanged)),
        (patch(NOTES, 1, vec![set(ID, Value::Null)]), (Some(ID), Reason::KeyChanged)),
        (patch(NOTES, 1, vec![add(RANK, 1)]), (Some(RANK), Reason::NotAdded)),
        (
            patch(NOTES, 1, vec![set(RANK, int(1)), set(RANK, int(2))]),
            (Some(RANK), Reason::ColumnTwice),
        ),
    ];
    for (operation, (column, why)) in cases {
        assert_eq!(refused(&mut world, operation.clone()), (0, column, why), "{operation:?}");
    }
    assert_eq!(world.contents(&lane_of("ann"), NOTES).len(), 1);
}

#[test]
fn what_is_added_adds_up_and_stays_in_range() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7), patch(NOTES, 1, vec![add(COUNT, 2)])]);
    world.write("ann", vec![patch(NOTES, 1, vec![add(COUNT, 3), set(RANK, int(1))])]);
    let expected = row([int(1), int(7), int(1), int(5), Value::Null]);
    assert_eq!(world.contents(&lane_of("ann"), NOTES), [expected]);
    let too_far = patch(NOTES, 1, vec![add(COUNT, i32::MAX.into())]);
    assert_eq!(reason(world.write("ann", vec![too_far])), (0, Some(COUNT), Reason::Sum));
}

#[test]
fn an_upsert_leaves_the_columns_that_it_does_not_name() {
    let mut world = World::new();
    world.write("ann", vec![upsert(NOTES, &[(ID, int(1)), (ROOM, int(7))])]);
    world.write("ann", vec![upsert(NOTES, &[(ID, int(1)), (RANK, int(2))])]);
    let expected = row([int(1), int(7), int(2), Value::Null, Value::Null]);
    assert_eq!(world.rows(&lane_of("ann"), NOTES), [(Birth(seq(1)), expected)]);
}

#[test]
fn a_guard_that_fails_is_no_answer_to_a_statement() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let room = |number| set(ROOM, int(number));
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let request = Some(Request { id, hash: hash(1), rows: 1 });
    let guards = [
        Guard::Absent,
        Guard::Unchanged(seq(9)),
        Guard::Values(values(&[(ROOM, int(7)), (RANK, int(1))])),
    ];
    let ask = |world: &mut World, guard| {
        let operations = vec![guarded(patch(NOTES, 1, vec![room(7)]), guard)];
        let (lane, actor) = (lane_of("ann"), user("ann"));
        world.one(Command::Write(Write { lane, actor, operations, request }))
    };
    for guard in guards {
        assert_eq!(ask(&mut world, guard), Outcome::GuardFailed);
    }
    assert_eq!(ask(&mut world, Guard::Unchanged(seq(1))), written(1, 1), "planned again");
    let guards = [Guard::Unchanged(seq(1)), Guard::Values(values(&[(ROOM, int(8))]))];
    for (number, guard) in (2..).zip(guards) {
        let operation = guarded(patch(NOTES, 1, vec![room(6 + number as i64)]), guard);
        assert_eq!(world.write("ann", vec![operation]), written(number, 1));
    }
    let absent = guarded(insert(NOTES, &[(ID, int(2))]), Guard::Absent);
    assert_eq!(world.write("ann", vec![absent.clone()]), written(4, 1));
    assert_eq!(world.write("ann", vec![absent]), Outcome::GuardFailed);
    let gone = guarded(delete(NOTES, 9), Guard::Unchanged(seq(1)));
    assert_eq!(world.write("ann", vec![gone]), Outcome::GuardFailed);
}

/// INV-2, for statements: the network may lose the answer, and asking again finds it.
#[test]
fn a_request_that_comes_again_gets_the_first_answer() {
    let mut world = World::new();
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let ask = |world: &mut World, operations, hash| {
        let request = Some(Request { id, hash, rows: 5 });
        world.one(Command::Write(Write {
            lane: lane_of("ann"),
            actor: user("ann"),
            operations,
            request,
        }))
    };
    assert_eq!(ask(&mut world, vec![note(1, 7)], hash(1)), written(1, 5));
    assert_eq!(world.write("ann", vec![note(2, 7)]), written(2, 1));
    assert_eq!(ask(&mut world, vec![note(1, 7)], hash(1)), written(1, 5), "and no duplicate key");
    assert_eq!(ask(&mut world, vec![note(3, 7)], hash(2)), Outcome::RequestReused);
    assert_eq!(world.contents(&lane_of("ann"), NOTES).len(), 2);
    world.check_sum();
}

/// INV-7.
#[test]
fn nobody_writes_in_another_users_partitions() {
    let mut world = World::new();
    world.write("ann", vec![note(5, 7)]);
    let sum = world.shard.sum();
    for actor in [user("bob"), service()] {
        for operations in [vec![note(1, 7)], vec![]] {
            let outcome = world.one(write(lane_of("ann"), actor.clone(), operations));
            assert_eq!(outcome, Outcome::Forbidden, "not even where the lane is");
        }
    }
    assert_eq!(world.shard.sum(), sum);
    assert_eq!(
        world.write("bob", vec![note(1, 7)]),
        written(1, 1),
        "each has an order of their own"
    );
    assert_eq!(world.write("ann", vec![note(1, 8)]), written(2, 1));
    assert_eq!(world.contents(&lane_of("ann"), NOTES)[1][1], int(8));
    assert_eq!(world.contents(&lane_of("bob"), NOTES)[0][1], int(7));
}

#[test]
fn what_is_too_large_is_refused_whole() {
    let mut world = World::new();
    let body = |id, bytes| insert(NOTES, &[(ID, int(id)), (BODY, text(&"x".repeat(bytes)))]);
    let refused = world.write("ann", vec![body(1, ROW_BYTES_MAX)]);
    assert_eq!(reason(refused), (0, None, Reason::RowTooLarge));
    let third = COMMIT_BYTES_MAX / 3 + 1;
    let refused = world.write("ann", vec![body(1, third), body(2, third), body(3, third)]);
    assert_eq!(reason(refused), (2, None, Reason::CommitTooLarge));
    assert_eq!(world.write("ann", vec![body(1, third), body(2, third)]), written(2, 2));

    let mut schema = notes();
    (schema.id, schema.name) = (TableId(5), "app.labels".parse().unwrap());
    schema.indexes[0].columns = vec![BODY];
    schema.columns[4].not_null = true;
    schema.primary_key = vec![ID, BODY];
    assert_eq!(world.one(Command::Define(Box::new(schema.clone()))), Outcome::Done);
    let label = |bytes| insert(TableId(5), &[(ID, int(1)), (BODY, text(&"x".repeat(bytes)))]);
    let refused = world.write("ann", vec![label(KEY_BYTES_MAX - 10)]);
    assert_eq!(reason(refused), (0, None, Reason::KeyTooLarge));
    schema.primary_key = vec![ID];
    (schema.id, schema.name) = (TableId(6), "app.titles".parse().unwrap());
    world.one(Command::Define(Box::new(schema)));
    let title = |bytes| insert(TableId(6), &[(ID, int(1)), (BODY, text(&"x".repeat(bytes)))]);
    assert_eq!(
        reason(world.write("ann", vec![title(KEY_BYTES_MAX)])),
        (0, None, Reason::KeyTooLarge)
    );
    assert_eq!(world.write("ann", vec![title(KEY_BYTES_MAX - 2)]), written(3, 1));
}

#[test]
fn commands_of_one_entry_see_each_other() {
    let mut world = World::new();
    let ann = |operations| write(lane_of("ann"), user("ann"), operations);
    let commands = vec![
        ann(vec![note(1, 7)]),
        ann(vec![note(1, 7)]),
        ann(vec![patch(NOTES, 1, vec![set(ROOM, int(8))])]),
        ann(vec![delete(NOTES, 1)]),
        ann(vec![note(1, 9)]),
        Command::Drop(NOTES),
        ann(vec![note(2, 9)]),
    ];
    let outcomes = world.run(commands).outcomes;
    assert_eq!(outcomes[0], written(1, 1));
    assert_eq!(reason(outcomes[1].clone()).2, Reason::DuplicateKey);
    assert_eq!(outcomes[2..5], [written(2, 1), written(3, 1), written(4, 1)]);
    assert_eq!(reason(outcomes[6].clone()).2, Reason::TableUnknown);
    world.check_sum();
}

#[test]
fn a_row_with_a_lifetime_ends_without_a_change_and_its_key_is_free() {
    let mut world = World::new();
    let second = 1_000_000;
    let event = |id, rank| upsert(EVENTS, &[(ID, int(id)), (RANK, int(rank))]);
    let start = world.now;
    let at = |world: &mut World, seconds: i64| world.now = Time(start.0 + seconds * second);
    assert_eq!(world.write("ann", vec![event(1, 1)]), written(1, 1));
    at(&mut world, 4);
    // The same values again: it lives longer, which whoever holds it must hear.
    assert_eq!(world.write("ann", vec![event(1, 1)]), written(2, 1));
    // A leader whose clock is behind never shortens a life.
    at(&mut world, 2);
    assert_eq!(world.write("ann", vec![event(1, 1)]), written(2, 1));
    assert_eq!(world.write("ann", vec![event(1, 2)]), written(3, 1));
    at(&mut world, 13);
    assert_eq!(world.rows(&lane_of("ann"), EVENTS).len(), 1);
    at(&mut world, 14);
    assert_eq!(world.rows(&lane_of("ann"), EVENTS), []);
    let gone = patch(EVENTS, 1, vec![set(RANK, int(3))]);
    assert_eq!(reason(world.write("ann", vec![gone])).2, Reason::RowMissing);
    let again = insert(EVENTS, &[(ID, int(1))]);
    assert_eq!(world.write("ann", vec![again]), written(4, 1));
    assert_eq!(world.rows(&lane_of("ann"), EVENTS)[0].0, Birth(seq(4)), "another row");
    world.check_sum();
    let state = world.read(|view| view.partition(&lane_of("ann"), EVENTS)).unwrap();
    assert_eq!((state.rows, state.tombstones), (1, 0));
}

#[test]
fn a_guard_on_a_column_that_is_gone_does_not_hold_by_accident() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let guard = Guard::Values(values(&[(ColumnId(99), Value::Null)]));
    let outcome = world.write("ann", vec![guarded(delete(NOTES, 1), guard)]);
    assert_eq!(reason(outcome), (0, Some(ColumnId(99)), Reason::ColumnUnknown));
}

/// A few bytes of a command name rows of half a megabyte each.
#[test]
fn what_an_entry_takes_is_bounded_whatever_is_in_it() {
    let mut world = World::new();
    let body = text(&"x".repeat(500_000));
    for id in 0..40 {
        world.write("ann", vec![insert(NOTES, &[(ID, int(id)), (BODY, body.clone())])]);
    }
    let refused = world.write("ann", (0..40).map(|id| delete(NOTES, id)).collect());
    assert_eq!(reason(refused), (16, None, Reason::CommitTooLarge));
    let bump = |id| write(lane_of("ann"), user("ann"), vec![patch(NOTES, id, vec![add(COUNT, 1)])]);
    let applied = world.run((0..200).map(|_| bump(0)).collect());
    let done = applied.outcomes.iter().filter(|o| matches!(o, Outcome::Written { .. })).count();
    assert!(applied.outcomes[done..].iter().all(|outcome| *outcome == Outcome::Later));
    assert_eq!(done, 34, "32 MiB, at a row of 500,000 bytes before and one after");
    assert_eq!(applied.commits.len(), done);
    assert!(
        matches!(world.one(bump(0)), Outcome::Written { .. }),
        "and goes on with the next entry"
    );

    let mut schema = notes();
    (schema.id, schema.name) = (TableId(60), "app.indexed".parse().unwrap());
    let index =
        |id| protocol::schema::Index { id: protocol::ids::IndexId(id), columns: vec![BODY] };
    schema.indexes = (1..=16).map(index).collect();
    world.one(Command::Define(Box::new(schema)));
    let label = text(&"x".repeat(1_000));
    for first in [0, 100] {
        let row = |id: i64| insert(TableId(60), &[(ID, int(id)), (BODY, label.clone())]);
        assert!(matches!(
            world.write("ann", (first..first + 100).map(row).collect()),
            Outcome::Written { .. }
        ));
    }
    let refused = world.write("ann", (0..200).map(|id| delete(TableId(60), id)).collect());
    assert_eq!(reason(refused).2, Reason::CommitTooLarge);
    world.check_sum();
}

#[test]
fn a_column_that_is_not_null_stays_so_whatever_writes_it() {
    let mut world = World::new();
    let mut schema = notes();
    (schema.id, schema.name) = (TableId(60), "app.strict".parse().unwrap());
    schema.columns[2].not_null = true;
    world.one(Command::Define(Box::new(schema)));
    let row = |rank| insert(TableId(60), &[(ID, int(1)), (RANK, rank)]);
    let without = insert(TableId(60), &[(ID, int(1))]);
    let null = (0, Some(RANK), Reason::NotNull);
    for operation in [without, row(Value::Null)] {
        assert_eq!(reason(world.write("ann", vec![operation])), null);
    }
    assert_eq!(world.write("ann", vec![row(int(1))]), written(1, 1));
    let upserted = upsert(TableId(60), &[(ID, int(1)), (RANK, Value::Null)]);
    let patched = patch(TableId(60), 1, vec![set(RANK, Value::Null)]);
    for operation in [upserted, patched] {
        assert_eq!(reason(world.write("ann", vec![operation])), null);
    }
}

#[test]
fn a_write_that_changes_nothing_takes_no_position_and_tells_nobody() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let same = vec![patch(NOTES, 1, vec![set(ROOM, int(7)), set(ID, int(1))]), delete(NOTES, 9)];
    let applied = world.run(vec![write(lane_of("ann"), user("ann"), same)]);
    assert_eq!((applied.outcomes, applied.commits), (vec![written(1, 2)], vec![]));
}

#[test]
fn guards_see_the_operations_before_them() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let absent = guarded(note(1, 8), Guard::Absent);
    assert_eq!(world.write("ann", vec![delete(NOTES, 1), absent]), written(3, 2));
    let there = guarded(upsert(NOTES, &[(ID, int(2))]), Guard::Absent);
    assert_eq!(world.write("ann", vec![note(2, 7), there]), Outcome::GuardFailed);
    let unchanged = guarded(upsert(NOTES, &[(ID, int(1))]), Guard::Unchanged(seq(3)));
    assert_eq!(world.write("ann", vec![delete(NOTES, 1), unchanged]), Outcome::GuardFailed);
}

#[test]
fn what_is_added_to_a_double_is_finite_and_null_is_no_number() {
    let mut world = World::new();
    let mut schema = notes();
    (schema.id, schema.name) = (TableId(60), "app.sums".parse().unwrap());
    schema.columns[3].column_type = ColumnType::Double;
    world.one(Command::Define(Box::new(schema)));
    let plus = |value| {
        let change =
            protocol::mutation::ColumnChange::Add(protocol::mutation::ColumnValue(COUNT, value));
        patch(TableId(60), 1, vec![change])
    };
    let double = |number| Value::double(number).unwrap();
    world.write("ann", vec![insert(TableId(60), &[(ID, int(1))])]);
    world.write("ann", vec![plus(double(0.5)), plus(double(0.25))]);
    assert_eq!(world.contents(&lane_of("ann"), TableId(60))[0][3], double(0.75));
    world.write("ann", vec![patch(TableId(60), 1, vec![set(COUNT, double(f64::MAX))])]);
    assert_eq!(reason(world.write("ann", vec![plus(double(f64::MAX))])).2, Reason::Sum);
    for value in [Value::Null, int(1)] {
        assert_eq!(reason(world.write("ann", vec![plus(value)])).2, Reason::Value);
    }
}
