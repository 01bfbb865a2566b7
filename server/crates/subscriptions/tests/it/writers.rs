//! What a client is told of its mutations: with the deltas of their commit, or with the frontier.

use protocol::frame::v1::{Decided, RowNow, ServerFrame, TableNow, WriterState};
use protocol::ids::{Birth, ContentHash, SchemaVersion, SeqId};
use protocol::mutation::{Action, Operation, Verdict};
use protocol::schema::{AccessLevel, Sharing, TableKind, TableSchema};
use protocol::value::{Row, Value};
use server_engine::{Actor, Command, Role};
use server_subscriptions::{ConnectionId, Cursor, Outbox, Settings};

use crate::world::{
    BODY, CONNECTION, EPOCH, ID, NOTES, ROOM, SHARD, World, ann, identity, inserted, lane, notes,
    writing,
};

const CLIENT: u8 = 5;
const OTHER: u8 = 6;

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

fn row(values: &[i64]) -> Row {
    values.iter().map(|value| Value::Integer(*value)).collect()
}

fn there(birth: u64, values: &[i64]) -> RowNow {
    RowNow::Row(Birth(seq(birth)), row(values))
}

fn tables(rows: Vec<RowNow>) -> Vec<TableNow> {
    vec![TableNow { table: NOTES, columns: vec![ID, ROOM, BODY], rows }]
}

fn deleted(id: i64) -> Operation {
    Operation { action: Action::Delete { key: row(&[id]) }, ..inserted(id) }
}

/// A world in which the client writes, and subscribes to rooms.
fn writes(rooms: &[Option<i64>]) -> World {
    let mut world = World::new(Settings::default());
    assert!(world.open_lane(CLIENT, 0));
    for (request, room) in (1..).zip(rooms) {
        world.subscribe(request, *room, None);
    }
    world.settle();
    world.queue.take();
    world
}

/// Frames by what they say of the commit: `delta previous-seq end` and `decided previous-seq number`.
fn told(frames: &[ServerFrame]) -> Vec<String> {
    let told = |frame: &ServerFrame| match frame {
        ServerFrame::Delta(it) => {
            format!(
                "delta {}-{}{}",
                it.previous.get(),
                it.seq.get(),
                if it.end { " end" } else { "" }
            )
        }
        ServerFrame::Decided(it) => {
            let number = it.decision.number.get();
            format!("decided {number} {}-{}", it.previous.get(), it.seq.get())
        }
        ServerFrame::Frontier(it) => {
            let known = it.writer.as_ref().map(|writer| numbers(writer));
            format!("frontier {} {known:?}", it.seq.get())
        }
        ServerFrame::Subscribed(_) => "subscribed".to_owned(),
        ServerFrame::InitialDataBatch(it) => format!("batch {}", it.seq.get()),
        ServerFrame::CatchUp(_) => "catch_up".to_owned(),
        ServerFrame::RetryAfter(it) => format!("retry_after {}", it.retry_after_ms),
        ServerFrame::Progress(_) => "progress".to_owned(),
        other => panic!("{other:?}"),
    };
    frames.iter().map(told).collect()
}

fn numbers(writer: &WriterState) -> Vec<u64> {
    writer.decisions.iter().map(|decision| decision.number.get()).collect()
}

fn decided(frames: &[ServerFrame]) -> &Decided {
    let decided = frames.iter().find_map(|frame| match frame {
        ServerFrame::Decided(decided) => Some(&**decided),
        _ => None,
    });
    decided.unwrap()
}

fn written(frames: &[ServerFrame]) -> &WriterState {
    let written = frames.iter().find_map(|frame| match frame {
        ServerFrame::Frontier(frontier) => frontier.writer.as_deref(),
        _ => None,
    });
    written.unwrap()
}

#[test]
fn a_decision_comes_after_the_deltas_of_its_commit() {
    let mut world = writes(&[None, Some(7)]);
    world.mutate(CLIENT, [1, 2]);
    world.mutate(CLIENT, [3]);
    world.handle();
    let frames = world.queue.take();
    let expected =
        ["delta 0-2", "delta 0-2", "decided 1 0-2", "delta 2-3", "delta 2-3", "decided 2 2-3"];
    assert_eq!(told(&frames), expected);
    let decided = decided(&frames);
    assert_eq!((&decided.lane, decided.client), (&lane(), identity(CLIENT)));
    assert_eq!((&decided.decision.verdict, decided.decision.seq), (&Verdict::Accepted, seq(2)));
    assert_eq!(decided.tables, tables(vec![there(1, &[1, 7, 0]), there(2, &[2, 7, 0])]));
}

#[test]
fn a_decision_comes_also_where_nothing_is_subscribed_to() {
    let mut world = writes(&[]);
    world.mutate(CLIENT, [1]);
    // Of nobody's concern.
    world.write([2], 7, 0);
    world.worker.progress(CONNECTION);
    world.handle();
    world.mutate(CLIENT, [3]);
    world.handle();
    world.worker.progress(CONNECTION);
    assert_eq!(
        told(&world.queue.take()),
        ["progress", "decided 1 0-1", "decided 2 1-3", "progress"]
    );
    // And only one subscription, which the commit does not concern.
    let mut world = writes(&[Some(8)]);
    world.mutate(CLIENT, [1]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["decided 1 0-1"]);
}

#[test]
fn what_was_refused_is_told_in_its_place_with_the_rows_that_are_there() {
    let mut world = writes(&[None]);
    world.mutate(CLIENT, [1]);
    world.mutate(CLIENT, [1]);
    world.mutate_as(ann(), CLIENT, vec![deleted(9), inserted(1)]);
    world.mutate(CLIENT, [2]);
    world.handle();
    let frames = world.queue.take();
    let expected = [
        "delta 0-1",
        "decided 1 0-1",
        "decided 2 1-1",
        "decided 3 1-1",
        "delta 1-2",
        "decided 4 1-2",
    ];
    assert_eq!(told(&frames), expected);
    let refused = decided(&frames[2..]);
    assert!(matches!(refused.decision.verdict, Verdict::Rejected(_)), "{refused:?}");
    assert_eq!(refused.tables, tables(vec![there(1, &[1, 7, 0])]));
    let refused = decided(&frames[3..]);
    let gone = RowNow::Gone(row(&[9]));
    assert_eq!(refused.tables, tables(vec![gone, there(1, &[1, 7, 0])]));
}

#[test]
fn decisions_wait_for_what_is_read() {
    // For a batch of a load: before and after what it has.
    let mut world = writes(&[]);
    world.write([1, 2], 7, 0);
    world.handle();
    world.subscribe(1, None, None);
    assert_eq!(world.state(), "loading");
    world.mutate(CLIENT, [3]);
    world.mutate(CLIENT, [3]);
    world.answer();
    world.mutate(CLIENT, [4]);
    assert_eq!(told(&world.queue.take()), ["subscribed"]);
    world.handle();
    let expected = ["decided 1 0-3", "decided 2 3-3", "batch 3", "delta 3-4", "decided 3 3-4"];
    assert_eq!(told(&world.queue.take()), expected);

    // For the frontier: what it has is not told again, what comes after it is.
    let mut world = writes(&[None]);
    world.mutate(CLIENT, [1]);
    world.handle();
    world.queue.take();
    world.open_lane(CLIENT, 0);
    assert_eq!(world.state(), "registering");
    world.mutate(CLIENT, [1]);
    world.handle();
    let reads = std::mem::take(&mut world.reads);
    let answers: Vec<_> = reads
        .iter()
        .map(|read| (read.id, world.view(|view| read.run(view, world.index)).unwrap()))
        .collect();
    world.mutate(CLIENT, [2]);
    world.mutate(CLIENT, [2]);
    world.handle();
    for (id, answer) in answers {
        world.worker.answer(id, &answer);
    }
    let expected = ["frontier 1 Some([1, 2])", "delta 1-2", "decided 3 1-2", "decided 4 2-2"];
    assert_eq!(told(&world.queue.take()), expected);
}

/// However often its client asks, a feed has one read under way.
#[test]
fn a_lane_that_is_opened_again_and_again_is_read_once_at_a_time() {
    let mut world = writes(&[None]);
    world.mutate(CLIENT, [1]);
    world.handle();
    world.queue.take();
    for confirmed in 0..50 {
        world.open_lane(CLIENT, confirmed % 2);
    }
    assert_eq!(world.reads.len(), 1);
    world.answer();
    assert_eq!((world.state(), world.reads.len()), ("registering", 1));
    assert_eq!(told(&world.queue.take()), [""; 0], "it is of a writer of before");
    world.mutate(CLIENT, [2]);
    world.open_lane(OTHER, 0);
    world.unread();
    world.worker.tick();
    world.collect();
    for left in [1, 1, 0] {
        assert_eq!(world.reads.len(), left);
        world.answer();
    }
    world.handle();
    let frames = world.queue.take();
    assert_eq!(told(&frames), ["catch_up", "frontier 2 Some([])"]);
    assert_eq!(written(&frames).client, identity(OTHER));
}

/// The frontier is of an entry that the worker has not come to.
#[test]
fn what_the_frontier_has_is_not_told_when_the_worker_comes_to_it() {
    let mut world = writes(&[None]);
    world.open_lane(CLIENT, 0);
    world.mutate(CLIENT, [1]);
    world.mutate(CLIENT, [1]);
    world.answer();
    assert_eq!(world.state(), "ahead");
    world.mutate(CLIENT, [1]);
    world.handle();
    let expected = ["catch_up", "frontier 1 Some([1, 2])", "decided 3 1-1"];
    assert_eq!(told(&world.queue.take()), expected);
}

#[test]
fn who_lags_hears_of_decisions_with_the_frontier() {
    let settings = Settings { queue_bytes_max: 3_000, ..Settings::default() };
    let mut world = World::new(settings);
    world.open_lane(CLIENT, 0);
    world.subscribe(1, None, None);
    world.settle();
    world.queue.take();
    world.mutate(CLIENT, [1]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["delta 0-1", "decided 1 0-1"]);
    world.queue.push(vec![0; 2_950].into());
    world.mutate(CLIENT, [1]);
    world.handle();
    assert_eq!(world.state(), "lagging", "all or nothing");
    world.mutate(CLIENT, [2]);
    world.handle();
    assert_eq!(world.queue.waiting(), 2_950);
    world.queue.clear();
    world.worker.drained(CONNECTION);
    world.collect();
    world.settle();
    assert_eq!(told(&world.queue.take()), ["catch_up", "frontier 2 Some([1, 2, 3])"]);
}

#[test]
fn only_its_own_user_and_client_hear_of_a_decision() {
    let mut world = writes(&[]);
    let bob = Actor { user: "bob".parse().unwrap(), role: Role::User };
    let queues = [
        world.connect_as(ConnectionId(2), ann()),
        world.connect_as(ConnectionId(3), bob.clone()),
        world.connect_as(ConnectionId(4), ann()),
        world.connect_as(ConnectionId(5), ann()),
    ];
    let clients = [OTHER, CLIENT, CLIENT];
    for (connection, client) in (2..).zip(clients) {
        world.open_lane_at(ConnectionId(connection), client, 0, None);
    }
    world.subscribe_at(ConnectionId(5), 1, None, None);
    world.settle();
    for queue in &queues {
        queue.take();
    }
    world.mutate(CLIENT, [1]);
    world.mutate_as(bob, CLIENT, vec![inserted(2)]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["decided 1 0-1"]);
    let expected: [&[&str]; 4] =
        [&[], &["decided 1 0-2"], &["decided 1 0-1"], &["delta 0-1 end", "delta 1-2 end"]];
    for (queue, expected) in queues.iter().zip(expected) {
        assert_eq!(told(&queue.take()), expected);
    }
    // Another identity takes the place of the first.
    world.open_lane(OTHER, 0);
    world.settle();
    world.queue.take();
    world.mutate(CLIENT, [3]);
    world.mutate(OTHER, [4]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["decided 1 2-4"]);
    world.worker.close(CONNECTION);
    world.mutate(OTHER, [5]);
    world.handle();
    assert_eq!(told(&queues[0].take()), ["decided 1 0-4", "decided 2 4-5"]);
    queues[2].take();
    world.mutate(CLIENT, [6]);
    world.handle();
    assert_eq!(told(&queues[2].take()), ["decided 3 3-6"]);
}

/// INV-7: who is connected counts, not who has written.
#[test]
fn rows_that_a_connection_may_not_read_come_with_no_decision() {
    let mut world = writes(&[]);
    let TableKind::Shared(sharing) = notes().kind else { panic!("shared") };
    let kind = TableKind::Shared(Sharing { access: AccessLevel::Private, ..sharing });
    let hidden = TableSchema { version: SchemaVersion(2), kind, ..notes() };
    world.run(vec![Command::Define(Box::new(hidden))]);
    let service = Actor { role: Role::Service, ..ann() };
    let queue = world.connect_as(ConnectionId(2), service.clone());
    world.open_lane_at(ConnectionId(2), CLIENT, 0, None);
    world.settle();
    queue.take();
    // Live, and while the frontier of one is read.
    for id in 1..=2 {
        world.mutate_as(service.clone(), CLIENT, vec![inserted(id)]);
        world.handle();
        let (own, others) = (world.queue.take(), queue.take());
        assert_eq!(decided(&own).tables, []);
        let birth = id.unsigned_abs();
        assert_eq!(decided(&others).tables, tables(vec![there(birth, &[id, 7, 0])]));
    }
    world.open_lane(CLIENT, 0);
    let read = world.reads.pop().unwrap();
    let answer = world.view(|view| read.run(view, world.index)).unwrap();
    world.mutate_as(service, CLIENT, vec![inserted(3)]);
    world.handle();
    world.worker.answer(read.id, &answer);
    let frames = world.queue.take();
    assert_eq!(told(&frames), ["frontier 2 Some([1, 2])", "decided 3 2-3"]);
    assert_eq!((&written(&frames).tables, &decided(&frames).tables), (&vec![], &vec![]));
}

#[test]
fn opening_a_lane_brings_the_kept_decisions_and_the_rows_as_they_are_now() {
    let mut world = writes(&[None]);
    for id in 1..=3 {
        world.mutate(CLIENT, [id]);
    }
    world.mutate(CLIENT, [2, 4]);
    world.write([3], 7, 9);
    world.mutate_as(ann(), OTHER, vec![deleted(2)]);
    world.handle();
    world.queue.take();
    assert!(world.open_lane(CLIENT, 1));
    assert_eq!(world.state(), "registering");
    world.settle();
    assert_eq!(world.state(), "live");
    let frames = world.queue.take();
    assert_eq!(told(&frames), ["frontier 5 Some([2, 3, 4])"]);
    let writer = written(&frames);
    assert_eq!(writer.client, identity(CLIENT));
    assert_eq!((writer.confirmed.get(), writer.confirmed_hash), (0, ContentHash::START));
    let verdicts = writer.decisions.iter().map(|decision| decision.verdict == Verdict::Accepted);
    assert_eq!(verdicts.collect::<Vec<_>>(), [true, true, false]);
    // Of the newest first, and each once.
    let gone = |id| RowNow::Gone(row(&[id]));
    assert_eq!(writer.tables, tables(vec![gone(2), gone(4), there(3, &[3, 7, 9])]));
    // It goes on from there.
    world.mutate(CLIENT, [5]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["delta 5-6", "decided 5 5-6"]);
}

#[test]
fn a_client_that_is_not_known_is_told_so() {
    let mut world = writes(&[]);
    world.open_lane(OTHER, 17);
    world.settle();
    let frames = world.queue.take();
    let writer = written(&frames);
    assert_eq!((writer.client, writer.confirmed.get()), (identity(OTHER), 0));
    assert_eq!((writer.confirmed_hash, writer.decisions.len()), (ContentHash::START, 0));
}

#[test]
fn a_writer_that_holds_nothing_is_told_no_other_history() {
    let mut world = World::new(Settings::default());
    world.write([1], 7, 0);
    world.handle();
    // It was further than this node.
    let at = Cursor { epoch: EPOCH, seq: seq(5), cut: 0 };
    world.open_lane_at(CONNECTION, CLIENT, 0, Some(at));
    world.settle();
    assert_eq!((world.state(), world.asked_leader), ("asking", 1));
    world.worker.leader(CONNECTION, &lane(), None);
    world.write([2, 3, 4, 5], 7, 0);
    world.handle();
    assert_eq!(world.state(), "waiting");
    world.worker.tick();
    world.collect();
    world.settle();
    assert_eq!(told(&world.queue.take()), ["frontier 5 Some([])"]);
    // Where it is known to be, it is not taken back.
    let at = Cursor { epoch: EPOCH, seq: seq(9), cut: 0 };
    world.open_lane_at(CONNECTION, CLIENT, 0, Some(at));
    world.settle();
    assert_eq!(told(&world.queue.take()), ["frontier 5 Some([])"]);
}

/// It subscribes first, and hears of no history before it opens the lane.
#[test]
fn where_a_client_was_counts_also_in_a_lane_that_it_has_just_begun_to_follow() {
    let mut world = World::new(Settings::default());
    world.write([1], 7, 0);
    world.handle();
    world.subscribe(1, None, None);
    assert_eq!(world.state(), "registering");
    let at = Cursor { epoch: EPOCH, seq: seq(5), cut: 0 };
    world.open_lane_at(CONNECTION, CLIENT, 0, Some(at));
    world.settle();
    assert_eq!((world.state(), world.asked_leader), ("asking", 1));
    assert_eq!(told(&world.queue.take()), ["subscribed"]);
    world.write([2, 3, 4, 5], 7, 0);
    world.handle();
    world.worker.leader(CONNECTION, &lane(), None);
    world.worker.tick();
    world.collect();
    world.settle();
    assert_eq!(told(&world.queue.take()), ["frontier 5 Some([])", "batch 5"]);
}

#[test]
fn a_resumed_lane_brings_its_writer_with_the_last_piece() {
    let mut world = World::new(Settings {
        piece: server_engine::CatchUpLimits { changes: 2, bytes: 1 << 20 },
        ..Settings::default()
    });
    world.mutate(CLIENT, [1, 2, 3]);
    world.mutate(CLIENT, [1]);
    world.handle();
    world.resumes_as = Some(writing(CLIENT, 0));
    world.resume(EPOCH, seq(1));
    world.settle();
    let frames = world.queue.take();
    let frontiers: Vec<_> =
        frames.iter().filter(|frame| matches!(frame, ServerFrame::Frontier(_))).cloned().collect();
    assert_eq!(told(&frontiers), ["frontier 3 Some([1, 2])"]);
    world.mutate(CLIENT, [1]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["decided 3 3-3"]);
}

#[test]
fn a_lane_in_which_somebody_writes_leaves_its_place_to_nobody() {
    let mut world = World::new(Settings { lanes_max: 1, ..Settings::default() });
    assert!(world.open_lane(CLIENT, 0));
    world.settle();
    world.queue.take();
    let other = "user/ann".parse().unwrap();
    let writer = writing(CLIENT, 0);
    assert!(!world.worker.open_lane(CONNECTION, SHARD, &other, None, writer));
    assert!(!world.worker.resume(CONNECTION, SHARD, &other, None, vec![], Some(writer)));
    assert_eq!(told(&world.queue.take()), ["retry_after 5000", "retry_after 5000"]);
    world.mutate(CLIENT, [1]);
    world.handle();
    assert_eq!(told(&world.queue.take()), ["decided 1 0-1"]);
}

/// Reads are shared among equal ones: what is known of one client is told to no other.
#[test]
fn readers_share_a_read_and_writers_do_not() {
    let mut world = World::new(Settings::default());
    world.mutate(CLIENT, [1]);
    world.handle();
    let mut queues = Vec::new();
    for connection in 2..6 {
        queues.push(world.connect(ConnectionId(connection)));
    }
    world.subscribe_at(ConnectionId(2), 1, None, None);
    world.subscribe_at(ConnectionId(3), 1, None, None);
    assert_eq!(world.reads.len(), 1);
    world.open_lane_at(ConnectionId(4), CLIENT, 0, None);
    world.open_lane_at(ConnectionId(5), CLIENT, 1, None);
    assert_eq!(world.reads.len(), 3);
    world.settle();
    let frontiers =
        ["frontier 1 None", "frontier 1 None", "frontier 1 Some([1])", "frontier 1 Some([])"];
    for (queue, frontier) in queues.iter().zip(frontiers) {
        assert!(told(&queue.take()).contains(&frontier.to_owned()), "{frontier}");
    }
}

/// As after a failover: what is much is read once, and what is known of each writer by itself.
#[test]
fn writers_that_come_back_at_once_read_what_they_missed_together() {
    let mut world = World::new(Settings {
        piece: server_engine::CatchUpLimits { changes: 2, bytes: 1 << 20 },
        ..Settings::default()
    });
    world.mutate(CLIENT, [1, 2, 3, 4, 5]);
    world.handle();
    let mut queues = Vec::new();
    for client in 0..4 {
        let connection = ConnectionId(u64::from(client) + 2);
        queues.push(world.connect(connection));
        let at = Cursor { epoch: EPOCH, seq: seq(1), cut: 0 };
        world.resume_at(connection, Some(writing(CLIENT + client, 0)), at);
    }
    let mut reads = Vec::new();
    while !world.reads.is_empty() {
        reads.push(world.reads.len());
        world.answer();
    }
    assert_eq!(reads, [1, 1, 4]);
    for (queue, kept) in queues.iter().zip(["[1]", "[]", "[]", "[]"]) {
        let frontier = format!("frontier 5 Some({kept})");
        let expected = ["subscribed", "catch_up", "catch_up", &frontier];
        assert_eq!(told(&queue.take()), expected);
    }
}

/// What waits for a worker is bounded by it.
#[test]
fn an_entry_is_as_large_as_the_keys_that_it_decides_about() {
    let mut world = writes(&[]);
    world.write([1], 7, 0);
    world.mutate_as(ann(), CLIENT, (0..1_000).map(|id| deleted(id + (1 << 40))).collect());
    let bytes: Vec<_> = world.unhandled.iter().map(|entry| entry.bytes).collect();
    assert!(bytes[0] >= 64 && bytes[1] > 2 * 9 * 1_000, "{bytes:?}");
}

#[test]
fn no_more_rows_are_told_than_fit_a_frame() {
    let mut world = writes(&[]);
    for first in 0..3 {
        world.mutate(CLIENT, (first * 4_000..).take(4_000));
    }
    world.handle();
    let counts = |tables: &[TableNow]| tables.iter().map(|table| table.rows.len()).sum::<usize>();
    let frames = world.queue.take();
    assert_eq!(counts(&decided(&frames).tables), 4_000);
    world.open_lane(CLIENT, 0);
    world.settle();
    let frames = world.queue.take();
    let writer = written(&frames);
    assert_eq!((writer.decisions.len(), counts(&writer.tables)), (3, 10_000));
    assert_eq!(writer.tables[0].rows[0], there(8_001, &[8_000, 7, 0]), "of the newest first");
}
