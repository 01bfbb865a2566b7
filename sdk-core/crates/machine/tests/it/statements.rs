//! Statements through cuts: each is answered once, with its own answer, and done once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::error_code::ErrorCode;
use protocol::frame::v1::{
    ClientFrame, ServerFrame, Sql, SqlColumn, SqlDone, SqlFailed, SqlOutcome, SqlResult, SqlRows,
};
use protocol::ids::{RequestId, RequestNumber};
use protocol::limits::CONNECTION_STATEMENTS_MAX;
use protocol::value::{ColumnType, Row, Value};
use sdk_machine::{Event, Instruction, Phase, SqlAsk, StatementId};

use crate::client::Client;

fn ask(number: u64) -> SqlAsk {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    SqlAsk {
        sql: number.to_string(),
        params: vec![],
        request_id: Some(RequestId::from_bytes(id)),
        timeout_ms: None,
    }
}

/// A server that does each statement of a request id once, and a connection to it.
#[derive(Default)]
struct Server {
    done: BTreeMap<RequestId, u64>,
    up: VecDeque<Sql>,
    down: VecDeque<ServerFrame>,
}

fn result(request: RequestNumber, outcome: SqlOutcome) -> ServerFrame {
    ServerFrame::SqlResult(SqlResult { request, outcome })
}

fn rows(number: i64, first: bool) -> SqlOutcome {
    let column = SqlColumn { name: "n".to_owned(), column_type: ColumnType::BigInt };
    let row: Row = [Value::Integer(number)].into_iter().collect();
    SqlOutcome::Rows(SqlRows {
        columns: if first { vec![column] } else { vec![] },
        rows: vec![row],
    })
}

impl Server {
    fn cut(&mut self) {
        self.up.clear();
        self.down.clear();
    }

    /// Does the next statement, and answers in two pieces and an end.
    fn work(&mut self) {
        let Some(sql) = self.up.pop_front() else { return };
        *self.done.entry(sql.request_id.unwrap()).or_default() |= 1;
        let number: i64 = sql.sql.parse().unwrap();
        self.down.push_back(result(sql.request, rows(number, true)));
        self.down.push_back(result(sql.request, rows(number + 1, false)));
        let done = SqlDone { rows_affected: Some(sql.sql.parse().unwrap()), positions: vec![] };
        self.down.push_back(result(sql.request, SqlOutcome::Done(done)));
    }
}

#[derive(Clone, Debug)]
enum Move {
    Ask,
    /// More than a connection takes.
    AskMany,
    Work,
    Deliver,
    Cut,
    Connect,
    Forget(usize),
    Crash,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => Just(Move::Ask),
        1 => Just(Move::AskMany),
        12 => Just(Move::Work),
        24 => Just(Move::Deliver),
        2 => Just(Move::Cut),
        6 => Just(Move::Connect),
        2 => any::<usize>().prop_map(Move::Forget),
        2 => Just(Move::Crash),
    ]
}

struct World {
    client: Client,
    server: Server,
    asked: BTreeMap<StatementId, u64>,
    forgotten: BTreeSet<StatementId>,
    answered: BTreeSet<StatementId>,
}

impl World {
    fn follow(&mut self, instructions: Vec<Instruction>) {
        let mut under_way = self.server.up.len();
        for instruction in instructions {
            match instruction {
                Instruction::Send(ClientFrame::Sql(sql)) => {
                    under_way += 1;
                    self.server.up.push_back(sql);
                }
                Instruction::StatementEnded(id, answer) => {
                    let answer = (*answer).unwrap();
                    let number = self.asked[&id];
                    assert!(!self.forgotten.contains(&id), "nobody waits for it");
                    assert!(self.answered.insert(id), "it is answered once");
                    assert_eq!(answer.rows_affected, Some(number));
                    let values: Vec<_> = answer.rows.iter().map(|row| row.0[0].clone()).collect();
                    let number = i64::try_from(number).unwrap();
                    assert_eq!(values, [Value::Integer(number), Value::Integer(number + 1)]);
                    assert_eq!(answer.columns.len(), 1);
                }
                _ => {}
            }
        }
        assert!(under_way <= CONNECTION_STATEMENTS_MAX);
    }

    fn step(&mut self, a_move: &Move) {
        let is_open = self.client.machine.phase() == Phase::Open;
        match a_move {
            Move::Ask => {
                let number = self.asked.len() as u64 + 1;
                let (id, instructions) = self.client.machine.run(ask(number)).unwrap();
                self.asked.insert(id, number);
                self.follow(instructions);
            }
            Move::AskMany => (0..CONNECTION_STATEMENTS_MAX).for_each(|_| self.step(&Move::Ask)),
            Move::Work => self.server.work(),
            Move::Deliver => {
                if let Some(frame) = self.server.down.pop_front() {
                    let instructions = self.client.frame(frame);
                    assert_eq!(self.client.machine.phase(), Phase::Open, "nothing contradicts");
                    self.follow(instructions);
                }
            }
            Move::Cut if is_open => {
                self.server.cut();
                let instructions = self.client.disconnected();
                self.follow(instructions);
            }
            Move::Connect if !is_open => {
                self.client.greet();
                let instructions = self.client.frame(crate::client::welcome());
                self.follow(instructions);
            }
            Move::Forget(choice) => {
                let open: Vec<_> =
                    self.asked.keys().filter(|id| !self.answered.contains(id)).copied().collect();
                if let Some(id) = open.get(choice % open.len().max(1)) {
                    self.forgotten.insert(*id);
                    let instructions = self.client.event(Event::ForgetStatement(*id));
                    self.follow(instructions);
                }
            }
            Move::Crash => {
                // A step could not be applied: the host goes on with another machine.
                self.server.cut();
                let dropped = self.client.machine.clone();
                self.client.crash();
                self.client.machine.take_over(dropped);
            }
            Move::Cut | Move::Connect => {}
        }
    }
}

#[test]
fn each_statement_is_answered_once_and_done_once() {
    seeds::check("machine-statements", 500, &vec(a_move(), 10..200), |moves| {
        let mut world = World {
            client: Client::new(),
            server: Server::default(),
            asked: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            answered: BTreeSet::new(),
        };
        for a_move in &moves {
            world.step(a_move);
        }
        world.step(&Move::Connect);
        while !world.server.up.is_empty() || !world.server.down.is_empty() {
            world.step(&Move::Work);
            world.step(&Move::Deliver);
        }
        for (id, number) in &world.asked {
            let is_over = world.answered.contains(id) || world.forgotten.contains(id);
            prop_assert!(is_over, "statement {} has no answer", number);
        }
        Ok(())
    });
}

fn open() -> Client {
    let mut client = Client::new();
    client.open();
    client
}

#[test]
fn an_answer_to_what_was_never_sent_ends_the_connection() {
    let mut client = open();
    client.machine.run(ask(1)).unwrap();
    client.frame(result(RequestNumber(2), SqlOutcome::Done(SqlDone::default())));
    assert_eq!(client.machine.phase(), Phase::Waiting);
}

#[test]
fn what_was_forgotten_or_answered_is_passed_over() {
    let mut client = open();
    let (id, _) = client.machine.run(ask(1)).unwrap();
    client.event(Event::ForgetStatement(id));
    assert_eq!(client.frame(result(RequestNumber(1), rows(1, true))), []);
    assert_eq!(client.frame(result(RequestNumber(1), SqlOutcome::Done(SqlDone::default()))), []);
    assert_eq!(client.frame(result(RequestNumber(1), SqlOutcome::Done(SqlDone::default()))), []);
    assert_eq!(client.machine.phase(), Phase::Open);
}

#[test]
fn what_the_server_refuses_is_told_as_it_is() {
    let mut client = open();
    let (id, _) = client.machine.run(ask(1)).unwrap();
    let failed = SqlFailed {
        code: ErrorCode::NotFound,
        message: "there is no table".to_owned(),
        retry_after_ms: Some(5),
    };
    let told = client.frame(result(RequestNumber(1), SqlOutcome::Failed(failed.clone())));
    assert_eq!(told, [Instruction::StatementEnded(id, Box::new(Err(failed)))]);
}

#[test]
fn an_answer_that_is_too_large_is_given_up() {
    let mut client = open();
    let (id, _) = client.machine.run(ask(1)).unwrap();
    let row: Row = [Value::text("x".repeat(1 << 20)).unwrap()].into_iter().collect();
    let mut told = Vec::new();
    for _ in 0..64 {
        let piece = SqlRows { columns: vec![], rows: vec![row.clone()] };
        told.extend(client.frame(result(RequestNumber(1), SqlOutcome::Rows(piece))));
    }
    let [Instruction::StatementEnded(ended, answer)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*ended, id);
    assert_eq!(answer.as_ref().as_ref().unwrap_err().code, ErrorCode::TooLarge);
}

#[test]
fn who_closes_hears_that_a_write_may_have_happened() {
    let mut client = open();
    let (id, _) = client.machine.run(ask(1)).unwrap();
    let told = client.event(Event::Close);
    let ended = told.iter().find_map(|instruction| match instruction {
        Instruction::StatementEnded(ended, answer) => Some((*ended, (**answer).clone())),
        _ => None,
    });
    let (ended, answer) = ended.unwrap();
    assert_eq!((ended, answer.unwrap_err().code), (id, ErrorCode::Timeout));
}
