//! What loads and resumes answer, one rule at a time.

use std::sync::Arc;

use protocol::ids::{Birth, Epoch, Floor, IndexId, Lane, SchemaVersion, SeqId, TableId};
use protocol::predicate::{CompareOp, Operand, Predicate, Truth};
use protocol::schema::AccessLevel;
use protocol::value::{Row, Value};
use server_engine::{
    CatchUp, CatchUpLimits, Command, EngineError, LAYOUT, LoadLimits, Piece, Query, ReadError,
    Resuming, SCANNED_VALUES_MAX, ScannedRange, Slot, View, What,
};
use server_storage::MemoryStore;

use crate::world::{
    ALL, BODY, BY_ROOM, EPOCH, EVENTS, ID, NOTES, POSTS, RANK, ROOM, SECOND, SHARD, World, column,
    delete, everything, insert, int, key, lane_of, notes, patch, posts, service, set, shared, text,
    upsert, write,
};

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

fn note(id: i64, room: i64) -> protocol::mutation::Operation {
    upsert(NOTES, &[(ID, int(id)), (ROOM, int(room))])
}

/// The rows of some rooms, with a predicate that leaves them all.
fn rooms(rooms: &[i64]) -> Query {
    let values = rooms.iter().map(|room| [int(*room)].into_iter().collect()).collect();
    Query { range: ScannedRange::Index { index: BY_ROOM, values }, ..everything(NOTES) }
}

const LIMITS: CatchUpLimits = CatchUpLimits { changes: 100, bytes: 1 << 20 };

fn resume(world: &World, position: u64, queries: &[&Query], limits: CatchUpLimits) -> CatchUp {
    let floor = Floor::COMPLETE;
    let queries: Vec<_> = queries.iter().map(|query| Resuming { query, floor }).collect();
    let lane = lane_of("ann");
    world.read(|view| view.catch_up(&lane, EPOCH, seq(position), &queries, limits)).unwrap()
}

fn piece(world: &World, position: u64, queries: &[&Query], limits: CatchUpLimits) -> Piece {
    match resume(world, position, queries, limits) {
        CatchUp::Piece(piece) => piece,
        other => panic!("{other:?}"),
    }
}

fn births(world: &World, query: &Query, limits: LoadLimits) -> Vec<u64> {
    let batch = world.read(|view| view.load(&lane_of("ann"), query, None, limits)).unwrap();
    batch.rows.iter().map(|row| row.birth.0.get()).collect()
}

/// INV-7: what is read by room 7 may know that a row left it, and nothing of where it is.
#[test]
fn a_row_that_left_the_range_is_not_told_whole() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let secret = vec![set(ROOM, int(8)), set(BODY, text("secret"))];
    world.write("ann", vec![patch(NOTES, 1, secret)]);
    let told = piece(&world, 1, &[&rooms(&[7])], LIMITS).told;
    assert!(matches!(&*told, [told] if told.what == What::Left(key(1))), "{told:?}");
}

#[test]
fn a_row_that_moved_between_two_values_of_a_query_is_told_once() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    world.write("ann", vec![note(1, 8)]);
    let told = piece(&world, 1, &[&rooms(&[7, 8])], LIMITS).told;
    assert!(matches!(&*told, [told] if matches!(told.what, What::Row(_))), "{told:?}");
}

#[test]
fn values_are_taken_in_any_order_and_once_each() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7), note(2, 8), note(3, 9)]);
    assert_eq!(births(&world, &rooms(&[8, 7, 8]), ALL), [1, 2]);
}

#[test]
fn ranges_that_no_index_has_are_refused() {
    let world = World::new();
    let load = |lane: &Lane, query: Query| {
        world.read(|view| view.load(lane, &query, None, ALL)).unwrap_err()
    };
    let with = |index, value: Vec<Value>| {
        let range = ScannedRange::Index { index, values: vec![Row(value)] };
        Query { range, ..everything(NOTES) }
    };
    let ann = lane_of("ann");
    assert_eq!(load(&ann, with(IndexId(9), vec![int(1)])), ReadError::IndexUnknown);
    assert_eq!(load(&ann, with(BY_ROOM, vec![int(1), int(2)])), ReadError::IndexUnknown);
    assert_eq!(load(&ann, with(BY_ROOM, vec![text("a")])), ReadError::IndexUnknown);
    let many: Vec<i64> = (0..).take(SCANNED_VALUES_MAX + 1).collect();
    assert_eq!(load(&ann, rooms(&many)), ReadError::ValuesTooMany);
    let text_of_int = Predicate::Compare {
        column: ROOM,
        op: CompareOp::Equal,
        operand: Operand::Value(text("a")),
    };
    let unfit = Query { predicate: text_of_int, ..everything(NOTES) };
    assert!(matches!(load(&ann, unfit), ReadError::Predicate(_)));
}

/// Two namespaces can lie in one slot, and so in one store.
#[test]
fn a_table_of_another_lane_is_refused() {
    let mut world = World::open(Arc::new(MemoryStore::new(LAYOUT)));
    let slots = Slot::all().collect();
    let define = |schema| Command::Define(Box::new(schema));
    world.run(vec![Command::Found { slots, epoch: EPOCH }, define(posts(AccessLevel::Write))]);
    let app = shared();
    let mut names = (0..).map(|number| format!("shared/n{number}").parse::<Lane>().unwrap());
    let other = names.find(|lane| Slot::of(lane) == Slot::of(&app)).unwrap();
    let mut of_other = posts(AccessLevel::Write);
    let Lane::Shared(namespace) = &other else { panic!() };
    of_other.name.namespace = namespace.clone();
    of_other.id = TableId(60);
    world.one(define(of_other));
    world.one(write(other, service(), vec![insert(TableId(60), &[(ID, int(1))])]));
    for (lane, table) in [(&app, TableId(60)), (&lane_of("ann"), POSTS)] {
        let read = world.read(|view| view.load(lane, &everything(table), None, ALL));
        assert_eq!(read.unwrap_err(), ReadError::LaneOfTable);
        let read = world.read(|view| view.row(lane, table, &key(1)));
        assert_eq!(read.unwrap_err(), ReadError::LaneOfTable);
    }
}

#[test]
fn a_row_is_read_by_its_key() {
    let mut world = World::new();
    let event = upsert(EVENTS, &[(ID, int(1))]);
    world.write("ann", vec![note(1, 7), note(2, 8), event]);
    let row = |world: &World, table, id| {
        let found = world.read(|view| view.row(&lane_of("ann"), table, &key(id))).unwrap();
        found.map(|(birth, _)| birth)
    };
    assert_eq!(row(&world, NOTES, 2), Some(Birth(seq(2))));
    assert_eq!(row(&world, NOTES, 3), None);
    assert_eq!(row(&world, EVENTS, 1), Some(Birth(seq(3))));
    world.now.0 += 10 * SECOND;
    assert_eq!(row(&world, EVENTS, 1), None, "it has expired");
}

#[test]
fn a_batch_ends_at_each_of_its_limits() {
    let mut world = World::new();
    world.write("ann", (1..=4).map(|id| note(id, 7)).collect());
    assert_eq!(births(&world, &everything(NOTES), LoadLimits { rows: 2, ..ALL }), [3, 4]);
    assert_eq!(births(&world, &everything(NOTES), LoadLimits { bytes: 1, ..ALL }), [4]);
    assert_eq!(births(&world, &everything(NOTES), LoadLimits { examined: 3, ..ALL }), [2, 3, 4]);
    let none = LoadLimits { rows: 0, bytes: 0, examined: 0 };
    assert_eq!(births(&world, &everything(NOTES), none), [4], "or it would not end");
}

#[test]
fn a_piece_ends_at_each_of_its_limits() {
    let mut world = World::new();
    world.write("ann", (1..=4).map(|id| note(id, 7)).collect());
    world.write("ann", (1..=4).map(|id| delete(NOTES, id)).collect());
    world.write("ann", (5..=8).map(|id| note(id, 7)).collect());
    let all = everything(NOTES);
    let at = |changes, bytes| {
        let piece = piece(&world, 4, &[&all], CatchUpLimits { changes, bytes });
        (piece.position.get(), piece.changes)
    };
    assert_eq!(at(3, 1 << 20), (7, 3));
    assert_eq!(at(0, 0), (5, 1), "or it would not end");
    assert_eq!(at(100, 1), (5, 1), "a key counts");
    assert_eq!(at(100, 1 << 20), (12, 8));
    let never = Query { predicate: Predicate::Constant(Truth::False), ..all.clone() };
    let read = piece(&world, 8, &[&never], CatchUpLimits { changes: 100, bytes: 1 });
    assert_eq!((read.told.len(), read.changes), (0, 1), "a row that is read counts, told or not");
}

#[test]
fn queries_of_one_range_share_its_reading() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7), note(2, 7)]);
    let both = piece(&world, 0, &[&everything(NOTES), &everything(NOTES)], LIMITS);
    assert_eq!((both.changes, both.told.len()), (2, 4));
}

#[test]
fn an_expired_row_is_neither_loaded_nor_told() {
    let mut world = World::new();
    world.write("ann", vec![upsert(EVENTS, &[(ID, int(1))])]);
    let events = everything(EVENTS);
    let count = |world: &World| {
        (births(world, &events, ALL).len(), piece(world, 0, &[&events], LIMITS).told.len())
    };
    world.now.0 += 10 * SECOND - 1;
    assert_eq!(count(&world), (1, 1));
    world.now.0 += 1;
    assert_eq!(count(&world), (0, 0));
}

/// A node that has not applied a restore yet must not make everybody load anew, and back again.
#[test]
fn another_epoch_is_left_to_the_caller() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let epoch = Epoch::from_bytes([8; 16]);
    let all = everything(NOTES);
    world.one(Command::NewEpoch(epoch));
    match resume(&world, 0, &[&all], LIMITS) {
        CatchUp::OtherEpoch(lane) => assert_eq!((lane.epoch, lane.seq), (epoch, seq(1))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dropped_table_ends_the_resume_of_its_own_queries_alone() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7), upsert(EVENTS, &[(ID, int(1))])]);
    world.one(Command::Drop(EVENTS));
    let (notes, events) = (everything(NOTES), everything(EVENTS));
    let gone = resume(&world, 0, &[&notes, &events], LIMITS);
    assert_eq!(gone, CatchUp::Gone(vec![(1, ReadError::TableUnknown)]));
    assert_eq!(piece(&world, 0, &[&notes], LIMITS).told.len(), 1);
}

/// A race of whoever reads, not a damage of what is stored.
#[test]
fn a_catalog_older_than_the_snapshot_is_noticed() {
    let mut world = World::new();
    let old = Arc::clone(world.shard.catalog());
    let mut next = notes();
    next.version = SchemaVersion(2);
    next.columns.swap(1, 2);
    world.one(Command::Define(Box::new(next)));
    world.write("ann", vec![note(1, 7)]);
    let snapshot = world.store.snapshot();
    let view = View::new(&*snapshot, &old, SHARD, world.now);
    let read = view.load(&lane_of("ann"), &everything(NOTES), None, ALL);
    assert_eq!(read.unwrap_err(), ReadError::Engine(EngineError::CatalogOlder));
    drop(snapshot);
    let row = world.contents(&lane_of("ann"), NOTES).remove(0);
    assert_eq!((&row[1], &row[2]), (&Value::Null, &int(7)), "in the order of the new version");
}

#[test]
fn a_predicate_on_a_column_that_is_gone_is_refused_and_its_values_are_not_met() {
    let mut world = World::new();
    world.write("ann", vec![patchable(1)]);
    let mut next = notes();
    next.version = SchemaVersion(2);
    next.columns.remove(2);
    world.one(Command::Define(Box::new(next)));
    let by_rank =
        Predicate::Compare { column: RANK, op: CompareOp::Equal, operand: Operand::Value(int(1)) };
    let query = Query { predicate: by_rank, ..everything(NOTES) };
    let read = world.read(|view| view.load(&lane_of("ann"), &query, None, ALL));
    assert!(matches!(read, Err(ReadError::Predicate(_))));
    let gone = resume(&world, 0, &[&query], LIMITS);
    assert!(matches!(gone, CatchUp::Gone(places) if places.len() == 1));
}

fn patchable(rank: i64) -> protocol::mutation::Operation {
    upsert(NOTES, &[(ID, int(1)), (RANK, int(rank))])
}

/// A key near its limit goes through a tombstone and back.
#[test]
fn the_longest_key_is_told_when_it_is_deleted() {
    let mut world = World::new();
    let mut schema = notes();
    (schema.id, schema.name) = (TableId(60), "app.labels".parse().unwrap());
    schema.columns[4] = column(BODY, "body", protocol::value::ColumnType::Text);
    schema.columns[4].not_null = true;
    schema.primary_key = vec![BODY];
    world.one(Command::Define(Box::new(schema)));
    let body = text(&"x".repeat(protocol::limits::KEY_BYTES_MAX - 2));
    world.write("ann", vec![insert(TableId(60), &[(ID, int(1)), (BODY, body.clone())])]);
    let key: Row = [body].into_iter().collect();
    let action = protocol::mutation::Action::Delete { key: key.clone() };
    world.write("ann", vec![crate::world::operation(TableId(60), action)]);
    let told = piece(&world, 1, &[&everything(TableId(60))], LIMITS).told;
    assert!(matches!(&*told, [told] if told.what == What::Deleted(key)));
}

#[test]
fn decisions_are_read_in_parts() {
    let world = World::new();
    let (lane, user) = (lane_of("ann"), crate::world::tenant("ann"));
    let client = protocol::ids::ClientId::from_bytes([1; 16]);
    let last = protocol::ids::MutationNumber::MAX;
    assert_eq!(world.read(|view| view.decisions(&lane, &user, client, last, 9)).unwrap(), []);
}

/// Two indexes over the same values, one of them of two columns, and NULL is no value.
#[test]
fn indexes_and_their_values_lie_apart() {
    let mut world = World::new();
    let mut schema = notes();
    (schema.id, schema.name) = (TableId(60), "app.pairs".parse().unwrap());
    let index = |id, columns| protocol::schema::Index { id: IndexId(id), columns };
    schema.indexes = vec![index(1, vec![ROOM]), index(2, vec![RANK]), index(3, vec![ROOM, RANK])];
    world.one(Command::Define(Box::new(schema)));
    let pair = |id, room, rank| upsert(TableId(60), &[(ID, int(id)), (ROOM, room), (RANK, rank)]);
    let rows = vec![
        pair(1, int(1), int(2)),
        pair(2, int(2), int(1)),
        pair(3, Value::Null, int(1)),
        pair(4, int(1), Value::Null),
    ];
    world.write("ann", rows);
    let by = |index, value: &[Value]| {
        let values = vec![value.iter().cloned().collect()];
        let range = ScannedRange::Index { index: IndexId(index), values };
        Query { range, ..everything(TableId(60)) }
    };
    let cases: [(Query, &[u64]); 6] = [
        (by(1, &[int(1)]), &[1, 4]),
        (by(2, &[int(1)]), &[2, 3]),
        (by(1, &[Value::Null]), &[3]),
        (by(3, &[int(1), int(2)]), &[1]),
        (by(3, &[Value::Null, int(1)]), &[3]),
        (by(3, &[int(1), Value::Null]), &[4]),
    ];
    for (query, expected) in &cases {
        assert_eq!(births(&world, query, ALL), *expected, "{query:?}");
        let told = piece(&world, 0, &[query], LIMITS).told;
        let told: Vec<u64> = told.iter().map(|told| told.birth.0.get()).collect();
        assert_eq!(told, *expected, "{query:?}");
    }
    world.write("ann", (1..=4).map(|id| delete(TableId(60), id)).collect());
    for (query, expected) in &cases {
        assert_eq!(piece(&world, 4, &[query], LIMITS).told.len(), expected.len());
    }
    world.one(Command::Retire { lane: lane_of("ann"), table: TableId(60), through: seq(8) });
    let state = world.read(|view| view.partition(&lane_of("ann"), TableId(60))).unwrap();
    assert_eq!((state.rows, state.tombstones), (0, 0));
    world.check_sum();
}
