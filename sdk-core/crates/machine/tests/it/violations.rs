//! What a server must not do: nothing of it is applied, and the client goes on from what it has.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    InitialDataBatch, LanePosition, Progress, Refused, Reset, RowChange, ServerFrame,
};
use protocol::ids::{ColumnId, QueryNumber, RequestNumber};
use sdk_machine::{Instruction, Phase, Reason, SubscriptionState, Write};

use crate::client::{
    Client, EPOCH, OTHER_EPOCH, ask, batch, birth, born, catch_up, delta, described, frontier, key,
    lane, other_lane, progress, row, seq, subscribed, welcome,
};

/// A frame on a live client whose lane is at 10, with what is wrong with it.
fn wrong_frames() -> Vec<(&'static str, ServerFrame)> {
    let with = |change: fn(&mut InitialDataBatch)| match batch(1, 11, 2, &[2, 3]) {
        ServerFrame::InitialDataBatch(mut batch) => {
            change(&mut batch);
            ServerFrame::InitialDataBatch(batch)
        }
        _ => unreachable!(),
    };
    let lanes = vec![LanePosition(lane(), seq(12)), LanePosition(other_lane(), seq(1))];
    vec![
        ("a second welcome", welcome()),
        ("a second answer", subscribed(1, 1)),
        ("an answer to nothing", subscribed(7, 2)),
        ("an answer to number 0", subscribed(0, 2)),
        ("a refusal of nothing", refused(7)),
        ("a reset of nothing", ServerFrame::Reset(Reset { query: QueryNumber(7) })),
        ("a batch of nothing", batch(7, 11, 2, &[2])),
        ("a batch that goes back", batch(1, 9, 2, &[2])),
        ("a batch above the floor", batch(1, 11, 2, &[2, 5])),
        ("a batch below its own floor", batch(1, 11, 3, &[2])),
        ("a batch that raises the floor", batch(1, 11, 6, &[])),
        ("a batch out of order", with(|batch| batch.births.reverse())),
        ("a birth twice", with(|batch| batch.births = vec![birth(2), birth(2)])),
        ("a birth without a row", with(|batch| drop(batch.rows.pop()))),
        ("a row without a column", with(|batch| drop(batch.rows[1].0.pop()))),
        ("an expiry too few", with(|batch| batch.expiries = vec![1])),
        ("a gap", delta(1, 11, 12, true, vec![born(12)])),
        ("a commit again", delta(1, 9, 10, true, vec![born(10)])),
        ("a commit that goes nowhere", delta(1, 10, 10, true, vec![born(10)])),
        ("a commit of nothing", delta(7, 10, 11, true, vec![born(11)])),
        ("a key too long", delta(1, 10, 11, true, vec![RowChange::Left(birth(5), row(5, 1, ""))])),
        (
            "a change without a column",
            delta(1, 10, 11, true, vec![RowChange::Row(birth(11), key(11))]),
        ),
        ("a piece of nothing", catch_up(7, Vec::new())),
        ("a frontier that goes back", frontier(EPOCH, 9)),
        ("another history", frontier(OTHER_EPOCH, 11)),
        ("a move back", progress(9)),
        ("a move where nothing is", ServerFrame::Progress(Progress { lanes })),
    ]
}

fn refused(request: u64) -> ServerFrame {
    ServerFrame::Refused(Refused {
        request: Some(RequestNumber(request)),
        code: ErrorCode::Forbidden,
        message: String::new(),
    })
}

/// Hands a wrong frame to a client, which must hang up, keep what it has, and be able to go on.
fn check(what: &str, mut client: Client, frame: ServerFrame) {
    let before = (client.replica.clone().load(), client.replica.visible(protocol::ids::TableId(1)));
    let instructions = client.frame(frame);
    assert!(matches!(instructions[0], Instruction::Hangup { .. }), "{what}: {instructions:?}");
    let reason = client.machine.status().reason;
    assert!(matches!(reason, Some(Reason::Violation(_))), "{what}: {reason:?}");
    for instruction in &instructions {
        if let Instruction::Apply(step) = instruction {
            let only_drops = step.writes.iter().all(|write| matches!(write, Write::DropStaged(_)));
            assert!(only_drops, "{what}: {step:?}");
        }
    }
    let after = (client.replica.clone().load(), client.replica.visible(protocol::ids::TableId(1)));
    assert_eq!(after, before, "{what}");
    // What is in memory is what is stored.
    let hello = client.open();
    client.disconnected();
    client.crash();
    assert_eq!(client.open(), hello, "{what}");
}

#[test]
fn nothing_of_a_frame_that_contradicts_is_applied() {
    for (what, frame) in wrong_frames() {
        let (client, _) = Client::live();
        check(what, client, frame);
    }
}

#[test]
fn nothing_comes_between_the_parts_of_a_commit() {
    let between = [
        ("a batch", batch(1, 11, 2, &[2])),
        ("a piece", catch_up(1, Vec::new())),
        ("a frontier", frontier(EPOCH, 11)),
        ("a move", progress(11)),
        ("a reset", ServerFrame::Reset(Reset { query: QueryNumber(1) })),
        ("another commit", delta(1, 10, 12, true, vec![born(12)])),
    ];
    for (what, frame) in between {
        let (mut client, _) = Client::live();
        assert_eq!(client.frame(delta(1, 10, 11, false, vec![born(11)])), []);
        check(what, client, frame);
    }
}

#[test]
fn a_commit_that_was_cut_in_the_middle_never_happened() {
    let (mut client, id) = Client::live();
    client.frame(delta(1, 10, 11, false, vec![born(11)]));
    assert_eq!((client.births(id), client.position()), (vec![5, 6, 8, 9], Some(10)));
    client.disconnected();
    assert_eq!(client.open().lanes[0].since_seq, seq(10));
}

#[test]
fn a_description_that_contradicts_is_not_believed() {
    let one = |change: fn(&mut protocol::frame::v1::Subscribed)| {
        let mut subscribed = described(1, 1);
        change(&mut subscribed);
        ServerFrame::Subscribed(Box::new(subscribed))
    };
    let wrong = [
        ("no key", one(|it| it.columns = vec![ColumnId(1)])),
        ("an unknown column", one(|it| it.columns.push(ColumnId(9)))),
        ("no table", one(|it| it.table.columns.clear())),
        ("other columns of the same meaning", one(|it| it.columns.truncate(2))),
        ("another lane of the same meaning", one(|it| it.lane = other_lane())),
    ];
    for (what, frame) in wrong {
        let (mut client, _) = Client::live();
        client.disconnected();
        client.open();
        check(what, client, frame);
    }
}

#[test]
fn a_lane_is_not_live_before_all_that_is_held_of_it_is_answered() {
    let (mut client, _) = Client::live();
    client.subscribe(ask("SELECT * FROM chat.messages WHERE room = 1", None));
    client.frame(subscribed(2, 2));
    client.frame(batch(2, 10, 0, &[5, 6, 8, 9]));
    client.disconnected();
    client.open();
    client.frame(subscribed(2, 2));
    check("the first is not answered", client, frontier(EPOCH, 12));
}

#[test]
fn a_client_that_hung_up_goes_on_where_it_was() {
    let (mut client, id) = Client::live();
    client.frame(delta(1, 11, 12, true, vec![born(12)]));
    assert_eq!(client.machine.phase(), Phase::Waiting);
    client.open();
    client.frame(subscribed(1, 1));
    client.frame(catch_up(1, vec![born(11), born(12)]));
    client.frame(frontier(EPOCH, 12));
    assert_eq!(client.births(id), [5, 6, 8, 9, 11, 12]);
    assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Live);
}
