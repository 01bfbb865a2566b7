//! Waiting commands become one entry, because each entry costs a sync.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use openraft::error::{ClientWriteError, RaftError};
use server_engine::{ENTRY_BYTES_MAX, EncodedCommand, Entry, Outcome, Time, Undecided};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::ProposeError;
use crate::log::Cohort;
use crate::types::{Payload, Raft};

/// Most commands of an entry.
const COMMANDS_MAX: usize = 512;

/// Most bytes of an entry, unless one command alone is larger.
const PACKED_BYTES_MAX: usize = 256 * 1024;

/// Most commands that wait for an entry. What comes then is refused at once.
const WAITING_MAX: usize = 8 * COMMANDS_MAX;

/// Most bytes that they have together.
const WAITING_BYTES_MAX: usize = 2 * ENTRY_BYTES_MAX;

/// Room for an entry's head and for what a transport puts around it.
const HEAD_BYTES: usize = 64;

/// Where the time of an entry comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// Takes commands for one group.
#[derive(Clone, Debug)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Proposal>,
    bytes: Arc<Semaphore>,
}

#[derive(Debug)]
struct Proposal {
    command: EncodedCommand,
    progress: Arc<Progress>,
    reply: oneshot::Sender<Result<Outcome, ProposeError>>,
    /// Its share of what may wait.
    _room: OwnedSemaphorePermit,
}

/// How far a proposal is, by which its author knows what an answer that does not come means.
#[derive(Debug, Default)]
struct Progress(AtomicU8);

impl Progress {
    const WAITS: u8 = 0;
    const PROPOSED: u8 = 1;
    const WITHDRAWN: u8 = 2;

    /// Moves on from waiting; `false` when the other side was faster.
    fn leave(&self, to: u8) -> bool {
        let from = Self::WAITS;
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_proposed(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::PROPOSED
    }
}

impl Proposer {
    /// Starts the task that proposes. It ends when the group does, or all proposers are dropped.
    ///
    /// `installs` tells when this node got the rows of another one. openraft then forgets whom it
    /// owes an answer, so nobody may wait for it any more.
    pub(crate) fn start(raft: Raft, clock: Arc<dyn Clock>, installs: watch::Receiver<()>) -> Self {
        let (queue, commands) = mpsc::channel(WAITING_MAX);
        let (waiting, cohort) = (VecDeque::new(), Cohort::default());
        tokio::spawn(Packing { raft, commands, waiting, cohort, clock, installs }.run());
        Self { queue, bytes: Arc::new(Semaphore::new(WAITING_BYTES_MAX)) }
    }

    /// Proposes a command, and waits for what comes of it.
    pub(crate) async fn propose(
        &self,
        command: &EncodedCommand,
        deadline: Instant,
    ) -> Result<Outcome, ProposeError> {
        let bytes = command.len() + HEAD_BYTES;
        if bytes > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, bytes_max: ENTRY_BYTES_MAX });
        }
        let share = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bytes).try_acquire_many_owned(share);
        let room = room.map_err(|_| ProposeError::Overloaded)?;
        let progress = Arc::<Progress>::default();
        let (reply, answer) = oneshot::channel();
        let command = command.clone();
        let proposal = Proposal { command, progress: Arc::clone(&progress), reply, _room: room };
        self.queue.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Unavailable,
        })?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // The group has ended.
            Ok(Err(_)) if progress.is_proposed() => Err(ProposeError::Unknown),
            Ok(Err(_)) => Err(ProposeError::Unavailable),
            Err(_) if progress.leave(Progress::WITHDRAWN) => Err(ProposeError::Expired),
            Err(_) => Err(ProposeError::Unknown),
        }
    }
}

/// The task behind a [`Proposer`].
struct Packing {
    raft: Raft,
    commands: mpsc::Receiver<Proposal>,
    waiting: VecDeque<Proposal>,
    cohort: Cohort,
    clock: Arc<dyn Clock>,
    installs: watch::Receiver<()>,
}

impl Packing {
    async fn run(mut self) {
        while self.gather().await {
            let start = Instant::now();
            let packed = pack(&mut self.waiting);
            if packed.is_empty() {
                continue;
            }
            let answered = packed.len();
            if !self.write(packed).await {
                return;
            }
            self.take_waiting();
            self.cohort.done(answered, self.waiting.len(), start.elapsed());
        }
    }

    /// Waits for a command, and as long as it is worth for more. `false` when none will come.
    async fn gather(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.commands.recv().await {
                Some(proposal) => self.waiting.push_back(proposal),
                None => return false,
            }
        }
        let start = Instant::now();
        loop {
            self.take_waiting();
            if start.elapsed() >= self.cohort.patience(self.waiting.len()) {
                return true;
            }
            // A timer of tokio is coarser than the whole wait.
            tokio::task::yield_now().await;
        }
    }

    fn take_waiting(&mut self) {
        while self.waiting.len() < COMMANDS_MAX
            && let Ok(proposal) = self.commands.try_recv()
        {
            self.waiting.push_back(proposal);
        }
    }

    /// Writes one entry. `false` when the group has ended.
    async fn write(&mut self, packed: Vec<Proposal>) -> bool {
        let entry = Entry::pack(self.clock.now(), packed.iter().map(|proposal| &proposal.command));
        let payload = Payload::new(entry);
        let logged = Arc::clone(&payload.logged);
        self.installs.borrow_and_update();
        let written = tokio::select! {
            written = self.raft.client_write(payload) => written,
            installed = self.installs.changed() => {
                reply_all(packed, &ProposeError::Unknown);
                // An error: what applies entries has ended, and the group with it.
                return installed.is_ok();
            }
        };
        match written {
            Ok(response) => {
                self.answer(packed, response.data);
                true
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                // Refused, or taken out of this log again. But once it was in it, another node may
                // have it, and may lead later.
                let error = match logged.load(Ordering::Acquire) {
                    true => ProposeError::Unknown,
                    false => ProposeError::NotLeader { leader: forward.leader_id },
                };
                reply_all(packed, &error);
                true
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => {
                reply_all(packed, &ProposeError::Unknown);
                true
            }
            // Dropping the proposals tells their authors.
            Err(RaftError::Fatal(_)) => false,
        }
    }

    fn answer(&mut self, packed: Vec<Proposal>, outcomes: Vec<Outcome>) {
        let mut again = Vec::new();
        for (proposal, outcome) in packed.into_iter().zip(outcomes) {
            match stopped(&outcome) {
                Some(Undecided::Later) if !proposal.reply.is_closed() => again.push(proposal),
                Some(Undecided::SchemaBehind) => {
                    // Nobody listens any more: nothing is lost by that.
                    let _ = proposal.reply.send(Err(ProposeError::SchemaBehind));
                }
                _ => {
                    let _ = proposal.reply.send(Ok(outcome));
                }
            }
        }
        // Before all others, and in their order.
        for proposal in again.into_iter().rev() {
            proposal.progress.0.store(Progress::WAITS, Ordering::Release);
            self.waiting.push_front(proposal);
        }
    }
}

/// Why an outcome is none, and the command has to be proposed again.
fn stopped(outcome: &Outcome) -> Option<Undecided> {
    match outcome {
        Outcome::Later => Some(Undecided::Later),
        Outcome::SchemaBehind => Some(Undecided::SchemaBehind),
        Outcome::Mutated { stopped, .. } => *stopped,
        _ => None,
    }
}

fn reply_all(packed: Vec<Proposal>, error: &ProposeError) {
    for proposal in packed {
        let _ = proposal.reply.send(Err(error.clone()));
    }
}

/// Takes what goes into one entry, and passes over what was withdrawn.
fn pack(waiting: &mut VecDeque<Proposal>) -> Vec<Proposal> {
    let mut packed = Vec::new();
    let mut bytes = 0;
    while let Some(next) = waiting.front()
        && packed.len() < COMMANDS_MAX
    {
        bytes += next.command.len();
        if bytes > PACKED_BYTES_MAX && !packed.is_empty() {
            break;
        }
        let Some(next) = waiting.pop_front() else { break };
        if next.progress.leave(Progress::PROPOSED) {
            packed.push(next);
        } else {
            bytes -= next.command.len();
        }
    }
    packed
}
