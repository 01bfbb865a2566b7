//! The process ends after every step, and before every step because the disk is full: the next one
//! goes on from what is stored.

use protocol::frame::v1::{Held, RowChange, ServerFrame};
use protocol::ids::{Basis, Floor, QueryNumber};
use sdk_machine::{Event, SubscriptionState};

use crate::client::{
    Client, EPOCH, ask, batch, birth, born, catch_up, delta, frontier, key, last_four, progress,
    seq, subscribed,
};

/// Frames of a session, from a first load over commits to a second load.
fn session() -> Vec<ServerFrame> {
    vec![
        subscribed(1, 1),
        frontier(EPOCH, 10),
        batch(1, 10, 8, &[8, 9]),
        delta(1, 10, 11, true, vec![born(11)]),
        delta(1, 11, 13, false, vec![RowChange::Deleted(birth(8), key(8))]),
        delta(1, 11, 13, true, vec![born(13)]),
        batch(1, 13, 5, &[5, 6]),
        progress(20),
        ServerFrame::Reset(protocol::frame::v1::Reset { query: QueryNumber(1) }),
        batch(1, 20, 11, &[11, 13]),
        batch(1, 21, 5, &[5, 6]),
    ]
}

/// What `hello` must say of what the replica has.
fn check_hello(mut client: Client) {
    client.crash();
    let stored = client.replica.clone().load();
    let hello = client.open();
    assert_eq!(hello.subscriptions.len(), stored.subscriptions.len());
    for (sent, stored) in hello.subscriptions.iter().zip(&stored.subscriptions) {
        let held = stored.floor.map(|floor| Held {
            basis: stored.known.as_ref().unwrap().basis,
            floor,
            missing: stored.missing,
        });
        assert_eq!(sent.held, held);
        assert_eq!(sent.fetch_last, stored.fetch_last);
    }
    let holds = stored.subscriptions.iter().any(|stored| stored.floor.is_some());
    let positions: Vec<_> = hello.lanes.iter().map(|cursor| cursor.since_seq).collect();
    let expected: Vec<_> = stored.lanes.iter().filter(|_| holds).map(|lane| lane.seq).collect();
    assert_eq!(positions, expected);
}

#[test]
fn after_a_crash_behind_any_frame_the_client_goes_on_from_what_is_stored() {
    for end in 0..=session().len() {
        let mut client = Client::new();
        let (id, _) = client.subscribe(last_four());
        client.open();
        for frame in session().into_iter().take(end) {
            client.frame(frame);
        }
        // What is held is what the positions say (INV-5), down to the floor.
        let positions = (client.position(), client.births(id));
        let expected: (Option<u64>, &[u64]) = match end {
            0 | 1 => (None, &[]),
            2 => (Some(10), &[]),
            3 => (Some(10), &[8, 9]),
            4 | 5 => (Some(11), &[8, 9, 11]),
            6 => (Some(13), &[9, 11, 13]),
            7 => (Some(13), &[5, 6, 9, 11, 13]),
            8 => (Some(20), &[5, 6, 9, 11, 13]),
            9 => (Some(20), &[]),
            10 => (Some(20), &[11, 13]),
            _ => (Some(21), &[5, 6, 11, 13]),
        };
        assert_eq!((positions.0, &*positions.1), expected, "behind frame {end}");
        check_hello(client);
    }
}

#[test]
fn a_step_that_cannot_be_applied_leaves_what_was_there() {
    for end in 1..=session().len() {
        let mut client = Client::new();
        let (id, _) = client.subscribe(last_four());
        client.open();
        let mut frames = session();
        let last = frames.remove(end - 1);
        for frame in frames.into_iter().take(end - 1) {
            client.frame(frame);
        }
        let before = (client.replica.clone().load(), client.births(id));
        // The machine has handled it, and nothing of it reaches the replica.
        let mut disk = client.replica.clone();
        client.frame(last);
        std::mem::swap(&mut client.replica, &mut disk);
        assert_eq!((client.replica.clone().load(), client.births(id)), before);
        check_hello(client);
    }
}

#[test]
fn a_load_that_was_cut_goes_on_at_its_floor() {
    let mut client = Client::new();
    let (id, _) = client.subscribe(last_four());
    client.open();
    client.frame(subscribed(1, 1));
    client.frame(frontier(EPOCH, 10));
    client.frame(batch(1, 10, 8, &[8, 9]));
    client.disconnected();
    let hello = client.open();
    let held = Held { basis: Basis::from_bytes([1; 16]), floor: Floor(seq(8)), missing: Some(2) };
    assert_eq!(hello.subscriptions[0].held, Some(held));
    assert_eq!(hello.lanes[0].since_seq, seq(10));
    client.frame(subscribed(1, 1));
    client.frame(frontier(EPOCH, 12));
    assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Loading);
    client.frame(batch(1, 12, 5, &[5, 6]));
    assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Live);
    assert_eq!(client.births(id), [5, 6, 8, 9]);
}

#[test]
fn pieces_are_shown_with_the_frontier_and_not_before() {
    let (mut client, id) = Client::live();
    client.disconnected();
    assert_eq!(client.open().lanes[0].cut, 0);
    client.frame(subscribed(1, 1));
    client.frame(catch_up(1, vec![born(11)]));
    client.frame(catch_up(1, vec![RowChange::Left(birth(5), key(5))]));
    assert_eq!((client.births(id), client.position()), (vec![5, 6, 8, 9], Some(10)));
    // Cut: all of it comes again, and the server hears that it was cut.
    client.disconnected();
    assert_eq!(client.replica.staged(), 0);
    let hello = client.open();
    assert_eq!((hello.lanes[0].since_seq, hello.lanes[0].cut), (seq(10), 1));
    client.frame(subscribed(1, 1));
    client.frame(catch_up(1, vec![born(11), RowChange::Left(birth(5), key(5))]));
    // A crash is a cut too.
    client.crash();
    let hello = client.open();
    assert_eq!((hello.lanes[0].since_seq, hello.lanes[0].cut), (seq(10), 2));
    client.frame(subscribed(1, 1));
    client.frame(catch_up(1, vec![born(11), RowChange::Left(birth(5), key(5))]));
    client.frame(frontier(EPOCH, 12));
    assert_eq!((client.births(id), client.position()), (vec![6, 8, 9, 11], Some(12)));
    client.disconnected();
    assert_eq!(client.open().lanes[0].cut, 0, "it was not cut this time");
}

#[test]
fn a_reset_keeps_the_rows_on_screen_until_the_new_ones_are_all_there() {
    for crashes in [false, true] {
        let (mut client, id) = Client::live();
        client.frame(ServerFrame::Reset(protocol::frame::v1::Reset { query: QueryNumber(1) }));
        let table = protocol::ids::TableId(1);
        let shown = |client: &Client| client.replica.visible(table).len();
        assert_eq!((client.births(id).len(), shown(&client)), (0, 4));
        if crashes {
            client.crash();
            let hello = client.open();
            assert_eq!((hello.lanes.len(), &hello.subscriptions[0].held), (0, &None));
            client.frame(subscribed(1, 1));
            client.frame(frontier(EPOCH, 30));
        }
        // 9 is there again, 20 is new; 5, 6 and 8 are old.
        client.frame(batch(1, 30, 9, &[9, 20]));
        assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Behind);
        assert_eq!((client.births(id), shown(&client)), (vec![9, 20], 5));
        client.frame(batch(1, 30, 0, &[2]));
        assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Live);
        assert_eq!((client.births(id), shown(&client)), (vec![2, 9, 20], 3));
        assert!(client.replica.ghosts(id).is_empty());
        assert!(!client.replica.subscription(id).unwrap().resetting);
    }
}

#[test]
fn rows_of_another_meaning_are_not_taken_for_rows_of_the_new_one() {
    let (mut client, id) = Client::live();
    client.disconnected();
    client.open();
    // Query 2 of these tests has another basis. The process ends before the server's reset.
    client.frame(subscribed(1, 2));
    client.crash();
    let hello = client.open();
    assert_eq!((hello.lanes.len(), &hello.subscriptions[0].held), (0, &None));
    assert_eq!(client.replica.ghosts(id).len(), 4);
}

#[test]
fn a_lane_that_nobody_needs_is_forgotten_with_the_connection() {
    let (mut client, id) = Client::live();
    client.event(Event::Unsubscribe(id));
    client.frame(delta(1, 10, 11, true, vec![born(11)]));
    assert_eq!((client.births(id), client.position()), (vec![], Some(11)));
    client.disconnected();
    assert_eq!(client.position(), None);

    let (mut client, id) = Client::live();
    client.disconnected();
    let (other, _) = client.subscribe(ask("SELECT * FROM chat.messages WHERE room = 1", None));
    client.event(Event::Unsubscribe(id));
    assert_eq!(client.position(), None);
    assert!(client.births(other).is_empty());
}
