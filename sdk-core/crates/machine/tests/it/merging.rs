//! Texts and windows of one query.

use protocol::codec;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, LoadOlder, Refused, ServerFrame, Subscribe};
use protocol::ids::RequestNumber;
use protocol::limits::CLIENT_FRAME_BYTES_MAX;
use protocol::value::Value;
use sdk_machine::{Ask, AskError, Event, Instruction, SubscriptionState};

use crate::client::{
    Client, EPOCH, ask, batch, born, catch_up, delta, frontier, kinds, last_four, subscribed,
};

fn older(request: u64, rows: u64) -> Instruction {
    let request = RequestNumber(request);
    Instruction::Send(ClientFrame::LoadOlder(LoadOlder { request, rows }))
}

#[test]
fn two_texts_of_one_query_become_one_subscription_with_the_wider_window() {
    let (mut client, first) = Client::live();
    let (second, _) = client.subscribe(ask("select * from chat.messages", Some(6)));
    assert_ne!(first, second);
    let done = client.frame(subscribed(2, 1));
    assert!(done.contains(&Instruction::Same { asked: second, is: first }));
    assert!(done.contains(&older(1, 2)));
    assert_eq!(client.machine.subscription(second), None);
    assert_eq!(client.replica.subscription(second), None);
    let stored = client.replica.subscription(first).unwrap().clone();
    assert_eq!((stored.fetch_last, stored.missing, stored.texts.len()), (Some(6), Some(2), 2));
    // Both texts mean it now, also after a crash.
    client.crash();
    for text in ["select * from chat.messages", "SELECT * FROM chat.messages"] {
        assert_eq!(client.subscribe(ask(text, Some(1))), (first, Vec::new()));
    }
    assert_eq!(client.open().subscriptions.len(), 1);
}

#[test]
fn the_narrower_window_of_two_texts_changes_nothing() {
    let (mut client, first) = Client::live();
    client.subscribe(ask("select * from chat.messages", Some(2)));
    let done = client.frame(subscribed(2, 1));
    assert_eq!(kinds(&done), ["apply"]);
    assert_eq!(client.machine.subscription(first).unwrap().state, SubscriptionState::Live);
    assert_eq!(client.births(first), [5, 6, 8, 9]);
}

#[test]
fn a_window_of_all_rows_is_wider_than_any() {
    let (mut client, id) = Client::live();
    let (same, done) = client.subscribe(ask(&last_four().sql, None));
    assert_eq!(same, id);
    assert!(done.contains(&older(1, (1 << 53) - 1)));
    client.frame(batch(1, 10, 3, &[3, 4]));
    assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Loading);
    client.frame(batch(1, 10, 0, &[2]));
    assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Live);
    // There is nothing older than all.
    assert_eq!(client.event(Event::LoadOlder(id, 5)), []);
}

#[test]
fn a_window_that_grows_while_all_is_loaded_grows_at_the_server_too() {
    let (mut client, id) = Client::live();
    client.frame(batch(1, 10, 0, &[2]));
    assert_eq!(client.event(Event::LoadOlder(id, 3)), [], "there is nothing older");
    let (_, done) = client.subscribe(ask(&last_four().sql, Some(9)));
    assert!(done.contains(&older(1, 5)));
}

#[test]
fn frames_of_a_query_that_was_asked_for_again_are_of_the_earlier_one_until_it_is_answered() {
    let (mut client, first) = Client::live();
    client.event(Event::Unsubscribe(first));
    let (second, _) = client.subscribe(last_four());
    // A batch for the first was under way.
    client.frame(batch(1, 10, 3, &[3, 4]));
    assert!(client.births(second).is_empty());
    client.frame(subscribed(2, 1));
    client.frame(delta(1, 10, 11, true, vec![born(11)]));
    assert_eq!((client.births(second), client.position()), (vec![], Some(11)));
    client.frame(batch(1, 11, 8, &[8, 9, 11]));
    assert_eq!(client.births(second), [8, 9, 11]);
}

#[test]
fn a_subscribe_that_crossed_the_end_of_the_same_query_is_sent_again() {
    // The second text is sent while the first is there, and the first is taken back before the
    // server's answer to the second: what comes goes on from what the first had loaded.
    let (mut client, first) = Client::live();
    let (second, _) = client.subscribe(ask("select * from chat.messages", Some(4)));
    client.event(Event::Unsubscribe(first));
    let done = client.frame(subscribed(2, 1));
    assert_eq!(kinds(&done), ["apply", "unsubscribe", "subscribe"]);
    client.frame(batch(1, 10, 3, &[3, 4]));
    assert!(client.births(second).is_empty());
    client.frame(subscribed(3, 1));
    client.frame(batch(1, 10, 5, &[5, 6, 8, 9]));
    assert_eq!(client.births(second), [5, 6, 8, 9]);
}

#[test]
fn a_refused_subscription_loses_its_rows_and_is_asked_for_again_only_by_the_app() {
    let (mut client, id) = Client::live();
    let refused = ServerFrame::Refused(Refused {
        request: Some(RequestNumber(1)),
        code: ErrorCode::Forbidden,
        message: "not yours".to_owned(),
    });
    client.frame(refused.clone());
    let refusal = client.machine.subscription(id).unwrap().refusal.unwrap();
    assert_eq!((refusal.code, &*refusal.message), (ErrorCode::Forbidden, "not yours"));
    assert!(client.replica.visible(protocol::ids::TableId(1)).is_empty());
    client.disconnected();
    assert!(client.open().subscriptions.is_empty());
    let (again, done) = client.subscribe(last_four());
    assert_eq!((again, kinds(&done)), (id, vec!["apply", "subscribe"]));
    assert_eq!(client.machine.subscription(id).unwrap().state, SubscriptionState::Loading);
    // About a message that the server does not know: nothing to do.
    let unknown = Refused { request: None, code: ErrorCode::Unsupported, message: String::new() };
    assert_eq!(client.frame(ServerFrame::Refused(unknown)), []);
}

#[test]
fn staged_pieces_of_a_subscription_that_is_loaded_anew_are_not_shown() {
    let (mut client, id) = Client::live();
    client.disconnected();
    client.open();
    client.frame(subscribed(1, 1));
    client.frame(catch_up(1, vec![born(11)]));
    let done = client.event(Event::Reset(id));
    let asked = done.iter().find_map(|instruction| match instruction {
        Instruction::Send(ClientFrame::Subscribe(Subscribe { request, held, .. })) => {
            Some((*request, held.clone()))
        }
        _ => None,
    });
    assert_eq!(asked, Some((RequestNumber(2), None)));
    assert_eq!(client.replica.staged(), 0);
    client.frame(frontier(EPOCH, 12));
    assert!(client.births(id).is_empty());
    assert_eq!(client.replica.ghosts(id).len(), 4);
}

#[test]
fn a_change_below_the_floor_is_passed_over() {
    let (mut client, id) = Client::live();
    client.frame(delta(1, 10, 12, true, vec![born(4), born(12)]));
    assert_eq!(client.births(id), [5, 6, 8, 9, 12]);
}

#[test]
fn what_no_connection_could_carry_is_refused_at_once() {
    let mut client = Client::new();
    for number in 0..1_000 {
        client.subscribe(ask(&format!("SELECT {number}"), None));
    }
    let refused = client.machine.subscribe(last_four());
    assert_eq!(refused, Err(AskError::TooMany(1_000)));
    client.event(Event::Close);
    assert_eq!(client.machine.subscribe(last_four()), Err(AskError::Closed));
}

#[test]
fn a_commit_whose_subscription_is_ended_between_its_parts_shows_nothing_of_it() {
    for event in [Event::Unsubscribe, Event::Reset] {
        let (mut client, id) = Client::live();
        client.frame(delta(1, 10, 11, false, vec![born(11)]));
        client.event(event(id));
        client.frame(delta(1, 10, 11, true, vec![born(11)]));
        assert_eq!((client.births(id), client.position()), (vec![], Some(11)));
    }
}

#[test]
fn all_that_can_be_subscribed_to_fits_into_one_hello() {
    let mut client = Client::new();
    let long = |number: usize| format!("{number:>5}{}", "x".repeat(10_000));
    let mut asked = 0;
    let refused = loop {
        let ask = Ask { params: vec![Value::Integer(1)], ..ask(&long(asked), None) };
        match client.machine.subscribe(ask) {
            Ok(_) => asked += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), ErrorCode::TooLarge);
    // One of a thousand short ones still finds no room, and nothing is lost of the others.
    assert_eq!(client.machine.subscribe(ask(&long(0), None)).err(), Some(refused));
    client.event(Event::Resume);
    client.token();
    let hello = client.connected();
    let [Instruction::Send(frame)] = &hello[..] else { panic!("{hello:?}") };
    assert!(codec::encode(frame).len() < CLIENT_FRAME_BYTES_MAX);
    let ClientFrame::Hello(hello) = frame else { panic!("{frame:?}") };
    assert_eq!(hello.subscriptions.len(), asked);
}
