//! A table changes under its subscriptions: all go on, and what is told behind the change has its
//! columns.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Held, RowChange, ServerFrame};
use protocol::ids::{ColumnId, Floor, QueryNumber, RequestNumber, SchemaVersion, SeqId};
use protocol::mutation::{Action, ColumnValue, Operation};
use protocol::value::{Row, Value};
use server_engine::{Command, Write};
use server_subscriptions::{Asked, Cursor, Settings, Subscribing};

use crate::world::{
    ADDED, BODY, CONNECTION, EPOCH, ID, NOTES, ROOM, SHARD, World, ann, asked, lane, notes_at,
};

/// What is asked for in a version of the table; all columns without a list.
fn asking(world: &World, request: u64, columns: Option<&[ColumnId]>, version: u32) -> Subscribing {
    let schema = std::sync::Arc::new(notes_at(version));
    let columns = columns.map(<[ColumnId]>::to_vec);
    let query = world.queries.compile(Asked { schema, columns, ..asked(None, &[]) });
    Subscribing {
        request: RequestNumber(request),
        query,
        text: "".into(),
        held: None,
        fetch_last: None,
        batch_rows: None,
    }
}

fn subscribe(world: &mut World, request: u64, columns: Option<&[ColumnId]>) {
    let subscribing = asking(world, request, columns, 1);
    world.worker.subscribe(CONNECTION, SHARD, subscribing);
    world.collect();
    world.settle();
}

/// A world of two rows, and a subscription to all columns of them, live and loaded.
fn live() -> World {
    let mut world = World::new(Settings::default());
    world.write([1, 2], 7, 0);
    world.handle();
    subscribe(&mut world, 1, None);
    assert_eq!(world.state(), "live");
    world.queue.take();
    world
}

/// Writes the added column of a row.
fn set_added(world: &mut World, id: i64, value: i64) {
    let column = |id, value| ColumnValue(id, Value::Integer(value));
    let action = Action::Upsert(vec![column(ID, id), column(ADDED, value)]);
    let operation = Operation { table: NOTES, version: SchemaVersion(2), action, guard: None };
    let operations = vec![operation];
    world.run(vec![Command::Write(Write {
        lane: lane(),
        actor: ann(),
        operations,
        request: None,
    })]);
}

/// A frame in a few words.
fn short(frame: &ServerFrame) -> String {
    let values = |row: &Row| {
        let value = |value: &Value| match value {
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        row.iter().map(value).collect::<Vec<_>>().join(" ")
    };
    let changes = |changes: &[RowChange]| {
        let change = |change: &RowChange| match change {
            RowChange::Row(_, row) => values(row),
            other => format!("{other:?}"),
        };
        changes.iter().map(change).collect::<Vec<_>>().join(", ")
    };
    match frame {
        ServerFrame::Subscribed(it) => {
            let columns: Vec<_> = it.columns.iter().map(|column| column.0.to_string()).collect();
            format!("subscribed {} v{}: {}", it.request.0, it.table.version.0, columns.join(" "))
        }
        ServerFrame::Delta(it) => format!("delta: {}", changes(&it.changes)),
        ServerFrame::CatchUp(it) => format!("catch_up: {}", changes(&it.changes)),
        ServerFrame::InitialDataBatch(it) => {
            let rows: Vec<_> = it.rows.iter().map(values).collect();
            format!("batch: {}", rows.join(", "))
        }
        ServerFrame::Frontier(it) => format!("frontier {}", it.seq.get()),
        ServerFrame::Refused(it) => format!("refused {}: {}", it.request.unwrap().0, it.code),
        other => format!("{other:?}"),
    }
}

fn told(world: &World) -> Vec<String> {
    world.queue.take().iter().map(short).collect()
}

fn numbers(frames: &[ServerFrame]) -> Vec<QueryNumber> {
    let number = |frame: &ServerFrame| match frame {
        ServerFrame::Subscribed(it) => Some(it.query),
        ServerFrame::Delta(it) => Some(it.query),
        _ => None,
    };
    frames.iter().filter_map(number).collect()
}

#[test]
fn a_live_subscription_gets_the_new_column_between_two_commits() {
    let mut world = live();
    subscribe(&mut world, 2, Some(&[BODY]));
    world.queue.take();
    world.write([1], 7, 1);
    world.alter(2);
    set_added(&mut world, 1, 9);
    world.handle();
    let frames = world.queue.take();
    assert_eq!(
        frames.iter().map(short).collect::<Vec<_>>(),
        [
            "delta: 1 7 1",
            "delta: 1 1",
            "subscribed 1 v2: 0 1 2 3",
            "subscribed 2 v2: 0 2",
            "delta: 1 7 1 9"
        ]
    );
    let numbers = numbers(&frames);
    assert_eq!(numbers[4], numbers[2], "rows come under the new number");
    assert!(!numbers[..2].contains(&numbers[2]) && numbers[2] != numbers[3]);
    let bases = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Subscribed(it) => Some(it.basis),
        _ => None,
    });
    let before = [None, Some(&[BODY][..])].map(|columns| asking(&world, 9, columns, 1).query.basis);
    assert_eq!(bases.collect::<Vec<_>>(), before, "it is the same subscription");
    assert!(world.reads.is_empty());
}

#[test]
fn a_row_of_before_is_told_with_the_default() {
    let mut world = live();
    world.alter(2);
    world.alter(3);
    world.handle();
    world.write([2], 7, 1);
    world.handle();
    let expected = ["subscribed 1 v2: 0 1 2 3", "subscribed 1 v3: 0 1 2 3 4", "delta: 2 7 1 5 5"];
    assert_eq!(told(&world), expected);
}

/// Whoever comes back has had rows of before, and is told which were written since.
#[test]
fn who_comes_back_catches_up_in_the_columns_there_are() {
    let mut world = live();
    world.worker.close(CONNECTION);
    world.alter(2);
    set_added(&mut world, 1, 9);
    world.alter(3);
    world.handle();
    world.worker.open(CONNECTION, ann(), world.queue.clone());
    let mut subscribing = asking(&world, 1, None, 3);
    let basis = asking(&world, 1, None, 1).query.basis;
    subscribing.held = Some(Held { basis, floor: Floor::COMPLETE, missing: None });
    let at = Some(Cursor { epoch: EPOCH, seq: SeqId::new(2).unwrap(), cut: 0 });
    world.worker.resume(CONNECTION, SHARD, &lane(), at, vec![subscribing], None);
    world.collect();
    world.settle();
    let expected = ["subscribed 1 v3: 0 1 2 3 4", "catch_up: 1 7 0 9 5", "frontier 3"];
    assert_eq!(told(&world), expected);
}

#[test]
fn what_names_a_column_that_is_gone_is_refused_and_the_rest_goes_on() {
    let mut world = live();
    subscribe(&mut world, 2, Some(&[BODY]));
    subscribe(&mut world, 3, Some(&[ROOM]));
    world.queue.take();
    let mut schema = notes_at(2);
    schema.columns.retain(|column| column.id != BODY);
    world.run(vec![Command::Define(Box::new(schema))]);
    world.write([3], 8, 0);
    world.handle();
    assert_eq!(
        told(&world),
        ["subscribed 1 v2: 0 1 3", "refused 2: not_found", "subscribed 3 v2: 0 1"]
    );
    assert_eq!(world.worker.subscriptions(), 2);
}

/// A load was read before the column, and is not of its rows.
#[test]
fn a_load_under_way_goes_on_in_the_columns_there_are() {
    let mut world = World::new(Settings { batch_rows_max: 1, ..Settings::default() });
    world.write([1, 2], 7, 0);
    world.handle();
    let subscribing = asking(&world, 1, None, 1);
    world.worker.subscribe(CONNECTION, SHARD, subscribing);
    world.collect();
    // The frontier, and the first batch.
    world.answer();
    world.answer();
    assert_eq!(world.state(), "loading");
    assert_eq!(told(&world), ["subscribed 1 v1: 0 1 2", "frontier 2", "batch: 2 7 0"]);
    world.alter(2);
    set_added(&mut world, 2, 9);
    // Read when the worker has not come to the change: then it follows at once.
    world.settle();
    assert_eq!(world.state(), "ahead");
    world.handle();
    world.settle();
    assert_eq!(
        told(&world),
        ["subscribed 1 v2: 0 1 2 3", "catch_up: 2 7 0 9", "frontier 3", "batch: 1 7 0 5"]
    );
    assert_eq!(world.state(), "live");
}

/// It is told only what it can take: the change comes with what it has missed.
#[test]
fn a_feed_whose_queue_is_full_follows_when_it_reads() {
    let mut world = World::new(Settings { queue_bytes_max: 2_000, ..Settings::default() });
    world.write([1, 2], 7, 0);
    world.handle();
    subscribe(&mut world, 1, None);
    world.queue.clear();
    let goodbye = ServerFrame::Goodbye(protocol::frame::v1::Goodbye {
        code: ErrorCode::Internal,
        message: "x".repeat(2_000),
        retry_after_ms: None,
    });
    server_subscriptions::Outbox::push(&world.queue, goodbye.encode().into());
    world.alter(2);
    set_added(&mut world, 1, 9);
    world.handle();
    assert_eq!(world.state(), "lagging");
    assert_eq!(world.queue.take().len(), 1);
    world.worker.drained(CONNECTION);
    world.collect();
    world.settle();
    assert_eq!(told(&world), ["subscribed 1 v2: 0 1 2 3", "catch_up: 1 7 0 9", "frontier 3"]);
}

/// Pieces that were sent are of the columns of before: the client drops them, and they come again.
#[test]
fn a_resume_in_pieces_begins_again_when_the_table_changes() {
    let piece = server_engine::CatchUpLimits { changes: 1, ..Settings::default().piece };
    let mut world = World::new(Settings { piece, ..Settings::default() });
    world.write([1], 7, 0);
    world.write([2], 7, 0);
    world.write([1], 7, 1);
    world.write([2], 7, 1);
    world.handle();
    let mut subscribing = asking(&world, 1, None, 1);
    let basis = subscribing.query.basis;
    subscribing.held = Some(Held { basis, floor: Floor::COMPLETE, missing: None });
    let at = Some(Cursor { epoch: EPOCH, seq: SeqId::new(2).unwrap(), cut: 0 });
    world.worker.resume(CONNECTION, SHARD, &lane(), at, vec![subscribing], None);
    world.collect();
    world.answer();
    assert_eq!(told(&world), ["subscribed 1 v1: 0 1 2", "catch_up: 1 7 1"]);
    world.alter(2);
    set_added(&mut world, 2, 9);
    world.handle();
    world.settle();
    assert_eq!(
        told(&world),
        ["subscribed 1 v2: 0 1 2 3", "catch_up: 1 7 1 5", "catch_up: 2 7 1 9", "frontier 5"]
    );
}

/// The connection has looked at the tables before the worker has come to the change.
#[test]
fn who_subscribes_to_the_same_before_the_worker_has_heard_joins_it() {
    let mut world = live();
    world.alter(2);
    let again = asking(&world, 2, None, 2);
    world.worker.subscribe(CONNECTION, SHARD, again);
    assert_eq!(told(&world), ["subscribed 2 v1: 0 1 2"]);
    world.handle();
    assert_eq!(told(&world), ["subscribed 1 v2: 0 1 2 3"]);
    // And one that has looked before the worker has: it gets what there is.
    let late = asking(&world, 3, Some(&[BODY]), 1);
    world.worker.subscribe(CONNECTION, SHARD, late);
    world.collect();
    world.settle();
    assert_eq!(told(&world), ["subscribed 3 v2: 0 2", "batch: 1 0, 2 0"]);
}

#[test]
fn who_jumps_over_the_change_follows_by_what_it_reads() {
    let mut world = live();
    world.alter(2);
    set_added(&mut world, 1, 9);
    world.jump();
    world.settle();
    assert_eq!(told(&world), ["subscribed 1 v2: 0 1 2 3", "catch_up: 1 7 0 9", "frontier 3"]);
    world.write([2], 7, 1);
    world.handle();
    assert_eq!(told(&world), ["delta: 2 7 1 5"]);
}
