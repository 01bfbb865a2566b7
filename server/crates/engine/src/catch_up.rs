//! Catching up: what became of the rows of some queries after a position.
//!
//! Only the latest change of each row is known, so this costs what differs and not what happened.
//! What is told is the row as it is now, at its latest change; states between are never seen, and
//! who is told takes all pieces up to the end of the lane in one step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use protocol::ids::{Birth, Epoch, Floor, Lane, SeqId, TableId};
use protocol::value::Row;
use server_storage::{Direction, Scan};

use crate::change_index::ChangeRecord;
use crate::error::EngineError;
use crate::keys::{self, At, Partition, ROWS};
use crate::rows::Image;
use crate::view::{LaneView, Query, ReadError, Resolved, ScannedValues, View};

/// A query that is to be brought up to date.
#[derive(Clone, Copy, Debug)]
pub struct Resuming<'q> {
    /// What it reads.
    pub query: &'q Query,
    /// Down to where it is loaded.
    pub floor: Floor,
}

/// How much one piece may be and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpLimits {
    /// Most changes that are read; those at one position stay together.
    pub changes: usize,
    /// About how many bytes of rows are read and of keys are told.
    pub bytes: usize,
}

/// The answer to a resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// The next piece.
    Piece(Piece),
    /// These of the queries, by their place in the request, are loaded anew: tombstones behind the
    /// position are gone.
    Reset(Vec<usize>),
    /// There is nothing to read any more for these of the queries, by their place: their table was
    /// dropped or their predicate does not fit it any more.
    Gone(Vec<(usize, ReadError)>),
    /// The lane has another epoch here. Either its history was replaced, and all is loaded anew, or
    /// this node has not heard of that yet: who asks finds out which.
    OtherEpoch(LaneView),
    /// This node has not come as far as the position.
    Behind {
        /// How far it has come.
        seq: SeqId,
    },
}

/// A piece of what has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Up to here everything is told.
    pub position: SeqId,
    /// The lane's last change. With `position` there, this was the last piece.
    pub seq: SeqId,
    /// What is told, in the order of the changes.
    pub told: Vec<Told>,
    /// How many changes were read.
    pub changes: usize,
}

/// What one query is told of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The query, by its place in the request.
    pub query: usize,
    /// The row's birth.
    pub birth: Birth,
    /// What became of it.
    pub what: What,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The query holds it, and this is what it is.
    Row(Image),
    /// It is there, and the query does not hold it any more. With its primary key.
    Left(Row),
    /// It is not there any more. With its primary key.
    Deleted(Row),
}

impl View<'_> {
    /// Reads what has changed behind `position` for `queries`, until a limit is met.
    ///
    /// For each change and each query, with the row as it is now, found by its birth:
    ///
    /// | the row | is told |
    /// | --- | --- |
    /// | matches, floor ≤ birth | the row |
    /// | does not match or is gone, floor ≤ birth ≤ `position` | that it left or was deleted |
    /// | was born behind `position` and does not match or is gone; or is below the floor | nothing |
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn catch_up(
        &self,
        lane: &Lane,
        epoch: Epoch,
        position: SeqId,
        queries: &[Resuming<'_>],
        limits: CatchUpLimits,
    ) -> Result<CatchUp, ReadError> {
        let at = self.lane(lane)?;
        if at.epoch != epoch {
            return Ok(CatchUp::OtherEpoch(at));
        }
        if position > at.seq {
            return Ok(CatchUp::Behind { seq: at.seq });
        }
        let (mut resolved, mut reset) = (Vec::with_capacity(queries.len()), Vec::new());
        let mut gone = Vec::new();
        for (place, resuming) in queries.iter().enumerate() {
            let query = match self.resolve(lane, at, resuming.query) {
                Ok(query) => query,
                Err(ReadError::Engine(error)) => return Err(error.into()),
                Err(why) => {
                    gone.push((place, why));
                    continue;
                }
            };
            // Under this very snapshot: tombstones may have retired since the last piece.
            if position < self.partition_state(&query.partition)?.oldest_resumable {
                reset.push(place);
            }
            resolved.push(query);
        }
        if !gone.is_empty() {
            return Ok(CatchUp::Gone(gone));
        }
        if !reset.is_empty() {
            return Ok(CatchUp::Reset(reset));
        }
        let piece = Resume { view: self, at, position, queries, resolved: &resolved };
        Ok(CatchUp::Piece(piece.read(limits)?))
    }
}

struct Resume<'a> {
    view: &'a View<'a>,
    at: LaneView,
    position: SeqId,
    queries: &'a [Resuming<'a>],
    resolved: &'a [Resolved<'a>],
}

/// The changes of one scanned range, read by all queries that scan it.
struct Source<'a> {
    scan: Box<dyn Scan + 'a>,
    /// The next change.
    head: (SeqId, ChangeRecord),
    queries: Vec<usize>,
}

impl Resume<'_> {
    fn read(&self, limits: CatchUpLimits) -> Result<Piece, EngineError> {
        let mut sources = self.sources()?;
        let mut telling = Telling::default();
        let (mut position, mut changes) = (self.position, 0);
        // Merged by SeqId, so that a position means one thing for all queries.
        let mut order: BinaryHeap<Reverse<(SeqId, usize)>> = sources
            .iter()
            .enumerate()
            .map(|(place, source)| Reverse((source.head.0, place)))
            .collect();
        while let Some(Reverse((seq, place))) = order.pop() {
            let full = changes >= limits.changes || telling.bytes >= limits.bytes;
            if full && changes > 0 && seq > position {
                return Ok(Piece { position, seq: self.at.seq, told: telling.told, changes });
            }
            (position, changes) = (seq, changes + 1);
            let source = &mut sources[place];
            for query in &source.queries {
                self.tell(*query, &source.head.1, &mut telling)?;
            }
            if let Some(head) = next_change(&mut *source.scan)? {
                order.push(Reverse((head.0, place)));
                source.head = head;
            }
        }
        let seq = self.at.seq;
        Ok(Piece { position: seq, seq, told: telling.told, changes })
    }

    /// One source for each range, however many queries scan it.
    fn sources(&self) -> Result<Vec<Source<'_>>, EngineError> {
        let mut ranges = BTreeMap::new();
        for (place, resolved) in self.resolved.iter().enumerate() {
            let partition = &resolved.partition;
            let mut scan = |at: At<'_>| {
                let (family, range) = partition.changes_after(self.position, at);
                let key = (family, range.start.clone());
                ranges.entry(key).or_insert((range, Vec::new())).1.push(place);
            };
            match &resolved.values {
                None => scan(None),
                Some(ScannedValues { index, encoded }) => {
                    encoded.iter().for_each(|value| scan(Some((index.id, value))));
                }
            }
        }
        let mut sources = Vec::with_capacity(ranges.len());
        for ((family, _), (range, queries)) in ranges {
            let mut scan = self.view.snapshot.scan(family, range, Direction::Forward);
            if let Some(head) = next_change(&mut *scan)? {
                sources.push(Source { scan, head, queries });
            }
        }
        Ok(sources)
    }

    /// Tells one query of one change.
    fn tell(
        &self,
        query: usize,
        change: &ChangeRecord,
        telling: &mut Telling,
    ) -> Result<(), EngineError> {
        let (resuming, resolved) = (&self.queries[query], &self.resolved[query]);
        let birth = change.birth;
        if !resuming.floor.holds(birth) || !telling.seen.insert((query, birth)) {
            return Ok(());
        }
        let table = resolved.table;
        let image = telling.row(self.view, table.schema().id, &resolved.partition, birth)?;
        let what = match image {
            Some(image) if image.is_expired(self.view.now) => return Ok(()),
            Some(image) => {
                let row = image.view(table)?;
                if resolved.holds(&row) {
                    What::Row(image)
                } else {
                    What::Left(row.values(&table.schema().primary_key))
                }
            }
            None => match &change.tombstone {
                Some(key) => What::Deleted(key.clone()),
                None => return Err(EngineError::damaged("change")),
            },
        };
        if matches!(what, What::Row(_)) || birth.0 <= self.position {
            if let What::Left(key) | What::Deleted(key) = &what {
                telling.bytes += keys::of_row(key).len();
            }
            telling.told.push(Told { query, birth, what });
        }
        Ok(())
    }
}

/// What has been told, and the rows that were read for it.
#[derive(Default)]
struct Telling {
    told: Vec<Told>,
    /// Whom was told of what. A row with a change in two ranges of one query is told once.
    seen: BTreeSet<(usize, Birth)>,
    rows: BTreeMap<(TableId, Birth), Option<Image>>,
    bytes: usize,
}

impl Telling {
    fn row(
        &mut self,
        view: &View<'_>,
        table: TableId,
        partition: &Partition,
        birth: Birth,
    ) -> Result<Option<Image>, EngineError> {
        if let Some(known) = self.rows.get(&(table, birth)) {
            return Ok(known.clone());
        }
        let stored = view.snapshot.get(ROWS, &partition.row(birth))?;
        self.bytes += stored.as_ref().map_or(0, Vec::len);
        let image = stored.map(|stored| Image::read(&stored)).transpose()?;
        self.rows.insert((table, birth), image.clone());
        Ok(image)
    }
}

fn next_change(scan: &mut (dyn Scan + '_)) -> Result<Option<(SeqId, ChangeRecord)>, EngineError> {
    let Some(entry) = scan.next()? else { return Ok(None) };
    Ok(Some((keys::last_seq(entry.key)?, ChangeRecord::read(entry.value)?)))
}
