//! A client to test: a machine, its host and its replica, and what a server would send it.

use protocol::digest::RowsDigest;
use protocol::frame::v1::{
    CatchUp, ClientFrame, Delta, Digest, Frontier, Hello, InitialDataBatch, LanePosition, Progress,
    RowChange, ServerFrame, Subscribed, Token, Welcome,
};
use protocol::ids::{
    Basis, Birth, ClientId, ColumnId, Epoch, Floor, Lane, Name, QueryNumber, RequestNumber,
    SchemaVersion, SeqId, TableId, TenantId,
};
use protocol::predicate::{Predicate, Truth};
use protocol::schema::{Column, ColumnDefault, MergeRule, TableKind, TableSchema};
use protocol::value::{ColumnType, Row, Value};
use sdk_machine::replica::MemoryReplica;
use sdk_machine::{
    Ask, Attempt, Config, Event, Instruction, Machine, Millis, Moment, MutationProgress, Phase,
    SubscriptionId,
};

pub(crate) const CLIENT: ClientId = ClientId::from_bytes([7; 16]);
pub(crate) const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
pub(crate) const OTHER_EPOCH: Epoch = Epoch::from_bytes([2; 16]);
pub(crate) const SECRET: &str = "the token nobody may see";

/// A machine with its host, which executes every step at once.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) machine: Machine,
    pub(crate) replica: MemoryReplica,
    pub(crate) now: Millis,
    pub(crate) chance: u64,
    /// The last attempt that the machine has begun.
    pub(crate) attempt: Attempt,
}

pub(crate) const CONFIG: Config =
    Config { servers: 1, verify_every_ms: None, stall_ms: 60_000, app_version: 7 };

impl Client {
    pub(crate) fn new() -> Self {
        Self::with_servers(1)
    }

    pub(crate) fn with_servers(servers: usize) -> Self {
        let mut replica = MemoryReplica::new(CLIENT);
        let machine = Machine::new(Config { servers, ..CONFIG }, replica.load());
        let now = Millis(1_000_000);
        Self { machine, replica, now, chance: u64::MAX / 2, attempt: Attempt(0) }
    }

    /// The process ends, and begins again.
    pub(crate) fn crash(&mut self) {
        self.machine = Machine::new(CONFIG, self.replica.load());
    }

    pub(crate) fn event(&mut self, event: Event) -> Vec<Instruction> {
        let moment = Moment { now: self.now, chance: self.chance };
        let instructions = self.machine.handle(event, moment);
        self.follow(&instructions);
        instructions
    }

    pub(crate) fn follow(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            match instruction {
                Instruction::Apply(step) => self.replica.execute(step.clone()),
                Instruction::AskToken { attempt } => self.attempt = *attempt,
                _ => {}
            }
        }
    }

    pub(crate) fn after(&mut self, milliseconds: u64) -> Vec<Instruction> {
        self.now = self.now.after(milliseconds);
        let wanted = self.event(Event::Tick);
        self.sleeps();
        wanted
    }

    /// After a tick nothing more is due: a host that follows `wakes_at` would never rest.
    pub(crate) fn sleeps(&self) {
        let wakes = self.machine.wakes_at();
        assert!(wakes.is_none_or(|at| at > self.now), "{wakes:?} at {:?}", self.now);
    }

    pub(crate) fn token(&mut self) -> Vec<Instruction> {
        let attempt = self.attempt;
        self.event(Event::TokenReady { attempt, token: Token(SECRET.to_owned()) })
    }

    pub(crate) fn connected(&mut self) -> Vec<Instruction> {
        let attempt = self.attempt;
        self.event(Event::Connected { attempt })
    }

    pub(crate) fn disconnected(&mut self) -> Vec<Instruction> {
        let attempt = self.attempt;
        self.event(Event::Disconnected { attempt })
    }

    pub(crate) fn frame(&mut self, frame: ServerFrame) -> Vec<Instruction> {
        let attempt = self.attempt;
        self.event(Event::Frame { attempt, frame })
    }

    pub(crate) fn subscribe(&mut self, ask: Ask) -> (SubscriptionId, Vec<Instruction>) {
        let (id, instructions) = self.machine.subscribe(ask).unwrap();
        self.follow(&instructions);
        (id, instructions)
    }

    /// Goes on until `hello` is sent, and gives it.
    pub(crate) fn greet(&mut self) -> Hello {
        self.event(Event::Resume);
        self.token();
        let sent = self.connected();
        let hello = sent.into_iter().find_map(|instruction| match instruction {
            Instruction::Send(ClientFrame::Hello(hello)) => Some(hello),
            _ => None,
        });
        hello.expect("hello is sent")
    }

    /// Goes on until the connection is open, and gives the `hello` that was sent.
    pub(crate) fn open(&mut self) -> Hello {
        let hello = self.greet();
        self.frame(welcome());
        assert_eq!(self.machine.phase(), Phase::Open);
        hello
    }

    /// Subscribes to the last 4 messages, on an open connection, and has them: births 5, 6, 8
    /// and 9, the lane at 10.
    pub(crate) fn live() -> (Self, SubscriptionId) {
        let mut client = Self::new();
        let (id, _) = client.subscribe(last_four());
        client.open();
        client.frame(subscribed(1, 1));
        client.frame(frontier(EPOCH, 10));
        client.frame(batch(1, 10, 8, &[8, 9]));
        client.frame(batch(1, 10, 5, &[5, 6]));
        (client, id)
    }

    /// The births of the rows that a subscription holds.
    pub(crate) fn births(&self, id: SubscriptionId) -> Vec<u64> {
        let mut births: Vec<_> =
            self.replica.rows(id).values().map(|(birth, _)| birth.0.get()).collect();
        births.sort_unstable();
        births
    }

    /// How far the lane of all these tests is.
    pub(crate) fn position(&self) -> Option<u64> {
        self.replica.lane(&lane()).map(|stored| stored.seq.get())
    }
}

pub(crate) fn ask(sql: &str, fetch_last: Option<u64>) -> Ask {
    Ask { sql: sql.to_owned(), params: Vec::new(), fetch_last, batch_rows: None }
}

pub(crate) fn last_four() -> Ask {
    ask("SELECT * FROM chat.messages", Some(4))
}

pub(crate) fn lane() -> Lane {
    Lane::User(TenantId::new("alice").unwrap())
}

pub(crate) fn other_lane() -> Lane {
    Lane::Shared(Name::new("chat").unwrap())
}

pub(crate) fn seq(number: u64) -> SeqId {
    SeqId::new(number).unwrap()
}

pub(crate) fn birth(number: u64) -> Birth {
    Birth(seq(number))
}

/// `chat.messages`: a key, a room, a text.
pub(crate) fn messages() -> TableSchema {
    let column = |id, name, column_type, not_null| Column {
        id: ColumnId(id),
        name: Name::new(name).unwrap(),
        column_type,
        not_null,
        default: None,
        merge: MergeRule::Last,
    };
    TableSchema {
        id: TableId(1),
        name: String::from("chat.messages").try_into().unwrap(),
        version: SchemaVersion(1),
        kind: TableKind::User,
        columns: vec![
            column(0, "id", ColumnType::BigInt, true),
            column(1, "room", ColumnType::Int, false),
            column(2, "text", ColumnType::Text, false),
        ],
        primary_key: vec![ColumnId(0)],
        indexes: Vec::new(),
        ttl_seconds: None,
    }
}

pub(crate) fn key(id: i64) -> Row {
    Row(vec![Value::Integer(id)])
}

pub(crate) fn row(id: i64, room: i64, text: &str) -> Row {
    Row(vec![Value::Integer(id), Value::Integer(room), Value::text(text).unwrap()])
}

pub(crate) fn welcome() -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        version: 1,
        time: 0,
        silence_ms_max: 60_000,
        token_expires_ms: Some(100_000),
    })
}

pub(crate) fn subscribed(request: u64, query: u64) -> ServerFrame {
    ServerFrame::Subscribed(Box::new(described(request, query)))
}

pub(crate) fn described(request: u64, query: u64) -> Subscribed {
    Subscribed {
        request: RequestNumber(request),
        query: QueryNumber(query),
        lane: lane(),
        basis: Basis::from_bytes([u8::try_from(query).unwrap(); 16]),
        table: messages(),
        columns: vec![ColumnId(0), ColumnId(1), ColumnId(2)],
        predicate: Predicate::Constant(Truth::True),
    }
}

/// The same subscription as `described(request, 1)`, when the table is in this version: in each from
/// the second on it has one column more, whose default is 5.
pub(crate) fn altered(request: u64, query: u64, version: u32) -> ServerFrame {
    let mut altered = described(request, 1);
    altered.query = QueryNumber(query);
    altered.table.version = SchemaVersion(version);
    for at in 2..=version {
        let id = ColumnId(u16::try_from(at).unwrap() + 1);
        let mut column = altered.table.columns[1].clone();
        (column.id, column.name) = (id, Name::new(&format!("added_{at}")).unwrap());
        column.default = Some(ColumnDefault::Value(Value::Integer(5)));
        altered.table.columns.push(column);
        altered.columns.push(id);
    }
    ServerFrame::Subscribed(Box::new(altered))
}

pub(crate) fn frontier(epoch: Epoch, at: u64) -> ServerFrame {
    ServerFrame::Frontier(Frontier { lane: lane(), epoch, seq: seq(at), writer: None })
}

/// Rows whose key is their birth.
pub(crate) fn batch(query: u64, at: u64, floor: u64, births: &[u64]) -> ServerFrame {
    ServerFrame::InitialDataBatch(InitialDataBatch {
        query: QueryNumber(query),
        seq: seq(at),
        floor: Floor(seq(floor)),
        remaining: floor,
        births: births.iter().map(|number| birth(*number)).collect(),
        rows: births.iter().map(|number| row(number.cast_signed(), 1, "loaded")).collect(),
        expiries: Vec::new(),
    })
}

/// The digest of such rows.
pub(crate) fn digest(
    query: u64,
    at: u64,
    floor: u64,
    below: Option<u64>,
    births: &[u64],
) -> ServerFrame {
    let mut digest = RowsDigest::default();
    for number in births {
        digest.add(birth(*number), &row(number.cast_signed(), 1, "loaded"));
    }
    let RowsDigest { rows, sum } = digest;
    let (query, floor, below) = (QueryNumber(query), Floor(seq(floor)), below.map(birth));
    ServerFrame::Digest(Digest { query, seq: seq(at), floor, below, rows, sum })
}

pub(crate) fn delta(
    query: u64,
    previous: u64,
    to: u64,
    end: bool,
    changes: Vec<RowChange>,
) -> ServerFrame {
    let query = QueryNumber(query);
    ServerFrame::Delta(Delta { previous: seq(previous), seq: seq(to), end, query, changes })
}

/// The row whose key is its birth, as it is born.
pub(crate) fn born(at: u64) -> RowChange {
    RowChange::Row(birth(at), row(at.cast_signed(), 1, "born"))
}

pub(crate) fn catch_up(query: u64, changes: Vec<RowChange>) -> ServerFrame {
    ServerFrame::CatchUp(CatchUp { query: QueryNumber(query), changes })
}

pub(crate) fn progress(to: u64) -> ServerFrame {
    ServerFrame::Progress(Progress { lanes: vec![LanePosition(lane(), seq(to))] })
}

/// What is wanted, in words: what the app is told is left out.
pub(crate) fn kinds(instructions: &[Instruction]) -> Vec<&'static str> {
    let kind = |instruction: &Instruction| match instruction {
        Instruction::AskToken { .. } => Some("ask_token"),
        Instruction::Dial { .. } => Some("dial"),
        Instruction::Hangup { .. } => Some("hangup"),
        Instruction::Apply(_) => Some("apply"),
        Instruction::Send(ClientFrame::Hello(_)) => Some("hello"),
        Instruction::Send(ClientFrame::Token(_)) => Some("token"),
        Instruction::Send(ClientFrame::Subscribe(_)) => Some("subscribe"),
        Instruction::Send(ClientFrame::Unsubscribe(_)) => Some("unsubscribe"),
        Instruction::Send(ClientFrame::LoadOlder(_)) => Some("load_older"),
        Instruction::Send(ClientFrame::Digest(_)) => Some("digest"),
        Instruction::Send(ClientFrame::Sync(_)) => Some("sync"),
        Instruction::Send(ClientFrame::Sql(_)) => Some("sql"),
        Instruction::Send(ClientFrame::OpenLane(_)) => Some("open_lane"),
        Instruction::Send(ClientFrame::Mutate(_)) => None,
        Instruction::Mutate(_) => Some("mutate"),
        Instruction::MutationChanged(_, MutationProgress::Sent) => Some("sent"),
        Instruction::MutationChanged(_, MutationProgress::Stuck) => Some("stuck"),
        Instruction::MutationChanged(_, MutationProgress::Settled(_)) => Some("settled"),
        Instruction::StatementEnded(..) => Some("ended"),
        Instruction::StatusChanged
        | Instruction::SubscriptionChanged(_)
        | Instruction::Same { .. }
        | Instruction::Compare(_)
        | Instruction::ServerIs(..)
        | Instruction::Verified(..) => None,
    };
    instructions.iter().filter_map(kind).collect()
}
