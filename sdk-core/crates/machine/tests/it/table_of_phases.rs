//! What the machine does in every phase on every event.

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Goodbye, Progress, ServerFrame, SqlDone, SqlOutcome, SqlResult};
use protocol::ids::RequestNumber;
use sdk_machine::{Event, Instruction, Phase, SqlAsk, StatementId, SubscriptionId};

use crate::client::{Client, ask, born, delta, kinds, last_four, welcome};
use crate::schemas::whole;
use crate::spec;

const PHASES: &[&str] =
    &["paused", "waiting", "authorizing", "dialing", "greeting", "open", "closed"];

const EVENTS: &[&str] = &[
    "resume",
    "pause",
    "close",
    "nudge",
    "token_ready",
    "token_failed",
    "connected",
    "disconnected",
    "welcome",
    "progress",
    "goodbye",
    "violation",
    "early_tick",
    "deadline",
    "subscribe",
    "unsubscribe",
    "load_older",
    "reset",
    "run",
    "sql_result",
    "forget",
    "sync",
    "schema",
];

#[test]
fn every_event_does_in_every_phase_what_the_spec_says() {
    spec::check("phases", EVENTS, PHASES, |event, phase| {
        let (mut client, id) = client_in(phase);
        assert_eq!(word(client.machine.phase()), phase, "the test brings it there");
        let instructions = happen(&mut client, id, event);
        let kinds = kinds(&instructions);
        match kinds.is_empty() {
            true => word(client.machine.phase()).to_owned(),
            false => format!("{}: {}", word(client.machine.phase()), kinds.join(" ")),
        }
    });
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Paused => "paused",
        Phase::Waiting => "waiting",
        Phase::Authorizing => "authorizing",
        Phase::Dialing => "dialing",
        Phase::Greeting => "greeting",
        Phase::Open => "open",
        Phase::Closed => "closed",
    }
}

fn client_in(phase: &str) -> (Client, SubscriptionId) {
    let mut client = Client::new();
    let (id, _) = client.subscribe(last_four());
    match phase {
        "paused" => {}
        "waiting" => {
            client.event(Event::Resume);
            let attempt = client.attempt;
            client.event(Event::TokenFailed { attempt });
        }
        "authorizing" => {
            client.event(Event::Resume);
        }
        "dialing" => {
            client.event(Event::Resume);
            client.token();
        }
        "greeting" => {
            client.greet();
        }
        "open" => {
            client.open();
            assert_eq!(kinds(&client.after(80_000)), ["ask_token"]);
        }
        "closed" => {
            client.event(Event::Close);
        }
        unknown => panic!("{unknown}"),
    }
    (client, id)
}

fn run(client: &mut Client) -> Option<(StatementId, Vec<Instruction>)> {
    let (sql, params) = ("DELETE FROM chat.rooms".to_owned(), Vec::new());
    client.machine.run(SqlAsk { sql, params, request_id: None, timeout_ms: None }).ok()
}

fn happen(client: &mut Client, id: SubscriptionId, event: &str) -> Vec<Instruction> {
    let attempt = client.attempt;
    match event {
        "resume" => client.event(Event::Resume),
        "pause" => client.event(Event::Pause),
        "close" => client.event(Event::Close),
        "nudge" => client.event(Event::Nudge),
        "token_ready" => client.token(),
        "token_failed" => client.event(Event::TokenFailed { attempt }),
        "connected" => client.connected(),
        "disconnected" => client.disconnected(),
        "welcome" => client.frame(welcome()),
        "progress" => client.frame(ServerFrame::Progress(Progress { lanes: Vec::new() })),
        "goodbye" => client.frame(ServerFrame::Goodbye(Goodbye {
            code: ErrorCode::Overloaded,
            message: "come back later".to_owned(),
            retry_after_ms: None,
        })),
        "violation" => client.frame(delta(99, 10, 11, true, vec![born(11)])),
        "early_tick" => client.after(1),
        "deadline" => client.after(120_000),
        "subscribe" => match client.machine.subscribe(ask("SELECT id FROM chat.rooms", None)) {
            Ok((_, instructions)) => instructions,
            Err(_) => Vec::new(),
        },
        "unsubscribe" => client.event(Event::Unsubscribe(id)),
        "load_older" => client.event(Event::LoadOlder(id, 2)),
        "reset" => client.event(Event::Reset(id)),
        "run" => run(client).map_or_else(Vec::new, |(_, instructions)| instructions),
        "sync" => {
            let now = client.now;
            client.machine.sync(now).map_or_else(|_| Vec::new(), |(_, instructions)| instructions)
        }
        "sql_result" => {
            // On an open connection it answers something.
            let asked = run(client);
            let result = SqlResult {
                request: RequestNumber(1),
                outcome: SqlOutcome::Done(SqlDone::default()),
            };
            drop(asked);
            client.frame(ServerFrame::SqlResult(result))
        }
        "schema" => client.frame(whole(1, &[1])),
        "forget" => {
            let asked = run(client);
            asked.map_or_else(Vec::new, |(id, _)| client.event(Event::ForgetStatement(id)))
        }
        unknown => panic!("{unknown}"),
    }
}
