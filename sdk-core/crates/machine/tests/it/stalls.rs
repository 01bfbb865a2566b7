//! What does not move is noticed, told, and tried over another connection; what moves, slowly or not at
//! all because nothing is owed, is left alone.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, ServerFrame};
use sdk_machine::{Instruction, Phase, Reason, Stall, StatusWord};

use crate::client::{
    CLIENT, Client, EPOCH, batch, catch_up, frontier, lane, last_four, progress, subscribed,
};
use crate::writing::{chain, decided, new_here, undecided};

/// Time passes, and the server is there: it says so. Gives what does not move, if that is found out.
fn wait(client: &mut Client, milliseconds: u64) -> Option<Stall> {
    for _ in 0..milliseconds / 1_000 {
        let instructions = client.after(1_000);
        if client.machine.phase() != Phase::Open {
            assert!(instructions.iter().any(|it| matches!(it, Instruction::Hangup { .. })));
            let status = client.machine.status();
            assert_eq!(status.word, StatusWord::Offline);
            let reason = status.reason.unwrap();
            assert_eq!(reason.code(), ErrorCode::Stalled);
            let Reason::Stalled(stall) = reason else { panic!("{reason:?}") };
            return Some(stall);
        }
        if client.position().is_some() {
            client.frame(progress(10));
        }
    }
    None
}

/// O3: it is told with its cause, and that part begins again.
#[test]
fn a_subscription_without_an_answer_is_stalled_and_asked_for_again() {
    let mut client = Client::new();
    let (id, _) = client.subscribe(last_four());
    client.open();
    assert_eq!(wait(&mut client, 61_000), Some(Stall::Subscription(id)));
    let hello = client.open();
    assert_eq!(hello.subscriptions.len(), 1);
}

/// One batch in 25 seconds is little, and something.
#[test]
fn a_load_that_moves_is_not_stalled_and_one_that_does_not_is() {
    let mut client = Client::new();
    let (id, _) = client.subscribe(last_four());
    client.open();
    client.frame(subscribed(1, 1));
    client.frame(frontier(EPOCH, 10));
    for birth in [9, 8, 7] {
        assert_eq!(wait(&mut client, 25_000), None);
        client.frame(batch(1, 10, birth, &[birth]));
    }
    assert_eq!(wait(&mut client, 65_000), Some(Stall::Subscription(id)));
}

#[test]
fn pieces_of_what_was_missed_are_something() {
    let (mut client, id) = Client::live();
    client.disconnected();
    client.open();
    client.frame(subscribed(1, 1));
    for _ in 0..4 {
        for _ in 0..25 {
            client.after(1_000);
        }
        client.frame(catch_up(1, vec![]));
        assert_eq!(client.machine.phase(), Phase::Open);
    }
    let mut stalled = None;
    for _ in 0..70 {
        client.after(1_000);
        // Of another lane, and so nothing for this one.
        client.frame(protocol::frame::v1::ServerFrame::Progress(protocol::frame::v1::Progress {
            lanes: vec![],
        }));
        if let Some(Reason::Stalled(stall)) = client.machine.status().reason {
            stalled = Some(stall);
            break;
        }
    }
    assert_eq!(stalled, Some(Stall::Subscription(id)));
}

/// Where nothing is owed, nothing wakes a device for it.
#[test]
fn what_is_live_is_not_looked_at() {
    let (mut client, _) = Client::live();
    let before = client.machine.wakes_at();
    assert_eq!(wait(&mut client, 1_000_000), None);
    client.frame(progress(10));
    assert!(client.machine.wakes_at() > before, "nothing but the silence is waited for");
}

/// O3: a lane whose writes are not decided, however often they are sent.
#[test]
fn writes_that_are_never_decided_are_stalled() {
    let mut client = Client::writing();
    let mut sent = 1;
    for _ in 0..2 {
        for _ in 0..16 {
            client.after(1_000);
            client.frame(progress(10));
        }
        sent += client.sent().len();
    }
    assert!(sent >= 3, "{sent}");
    assert_eq!(client.machine.phase(), Phase::Open);
    // What is decided begins anew.
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    for _ in 0..3 {
        assert_eq!(client.machine.phase(), Phase::Open);
        for _ in 0..16 {
            client.after(1_000);
            client.frame(progress(11));
            client.sent();
        }
    }
    let reason = client.machine.status().reason;
    assert!(matches!(reason, Some(Reason::Stalled(Stall::Outbox(_)))), "{reason:?}");
}

/// A lane that was opened, of which the server does not say what it knows of the client there.
#[test]
fn writes_whose_lane_is_not_answered_are_stalled_and_sent_over_another_connection() {
    let mut client = Client::new();
    client.write(&[1]);
    assert_eq!(client.open().writers.len(), 1);
    assert_eq!(client.sent(), [], "it is not known what was decided there");
    assert_eq!(client.machine.status().word, StatusWord::Connected, "nothing is subscribed to");
    assert_eq!(wait(&mut client, 61_000), Some(Stall::Outbox(lane())));
    assert_eq!(client.open().writers.len(), 1);
    client.frame(new_here(CLIENT));
    assert_eq!(client.sent().len(), 1);
    assert_eq!(client.machine.status().reason, None);
}

fn opens(instructions: &[Instruction]) -> bool {
    let is_it = |it: &Instruction| matches!(it, Instruction::Send(ClientFrame::OpenLane(_)));
    instructions.iter().any(is_it)
}

/// The same where the lane is opened later, and all that is subscribed to is live.
#[test]
fn a_lane_that_is_opened_later_and_not_answered_is_stalled() {
    let (mut client, _) = Client::live();
    assert_eq!(wait(&mut client, 100_000), None);
    let other: protocol::ids::Lane = "user/of-somebody-else".parse().unwrap();
    client.write_in(other.clone(), 1);
    assert!(opens(&client.flush()));
    assert_eq!(wait(&mut client, 29_000), None);
    assert_eq!(wait(&mut client, 32_000), Some(Stall::Outbox(other)));
}

/// After `forked` nothing is sent before the next frontier.
#[test]
fn a_lane_that_is_not_answered_after_forked_is_stalled() {
    let mut client = Client::writing();
    client.frame(ServerFrame::Forked(undecided(CLIENT, 1)));
    client.after(1_000);
    assert!(opens(&client.flush()));
    assert_eq!(wait(&mut client, 61_000), Some(Stall::Outbox(lane())));
    // What the other copy has is settled, and nothing is stalled any more.
    client.open();
    client.frame(new_here(CLIENT));
    assert_eq!(client.sent().len(), 1);
}

/// What was missed comes in pieces, however slowly; the frontier is behind it.
#[test]
fn a_lane_that_moves_is_not_stalled() {
    let (mut client, _) = Client::live();
    client.disconnected();
    client.write(&[100]);
    client.open();
    client.frame(subscribed(1, 1));
    for _ in 0..4 {
        for _ in 0..25 {
            client.after(1_000);
        }
        client.frame(catch_up(1, vec![]));
        assert_eq!(client.machine.phase(), Phase::Open);
    }
    client.frame(new_here(CLIENT));
    assert_eq!(client.sent().len(), 1);
}
