//! Mutations of a lane over one connection, on their way to the shard's leader: one command at a time
//! and in order, so that what is answered is in order too.

use std::sync::Arc;
use std::time::Duration;

use protocol::frame::v1::{Mutate, RetryAfter, ServerFrame, Undecided as UndecidedFrame, Written};
use protocol::ids::{ClientId, ContentHash, Lane, MutationNumber};
use protocol::limits::MUTATIONS_MAX;
use protocol::mutation::{Action, Mutation, Operation};
use server_engine::{
    Actor, Catalog, Command, Confirm, Mutate as MutateCommand, Numbered, Outcome, ShardNumber,
    Time, Undecided,
};
use server_gateway::SendQueue;
use server_query::SqlError;
use server_replication::ProposeError;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::Live;
use super::waiting::{ConfirmSlot, Confirmed, Share, Upload};

/// How long a command may take. Behind it the client sends again, which changes nothing twice.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// About how many bytes of frames become one command. What waits is decided together, because each
/// entry of the log costs a sync.
const COMMAND_BYTES: usize = 1_024 * 1_024;

/// When a client sends again what could not be decided for now.
const RETRY: Duration = Duration::from_millis(500);

/// The same, where there is nobody to decide it.
const NOBODY_RETRY: Duration = Duration::from_secs(1);

/// The same, where something is wrong here.
const WRONG_RETRY: Duration = Duration::from_secs(2);

/// The task of a lane.
pub(super) struct Deciding {
    live: Arc<Live>,
    actor: Arc<Actor>,
    queue: SendQueue,
    lane: Lane,
    shard: ShardNumber,
    uploads: UnboundedReceiver<Box<Upload>>,
    confirms: ConfirmSlot,
    /// Taken out of `uploads`, and not done yet.
    next: Option<Box<Upload>>,
}

/// Mutations that follow each other, as one command.
struct Batch {
    command: MutateCommand,
    /// The chained hash after the last.
    hash: ContentHash,
    shares: Vec<Share>,
}

/// What came of a batch.
enum Proposed {
    Decided,
    /// Some of it was not, and answered.
    Undecided,
    /// All of it together does not fit an entry.
    TooLarge(Box<Batch>),
}

impl Batch {
    /// Each mutation by itself, and the room that they take together.
    fn apart(self) -> (Vec<Self>, Vec<Share>) {
        let numbers: Vec<_> =
            (0..self.command.mutations.len()).map(|place| self.number(place)).collect();
        let Self { mut command, shares, .. } = self;
        let mut previous = command.previous;
        let mutations = std::mem::take(&mut command.mutations);
        let alone = |(first, mutation): (MutationNumber, Numbered)| {
            let hash = mutation.hash;
            let mutations = vec![mutation];
            let command = MutateCommand { first, previous, mutations, ..command.clone() };
            previous = hash;
            Self { command, hash, shares: Vec::new() }
        };
        (numbers.into_iter().zip(mutations).map(alone).collect(), shares)
    }

    /// The number of the mutation in this place.
    fn number(&self, place: usize) -> MutationNumber {
        let number = self.command.first.get().saturating_add(place as u64);
        MutationNumber::new(number).unwrap_or(MutationNumber::MAX)
    }

    /// Whether a frame goes on where this one ends, and there is room for it.
    fn takes(&self, next: &Mutate, bytes: usize) -> bool {
        let command = &self.command;
        let count = command.mutations.len();
        let all = self.shares.iter().map(|share| share.bytes).sum::<usize>() + bytes;
        next.client == command.client
            && next.epoch == command.epoch
            && Time(next.since) == command.client_since
            && next.first == self.number(count)
            && next.previous == self.hash
            // What is confirmed lets decisions go before a mutation is looked at: those of this very
            // command, were they decided before, which would then seem to be of a copy.
            && next.confirmed < command.first
            && count + next.mutations.len() <= MUTATIONS_MAX
            && all <= COMMAND_BYTES
    }
}

impl Deciding {
    pub(super) fn new(
        live: Arc<Live>,
        actor: Arc<Actor>,
        queue: SendQueue,
        lane: Lane,
        uploads: UnboundedReceiver<Box<Upload>>,
        confirms: ConfirmSlot,
    ) -> Self {
        let shard = live.node.placement().shard(&lane);
        Self { live, actor, queue, lane, shard, uploads, confirms, next: None }
    }

    /// Does what comes, until the connection has ended.
    pub(super) async fn run(mut self) {
        // After its end nobody hears of what is decided, and its client sends it again.
        while !self.uploads.is_closed() {
            let upload = match self.next.take() {
                Some(next) => next,
                None => match self.uploads.recv().await {
                    Some(next) => next,
                    None => return,
                },
            };
            match *upload {
                Upload::Confirm => {
                    if let Some(confirmed) = self.confirms.take() {
                        self.confirm(confirmed).await;
                    }
                }
                Upload::Mutate(mutate, _) if mutate.mutations.is_empty() => {}
                Upload::Mutate(mutate, share) => match self.batch(mutate, share) {
                    Ok(batch) => self.decide(batch).await,
                    Err((client, number)) => {
                        self.retry(client, WRONG_RETRY);
                        self.skip(client, number);
                    }
                },
            }
        }
    }

    /// A frame with all that waits behind it and goes on where it ends. An error is the mutation that
    /// could not be made ready.
    fn batch(&mut self, first: Mutate, share: Share) -> Result<Batch, (ClientId, MutationNumber)> {
        let catalog = self.live.node.catalog(self.shard).unwrap_or_default();
        let mut batch = Batch {
            command: MutateCommand {
                lane: self.lane.clone(),
                actor: (*self.actor).clone(),
                client: first.client,
                client_since: Time(first.since),
                epoch: first.epoch,
                first: first.first,
                previous: first.previous,
                mutations: Vec::new(),
                confirmed: first.confirmed,
            },
            hash: first.previous,
            shares: Vec::new(),
        };
        let failed = (first.client, first.first);
        self.add(&mut batch, &catalog, first, share).map_err(|_| failed)?;
        while let Some(next) = self.waiting() {
            match *next {
                Upload::Mutate(mutate, share) if batch.takes(&mutate, share.bytes) => {
                    self.add(&mut batch, &catalog, mutate, share).map_err(|_| failed)?;
                }
                other => {
                    self.next = Some(Box::new(other));
                    break;
                }
            }
        }
        Ok(batch)
    }

    fn waiting(&mut self) -> Option<Box<Upload>> {
        self.next.take().or_else(|| self.uploads.try_recv().ok())
    }

    fn add(
        &self,
        batch: &mut Batch,
        catalog: &Catalog,
        frame: Mutate,
        share: Share,
    ) -> Result<(), SqlError> {
        let command = &mut batch.command;
        command.confirmed = command.confirmed.max(frame.confirmed);
        for written in frame.mutations {
            // Over what the client has sent: it does not know what is filled in.
            batch.hash = batch.hash.then(written.digest());
            let operations = match written {
                Written::Mutation(Mutation { mut operations }) => {
                    self.fill(catalog, &mut operations)?;
                    Some(operations)
                }
                Written::Cancelled(_) => None,
            };
            command.mutations.push(Numbered { hash: batch.hash, operations });
        }
        batch.shares.push(share);
        Ok(())
    }

    /// Gives new rows the values that the engine cannot make. Of a table that is not known here yet
    /// nothing is decided, either.
    fn fill(&self, catalog: &Catalog, operations: &mut [Operation]) -> Result<(), SqlError> {
        for Operation { table, action, .. } in operations {
            if let Action::Insert(row) = action
                && let Some(table) = catalog.table(*table)
            {
                self.live.sql.fill(&self.actor.user, table.schema(), row)?;
            }
        }
        Ok(())
    }

    /// Has mutations decided: one by one where they are too large together.
    async fn decide(&mut self, batch: Batch) {
        let Proposed::TooLarge(batch) = self.propose(batch).await else { return };
        // Their room is taken until the last is decided.
        let (alone, _shares) = batch.apart();
        for batch in alone {
            if !matches!(self.propose(batch).await, Proposed::Decided) {
                return;
            }
        }
    }

    /// Proposes mutations. What was decided, the lane's feed tells; what was not is answered here.
    async fn propose(&mut self, batch: Batch) -> Proposed {
        let count = batch.command.mutations.len();
        let client = batch.command.client;
        let numbers = move |batch: &Batch, left: u32| {
            batch.number(count.saturating_sub(usize::try_from(left).unwrap_or(usize::MAX)))
        };
        let command = Command::Mutate(batch.command.clone());
        let deadline = Instant::now() + DECIDED_WITHIN;
        let number = match self.live.node.propose(self.shard, &command, deadline).await {
            Ok(Outcome::Mutated { stopped: None, .. }) => return Proposed::Decided,
            Ok(Outcome::Mutated { left, stopped: Some(why) }) => {
                let number = numbers(&batch, left);
                self.stopped(client, number, why);
                // One that comes twice, late, is no reason to drop what comes behind it.
                if why == Undecided::Forked {
                    return Proposed::Undecided;
                }
                number
            }
            Ok(other) => {
                tracing::error!(shard = self.shard.0, ?other, "mutations have another outcome");
                self.retry(client, WRONG_RETRY);
                batch.number(0)
            }
            Err(ProposeError::TooLarge { .. }) if count > 1 => {
                return Proposed::TooLarge(Box::new(batch));
            }
            Err(error) => {
                self.retry(client, self.retry_of(&error));
                batch.number(0)
            }
        };
        self.skip(client, number);
        Proposed::Undecided
    }

    /// Answers mutations from a number on that were not decided.
    fn stopped(&self, client: ClientId, number: MutationNumber, why: Undecided) {
        let lane = self.lane.clone();
        let frame = match why {
            Undecided::Expected(number) => {
                ServerFrame::Expected(UndecidedFrame { lane, client, number })
            }
            Undecided::Forked => ServerFrame::Forked(UndecidedFrame { lane, client, number }),
            Undecided::UnknownClient => {
                ServerFrame::UnknownClient(UndecidedFrame { lane, client, number })
            }
            // The lane's feed says so.
            Undecided::Epoch => return,
            // The node proposes again as long as there is time.
            Undecided::WindowFull | Undecided::Later | Undecided::SchemaBehind => {
                return self.retry(client, RETRY);
            }
        };
        self.queue.push(frame.encode().into());
    }

    fn retry_of(&self, error: &ProposeError) -> Duration {
        match error {
            ProposeError::NotLeader { .. } | ProposeError::Unavailable => NOBODY_RETRY,
            ProposeError::TooLarge { .. } => {
                tracing::error!(shard = self.shard.0, %error, "mutations cannot be decided");
                WRONG_RETRY
            }
            _ => RETRY,
        }
    }

    fn retry(&self, client: ClientId, after: Duration) {
        let retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let frame = RetryAfter { lane: self.lane.clone(), client, retry_after_ms };
        self.queue.push(ServerFrame::RetryAfter(frame).encode().into());
    }

    /// Drops what waits behind a mutation that was not decided: it cannot be, either, and each would
    /// be answered once more. The client sends it again with the other.
    fn skip(&mut self, client: ClientId, number: MutationNumber) {
        while let Some(next) = self.waiting() {
            let is_behind = matches!(
                &*next,
                Upload::Mutate(mutate, _) if mutate.client == client && mutate.first > number
            );
            if !is_behind {
                self.next = Some(next);
                return;
            }
        }
    }

    /// Lets decisions go that a client knows, if any are still kept. Who does not succeed says it
    /// again with the next mutation.
    async fn confirm(&self, confirmed: Confirmed) {
        let Confirmed { client, epoch, number: confirmed } = confirmed;
        let (lane, user) = (self.lane.clone(), self.actor.user.clone());
        let reads = &self.live.reads;
        let known = reads.client(self.shard, lane.clone(), user.clone(), client).await;
        if known.flatten().is_none_or(|known| confirmed.min(known.last) <= known.confirmed) {
            return;
        }
        let command = Command::Confirm(Confirm { lane, user, client, epoch, confirmed });
        let deadline = Instant::now() + DECIDED_WITHIN;
        if let Err(error) = self.live.node.propose(self.shard, &command, deadline).await {
            tracing::debug!(shard = self.shard.0, %error, "what is confirmed is kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::Epoch;
    use server_engine::Role;

    use super::*;

    const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
    const EPOCH: Epoch = Epoch::from_bytes([1; 16]);

    fn number(number: u64) -> MutationNumber {
        MutationNumber::new(number).unwrap()
    }

    fn hash(number: u8) -> ContentHash {
        ContentHash::from_bytes([number; 16])
    }

    /// The mutations 5 to 7, without what they do.
    fn batch() -> Batch {
        let mutations =
            (5..=7).map(|number| Numbered { hash: hash(number), operations: None }).collect();
        let command = MutateCommand {
            lane: "user/ann".parse().unwrap(),
            actor: Actor { user: "ann".parse().unwrap(), role: Role::User },
            client: CLIENT,
            client_since: Time(0),
            epoch: EPOCH,
            first: number(5),
            previous: hash(4),
            mutations,
            confirmed: number(4),
        };
        Batch { command, hash: hash(7), shares: Vec::new() }
    }

    fn next(confirmed: u64) -> Mutate {
        Mutate {
            lane: "user/ann".parse().unwrap(),
            client: CLIENT,
            since: 0,
            epoch: EPOCH,
            first: number(8),
            previous: hash(7),
            mutations: Vec::new(),
            confirmed: number(confirmed),
        }
    }

    #[test]
    fn a_frame_that_confirms_what_a_batch_has_is_none_of_it() {
        assert!(batch().takes(&next(4), 1));
        assert!(!batch().takes(&next(5), 1));
        assert!(!batch().takes(&next(7), 1));
    }

    #[test]
    fn mutations_that_are_too_large_together_follow_each_other_one_by_one() {
        let (alone, _) = batch().apart();
        let told: Vec<_> = alone
            .iter()
            .map(|Batch { command, hash, .. }| {
                let own = command.mutations.iter().map(|mutation| mutation.hash).collect();
                (command.first, command.previous, own, *hash)
            })
            .collect();
        let expected = (5..=7).map(|place: u8| {
            (number(place.into()), hash(place - 1), vec![hash(place)], hash(place))
        });
        assert_eq!(told, expected.collect::<Vec<_>>());
    }
}
