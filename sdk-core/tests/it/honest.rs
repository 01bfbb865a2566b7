//! A server of one user's notes that keeps what it has said: of each row when it was born, of each write
//! what became of it, over all connections of a client. It can stand still at any frame.

use std::time::Duration;

use protocol::frame::v1::{
    CatchUp, ClientFrame, Decided, Delta, Frontier, Hello, InitialDataBatch, Mutate,
    MutationDecision, Position, RowChange, ServerFrame, Subscribe, Synced, WriterState, Written,
};
use protocol::ids::{
    Birth, ClientId, ContentHash, Floor, Lane, MutationNumber, QueryNumber, SeqId,
};
use protocol::mutation::{Action, ColumnValue, Mutation, Verdict};
use protocol::value::{Row, Value};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::sleep;

use crate::fake::{Session, epoch, row, seq, subscribed, table, welcome};
use crate::sending::number;

/// Where the lane is before anything has happened.
const BEGIN: u64 = 10;
const QUERY: QueryNumber = QueryNumber(64);

/// It goes no further on this connection.
#[derive(Debug)]
pub(crate) struct Still;

/// The notes, and who has written them.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// In the order of their births.
    rows: Vec<(SeqId, Row)>,
    /// How much has happened.
    happened: u64,
    decisions: Vec<MutationDecision>,
    /// How many frames still come and go.
    pub(crate) frames_left: Option<usize>,
    /// How often a row of its own is born while a client is live.
    pub(crate) every: Option<Duration>,
}

impl Notes {
    /// With so many notes, from 1 on.
    pub(crate) fn new(notes: i64) -> Self {
        let rows = (3..).map(seq).zip((1..=notes).map(row)).collect();
        Self { rows, ..Self::default() }
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.rows.iter().map(|(_, row)| id(row)).collect();
        ids.sort_unstable();
        ids
    }

    /// How many writes it has decided.
    pub(crate) fn decided(&self) -> usize {
        self.decisions.len()
    }

    fn at(&self) -> SeqId {
        seq(BEGIN + self.happened)
    }

    /// A row is born.
    pub(crate) fn add(&mut self, row: Row) {
        self.happened += 1;
        self.rows.push((self.at(), row));
    }

    /// Serves a connection until the client hangs up.
    pub(crate) async fn serve(
        &mut self,
        session: &mut Session<TcpStream>,
        hello: &Hello,
    ) -> Result<(), Still> {
        self.send(session, welcome()).await?;
        for Subscribe { request, .. } in &hello.subscriptions {
            self.send(session, subscribed(request.0, table(64, "app.notes"))).await?;
        }
        if let Some(cursor) = hello.lanes.first() {
            let missed = self.rows.iter().filter(|(birth, _)| *birth > cursor.since_seq);
            let change = |(birth, row): &(SeqId, Row)| RowChange::Row(Birth(*birth), row.clone());
            let changes: Vec<_> = missed.map(change).collect();
            if !changes.is_empty() {
                self.send(session, ServerFrame::CatchUp(CatchUp { query: QUERY, changes })).await?;
            }
        }
        let writer = hello.writers.first();
        let writer = writer.map(|writer| self.known(writer.client, writer.confirmed));
        self.frontier(session, writer).await?;
        for Subscribe { held, .. } in &hello.subscriptions {
            self.load(session, held.as_ref().map(|held| held.floor)).await?;
        }
        while let Some(frame) = self.next(session).await? {
            self.answer(session, frame).await?;
        }
        Ok(())
    }

    /// The next frame, and rows of its own before it.
    async fn next(
        &mut self,
        session: &mut Session<TcpStream>,
    ) -> Result<Option<ClientFrame>, Still> {
        loop {
            let pause = async {
                match self.every {
                    Some(every) => sleep(every).await,
                    None => std::future::pending().await,
                }
            };
            select! {
                frame = session.next_if_any() => {
                    self.count()?;
                    return Ok(frame);
                }
                () = pause => {
                    let previous = self.at();
                    self.add(row(1_000_000 + i64::try_from(self.happened).unwrap()));
                    self.delta(session, previous, true).await?;
                }
            }
        }
    }

    async fn answer(
        &mut self,
        session: &mut Session<TcpStream>,
        frame: ClientFrame,
    ) -> Result<(), Still> {
        match frame {
            ClientFrame::OpenLane(open) => {
                let known = self.known(open.writer.client, open.writer.confirmed);
                self.frontier(session, Some(known)).await
            }
            ClientFrame::Mutate(mutate) => self.decide(session, *mutate).await,
            ClientFrame::Sync(asked) => {
                let position = Position { lane: lane(), epoch: epoch(), seq: self.at() };
                let (request, positions) = (asked.request, vec![position]);
                let synced = Synced { request, positions, later: false };
                self.send(session, ServerFrame::Synced(synced)).await
            }
            other => panic!("{other:?}"),
        }
    }

    /// Each number once, whatever comes how often.
    async fn decide(
        &mut self,
        session: &mut Session<TcpStream>,
        mutate: Mutate,
    ) -> Result<(), Still> {
        let mut hash = mutate.previous;
        for (at, written) in (mutate.first.get()..).zip(mutate.mutations) {
            hash = hash.then(written.digest());
            let decided = self.decisions.len() as u64;
            if at <= decided {
                let before = &self.decisions[usize::try_from(at).unwrap() - 1];
                assert_eq!(before.hash, hash, "{at} is another one");
                continue;
            }
            assert_eq!(at, decided + 1, "one is left out");
            let Written::Mutation(mutation) = written else { panic!("{written:?}") };
            let previous = self.at();
            self.add(inserted(&mutation));
            let verdict = Verdict::Accepted;
            let decision = MutationDecision { number: number(at), hash, verdict, seq: self.at() };
            self.decisions.push(decision.clone());
            self.delta(session, previous, false).await?;
            let (client, tables) = (mutate.client, vec![]);
            let decided =
                Decided { lane: lane(), client, previous, seq: self.at(), decision, tables };
            self.send(session, ServerFrame::Decided(Box::new(decided))).await?;
        }
        Ok(())
    }

    /// What it knows of a client's writes.
    fn known(&self, client: ClientId, confirmed: MutationNumber) -> WriterState {
        let (before, behind) = self.decisions.split_at(usize::try_from(confirmed.get()).unwrap());
        let confirmed_hash = before.last().map_or(ContentHash::START, |last| last.hash);
        let decisions = behind.to_vec();
        WriterState { client, confirmed, confirmed_hash, decisions, tables: vec![] }
    }

    async fn frontier(
        &mut self,
        session: &mut Session<TcpStream>,
        writer: Option<WriterState>,
    ) -> Result<(), Still> {
        let (seq, writer) = (self.at(), writer.map(Box::new));
        let frontier = Frontier { lane: lane(), epoch: epoch(), seq, writer };
        self.send(session, ServerFrame::Frontier(frontier)).await
    }

    /// The last one that was born, in a commit.
    async fn delta(
        &mut self,
        session: &mut Session<TcpStream>,
        previous: SeqId,
        end: bool,
    ) -> Result<(), Still> {
        let (birth, row) = self.rows.last().unwrap().clone();
        let changes = vec![RowChange::Row(Birth(birth), row)];
        let delta = Delta { previous, seq: self.at(), end, query: QUERY, changes };
        self.send(session, ServerFrame::Delta(delta)).await
    }

    /// What is not loaded: the first note by itself, behind all others.
    async fn load(
        &mut self,
        session: &mut Session<TcpStream>,
        floor: Option<Floor>,
    ) -> Result<(), Still> {
        let first = Floor(seq(4));
        let is_wanted = |birth| floor.is_none_or(|floor| !floor.holds(birth));
        let all: Vec<_> = self.rows.iter().filter(|(birth, _)| is_wanted(Birth(*birth))).collect();
        let (later, early): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(birth, _)| first.holds(Birth(*birth)));
        let seq = self.at();
        let batch = |rows: Vec<&(SeqId, Row)>, floor, remaining| {
            let births = rows.iter().map(|(birth, _)| Birth(*birth)).collect();
            let rows = rows.into_iter().map(|(_, row)| row.clone()).collect();
            let (query, expiries) = (QUERY, vec![]);
            let batch = InitialDataBatch { query, seq, floor, remaining, births, rows, expiries };
            ServerFrame::InitialDataBatch(batch)
        };
        let later = floor.is_none().then(|| batch(later, first, 1));
        let early = (floor != Some(Floor::COMPLETE)).then(|| batch(early, Floor::COMPLETE, 0));
        for frame in later.into_iter().chain(early) {
            self.send(session, frame).await?;
        }
        Ok(())
    }

    async fn send(
        &mut self,
        session: &mut Session<TcpStream>,
        frame: ServerFrame,
    ) -> Result<(), Still> {
        self.count()?;
        // Whoever has gone is noticed when the next frame is read.
        session.send_if_any(frame).await;
        Ok(())
    }

    fn count(&mut self) -> Result<(), Still> {
        match &mut self.frames_left {
            Some(0) => Err(Still),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn lane() -> Lane {
    "user/ann".parse().unwrap()
}

fn id(row: &Row) -> i64 {
    let Value::Integer(id) = row[0] else { panic!("{row:?}") };
    id
}

/// The note that a write makes.
fn inserted(mutation: &Mutation) -> Row {
    let [operation] = &mutation.operations[..] else { panic!("{mutation:?}") };
    let Action::Insert(values) = &operation.action else { panic!("{operation:?}") };
    values.iter().map(|ColumnValue(_, value)| value.clone()).collect()
}
