//! What is held is compared with the server, reported, and mended.

use protocol::frame::v1::{AskDigest, ClientFrame, Reset, ServerFrame};
use protocol::ids::QueryNumber;
use protocol::schema::TableKind;
use sdk_machine::replica::Spoiling;
use sdk_machine::{Config, Event, Instruction, Machine, SubscriptionId, Verdict};

use crate::client::{
    CONFIG, Client, EPOCH, altered, batch, born, delta, digest, frontier, kinds, last_four,
    messages, subscribed,
};

/// What the server is asked.
fn asks(instructions: &[Instruction]) -> Vec<(u64, Option<u64>)> {
    let ask = |instruction: &Instruction| match instruction {
        Instruction::Send(ClientFrame::Digest(AskDigest { request, below })) => {
            Some((request.0, below.map(|below| below.0.get())))
        }
        _ => None,
    };
    instructions.iter().filter_map(ask).collect()
}

/// A frame, and what comes of it when the replica has compared.
fn compare(client: &mut Client, frame: ServerFrame) -> Vec<Instruction> {
    let mut all = client.frame(frame);
    let compared: Vec<_> = all
        .iter()
        .filter_map(|instruction| match instruction {
            Instruction::Compare(of) => Some(of.clone()),
            _ => None,
        })
        .collect();
    for of in compared {
        let ours = client.replica.digest(&of);
        all.extend(client.event(Event::Compared(of, ours)));
    }
    all
}

fn verdict(instructions: &[Instruction]) -> Option<Verdict> {
    instructions.iter().find_map(|instruction| match instruction {
        Instruction::Verified(_, verdict) => Some(verdict.clone()),
        _ => None,
    })
}

#[test]
fn what_is_equal_is_found_equal_piece_by_piece() {
    let (mut client, id) = Client::live();
    assert_eq!(asks(&client.event(Event::Verify(id))), [(1, None)]);
    let next = compare(&mut client, digest(1, 11, 8, None, &[8, 9]));
    assert_eq!((asks(&next), verdict(&next)), (vec![(1, Some(8))], None));
    assert_eq!(client.position(), Some(11), "it brings the frontier as a batch does");
    // An answer that nobody waits for moves the lane alone.
    let other = compare(&mut client, digest(1, 12, 8, None, &[1]));
    assert_eq!((kinds(&other), verdict(&other)), (vec!["apply"], None));
    let done = compare(&mut client, digest(1, 12, 5, Some(8), &[5, 6]));
    assert_eq!(verdict(&done), Some(Verdict::Equal { rows: 4 }));
    assert_eq!(asks(&done), []);
}

#[test]
fn what_is_different_is_reported_and_loaded_anew_and_compared_again() {
    for (how, ours) in [(Spoiling::Value, 4), (Spoiling::Lost, 3), (Spoiling::Birth, 4)] {
        let (mut client, id) = Client::live();
        assert!(client.replica.spoil(id, 1, how));
        client.event(Event::Verify(id));
        let found = compare(&mut client, digest(1, 11, 5, None, &[5, 6, 8, 9]));
        let Some(Verdict::Different(mismatch)) = verdict(&found) else { panic!("{how:?}") };
        assert_eq!((mismatch.subscription, mismatch.table), (id, messages().name));
        assert_eq!(mismatch.sql, last_four().sql);
        assert_eq!((mismatch.ours.rows, mismatch.theirs.rows), (ours, 4));
        assert_eq!(kinds(&found), ["apply", "apply", "unsubscribe", "subscribe"]);
        // What is shown stays until the new rows are here.
        assert_eq!(client.replica.ghosts(id).len() as u64, ours);
        client.frame(subscribed(2, 1));
        let loaded = client.frame(batch(1, 11, 5, &[5, 6, 8, 9]));
        assert_eq!(asks(&loaded), [(2, None)]);
        let done = compare(&mut client, digest(1, 11, 5, None, &[5, 6, 8, 9]));
        assert_eq!(verdict(&done), Some(Verdict::Equal { rows: 4 }));
    }
}

#[test]
fn what_differs_again_and_again_is_loaded_ever_less_often() {
    let (mut client, id) = Client::live();
    client.event(Event::Verify(id));
    let mut request = 1;
    let differs = |client: &mut Client, is_repaired: bool| {
        let found = compare(client, digest(1, 11, 5, None, &[5]));
        assert!(matches!(verdict(&found), Some(Verdict::Different(_))));
        let asked = is_repaired.then_some("subscribe");
        assert_eq!(kinds(&found).into_iter().find(|kind| *kind == "subscribe"), asked);
    };
    let mut loads = |client: &mut Client| {
        request += 1;
        client.frame(subscribed(request, 1));
        let loaded = client.frame(batch(1, 11, 5, &[5, 6, 8, 9]));
        assert_eq!(asks(&loaded), [(request, None)]);
    };
    differs(&mut client, true);
    loads(&mut client);
    let keep = |client: &mut Client, milliseconds: u64| {
        let mut all = Vec::new();
        for _ in 0..4 {
            client.frame(frontier(EPOCH, 11));
            all.extend(client.after(milliseconds / 4));
        }
        all.extend(client.after(milliseconds % 4));
        all
    };
    for pause in [60_000, 120_000, 240_000] {
        differs(&mut client, false);
        assert!(!kinds(&keep(&mut client, pause - 1)).contains(&"subscribe"), "too early");
        assert!(kinds(&keep(&mut client, 1)).contains(&"subscribe"), "after {pause}");
        loads(&mut client);
    }
    let done = compare(&mut client, digest(1, 11, 5, None, &[5, 6, 8, 9]));
    assert_eq!(verdict(&done), Some(Verdict::Equal { rows: 4 }));
    client.event(Event::Verify(id));
    differs(&mut client, true);
}

#[test]
fn it_begins_once_more_where_it_was_cut_asked_again_or_reset() {
    let (mut client, id) = Client::live();
    client.event(Event::Verify(id));
    client.disconnected();
    client.open();
    client.frame(subscribed(1, 1));
    assert_eq!(asks(&client.frame(frontier(EPOCH, 10))), [(1, None)], "on the next connection");

    assert_eq!(asks(&client.event(Event::Verify(id))), [], "one at a time");
    let next = compare(&mut client, digest(1, 11, 8, None, &[8, 9]));
    assert_eq!((asks(&next), verdict(&next)), (vec![(1, None)], None), "from the top");

    // The answer comes all the same, about what is loaded by then.
    client.frame(ServerFrame::Reset(Reset { query: QueryNumber(1) }));
    client.frame(batch(1, 11, 8, &[8, 9]));
    let next = compare(&mut client, digest(1, 11, 8, None, &[8, 9]));
    assert_eq!((asks(&next), verdict(&next)), (vec![], None));
    assert_eq!(asks(&client.frame(batch(1, 11, 5, &[5, 6]))), [(1, None)]);

    // A query that takes the place answers in the place.
    client.frame(altered(1, 2, 2));
    let late = compare(&mut client, digest(1, 11, 5, None, &[5]));
    assert_eq!(verdict(&late), None, "it is of what the table was");
}

#[test]
fn what_comes_between_is_in_it() {
    let (mut client, id) = Client::live();
    client.event(Event::Verify(id));
    client.frame(delta(1, 10, 11, true, vec![born(11)]));
    let mut theirs = protocol::digest::RowsDigest::default();
    for of in client.replica.rows(id).values() {
        theirs.add(of.0, &of.1);
    }
    let ServerFrame::Digest(mut frame) = digest(1, 11, 5, None, &[]) else { unreachable!() };
    (frame.rows, frame.sum) = (theirs.rows, theirs.sum);
    let done = compare(&mut client, ServerFrame::Digest(frame));
    assert_eq!(verdict(&done), Some(Verdict::Equal { rows: 5 }));
}

#[test]
fn rows_that_expire_are_not_compared() {
    let mut client = Client::new();
    let (id, _) = client.subscribe(last_four());
    client.open();
    let ServerFrame::Subscribed(mut answer) = subscribed(1, 1) else { unreachable!() };
    (answer.table.kind, answer.table.ttl_seconds) = (TableKind::Stream, Some(60));
    client.frame(ServerFrame::Subscribed(answer));
    client.frame(frontier(EPOCH, 10));
    assert_eq!(verdict(&client.event(Event::Verify(id))), None, "not before it is known");
    let loaded = client.frame(batch(1, 10, 0, &[8, 9]));
    assert_eq!((verdict(&loaded), asks(&loaded)), (Some(Verdict::Expiring), vec![]));
}

/// A client that compares once in 1,000 seconds.
fn comparing() -> (Client, SubscriptionId) {
    let (mut client, id) = Client::live();
    let config = Config { verify_every_ms: Some(1_000_000), ..CONFIG };
    client.machine = Machine::new(config, client.replica.load());
    client.open();
    client.frame(subscribed(1, 1));
    client.frame(frontier(EPOCH, 10));
    (client, id)
}

#[test]
fn it_is_compared_by_itself_once_an_interval() {
    let (mut client, _) = comparing();
    let mut asked = Vec::new();
    for second in 0..3_500 {
        let done = client.after(1_000);
        if asks(&done) == [(1, None)] {
            asked.push(second);
            compare(&mut client, digest(1, 10, 5, None, &[5, 6, 8, 9]));
        }
        if second % 30 == 0 {
            client.frame(ServerFrame::Progress(protocol::frame::v1::Progress { lanes: vec![] }));
            client.token();
        }
    }
    assert!(asked[0] <= 1_000, "{asked:?}");
    assert!(asked.windows(2).all(|two| (999..=1_001).contains(&(two[1] - two[0]))), "{asked:?}");
    assert!(asked.len() >= 3, "{asked:?}");
}

#[test]
fn a_digest_of_more_than_what_is_loaded_is_a_violation() {
    let (mut client, _) = Client::live();
    assert_eq!(kinds(&client.frame(digest(1, 11, 4, None, &[]))), ["hangup"]);
    let (mut client, _) = Client::live();
    assert_eq!(kinds(&client.frame(digest(1, 9, 5, None, &[]))), ["hangup"], "of before");
}
