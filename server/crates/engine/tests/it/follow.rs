//! Tables are decided in one shard, and the others follow.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use protocol::ids::{ColumnId, SchemaVersion, TableId};
use protocol::schema::TableSchema;
use protocol::value::ColumnType;
use server_engine::{Catalog, Command, LAYOUT, Outcome, Slot};
use server_storage::MemoryStore;

use crate::world::{EPOCH, World, column, notes};

fn empty() -> World {
    let mut world = World::open(Arc::new(MemoryStore::new(LAYOUT)));
    world.one(Command::Found { slots: vec![Slot::new(5).unwrap()], epoch: EPOCH });
    world
}

fn table(id: u32, version: u32, name: &str) -> TableSchema {
    let (id, version) = (TableId(id), SchemaVersion(version));
    TableSchema { id, version, name: format!("app.{name}").parse().unwrap(), ..notes() }
}

fn define(schema: TableSchema) -> Command {
    Command::Define(Box::new(schema))
}

/// Brings `shard` to `source`, and gives how many commands that took.
fn follow(shard: &mut World, source: &Catalog) -> usize {
    let commands = shard.shard.catalog().toward(source);
    let count = commands.len();
    let outcomes = shard.run(commands).outcomes;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    assert_eq!(shard.shard.catalog().toward(source), []);
    count
}

fn described(world: &World) -> Vec<TableSchema> {
    world.shard.catalog().tables().map(|table| table.schema().clone()).collect()
}

#[test]
fn a_shard_follows_what_was_defined_changed_and_dropped() {
    let (mut source, mut shard) = (empty(), empty());
    let decided = |source: &mut World, schema| {
        assert_eq!(source.one(define(schema)), Outcome::Done);
    };
    decided(&mut source, table(1, 1, "a"));
    decided(&mut source, table(2, 1, "b"));
    // The shard's own, which the source knows nothing of.
    shard.one(define(table(9, 1, "own")));
    assert_eq!(follow(&mut shard, source.shard.catalog()), 2);
    assert_eq!(follow(&mut shard, source.shard.catalog()), 0);

    // The name of a table that is gone, in the order of numbers before that table.
    decided(&mut source, table(3, 1, "c"));
    follow(&mut shard, source.shard.catalog());
    source.one(Command::Drop(TableId(3)));
    decided(&mut source, table(1, 2, "c"));
    assert_eq!(follow(&mut shard, source.shard.catalog()), 2);
    // It was dropped before the shard had heard of it.
    decided(&mut source, table(4, 1, "d"));
    source.one(Command::Drop(TableId(4)));
    assert_eq!(follow(&mut shard, source.shard.catalog()), 0);

    // Two tables have exchanged their names.
    decided(&mut source, table(1, 3, "between"));
    decided(&mut source, table(2, 2, "c"));
    decided(&mut source, table(1, 4, "b"));
    assert_eq!(follow(&mut shard, source.shard.catalog()), 3);
    let mut expected = described(&source);
    expected.push(table(9, 1, "own"));
    assert_eq!(described(&shard), expected);
    // Swept here or there makes no difference.
    shard.one(Command::Sweep { table: TableId(3), rows_max: 10 });
    source.one(Command::Sweep { table: TableId(3), rows_max: 10 });
    assert_eq!(follow(&mut shard, source.shard.catalog()), 0);
    // Whoever is ahead stays there.
    assert_eq!(source.shard.catalog().toward(&Catalog::default()), []);
}

#[test]
fn what_would_be_refused_is_not_proposed() {
    let (mut source, mut shard) = (empty(), empty());
    shard.one(define(table(9, 1, "a")));
    shard.one(define(table(2, 1, "b")));
    shard.one(define(table(4, 1, "d")));
    source.one(define(table(1, 1, "b")));
    source.one(define(table(2, 5, "a")));
    source.one(define(table(3, 1, "c")));
    source.one(define(table(4, 2, "e")));
    // 2 waits for a name that never becomes free, 1 for that of 2, and neither is moved aside.
    let expected = [define(table(3, 1, "c")), define(table(4, 2, "e"))];
    assert_eq!(shard.shard.catalog().toward(source.shard.catalog()), expected);
    shard.one(define(table(3, 1, "c")));
    for gone in [3, 4] {
        shard.one(Command::Drop(TableId(gone)));
    }
    assert_eq!(shard.shard.catalog().toward(source.shard.catalog()), []);
}

#[derive(Clone, Debug)]
enum Step {
    /// Gives a table a name, and a column if the last is set. Many are refused.
    Define(u32, char, bool),
    Drop(u32),
    Sweep(u32),
    /// A shard follows; of the commands only so many come through.
    Follow(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(vec!['a', 'b', 'c', 'd', 'e']);
    prop_oneof![
        12 => (1..7_u32, name, prop::bool::weighted(0.2)).prop_map(|(t, n, c)| Step::Define(t, n, c)),
        1 => (1..7_u32).prop_map(Step::Drop),
        1 => (1..7_u32).prop_map(Step::Sweep),
        2 => (0..2_usize, prop_oneof![Just(99), 0..3_usize]).prop_map(|(s, n)| Step::Follow(s, n)),
    ]
}

fn followed(steps: Vec<Step>) -> TestCaseResult {
    let mut source = empty();
    let mut shards = [empty(), empty()];
    for step in steps {
        match step {
            Step::Define(id, name, with_column) => {
                let known = source.shard.catalog().table(TableId(id)).map(|t| t.schema().clone());
                let mut schema = known.unwrap_or_else(|| table(id, 0, "x"));
                schema.version.0 += 1;
                schema.name = format!("app.{name}").parse().unwrap();
                if with_column {
                    let id = ColumnId(u16::try_from(schema.columns.len()).unwrap());
                    schema.columns.push(column(id, &format!("c{}", id.0), ColumnType::Int));
                }
                source.one(define(schema));
            }
            Step::Drop(table) => drop(source.one(Command::Drop(TableId(table)))),
            Step::Sweep(table) => {
                let sweep = Command::Sweep { table: TableId(table), rows_max: 1 };
                source.one(sweep.clone());
                shards[0].one(sweep);
            }
            Step::Follow(place, count) => {
                let mut commands = shards[place].shard.catalog().toward(source.shard.catalog());
                commands.truncate(count);
                let outcomes = shards[place].run(commands).outcomes;
                prop_assert!(outcomes.iter().all(|o| *o == Outcome::Done), "{:?}", outcomes);
            }
        }
    }
    for mut shard in shards {
        follow(&mut shard, source.shard.catalog());
        prop_assert_eq!(described(&shard), described(&source));
    }
    Ok(())
}

#[test]
fn whoever_follows_gets_there_and_is_never_refused() {
    let steps = prop::collection::vec(step(), 1..60);
    seeds::check("followers", 200, &steps, followed);
}
