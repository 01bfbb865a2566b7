//! Loading: the rows of a query, last born first.

use protocol::ids::{Birth, Epoch, Floor, Lane, SeqId};
use server_storage::{Direction, Scan, Snapshot};

use crate::error::EngineError;
use crate::keys::{self, INDEX, Partition, ROWS};
use crate::rows::{Header, Image, RowView};
use crate::view::{Query, ReadError, Resolved, ScannedValues, View};

/// How much one batch may be and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Most rows.
    pub rows: usize,
    /// About how many bytes of rows; the row that goes beyond is the last.
    pub bytes: usize,
    /// Most rows that are looked at. So a predicate that meets few of many rows still gives back
    /// the snapshot soon, with a batch of few rows or none.
    pub examined: usize,
}

/// A batch of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBatch {
    /// The epoch of the lane.
    pub epoch: Epoch,
    /// The SeqId that the batch is the state of.
    pub seq: SeqId,
    /// The rows, in ascending order of birth.
    pub rows: Vec<Loaded>,
    /// Down to where the query is loaded now; the next batch goes on below.
    pub floor: Floor,
}

/// A row of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its birth.
    pub birth: Birth,
    /// What it is.
    pub image: Image,
}

impl View<'_> {
    /// Reads the rows of `query` that were born before `below` (all without it), from the last born
    /// downwards, until a limit is met.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn load(
        &self,
        lane: &Lane,
        query: &Query,
        below: Option<Birth>,
        limits: LoadLimits,
    ) -> Result<LoadBatch, ReadError> {
        let at = self.lane(lane)?;
        let resolved = self.resolve(lane, at, query)?;
        let mut walk = Walk::new(self.snapshot, &resolved, below)?;
        let (mut rows, mut bytes, mut examined) = (Vec::new(), 0, 0);
        let mut last = None;
        let mut floor = Floor::COMPLETE;
        while let Some((birth, stored)) = walk.next()? {
            let full = rows.len() >= limits.rows || bytes >= limits.bytes;
            // The first row is looked at whatever the limits, or a load would not end.
            if let Some(Birth(last)) = last
                && (full || examined >= limits.examined)
            {
                floor = Floor(last);
                break;
            }
            (last, examined) = (Some(birth), examined + 1);
            let header = Header::read(stored)?;
            if header.expiry <= self.now {
                continue;
            }
            let row = RowView::read(stored, header.version, resolved.table)?;
            if resolved.holds(&row) {
                bytes += stored.len();
                rows.push(Loaded { birth, image: Image::read(stored)? });
            }
        }
        rows.reverse();
        Ok(LoadBatch { epoch: at.epoch, seq: at.seq, rows, floor })
    }
}

/// The rows of a scanned range, last born first.
enum Walk<'a> {
    /// A partition lies in this order.
    Partition(Box<dyn Scan + 'a>),
    /// So do the births of each indexed value.
    Values(ValuesWalk<'a>),
}

struct ValuesWalk<'a> {
    snapshot: &'a dyn Snapshot,
    partition: &'a Partition,
    /// The births that are left of each value, the last of them read already.
    heads: Vec<(Birth, Box<dyn Scan + 'a>)>,
    row: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(
        snapshot: &'a dyn Snapshot,
        resolved: &'a Resolved<'_>,
        below: Option<Birth>,
    ) -> Result<Self, EngineError> {
        let partition = &resolved.partition;
        let back = |family, range| snapshot.scan(family, range, Direction::Backward);
        let Some(ScannedValues { index, encoded }) = &resolved.values else {
            return Ok(Self::Partition(back(ROWS, partition.rows_below(below))));
        };
        let mut heads = Vec::with_capacity(encoded.len());
        for value in encoded {
            let mut scan = back(INDEX, partition.index_below(index.id, value, below));
            if let Some(birth) = next_birth(&mut *scan)? {
                heads.push((birth, scan));
            }
        }
        Ok(Self::Values(ValuesWalk { snapshot, partition, heads, row: Vec::new() }))
    }

    fn next(&mut self) -> Result<Option<(Birth, &[u8])>, EngineError> {
        match self {
            Self::Partition(scan) => match scan.next()? {
                Some(entry) => Ok(Some((Birth(keys::last_seq(entry.key)?), entry.value))),
                None => Ok(None),
            },
            Self::Values(walk) => walk.next(),
        }
    }
}

impl ValuesWalk<'_> {
    fn next(&mut self) -> Result<Option<(Birth, &[u8])>, EngineError> {
        let last = self.heads.iter().enumerate().max_by_key(|(_, (birth, _))| *birth);
        let Some((place, (birth, _))) = last else { return Ok(None) };
        let birth = *birth;
        match next_birth(&mut *self.heads[place].1)? {
            Some(next) => self.heads[place].0 = next,
            None => drop(self.heads.swap_remove(place)),
        }
        let stored = self.snapshot.get(ROWS, &self.partition.row(birth))?;
        self.row = stored.ok_or(EngineError::damaged("index"))?;
        Ok(Some((birth, &self.row)))
    }
}

fn next_birth(scan: &mut (dyn Scan + '_)) -> Result<Option<Birth>, EngineError> {
    scan.next()?.map(|entry| Ok(Birth(keys::last_seq(entry.key)?))).transpose()
}
