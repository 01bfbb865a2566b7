//! What clients write over their live connection, frame by frame: decided once, and told with the
//! commit or with the lane's frontier.

use e2e_harness::{Client, Home, Role, Server};
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    ClientFrame, Decided, Frontier, Hello, LaneCursor, LaneWriter, Mutate, OpenLane, RowNow,
    ServerFrame, WriterState, Written,
};
use protocol::ids::{
    ClientId, ColumnId, ContentHash, Epoch, Lane, MutationNumber, SchemaVersion, SeqId, TableId,
};
use protocol::mutation::{Action, ColumnValue, Mutation, MutationDigest, Operation, Verdict};
use protocol::schema::TableSchema;
use protocol::value::Value;

use crate::raw::{Raw, hello, subscribe};

const CLIENT: ClientId = ClientId::from_bytes([7; 16]);

const NOTES: &str = "SELECT * FROM app.notes";

fn home() -> (Home, Server) {
    let home = Home::new();
    let server = home.start();
    let admin = home.admin();
    for sql in [
        "CREATE NAMESPACE app",
        "CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE USER TABLE app.marks (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), \
         tag UUID DEFAULT UUID_V7(), body TEXT)",
    ] {
        admin.ok(sql);
    }
    (home, server)
}

/// A client that counts and chains what it sends, in its user's lane.
struct Writer {
    lane: Lane,
    epoch: Epoch,
    since: i64,
    table: TableId,
    version: SchemaVersion,
    columns: Vec<ColumnId>,
    next: u64,
    hash: ContentHash,
}

fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number).unwrap()
}

impl Writer {
    /// Of a table that was subscribed to.
    fn new(lane: &Lane, epoch: Epoch, table: &TableSchema) -> Self {
        Self {
            lane: lane.clone(),
            epoch,
            // Long ago: nobody was forgotten since.
            since: 0,
            table: table.id,
            version: table.version,
            columns: table.columns.iter().map(|column| column.id).collect(),
            next: 1,
            hash: ContentHash::START,
        }
    }

    /// A new row with these values in the first columns.
    fn insert(&self, values: &[Value]) -> Mutation {
        let named = self.columns.iter().zip(values);
        let row = named.map(|(id, value)| ColumnValue(*id, value.clone())).collect();
        let (table, version, action) = (self.table, self.version, Action::Insert(row));
        Mutation { operations: vec![Operation { table, version, action, guard: None }] }
    }

    fn note(&self, id: i64, body: &str) -> Mutation {
        self.insert(&[Value::Integer(id), Value::text(body).unwrap()])
    }

    /// The next frame with these mutations.
    fn mutate(&mut self, mutations: Vec<Mutation>) -> Mutate {
        let (first, previous) = (number(self.next), self.hash);
        for mutation in &mutations {
            self.hash = self.hash.then(MutationDigest::of(mutation));
            self.next += 1;
        }
        Mutate {
            lane: self.lane.clone(),
            client: CLIENT,
            since: self.since,
            epoch: self.epoch,
            first,
            previous,
            mutations: mutations.into_iter().map(Written::Mutation).collect(),
            confirmed: MutationNumber::ZERO,
        }
    }

    fn writer(&self, confirmed: u64) -> LaneWriter {
        LaneWriter { lane: self.lane.clone(), client: CLIENT, confirmed: number(confirmed) }
    }
}

fn lane() -> Lane {
    "user/ann".parse().unwrap()
}

async fn send(raw: &mut Raw, mutate: Mutate) {
    raw.send(ClientFrame::Mutate(Box::new(mutate))).await;
}

async fn open_lane(raw: &mut Raw, writer: LaneWriter) -> Frontier {
    raw.send(ClientFrame::OpenLane(OpenLane { writer, at: None })).await;
    frontier(raw).await
}

async fn frontier(raw: &mut Raw) -> Frontier {
    match raw.next().await {
        ServerFrame::Frontier(frontier) => frontier,
        other => panic!("not a frontier: {other:?}"),
    }
}

async fn decided(raw: &mut Raw) -> Decided {
    match raw.next().await {
        ServerFrame::Decided(decided) => *decided,
        other => panic!("not decided: {other:?}"),
    }
}

/// A connection that has loaded a table and opened its lane, and who writes over it.
async fn opened(client: &Client, sql: &str) -> (Raw, Writer) {
    let mut raw = Raw::open(client).await;
    let loaded = raw.load(subscribe(1, sql)).await;
    let (known, at) = (loaded.subscribed.unwrap(), loaded.frontier.unwrap());
    let writer = Writer::new(&at.lane, at.epoch, &known.table);
    let again = open_lane(&mut raw, writer.writer(0)).await;
    assert_eq!(again.epoch, at.epoch);
    assert_eq!(written(&again).decisions, []);
    (raw, writer)
}

/// A connection that goes on at the beginning of the lane, and knows decisions up to a number.
async fn resumed(client: &Client, writer: &Writer, confirmed: u64) -> (Raw, Frontier) {
    let mut raw = Raw::connect(&client.address()).await;
    let lanes = vec![LaneCursor {
        lane: writer.lane.clone(),
        epoch: writer.epoch,
        since_seq: SeqId::ZERO,
        cut: 0,
    }];
    let writers = vec![writer.writer(confirmed)];
    raw.send(ClientFrame::Hello(Hello { lanes, writers, ..hello(client.token()) })).await;
    let ServerFrame::Welcome(_) = raw.next().await else { panic!("no welcome") };
    let frontier = frontier(&mut raw).await;
    (raw, frontier)
}

fn written(frontier: &Frontier) -> &WriterState {
    frontier.writer.as_deref().expect("the lane was opened for writing")
}

/// The numbers of decisions, and whether each was accepted.
fn kept(frontier: &Frontier) -> Vec<(u64, bool)> {
    let decisions = written(frontier).decisions.iter();
    decisions.map(|it| (it.number.get(), it.verdict == Verdict::Accepted)).collect()
}

async fn ends_with(raw: &mut Raw, code: ErrorCode) {
    match raw.next().await {
        ServerFrame::Goodbye(goodbye) => assert_eq!(goodbye.code, code, "{}", goodbye.message),
        other => panic!("not goodbye: {other:?}"),
    }
}

#[tokio::test]
async fn a_mutation_is_decided_with_its_commit() {
    let (home, _server) = home();
    let ann = home.client("ann", Role::User);
    let (mut raw, mut writer) = opened(&ann, NOTES).await;
    let mutations =
        vec![writer.note(1, "one"), writer.insert(&[Value::Integer(2)]), writer.note(3, "three")];
    let sent = writer.mutate(mutations);
    send(&mut raw, sent).await;
    let mut position = SeqId::ZERO;
    for (at, accepted) in [(1, true), (2, false), (3, true)] {
        if accepted {
            match raw.next().await {
                ServerFrame::Delta(delta) => {
                    assert_eq!((delta.previous, delta.end), (position, false), "{at}");
                    assert_eq!(delta.changes.len(), 1);
                }
                other => panic!("not a delta: {other:?}"),
            }
        }
        let decided = decided(&mut raw).await;
        assert_eq!((decided.client, decided.decision.number), (CLIENT, number(at)));
        assert_eq!(decided.decision.verdict == Verdict::Accepted, accepted, "{decided:?}");
        assert_eq!((decided.previous, decided.seq == position), (position, !accepted));
        assert_eq!(decided.tables[0].columns, writer.columns);
        match &decided.tables[0].rows[..] {
            [RowNow::Row(birth, row)] if accepted => {
                assert_eq!((birth.0, &row.0[0]), (decided.seq, &Value::Integer(at as i64)));
            }
            [RowNow::Gone(key)] if !accepted => assert_eq!(key.0, [Value::Integer(2)]),
            other => panic!("{other:?}"),
        }
        position = decided.seq;
    }
    assert_eq!(ann.rows("SELECT id, body FROM app.notes ORDER BY id"), ["1 one", "3 three"]);
    // What SQL writes, and what is written in the next frame, follow.
    ann.ok("INSERT INTO app.notes VALUES (4, 'four')");
    let ServerFrame::Delta(delta) = raw.next().await else { panic!("no delta") };
    assert_eq!((delta.previous, delta.end), (position, true));
    let mutations = vec![writer.note(4, "again")];
    let sent = writer.mutate(mutations);
    send(&mut raw, sent).await;
    let last = decided(&mut raw).await;
    assert_eq!((last.previous, last.seq, last.decision.number), (delta.seq, delta.seq, number(4)));
}

#[tokio::test]
async fn frames_that_follow_each_other_at_once_are_decided_in_their_order() {
    let (home, _server) = home();
    let ann = home.client("ann", Role::User);
    let (mut raw, mut writer) = opened(&ann, "SELECT id FROM app.marks").await;
    // Neither the key nor the tag is named.
    let body = writer.columns[2];
    for frame in 0..20 {
        let row = vec![ColumnValue(body, Value::text(frame.to_string()).unwrap())];
        let (table, version, action) = (writer.table, writer.version, Action::Insert(row));
        let operation = Operation { table, version, action, guard: None };
        let mutations = vec![Mutation { operations: vec![operation] }; 5];
        let sent = writer.mutate(mutations);
        send(&mut raw, sent).await;
    }
    let mut expected = 1;
    while expected <= 100 {
        match raw.next().await {
            ServerFrame::Decided(decided) => {
                assert_eq!(decided.decision.number, number(expected));
                assert_eq!(decided.decision.verdict, Verdict::Accepted);
                expected += 1;
            }
            ServerFrame::Delta(delta) => assert!(!delta.end),
            other => panic!("{other:?}"),
        }
    }
    let counts = "SELECT COUNT(*), COUNT(DISTINCT id), COUNT(DISTINCT tag) FROM app.marks";
    assert_eq!(ann.rows(counts), ["100 100 100"]);
}

#[tokio::test]
async fn what_is_sent_twice_is_decided_once() {
    let (home, _server) = home();
    let ann = home.client("ann", Role::User);
    let (mut raw, mut writer) = opened(&ann, NOTES).await;
    let mutations = vec![writer.note(1, "one"), writer.note(1, "again")];
    let twice = writer.mutate(mutations);
    send(&mut raw, twice.clone()).await;
    send(&mut raw, twice.clone()).await;
    let mutations = vec![writer.note(2, "two")];
    let sent = writer.mutate(mutations);
    send(&mut raw, sent).await;
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        match raw.next().await {
            ServerFrame::Decided(decided) => numbers.push(decided.decision.number.get()),
            ServerFrame::Delta(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(numbers, [1, 2, 3]);
    drop(raw);

    let (mut raw, frontier) = resumed(&ann, &writer, 0).await;
    assert_eq!(kept(&frontier), [(1, true), (2, false), (3, true)]);
    let state = written(&frontier);
    assert_eq!((state.confirmed, state.confirmed_hash), (MutationNumber::ZERO, ContentHash::START));
    assert_eq!(state.decisions[2].hash, writer.hash);
    let ids = |row: &RowNow| match row {
        RowNow::Row(_, row) => row.0[0].clone(),
        other => panic!("{other:?}"),
    };
    let ids: Vec<_> = state.tables[0].rows.iter().map(ids).collect();
    assert_eq!(ids, [Value::Integer(2), Value::Integer(1)], "of the newest first");
    send(&mut raw, twice).await;
    drop(raw);
    // What is confirmed is told no more, and soon is not even kept.
    let (mut raw, frontier) = resumed(&ann, &writer, 3).await;
    assert_eq!(kept(&frontier), []);
    loop {
        let frontier = open_lane(&mut raw, writer.writer(0)).await;
        let state = written(&frontier);
        if state.confirmed == number(3) {
            assert_eq!((state.confirmed_hash, state.decisions.len()), (writer.hash, 0));
            break;
        }
        assert_eq!(state.decisions.len(), 3);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(ann.rows("SELECT id, body FROM app.notes ORDER BY id"), ["1 one", "2 two"]);
}

#[tokio::test]
async fn what_does_not_follow_is_not_decided() {
    let (home, _server) = home();
    let ann = home.client("ann", Role::User);
    let (mut raw, mut writer) = opened(&ann, NOTES).await;
    let mutations = vec![writer.note(1, "one"), writer.note(2, "two")];
    let first = writer.mutate(mutations);
    let mutations = vec![writer.note(3, "three")];
    let second = writer.mutate(mutations);
    send(&mut raw, second.clone()).await;
    match raw.next().await {
        ServerFrame::Expected(expected) => {
            assert_eq!((expected.client, expected.number), (CLIENT, number(1)));
        }
        other => panic!("not expected: {other:?}"),
    }
    send(&mut raw, first.clone()).await;
    for at in 1..=2 {
        let ServerFrame::Delta(_) = raw.next().await else { panic!("no delta") };
        assert_eq!(decided(&mut raw).await.decision.number, number(at));
    }
    // The first is the same, and the second is not.
    let other = Written::Mutation(writer.note(9, "other"));
    let forked = Mutate { mutations: vec![first.mutations[0].clone(), other], ..first };
    send(&mut raw, forked).await;
    match raw.next().await {
        ServerFrame::Forked(forked) => assert_eq!(forked.number, number(2)),
        other => panic!("not forked: {other:?}"),
    }
    // Of another epoch nothing is decided, and nothing is said.
    let elsewhere = Mutate { epoch: Epoch::from_bytes([9; 16]), ..second.clone() };
    send(&mut raw, elsewhere).await;
    send(&mut raw, second).await;
    let ServerFrame::Delta(_) = raw.next().await else { panic!("no delta") };
    assert_eq!(decided(&mut raw).await.decision.number, number(3));
    assert_eq!(ann.rows("SELECT id FROM app.notes ORDER BY id"), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_lane_is_opened_before_anything_is_written_there() {
    let (home, _server) = home();
    let (ann, bob) = (home.client("ann", Role::User), home.client("bob", Role::User));
    let (mut raw, mut writer) = opened(&ann, NOTES).await;
    let mutations = vec![writer.note(1, "one")];
    let sent = writer.mutate(mutations);
    // Of another client, it is not open.
    send(&mut raw, Mutate { client: ClientId::from_bytes([8; 16]), ..sent.clone() }).await;
    ends_with(&mut raw, ErrorCode::InvalidRequest).await;
    let mut raw = Raw::open(&ann).await;
    send(&mut raw, sent.clone()).await;
    ends_with(&mut raw, ErrorCode::InvalidRequest).await;

    for service in [bob.clone(), home.client("batch", Role::Service)] {
        let mut raw = Raw::open(&service).await;
        let open = OpenLane { writer: writer.writer(0), at: None };
        raw.send(ClientFrame::OpenLane(open)).await;
        ends_with(&mut raw, ErrorCode::Forbidden).await;
    }
    let mut raw = Raw::connect(&bob.address()).await;
    let writers = vec![writer.writer(0)];
    raw.send(ClientFrame::Hello(Hello { writers, ..hello(bob.token()) })).await;
    let ServerFrame::Welcome(_) = raw.next().await else { panic!("no welcome") };
    ends_with(&mut raw, ErrorCode::Forbidden).await;
    assert_eq!(ann.rows(NOTES), [] as [&str; 0]);
}

#[tokio::test]
async fn a_decision_that_nobody_heard_of_comes_after_a_kill() {
    let (home, server) = home();
    home.keep_port();
    let ann = home.client("ann", Role::User);
    let (mut raw, mut writer) = opened(&ann, NOTES).await;
    let mutations = vec![writer.note(1, "one"), writer.note(1, "again")];
    let sent = writer.mutate(mutations);
    send(&mut raw, sent.clone()).await;
    // It is decided, and what says so is not read.
    while ann.rows(NOTES).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    server.kill9();
    drop(raw);
    let _server = home.start();
    let ann = home.client("ann", Role::User);
    let (mut raw, frontier) = resumed(&ann, &writer, 0).await;
    assert_eq!((&frontier.lane, frontier.seq.get()), (&lane(), 1));
    assert_eq!(kept(&frontier), [(1, true), (2, false)]);
    send(&mut raw, sent).await;
    let mutations = vec![writer.note(2, "two")];
    let sent = writer.mutate(mutations);
    send(&mut raw, sent).await;
    let next = decided(&mut raw).await;
    assert_eq!((next.previous.get(), next.seq.get(), next.decision.number), (1, 2, number(3)));
    assert_eq!(ann.rows("SELECT id, body FROM app.notes ORDER BY id"), ["1 one", "2 two"]);
}
