//! Columns that come and go: rows of before are not rewritten, and what was written under an older
//! schema is mapped by the numbers of columns.

use std::sync::Arc;

use protocol::ids::{ClientId, ColumnId, ContentHash, MutationNumber, SchemaVersion};
use protocol::mutation::{
    ColumnValue, Guard, Mutation, MutationDigest, Operation, Reason, Rejection, Verdict,
};
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::schema::{ColumnDefault, TableSchema};
use protocol::value::{ColumnType, Value};
use server_engine::{
    Command, Entry, Mutate, Numbered, Outcome, Query, ScannedRange, Time, Undecided,
};

use crate::world::{
    ALL, BODY, COUNT, EPOCH, ID, NOTES, RANK, ROOM, World, add, column, guarded, insert, int,
    lane_of, note, notes, patch, reason, row, set, text, upsert, user, write,
};

/// A column that `notes` does not have at first.
const LIKES: ColumnId = ColumnId(5);

/// [`notes`] in another version.
pub(crate) fn notes_at(version: u32, change: impl FnOnce(&mut TableSchema)) -> TableSchema {
    let mut schema = notes();
    schema.version = SchemaVersion(version);
    change(&mut schema);
    schema
}

/// `notes` with a column that must have a value, 7 unless another is given.
pub(crate) fn with_likes(schema: &mut TableSchema) {
    let mut likes = column(LIKES, "likes", ColumnType::Int);
    (likes.not_null, likes.default) = (true, Some(ColumnDefault::Value(int(7))));
    schema.columns.push(likes);
}

fn define(schema: TableSchema) -> Command {
    Command::Define(Box::new(schema))
}

fn under(version: u32, operation: Operation) -> Operation {
    Operation { version: SchemaVersion(version), ..operation }
}

/// Mutations of one client, each by itself, and what was decided of them.
fn decide(world: &mut World, contents: Vec<Vec<Operation>>) -> (Outcome, Vec<Verdict>) {
    let mut hash = ContentHash::START;
    let chained = contents.into_iter().map(|operations| {
        hash = hash.then(MutationDigest::of(&Mutation { operations: operations.clone() }));
        Numbered { hash, operations: Some(operations) }
    });
    let mutate = Mutate {
        lane: lane_of("ann"),
        actor: user("ann"),
        client: ClientId::from_bytes([1; 16]),
        client_since: Time(0),
        epoch: EPOCH,
        first: MutationNumber::new(1).unwrap(),
        previous: ContentHash::START,
        mutations: chained.collect(),
        confirmed: MutationNumber::new(0).unwrap(),
    };
    let applied = world.run(vec![Command::Mutate(mutate)]);
    let decided = applied.commits.into_iter().filter_map(|commit| commit.decided);
    (applied.outcomes[0].clone(), decided.map(|decided| decided.decision.verdict).collect())
}

#[test]
fn rows_of_before_hold_the_constant_of_a_new_column() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7), note(2, 7)]);
    assert_eq!(world.one(define(notes_at(2, with_likes))), Outcome::Done);
    let old = |id| row([int(id), int(7), Value::Null, Value::Null, Value::Null, int(7)]);
    assert_eq!(world.contents(&lane_of("ann"), NOTES), [old(1), old(2)]);

    // Conditions see it, in a load and in what was missed.
    let predicate =
        Predicate::Compare { column: LIKES, op: CompareOp::Equal, operand: Operand::Value(int(7)) };
    let query = Query { table: NOTES, range: ScannedRange::Partition, predicate };
    let loaded = world.read(|view| view.load(&lane_of("ann"), &query, None, ALL)).unwrap();
    assert_eq!(loaded.rows.len(), 2);

    // A write of another column keeps it, and one that adds adds to it.
    world.write("ann", vec![patch(NOTES, 1, vec![set(RANK, int(1))])]);
    world.write("ann", vec![upsert(NOTES, &[(ID, int(2)), (LIKES, int(8))])]);
    let first = row([int(1), int(7), int(1), Value::Null, Value::Null, int(7)]);
    let second = row([int(2), int(7), Value::Null, Value::Null, Value::Null, int(8)]);
    assert_eq!(world.contents(&lane_of("ann"), NOTES), [first, second]);

    // Dropped and added once more it is another column.
    let another = ColumnId(6);
    let again = |schema: &mut TableSchema| {
        schema.columns.push(column(another, "likes", ColumnType::Text));
    };
    world.one(define(notes_at(3, |_| {})));
    world.one(define(notes_at(4, again)));
    let values = world.contents(&lane_of("ann"), NOTES).into_iter().map(|row| row[5].clone());
    assert_eq!(values.collect::<Vec<_>>(), [Value::Null, Value::Null]);
    world.check_sum();
    let opened = World::open(Arc::clone(&world.store));
    assert_eq!(opened.shard.catalog(), world.shard.catalog());
}

#[test]
fn a_number_of_a_column_is_never_given_again() {
    let mut world = World::new();
    let free = |world: &World| world.shard.catalog().table(NOTES).unwrap().free_column();
    assert_eq!(free(&world), Some(LIKES));
    world.one(define(notes_at(2, with_likes)));
    world.one(define(notes_at(3, |_| {})));
    assert_eq!(free(&world), Some(ColumnId(6)));
    assert_eq!(world.one(define(notes_at(4, with_likes))), Outcome::SchemaRefused);
    let last = |schema: &mut TableSchema| {
        schema.columns.push(column(ColumnId(u16::MAX), "last", ColumnType::Int));
    };
    world.one(define(notes_at(4, last)));
    assert_eq!(free(&world), None);
}

#[test]
fn what_rows_of_before_would_lack_is_refused() {
    let mut world = World::new();
    let with = |default: Option<ColumnDefault>| {
        move |schema: &mut TableSchema| {
            with_likes(schema);
            schema.columns.last_mut().unwrap().default = default;
        }
    };
    assert_eq!(world.one(define(notes_at(2, with(None)))), Outcome::SchemaRefused);
    // What is filled in by a clock or by chance is not the same for every node and device.
    let mut at = column(LIKES, "at", ColumnType::Timestamp);
    (at.not_null, at.default) = (true, Some(ColumnDefault::Now));
    let timed = notes_at(2, |schema| schema.columns.push(at));
    assert_eq!(world.one(define(timed)), Outcome::SchemaRefused);
    assert_eq!(world.one(define(notes_at(2, with_likes))), Outcome::Done);
    // Clients fill in the default that they are told.
    let other = with(Some(ColumnDefault::Value(int(8))));
    assert_eq!(world.one(define(notes_at(3, other))), Outcome::SchemaRefused);
    world.check_sum();
}

#[test]
fn a_mutation_of_an_older_schema_is_mapped_by_the_numbers_of_columns() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    // A column comes, one goes, and another comes.
    world.one(define(notes_at(2, with_likes)));
    let now = |schema: &mut TableSchema| {
        with_likes(schema);
        schema.columns.retain(|column| column.id != RANK);
    };
    world.one(define(notes_at(3, now)));
    let last = |schema: &mut TableSchema| {
        now(schema);
        let mut tag = column(ColumnId(6), "tag", ColumnType::Text);
        tag.default = Some(ColumnDefault::Value(text("none")));
        schema.columns.push(tag);
    };
    world.one(define(notes_at(4, last)));
    let dropped = vec![
        under(1, insert(NOTES, &[(ID, int(9)), (ROOM, int(7))])),
        under(1, patch(NOTES, 1, vec![set(RANK, int(1))])),
    ];
    let contents = vec![
        vec![under(1, patch(NOTES, 1, vec![set(BODY, text("one")), add(COUNT, 2)]))],
        dropped,
        vec![under(1, insert(NOTES, &[(ID, int(2)), (ROOM, int(8))]))],
        vec![under(2, insert(NOTES, &[(ID, int(3)), (LIKES, int(1))]))],
    ];
    let (outcome, verdicts) = decide(&mut world, contents);
    assert_eq!(outcome, Outcome::Mutated { left: 0, stopped: None });
    let refused = Verdict::Rejected(Rejection {
        operation: 1,
        table: NOTES,
        column: Some(RANK),
        reason: Reason::ColumnUnknown,
    });
    let accepted = Verdict::Accepted;
    assert_eq!(verdicts, [accepted.clone(), refused, accepted.clone(), accepted]);
    let null = || Value::Null;
    assert_eq!(
        world.contents(&lane_of("ann"), NOTES),
        [
            row([int(1), int(7), int(2), text("one"), int(7), text("none")]),
            row([int(2), int(8), null(), null(), int(7), text("none")]),
            row([int(3), null(), null(), null(), int(1), text("none")]),
        ]
    );
    // A guard that names what is gone cannot hold, either, and says why.
    let guard = Guard::Values(vec![ColumnValue(RANK, Value::Null)]);
    let guarded = guarded(patch(NOTES, 1, vec![set(ROOM, int(1))]), guard);
    let refused = (0, Some(RANK), Reason::ColumnUnknown);
    assert_eq!(reason(world.write("ann", vec![guarded])), refused);
    world.check_sum();
}

#[test]
fn a_mutation_of_a_schema_that_is_not_known_yet_is_not_decided() {
    let mut world = World::new();
    world.write("ann", vec![note(1, 7)]);
    let ahead = vec![under(2, patch(NOTES, 1, vec![set(LIKES, int(1))]))];
    let contents = vec![vec![note(2, 7)], ahead];
    let (outcome, verdicts) = decide(&mut world, contents.clone());
    let stopped = Some(Undecided::SchemaBehind);
    assert_eq!(outcome, Outcome::Mutated { left: 1, stopped });
    assert_eq!(verdicts, [Verdict::Accepted]);
    world.one(define(notes_at(2, with_likes)));
    let (outcome, verdicts) = decide(&mut world, contents);
    assert_eq!(outcome, Outcome::Mutated { left: 0, stopped: None });
    assert_eq!(verdicts, [Verdict::Accepted], "the first was decided before");
    assert_eq!(
        world.contents(&lane_of("ann"), NOTES)[0],
        row([int(1), int(7), Value::Null, Value::Null, Value::Null, int(1)])
    );
}

/// A shard may hear of a table's changes one by one, and another node of it after a restart; one
/// that was away hears of the last alone. All read the same.
#[test]
fn nodes_that_apply_the_log_have_the_same_and_shards_that_skip_versions_read_the_same() {
    let extra = |schema: &mut TableSchema| {
        with_likes(schema);
        schema.columns.retain(|column| column.id != BODY);
        schema.columns.push(column(ColumnId(6), "extra", ColumnType::Text));
    };
    let first = vec![
        write(lane_of("ann"), user("ann"), vec![note(1, 7)]),
        define(notes_at(2, with_likes)),
        write(lane_of("ann"), user("ann"), vec![note(2, 7)]),
    ];
    let then =
        vec![define(notes_at(3, extra)), write(lane_of("ann"), user("ann"), vec![note(3, 7)])];
    let entries = [Entry::new(Time(5), first), Entry::new(Time(6), then)];
    let (mut one, mut other) = (World::new(), World::new());
    for entry in &entries {
        one.apply(entry);
        other.apply(entry);
        // It is opened anew in between.
        other = World::open(Arc::clone(&other.store));
    }
    assert_eq!(one.shard.sum(), other.shard.sum());
    assert_eq!(one.shard.catalog(), other.shard.catalog());
    other.check_sum();

    let mut skipping = World::new();
    skipping.write("ann", vec![note(1, 7), note(2, 7)]);
    let commands = skipping.shard.catalog().toward(one.shard.catalog());
    assert_eq!(commands, [define(notes_at(3, extra))]);
    skipping.run(commands);
    skipping.write("ann", vec![note(3, 7)]);
    let contents = |world: &World| world.contents(&lane_of("ann"), NOTES);
    assert_eq!(contents(&skipping), contents(&one));
}
