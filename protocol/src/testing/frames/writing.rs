//! Random frames about what a client writes.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{expect, row, table};
use super::{bytes, lane, number, seq, time};
use crate::frame::v1::{
    ClientFrame, Decided, LaneAt, LaneWriter, Mutate, MutationDecision, OpenLane, RetryAfter,
    RowNow, ServerFrame, TableNow, Undecided, WriterState, Written,
};
use crate::ids::{
    Birth, ClientId, ColumnId, ContentHash, Epoch, MutationNumber, SchemaVersion, TableId,
};
use crate::mutation::{
    Action, ColumnChange, ColumnValue, Guard, Mutation, MutationDigest, Operation, Reason,
    Rejection, Verdict,
};
use crate::value::Row;

pub(super) fn writer() -> BoxedStrategy<LaneWriter> {
    (lane(), client(), mutation_number())
        .prop_map(|(lane, client, confirmed)| LaneWriter { lane, client, confirmed })
        .boxed()
}

pub(super) fn open_lane() -> BoxedStrategy<ClientFrame> {
    let at = (epoch(), seq()).prop_map(|(epoch, seq)| LaneAt { epoch, seq });
    (writer(), option::of(at))
        .prop_map(|(writer, at)| ClientFrame::OpenLane(OpenLane { writer, at }))
        .boxed()
}

pub(super) fn mutate() -> BoxedStrategy<ClientFrame> {
    let written = prop_oneof![
        3 => mutation().prop_map(Written::Mutation),
        1 => bytes().prop_map(|digest| Written::Cancelled(MutationDigest(digest))),
    ];
    let numbers = (mutation_number(), hash(), mutation_number());
    (writer(), time(), epoch(), numbers, vec(written, 0..4))
        .prop_map(|(writer, since, epoch, (first, previous, confirmed), mutations)| {
            let LaneWriter { lane, client, .. } = writer;
            ClientFrame::Mutate(Box::new(Mutate {
                lane,
                client,
                since,
                epoch,
                first,
                previous,
                mutations,
                confirmed,
            }))
        })
        .boxed()
}

fn mutation() -> BoxedStrategy<Mutation> {
    let guard = option::of(prop_oneof![
        Just(Guard::Absent),
        seq().prop_map(Guard::Unchanged),
        values().prop_map(Guard::Values),
    ]);
    let operation = (action(), guard).prop_map(|(action, guard)| {
        let (table, version) = (TableId(70), SchemaVersion(1));
        Operation { table, version, action, guard }
    });
    vec(operation, 0..3).prop_map(|operations| Mutation { operations }).boxed()
}

fn action() -> BoxedStrategy<Action> {
    let key = || row(&table()).prop_map(|row| row.iter().take(1).cloned().collect::<Row>());
    let changes = values().prop_map(|values| {
        let change = |(place, value)| match place {
            0 => ColumnChange::Add(value),
            _ => ColumnChange::Set(value),
        };
        values.into_iter().enumerate().map(change).collect()
    });
    prop_oneof![
        values().prop_map(Action::Insert),
        values().prop_map(Action::Upsert),
        (key(), changes).prop_map(|(key, changes)| Action::Patch { key, changes }),
        key().prop_map(|key| Action::Delete { key }),
    ]
    .boxed()
}

fn values() -> BoxedStrategy<Vec<ColumnValue>> {
    row(&table())
        .prop_map(|row| {
            (0_u16..).map(ColumnId).zip(row.0).map(|(c, v)| ColumnValue(c, v)).collect()
        })
        .boxed()
}

pub(super) fn decided() -> BoxedStrategy<ServerFrame> {
    (lane(), client(), seq(), seq(), decision(), tables())
        .prop_map(|(lane, client, previous, seq, decision, tables)| {
            ServerFrame::Decided(Box::new(Decided {
                lane,
                client,
                previous,
                seq,
                decision,
                tables,
            }))
        })
        .boxed()
}

pub(super) fn undecided() -> BoxedStrategy<ServerFrame> {
    let undecided = || {
        (lane(), client(), mutation_number()).prop_map(|(lane, client, number)| Undecided {
            lane,
            client,
            number,
        })
    };
    let later = (lane(), client(), number()).prop_map(|(lane, client, retry_after_ms)| {
        ServerFrame::RetryAfter(RetryAfter { lane, client, retry_after_ms })
    });
    prop_oneof![
        undecided().prop_map(ServerFrame::Expected),
        undecided().prop_map(ServerFrame::Forked),
        undecided().prop_map(ServerFrame::UnknownClient),
        later,
    ]
    .boxed()
}

pub(super) fn writer_state() -> BoxedStrategy<WriterState> {
    (client(), mutation_number(), hash(), vec(decision(), 0..3), tables())
        .prop_map(|(client, confirmed, confirmed_hash, decisions, tables)| WriterState {
            client,
            confirmed,
            confirmed_hash,
            decisions,
            tables,
        })
        .boxed()
}

fn decision() -> BoxedStrategy<MutationDecision> {
    let rejected = select(vec![Reason::DuplicateKey, Reason::Cancelled]).prop_map(|reason| {
        let (operation, table, column) = (1, TableId(70), Some(ColumnId(2)));
        Verdict::Rejected(Rejection { operation, table, column, reason })
    });
    let verdict = prop_oneof![Just(Verdict::Accepted), rejected];
    (mutation_number(), hash(), verdict, seq())
        .prop_map(|(number, hash, verdict, seq)| MutationDecision { number, hash, verdict, seq })
        .boxed()
}

fn tables() -> BoxedStrategy<Vec<TableNow>> {
    let row = (seq(), row(&table()), time(), 0..3_u8).prop_map(|(birth, row, expiry, kind)| {
        let birth = Birth(birth);
        match kind {
            0 => RowNow::Gone(row.iter().take(1).cloned().collect()),
            1 => RowNow::Expiring(birth, row, expiry),
            _ => RowNow::Row(birth, row),
        }
    });
    let columns: Vec<ColumnId> = table().columns.iter().map(|column| column.id).collect();
    let now = vec(row, 0..3).prop_map(move |rows| {
        let columns = columns.clone();
        TableNow { table: TableId(70), columns, rows }
    });
    vec(now, 0..2).boxed()
}

fn client() -> BoxedStrategy<ClientId> {
    bytes().prop_map(ClientId::from_bytes).boxed()
}

fn epoch() -> BoxedStrategy<Epoch> {
    bytes().prop_map(Epoch::from_bytes).boxed()
}

fn hash() -> BoxedStrategy<ContentHash> {
    bytes().prop_map(ContentHash::from_bytes).boxed()
}

fn mutation_number() -> BoxedStrategy<MutationNumber> {
    let numbers = vec![0, 1, 200, MutationNumber::MAX.get()];
    select(numbers).prop_map(|number| expect(MutationNumber::new(number))).boxed()
}
