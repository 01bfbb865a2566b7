//! What cannot be delivered is found, and everything else goes on.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    Decided, Frontier, Goodbye, MutationDecision, RetryAfter, ServerFrame, WriterState, Written,
};
use protocol::ids::{ContentHash, Lane};
use protocol::mutation::{Reason, Rejection, Verdict};
use sdk_machine::{Event, Instruction, MutationId, MutationProgress, Settled, StoredMutation};

use crate::client::{CLIENT, Client, EPOCH, lane, seq};
use crate::writing::{chain, decided, decision, frontier, new_here, number};

/// How often a connection ends until the first that waits is stuck.
const ENDS: usize = 6;

/// Longer than a trial, with what a slow network takes for a few bytes.
const TRIAL_MS: u64 = 10_100;

const PARKED_MS: u64 = 5 * 60 * 1_000;

fn other_lane() -> Lane {
    "shared/app".parse().unwrap()
}

/// The other lane is live, and nothing is known of the client there.
fn other_is_new_here() -> ServerFrame {
    let writer = WriterState {
        client: CLIENT,
        confirmed: number(0),
        confirmed_hash: ContentHash::START,
        decisions: Vec::new(),
        tables: Vec::new(),
    };
    let writer = Some(Box::new(writer));
    ServerFrame::Frontier(Frontier { lane: other_lane(), epoch: EPOCH, seq: seq(0), writer })
}

fn stuck(instructions: &[Instruction]) -> Vec<MutationId> {
    let id = |instruction: &Instruction| match instruction {
        Instruction::MutationChanged(id, MutationProgress::Stuck) => Some(*id),
        _ => None,
    };
    instructions.iter().filter_map(id).collect()
}

/// A client whose first write ends each connection, and is stuck.
fn stuck_client() -> Client {
    let mut client = Client::writing();
    for _ in 1..ENDS {
        client.again(new_here(CLIENT));
        assert_eq!(client.sent().len(), 1);
    }
    assert_eq!(stuck(&client.disconnected()), [MutationId(1)]);
    client
}

#[test]
fn what_ends_each_connection_goes_alone_and_is_stuck_then() {
    let mut client = Client::writing();
    let mut counts = Vec::new();
    for _ in 1..ENDS {
        assert_eq!(stuck(&client.disconnected()), []);
        client.open();
        client.frame(new_here(CLIENT));
        counts.push(client.sent()[0].mutations.len());
    }
    assert_eq!(counts, [2, 2, 1, 1, 1], "alone from the third end on");
    assert_eq!(stuck(&client.disconnected()), [MutationId(1)]);
    assert!(client.machine.is_stuck(MutationId(1)));
    client.open();
    client.frame(new_here(CLIENT));
    assert_eq!(client.sent(), [], "the lane waits");
    // It is known after a restart, and tried at once, and alone.
    client.crash();
    assert!(client.machine.is_stuck(MutationId(1)));
    client.open();
    client.frame(new_here(CLIENT));
    assert_eq!(client.sent()[0].mutations.len(), 1);
    assert_eq!(stuck(&client.disconnected()), [], "that is no news");
}

#[test]
fn what_is_stuck_is_tried_again_and_goes_on_when_it_is_decided() {
    let mut client = stuck_client();
    client.open();
    client.frame(new_here(CLIENT));
    for _ in 0..PARKED_MS / 10_000 {
        assert_eq!(client.sent(), []);
        client.after(10_000);
        client.frame(crate::client::progress(10));
    }
    assert_eq!(client.sent()[0].mutations.len(), 1);
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    assert!(!client.machine.is_stuck(MutationId(1)));
    assert_eq!(client.writer().stuck, None);
    assert_eq!(client.sent()[0].first, number(2));
}

#[test]
fn ends_that_say_nothing_of_what_was_sent_are_not_counted() {
    let polite = |client: &mut Client| {
        let (code, message) = (ErrorCode::Overloaded, String::new());
        client.frame(ServerFrame::Goodbye(Goodbye { code, message, retry_after_ms: None }));
    };
    let late = |client: &mut Client| {
        client.after(TRIAL_MS);
        client.disconnected();
    };
    let wanted = |client: &mut Client| {
        client.event(Event::Pause);
    };
    let ends: [fn(&mut Client); 3] = [polite, late, wanted];
    for end in ends {
        let mut client = Client::writing();
        for _ in 0..2 * ENDS {
            end(&mut client);
            client.open();
            client.frame(new_here(CLIENT));
            assert_eq!(client.sent()[0].mutations.len(), 2);
        }
    }
    // And progress begins the count anew.
    let mut client = Client::writing();
    for _ in 0..ENDS - 1 {
        client.again(new_here(CLIENT));
        client.sent();
    }
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    client.sent();
    let state = frontier(EPOCH, CLIENT, (1, chain(&[1])), Vec::new());
    for _ in 0..ENDS - 1 {
        client.again(state.clone());
        client.sent();
    }
    assert!(!client.machine.is_stuck(MutationId(2)));
}

/// Nobody is taken for the other: a lane goes alone, and the others after it.
#[test]
fn other_lanes_are_not_blamed_and_go_on() {
    let mut client = Client::new();
    client.write(&[1]);
    client.write_in(other_lane(), 2);
    let open = |client: &mut Client| {
        client.open();
        client.frame(new_here(CLIENT));
        client.frame(other_is_new_here());
    };
    open(&mut client);
    for _ in 0..3 {
        assert_eq!(client.sent().len(), 2);
        client.disconnected();
        open(&mut client);
    }
    for _ in 3..ENDS {
        let sent = client.sent();
        assert_eq!(sent.len(), 1, "one alone");
        assert_eq!(sent[0].lane, lane());
        assert_eq!(client.sent(), []);
        client.disconnected();
        open(&mut client);
    }
    assert!(client.machine.is_stuck(MutationId(1)));
    assert_eq!(client.sent()[0].lane, other_lane());
    client.frame(ServerFrame::Decided(Box::new(Decided {
        lane: other_lane(),
        client: CLIENT,
        previous: seq(0),
        seq: seq(0),
        decision: decision(1, chain(&[2]), true),
        tables: Vec::new(),
    })));
    client.write_in(other_lane(), 3);
    client.write_in(other_lane(), 4);
    assert_eq!(client.sent()[0].mutations.len(), 2, "as ever");
}

/// A trial that does not end keeps nobody back.
#[test]
fn nobody_waits_long_for_one_that_goes_alone() {
    let mut client = Client::new();
    client.write(&[1]);
    client.open();
    client.frame(new_here(CLIENT));
    for _ in 0..3 {
        client.sent();
        client.again(new_here(CLIENT));
    }
    assert_eq!(client.sent().len(), 1);
    client.write_in(other_lane(), 2);
    client.flush();
    client.frame(other_is_new_here());
    assert_eq!(client.sent(), [], "not while the other is on trial");
    let wakes = client.machine.wakes_at().unwrap();
    assert!(wakes <= client.now.after(TRIAL_MS), "nothing else has to happen");
    client.after(TRIAL_MS);
    assert_eq!(client.sent()[0].lane, other_lane());
}

/// A host that follows `wakes_at` rests, also while something is on its way for longer than a trial.
#[test]
fn a_trial_that_is_over_wakes_nobody() {
    let mut client = Client::new();
    client.write(&[1]);
    client.open();
    client.frame(new_here(CLIENT));
    for _ in 0..3 {
        client.sent();
        client.again(new_here(CLIENT));
    }
    assert_eq!(client.sent().len(), 1);
    let begun = client.now;
    for _ in 0..20 {
        client.now = client.machine.wakes_at().unwrap();
        client.after(0);
        client.frame(crate::client::progress(10));
        client.flush();
    }
    assert!(client.now >= begun.after(60_000), "{:?}", client.now);
}

/// What is large takes its time on a slow network.
#[test]
fn a_trial_is_as_long_as_a_slow_network_takes() {
    let mut client = Client::new();
    client.write_large(1, 160_000);
    client.open();
    client.frame(new_here(CLIENT));
    for _ in 1..ENDS {
        assert_eq!(client.sent().len(), 1);
        client.after(12_000);
        client.again(new_here(CLIENT));
    }
    client.sent();
    client.after(12_000);
    assert_eq!(stuck(&client.disconnected()), [MutationId(1)]);
}

/// Also where another one of its lane is stuck by then.
#[test]
fn what_cannot_be_read_can_be_taken_back_whatever_else_is_stuck() {
    let mut client = Client::new();
    client.write(&[1, 2]);
    client.open();
    client.frame(new_here(CLIENT));
    client.flush();
    assert_eq!(stuck(&client.event(Event::Unreadable(MutationId(2)))), [MutationId(2)]);
    for _ in 1..ENDS {
        assert_eq!(client.sent()[0].mutations.len(), 1);
        client.again(new_here(CLIENT));
    }
    client.sent();
    assert_eq!(stuck(&client.disconnected()), [MutationId(1)]);
    assert!(client.machine.is_stuck(MutationId(2)) && client.machine.may_take_back(MutationId(2)));
    // It is the one that its lane waits for, once the other is decided; that is stored.
    client.open();
    client.frame(frontier(
        EPOCH,
        CLIENT,
        (0, ContentHash::START),
        vec![decision(1, chain(&[1]), true)],
    ));
    assert_eq!(client.writer().stuck, Some(MutationId(2)));
    client.replica.take_back(MutationId(2));
    client.event(Event::TakenBack(MutationId(2)));
    assert_eq!(client.writer().stuck, None);
    assert!(matches!(client.sent()[0].mutations[..], [Written::Cancelled(_)]));
}

/// C5, and the decision that the server may have all the same.
#[test]
fn what_is_stuck_can_be_taken_back() {
    let accepted = |client: &mut Client| {
        client.frame(decided(CLIENT, 1, chain(&[1]), true));
        Settled::Accepted(seq(10))
    };
    let cancelled = |client: &mut Client| {
        let (operation, table, column) = (0, protocol::ids::TableId(0), None);
        let rejection = Rejection { operation, table, column, reason: Reason::Cancelled };
        let verdict = Verdict::Rejected(rejection.clone());
        let decision = MutationDecision { verdict, ..decision(1, chain(&[1]), false) };
        client.again(frontier(EPOCH, CLIENT, (0, ContentHash::START), vec![decision]));
        Settled::Rejected(rejection)
    };
    let outcomes: [fn(&mut Client) -> Settled; 2] = [accepted, cancelled];
    for outcome in outcomes {
        let mut client = stuck_client();
        assert!(client.machine.may_take_back(MutationId(1)));
        assert!(!client.machine.may_take_back(MutationId(2)));
        client.replica.take_back(MutationId(1));
        client.event(Event::TakenBack(MutationId(1)));
        assert_eq!(client.writer().stuck, None, "also after a restart");
        client.open();
        client.frame(new_here(CLIENT));
        let sent = client.sent();
        assert!(matches!(sent[0].mutations[..], [Written::Cancelled(_), Written::Mutation(_)]));
        assert_eq!(sent[0].first, number(1));
        let settled = outcome(&mut client);
        assert_eq!(client.replica.settled(), [(MutationId(1), settled)]);
    }
}

#[test]
fn what_is_put_off_for_ever_is_stuck_and_goes_on_as_soon_as_it_can() {
    let mut client = Client::writing();
    let later = RetryAfter { lane: lane(), client: CLIENT, retry_after_ms: 60_000 };
    for minute in 1..=10 {
        let told = client.frame(ServerFrame::RetryAfter(later.clone()));
        assert_eq!(stuck(&told).len(), usize::from(minute == 10));
        for _ in 0..6 {
            client.after(10_000);
            client.frame(crate::client::progress(10));
        }
        let sent = client.sent();
        client.frame(new_here(CLIENT));
        assert_eq!(sent.len(), 1, "as often as the server wants");
    }
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    assert!(!client.machine.is_stuck(MutationId(1)));
}

#[test]
fn what_cannot_be_read_is_stuck_and_what_is_before_it_goes_on() {
    let mut client = Client::new();
    client.write(&[1, 2, 3]);
    client.open();
    client.frame(new_here(CLIENT));
    client.flush();
    let told = client.event(Event::Unreadable(MutationId(2)));
    assert_eq!(stuck(&told), [MutationId(2)]);
    assert_eq!(client.sent()[0].mutations.len(), 1);
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    assert_eq!(client.sent(), []);
    client.replica.take_back(MutationId(2));
    client.event(Event::TakenBack(MutationId(2)));
    let sent = client.sent();
    assert!(matches!(sent[0].mutations[..], [Written::Cancelled(_), Written::Mutation(_)]));
}

/// What was held back stands in another place in each copy, so a copy cannot know whether the other
/// has sent it.
#[test]
fn what_was_held_back_is_uncertain_in_a_copy() {
    let mut client = Client::new();
    client.write(&[1, 2]);
    let stored = client.replica.load().outbox;
    let held = StoredMutation { place: sdk_machine::Place(9), ..stored[0].clone() };
    let mut client = Client { replica: client.replica, ..Client::new() };
    client.event(Event::Wrote(stored[1].clone()));
    client.event(Event::Wrote(held));
    assert_eq!(client.machine.is_sent(MutationId(1)), Some(false));
    client.open();
    client.frame(new_here(CLIENT));
    let sent = client.sent();
    assert_eq!((sent[0].mutations.len(), client.writer().sent_place.0), (2, 9));
    let told = client.frame(decided(CLIENT, 1, chain(&[7]), true));
    let writes: Vec<_> = told.iter().filter(|it| matches!(it, Instruction::Apply(_))).collect();
    assert!(format!("{writes:?}").contains("HeldBackUncertain"), "{writes:?}");
    assert_eq!(client.replica.settled(), [(MutationId(1), Settled::Uncertain)]);
    assert_ne!(client.writer().client, CLIENT);
}
