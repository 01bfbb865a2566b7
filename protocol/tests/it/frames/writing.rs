//! What a client writes, and what becomes of it.

use protocol::frame::v1::{
    ClientFrame, Decided, Frontier, Hello, LaneAt, LaneWriter, Mutate, MutationDecision, OpenLane,
    RetryAfter, RowNow, ServerFrame, TableNow, Undecided, WriterState, Written,
};
use protocol::ids::{
    Birth, ClientId, ColumnId, ContentHash, Epoch, MutationNumber, SchemaVersion, TableId,
};
use protocol::mutation::{
    Action, ColumnValue, Mutation, MutationDigest, Operation, Reason, Rejection, Verdict,
};
use protocol::value::{Row, Value};

use super::{alice, hello, seq};

pub(super) fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let open = OpenLane { writer: writer(), at: None };
    vec![
        ("hello-writing", ClientFrame::Hello(Hello { writers: vec![writer()], ..hello() })),
        ("open-lane", ClientFrame::OpenLane(open.clone())),
        ("open-lane-at", ClientFrame::OpenLane(OpenLane { at: Some(at()), ..open })),
        ("mutate", ClientFrame::Mutate(Box::new(mutate()))),
    ]
}

fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number).unwrap()
}

fn writer() -> LaneWriter {
    let client = ClientId::from_bytes(*b"0123456789abcdef");
    LaneWriter { lane: alice(), client, confirmed: number(2) }
}

fn at() -> LaneAt {
    LaneAt { epoch: Epoch::from_bytes([0xee; 16]), seq: seq(12) }
}

/// One that was written and one that was taken back.
fn mutate() -> Mutate {
    let action = Action::Insert(vec![ColumnValue(ColumnId(0), Value::Integer(3))]);
    let (table, version) = (TableId(70), SchemaVersion(1));
    let operations = vec![Operation { table, version, action, guard: None }];
    let LaneWriter { lane, client, confirmed } = writer();
    Mutate {
        lane,
        client,
        since: 1_769_860_800_000_000,
        epoch: at().epoch,
        first: number(3),
        previous: ContentHash::from_bytes([0xcc; 16]),
        mutations: vec![
            Written::Mutation(Mutation { operations }),
            Written::Cancelled(MutationDigest([0xdd; 16])),
        ],
        confirmed,
    }
}

pub(super) fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let LaneWriter { lane, client, .. } = writer();
    let row = |id| Row(vec![Value::Integer(id), Value::text("hi").unwrap()]);
    let rows = vec![
        RowNow::Row(Birth(seq(13)), row(3)),
        RowNow::Expiring(Birth(seq(13)), row(4), -1),
        RowNow::Gone(Row(vec![Value::Integer(5)])),
    ];
    let columns = vec![ColumnId(0), ColumnId(1)];
    let tables = vec![TableNow { table: TableId(70), columns, rows }];
    let hash = ContentHash::from_bytes([0xcc; 16]);
    let accepted =
        MutationDecision { number: number(3), hash, verdict: Verdict::Accepted, seq: seq(13) };
    let (operation, table, column) = (0, TableId(70), Some(ColumnId(1)));
    let rejection = Rejection { operation, table, column, reason: Reason::NotNull };
    let rejected = MutationDecision {
        verdict: Verdict::Rejected(rejection),
        number: number(4),
        ..accepted.clone()
    };
    let accepted_now = Decided {
        lane: lane.clone(),
        client,
        previous: seq(12),
        seq: seq(13),
        decision: accepted.clone(),
        tables: tables.clone(),
    };
    let rejected_now = Decided {
        previous: seq(13),
        decision: rejected.clone(),
        tables: vec![],
        ..accepted_now.clone()
    };
    let decisions = vec![accepted, rejected];
    let state =
        WriterState { client, confirmed: number(2), confirmed_hash: hash, decisions, tables };
    let new = WriterState {
        confirmed: MutationNumber::ZERO,
        confirmed_hash: ContentHash::START,
        decisions: vec![],
        tables: vec![],
        ..state.clone()
    };
    let frontier = |state| {
        let (epoch, writer) = (at().epoch, Some(Box::new(state)));
        ServerFrame::Frontier(Frontier { lane: alice(), epoch, seq: seq(13), writer })
    };
    let undecided = Undecided { lane: lane.clone(), client, number: number(3) };
    let later = RetryAfter { lane, client, retry_after_ms: 500 };
    vec![
        ("frontier-writer", frontier(state)),
        ("frontier-new-writer", frontier(new)),
        ("decided", ServerFrame::Decided(Box::new(accepted_now))),
        ("decided-rejected", ServerFrame::Decided(Box::new(rejected_now))),
        ("expected", ServerFrame::Expected(undecided.clone())),
        ("forked", ServerFrame::Forked(undecided.clone())),
        ("unknown-client", ServerFrame::UnknownClient(undecided)),
        ("retry-after", ServerFrame::RetryAfter(later)),
    ]
}
