//! A subscription as the machine has it in memory.

use protocol::frame::v1::{Held, RowChange, Subscribe};
use protocol::ids::{RequestNumber, SeqId};

use crate::event::Ask;
use crate::status::Refusal;
use crate::stored::{SqlText, StoredSubscription, SubscriptionId};

/// More rows than a lane can have: all that there are.
const ALL_ROWS: u64 = SeqId::MAX.get();

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// What the replica has of it; of a refused one, what it had.
    pub(crate) stored: StoredSubscription,
    /// It is refused, and asked for no more until the app does. The replica has nothing of it.
    pub(crate) refusal: Option<Refusal>,
    /// How many rows its load has brought.
    pub(crate) rows_loaded: u64,
    /// What the last batch said of the rest.
    pub(crate) remaining: Option<u64>,
}

impl Subscription {
    pub(crate) fn new(id: SubscriptionId, ask: Ask) -> Self {
        let Ask { sql, params, fetch_last, batch_rows } = ask;
        Self::from_stored(StoredSubscription {
            id,
            texts: vec![SqlText { sql, params }],
            fetch_last,
            batch_rows,
            known: None,
            floor: None,
            missing: fetch_last,
            ready: false,
            resetting: false,
        })
    }

    pub(crate) fn from_stored(stored: StoredSubscription) -> Self {
        Self { stored, refusal: None, rows_loaded: 0, remaining: None }
    }

    /// Begins to load anew. What it shows until then are ghosts.
    pub(crate) fn reset(&mut self) {
        let stored = &mut self.stored;
        // Where nothing was loaded there is nothing to show meanwhile.
        stored.resetting |= stored.floor.is_some();
        stored.floor = None;
        stored.missing = stored.fetch_last;
        self.rows_loaded = 0;
        self.remaining = None;
    }

    /// Takes `window` where it is wider, and says how many rows more that is.
    pub(crate) fn widen(&mut self, window: Option<u64>) -> Option<u64> {
        let stored = &mut self.stored;
        let present = stored.fetch_last?;
        let Some(wider) = window else {
            (stored.fetch_last, stored.missing) = (None, None);
            return Some(ALL_ROWS);
        };
        let more = wider.checked_sub(present).filter(|more| *more > 0)?;
        stored.fetch_last = Some(wider);
        stored.missing = stored.missing.map(|missing| missing.saturating_add(more));
        Some(more)
    }

    /// Somebody else asks for it, perhaps for more than anybody has had, and then waits for that.
    /// Says how many rows more that is.
    pub(crate) fn ask_for(&mut self, window: Option<u64>) -> Option<u64> {
        let more = self.widen(window)?;
        self.stored.ready &= self.stored.is_complete();
        Some(more)
    }

    /// Those of the changes that are about what is loaded. Bytes are shared among clients whose
    /// floors differ, so some are not (INV-4).
    pub(crate) fn loaded_part(&self, changes: Vec<RowChange>) -> Vec<RowChange> {
        let Some(floor) = self.stored.floor else { return Vec::new() };
        changes.into_iter().filter(|change| floor.holds(change.birth())).collect()
    }

    /// The frame that asks for it, with what is held of it.
    pub(crate) fn ask(&self, request: RequestNumber) -> Subscribe {
        let StoredSubscription { texts, fetch_last, batch_rows, known, floor, missing, .. } =
            &self.stored;
        let text = texts.first().cloned();
        let SqlText { sql, params } =
            text.unwrap_or(SqlText { sql: String::new(), params: Vec::new() });
        let held = known.as_ref().zip(*floor).map(|(known, floor)| Held {
            basis: known.basis,
            floor,
            missing: *missing,
        });
        Subscribe { request, sql, params, fetch_last: *fetch_last, batch_rows: *batch_rows, held }
    }
}
