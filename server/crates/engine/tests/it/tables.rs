//! Tables, rights and shards: what a write is held against.

use std::sync::Arc;

use protocol::ids::{ColumnId, SchemaVersion, TableId};
use protocol::mutation::Reason;
use protocol::schema::AccessLevel;
use protocol::value::{ColumnType, Value};
use server_engine::{Command, EngineError, Entry, Outcome, Slot, Time};

use crate::world::{
    EPOCH, ID, MARKS, NOTES, OWNER, POSTS, RANK, ROOM, World, column, delete, insert, int, lane_of,
    note, notes, patch, posts, reason, row, service, set, shared, text, upsert, user, write,
    written,
};

#[test]
fn of_role_user_only_the_owner_changes_a_row() {
    let mut world = World::new();
    let mut try_as = |actor, operation| match world.one(write(shared(), actor, vec![operation])) {
        Outcome::Written { .. } => None,
        outcome => Some(reason(outcome).2),
    };
    let post = |id| insert(POSTS, &[(ID, int(id))]);
    let rank = |number| patch(POSTS, 1, vec![set(RANK, int(number))]);
    let give = |name| patch(POSTS, 1, vec![set(OWNER, text(name))]);
    assert_eq!(try_as(user("ann"), post(1)), None);
    assert_eq!(try_as(user("ann"), rank(1)), None);
    let forged = insert(POSTS, &[(ID, int(2)), (OWNER, text("ann"))]);
    for operation in [rank(2), delete(POSTS, 1), give("bob"), forged] {
        assert_eq!(try_as(user("bob"), operation), Some(Reason::NotOwner));
    }
    assert_eq!(try_as(user("ann"), give("bob")), Some(Reason::NotOwner));
    let both = upsert(POSTS, &[(ID, int(1)), (RANK, int(3))]);
    assert_eq!(try_as(user("bob"), both), Some(Reason::NotOwner));
    assert_eq!(try_as(service(), rank(4)), None);
    assert_eq!(try_as(service(), give("bob")), None);
    assert_eq!(try_as(user("bob"), delete(POSTS, 1)), None);
}

#[test]
fn defaults_are_made_of_the_command() {
    let mut world = World::new();
    world.now = Time(123_000_000);
    world.one(write(shared(), user("ann"), vec![insert(POSTS, &[(ID, int(1))])]));
    let expected = row([int(1), text("ann"), Value::Null, int(123_000_000)]);
    assert_eq!(world.contents(&shared(), POSTS), [expected]);
}

#[test]
fn rights_are_those_at_that_point_of_the_log() {
    let mut world = World::new();
    let define = |access, version| {
        let mut schema = posts(access);
        schema.version = SchemaVersion(version);
        Command::Define(Box::new(schema))
    };
    let post = |id, actor| write(shared(), actor, vec![insert(POSTS, &[(ID, int(id))])]);
    let commands = vec![
        post(1, user("ann")),
        define(AccessLevel::Read, 2),
        post(2, user("ann")),
        post(3, service()),
        define(AccessLevel::Private, 3),
        post(4, user("ann")),
        define(AccessLevel::Write, 2),
        post(5, user("ann")),
    ];
    let outcomes = world.run(commands).outcomes;
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Rejected(r) if r.reason == Reason::Forbidden);
    assert_eq!(
        outcomes.iter().map(refused).collect::<Vec<_>>(),
        [false, false, true, false, false, true, false, true]
    );
    assert_eq!(outcomes[6], Outcome::SchemaRefused, "an older description replaces none");
}

/// By it a device knows which of two nodes has heard of more.
#[test]
fn the_revision_grows_with_every_change_and_with_nothing_else() {
    let mut world = World::new();
    let mut last = world.shard.catalog().revision();
    let mut grows = |commands, expected: bool| {
        world.run(commands);
        let now = world.shard.catalog().revision();
        assert_eq!(now > last, expected, "{last} to {now}");
        assert!(now >= last);
        last = now;
    };
    let define = |version, id| {
        let mut schema = posts(AccessLevel::Read);
        (schema.version, schema.id) = (SchemaVersion(version), TableId(id));
        schema.name = format!("app.revised_{id}").parse().unwrap();
        vec![Command::Define(Box::new(schema))]
    };
    grows(define(1, 900), true);
    grows(define(1, 900), false);
    grows(define(2, 900), true);
    grows(define(1, 901), true);
    grows(vec![Command::Drop(TableId(900))], true);
    grows(vec![Command::Drop(TableId(900))], false);
    // What was there before it does not count less because its rows are gone.
    grows(vec![Command::Sweep { table: TableId(900), rows_max: 100 }], false);
}

#[test]
fn a_table_grows_and_its_old_rows_are_read_as_they_are() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let mut next = notes();
    next.version = SchemaVersion(2);
    next.columns.remove(2);
    next.columns.push(column(ColumnId(5), "extra", ColumnType::Text));
    assert_eq!(world.one(Command::Define(Box::new(next.clone()))), Outcome::Done);
    let old = row([int(1), int(7), Value::Null, Value::Null, Value::Null]);
    assert_eq!(world.contents(&lane_of("ann"), NOTES), [old]);
    let dropped = patch(NOTES, 1, vec![set(RANK, int(1))]);
    let refused = (0, Some(RANK), Reason::ColumnUnknown);
    assert_eq!(reason(world.write("ann", vec![dropped])), refused);
    world.write("ann", vec![patch(NOTES, 1, vec![set(ColumnId(5), text("x"))])]);
    let new = row([int(1), int(7), Value::Null, Value::Null, text("x")]);
    assert_eq!(world.contents(&lane_of("ann"), NOTES), [new]);

    let mut refused = |change: &dyn Fn(&mut protocol::schema::TableSchema)| {
        let mut schema = next.clone();
        schema.version = SchemaVersion(3);
        change(&mut schema);
        assert_eq!(world.one(Command::Define(Box::new(schema))), Outcome::SchemaRefused);
    };
    refused(&|schema| schema.indexes.clear());
    refused(&|schema| schema.columns[1].column_type = ColumnType::BigInt);
    refused(&|schema| schema.columns[1].not_null = true);
    refused(&|schema| schema.columns.push(column(RANK, "again", ColumnType::Int)));
    refused(&|schema| schema.kind = posts(AccessLevel::Read).kind);
    refused(&|schema| schema.primary_key = vec![ROOM]);
    refused(&|schema| schema.columns.clear());
    refused(&|schema| schema.version = SchemaVersion(1));
    world.check_sum();
}

#[test]
fn a_lane_of_another_shard_and_a_shard_before_its_founding_do_nothing() {
    let mut world = World::new();
    let stranger = (0..).map(|n| format!("user{n}")).find(|name| {
        let slot = Slot::of(&lane_of(name));
        !world.shard.slots().any(|known| known == slot)
    });
    assert_eq!(world.write(&stranger.unwrap(), vec![note(1, 7)]), Outcome::WrongShard);
    let store = Arc::new(server_storage::MemoryStore::new(server_engine::LAYOUT));
    let mut unfounded = World::open(store);
    assert_eq!(unfounded.write("ann", vec![note(1, 7)]), Outcome::WrongShard);
    let lane = lane_of("ann");
    let read = unfounded.read(|view| view.lane(&lane).unwrap_err());
    assert_eq!(read, server_engine::ReadError::WrongShard);
}

#[test]
fn a_new_epoch_replaces_the_history_of_every_lane() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let next = protocol::ids::Epoch::from_bytes([8; 16]);
    let applied = world.run(vec![Command::NewEpoch(next)]);
    assert!(applied.is_new_history && applied.commits.is_empty(), "no commit can say it");
    assert!(!world.run(vec![]).is_new_history);
    for lane in [lane_of("ann"), lane_of("bob")] {
        assert_eq!(world.read(|view| view.lane(&lane)).unwrap().epoch, next);
    }
    world.check_sum();
    let again = Command::Found { slots: vec![], epoch: EPOCH };
    assert_eq!(world.one(again), Outcome::Done);
    assert_eq!(
        World::open(Arc::clone(&world.store)).read(|v| v.lane(&lane_of("ann"))).unwrap().epoch,
        next
    );
}

/// Passing over it would make this node differ from the others for ever.
#[test]
fn an_entry_of_a_later_version_is_not_passed_over() {
    let entry = Entry::new(Time(1), vec![Command::Drop(MARKS)]);
    let bytes = entry.encode();
    assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    let at = bytes.windows(8).position(|window| window == b"version\x01").unwrap() + 7;
    let mut later = bytes.clone();
    later[at] = 2;
    assert_eq!(Entry::decode(&later), Err(EngineError::UnknownEntry));
    let at = bytes.windows(4).position(|window| window == b"drop").unwrap();
    let mut unknown = bytes;
    unknown[at] = b'c';
    assert_eq!(Entry::decode(&unknown), Err(EngineError::UnknownEntry));
}

/// Schemas reach each shard by its own log, so a device can know one before its shard does. What it
/// writes then is not lost.
#[test]
fn what_overtakes_its_schema_is_not_decided() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let extra = ColumnId(5);
    let mut ahead = patch(NOTES, 1, vec![set(extra, text("x"))]);
    ahead.version = SchemaVersion(2);
    let of_new_table = insert(TableId(60), &[(ID, int(1))]);
    for operation in [ahead.clone(), of_new_table.clone()] {
        assert_eq!(world.write("ann", vec![operation]), Outcome::SchemaBehind);
    }
    let mut next = notes();
    next.version = SchemaVersion(2);
    next.columns.push(column(extra, "extra", ColumnType::Text));
    let mut new = notes();
    (new.id, new.name) = (TableId(60), "app.new".parse().unwrap());
    let define = |schema| Command::Define(Box::new(schema));
    assert_eq!(world.run(vec![define(next), define(new)]).outcomes, [Outcome::Done, Outcome::Done]);
    assert_eq!(world.write("ann", vec![ahead]), written(2, 1));
    assert_eq!(world.write("ann", vec![of_new_table.clone()]), written(3, 1));
    world.one(Command::Drop(TableId(60)));
    assert_eq!(reason(world.write("ann", vec![of_new_table])).2, Reason::TableUnknown);
}

#[test]
fn two_tables_never_have_one_name() {
    let mut world = World::new();
    let mut second = notes();
    second.id = TableId(60);
    assert_eq!(world.one(Command::Define(Box::new(second.clone()))), Outcome::SchemaRefused);
    second.name = "app.other".parse().unwrap();
    assert_eq!(world.one(Command::Define(Box::new(second.clone()))), Outcome::Done);
    (second.name, second.version) = (notes().name, SchemaVersion(2));
    assert_eq!(world.one(Command::Define(Box::new(second.clone()))), Outcome::SchemaRefused);
    world.one(Command::Drop(NOTES));
    assert_eq!(world.one(Command::Define(Box::new(second))), Outcome::Done, "the name is free");
}

#[test]
fn a_lifetime_that_was_taken_away_ends_no_row_that_is_written_since() {
    let mut world = World::new();
    let mut schema = posts(AccessLevel::Write);
    (schema.version, schema.ttl_seconds) = (SchemaVersion(2), Some(10));
    world.one(Command::Define(Box::new(schema.clone())));
    for id in [1, 2] {
        world.one(write(shared(), service(), vec![insert(POSTS, &[(ID, int(id))])]));
    }
    (schema.version, schema.ttl_seconds) = (SchemaVersion(3), None);
    world.one(Command::Define(Box::new(schema)));
    world.one(write(shared(), service(), vec![patch(POSTS, 1, vec![set(RANK, int(1))])]));
    world.now.0 += 11_000_000;
    let left: Vec<Value> =
        world.contents(&shared(), POSTS).iter().map(|row| row[0].clone()).collect();
    assert_eq!(left, [int(1)]);
    world.check_sum();
}

#[test]
fn a_shard_is_founded_once_and_a_table_ends_once() {
    let mut world = World::new();
    let before: Vec<Slot> = world.shard.slots().collect();
    let slots = vec![Slot::new(9).unwrap(), Slot::new(9).unwrap()];
    assert_eq!(world.one(Command::Found { slots: slots.clone(), epoch: EPOCH }), Outcome::Done);
    assert_eq!(world.shard.slots().collect::<Vec<_>>(), before);
    let mut fresh = World::open(Arc::new(server_storage::MemoryStore::new(server_engine::LAYOUT)));
    assert_eq!(fresh.one(Command::Define(Box::new(notes()))), Outcome::WrongShard);
    assert_eq!(fresh.one(Command::Found { slots, epoch: EPOCH }), Outcome::Done);
    assert_eq!(fresh.shard.slots().count(), 1, "a slot that is named twice is there once");
    fresh.check_sum();

    world.one(Command::Drop(NOTES));
    let mut revived = notes();
    revived.version = SchemaVersion(2);
    assert_eq!(world.one(Command::Define(Box::new(revived))), Outcome::SchemaRefused);
}
