//! How long the machine waits.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Goodbye, ServerFrame};
use sdk_machine::{Event, Millis, Phase, StatusWord};

use crate::client::Client;

/// How long the machine waits now, in milliseconds.
fn wait(client: &Client) -> u64 {
    assert_eq!(client.machine.phase(), Phase::Waiting);
    client.machine.wakes_at().unwrap().since(client.now)
}

/// The next attempt fails, for want of a token.
fn fail(client: &mut Client) {
    if client.machine.phase() == Phase::Waiting {
        client.now = client.machine.wakes_at().unwrap();
        client.event(Event::Tick);
    }
    let attempt = client.attempt;
    client.event(Event::TokenFailed { attempt });
}

fn goodbye(code: ErrorCode, retry_after_ms: Option<u64>) -> ServerFrame {
    ServerFrame::Goodbye(Goodbye { code, message: String::new(), retry_after_ms })
}

/// G4: whoever comes back comes spread.
#[test]
fn a_wait_lies_anywhere_between_nothing_and_a_bound_that_doubles() {
    seeds::check("machine-backoff", 200, &vec(any::<u64>(), 1..20), |chances| {
        let mut client = Client::new();
        client.event(Event::Resume);
        for (failures, chance) in chances.into_iter().enumerate() {
            client.chance = chance;
            fail(&mut client);
            let bound: u64 = 20_000.min(500 << failures.min(10));
            // Uniform: the wait is the same part of the bound as the chance is of all chances.
            let expected = u128::from(chance) * u128::from(bound) / u128::from(u64::MAX);
            let difference = u128::from(wait(&client)).abs_diff(expected);
            prop_assert!(wait(&client) <= bound && difference <= 1, "{chance} of {bound}");
        }
        Ok(())
    });
}

#[test]
fn the_least_chance_waits_not_at_all_and_the_greatest_as_long_as_may_be() {
    let mut client = Client::new();
    client.event(Event::Resume);
    client.chance = 0;
    fail(&mut client);
    assert_eq!(wait(&client), 0);
    client.chance = u64::MAX;
    let waits: Vec<_> = (0..9)
        .map(|_| {
            fail(&mut client);
            wait(&client)
        })
        .collect();
    let expected = [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000, 20_000];
    assert_eq!(waits, expected);
}

#[test]
fn a_connection_that_lasted_makes_the_next_wait_short() {
    for (lasted, bound) in [(9_999, 2_000), (10_000, 500)] {
        let mut client = Client::new();
        client.chance = u64::MAX;
        client.event(Event::Resume);
        for _ in 0..2 {
            fail(&mut client);
        }
        client.now = client.machine.wakes_at().unwrap();
        client.event(Event::Tick);
        client.token();
        client.connected();
        client.frame(crate::client::welcome());
        client.now = client.now.after(lasted);
        client.disconnected();
        assert_eq!(wait(&client), bound);
    }
}

/// P3: no waiting out of a backoff.
#[test]
fn a_nudge_or_a_resume_tries_at_once_and_makes_the_next_wait_short() {
    let mut client = Client::new();
    client.chance = u64::MAX;
    client.event(Event::Resume);
    for _ in 0..5 {
        fail(&mut client);
    }
    client.event(Event::Nudge);
    assert_eq!(client.machine.phase(), Phase::Authorizing);
    fail(&mut client);
    assert_eq!(wait(&client), 500);
    fail(&mut client);
    assert_eq!(wait(&client), 1_000);
    client.event(Event::Pause);
    client.event(Event::Resume);
    fail(&mut client);
    assert_eq!(wait(&client), 500);
}

#[test]
fn what_a_server_asks_for_is_obeyed_also_when_the_network_changes() {
    let mut client = Client::new();
    client.open();
    client.frame(goodbye(ErrorCode::Overloaded, Some(7_000)));
    assert_eq!(wait(&client), 7_000);
    client.now = client.now.after(1_000);
    client.event(Event::Nudge);
    assert_eq!(wait(&client), 6_000);
    client.event(Event::Pause);
    client.event(Event::Resume);
    assert_eq!(wait(&client), 6_000);
    client.now = client.now.after(6_000);
    client.event(Event::Nudge);
    assert_eq!(client.machine.phase(), Phase::Authorizing);
}

#[test]
fn no_server_can_send_a_client_away_for_ever() {
    let mut client = Client::new();
    client.open();
    client.frame(goodbye(ErrorCode::Overloaded, Some(u64::MAX)));
    assert_eq!(wait(&client), 24 * 60 * 60 * 1000);
}

#[test]
fn a_client_that_is_too_old_waits_a_minute_at_least() {
    let mut client = Client::new();
    client.chance = 0;
    client.open();
    client.frame(goodbye(ErrorCode::UpdateRequired, None));
    assert_eq!(wait(&client), 60_000);
    assert_eq!(client.machine.status().word, StatusWord::UpdateRequired);
}

#[test]
fn a_tick_that_comes_early_or_at_the_end_of_time_does_nothing_wrong() {
    let mut client = Client::new();
    client.now = Millis(u64::MAX - 5);
    client.event(Event::Resume);
    fail(&mut client);
    assert!(client.machine.wakes_at() >= Some(client.now));
}
