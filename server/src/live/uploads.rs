//! What the clients of a connection write: in which lanes they may, and how it waits to be decided.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{Goodbye, Mutate, RetryAfter, ServerFrame};
use protocol::ids::{ClientId, Epoch, Lane, MutationNumber};
use server_engine::Actor;
use server_gateway::SendQueue;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::Live;
use super::deciding::Deciding;
use super::waiting::{ConfirmSlot, Confirmed, Share, Upload};

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
