//! The messages of a connection: their exact bytes, and what is said to bytes that are none.

mod comparing;
mod schema;
mod writing;

use std::fmt::Debug;

use proptest::prelude::*;
use protocol::codec::{DecodeError, Malformation, encode};
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    CatchUp, ClientFrame, Delta, Frontier, Goodbye, Held, Hello, InitialDataBatch, LaneCursor,
    LanePosition, LoadOlder, MESSAGE_NAME_BYTES_MAX, Progress, Received, Refused, Reset, RowChange,
    ServerFrame, Sql, SqlColumn, SqlDone, SqlFailed, SqlOutcome, SqlResult, SqlRows, Subscribe,
    Subscribed, Token, Unsubscribe, Welcome, read_client, read_server,
};
use protocol::ids::{
    Basis, Birth, ClientId, ColumnId, Epoch, Floor, Lane, Name, QueryNumber, RequestId,
    RequestNumber, SchemaVersion, SeqId, TableId,
};
use protocol::limits::{
    BATCH_ROWS_MAX, CHANGES_MAX, CLIENT_FRAME_BYTES_MAX, COLUMNS_MAX, CONNECTION_LANES_MAX,
    CONNECTION_SUBSCRIPTIONS_MAX, OFFERED_VERSIONS_MAX, SERVER_FRAME_BYTES_MAX, SQL_PARAMS_MAX,
    SQL_RESULT_ROWS_MAX,
};
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::schema::{Column, MergeRule, TableKind, TableSchema};
use protocol::testing;
use protocol::value::{ColumnType, Row, Value};

use self::comparing::position;
use super::golden::Golden;

fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

fn birth(number: u64) -> Birth {
    Birth(seq(number))
}

fn alice() -> Lane {
    "user/alice".parse().unwrap()
}

fn row(id: i64, body: &str) -> Row {
    [Value::Integer(id), Value::text(body).unwrap()].into_iter().collect()
}

fn key(id: i64) -> Row {
    [Value::Integer(id)].into_iter().collect()
}

/// A `subscribe` without anything that may be left out.
fn subscribe() -> Subscribe {
    Subscribe {
        request: RequestNumber(1),
        sql: "SELECT * FROM app.notes".to_owned(),
        params: vec![],
        fetch_last: None,
        batch_rows: None,
        held: None,
    }
}

fn held() -> Held {
    Held { basis: Basis::from_bytes([0xba; 16]), floor: Floor(seq(7)), missing: None }
}

/// A `subscribe` with everything.
fn subscribe_all() -> Subscribe {
    Subscribe {
        request: RequestNumber(300),
        sql: "SELECT * FROM app.notes WHERE id > $1 AND body <> $2".to_owned(),
        params: vec![Value::Integer(-1), Value::text("é").unwrap()],
        fetch_last: Some(50),
        batch_rows: Some(1_000),
        held: Some(Held { missing: Some(20), ..held() }),
    }
}

fn hello() -> Hello {
    Hello {
        versions: vec![1],
        token: Token("abc".to_owned()),
        client: ClientId::from_bytes(*b"0123456789abcdef"),
        lanes: vec![],
        subscriptions: vec![],
        writers: vec![],
        schema: None,
        app_version: 0,
    }
}

fn lane_cursor(cut: u8) -> LaneCursor {
    LaneCursor { lane: alice(), epoch: Epoch::from_bytes([0xee; 16]), since_seq: seq(12), cut }
}

fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let complete = Floor::COMPLETE;
    let resumed = Subscribe { held: Some(Held { floor: complete, ..held() }), ..subscribe() };
    let resuming = Hello {
        versions: vec![2, 1],
        lanes: vec![lane_cursor(0), lane_cursor(2)],
        subscriptions: vec![resumed, subscribe_all()],
        ..hello()
    };
    let request = RequestNumber(300);
    let mut frames = vec![
        ("hello", ClientFrame::Hello(hello())),
        ("hello-resuming", ClientFrame::Hello(resuming)),
        ("hello-knowing", ClientFrame::Hello(schema::hello())),
        ("token", ClientFrame::Token(Token("abc".to_owned()))),
        ("subscribe", ClientFrame::Subscribe(subscribe())),
        ("subscribe-all", ClientFrame::Subscribe(subscribe_all())),
        ("unsubscribe", ClientFrame::Unsubscribe(Unsubscribe { request })),
        ("load-older", ClientFrame::LoadOlder(LoadOlder { request, rows: 50 })),
        ("sql", ClientFrame::Sql(sql())),
        ("sql-all", ClientFrame::Sql(sql_all())),
    ];
    frames.extend(comparing::client_frames());
    frames.extend(writing::client_frames());
    frames
}

/// A statement without anything that may be left out.
fn sql() -> Sql {
    let sql = "DELETE FROM app.notes".to_owned();
    let request = RequestNumber(1);
    Sql { request, sql, params: vec![], request_id: None, timeout_ms: None }
}

/// A statement with everything.
fn sql_all() -> Sql {
    Sql {
        sql: "INSERT INTO app.notes VALUES ($1, $2)".to_owned(),
        params: vec![Value::Integer(3), Value::text("hi").unwrap()],
        request_id: Some(RequestId::from_bytes([0x1d; 16])),
        timeout_ms: Some(30_000),
        ..sql()
    }
}

fn sql_results() -> Vec<(&'static str, ServerFrame)> {
    let column = |name: &str, column_type| SqlColumn { name: name.to_owned(), column_type };
    let columns = vec![column("id", ColumnType::BigInt), column("body", ColumnType::Text)];
    let first = SqlRows { columns, rows: vec![row(1, "a"), row(2, "b")] };
    let next = SqlRows { columns: vec![], rows: vec![row(3, "c")] };
    let positions = vec![position()];
    let failed = SqlFailed {
        code: ErrorCode::Overloaded,
        message: "come back".to_owned(),
        retry_after_ms: None,
    };
    let later = SqlFailed { retry_after_ms: Some(2_000), ..failed.clone() };
    let outcomes = [
        ("sql-rows", SqlOutcome::Rows(first)),
        ("sql-rows-next", SqlOutcome::Rows(next)),
        ("sql-done", SqlOutcome::Done(SqlDone::default())),
        ("sql-done-all", SqlOutcome::Done(SqlDone { rows_affected: Some(1), positions })),
        ("sql-failed", SqlOutcome::Failed(failed)),
        ("sql-failed-later", SqlOutcome::Failed(later)),
    ];
    let request = RequestNumber(1);
    let frame = |outcome| ServerFrame::SqlResult(SqlResult { request, outcome });
    outcomes.into_iter().map(|(name, outcome)| (name, frame(outcome))).collect()
}

fn notes() -> TableSchema {
    let column = |id, name, column_type, not_null| Column {
        id: ColumnId(id),
        name: Name::new(name).unwrap(),
        column_type,
        not_null,
        default: None,
        merge: MergeRule::Last,
    };
    TableSchema {
        id: TableId(3),
        name: "app.notes".parse().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(1, "id", ColumnType::BigInt, true),
            column(2, "body", ColumnType::Text, false),
        ],
        primary_key: vec![ColumnId(1)],
        indexes: vec![],
        ttl_seconds: None,
    }
}

fn subscribed() -> Subscribed {
    notes().check().unwrap();
    let operand = Operand::Value(Value::Integer(0));
    Subscribed {
        request: RequestNumber(1),
        query: QueryNumber(9),
        lane: alice(),
        basis: Basis::from_bytes([0xba; 16]),
        table: notes(),
        columns: vec![ColumnId(1), ColumnId(2)],
        predicate: Predicate::Compare { column: ColumnId(1), op: CompareOp::Greater, operand },
    }
}

fn batch() -> InitialDataBatch {
    InitialDataBatch {
        query: QueryNumber(9),
        seq: seq(12),
        floor: Floor(seq(7)),
        remaining: 6,
        births: vec![birth(7), birth(12)],
        rows: vec![row(1, "a"), row(2, "b")],
        expiries: vec![],
    }
}

/// A change of each kind.
fn changes() -> [(&'static str, RowChange); 4] {
    [
        ("row", RowChange::Row(birth(13), row(3, "hi"))),
        ("expiring", RowChange::Expiring(birth(13), row(3, "hi"), 1_769_860_800_000_000)),
        ("left", RowChange::Left(birth(7), key(1))),
        ("deleted", RowChange::Deleted(birth(7), key(1))),
    ]
}

fn delta(changes: Vec<RowChange>, end: bool) -> ServerFrame {
    let query = QueryNumber(9);
    ServerFrame::Delta(Delta { previous: seq(12), seq: seq(13), end, query, changes })
}

fn welcome_and_refusals() -> Vec<(&'static str, ServerFrame)> {
    let time = 1_769_860_800_000_000;
    let welcome = Welcome { version: 1, time, silence_ms_max: 15_000, token_expires_ms: None };
    let expiring = Welcome { token_expires_ms: Some(3_600_000), ..welcome.clone() };
    let code = ErrorCode::Unsupported;
    let refused = Refused { request: None, code, message: "not offered".to_owned() };
    let of_request = Refused { request: Some(RequestNumber(1)), ..refused.clone() };
    let code = ErrorCode::Overloaded;
    let goodbye = Goodbye { code, message: "come back".to_owned(), retry_after_ms: None };
    let later = Goodbye { retry_after_ms: Some(2_000), ..goodbye.clone() };
    vec![
        ("welcome", ServerFrame::Welcome(welcome)),
        ("welcome-token-expires", ServerFrame::Welcome(expiring)),
        ("refused", ServerFrame::Refused(refused)),
        ("refused-request", ServerFrame::Refused(of_request)),
        ("goodbye", ServerFrame::Goodbye(goodbye)),
        ("goodbye-later", ServerFrame::Goodbye(later)),
    ]
}

fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let query = QueryNumber(9);
    let empty = InitialDataBatch {
        floor: Floor::COMPLETE,
        remaining: 0,
        births: vec![],
        rows: vec![],
        ..batch()
    };
    let expiring = InitialDataBatch { expiries: vec![1_769_860_800_000_000, -1], ..batch() };
    let all: Vec<_> = changes().into_iter().map(|(_, change)| change).collect();
    let (lane, epoch, seq) = (alice(), Epoch::from_bytes([0xee; 16]), seq(13));
    let shared = LanePosition("shared/chat".parse().unwrap(), SeqId::MAX);
    let lanes = vec![LanePosition(lane.clone(), seq), shared];
    let mut frames = welcome_and_refusals();
    frames.extend([
        ("subscribed", ServerFrame::Subscribed(Box::new(subscribed()))),
        ("reset", ServerFrame::Reset(Reset { query })),
        ("initial-data-batch", ServerFrame::InitialDataBatch(batch())),
        ("initial-data-batch-empty", ServerFrame::InitialDataBatch(empty)),
        ("initial-data-batch-expiring", ServerFrame::InitialDataBatch(expiring)),
        ("delta-empty", delta(vec![], true)),
        ("delta-all", delta(all.clone(), false)),
        ("catch-up", ServerFrame::CatchUp(CatchUp { query, changes: all })),
        ("frontier", ServerFrame::Frontier(Frontier { lane, epoch, seq, writer: None })),
        ("progress-none", ServerFrame::Progress(Progress { lanes: vec![] })),
        ("progress", ServerFrame::Progress(Progress { lanes })),
    ]);
    frames.extend(sql_results());
    frames.extend(comparing::server_frames());
    frames.extend(writing::server_frames());
    frames.extend(schema::server_frames());
    frames
}

#[test]
fn frames_keep_their_bytes() {
    let mut golden = Golden::read("frames.hex");
    for (name, frame) in client_frames() {
        golden.sample(&format!("client-{name}"), &frame);
    }
    for (name, frame) in server_frames() {
        golden.sample(&format!("server-{name}"), &frame);
    }
    for (name, change) in changes() {
        golden.sample(&format!("change-{name}"), &change);
        golden.sample(&format!("server-delta-{name}"), &delta(vec![change], true));
    }
    golden.finish();
}

/// The bytes of a message called `name`.
fn message(name: &str, content: &[u8]) -> Vec<u8> {
    [&[0x81][..], &encode(name), content].concat()
}

fn unknown<F>(name: &str) -> Result<Received<F>, DecodeError> {
    Ok(Received::Unknown { name: name.to_owned() })
}

#[test]
fn a_message_that_is_not_known_is_named_in_part() {
    let long = "x".repeat(MESSAGE_NAME_BYTES_MAX);
    // Thirty-one bytes, and a character of two that begins with the last one.
    let at_boundary = format!("{}é", "x".repeat(MESSAGE_NAME_BYTES_MAX - 1));
    for (sent, named) in [
        ("later", "later"),
        ("", ""),
        ("Hello", "Hello"),
        (&*long, &*long),
        (&*format!("{long}y"), &*long),
        (&*at_boundary, &at_boundary[..MESSAGE_NAME_BYTES_MAX - 1]),
    ] {
        // Whatever its content is.
        let extension = encode(&vec![Value::Uuid([7; 16]), Value::Null]);
        for content in
            [&b"\xc0"[..], b"\x80", b"\x81\x01\x92\xc4\x01\xff\xcb\x7f\xf8\0\0\0\0\0\0", &extension]
        {
            assert_eq!(read_client(&message(sent, content)), unknown(named));
            assert_eq!(read_server(&message(sent, content)), unknown(named));
        }
    }
    // What one end sends is nothing to that end.
    let (_, hello) = &client_frames()[0];
    assert_eq!(read_server(&encode(hello)), unknown("hello"));
    let (_, welcome) = &server_frames()[0];
    assert_eq!(read_client(&encode(welcome)), unknown("welcome"));
}

#[test]
fn what_is_known_and_wrong_is_not_taken_for_unknown() {
    for name in [
        "hello",
        "token",
        "subscribe",
        "unsubscribe",
        "load_older",
        "digest",
        "sync",
        "sql",
        "open_lane",
        "mutate",
    ] {
        for content in [&b"\xc0"[..], b"\x01", b"\x80", b"\x91\xc0"] {
            let refused = read_client(&message(name, content)).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{name} {content:02x?}");
        }
    }
    for (_, frame) in server_frames() {
        let bytes = encode(&frame);
        let name_ends = 2 + usize::from(bytes[1] & 0x1f);
        let refused = read_server(&[&bytes[..name_ends], b"\xc0"].concat()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{frame:?}");
    }
    // A kind of change that this version does not know is no message that it does not know.
    let later = delta(vec![], true);
    let mut bytes = encode(&later);
    assert_eq!(bytes.pop(), Some(0x90), "no changes");
    bytes.extend(b"\x91\x81\xa5moved\x92\x01\x90");
    assert!(read_server(&bytes).is_err());
}

#[test]
fn a_message_is_a_map_with_one_entry() {
    for bytes in [
        &b"\x80"[..],
        b"\x82\xa1a\xc0\xa1b\xc0",
        b"\x82\xa5reset\x81\xa5query\x01\xa1b\xc0",
        b"\x82\xa1b\xc0\xa5reset\x81\xa5query\x01",
        b"\x82\xa5token\xa1a\xa1b\xc0",
        b"\x81\xa1a",
        b"\x81\xc0\xc0",
        b"\x81\xa1a\xc0\xc0",
        b"\xa5reset",
        b"\xa1a",
        b"\x90",
        b"\xc0",
        b"",
    ] {
        assert!(read_client(bytes).is_err(), "{bytes:02x?}");
        assert!(read_server(bytes).is_err(), "{bytes:02x?}");
    }
}

/// The bytes of a frame with two more fields.
fn with_later_fields(bytes: &[u8]) -> Vec<u8> {
    let fields_at = 2 + usize::from(bytes[1] & 0x1f);
    assert_eq!(bytes[fields_at] & 0xf0, 0x80, "the content is a small map");
    let mut bytes = bytes.to_vec();
    bytes[fields_at] += 2;
    let later = vec![Value::Uuid([7; 16]), Value::Bytes(vec![1; 100])];
    bytes.extend([encode("a_later_field"), encode(&later)].concat());
    bytes.extend([encode("another"), encode(&Predicate::IsNull(ColumnId(1)))].concat());
    bytes
}

#[test]
fn later_fields_of_a_frame_are_passed_over() {
    for (name, frame) in client_frames() {
        // A token is a text, not a map.
        if name != "token" {
            let bytes = with_later_fields(&encode(&frame));
            assert_eq!(read_client(&bytes), Ok(Received::Known(frame)), "{name}");
        }
    }
    for (name, frame) in server_frames() {
        let bytes = with_later_fields(&encode(&frame));
        assert_eq!(read_server(&bytes), Ok(Received::Known(frame)), "{name}");
    }
}

/// `frame(max)` is read, and `frame(max + 1)` is not.
fn is_bounded<F: serde::Serialize + PartialEq + Debug>(
    max: usize,
    read: impl Fn(&[u8]) -> Result<Received<F>, DecodeError>,
    frame: impl Fn(usize) -> F,
) {
    let fits = frame(max);
    assert!(read(&encode(&fits)) == Ok(Received::Known(fits)), "{max} are read");
    let refused = read(&encode(&frame(max + 1))).unwrap_err();
    let is_limit = matches!(refused, DecodeError::Malformed { what: Malformation::Limit, .. });
    assert!(is_limit, "{refused}");
    assert_eq!(refused.code(), ErrorCode::TooLarge);
}

#[test]
fn lists_of_a_client_are_bounded() {
    is_bounded(OFFERED_VERSIONS_MAX, read_client, |count| {
        ClientFrame::Hello(Hello { versions: vec![1; count], ..hello() })
    });
    is_bounded(CONNECTION_LANES_MAX, read_client, |count| {
        ClientFrame::Hello(Hello { lanes: vec![lane_cursor(0); count], ..hello() })
    });
    is_bounded(CONNECTION_SUBSCRIPTIONS_MAX, read_client, |count| {
        ClientFrame::Hello(Hello { subscriptions: vec![subscribe(); count], ..hello() })
    });
    is_bounded(SQL_PARAMS_MAX, read_client, |count| {
        ClientFrame::Subscribe(Subscribe { params: vec![Value::Null; count], ..subscribe() })
    });
    is_bounded(SQL_PARAMS_MAX, read_client, |count| {
        ClientFrame::Sql(Sql { params: vec![Value::Null; count], ..sql() })
    });
}

#[test]
fn lists_of_a_server_are_bounded() {
    is_bounded(COLUMNS_MAX, read_server, |count| {
        let columns = vec![ColumnId(1); count];
        ServerFrame::Subscribed(Box::new(Subscribed { columns, ..subscribed() }))
    });
    is_bounded(BATCH_ROWS_MAX, read_server, |count| {
        let births = vec![birth(1); count];
        ServerFrame::InitialDataBatch(InitialDataBatch { births, ..batch() })
    });
    is_bounded(BATCH_ROWS_MAX, read_server, |count| {
        let rows = vec![key(1); count];
        ServerFrame::InitialDataBatch(InitialDataBatch { rows, ..batch() })
    });
    is_bounded(BATCH_ROWS_MAX, read_server, |count| {
        let expiries = vec![1; count];
        ServerFrame::InitialDataBatch(InitialDataBatch { expiries, ..batch() })
    });
    let changes = |count| vec![RowChange::Left(birth(1), key(1)); count];
    is_bounded(CHANGES_MAX, read_server, |count| delta(changes(count), true));
    is_bounded(CHANGES_MAX, read_server, |count| {
        ServerFrame::CatchUp(CatchUp { query: QueryNumber(9), changes: changes(count) })
    });
    is_bounded(COLUMNS_MAX, read_server, |count| {
        delta(vec![RowChange::Row(birth(1), Row(vec![Value::Null; count]))], true)
    });
    is_bounded(CONNECTION_LANES_MAX, read_server, |count| {
        ServerFrame::Progress(Progress { lanes: vec![LanePosition(alice(), seq(1)); count] })
    });
    let result = |outcome| ServerFrame::SqlResult(SqlResult { request: RequestNumber(1), outcome });
    let column = SqlColumn { name: "id".to_owned(), column_type: ColumnType::BigInt };
    is_bounded(COLUMNS_MAX, read_server, |count| {
        let columns = vec![column.clone(); count];
        result(SqlOutcome::Rows(SqlRows { columns, rows: vec![] }))
    });
    is_bounded(SQL_RESULT_ROWS_MAX, read_server, |count| {
        result(SqlOutcome::Rows(SqlRows { columns: vec![], rows: vec![key(1); count] }))
    });
    is_bounded(CONNECTION_LANES_MAX, read_server, |count| {
        ServerFrame::Synced(comparing::synced(vec![position(); count], false))
    });
    is_bounded(CONNECTION_LANES_MAX, read_server, |count| {
        let positions = vec![position(); count];
        result(SqlOutcome::Done(SqlDone { rows_affected: None, positions }))
    });
}

/// A message of `bytes` bytes, of which most are a text in a field that nobody knows.
fn padded(name: &str, fields: &[u8], bytes: usize) -> Vec<u8> {
    let mut message = message(name, fields);
    message.extend(encode("padding"));
    let text = u32::try_from(bytes - message.len() - 5).unwrap();
    message.push(0xdb);
    message.extend(text.to_be_bytes());
    message.resize(bytes, b'x');
    message
}

#[test]
fn a_frame_over_its_bytes_is_not_looked_at() {
    let unsubscribe = b"\x82\xa7request\x01";
    let too_large = |bytes_max| DecodeError::TooLarge { bytes: bytes_max + 1, bytes_max };
    for name in ["unsubscribe", "an_unknown_one"] {
        let of_bytes = |bytes| read_client(&padded(name, unsubscribe, bytes));
        assert!(of_bytes(CLIENT_FRAME_BYTES_MAX).is_ok(), "{name}");
        let refused = of_bytes(CLIENT_FRAME_BYTES_MAX + 1).unwrap_err();
        assert_eq!(refused, too_large(CLIENT_FRAME_BYTES_MAX), "{name}");
    }
    let reset = b"\x82\xa5query\x01";
    for name in ["reset", "an_unknown_one"] {
        let of_bytes = |bytes| read_server(&padded(name, reset, bytes));
        assert!(of_bytes(SERVER_FRAME_BYTES_MAX).is_ok(), "{name}");
        let refused = of_bytes(SERVER_FRAME_BYTES_MAX + 1).unwrap_err();
        assert_eq!(refused, too_large(SERVER_FRAME_BYTES_MAX), "{name}");
        assert_eq!(refused.code(), ErrorCode::TooLarge);
    }
}

#[test]
fn a_token_is_never_repeated() {
    let secret = "Asecret".repeat(5);
    let token = Token(secret.clone());
    let hello = Hello { token: token.clone(), ..hello() };
    let frames = [ClientFrame::Token(token), ClientFrame::Hello(hello)];
    for frame in &frames {
        let shown = format!("{frame:?} {frame:#?} {:?}", Received::Known(frame.clone()));
        assert!(!shown.contains("secret"), "{shown}");
        // Wherever a frame with a token breaks, nobody is told what was in it.
        let bytes = encode(frame);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            for byte in [0xc1, 0xc0, 0xa1, 0xd9, 0x81, 0x92, b'x'] {
                broken[at] = byte;
                told_nothing(&broken, frame);
            }
            told_nothing(&bytes[..at], frame);
        }
    }
}

/// What is said about these bytes does not have the secret in it.
fn told_nothing(bytes: &[u8], frame: &ClientFrame) {
    let told = match read_client(bytes) {
        Err(error) => format!("{error} {error:?}"),
        Ok(received) => format!("{received:?}"),
    };
    assert!(!told.contains("secret"), "{told}, of {frame:?}");
}

#[test]
fn frames_read_back() {
    let strategy = (testing::client_frame(), testing::server_frame());
    seeds::check("frames", 5_000, &strategy, |(client, server)| {
        prop_assert_eq!(read_client(&encode(&client)), Ok(Received::Known(client)));
        prop_assert_eq!(read_server(&encode(&server)), Ok(Received::Known(server)));
        Ok(())
    });
}

/// The hexadecimal digits of each example: in a line, what stands before two spaces.
#[test]
fn the_examples_of_the_documentation_are_frames() {
    let documentation = include_str!("../../../docs/PROTOCOL.md");
    let frames = include_str!("../golden/v1/frames.hex");
    let blocks = documentation.split("```hex\n").skip(1);
    let examples: Vec<String> = blocks
        .map(|block| {
            let lines = block.lines().take_while(|line| *line != "```");
            let digits = lines.filter_map(|line| line.split("  ").next());
            digits.collect::<String>().replace(' ', "")
        })
        .collect();
    assert!(!examples.is_empty(), "the documentation has examples");
    for example in examples {
        let is_frame = frames.lines().any(|line| line.ends_with(&format!(": {example}")));
        assert!(is_frame, "no frame has these bytes: {example}");
    }
}
