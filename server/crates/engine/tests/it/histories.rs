//! Loads and resumes against a naive model, over random histories.
//!
//! A client without a socket: while it is connected it is told each commit, and loads batches in
//! between; cut off, it misses commits and catches up in pieces, while others go on writing and
//! tombstones retire. Whenever it stands at the end of the lane it must hold exactly what a model
//! holds that keeps every row in a map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use protocol::ids::{Birth, Floor, SeqId, TableId};
use protocol::mutation::Operation;
use protocol::predicate::Predicate;
use protocol::testing;
use protocol::value::{Row, Value};
use server_engine::{
    CatchUp, CatchUpLimits, Commit, Image, LoadLimits, Outcome, Piece, Query, Resuming,
    ScannedRange, What,
};

use crate::world::{
    ALL, BY_ROOM, COUNT, EPOCH, ID, MARKS, NOTES, RANK, ROOM, World, add, delete, everything,
    insert, int, lane_of, notes, patch, set, tables, upsert, user, write,
};

const NAME: &str = "ann";

#[derive(Clone, Debug)]
enum Step {
    /// Writes one commit.
    Write(Vec<Operation>),
    /// Retires tombstones of a table up to so many changes before the last.
    Retire(TableId, u64),
    /// Subscribes to one of the queries, or ends that.
    Toggle(usize),
    /// Loads a batch of a subscription.
    Load(usize, LoadLimits),
    /// Cuts the client off.
    Cut,
    /// Catches up by one piece.
    Resume(CatchUpLimits),
}

fn operation() -> impl Strategy<Value = Operation> {
    let room = || prop_oneof![1 => Just(Value::Null), 6 => (0..3_i64).prop_map(int)];
    let columns = move |id| {
        (room(), 0..3_i64)
            .prop_map(move |(room, rank)| vec![(ID, int(id)), (ROOM, room), (RANK, int(rank))])
    };
    // Mostly what is never refused, since one refused operation takes its commit along.
    let notes = (0..KEYS).prop_flat_map(move |id| {
        prop_oneof![
            1 => columns(id).prop_map(|row| insert(NOTES, &row)),
            4 => columns(id).prop_map(|row| upsert(NOTES, &row)),
            4 => room().prop_map(move |room| upsert(NOTES, &[(ID, int(id)), (ROOM, room)])),
            2 => (0..3_i64).prop_map(move |rank| upsert(NOTES, &[(ID, int(id)), (RANK, int(rank))])),
            1 => room().prop_map(move |room| patch(NOTES, id, vec![set(ROOM, room)])),
            1 => Just(patch(NOTES, id, vec![add(COUNT, 1)])),
            5 => Just(delete(NOTES, id)),
        ]
    });
    let marks = (0..3_i64, 0..3_i64, 0..3_u8).prop_map(|(id, room, kind)| match kind {
        0 => upsert(MARKS, &[(ID, int(id)), (ROOM, int(room))]),
        1 => patch(MARKS, id, vec![set(ROOM, int(room))]),
        _ => delete(MARKS, id),
    });
    prop_oneof![4 => notes, 1 => marks]
}

fn step() -> impl Strategy<Value = Step> {
    let few = || prop_oneof![4 => 1..4_usize, 1 => Just(usize::MAX)];
    let bytes = || prop_oneof![1 => 1..100_usize, 4 => Just(usize::MAX)];
    let limits = (few(), bytes(), few()).prop_map(|(rows, bytes, examined)| LoadLimits {
        rows,
        bytes,
        examined,
    });
    let piece = (few(), bytes()).prop_map(|(changes, bytes)| CatchUpLimits { changes, bytes });
    prop_oneof![
        20 => prop::collection::vec(operation(), 1..4).prop_map(Step::Write),
        3 => (select(vec![NOTES, NOTES, MARKS]), 0..12_u64)
            .prop_map(|(table, back)| Step::Retire(table, back)),
        1 => (0..QUERIES).prop_map(Step::Toggle),
        6 => (0..QUERIES, limits).prop_map(|(query, limits)| Step::Load(query, limits)),
        4 => Just(Step::Cut),
        12 => piece.prop_map(Step::Resume),
    ]
}

const QUERIES: usize = 5;
const KEYS: i64 = 12;

/// Overlapping queries: whole tables, a predicate, one indexed value, several, and a predicate in
/// one.
fn queries() -> impl Strategy<Value = Vec<Query>> {
    let predicate = || testing::predicate(&notes());
    (predicate(), predicate(), 0..3_i64, 0..3_i64).prop_map(|(one, other, room, second)| {
        let in_rooms = |rooms: &[i64], predicate| {
            let values: Vec<Value> = rooms.iter().copied().map(int).collect();
            let range = values.iter().map(|value| [value.clone()].into_iter().collect()).collect();
            let is_in = Predicate::In { column: ROOM, values };
            let predicate = Predicate::And(vec![is_in, predicate]);
            let range = ScannedRange::Index { index: BY_ROOM, values: range };
            Query { table: NOTES, range, predicate }
        };
        let all = everything(NOTES).predicate;
        vec![
            everything(NOTES),
            everything(MARKS),
            Query { predicate: one, ..everything(NOTES) },
            in_rooms(&[room, second], all),
            in_rooms(&[second], other),
        ]
    })
}

/// A row of the model, and which rooms it ever was in.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    birth: Birth,
    row: Row,
}

/// All rows, in maps.
#[derive(Default)]
struct Model {
    rows: BTreeMap<(TableId, i64), Known>,
    seq: u64,
    oldest_resumable: BTreeMap<TableId, u64>,
    /// Tables that ever had a row.
    written: BTreeSet<TableId>,
    /// Every room that a birth was ever in.
    rooms: BTreeMap<Birth, BTreeSet<Value>>,
}

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

fn matches(query: &Query, row: &Row) -> bool {
    let schema = tables().into_iter().find(|table| table.id == query.table).unwrap();
    let value = |column| {
        let place = schema.columns.iter().position(|known| known.id == column);
        row[place.unwrap()].as_ref()
    };
    query.predicate.evaluate(&value).is_true()
}

impl Model {
    /// Takes over what a commit says, after checking that it is what the operations mean.
    fn commit(&mut self, operations: &[Operation], commit: Option<&Commit>) -> TestCaseResult {
        let before = self.rows.clone();
        let mut after: BTreeMap<(TableId, i64), (Option<Birth>, Row)> =
            before.iter().map(|(k, known)| (*k, (Some(known.birth), known.row.clone()))).collect();
        let mut order = Vec::new();
        for operation in operations {
            naive(&mut after, operation, &mut order);
        }
        // The net changes: of every birth before, and of every row that is new.
        let gone = |(place, birth): &((TableId, i64), Option<Birth>)| match birth {
            Some(birth) => after.get(place).is_none_or(|(now, _)| *now != Some(*birth)),
            None => false,
        };
        let mut expected = Vec::new();
        for touch in &order {
            let (place, birth) = touch;
            let old = birth.and(before.get(place)).map(|known| known.row.clone());
            let new = after.get(place).filter(|(now, _)| now == birth && !gone(touch));
            let new = new.map(|(_, row)| row.clone());
            if old != new {
                expected.push((*place, *birth, old, new));
            }
        }
        let changes = commit.map_or(&[][..], |commit| &commit.changes);
        prop_assert_eq!(changes.len(), expected.len(), "{:?} {:?}", changes, expected);
        for (change, (place, birth, old, new)) in changes.iter().zip(expected) {
            self.seq += 1;
            prop_assert_eq!(change.seq, seq(self.seq), "SeqIds are dense (INV-3)");
            self.written.insert(change.table);
            prop_assert_eq!((change.table, &change.key[0]), (place.0, &int(place.1)));
            prop_assert_eq!(change.birth, birth.unwrap_or(Birth(change.seq)));
            prop_assert_eq!(image_row(change.old.as_ref()), old);
            prop_assert_eq!(image_row(change.new.as_ref()), new.clone());
            match new {
                Some(row) => {
                    self.rooms.entry(change.birth).or_default().insert(row[1].clone());
                    self.rows.insert(place, Known { birth: change.birth, row });
                }
                None => drop(self.rows.remove(&place)),
            }
        }
        Ok(())
    }

    /// What a query must hold, down to a floor.
    fn holds(&self, query: &Query, floor: Floor) -> BTreeMap<Birth, Row> {
        self.rows
            .iter()
            .filter(|((table, _), known)| *table == query.table && floor.holds(known.birth))
            .filter(|(_, known)| matches(query, &known.row))
            .map(|(_, known)| (known.birth, known.row.clone()))
            .collect()
    }

    fn by_birth(&self, birth: Birth) -> Option<&Row> {
        self.rows.values().find(|known| known.birth == birth).map(|known| &known.row)
    }
}

type Touch = ((TableId, i64), Option<Birth>);

/// What one operation that is not refused means. `order` notes every row when it is first touched.
fn naive(
    rows: &mut BTreeMap<(TableId, i64), (Option<Birth>, Row)>,
    operation: &Operation,
    order: &mut Vec<Touch>,
) {
    use protocol::mutation::{Action, ColumnChange};
    let width = if operation.table == NOTES { 5 } else { 2 };
    let id = |value: &Value| match value {
        Value::Integer(id) => *id,
        other => panic!("{other:?} is no id"),
    };
    let place = match &operation.action {
        Action::Insert(values) | Action::Upsert(values) => (operation.table, id(&values[0].1)),
        Action::Patch { key, .. } | Action::Delete { key } => (operation.table, id(&key[0])),
    };
    let mut touch = |birth| {
        if !order.contains(&(place, birth)) {
            order.push((place, birth));
        }
    };
    touch(rows.get(&place).and_then(|(birth, _)| *birth));
    match &operation.action {
        Action::Insert(values) | Action::Upsert(values) => {
            let new = (None, vec![Value::Null; width].into_iter().collect());
            let (birth, row) = rows.entry(place).or_insert(new);
            touch(*birth);
            for value in values {
                row.0[usize::from(value.0.0)] = value.1.clone();
            }
        }
        Action::Patch { changes, .. } => {
            let (_, row) = rows.get_mut(&place).unwrap();
            for change in changes {
                let operand = change.operand();
                let cell = &mut row.0[usize::from(operand.0.0)];
                *cell = match (change, &*cell, &operand.1) {
                    (ColumnChange::Add(_), Value::Integer(a), Value::Integer(b)) => int(a + b),
                    _ => operand.1.clone(),
                };
            }
        }
        Action::Delete { .. } => drop(rows.remove(&place)),
    }
}

fn image_row(image: Option<&Image>) -> Option<Row> {
    image.map(|image| protocol::codec::decode(image.row_bytes(), usize::MAX).unwrap())
}

/// A subscription as its client holds it.
#[derive(Default)]
struct Held {
    /// `None` before the first batch.
    floor: Option<Floor>,
    rows: BTreeMap<Birth, Row>,
}

struct Client {
    queries: Vec<Query>,
    held: BTreeMap<usize, Held>,
    position: SeqId,
    live: bool,
}

impl Client {
    /// Takes the deltas of a commit.
    fn deliver(&mut self, commit: &Commit) {
        assert!(self.live && commit.before == self.position, "no gap (INV-3)");
        self.position = commit.seq;
        for (place, held) in &mut self.held {
            let (query, Some(floor)) = (&self.queries[*place], held.floor) else { continue };
            let changes = commit.changes.iter().filter(|change| change.table == query.table);
            for change in changes.filter(|change| floor.holds(change.birth)) {
                match image_row(change.new.as_ref()) {
                    Some(row) if matches(query, &row) => drop(held.rows.insert(change.birth, row)),
                    _ => drop(held.rows.remove(&change.birth)),
                }
            }
        }
    }

    fn load(&mut self, world: &World, place: usize, limits: LoadLimits) -> TestCaseResult {
        let Some(held) = self.held.get_mut(&place).filter(|_| self.live) else { return Ok(()) };
        if held.floor == Some(Floor::COMPLETE) {
            return Ok(());
        }
        let below = held.floor.map(|floor| Birth(floor.0));
        let query = &self.queries[place];
        let batch = world.read(|view| view.load(&lane_of(NAME), query, below, limits)).unwrap();
        prop_assert_eq!(batch.seq, self.position, "the state of where the feed is");
        prop_assert!(batch.rows.len() <= limits.rows.max(1));
        prop_assert!(batch.rows.is_sorted_by_key(|row| row.birth));
        for loaded in batch.rows {
            prop_assert!(below.is_none_or(|below| loaded.birth < below));
            prop_assert!(batch.floor.holds(loaded.birth));
            let row = image_row(Some(&loaded.image)).unwrap();
            prop_assert!(held.rows.insert(loaded.birth, row).is_none(), "no repeat");
        }
        if let Some(floor) = held.floor {
            prop_assert!(batch.floor < floor, "a load goes on");
        }
        held.floor = Some(batch.floor);
        Ok(())
    }

    /// Catches up by one piece; live again at the end of the lane.
    fn resume(&mut self, world: &World, model: &Model, limits: CatchUpLimits) -> TestCaseResult {
        if self.live {
            return Ok(());
        }
        let places: Vec<usize> =
            self.held.iter().filter(|(_, held)| held.floor.is_some()).map(|(p, _)| *p).collect();
        let resuming: Vec<Resuming<'_>> = places
            .iter()
            .map(|place| Resuming {
                query: &self.queries[*place],
                floor: self.held[place].floor.unwrap(),
            })
            .collect();
        let position = self.position;
        let caught = world
            .read(|view| view.catch_up(&lane_of(NAME), EPOCH, position, &resuming, limits))
            .unwrap();
        let is_retired = |place: &usize| {
            model.oldest_resumable.get(&self.queries[*place].table).copied().unwrap_or(0)
                > position.get()
        };
        match caught {
            other @ (CatchUp::Behind { .. } | CatchUp::Gone(_) | CatchUp::OtherEpoch(_)) => {
                prop_assert!(false, "nobody is ahead, and nothing was dropped: {:?}", other);
            }
            CatchUp::Reset(reset) => {
                let reset: Vec<usize> = reset.into_iter().map(|place| places[place]).collect();
                let expected: Vec<usize> = places.into_iter().filter(is_retired).collect();
                prop_assert!(!reset.is_empty());
                prop_assert_eq!(&reset, &expected, "a reset never comes without need");
                for place in reset {
                    self.held.insert(place, Held::default());
                }
            }
            CatchUp::Piece(piece) => {
                prop_assert!(!places.iter().any(is_retired), "never a silent gap");
                self.take(model, &places, piece)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, model: &Model, places: &[usize], piece: Piece) -> TestCaseResult {
        prop_assert_eq!(piece.seq, seq(model.seq));
        for told in piece.told {
            let place = places[told.query];
            let query = &self.queries[place];
            let held = self.held.get_mut(&place).unwrap();
            let floor = held.floor.unwrap();
            prop_assert!(floor.holds(told.birth), "nothing below the floor");
            if let ScannedRange::Index { values, .. } = &query.range {
                let ever = &model.rooms[&told.birth];
                let granted = values.iter().any(|value| ever.contains(&value[0]));
                prop_assert!(granted, "no key outside of the scanned range (INV-7)");
            }
            let now = model.by_birth(told.birth);
            match told.what {
                What::Row(image) => {
                    let row = image_row(Some(&image)).unwrap();
                    prop_assert_eq!(Some(&row), now);
                    prop_assert!(matches(query, &row));
                    held.rows.insert(told.birth, row);
                }
                What::Left(_) | What::Deleted(_) if told.birth.0 > self.position => {
                    prop_assert!(false, "a removal of a row born behind the position");
                }
                What::Left(key) => {
                    prop_assert_eq!(Some(&key[0]), now.map(|row| &row[0]));
                    held.rows.remove(&told.birth);
                }
                What::Deleted(key) => {
                    prop_assert_eq!(now, None);
                    if let Some(row) = held.rows.remove(&told.birth) {
                        prop_assert_eq!(&key[0], &row[0]);
                    }
                }
            }
        }
        prop_assert!(piece.position > self.position || piece.position == piece.seq, "it goes on");
        self.position = piece.position;
        self.live = piece.position == piece.seq;
        Ok(())
    }

    /// INV-4, where the client stands at the end of the lane.
    fn check(&self, model: &Model) -> TestCaseResult {
        for (place, held) in &self.held {
            if let (true, Some(floor)) = (self.live, held.floor) {
                prop_assert_eq!(self.position, seq(model.seq));
                let expected = model.holds(&self.queries[*place], floor);
                prop_assert_eq!(&held.rows, &expected, "INV-4 of query {}", place);
            }
        }
        Ok(())
    }
}

fn run(queries: Vec<Query>, steps: impl Iterator<Item = Step>) -> TestCaseResult {
    let (mut world, mut model) = (World::new(), Model::default());
    let mut client = Client { queries, held: BTreeMap::new(), position: SeqId::ZERO, live: true };
    for step in steps {
        match step {
            Step::Write(operations) => {
                let mut applied =
                    world.run(vec![write(lane_of(NAME), user(NAME), operations.clone())]);
                prop_assert!(applied.commits.len() <= 1);
                match applied.outcomes.remove(0) {
                    Outcome::Written { epoch, seq: position, .. } => {
                        model.commit(&operations, applied.commits.first())?;
                        prop_assert_eq!((epoch, position), (EPOCH, seq(model.seq)));
                    }
                    Outcome::Rejected(_) => prop_assert!(applied.commits.is_empty()),
                    other => prop_assert!(false, "{:?}", other),
                }
                if let Some(commit) = applied.commits.first().filter(|_| client.live) {
                    client.deliver(commit);
                }
            }
            Step::Retire(table, back) => {
                let through = seq(model.seq.saturating_sub(back));
                let lane = lane_of(NAME);
                world.one(server_engine::Command::Retire { lane, table, through });
                if model.written.contains(&table) {
                    let oldest = model.oldest_resumable.entry(table).or_default();
                    *oldest = through.get().max(*oldest);
                }
            }
            Step::Toggle(place) => {
                if client.held.remove(&place).is_none() {
                    client.held.insert(place, Held::default());
                }
            }
            Step::Load(place, limits) => client.load(&world, place, limits)?,
            Step::Cut => client.live = false,
            Step::Resume(limits) => client.resume(&world, &model, limits)?,
        }
        client.check(&model)?;
    }
    finish(&world, &model)
}

/// All that is stored is what the model has, and counted right.
fn finish(world: &World, model: &Model) -> TestCaseResult {
    for table in [NOTES, MARKS] {
        let stored: BTreeMap<Birth, Row> = world.rows(&lane_of(NAME), table).into_iter().collect();
        prop_assert_eq!(&stored, &model.holds(&everything(table), Floor::COMPLETE));
        let state = world.read(|view| view.partition(&lane_of(NAME), table)).unwrap();
        prop_assert_eq!(state.rows, stored.len() as u64);
        let oldest = model.oldest_resumable.get(&table).copied().unwrap_or(0);
        prop_assert_eq!(state.oldest_resumable, seq(oldest));
    }
    world.check_sum();
    Ok(())
}

#[test]
fn loads_and_resumes_bring_exactly_what_a_naive_model_holds() {
    // Most begin with some rows and every query, so that what follows meets something.
    let fill =
        (prop::collection::vec(0..3_i64, KEYS as usize), 0..3_i64).prop_map(|(rooms, rank)| {
            let note = |(id, room)| {
                upsert(NOTES, &[(ID, int(id)), (ROOM, int(room)), (RANK, int((rank + id) % 3))])
            };
            Step::Write((0..).zip(rooms).map(note).collect())
        });
    let writes = prop::collection::vec(fill, 1..3);
    let rows = prop::collection::vec(prop_oneof![2 => 1..4_usize, 1 => Just(usize::MAX)], QUERIES);
    let begin = (writes, rows).prop_map(|(writes, rows)| {
        let each = rows.into_iter().enumerate().flat_map(|(query, rows)| {
            [Step::Toggle(query), Step::Load(query, LoadLimits { rows, ..ALL })]
        });
        writes.into_iter().chain(each).collect::<Vec<_>>()
    });
    let begin = prop_oneof![1 => Just(Vec::new()), 5 => begin];
    let strategy = (queries(), begin, prop::collection::vec(step(), 5..50));
    seeds::check("histories", 1_000, &strategy, |(queries, begin, steps)| {
        run(queries, begin.into_iter().chain(steps))
    });
}
