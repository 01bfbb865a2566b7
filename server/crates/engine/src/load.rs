//! Loading: the rows of a query, last born first.

use protocol::ids::{Birth, Epoch, Floor, Lane, SeqId};
use server_storage::Direction;

use crate::rows::{Header, Image, RowView};
use crate::view::{Query, ReadError, View};
use crate::walk::Walk;

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
        let mut walk = Walk::new(self.snapshot, &resolved, Direction::Backward, below)?;
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
