//! What a feed needs of storage: described here, run by the host on a snapshot, and answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use protocol::digest::RowsDigest;
use protocol::frame::v1::{
    CatchUp as CatchUpFrame, Digest as DigestFrame, Frontier, InitialDataBatch, RowChange,
    ServerFrame,
};
use protocol::ids::{Birth, Epoch, Floor, Lane, SeqId};
use protocol::schema::TableSchema;
use protocol::value::Row;
use server_engine::{
    CatchUp, CatchUpLimits, LaneView, LoadBatch, LoadLimits, Piece, Query, ReadError, Resuming,
    ShardNumber, Told, View, What,
};

use crate::commit;
use crate::query::LiveQuery;
use crate::written::Writer;

/// Names a read of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub(crate) u64);

/// A read that a worker asks for. Whoever runs it takes a snapshot *after* it was asked for.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it is called in the answer.
    pub id: ReadId,
    /// Where it is read.
    pub shard: ShardNumber,
    /// The lane.
    pub lane: Lane,
    pub(crate) kind: ReadKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ReadKind {
    /// Where the lane is, and what is known of who writes there.
    Position { writer: Option<Writer> },
    /// What has changed after a position.
    CatchUp {
        epoch: Epoch,
        position: SeqId,
        queries: Vec<(Arc<LiveQuery>, Floor)>,
        limits: CatchUpLimits,
        /// What is known of it comes with the last piece.
        writer: Option<Writer>,
    },
    /// The rows before a birth.
    Load { query: Arc<LiveQuery>, below: Option<Birth>, limits: LoadLimits },
    /// How they are, down to a floor.
    Digest { query: Arc<LiveQuery>, floor: Floor, below: Option<Birth>, limits: LoadLimits },
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The last entry of the log that the snapshot has.
    pub(crate) index: u64,
    pub(crate) found: Found,
}

#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// With the frontier of a writer.
    Position(LaneView, Option<Bytes>),
    CatchUp(Caught),
    Load(Result<Arc<Batch>, ReadError>),
    /// Nothing: a table is not in the version that a query is of. Those that have changed, as they
    /// are by now; none where the snapshot is of before.
    Other(Vec<Arc<TableSchema>>),
}

/// What came of a resume.
#[derive(Clone, Debug)]
pub(crate) enum Caught {
    Piece(Arc<PieceFrames>),
    /// These queries, by their place, have lost tombstones.
    Reset(Vec<usize>),
    /// These queries have nothing to read any more.
    Gone(Vec<usize>),
    OtherEpoch(LaneView),
    Behind,
}

/// A piece of a resume, encoded.
#[derive(Debug)]
pub(crate) struct PieceFrames {
    pub(crate) position: SeqId,
    pub(crate) seq: SeqId,
    pub(crate) changes: usize,
    /// The rows in the partitions that were read.
    pub(crate) rows: u64,
    pub(crate) frames: Vec<Bytes>,
    /// Behind the last piece: what is known of the writer, under its snapshot.
    pub(crate) frontier: Option<Bytes>,
}

/// A batch of a load, or a digest, encoded.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: Epoch,
    pub(crate) seq: SeqId,
    pub(crate) brings: Brings,
    pub(crate) frame: Bytes,
}

/// What a subscription has by it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Brings {
    /// So many rows, down to there.
    Rows { floor: Floor, rows: u64 },
    /// The digest of what was born before.
    Digest { below: Option<Birth> },
}

impl Read {
    /// What kind of read it is, for tests: `position`, `catch_up`, `load` or `digest`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            ReadKind::Position { .. } => "position",
            ReadKind::CatchUp { .. } => "catch_up",
            ReadKind::Load { .. } => "load",
            ReadKind::Digest { .. } => "digest",
        }
    }

    /// Reads, and encodes what was read. `index` is the last entry that the snapshot has.
    ///
    /// # Errors
    /// [`ReadError`] when this node cannot read: say [`Worker::unread`](crate::Worker::unread), and
    /// it is asked for again.
    pub fn run(&self, view: &View<'_>, index: u64) -> Result<Answer, ReadError> {
        if let Some(tables) = self.others(view)? {
            return Ok(Answer { index, found: Found::Other(tables) });
        }
        let found = match &self.kind {
            ReadKind::Position { writer } => {
                let lane = view.lane(&self.lane)?;
                let frontier = self.frontier(view, writer.as_ref(), lane.epoch, lane.seq)?;
                Found::Position(lane, frontier)
            }
            ReadKind::CatchUp { epoch, position, queries, limits, writer } => {
                let resuming: Vec<Resuming<'_>> = queries
                    .iter()
                    .map(|(query, floor)| Resuming { query: &query.query, floor: *floor })
                    .collect();
                let caught = view.catch_up(&self.lane, *epoch, *position, &resuming, *limits)?;
                Found::CatchUp(self.caught(view, *epoch, queries, writer.as_ref(), caught)?)
            }
            ReadKind::Load { query, below, limits } => {
                let batch = self
                    .load(view, query, *below, *limits)
                    .and_then(|batch| self.batch(view, query, &batch));
                Found::Load(Self::gone(batch)?)
            }
            ReadKind::Digest { query, floor, below, limits } => {
                Found::Load(Self::gone(self.digest(view, query, *floor, *below, *limits))?)
            }
        };
        Ok(Answer { index, found })
    }

    /// Of a batch that cannot be read: an error of this node, or of the query, which ends.
    fn gone(read: Result<Batch, ReadError>) -> Result<Result<Arc<Batch>, ReadError>, ReadError> {
        match read {
            Ok(batch) => Ok(Ok(Arc::new(batch))),
            Err(ReadError::Engine(error)) => Err(error.into()),
            Err(ReadError::WrongShard) => Err(ReadError::WrongShard),
            Err(gone) => Ok(Err(gone)),
        }
    }

    /// The tables that are not what the queries are of. Rows are told as of one version of their
    /// table, so that whoever hears of the next one knows which rows it has from before.
    fn others(&self, view: &View<'_>) -> Result<Option<Vec<Arc<TableSchema>>>, ReadError> {
        let tables: BTreeSet<_> = match &self.kind {
            ReadKind::Position { .. } => BTreeSet::new(),
            ReadKind::CatchUp { queries, .. } => {
                queries.iter().map(|(query, _)| (query.query.table, query.schema.version)).collect()
            }
            ReadKind::Load { query, .. } | ReadKind::Digest { query, .. } => {
                BTreeSet::from([(query.query.table, query.schema.version)])
            }
        };
        let (mut others, mut is_early) = (Vec::new(), false);
        for (id, version) in tables {
            let schema = match view.table(&self.lane, id) {
                Ok(table) => table.schema(),
                Err(ReadError::Engine(error)) => return Err(error.into()),
                // Whoever reads it says so.
                Err(_) => continue,
            };
            if schema.version > version {
                others.push(Arc::new(schema.clone()));
            } else {
                is_early |= view.version(id)?.is_none_or(|known| known < version);
            }
        }
        Ok((is_early || !others.is_empty()).then_some(others))
    }

    /// The frontier of a writer. It may be large: it is encoded here, where nobody waits for it.
    fn frontier(
        &self,
        view: &View<'_>,
        writer: Option<&Writer>,
        epoch: Epoch,
        seq: SeqId,
    ) -> Result<Option<Bytes>, ReadError> {
        let Some(writer) = writer else { return Ok(None) };
        let writer = Some(Box::new(writer.state(view, &self.lane)?));
        let frontier = Frontier { lane: self.lane.clone(), epoch, seq, writer };
        Ok(Some(ServerFrame::Frontier(frontier).encode().into()))
    }

    /// The next batch. Where no row is wanted, that is an empty one above all rows there are.
    fn load(
        &self,
        view: &View<'_>,
        query: &LiveQuery,
        below: Option<Birth>,
        limits: LoadLimits,
    ) -> Result<LoadBatch, ReadError> {
        if limits.rows > 0 {
            return view.load(&self.lane, &query.query, below, limits);
        }
        view.table(&self.lane, query.query.table)?;
        let LaneView { epoch, seq, .. } = view.lane(&self.lane)?;
        Ok(LoadBatch { epoch, seq, rows: Vec::new(), floor: Floor(seq.next()) })
    }

    fn caught(
        &self,
        view: &View<'_>,
        epoch: Epoch,
        queries: &[(Arc<LiveQuery>, Floor)],
        writer: Option<&Writer>,
        caught: CatchUp,
    ) -> Result<Caught, ReadError> {
        Ok(match caught {
            CatchUp::Piece(piece) => {
                let writer = writer.filter(|_| piece.position == piece.seq);
                let frontier = self.frontier(view, writer, epoch, piece.seq)?;
                let piece = self.piece(view, queries, piece)?;
                Caught::Piece(Arc::new(PieceFrames { frontier, ..piece }))
            }
            CatchUp::Reset(places) => Caught::Reset(places),
            CatchUp::Gone(gone) => Caught::Gone(gone.into_iter().map(|(place, _)| place).collect()),
            CatchUp::OtherEpoch(lane) => Caught::OtherEpoch(lane),
            CatchUp::Behind { .. } => Caught::Behind,
        })
    }

    fn piece(
        &self,
        view: &View<'_>,
        queries: &[(Arc<LiveQuery>, Floor)],
        piece: Piece,
    ) -> Result<PieceFrames, ReadError> {
        let Piece { position, seq, told, changes } = piece;
        let mut of_query: BTreeMap<usize, Vec<RowChange>> = BTreeMap::new();
        for Told { query: place, birth, what } in told {
            let query = &queries[place].0;
            let change = match what {
                What::Row(image) => {
                    let row = image.view(view.table(&self.lane, query.query.table)?)?;
                    commit::row(query, birth, &image, &row)
                }
                What::Left(key) => RowChange::Left(birth, key),
                What::Deleted(key) => RowChange::Deleted(birth, key),
            };
            of_query.entry(place).or_default().push(change);
        }
        // One frame a query: the limits of a piece bound it.
        let frame = |(place, changes): (usize, Vec<RowChange>)| -> Bytes {
            let frame = CatchUpFrame { query: queries[place].0.number, changes };
            ServerFrame::CatchUp(frame).encode().into()
        };
        let frames = of_query.into_iter().map(frame).collect();
        let mut rows = 0;
        let mut tables: Vec<_> = queries.iter().map(|(query, _)| query.query.table).collect();
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            rows += view.partition(&self.lane, table)?.rows;
        }
        Ok(PieceFrames { position, seq, changes, rows, frames, frontier: None })
    }

    fn batch(
        &self,
        view: &View<'_>,
        query: &LiveQuery,
        loaded: &LoadBatch,
    ) -> Result<Batch, ReadError> {
        let LoadBatch { epoch, seq, ref rows, floor } = *loaded;
        let Query { table, .. } = query.query;
        let schema = view.table(&self.lane, table)?;
        let mut shown: Vec<Row> = Vec::with_capacity(rows.len());
        for row in rows {
            shown.push(commit::shown(query, &row.image.view(schema)?));
        }
        let all = view.partition(&self.lane, table)?.rows;
        let frame = ServerFrame::InitialDataBatch(InitialDataBatch {
            query: query.number,
            seq,
            floor,
            // Births below the floor are as many at most, and so are the rows there.
            remaining: floor.0.get().saturating_sub(1).min(all),
            births: rows.iter().map(|row| row.birth).collect(),
            rows: shown,
            expiries: rows.iter().filter_map(|row| row.image.expiry()).map(|at| at.0).collect(),
        });
        let frame = frame.encode().into();
        Ok(Batch { epoch, seq, brings: Brings::Rows { floor, rows: rows.len() as u64 }, frame })
    }

    /// The digest of the rows before a birth, of no more than a batch would have.
    fn digest(
        &self,
        view: &View<'_>,
        query: &LiveQuery,
        floor: Floor,
        below: Option<Birth>,
        limits: LoadLimits,
    ) -> Result<Batch, ReadError> {
        let loaded = view.load(&self.lane, &query.query, below, limits)?;
        let LoadBatch { epoch, seq, .. } = loaded;
        let schema = view.table(&self.lane, query.query.table)?;
        let mut digest = RowsDigest::default();
        // What lies below is not loaded, and may be other than at the client.
        for row in loaded.rows.iter().filter(|row| floor.holds(row.birth)) {
            digest.add(row.birth, &commit::shown(query, &row.image.view(schema)?));
        }
        let RowsDigest { rows, sum } = digest;
        let (query, floor) = (query.number, floor.max(loaded.floor));
        let frame = DigestFrame { query, seq, floor, below, rows, sum };
        let frame = ServerFrame::Digest(frame).encode().into();
        Ok(Batch { epoch, seq, brings: Brings::Digest { below }, frame })
    }
}
