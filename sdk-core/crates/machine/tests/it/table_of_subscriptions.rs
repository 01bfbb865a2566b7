//! What becomes of a subscription in every state on every event.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Refused, Reset, ServerFrame};
use protocol::ids::{QueryNumber, RequestNumber};
use sdk_machine::{Event, Instruction, Phase, SubscriptionId, SubscriptionState, Write};

use crate::client::{
    Client, EPOCH, OTHER_EPOCH, altered, ask, batch, born, catch_up, delta, digest, frontier,
    kinds, last_four, progress, subscribed,
};
use crate::schemas::whole;
use crate::spec;

const STATES: &[&str] = &[
    "unsent",
    "asked",
    "opening",
    "loading",
    "live",
    "resuming",
    "catching_up",
    "resetting",
    "refused",
];

const EVENTS: &[&str] = &[
    "subscribed",
    "altered",
    "older",
    "batch",
    "last_batch",
    "delta",
    "catch_up",
    "frontier",
    "other_epoch",
    "progress",
    "digest",
    "reset",
    "refused",
    "cut",
    "load_older",
    "unsubscribe",
    "anew",
    "verify",
    "again",
    "wider",
    "tables",
];

#[test]
fn every_event_does_to_a_subscription_in_every_state_what_the_spec_says() {
    spec::check("subscriptions", EVENTS, STATES, |event, state| {
        let (mut client, id) = client_in(state);
        let before = (client.births(id), client.position());
        let instructions = happen(&mut client, id, event);
        let kinds = kinds(&instructions);
        if kinds.first() == Some(&"hangup") {
            assert_eq!(client.machine.phase(), Phase::Waiting);
            assert_eq!((client.births(id), client.position()), before, "nothing is applied");
            let writes = instructions.iter().filter_map(|instruction| match instruction {
                Instruction::Apply(step) => Some(&step.writes),
                _ => None,
            });
            assert!(writes.flatten().all(|write| matches!(write, Write::DropStaged(_))));
            assert_eq!(client.replica.staged(), 0);
            return "violation".to_owned();
        }
        if event == "altered" {
            // Rows without names of columns, of which there were others: they come again.
            assert_eq!(client.replica.staged(), 0);
        }
        let seen = client.machine.subscription(id).map(|view| view.state);
        match kinds.is_empty() {
            true => word(seen).to_owned(),
            false => format!("{}: {}", word(seen), kinds.join(" ")),
        }
    });
}

fn word(state: Option<SubscriptionState>) -> &'static str {
    match state {
        None => "gone",
        Some(SubscriptionState::Loading) => "loading",
        Some(SubscriptionState::Live) => "live",
        Some(SubscriptionState::Behind) => "behind",
        Some(SubscriptionState::Refused) => "refused",
    }
}

fn client_in(state: &str) -> (Client, SubscriptionId) {
    let (mut client, id) = match state {
        "unsent" | "asked" | "opening" | "loading" => {
            let mut client = Client::new();
            let (id, _) = client.subscribe(last_four());
            (client, id)
        }
        _ => Client::live(),
    };
    match state {
        "unsent" | "live" => {}
        "asked" => {
            client.open();
        }
        "opening" | "loading" => {
            client.open();
            client.frame(subscribed(1, 1));
            if state == "loading" {
                client.frame(frontier(EPOCH, 10));
                client.frame(batch(1, 10, 8, &[8, 9]));
            }
        }
        "resuming" | "catching_up" => {
            client.disconnected();
            client.open();
            client.frame(subscribed(1, 1));
            if state == "catching_up" {
                client.frame(catch_up(1, vec![born(11)]));
                assert_eq!(client.replica.staged(), 1);
            }
        }
        "resetting" => {
            client.frame(ServerFrame::Reset(Reset { query: QueryNumber(1) }));
        }
        "refused" => {
            client.frame(refusal());
        }
        unknown => panic!("{unknown}"),
    }
    (client, id)
}

fn refusal() -> ServerFrame {
    ServerFrame::Refused(Refused {
        request: Some(RequestNumber(1)),
        code: ErrorCode::Forbidden,
        message: "not yours".to_owned(),
    })
}

fn happen(client: &mut Client, id: SubscriptionId, event: &str) -> Vec<Instruction> {
    match event {
        "subscribed" => client.frame(subscribed(1, 1)),
        "altered" => client.frame(altered(1, 2, 2)),
        "older" => client.frame(altered(1, 2, 0)),
        "batch" => client.frame(batch(1, 11, 2, &[2])),
        "last_batch" => client.frame(batch(1, 11, 0, &[2])),
        "delta" => client.frame(delta(1, 10, 11, true, vec![born(11)])),
        "catch_up" => client.frame(catch_up(1, vec![born(12)])),
        "frontier" => client.frame(frontier(EPOCH, 12)),
        "other_epoch" => client.frame(frontier(OTHER_EPOCH, 3)),
        "progress" => client.frame(progress(11)),
        "reset" => client.frame(ServerFrame::Reset(Reset { query: QueryNumber(1) })),
        "refused" => client.frame(refusal()),
        "cut" => client.disconnected(),
        "load_older" => client.event(Event::LoadOlder(id, 2)),
        "unsubscribe" => client.event(Event::Unsubscribe(id)),
        "digest" => client.frame(digest(1, 11, 5, None, &[])),
        "verify" => client.event(Event::Verify(id)),
        "anew" => client.event(Event::Reset(id)),
        "again" => client.subscribe(last_four()).1,
        "tables" => client.frame(whole(1, &[1])),
        "wider" => client.subscribe(ask(&last_four().sql, None)).1,
        unknown => panic!("{unknown}"),
    }
}
