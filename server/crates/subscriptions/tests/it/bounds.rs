//! What happens at each bound, and what sends nothing.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{RowChange, ServerFrame};
use protocol::ids::{Floor, RequestNumber, SeqId};
use protocol::value::Value;
use server_engine::{CatchUpLimits, Command};
use server_subscriptions::{Asked, ConnectionId, Settings, Subscribing, Worker};

use crate::world::{BODY, CONNECTION, EPOCH, NOTES, SHARD, World, ann, asked};

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

fn refusals(frames: &[ServerFrame]) -> Vec<(Option<RequestNumber>, ErrorCode)> {
    let refusal = |frame: &ServerFrame| match frame {
        ServerFrame::Refused(refused) => Some((refused.request, refused.code)),
        _ => None,
    };
    frames.iter().filter_map(refusal).collect()
}

fn kinds(frames: &[ServerFrame]) -> Vec<&'static str> {
    let kind = |frame: &ServerFrame| match frame {
        ServerFrame::Subscribed(_) => "subscribed",
        ServerFrame::Reset(_) => "reset",
        ServerFrame::InitialDataBatch(_) => "batch",
        ServerFrame::Digest(_) => "digest",
        ServerFrame::Delta(_) => "delta",
        ServerFrame::CatchUp(_) => "catch_up",
        ServerFrame::Frontier(_) => "frontier",
        ServerFrame::Progress(_) => "progress",
        other => panic!("{other:?}"),
    };
    frames.iter().map(kind).collect()
}

#[test]
fn one_subscription_or_lane_too_many_is_refused_and_the_others_go_on() {
    let mut world = World::new(Settings { subscriptions_max: 2, ..Settings::default() });
    for request in 1..=3 {
        world.subscribe(request, Some(request as i64), None);
    }
    let too_many = (Some(RequestNumber(3)), ErrorCode::TooLarge);
    assert_eq!(refusals(&world.queue.take()), [too_many]);
    world.settle();
    world.queue.take();
    world.write([1], 2, 0);
    world.handle();
    assert_eq!(kinds(&world.queue.take()), ["delta"]);

    let mut world = World::new(Settings { lanes_max: 0, ..Settings::default() });
    world.subscribe(1, None, None);
    let too_many = (Some(RequestNumber(1)), ErrorCode::TooLarge);
    assert_eq!(refusals(&world.queue.take()), [too_many]);
}

/// A service follows the lane of one user after another.
#[test]
fn a_lane_of_which_nothing_is_subscribed_to_leaves_its_place_to_another() {
    let mut world = World::new(Settings { lanes_max: 1, ..Settings::default() });
    let in_lane = |world: &World, request: u64, lane: &str| Subscribing {
        request: RequestNumber(request),
        query: world.queries.compile(Asked { lane: lane.parse().unwrap(), ..asked(None, &[BODY]) }),
        text: "".into(),
        held: None,
        fetch_last: None,
        batch_rows: None,
    };
    for (request, lane) in (1..).zip(["user/a", "user/b", "user/c"]) {
        let subscribing = in_lane(&world, request, lane);
        world.worker.subscribe(CONNECTION, SHARD, subscribing);
        assert_eq!(kinds(&world.queue.take()), ["subscribed"], "{lane}");
        let one_more = in_lane(&world, 9, "user/d");
        world.worker.subscribe(CONNECTION, SHARD, one_more);
        assert_eq!(refusals(&world.queue.take()), [(Some(RequestNumber(9)), ErrorCode::TooLarge)]);
        world.worker.unsubscribe(CONNECTION, RequestNumber(request));
    }
    assert_eq!(world.worker.states(CONNECTION).len(), 1);
}

/// What was read for somebody else before is nothing that this one has asked for.
#[test]
fn after_a_defect_an_old_answer_is_none() {
    let mut world = World::new(Settings::default());
    world.write([1], 7, 0);
    world.handle();
    world.subscribe(1, None, None);
    let old = std::mem::take(&mut world.reads);
    assert_eq!(old.len(), 1);
    world.worker.begin_anew();
    world.worker.jumped(SHARD, world.index);
    let queue = world.connect(CONNECTION);
    world.subscribe(1, Some(7), None);
    for read in old {
        let answer = world.view(|view| read.run(view, world.index)).unwrap();
        world.worker.answer(read.id, &answer);
    }
    assert_eq!(kinds(&queue.take()), ["subscribed"]);
    world.settle();
    assert_eq!(kinds(&queue.take()), ["frontier", "batch"]);
}

#[test]
fn a_load_that_holds_too_many_commits_goes_on_behind_a_resume() {
    let mut world = World::new(Settings { held_commits_max: 2, ..Settings::default() });
    world.write(1..=3, 7, 0);
    world.handle();
    world.subscribe(1, None, None);
    world.answer();
    assert_eq!(world.state(), "loading");
    for body in 1..=3 {
        world.write([1], 7, body);
        world.handle();
    }
    assert_eq!(world.state(), "registering");
    world.settle();
    let frames = world.queue.take();
    assert_eq!(kinds(&frames), ["subscribed", "frontier", "frontier", "batch"]);
    let Some(ServerFrame::InitialDataBatch(batch)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!((batch.seq, batch.floor, batch.rows.len()), (seq(6), Floor::COMPLETE, 3));
    assert_eq!(world.state(), "live");
}

#[test]
fn a_resume_that_grows_too_long_or_was_cut_too_often_becomes_a_load() {
    let piece = CatchUpLimits { changes: 2, bytes: usize::MAX };
    let settings = Settings { piece, resume_changes_max: 3, ..Settings::default() };
    let mut world = World::new(settings);
    world.write(1..=9, 7, 0);
    world.handle();
    world.resume(EPOCH, seq(1));
    world.settle();
    let told = kinds(&world.queue.take());
    let expected = ["subscribed", "catch_up", "catch_up", "reset", "frontier", "batch"];
    assert_eq!(told, expected, "four changes were read, and nine rows do not allow for more");

    let mut world = World::new(settings);
    world.write(1..=2, 7, 0);
    world.handle();
    world.resume_cut(EPOCH, seq(1), settings.resume_cuts_max);
    world.settle();
    assert_eq!(kinds(&world.queue.take()), ["subscribed", "reset", "frontier", "batch"]);
}

#[test]
fn a_commit_that_is_larger_than_the_queue_goes_into_an_empty_one() {
    let mut world = World::new(Settings { queue_bytes_max: 100, ..Settings::default() });
    world.subscribe(1, None, None);
    world.queue.take();
    world.worker.drained(CONNECTION);
    world.collect();
    world.settle();
    world.queue.take();
    world.worker.drained(CONNECTION);
    world.collect();
    world.settle();
    world.queue.take();
    world.write(1..=50, 7, 0);
    world.handle();
    assert_eq!(kinds(&world.queue.take()), ["delta"]);
    assert_eq!(world.state(), "live");
}

/// G3: a slow client costs bounded memory.
#[test]
fn a_slow_client_lags_and_the_others_do_not_notice() {
    let mut world = World::new(Settings { queue_bytes_max: 2_000, ..Settings::default() });
    let other = world.connect(ConnectionId(2));
    for connection in [CONNECTION, ConnectionId(2)] {
        world.subscribe_at(connection, 1, None, None);
        world.settle();
    }
    other.take();
    for body in 0..100 {
        world.write([1], 7, body);
        world.handle();
        assert_eq!(kinds(&other.take()), ["delta"]);
    }
    assert_eq!(world.state(), "lagging");
    world.queue.take();
    world.worker.drained(CONNECTION);
    world.collect();
    world.settle();
    assert_eq!(world.state(), "live");
    let frames = world.queue.take();
    assert_eq!(kinds(&frames), ["catch_up", "frontier"], "what differs, not what happened");
}

#[test]
fn a_dropped_table_ends_its_subscriptions() {
    let mut world = World::new(Settings::default());
    world.subscribe(1, None, None);
    world.settle();
    world.queue.take();
    world.run(vec![Command::Drop(NOTES)]);
    world.handle();
    let gone = (Some(RequestNumber(1)), ErrorCode::NotFound);
    assert_eq!(refusals(&world.queue.take()), [gone]);
    assert_eq!(world.worker.subscriptions(), 0);
    // One that is read after that is told, too.
    world.subscribe(2, None, None);
    world.settle();
    let gone = (Some(RequestNumber(2)), ErrorCode::NotFound);
    assert_eq!(refusals(&world.queue.take()), [gone]);
}

/// Also when that is the first that a worker hears of its shard.
#[test]
fn a_table_that_is_dropped_first_of_all_ends_its_subscriptions() {
    for is_fresh in [true, false] {
        let mut world = World::new(Settings::default());
        if is_fresh {
            world.worker = Worker::new(Settings::default(), Arc::clone(&world.queries));
            world.worker.tables(SHARD, Arc::clone(world.shard.catalog()));
        } else {
            world.worker.begin_anew();
        }
        world.jump();
        world.worker.open(CONNECTION, ann(), world.queue.clone());
        world.subscribe(1, None, None);
        world.settle();
        world.queue.take();
        world.run(vec![Command::Drop(NOTES)]);
        world.handle();
        let gone = (Some(RequestNumber(1)), ErrorCode::NotFound);
        assert_eq!(refusals(&world.queue.take()), [gone], "fresh: {is_fresh}");
    }
}

#[test]
fn only_what_a_query_shows_is_told() {
    let mut world = World::new(Settings::default());
    world.write([1], 7, 0);
    world.handle();
    let query = world.queries.compile(crate::world::asked(None, &[crate::world::ROOM]));
    let subscribing = server_subscriptions::Subscribing {
        request: RequestNumber(1),
        query,
        text: "".into(),
        held: None,
        fetch_last: None,
        batch_rows: None,
    };
    world.worker.subscribe(CONNECTION, crate::world::SHARD, subscribing);
    world.collect();
    world.settle();
    world.queue.take();
    world.write([1], 7, 5);
    world.handle();
    assert_eq!(world.queue.take(), [], "a column that it does not show");
    world.write([1], 8, 5);
    world.handle();
    let frames = world.queue.take();
    let [ServerFrame::Delta(delta)] = &frames[..] else { panic!("{frames:?}") };
    let row = [Value::Integer(1), Value::Integer(8)].into_iter().collect();
    assert_eq!(delta.changes, [RowChange::Row(protocol::ids::Birth(seq(1)), row)]);
    assert_eq!((delta.previous, delta.seq), (seq(1), seq(3)), "what was not told leaves no gap");
}

/// The births of rows that a digest of the whole subscription covers, from each answer.
fn digests(world: &mut World, request: u64) -> Vec<(u64, Option<u64>, u64)> {
    let (mut below, mut all) = (None, Vec::new());
    loop {
        world.worker.digest(CONNECTION, RequestNumber(request), below);
        world.collect();
        world.settle();
        let frames = world.queue.take();
        let [ServerFrame::Digest(digest)] = &*frames else { panic!("{frames:?}") };
        let at = |birth: protocol::ids::Birth| birth.0.get();
        all.push((digest.floor.0.get(), digest.below.map(at), digest.rows));
        if digest.floor == Floor::COMPLETE || digest.rows == 0 {
            return all;
        }
        below = Some(protocol::ids::Birth(digest.floor.0));
    }
}

/// A digest covers a batch at most, nothing below the floor, and comes between the commits.
#[test]
fn a_digest_is_as_large_as_a_batch_and_has_its_place() {
    let mut world = World::new(Settings { batch_rows_max: 2, ..Settings::default() });
    world.write(1..=5, 7, 0);
    world.handle();
    world.subscribe(1, None, None);
    world.settle();
    world.queue.take();
    assert_eq!(digests(&mut world, 1), [(4, None, 2), (2, Some(4), 2), (0, Some(2), 1)]);

    // Held while it is read: what is in it goes out before, and the rest behind.
    world.worker.digest(CONNECTION, RequestNumber(1), None);
    world.collect();
    world.write([6], 7, 0);
    world.answer();
    world.handle();
    let frames = world.queue.take();
    assert_eq!(kinds(&frames), ["delta", "digest"]);
    let ServerFrame::Digest(digest) = &frames[1] else { panic!("{frames:?}") };
    assert_eq!(digest.seq, seq(6));

    let mut world = World::new(Settings::default());
    world.write(1..=5, 7, 0);
    world.handle();
    world.subscribe(1, None, Some(2));
    world.settle();
    world.queue.take();
    world.worker.digest(CONNECTION, RequestNumber(1), None);
    world.collect();
    world.settle();
    let frames = world.queue.take();
    let [ServerFrame::Digest(digest)] = &*frames else { panic!("{frames:?}") };
    assert_eq!((digest.floor, digest.rows), (Floor(seq(4)), 2), "no more than is loaded");
    world.worker.digest(CONNECTION, RequestNumber(9), None);
    world.collect();
    assert_eq!(world.reads.len(), 0, "nothing is subscribed to under that number");
}
