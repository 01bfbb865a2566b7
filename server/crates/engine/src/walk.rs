//! The rows that a query may read, one after another, in either direction.

use protocol::ids::Birth;
use server_storage::{Direction, Scan, Snapshot};

use crate::error::EngineError;
use crate::keys::{self, INDEX, Partition, ROWS};
use crate::view::{Resolved, ScannedValues};

/// The rows of a scanned range by birth.
pub(crate) enum Walk<'a> {
    /// A partition lies in this order.
    Partition(Box<dyn Scan + 'a>),
    /// So do the births of each indexed value.
    Values(ValuesWalk<'a>),
}

pub(crate) struct ValuesWalk<'a> {
    direction: Direction,
    snapshot: &'a dyn Snapshot,
    partition: &'a Partition,
    /// The births that are left of each value, the last of them read already.
    heads: Vec<(Birth, Box<dyn Scan + 'a>)>,
    row: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// Walks in this direction from `beyond`, which is not one of them; over all without it.
    pub(crate) fn new(
        snapshot: &'a dyn Snapshot,
        resolved: &'a Resolved<'_>,
        direction: Direction,
        beyond: Option<Birth>,
    ) -> Result<Self, EngineError> {
        let partition = &resolved.partition;
        let Some(ScannedValues { index, encoded }) = &resolved.values else {
            let range = partition.rows(direction, beyond);
            return Ok(Self::Partition(snapshot.scan(ROWS, range, direction)));
        };
        let mut heads = Vec::with_capacity(encoded.len());
        for value in encoded {
            let range = partition.births(index.id, value, direction, beyond);
            let mut scan = snapshot.scan(INDEX, range, direction);
            if let Some(birth) = next_birth(&mut *scan)? {
                heads.push((birth, scan));
            }
        }
        Ok(Self::Values(ValuesWalk { direction, snapshot, partition, heads, row: Vec::new() }))
    }

    pub(crate) fn next(&mut self) -> Result<Option<(Birth, &[u8])>, EngineError> {
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
        let heads = self.heads.iter().enumerate();
        let next = match self.direction {
            Direction::Backward => heads.max_by_key(|(_, (birth, _))| *birth),
            Direction::Forward => heads.min_by_key(|(_, (birth, _))| *birth),
        };
        let Some((place, (birth, _))) = next else { return Ok(None) };
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
