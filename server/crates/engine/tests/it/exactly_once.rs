//! Exactly once: mutations that arrive twice, out of order, from copies of a replica, and late.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use protocol::ids::{ClientId, ColumnId, ContentHash, Epoch, MutationNumber, SchemaVersion};
use protocol::limits::{OPERATIONS_MAX, TENANT_ID_BYTES_MAX, WINDOW_MAX};
use protocol::mutation::{Action, Mutation, MutationDigest, Operation, Reason, Verdict};
use protocol::schema::{AccessLevel, ColumnDefault};
use protocol::value::{ColumnType, Value};
use server_engine::{
    Command, Confirm, Decided, LAYOUT, Mutate, Numbered, Outcome, Retention, Slot, Time, Undecided,
};
use server_storage::MemoryStore;

use crate::world::{
    COUNT, EPOCH, EVENTS, ID, NOTES, POSTS, ROOM, SECOND, World, add, column, delete, insert, int,
    lane_of, notes, patch, service, set, shared, tenant, upsert, user,
};

const CLIENT: ClientId = ClientId::from_bytes([1; 16]);

fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number).unwrap()
}

/// Mutations chained behind `previous`.
fn chain(
    previous: ContentHash,
    contents: impl IntoIterator<Item = Vec<Operation>>,
) -> Vec<Numbered> {
    let mut hash = previous;
    let chained = contents.into_iter().map(|operations| {
        hash = hash.then(MutationDigest::of(&Mutation { operations: operations.clone() }));
        Numbered { hash, operations: Some(operations) }
    });
    chained.collect()
}

/// A batch of the client's that begins with the mutation `first`.
fn batch(first: u64, previous: ContentHash, mutations: Vec<Numbered>) -> Mutate {
    Mutate {
        lane: lane_of("ann"),
        actor: user("ann"),
        client: CLIENT,
        client_since: Time(0),
        epoch: EPOCH,
        first: number(first),
        previous,
        mutations,
        confirmed: number(0),
    }
}

fn note(id: i64) -> Vec<Operation> {
    vec![insert(NOTES, &[(ID, int(id)), (ROOM, int(1))])]
}

fn stopped(left: u32, why: Undecided) -> Outcome {
    Outcome::Mutated { left, stopped: Some(why) }
}

const DECIDED: Outcome = Outcome::Mutated { left: 0, stopped: None };

#[test]
fn a_decision_comes_with_the_rows_as_they_are_then() {
    let mut world = World::new();
    world.write("ann", vec![upsert(NOTES, &[(ID, int(1)), (ROOM, int(1))])]);
    let contents = [
        note(2),
        note(1),
        vec![delete(NOTES, 1), patch(NOTES, 2, vec![add(COUNT, 1)]), delete(NOTES, 9)],
        vec![insert(NOTES, &[(ID, int(3)), (ROOM, int(1 << 40))])],
    ];
    let mutations = chain(ContentHash::START, contents);
    let applied = world.run(vec![Command::Mutate(batch(1, ContentHash::START, mutations))]);
    assert_eq!(applied.outcomes, [DECIDED]);
    let decided: Vec<&Decided> =
        applied.commits.iter().map(|commit| commit.decided.as_ref().unwrap()).collect();
    let told: Vec<(u64, Option<Reason>, u64, Vec<bool>)> = decided
        .iter()
        .map(|decided| {
            let why = match &decided.decision.verdict {
                Verdict::Accepted => None,
                Verdict::Rejected(rejection) => Some(rejection.reason),
            };
            let rows = decided.rows.iter().map(|(_, row)| row.is_some()).collect();
            (decided.number.get(), why, decided.decision.seq.get(), rows)
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, None, 2, vec![true]),
            (2, Some(Reason::DuplicateKey), 2, vec![true]),
            (3, None, 4, vec![false, true, false]),
            (4, Some(Reason::Value), 4, vec![false]),
        ]
    );
    let kept = world.read(|view| {
        view.decisions(&lane_of("ann"), &tenant("ann"), CLIENT, number(0), 9).unwrap()
    });
    let decisions = decided.iter().map(|decided| (decided.number, decided.decision.clone()));
    assert_eq!(kept, decisions.collect::<Vec<_>>());
    let second = world.read(|view| {
        view.decisions(&lane_of("ann"), &tenant("ann"), CLIENT, number(1), 1).unwrap()
    });
    assert_eq!(second, kept[1..2]);
    world.check_sum();
}

/// Each names many rows, and is kept with their keys: to see that it was decided, they are read.
#[test]
fn what_was_decided_is_looked_at_only_so_often_in_an_entry() {
    let mut world = World::new();
    let gone = |part: i64| (0..10_000).map(|id| delete(NOTES, (part << 40) + id)).collect();
    let start = ContentHash::START;
    let mutations = chain(start, (1..=8).map(gone));
    assert_eq!(world.one(Command::Mutate(batch(1, start, mutations.clone()))), DECIDED);
    // Taken back by somebody who does not know: a few bytes name the same content.
    let taken_back = |Numbered { hash, .. }| Numbered { hash, operations: None };
    let again = batch(1, start, mutations.into_iter().map(taken_back).collect());
    let applied = world.run(vec![Command::Mutate(again.clone()); 200]);
    let done = applied.outcomes.iter().take_while(|outcome| **outcome == DECIDED).count();
    assert!((1..100).contains(&done), "{done}");
    assert!(applied.outcomes[done..].iter().all(|it| *it == stopped(8, Undecided::Later)));
    assert_eq!(world.one(Command::Mutate(again)), DECIDED, "at the beginning of an entry");
    world.check_sum();
}

/// INV-7, and each row once.
#[test]
fn a_decision_names_what_its_user_may_read_and_each_row_once() {
    let mut world = World::new();
    let mut posts = crate::world::posts(AccessLevel::Private);
    posts.version = SchemaVersion(2);
    world.one(Command::Define(Box::new(posts)));
    let post = insert(POSTS, &[(ID, int(1))]);
    world.one(crate::world::write(shared(), service(), vec![post.clone()]));
    let (start, lane) = (ContentHash::START, shared());
    let mutate = Mutate { lane, ..batch(1, start, chain(start, [vec![post]])) };
    let applied = world.run(vec![Command::Mutate(mutate)]);
    let decided = applied.commits[0].decided.as_ref().unwrap();
    let Verdict::Rejected(why) = &decided.decision.verdict else { panic!("accepted") };
    assert_eq!((why.reason, decided.rows.len()), (Reason::Forbidden, 0));

    let twice = vec![upsert(NOTES, &[(ID, int(1))]), patch(NOTES, 1, vec![add(COUNT, 1)])];
    let applied = world.run(vec![Command::Mutate(batch(1, start, chain(start, [twice])))]);
    assert_eq!(applied.commits[0].decided.as_ref().unwrap().rows.len(), 1);

    // A row that was deleted and inserted again is told as it is now.
    let again = vec![delete(NOTES, 1), upsert(NOTES, &[(ID, int(1))])];
    let next = chain(applied.commits[0].decided.as_ref().unwrap().decision.hash, [again]);
    let previous = applied.commits[0].decided.as_ref().unwrap().decision.hash;
    let applied = world.run(vec![Command::Mutate(batch(2, previous, next))]);
    let rows = &applied.commits[0].decided.as_ref().unwrap().rows;
    assert_eq!(rows[0].1.as_ref().map(|(birth, _)| birth.0.get()), Some(3));

    // One that has expired is gone.
    let event = vec![insert(EVENTS, &[(ID, int(1))])];
    let previous = applied.commits[0].decided.as_ref().unwrap().decision.hash;
    let events = chain(previous, [event, vec![delete(EVENTS, 2), delete(EVENTS, 1)]]);
    world.one(Command::Mutate(batch(3, previous, events[..1].to_vec())));
    world.now.0 += 10 * SECOND;
    let applied = world.run(vec![Command::Mutate(batch(4, events[0].hash, events[1..].to_vec()))]);
    let rows = &applied.commits[0].decided.as_ref().unwrap().rows;
    assert!(rows.len() == 2 && rows.iter().all(|(_, row)| row.is_none()));
}

#[test]
fn a_mutation_that_was_taken_back_takes_its_number() {
    let mut world = World::new();
    let mut mutations = chain(ContentHash::START, [note(1), note(2)]);
    mutations[0].operations = None;
    let cancelled = batch(1, ContentHash::START, mutations);
    let applied = world.run(vec![Command::Mutate(cancelled)]);
    assert_eq!(applied.outcomes, [DECIDED]);
    let verdict = &applied.commits[0].decided.as_ref().unwrap().decision.verdict;
    assert!(matches!(verdict, Verdict::Rejected(r) if r.reason == Reason::Cancelled));
    // The original, delayed somewhere, arrives after all.
    let original = batch(1, ContentHash::START, chain(ContentHash::START, [note(1)]));
    assert_eq!(world.one(Command::Mutate(original)), DECIDED);
    assert_eq!(world.contents(&lane_of("ann"), NOTES).len(), 1);
}

#[test]
fn what_cannot_be_decided_says_why() {
    let mut world = World::new();
    let send = |world: &mut World, mutate| world.one(Command::Mutate(mutate));
    let mutations = chain(ContentHash::START, (1..=4).map(note));
    let (two, last) = (mutations[1].hash, mutations[3].clone());
    assert_eq!(
        send(&mut world, batch(3, two, mutations[2..].to_vec())),
        stopped(2, Undecided::Expected(number(1)))
    );
    let other = Epoch::from_bytes([9; 16]);
    let stale = Mutate { epoch: other, ..batch(1, ContentHash::START, mutations.clone()) };
    assert_eq!(send(&mut world, stale), stopped(4, Undecided::Epoch));
    assert_eq!(send(&mut world, batch(1, ContentHash::START, mutations)), DECIDED);
    let forked = chain(two, [note(7), note(8)]);
    assert_eq!(send(&mut world, batch(3, two, forked)), stopped(2, Undecided::Forked));
    let unchained = chain(two, [note(5)]);
    assert_eq!(send(&mut world, batch(5, two, unchained)), stopped(1, Undecided::Forked));
    let zero = chain(ContentHash::START, [note(9)]);
    assert_eq!(send(&mut world, batch(0, ContentHash::START, zero)), stopped(1, Undecided::Forked));
    let far =
        Mutate { first: MutationNumber::MAX, ..batch(0, last.hash, vec![last.clone(), last]) };
    assert_eq!(send(&mut world, far), stopped(2, Undecided::Expected(number(5))));
    assert_eq!(world.contents(&lane_of("ann"), NOTES).len(), 4);
}

#[test]
fn confirmed_decisions_are_dropped_and_make_room() {
    let mut world = World::new();
    let count = WINDOW_MAX + 10;
    let mutations = chain(ContentHash::START, (0..count).map(|id| note(id.cast_signed())));
    let all = batch(1, ContentHash::START, mutations.clone());
    assert_eq!(world.one(Command::Mutate(all)), stopped(10, Undecided::WindowFull));
    let kept = |world: &World| {
        let (lane, user) = (lane_of("ann"), tenant("ann"));
        world.read(|view| {
            let state = view.client(&lane, &user, CLIENT).unwrap().unwrap();
            let kept = view.decisions(&lane, &user, CLIENT, number(0), usize::MAX).unwrap();
            (state.last.get(), state.confirmed.get(), state.confirmed_hash, kept.len())
        })
    };
    let confirm = |confirmed, epoch| {
        let (lane, user) = (lane_of("ann"), tenant("ann"));
        Command::Confirm(Confirm { lane, user, client: CLIENT, epoch, confirmed })
    };
    world.one(confirm(number(5), Epoch::from_bytes([9; 16])));
    assert_eq!(kept(&world).1, 0, "what a client knows of another history says nothing");
    world.one(confirm(number(100), EPOCH));
    assert_eq!(kept(&world), (256, 100, mutations[99].hash, 156));
    let rest = batch(257, mutations[255].hash, mutations[256..].to_vec());
    let rest = Mutate { confirmed: MutationNumber::MAX, ..rest };
    assert_eq!(world.one(Command::Mutate(rest)), DECIDED);
    // What it decides itself, the client cannot know yet.
    assert_eq!(kept(&world), (count, 256, mutations[255].hash, 10));
    let nothing = Mutate { confirmed: number(258), ..batch(267, mutations[265].hash, vec![]) };
    assert_eq!(world.one(Command::Mutate(nothing)), DECIDED);
    assert_eq!(kept(&world), (count, 258, mutations[257].hash, 8));
    let unknown = Command::Confirm(Confirm {
        lane: lane_of("bob"),
        user: tenant("bob"),
        client: CLIENT,
        epoch: EPOCH,
        confirmed: number(1),
    });
    let sum = world.shard.sum();
    assert_eq!(world.one(unknown), Outcome::Done);
    assert_eq!(world.shard.sum(), sum, "nobody is remembered for a confirmation");
    let late = batch(100, mutations[98].hash, mutations[99..101].to_vec());
    assert_eq!(world.one(Command::Mutate(late)), stopped(2, Undecided::Forked));
    assert_eq!(world.contents(&lane_of("ann"), NOTES).len(), 266);
    world.check_sum();
}

/// A refused mutation can name more than a commit has room for: 10,000 rows whose keys are mostly
/// the long name of their user, by default. What is kept of it stays within bounds and is read
/// again when the mutation is repeated.
#[test]
fn a_refusal_that_names_very_many_long_keys_is_kept_within_bounds() {
    let mut world = World::open(Arc::new(MemoryStore::new(LAYOUT)));
    let mut schema = notes();
    schema.columns.truncate(1);
    for number in 1..8 {
        let mut part = column(ColumnId(number), &format!("part{number}"), ColumnType::Text);
        (part.not_null, part.default) = (true, Some(ColumnDefault::CurrentUser));
        schema.columns.push(part);
    }
    schema.primary_key = schema.columns.iter().map(|column| column.id).collect();
    schema.indexes.clear();
    let slots = Slot::all().collect();
    let define = Command::Define(Box::new(schema));
    let outcomes = world.run(vec![Command::Found { slots, epoch: EPOCH }, define]).outcomes;
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);

    let name = "x".repeat(TENANT_ID_BYTES_MAX);
    let rows = (0..OPERATIONS_MAX).map(|id| insert(NOTES, &[(ID, int(id.try_into().unwrap()))]));
    let mutate = Mutate {
        lane: lane_of(&name),
        actor: user(&name),
        ..batch(1, ContentHash::START, chain(ContentHash::START, [rows.collect()]))
    };
    let applied = world.run(vec![Command::Mutate(mutate.clone())]);
    let decided = applied.commits[0].decided.as_ref().unwrap();
    let Verdict::Rejected(why) = &decided.decision.verdict else { panic!("accepted") };
    assert_eq!(why.reason, Reason::CommitTooLarge);
    assert!(decided.decision.keys.len() < 1_200, "{}", decided.decision.keys.len());
    assert_eq!(world.one(Command::Mutate(mutate)), DECIDED);
}

const DAY: i64 = 24 * 60 * 60 * SECOND;

#[test]
fn a_client_that_was_silent_for_too_long_is_forgotten_and_told_so() {
    let mut world = World::new();
    let mutations = chain(ContentHash::START, [note(1), note(2)]);
    let send = |world: &mut World, place: usize| {
        let previous = if place == 0 { ContentHash::START } else { mutations[place - 1].hash };
        let first = place as u64 + 1;
        let mutate = batch(first, previous, vec![mutations[place].clone()]);
        world.one(Command::Mutate(Mutate { client_since: Time(999 * SECOND), ..mutate }))
    };
    assert_eq!(send(&mut world, 0), DECIDED);
    let slot = Slot::of(&lane_of("ann"));
    let wanted =
        |world: &World| world.read(|view| view.wanted(slot, &Retention::default())).unwrap();
    world.now.0 += 100 * DAY;
    assert_eq!(send(&mut world, 1), DECIDED);
    world.now.0 += 100 * DAY;
    assert_eq!(wanted(&world), [], "it was heard of 100 days ago");
    world.now.0 += 100 * DAY;
    let forget = wanted(&world);
    assert!(matches!(&*forget, [Command::Forget { .. }]), "{forget:?}");
    assert_eq!(world.run(forget).outcomes, [Outcome::Removed { count: 1, more: false }]);
    assert_eq!(wanted(&world), []);
    let (lane, name) = (lane_of("ann"), tenant("ann"));
    assert_eq!(world.read(|view| view.client(&lane, &name, CLIENT)).unwrap(), None);
    assert_eq!(send(&mut world, 1), stopped(1, Undecided::UnknownClient), "and not applied again");
    let other = |since, id, name| Mutate {
        client_since: since,
        client: ClientId::from_bytes([id; 16]),
        lane: lane_of(name),
        actor: user(name),
        ..batch(1, ContentHash::START, chain(ContentHash::START, [note(i64::from(id))]))
    };
    let young = other(world.now, 2, "ann");
    assert_eq!(world.one(Command::Mutate(young)), DECIDED);
    // An old replica that writes for the first time in a lane where nobody was forgotten.
    let old = other(Time(999 * SECOND), 3, "bob");
    assert_eq!(world.one(Command::Mutate(old)), DECIDED);
    world.check_sum();
}

/// A server's clock that was ahead when it dated the identity must not let it outlive what is
/// remembered of it, and one that was ahead when it forgot must not shut out who is new.
#[test]
fn clocks_that_are_ahead_double_nothing_and_shut_nobody_out() {
    let mut world = World::new();
    let dated = |since, id| Mutate {
        client_since: since,
        client: ClientId::from_bytes([id; 16]),
        ..batch(1, ContentHash::START, chain(ContentHash::START, [note(i64::from(id))]))
    };
    let send = |world: &mut World, since, id| world.one(Command::Mutate(dated(since, id)));
    let (start, unknown) = (world.now.0, stopped(1, Undecided::UnknownClient));
    assert_eq!(send(&mut world, Time(start + 3 * DAY), 1), unknown, "nobody knows that day yet");
    let tomorrow = Time(start + DAY);
    assert_eq!(send(&mut world, tomorrow, 2), DECIDED);
    let slot = Slot::of(&lane_of("ann"));
    let forget = |silent_since| Command::Forget { slot, silent_since, count_max: 10 };
    world.one(forget(Time(start + DAY)));
    assert_eq!(send(&mut world, tomorrow, 2), DECIDED, "it is still remembered");
    world.now.0 += 200 * DAY;
    // The clock of this leader is a year ahead.
    let outcome = world.one(forget(Time(world.now.0 + 185 * DAY)));
    assert_eq!(outcome, Outcome::Removed { count: 1, more: false });
    assert_eq!(send(&mut world, tomorrow, 2), unknown, "and is not applied again");
    let today = world.now;
    assert_eq!(send(&mut world, today, 3), DECIDED);
    assert_eq!(world.contents(&lane_of("ann"), NOTES).len(), 2);
    world.check_sum();
}

/// What arrives at the server in one of the random runs.
#[derive(Clone, Debug)]
struct Arrival {
    /// Which of two copies of the replica sends.
    copy: bool,
    first: u64,
    count: usize,
    confirmed: u64,
    /// Whether the batch says what came before it as it was.
    chained: bool,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let chained = prop::bool::weighted(0.95);
    (any::<bool>(), 0..8_u64, 0..4_usize, 0..8_u64, chained).prop_map(
        |(copy, first, count, confirmed, chained)| {
            let confirmed = if confirmed < 5 { 0 } else { confirmed - 4 };
            Arrival { copy, first, count, confirmed, chained }
        },
    )
}

/// What the server has decided, as a list.
#[derive(Default)]
struct Naive {
    hashes: Vec<ContentHash>,
    confirmed: usize,
}

impl Naive {
    /// Takes a batch whose first mutation has this number; gives the outcome and what it decides.
    fn receive(&mut self, mutate: &Mutate) -> (Outcome, Vec<(MutationNumber, ContentHash)>) {
        let (sent, first) = (mutate.mutations.len(), usize::try_from(mutate.first.get()).unwrap());
        let left = |done: usize| u32::try_from(sent - done).unwrap();
        let (mut previous, mut decided) = (mutate.previous, Vec::new());
        let confirmed = usize::try_from(mutate.confirmed.get()).unwrap();
        self.confirmed = self.confirmed.max(confirmed.min(self.hashes.len()));
        for (done, Numbered { hash, .. }) in mutate.mutations.iter().enumerate() {
            match self.place(first + done, previous, *hash) {
                Err(why) => return (stopped(left(done), why), decided),
                Ok(false) => {}
                Ok(true) => {
                    self.hashes.push(*hash);
                    decided.push((number((first + done) as u64), *hash));
                }
            }
            previous = *hash;
        }
        (DECIDED, decided)
    }

    /// Where a mutation stands: to be decided, decided before, or neither.
    fn place(
        &self,
        at: usize,
        previous: ContentHash,
        hash: ContentHash,
    ) -> Result<bool, Undecided> {
        match at.checked_sub(1).and_then(|place| self.hashes.get(place)) {
            _ if at <= self.confirmed => Err(Undecided::Forked),
            Some(known) if *known == hash => Ok(false),
            Some(_) => Err(Undecided::Forked),
            None if at > self.hashes.len() + 1 => {
                Err(Undecided::Expected(number(self.hashes.len() as u64 + 1)))
            }
            None if self.hashes.last().copied().unwrap_or(ContentHash::START) == previous => {
                Ok(true)
            }
            None => Err(Undecided::Forked),
        }
    }
}

/// The mutations of two copies of a replica, which share the first `common` ones and then differ.
/// Every mutation adds 1 to a row of its own, so a row tells how often it was applied.
fn copies(common: i64) -> [Vec<Numbered>; 2] {
    let of = |copy: i64| {
        let row = |place: i64| if place < common { place } else { place + 10 * copy };
        let bump = |id| vec![patch(NOTES, id, vec![add(COUNT, 1), set(ROOM, int(id))])];
        chain(ContentHash::START, (0..8).map(|place| bump(row(place))))
    };
    [of(0), of(1)]
}

/// The row that a mutation of [`copies`] adds to.
fn row_of(numbered: &Numbered) -> i64 {
    match &numbered.operations.as_ref().unwrap()[0].action {
        Action::Patch { key, .. } if let Value::Integer(id) = key[0] => id,
        other => panic!("{other:?}"),
    }
}

fn run(common: i64, arrivals: Vec<Arrival>) -> TestCaseResult {
    let mut world = World::new();
    let counts = (0..20).map(|id| insert(NOTES, &[(ID, int(id)), (COUNT, int(0))])).collect();
    world.write("ann", counts);
    let copies = copies(common);
    let mut naive = Naive::default();
    for Arrival { copy, first, count, confirmed, chained } in arrivals {
        let mutations = &copies[usize::from(copy)];
        let from = usize::try_from(first).unwrap().saturating_sub(1);
        let sent = mutations[from..(from + count).min(mutations.len())].to_vec();
        let previous = match from.checked_sub(1) {
            _ if !chained => ContentHash::from_bytes([0xee; 16]),
            Some(before) => mutations[before].hash,
            None => ContentHash::START,
        };
        let mutate = Mutate { confirmed: number(confirmed), ..batch(first, previous, sent) };
        let (expected, decided) = naive.receive(&mutate);
        let applied = world.run(vec![Command::Mutate(mutate)]);
        prop_assert_eq!(&applied.outcomes, &[expected]);
        let told = applied.commits.iter().map(|commit| commit.decided.as_ref().unwrap());
        let told: Vec<_> = told.map(|told| (told.number, told.decision.hash)).collect();
        prop_assert_eq!(told, decided);
    }
    let effects: BTreeMap<ContentHash, i64> =
        copies.iter().flatten().map(|numbered| (numbered.hash, row_of(numbered))).collect();
    for (id, row) in (0..20).zip(world.contents(&lane_of("ann"), NOTES)) {
        let times = naive.hashes.iter().filter(|hash| effects[hash] == id).count();
        prop_assert!(times <= 1, "INV-2");
        prop_assert_eq!(&row[3], &int(times.try_into().unwrap()), "row {} (INV-2)", id);
    }
    let (lane, name) = (lane_of("ann"), tenant("ann"));
    let kept = world.read(|view| view.decisions(&lane, &name, CLIENT, number(0), 99)).unwrap();
    let kept: Vec<_> = kept.into_iter().map(|(_, decision)| decision.hash).collect();
    prop_assert_eq!(kept, &naive.hashes[naive.confirmed..]);
    world.check_sum();
    Ok(())
}

#[test]
fn every_number_has_one_effect_and_one_decision() {
    let strategy = (0..6_i64, prop::collection::vec(arrival(), 1..25));
    seeds::check("exactly-once", 300, &strategy, |(common, arrivals)| run(common, arrivals));
}
