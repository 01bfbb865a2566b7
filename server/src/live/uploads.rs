//! What the clients of a connection write: in which lanes they may, and how it waits to be decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Goodbye, Mutate, RetryAfter, ServerFrame};
use protocol::ids::{ClientId, Epoch, Lane, MutationNumber};
use server_engine::Actor;
use server_gateway::SendQueue;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::Live;
use super::deciding::Deciding;

/// How many bytes of frames may wait of a connection: as many as of a few lanes that each have a
/// large frame. One more is not taken, and its client sends it again.
const WAITING_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// When a client sends again what found no room.
const FULL_RETRY_MS: u64 = 500;

/// When it opens a lane again that the connection had no room for.
const LANES_RETRY_MS: u64 = 5_000;

/// The lanes in which a connection writes.
pub(super) struct Uploads {
    live: Arc<Live>,
    actor: Arc<Actor>,
    queue: SendQueue,
    lanes: Mutex<Lanes>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Lanes {
    open: BTreeMap<Lane, Open>,
    /// There was no room for one more, and its client was told so: what it sent before it heard that
    /// is no mistake of its own.
    was_full: bool,
}

/// A lane that is open.
struct Open {
    client: ClientId,
    /// To the task that has it decided, once there was something to do.
    task: Option<UnboundedSender<Box<Upload>>>,
    confirms: ConfirmSlot,
}

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
    fn put(&self, confirmed: Confirmed) -> bool {
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
    fn take(waiting: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
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

impl Uploads {
    pub(super) fn new(live: Arc<Live>, actor: Actor, queue: SendQueue) -> Self {
        let (actor, lanes, waiting) = (Arc::new(actor), Mutex::default(), Arc::default());
        Self { live, actor, queue, lanes, waiting }
    }

    /// Whether the caller may write in a lane at all.
    pub(super) fn may_enter(&self, lane: &Lane) -> Result<(), Goodbye> {
        match lane {
            Lane::User(user) if *user != self.actor.user => Err(Goodbye {
                code: ErrorCode::Forbidden,
                message: "this lane is another user's: write in your own, or in a shared one"
                    .to_owned(),
                retry_after_ms: None,
            }),
            Lane::User(_) | Lane::Shared(_) => Ok(()),
        }
    }

    /// The worker has opened a lane for a client, or had no room for it.
    pub(super) fn opened(&self, lane: Lane, client: ClientId, is_open: bool) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if is_open {
            let fresh = || Open { client, task: None, confirms: ConfirmSlot::default() };
            let open = lanes.open.entry(lane).or_insert_with(fresh);
            open.client = client;
        } else {
            lanes.was_full = true;
        }
    }

    /// The client of an open lane knows its decisions up to `confirmed`. One that is idle would say
    /// so with no mutation, and they would be kept for ever.
    pub(super) fn confirm(
        &self,
        lane: &Lane,
        client: ClientId,
        epoch: Epoch,
        confirmed: MutationNumber,
    ) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if confirmed > MutationNumber::ZERO
            && let Some(open) = lanes.open.get_mut(lane).filter(|open| open.client == client)
        {
            let confirmed = Confirmed { client, epoch, number: confirmed };
            if open.confirms.put(confirmed) {
                self.send(lane, open, Upload::Confirm);
            }
        }
    }

    /// Takes what a client has written, and does not wait until it is decided.
    ///
    /// # Errors
    /// The end of the connection, when its client has not opened the lane: nobody would tell it what
    /// was decided.
    pub(super) fn mutate(&self, mutate: Mutate, bytes: usize) -> Result<(), Goodbye> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let was_full = lanes.was_full;
        let (lane, client) = (mutate.lane.clone(), mutate.client);
        match lanes.open.get_mut(&lane).filter(|open| open.client == client) {
            Some(open) => match Share::take(&self.waiting, bytes) {
                Some(share) => self.send(&lane, open, Upload::Mutate(mutate, share)),
                None => self.retry(lane, client, FULL_RETRY_MS),
            },
            None if was_full => self.retry(lane, client, LANES_RETRY_MS),
            None => {
                return Err(Goodbye {
                    code: ErrorCode::InvalidRequest,
                    message: "mutate is for a lane that is open: send open_lane first, with the \
                              same client"
                        .to_owned(),
                    retry_after_ms: None,
                });
            }
        }
        Ok(())
    }

    fn send(&self, lane: &Lane, open: &mut Open, upload: Upload) {
        let task = open.task.get_or_insert_with(|| {
            let (task, uploads) = mpsc::unbounded_channel();
            let (live, actor) = (Arc::clone(&self.live), Arc::clone(&self.actor));
            let (queue, confirms) = (self.queue.clone(), open.confirms.clone());
            let deciding = Deciding::new(live, actor, queue, lane.clone(), uploads, confirms);
            tokio::spawn(deciding.run());
            task
        });
        if task.send(Box::new(upload)).is_err() {
            ended_early(&self.queue);
        }
    }

    fn retry(&self, lane: Lane, client: ClientId, retry_after_ms: u64) {
        let frame = ServerFrame::RetryAfter(RetryAfter { lane, client, retry_after_ms });
        self.queue.push(frame.encode().into());
    }
}

/// The task of a lane is gone before its connection, which is a defect. The client comes back, and
/// what it has written goes again over the next connection.
fn ended_early(queue: &SendQueue) {
    tracing::error!("a task that decides mutations has ended: this is a defect, report it");
    queue.close(Goodbye {
        code: ErrorCode::Internal,
        message: "the server has made a mistake, which its log has: come back".to_owned(),
        retry_after_ms: None,
    });
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
