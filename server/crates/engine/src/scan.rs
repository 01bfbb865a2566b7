//! Scanning: the rows of a query, first born first, for statements that look at a shard once.

use std::ops::ControlFlow;

use protocol::ids::{Birth, Lane, SeqId};
use server_storage::Direction;

use crate::rows::{Header, RowView};
use crate::view::{Query, ReadError, View};
use crate::walk::Walk;

/// A row that a scan has come to.
#[derive(Debug)]
pub struct Scanned<'a> {
    /// Its birth.
    pub birth: Birth,
    /// Its last change.
    pub seq: SeqId,
    /// What it is.
    pub row: RowView<'a>,
}

impl View<'_> {
    /// Shows the rows of `query` that were born after `after` (all without it), in ascending order
    /// of birth, until `visit` breaks off or about `examined_max` rows have been looked at. Returns
    /// the birth after which to go on; `None` behind the last row.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn scan(
        &self,
        lane: &Lane,
        query: &Query,
        after: Option<Birth>,
        examined_max: usize,
        visit: &mut dyn FnMut(Scanned<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Birth>, ReadError> {
        let at = self.lane(lane)?;
        let resolved = self.resolve(lane, at, query)?;
        let mut walk = Walk::new(self.snapshot, &resolved, Direction::Forward, after)?;
        let mut examined = 0;
        while let Some((birth, stored)) = walk.next()? {
            examined += 1;
            let header = Header::read(stored)?;
            let mut flow = ControlFlow::Continue(());
            if header.expiry > self.now {
                let row = RowView::read(stored, header.version, resolved.table)?;
                if resolved.holds(&row) {
                    flow = visit(Scanned { birth, seq: header.seq, row });
                }
            }
            if flow.is_break() || examined >= examined_max {
                return Ok(Some(birth));
            }
        }
        Ok(None)
    }
}
