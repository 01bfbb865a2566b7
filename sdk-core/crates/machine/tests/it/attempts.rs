//! Attempts to have a connection: what is left of an older one, tokens, addresses, silence.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, Goodbye, Progress, ServerFrame, Token, Welcome};
use sdk_machine::{Attempt, Event, Instruction, Phase, Reason, StatusWord};

use crate::client::{Client, SECRET, kinds, last_four, welcome};

#[test]
fn what_comes_of_an_older_attempt_changes_nothing() {
    let (mut client, id) = Client::live();
    let older = client.attempt;
    client.disconnected();
    for phase in ["waiting", "authorizing", "dialing", "greeting", "open"] {
        match phase {
            "authorizing" => drop(client.event(Event::Nudge)),
            "dialing" => drop(client.token()),
            "greeting" => drop(client.connected()),
            "open" => drop(client.frame(welcome())),
            _ => {}
        }
        let before = format!("{:?}", client.machine);
        let attempt = older;
        let events = [
            Event::TokenReady { attempt, token: Token(SECRET.to_owned()) },
            Event::TokenFailed { attempt },
            Event::Connected { attempt },
            Event::Disconnected { attempt },
            Event::Frame { attempt, frame: welcome() },
            Event::Frame { attempt, frame: crate::client::batch(1, 11, 0, &[2]) },
        ];
        for event in events {
            assert_eq!(client.event(event), [], "{phase}");
        }
        assert_eq!(format!("{:?}", client.machine), before, "{phase}");
    }
    assert_eq!(client.births(id), [5, 6, 8, 9]);
}

#[test]
fn each_attempt_has_a_number_of_its_own() {
    let mut client = Client::new();
    client.event(Event::Resume);
    assert_eq!(client.attempt, Attempt(1));
    client.event(Event::Pause);
    // The answer to a question that does not matter any more.
    assert_eq!(client.token(), []);
    client.event(Event::Resume);
    assert_eq!(client.attempt, Attempt(2));
}

/// O7: no token is ever printed.
#[test]
fn nobody_sees_a_token() {
    let mut client = Client::new();
    client.subscribe(last_four());
    let mut shown = String::new();
    client.event(Event::Resume);
    shown += &format!("{:?}", client.token());
    shown += &format!("{:?}", client.machine);
    shown += &format!("{:?}", client.connected());
    client.frame(welcome());
    client.after(80_000);
    shown += &format!("{:?}", client.token());
    shown += &format!("{:?}", client.machine);
    assert!(shown.contains("Token(…)"), "tokens are shown as such");
    assert!(!shown.contains(SECRET));
    let attempt = client.attempt;
    let event = Event::TokenReady { attempt, token: Token(SECRET.to_owned()) };
    assert!(!format!("{event:?}").contains(SECRET));
}

#[test]
fn a_new_token_is_sent_before_the_old_one_expires_and_asked_for_again_where_there_is_none() {
    let mut client = Client::new();
    client.open();
    assert_eq!(client.after(79_999), []);
    assert_eq!(kinds(&client.after(1)), ["ask_token"]);
    let attempt = client.attempt;
    assert_eq!(client.event(Event::TokenFailed { attempt }), []);
    // Frames keep the connection alive meanwhile.
    client.frame(ServerFrame::Progress(Progress { lanes: Vec::new() }));
    assert_eq!(client.after(9_999), []);
    assert_eq!(kinds(&client.after(1)), ["ask_token"]);
    let sent = client.token();
    let token = Token(SECRET.to_owned());
    assert_eq!(sent, [Instruction::Send(ClientFrame::Token(token))]);
    assert_eq!(client.token(), [], "it is sent once");
}

#[test]
fn a_token_that_does_not_come_is_asked_for_again_and_the_connection_is_kept() {
    let mut client = Client::new();
    client.open();
    assert_eq!(kinds(&client.after(80_000)), ["ask_token"]);
    client.frame(ServerFrame::Progress(Progress { lanes: Vec::new() }));
    assert_eq!(client.after(30_000), []);
    assert_eq!(kinds(&client.after(10_000)), ["ask_token"]);
    assert_eq!(client.machine.phase(), Phase::Open);
}

#[test]
fn a_refused_token_is_not_sent_again() {
    let mut client = Client::new();
    client.greet();
    let goodbye =
        Goodbye { code: ErrorCode::NeedsAuth, message: "expired".to_owned(), retry_after_ms: None };
    client.frame(ServerFrame::Goodbye(goodbye));
    assert_eq!(client.machine.status().word, StatusWord::NeedsAuth);
    assert_eq!(kinds(&client.event(Event::Nudge)), ["ask_token"]);
    assert_eq!(client.machine.status().word, StatusWord::NeedsAuth, "as long as it is so");
    assert!(client.machine.status().reason.is_some(), "why is not forgotten meanwhile");
    client.token();
    client.connected();
    client.frame(welcome());
    assert_eq!(client.machine.status().reason, None);
}

#[test]
fn addresses_take_turns_until_one_answers() {
    let mut client = Client::with_servers(3);
    let dialled = |client: &mut Client| {
        client.event(Event::Resume);
        client.token().into_iter().find_map(|instruction| match instruction {
            Instruction::Dial { server, .. } => Some(server),
            _ => None,
        })
    };
    assert_eq!(dialled(&mut client), Some(0));
    client.disconnected();
    // The app has no token: that says nothing about the server.
    client.event(Event::Nudge);
    let attempt = client.attempt;
    client.event(Event::TokenFailed { attempt });
    assert_eq!(dialled(&mut client), Some(1));
    client.connected();
    client.after(10_000);
    assert_eq!(dialled(&mut client), Some(2));
    client.connected();
    client.frame(welcome());
    client.disconnected();
    assert_eq!(dialled(&mut client), Some(2));
    client.disconnected();
    assert_eq!(dialled(&mut client), Some(0));
}

#[test]
fn a_connection_on_which_nothing_is_heard_is_given_up() {
    let mut client = Client::new();
    client.open();
    for _ in 0..3 {
        client.now = client.now.after(119_999);
        client.frame(ServerFrame::Progress(Progress { lanes: Vec::new() }));
    }
    client.event(Event::Tick);
    assert_eq!(client.machine.phase(), Phase::Open);
    assert_eq!(kinds(&client.after(120_000)), ["hangup"]);
    assert_eq!(client.machine.status().reason, Some(Reason::Silent));
}

#[test]
fn a_version_that_was_not_offered_is_no_answer() {
    let mut client = Client::new();
    client.greet();
    let welcome = Welcome { version: 9, time: 0, silence_ms_max: 0, token_expires_ms: None };
    assert_eq!(kinds(&client.frame(ServerFrame::Welcome(welcome))), ["hangup"]);
}

#[test]
fn what_the_app_asks_for_before_the_welcome_is_sent_after_it() {
    let mut client = Client::new();
    let (id, _) = client.subscribe(last_four());
    let hello = client.greet();
    assert_eq!(hello.subscriptions[0].fetch_last, Some(4));
    assert_eq!(kinds(&client.event(Event::LoadOlder(id, 2))), ["apply"]);
    assert_eq!(kinds(&client.event(Event::Unsubscribe(id))), ["apply"]);
    assert_eq!(kinds(&client.frame(welcome())), ["apply", "load_older", "unsubscribe"]);
}

#[test]
fn the_app_is_told_once_what_has_changed() {
    let mut client = Client::new();
    let told = client.event(Event::Resume);
    assert!(told.contains(&Instruction::StatusChanged));
    client.token();
    client.connected();
    let told = client.frame(welcome());
    assert_eq!(told.last(), Some(&Instruction::StatusChanged));
    assert_eq!(client.machine.status().word, StatusWord::Connected);
    let (id, told) = client.subscribe(last_four());
    let end = &told[told.len() - 2..];
    assert_eq!(end, [Instruction::SubscriptionChanged(id), Instruction::StatusChanged]);
    assert_eq!(client.machine.status().word, StatusWord::Behind);
}
