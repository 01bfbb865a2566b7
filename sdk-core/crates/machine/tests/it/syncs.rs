//! Where the server is, asked on each connection until somebody has heard enough.

use protocol::frame::v1::{AskSync, ClientFrame, Position, ServerFrame, Synced};
use protocol::ids::RequestNumber;
use sdk_machine::{Event, Instruction, Millis, SyncId};

use crate::client::{Client, EPOCH, frontier, lane, seq, subscribed, welcome};

fn asked(instructions: &[Instruction]) -> Vec<u64> {
    let of = |instruction: &Instruction| match instruction {
        Instruction::Send(ClientFrame::Sync(AskSync { request })) => Some(request.0),
        _ => None,
    };
    instructions.iter().filter_map(of).collect()
}

fn told(instructions: &[Instruction]) -> Vec<(SyncId, usize)> {
    let of = |instruction: &Instruction| match instruction {
        Instruction::ServerIs(id, positions) => Some((*id, positions.len())),
        _ => None,
    };
    instructions.iter().filter_map(of).collect()
}

fn synced(request: u64, later: bool) -> ServerFrame {
    let position = Position { lane: lane(), epoch: EPOCH, seq: seq(12) };
    let positions = if later { vec![] } else { vec![position] };
    ServerFrame::Synced(Synced { request: RequestNumber(request), positions, later })
}

/// Opens the next connection, and says what was asked on it.
fn reopened(client: &mut Client) -> Vec<u64> {
    client.event(Event::Pause);
    client.greet();
    let mut all = client.frame(welcome());
    all.extend(client.frame(subscribed(1, 1)));
    all.extend(client.frame(frontier(EPOCH, 10)));
    asked(&all)
}

#[test]
fn each_connection_is_asked_until_nobody_waits() {
    let (mut client, _) = Client::live();
    let (id, sent) = client.machine.sync(client.now).unwrap();
    assert_eq!(asked(&sent), [id.0]);
    // Cut before the answer, and behind it: the next server may have another history.
    assert_eq!(reopened(&mut client), [id.0]);
    assert_eq!(told(&client.frame(synced(id.0, false))), [(id, 1)]);
    assert_eq!(reopened(&mut client), [id.0]);
    assert_eq!(told(&client.frame(synced(id.0, false))), [(id, 1)]);
    client.event(Event::ForgetSync(id));
    assert_eq!(reopened(&mut client), [0; 0]);
    let (other, sent) = client.machine.sync(client.now).unwrap();
    assert!(other != id && asked(&sent) == [other.0]);
}

#[test]
fn a_server_that_does_not_know_is_asked_again() {
    let (mut client, _) = Client::live();
    let (id, _) = client.machine.sync(client.now).unwrap();
    assert_eq!(told(&client.frame(synced(id.0, true))), []);
    assert_eq!(asked(&client.event(Event::Tick)), [0; 0]);
    let Millis(at) = client.machine.wakes_at().unwrap();
    assert!(at <= client.now.0 + 1_000, "it wakes by itself");
    client.now = Millis(at);
    assert_eq!(asked(&client.event(Event::Tick)), [id.0]);
    assert_eq!(told(&client.frame(synced(id.0, false))), [(id, 1)]);
}

#[test]
fn what_was_not_asked_is_a_violation() {
    for (forgotten, request, ends) in [(false, 0, true), (false, 2, true), (true, 1, false)] {
        let (mut client, _) = Client::live();
        let (id, _) = client.machine.sync(client.now).unwrap();
        assert_eq!(id.0, 1);
        if forgotten {
            client.event(Event::ForgetSync(id));
        }
        let done = client.frame(synced(request, false));
        let has_ended = done.iter().any(|it| matches!(it, Instruction::Hangup { .. }));
        assert_eq!((has_ended, told(&done)), (ends, vec![]), "{forgotten} {request}");
    }
    let (mut client, _) = Client::live();
    let (id, _) = client.machine.sync(client.now).unwrap();
    client.frame(synced(id.0, false));
    let twice = client.frame(synced(id.0, false));
    assert!(twice.iter().any(|it| matches!(it, Instruction::Hangup { .. })));
}
