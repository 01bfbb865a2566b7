//! Every cell of the table of `SPEC.md`: what a feed does in each state on each event.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::codec;
use protocol::frame::v1::ServerFrame;
use protocol::ids::{Epoch, RequestNumber, SeqId};
use server_subscriptions::{Outbox, Settings};

use crate::world::{CONNECTION, EPOCH, World, lane, writing};

const STATES: [&str; 7] =
    ["lagging", "asking", "waiting", "registering", "ahead", "live", "loading"];

const EVENTS: [&str; 17] = [
    "commit",
    "decision",
    "large commit",
    "jump",
    "drained",
    "answer",
    "unread",
    "tick",
    "leader",
    "no leader",
    "subscribe",
    "unsubscribe",
    "load_older",
    "digest",
    "open_lane",
    "alter",
    "progress",
];

/// Room for a few frames.
const QUEUE_BYTES_MAX: usize = 3_000;

/// A feed with a writer and one subscription, of which one row of three is loaded, in a state.
fn in_state(state: &str) -> World {
    let mut world =
        World::new(Settings { queue_bytes_max: QUEUE_BYTES_MAX, ..Settings::default() });
    world.write([1, 2, 3], 7, 0);
    world.handle();
    world.resumes_as = Some(writing(CLIENT, 0));
    if let "lagging" | "live" | "loading" = state {
        world.open_lane(CLIENT, 0);
        world.settle();
    }
    match state {
        "lagging" => {
            world.subscribe(1, None, Some(1));
            world.settle();
            fill(&world);
            world.write([3], 7, 1);
            world.handle();
        }
        "asking" | "waiting" => world.resume(EPOCH_OF_OTHERS, SeqId::new(1).unwrap()),
        "registering" => world.resume(EPOCH, SeqId::new(3).unwrap()),
        "ahead" => {
            world.resume(EPOCH, SeqId::new(3).unwrap());
            world.write([3], 7, 1);
        }
        "live" => world.subscribe(1, None, Some(1)),
        "loading" => {
            world.subscribe(1, None, Some(1));
            world.settle();
            world.worker.load_older(CONNECTION, RequestNumber(1), 1);
            world.collect();
        }
        other => panic!("{other} is no state"),
    }
    match state {
        "asking" => world.answer(),
        // All but what is known of the writer.
        "registering" => world.answer(),
        "ahead" => world.settle(),
        "waiting" => world.unread(),
        "live" => world.settle(),
        _ => {}
    }
    assert_eq!(world.state(), state, "the test brings the feed there");
    if state != "lagging" {
        world.queue.take();
    }
    world.asked_leader = 0;
    world
}

/// Who writes.
const CLIENT: u8 = 5;

const EPOCH_OF_OTHERS: Epoch = Epoch::from_bytes([2; 16]);

/// Fills the queue, so that nothing more finds room.
fn fill(world: &World) {
    world.queue.take();
    let goodbye = ServerFrame::Goodbye(protocol::frame::v1::Goodbye {
        code: protocol::error_code::ErrorCode::Internal,
        message: "x".repeat(QUEUE_BYTES_MAX),
        retry_after_ms: None,
    });
    world.queue.push(codec::encode(&goodbye).into());
}

fn act(world: &mut World, event: &str) {
    match event {
        "commit" => {
            world.write([3], 7, 9);
            world.handle();
        }
        // A row that is there already: refused, and nothing has changed.
        "decision" => {
            world.mutate(CLIENT, [3]);
            world.handle();
        }
        "large commit" => {
            fill(world);
            world.write([3], 7, 9);
            world.handle();
        }
        "jump" => {
            world.write([3], 7, 9);
            world.jump();
        }
        "drained" => {
            world.queue.take();
            world.worker.drained(CONNECTION);
        }
        "answer" => world.answer(),
        "unread" => world.unread(),
        "tick" => world.worker.tick(),
        "leader" => world.lead(),
        "no leader" => world.worker.leader(CONNECTION, &lane(), None),
        "subscribe" => world.subscribe(2, Some(7), None),
        "unsubscribe" => world.worker.unsubscribe(CONNECTION, RequestNumber(1)),
        "load_older" => world.worker.load_older(CONNECTION, RequestNumber(1), 1),
        "digest" => world.worker.digest(CONNECTION, RequestNumber(1), None),
        // What it confirms is new, and so is what is read.
        "open_lane" => assert!(world.open_lane(CLIENT, 1)),
        "alter" => {
            world.alter(2);
            world.handle();
        }
        "progress" => world.worker.progress(CONNECTION),
        other => panic!("{other} is no event"),
    }
    world.collect();
}

/// What comes of an event: the state, the frames, the reads.
fn cell(state: &str, event: &str) -> String {
    let mut world = in_state(state);
    let reads = world.reads.len();
    let filler = usize::from(state == "lagging" && event != "drained");
    act(&mut world, event);
    let filler = filler.max(usize::from(event == "large commit"));
    let mut text = world.state().to_owned();
    let mut parts: Vec<String> =
        world.queue.take().iter().skip(filler).map(|frame| name(frame).to_owned()).collect();
    let asked = world.reads.len().saturating_sub(if event == "answer" { 0 } else { reads });
    if event != "unread" && asked > 0 {
        parts.push(format!("*{}*", world.reads.last().unwrap().kind_name()));
    }
    if world.asked_leader > 0 {
        parts.push("*leader*".to_owned());
    }
    if !parts.is_empty() {
        write!(text, ": {}", parts.join(", ")).unwrap();
    }
    text
}

fn name(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Welcome(_) => "welcome",
        ServerFrame::Schema(_) => "schema",
        ServerFrame::Subscribed(_) => "subscribed",
        ServerFrame::Refused(_) => "refused",
        ServerFrame::Reset(_) => "reset",
        ServerFrame::InitialDataBatch(_) => "batch",
        ServerFrame::Digest(_) => "digest",
        ServerFrame::Delta(_) => "delta",
        ServerFrame::CatchUp(_) => "catch_up",
        ServerFrame::Frontier(_) => "frontier",
        ServerFrame::Progress(_) => "progress",
        ServerFrame::Decided(_) => "decided",
        ServerFrame::Expected(_) => "expected",
        ServerFrame::Forked(_) => "forked",
        ServerFrame::UnknownClient(_) => "unknown_client",
        ServerFrame::RetryAfter(_) => "retry_after",
        ServerFrame::SqlResult(_) => "sql_result",
        ServerFrame::Goodbye(_) => "goodbye",
    }
}

/// The table, by event and state.
fn table() -> BTreeMap<(String, String), String> {
    let spec = include_str!("../../SPEC.md");
    let lines = spec.lines().skip_while(|line| !line.starts_with("| on \\ in |"));
    let rows: Vec<Vec<&str>> = lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let states = rows.first().expect("the table is there").clone();
    let mut cells = BTreeMap::new();
    for row in rows.iter().skip(2) {
        assert_eq!(row.len(), states.len(), "a cell for each state: {row:?}");
        for (state, text) in states.iter().zip(row).skip(1) {
            cells.insert((row[0].to_owned(), (*state).to_owned()), (*text).to_owned());
        }
    }
    cells
}

#[test]
fn every_cell_of_the_table_is_so() {
    let mut expected = table();
    let mut found = String::new();
    let mut is_so = true;
    for event in EVENTS {
        write!(found, "| {event} |").unwrap();
        for state in STATES {
            let text = cell(state, event);
            write!(found, " {text} |").unwrap();
            is_so &= expected.remove(&(event.to_owned(), state.to_owned())) == Some(text);
        }
        found.push('\n');
    }
    assert!(expected.is_empty(), "cells of no state or event: {expected:?}");
    assert!(is_so, "SPEC.md says something else than what is so:\n{found}");
}
