//! What waits of a connection to be decided, and how much that may be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::frame::v1::Mutate;
use protocol::ids::{ClientId, Epoch, MutationNumber};

/// How many bytes of frames may wait of a connection: as many as of a few lanes that each have a
/// large frame. One more is not taken, and its client sends it again.
const WAITING_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Something for the task of a lane to do. In a box, because a channel keeps room for many.
pub(super) enum Upload {
    /// Has mutations decided.
    Mutate(Mutate, Share),
    /// Takes what is in the slot for confirmations.
    Confirm,
}

/// A client knows its decisions up to a number, as it says.
#[derive(Clone, Copy)]
pub(super) struct Confirmed {
    pub(super) client: ClientId,
    pub(super) epoch: Epoch,
    pub(super) number: MutationNumber,
}

/// The last confirmation of a lane that waits. Those before it say nothing that it does not.
#[derive(Clone, Default)]
pub(super) struct ConfirmSlot(Arc<Mutex<Option<Confirmed>>>);

impl ConfirmSlot {
    /// Says whether the task of the lane has to be told: where one waits already, it will come.
    pub(super) fn put(&self, confirmed: Confirmed) -> bool {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.replace(confirmed).is_none()
    }

    pub(super) fn take(&self) -> Option<Confirmed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The room that a frame takes until it is decided.
pub(super) struct Share {
    waiting: Arc<AtomicUsize>,
    pub(super) bytes: usize,
}

impl Share {
    /// `None` when there is none.
    pub(super) fn take(waiting: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let add = |before: usize| before.checked_add(bytes).filter(|all| *all <= WAITING_BYTES_MAX);
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        Some(Self { waiting: Arc::clone(waiting), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_lane_the_last_confirmation_waits_alone() {
        let slot = ConfirmSlot::default();
        let confirmed = |number| Confirmed {
            client: ClientId::from_bytes([1; 16]),
            epoch: Epoch::from_bytes([1; 16]),
            number: MutationNumber::new(number).unwrap(),
        };
        assert!(slot.put(confirmed(1)), "the task is told");
        assert!(!slot.put(confirmed(2)), "it will come");
        assert_eq!(slot.take().map(|last| last.number.get()), Some(2));
        assert!(slot.take().is_none());
        assert!(slot.put(confirmed(3)));
    }

    #[test]
    fn what_waits_of_a_connection_is_bounded_and_gives_its_room_back() {
        let waiting = Arc::default();
        let most = Share::take(&waiting, WAITING_BYTES_MAX - 1).unwrap();
        assert!(Share::take(&waiting, 2).is_none());
        let last = Share::take(&waiting, 1).unwrap();
        assert!(Share::take(&waiting, 1).is_none());
        drop(most);
        assert_eq!(waiting.load(Ordering::Acquire), 1);
        assert!(Share::take(&waiting, usize::MAX).is_none());
        drop(last);
        assert_eq!(waiting.load(Ordering::Acquire), 0);
    }
}
