//! Random frames. What belongs together in a connection does not here: each frame stands alone.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

mod writing;

use super::{expect, predicate, row, table, text};
use crate::error_code::ErrorCode;
use crate::frame::v1::{
    AllowedTable, AskDigest, AskSync, CatchUp, ClientFrame, Delta, Digest, Frontier, Goodbye, Held,
    Hello, InitialDataBatch, LaneCursor, LanePosition, LoadOlder, Position, Progress, Refused,
    Reset, RowChange, Schema, ServerFrame, Sql, SqlColumn, SqlDone, SqlFailed, SqlOutcome,
    SqlResult, SqlRows, Subscribe, Subscribed, Synced, Token, Unsubscribe, Welcome,
};
use crate::ids::{
    Basis, Birth, ClientId, ColumnId, Epoch, Floor, Lane, QueryNumber, RequestId, RequestNumber,
    RowsSum, SchemaHash, SeqId,
};
use crate::value::Row;

/// A frame from a client.
pub fn client_frame() -> BoxedStrategy<ClientFrame> {
    prop_oneof![
        2 => hello().prop_map(ClientFrame::Hello),
        1 => token().prop_map(ClientFrame::Token),
        2 => subscribe().prop_map(ClientFrame::Subscribe),
        1 => request().prop_map(|request| ClientFrame::Unsubscribe(Unsubscribe { request })),
        1 => (request(), number())
            .prop_map(|(request, rows)| ClientFrame::LoadOlder(LoadOlder { request, rows })),
        1 => (request(), option::of(seq())).prop_map(|(request, below)| {
            ClientFrame::Digest(AskDigest { request, below: below.map(Birth) })
        }),
        1 => request().prop_map(|request| ClientFrame::Sync(AskSync { request })),
        1 => sql().prop_map(ClientFrame::Sql),
        1 => writing::open_lane(),
        2 => writing::mutate(),
    ]
    .boxed()
}

/// A frame from a server, about the table of [`table`](super::table).
pub fn server_frame() -> BoxedStrategy<ServerFrame> {
    let reset = query().prop_map(|query| ServerFrame::Reset(Reset { query }));
    let writer = option::of(writing::writer_state().prop_map(Box::new));
    let frontier = (lane(), bytes(), seq(), writer).prop_map(|(lane, epoch, seq, writer)| {
        ServerFrame::Frontier(Frontier { lane, epoch: Epoch::from_bytes(epoch), seq, writer })
    });
    let lane_position = (lane(), seq()).prop_map(|(lane, seq)| LanePosition(lane, seq));
    let progress = vec(lane_position, 0..3);
    let catch_up = (query(), changes());
    prop_oneof![
        1 => welcome(),
        1 => schema(),
        2 => subscribed(),
        1 => refused(),
        1 => reset,
        2 => batch(),
        1 => digest(),
        1 => (request(), vec(position(), 0..3), any::<bool>()).prop_map(
            |(request, positions, later)| ServerFrame::Synced(Synced { request, positions, later })
        ),
        2 => delta(),
        2 => catch_up
            .prop_map(|(query, changes)| ServerFrame::CatchUp(CatchUp { query, changes })),
        1 => frontier,
        1 => progress.prop_map(|lanes| ServerFrame::Progress(Progress { lanes })),
        2 => (request(), sql_outcome()).prop_map(|(request, outcome)| {
            ServerFrame::SqlResult(SqlResult { request, outcome })
        }),
        1 => goodbye(),
        2 => writing::decided(),
        2 => writing::undecided(),
    ]
    .boxed()
}

fn hello() -> BoxedStrategy<Hello> {
    let cursor = (lane(), bytes(), seq(), select(vec![0, 1, u8::MAX])).prop_map(
        |(lane, epoch, since_seq, cut)| {
            let epoch = Epoch::from_bytes(epoch);
            LaneCursor { lane, epoch, since_seq, cut }
        },
    );
    let versions = vec(select(vec![1, 2, u16::MAX]), 0..3);
    let held = (vec(cursor, 0..3), vec(subscribe(), 0..3), vec(writing::writer(), 0..3));
    let schema = option::of(bytes().prop_map(SchemaHash::from_bytes));
    let app = (schema, select(vec![0, 1, 7, u32::MAX]));
    (versions, token(), bytes(), held, app)
        .prop_map(|(versions, token, client, (lanes, subscriptions, writers), app)| {
            let (client, (schema, app_version)) = (ClientId::from_bytes(client), app);
            Hello { versions, token, client, lanes, subscriptions, writers, schema, app_version }
        })
        .boxed()
}

fn token() -> BoxedStrategy<Token> {
    text().prop_map(Token).boxed()
}

fn subscribe() -> BoxedStrategy<Subscribe> {
    let held = (bytes(), seq(), option::of(number())).prop_map(|(basis, floor, missing)| {
        let (basis, floor) = (Basis::from_bytes(basis), Floor(floor));
        Held { basis, floor, missing }
    });
    let batch_rows = option::of(select(vec![0, 1, 100, u32::MAX]));
    let asked = (option::of(number()), batch_rows, option::of(held));
    (request(), text(), row(&table()), asked)
        .prop_map(|(request, sql, params, (fetch_last, batch_rows, held))| {
            let params = params.0.into_iter().take(4).collect();
            Subscribe { request, sql, params, fetch_last, batch_rows, held }
        })
        .boxed()
}

fn sql() -> BoxedStrategy<Sql> {
    let request_id = option::of(bytes().prop_map(RequestId::from_bytes));
    let timeout_ms = option::of(select(vec![0, 30_000, u32::MAX]));
    (request(), text(), row(&table()), request_id, timeout_ms)
        .prop_map(|(request, sql, params, request_id, timeout_ms)| {
            let params = params.0.into_iter().take(4).collect();
            Sql { request, sql, params, request_id, timeout_ms }
        })
        .boxed()
}

fn position() -> BoxedStrategy<Position> {
    (lane(), bytes(), seq())
        .prop_map(|(lane, epoch, seq)| Position { lane, epoch: Epoch::from_bytes(epoch), seq })
        .boxed()
}

fn sql_outcome() -> BoxedStrategy<SqlOutcome> {
    let columns = table().columns.into_iter().map(|column| SqlColumn {
        name: column.name.as_str().to_owned(),
        column_type: column.column_type,
    });
    let columns = prop_oneof![Just(Vec::new()), Just(columns.collect())];
    let rows = (columns, vec(row(&table()), 0..3))
        .prop_map(|(columns, rows)| SqlOutcome::Rows(SqlRows { columns, rows }));
    let done =
        (option::of(number()), vec(position(), 0..3)).prop_map(|(rows_affected, positions)| {
            SqlOutcome::Done(SqlDone { rows_affected, positions })
        });
    let failed =
        (code(), text(), option::of(number())).prop_map(|(code, message, retry_after_ms)| {
            SqlOutcome::Failed(SqlFailed { code, message, retry_after_ms })
        });
    prop_oneof![rows, done, failed].boxed()
}

fn welcome() -> BoxedStrategy<ServerFrame> {
    let time = select(vec![i64::MIN, -1, 0, 1_769_860_800_000_000]);
    let silence_ms_max = select(vec![0, 15_000, u32::MAX]);
    (select(vec![1, u16::MAX]), time, silence_ms_max, option::of(number()))
        .prop_map(|(version, time, silence_ms_max, token_expires_ms)| {
            ServerFrame::Welcome(Welcome { version, time, silence_ms_max, token_expires_ms })
        })
        .boxed()
}

fn schema() -> BoxedStrategy<ServerFrame> {
    (bytes(), number(), vec(any::<bool>(), 0..3), any::<bool>())
        .prop_map(|(version, revision, writable, end)| {
            let version = SchemaHash::from_bytes(version);
            let tables = writable
                .into_iter()
                .map(|writable| AllowedTable { table: table(), writable })
                .collect();
            ServerFrame::Schema(Schema { version, revision, tables, end })
        })
        .boxed()
}

fn subscribed() -> BoxedStrategy<ServerFrame> {
    let ids: Vec<ColumnId> = table().columns.iter().map(|column| column.id).collect();
    let columns = proptest::sample::subsequence(ids, 1..4);
    (request(), query(), lane(), bytes(), columns, predicate(&table()))
        .prop_map(|(request, query, lane, basis, columns, predicate)| {
            let (basis, table) = (Basis::from_bytes(basis), table());
            let subscribed = Subscribed { request, query, lane, basis, table, columns, predicate };
            ServerFrame::Subscribed(Box::new(subscribed))
        })
        .boxed()
}

fn refused() -> BoxedStrategy<ServerFrame> {
    (option::of(request()), code(), text())
        .prop_map(|(request, code, message)| {
            ServerFrame::Refused(Refused { request, code, message })
        })
        .boxed()
}

fn goodbye() -> BoxedStrategy<ServerFrame> {
    (code(), text(), option::of(number()))
        .prop_map(|(code, message, retry_after_ms)| {
            ServerFrame::Goodbye(Goodbye { code, message, retry_after_ms })
        })
        .boxed()
}

fn batch() -> BoxedStrategy<ServerFrame> {
    let rows = vec((seq(), row(&table()), time()), 0..3);
    (query(), seq(), seq(), number(), rows, any::<bool>())
        .prop_map(|(query, seq, floor, remaining, mut rows, has_ttl)| {
            rows.sort_by_key(|(birth, ..)| *birth);
            let births = rows.iter().map(|(birth, ..)| Birth(*birth)).collect();
            let expires = rows.iter().map(|(.., expiry)| *expiry).filter(|_| has_ttl);
            let expiries = expires.collect();
            let rows = rows.into_iter().map(|(_, row, _)| row).collect();
            let floor = Floor(floor);
            let batch = InitialDataBatch { query, seq, floor, remaining, births, rows, expiries };
            ServerFrame::InitialDataBatch(batch)
        })
        .boxed()
}

fn digest() -> BoxedStrategy<ServerFrame> {
    (query(), seq(), seq(), option::of(seq()), number(), bytes())
        .prop_map(|(query, seq, floor, below, rows, sum)| {
            let (floor, below, sum) = (Floor(floor), below.map(Birth), RowsSum::from_bytes(sum));
            ServerFrame::Digest(Digest { query, seq, floor, below, rows, sum })
        })
        .boxed()
}

fn delta() -> BoxedStrategy<ServerFrame> {
    (seq(), seq(), any::<bool>(), query(), changes())
        .prop_map(|(previous, seq, end, query, changes)| {
            ServerFrame::Delta(Delta { previous, seq, end, query, changes })
        })
        .boxed()
}

fn changes() -> BoxedStrategy<Vec<RowChange>> {
    let change = (seq(), row(&table()), time(), 0..4_u8).prop_map(|(birth, row, expiry, kind)| {
        let birth = Birth(birth);
        let key = || row.iter().take(1).cloned().collect::<Row>();
        match kind {
            0 => RowChange::Left(birth, key()),
            1 => RowChange::Deleted(birth, key()),
            2 => RowChange::Expiring(birth, row, expiry),
            _ => RowChange::Row(birth, row),
        }
    });
    vec(change, 0..4).boxed()
}

fn lane() -> BoxedStrategy<Lane> {
    select(vec!["user/alice", "user/a/b", "shared/test"])
        .prop_map(|text| expect(text.parse::<Lane>()))
        .boxed()
}

/// Positions, on both sides of where their bytes become more.
fn seq() -> BoxedStrategy<SeqId> {
    let numbers = [0, 1, 127, 128, 300, 1 << 32, SeqId::MAX.get()];
    select(numbers.to_vec()).prop_map(|number| expect(SeqId::new(number))).boxed()
}

fn number() -> BoxedStrategy<u64> {
    select(vec![0, 1, 50, 1 << 16, u64::MAX]).boxed()
}

fn request() -> BoxedStrategy<RequestNumber> {
    number().prop_map(RequestNumber).boxed()
}

fn query() -> BoxedStrategy<QueryNumber> {
    number().prop_map(QueryNumber).boxed()
}

fn bytes() -> BoxedStrategy<[u8; 16]> {
    select(vec![[0; 16], [0xff; 16], *b"0123456789abcdef"]).boxed()
}

fn time() -> BoxedStrategy<i64> {
    select(vec![i64::MIN, -1, 0, 1_769_860_800_000_000, i64::MAX]).boxed()
}

fn code() -> BoxedStrategy<ErrorCode> {
    select(ErrorCode::ALL).boxed()
}
