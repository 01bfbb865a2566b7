//! Random writes of an application among words of the server: whoever applies differences has what whole
//! results and a new query give, and nobody is given an older result after a newer one.

use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::v1::{Position, RowChange, ServerFrame};
use protocol::ids::{Basis, Birth, ColumnId, QueryNumber};
use protocol::predicate::{CompareOp, Operand, Predicate};
use protocol::value::Row;
use sdk_core::{Client, SubscribeOptions, Value, Watch};
use tokio::net::TcpStream;

use crate::fake::{
    Device, Fake, Session, batch, delta, epoch, ids, row, seq, soon, subscribed, table,
};

#[derive(Clone, Debug)]
enum Move {
    Write(u8, i64, i64),
    Server(i64, i64),
    Deleted(i64),
    /// All run, whatever they look at.
    Schema,
    Look,
}

fn a_move() -> impl Strategy<Value = Move> {
    let id = || 1..7_i64;
    prop_oneof![
        6 => (0..5_u8, id(), 0..4_i64).prop_map(|(kind, id, to)| Move::Write(kind, id, to)),
        3 => (id(), 0..4_i64).prop_map(|(id, to)| Move::Server(id, to)),
        2 => id().prop_map(Move::Deleted),
        1 => Just(Move::Schema),
        3 => Just(Move::Look),
    ]
}

/// What is subscribed to: all rows, and those of small ids. Both are watched.
const TEXTS: [&str; 2] = ["SELECT * FROM app.notes", "SELECT * FROM app.notes WHERE id <= 3"];

struct World {
    _fake: Fake,
    _device: Device,
    client: Client,
    session: Session<TcpStream>,
    watched: Vec<Watched>,
    /// A number that grows with each write, and the last that was seen.
    clock: Watch,
    seen: i64,
    written: i64,
    /// Where the server is, and when each of its rows was born; 0 of one that it has not.
    at: u64,
    born: [u64; 7],
}

/// A watcher who applies differences.
struct Watched {
    sql: String,
    watch: Watch,
    list: Vec<Vec<Value>>,
}

impl World {
    async fn new() -> Self {
        let (fake, device) = (Fake::new().await, Device::new());
        let client = device.open(&fake.url()).await;
        let (mut session, _) = fake.welcome().await;
        subscribe(&client, &mut session).await;
        for sql in ["CREATE TABLE clock (at INTEGER)", "INSERT INTO clock VALUES (0)"] {
            client.execute(sql, &[]).await.unwrap();
        }
        let watched = |text: &&str| {
            let sql = format!("{text} ORDER BY body DESC, id");
            Watched { watch: client.watch(&sql, &[]).unwrap(), sql, list: vec![] }
        };
        let (watched, clock) =
            (TEXTS.iter().map(watched).collect(), client.watch("SELECT at AS id FROM clock", &[]));
        Self {
            _fake: fake,
            _device: device,
            client,
            session,
            watched,
            clock: clock.unwrap(),
            seen: 0,
            written: 0,
            at: 10,
            born: [0, 1, 2, 0, 0, 0, 0],
        }
    }

    /// Takes what is there.
    fn look(&mut self) -> Result<(), TestCaseError> {
        for Watched { watch, list, .. } in &mut self.watched {
            while let Some(Some(result)) = watch.next().now_or_never() {
                prop_assert_eq!(&result.error, &None);
                result.diff.apply(&result.rows, list, |row| row.values().to_vec());
                let whole: Vec<_> = result.rows.iter().map(|row| row.values().to_vec()).collect();
                prop_assert_eq!(&*list, &whole);
            }
        }
        while let Some(Some(result)) = self.clock.next().now_or_never() {
            let now = ids(&result.rows)[0];
            prop_assert!(now > self.seen || now == 0, "an older result after a newer one");
            self.seen = now;
        }
        Ok(())
    }

    async fn write(&mut self, kind: u8, id: i64, to: i64) {
        let insert = "INTO app.notes (id, body) VALUES";
        let sql = match kind {
            0 => format!("INSERT OR REPLACE {insert} ({id}, 'r{to}')"),
            1 => format!("DELETE FROM app.notes WHERE id = {id}"),
            2 => format!("UPDATE app.notes SET body = 'w{to}' WHERE id >= {id}"),
            3 => format!("UPDATE OR REPLACE app.notes SET id = {} WHERE id = {id}", to + 1),
            _ => format!("INSERT OR IGNORE {insert} ({id}, 'i{to}')"),
        };
        self.written += 1;
        for sql in [sql, format!("UPDATE clock SET at = {}", self.written)] {
            self.client.execute(&sql, &[]).await.unwrap();
        }
    }

    /// The server has a row now, or has none any more.
    async fn says(&mut self, id: i64, body: Option<i64>) {
        let born = &mut self.born[usize::try_from(id).unwrap()];
        let change = match body {
            Some(to) => {
                if *born == 0 {
                    *born = self.at + 1;
                }
                let body = Value::text(format!("s{to}")).unwrap();
                let row = [Value::Integer(id), body].into_iter().collect();
                RowChange::Row(Birth(seq(*born)), row)
            }
            None if *born == 0 => return,
            None => {
                let gone = std::mem::take(born);
                RowChange::Deleted(Birth(seq(gone)), Row(vec![Value::Integer(id)]))
            }
        };
        let queries = if id <= 3 { &[64, 65][..] } else { &[64][..] };
        for query in queries {
            let end = Some(query) == queries.last();
            let ServerFrame::Delta(mut told) = delta(self.at, self.at + 1, *query, id, end) else {
                panic!("another frame")
            };
            told.changes = vec![change.clone()];
            self.session.send(ServerFrame::Delta(told)).await;
        }
        self.at += 1;
    }

    /// Everything has arrived: then the lists are what a new query gives.
    async fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        let lane = "user/ann".parse().unwrap();
        let position = Position { lane, epoch: epoch(), seq: seq(self.at) };
        soon(self.client.wait_for(&[position])).await.unwrap();
        for (place, text) in TEXTS.iter().enumerate() {
            let rows = self.client.query(&self.watched[place].sql, &[]).await.unwrap();
            let rows: Vec<_> = rows.iter().map(|row| row.values().to_vec()).collect();
            let mut looks = 0;
            while rows != self.watched[place].list {
                prop_assert!(looks < 5_000, "{}: {:?}", text, rows);
                looks += 1;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                self.look()?;
            }
        }
        Ok(())
    }
}

async fn subscribe(client: &Client, session: &mut Session<TcpStream>) {
    let options = SubscribeOptions::default();
    let all = client.subscribe(TEXTS[0], &[], options).await.unwrap();
    session.grant(1, table(64, "app.notes"), &[(1, row(1)), (2, row(2))]).await;
    soon(all.ready()).await.unwrap();
    let few = client.subscribe(TEXTS[1], &[], options).await.unwrap();
    let ServerFrame::Subscribed(mut told) = subscribed(2, table(64, "app.notes")) else {
        panic!("another frame")
    };
    let (column, operand) = (ColumnId(0), Operand::Value(Value::Integer(3)));
    told.predicate = Predicate::Compare { column, op: CompareOp::LessOrEqual, operand };
    (told.query, told.basis) = (QueryNumber(65), Basis::from_bytes([65; 16]));
    session.send(ServerFrame::Subscribed(told)).await;
    session.send(batch(QueryNumber(65), 10, &[(1, row(1)), (2, row(2))])).await;
    soon(few.ready()).await.unwrap();
}

async fn follow(moves: Vec<Move>) -> Result<(), TestCaseError> {
    let mut world = World::new().await;
    for a_move in moves {
        match a_move {
            Move::Write(kind, id, to) => world.write(kind, id, to).await,
            Move::Server(id, to) => world.says(id, Some(to)).await,
            Move::Deleted(id) => world.says(id, None).await,
            Move::Schema => {
                let sql = "CREATE TABLE IF NOT EXISTS other (id INTEGER)";
                world.client.execute(sql, &[]).await.unwrap();
            }
            Move::Look => world.look()?,
        }
    }
    world.come_to_rest().await
}

/// R4, R6, INV-11.
#[test]
fn differences_add_up_to_what_a_new_query_gives() {
    seeds::check("watchers", 30, &vec(a_move(), 1..30), |moves| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(moves))
    });
}
