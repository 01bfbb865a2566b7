//! Exactly once: numbers, chained hashes, decisions.

use protocol::codec;
use protocol::ids::{ClientId, ContentHash, Lane, MutationNumber, TenantId};
use protocol::limits::WINDOW_MAX;
use protocol::mutation::{Decision, Operation, Reason, Rejection, Verdict};
use server_storage::key::{KeyReader, KeyWriter};

use crate::command::{Confirm, Mutate, Numbered, Outcome, Time, Undecided};
use crate::commit::{self, Commit, Context, Decided, Fault};
use crate::error::EngineError;
use crate::keys::{self, ClientKey, DUE, NodeKind, STATE};
use crate::partition::OpenLane;
use crate::slot::ShardNumber;
use crate::stores::StoreNumber;
use crate::transaction::Transaction;

/// How exactly it is remembered when a client was last heard of. Finer would write more.
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// What is remembered of a client of a user in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Its last decided mutation.
    pub last: MutationNumber,
    /// The chained hash after that one.
    pub last_hash: ContentHash,
    /// Up to where it knows its decisions; only later ones are kept.
    pub confirmed: MutationNumber,
    /// The chained hash after that one.
    pub confirmed_hash: ContentHash,
    /// The day on which it was last heard of.
    seen: i64,
}

impl ClientState {
    /// A client that has sent nothing yet.
    const NEW: Self = Self {
        last: MutationNumber::ZERO,
        last_hash: ContentHash::START,
        confirmed: MutationNumber::ZERO,
        confirmed_hash: ContentHash::START,
        seen: 0,
    };

    pub(crate) fn decode(value: &[u8]) -> Result<Self, EngineError> {
        let number = |number: u64| {
            MutationNumber::new(number).map_err(|_| EngineError::damaged("mutation number"))
        };
        let mut reader = KeyReader::new(value);
        Ok(Self {
            last: number(reader.u64()?)?,
            last_hash: ContentHash::from_bytes(reader.array()?),
            confirmed: number(reader.u64()?)?,
            confirmed_hash: ContentHash::from_bytes(reader.array()?),
            seen: reader.i64()?,
        })
    }

    fn encode(self) -> Vec<u8> {
        let Self { last, last_hash, confirmed, confirmed_hash, seen } = self;
        let value = KeyWriter::new().u64(last.get()).array(last_hash.as_bytes());
        value.u64(confirmed.get()).array(confirmed_hash.as_bytes()).i64(seen).finish()
    }
}

pub(crate) fn decode_decision(value: &[u8]) -> Result<Decision, EngineError> {
    codec::decode(value, usize::MAX).map_err(|_| EngineError::damaged("decision"))
}

/// A client while it is worked on.
struct OpenClient<'a> {
    key: ClientKey<'a>,
    store: StoreNumber,
    before: Option<(ClientState, Vec<u8>)>,
    state: ClientState,
}

impl<'a> OpenClient<'a> {
    fn open(
        tx: &Transaction<'_>,
        store: StoreNumber,
        key: ClientKey<'a>,
    ) -> Result<Self, EngineError> {
        let before = match tx.get(STATE, &key.client(store))? {
            Some(value) => Some((ClientState::decode(&value)?, value)),
            None => None,
        };
        let state = before.as_ref().map_or(ClientState::NEW, |(state, _)| *state);
        Ok(Self { key, store, before, state })
    }

    /// Writes the state, and moves the day on which the client would be forgotten.
    fn close(mut self, tx: &mut Transaction<'_>, heard: Time) {
        let today = day(heard);
        let seen = self.before.as_ref().map(|(before, _)| before.seen);
        self.state.seen = seen.map_or(today, |seen| seen.max(today));
        if seen != Some(self.state.seen) {
            if let Some(seen) = seen {
                tx.remove(DUE, self.key.due(self.store, seen), &[]);
            }
            tx.insert(DUE, self.key.due(self.store, self.state.seen), Vec::new());
        }
        let before = self.before.as_ref().map(|(_, value)| &**value);
        tx.replace(STATE, self.key.client(self.store), before, self.state.encode());
    }

    /// Drops the decisions up to `confirmed`. More than was decided, nobody can know.
    fn confirm(
        &mut self,
        tx: &mut Transaction<'_>,
        confirmed: MutationNumber,
    ) -> Result<(), EngineError> {
        let confirmed = confirmed.min(self.state.last);
        while self.state.confirmed < confirmed {
            let next = self.state.confirmed.next();
            let key = self.key.decision(self.store, next);
            let value = tx.get(STATE, &key)?.ok_or(EngineError::damaged("decision"))?;
            self.state.confirmed_hash = decode_decision(&value)?.hash;
            self.state.confirmed = next;
            tx.remove(STATE, key, &value);
        }
        Ok(())
    }

    /// Whether `number` is to be decided now (`None`), was decided with this hash, or cannot be
    /// decided.
    fn place(
        &self,
        tx: &Transaction<'_>,
        number: MutationNumber,
        previous: ContentHash,
        hash: ContentHash,
    ) -> Result<Option<Result<(), Undecided>>, EngineError> {
        let state = &self.state;
        if number <= state.confirmed {
            return Ok(Some(Err(Undecided::Forked)));
        }
        if number <= state.last {
            let value = tx.get(STATE, &self.key.decision(self.store, number))?;
            let known = decode_decision(&value.ok_or(EngineError::damaged("decision"))?)?;
            let same = known.hash == hash;
            return Ok(Some(if same { Ok(()) } else { Err(Undecided::Forked) }));
        }
        Ok(if number > state.last.next() {
            Some(Err(Undecided::Expected(state.last.next())))
        } else if previous != state.last_hash {
            Some(Err(Undecided::Forked))
        } else if number.get() - state.confirmed.get() > WINDOW_MAX {
            Some(Err(Undecided::WindowFull))
        } else {
            None
        })
    }
}

/// Decides what is to be decided of `mutate`: each mutation is a commit of its own.
pub(crate) fn mutate(
    tx: &mut Transaction<'_>,
    lane: &mut OpenLane,
    shard: ShardNumber,
    context: Context<'_>,
    mutate: &Mutate,
    commits: &mut Vec<Commit>,
) -> Result<Outcome, EngineError> {
    let left = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let stop = |count: usize, why| Outcome::Mutated { left: left(count), stopped: Some(why) };
    let count = mutate.mutations.len();
    if mutate.epoch != lane.epoch {
        return Ok(stop(count, Undecided::Epoch));
    }
    let key = ClientKey { lane: &mutate.lane, user: &mutate.actor.user, client: mutate.client };
    let mut client = OpenClient::open(tx, lane.store, key)?;
    if client.before.is_none() && mutate.client_since < forgotten(tx, shard)? {
        return Ok(stop(count, Undecided::UnknownClient));
    }
    let (mut number, mut previous) = (mutate.first, mutate.previous);
    if number == MutationNumber::ZERO {
        return Ok(stop(count, Undecided::Forked));
    }
    let mut outcome = Outcome::Mutated { left: 0, stopped: None };
    let mut decided = false;
    for (done, Numbered { hash, operations }) in mutate.mutations.iter().enumerate() {
        // Here and not at the end: it makes room in the window.
        if client.state.confirmed < mutate.confirmed.min(client.state.last) {
            client.confirm(tx, mutate.confirmed)?;
            decided = true;
        }
        match client.place(tx, number, previous, *hash)? {
            Some(Err(why)) => {
                outcome = stop(count - done, why);
                break;
            }
            Some(Ok(())) => {}
            None => {
                let operations = operations.as_deref();
                commits.push(decide(tx, lane, context, &mut client, number, *hash, operations)?);
                decided = true;
            }
        }
        previous = *hash;
        if done + 1 < count {
            number = number.next();
        }
    }
    if decided {
        // An identity is not forgotten before the day it claims to be from: another clock dated it.
        let dated = mutate.client_since.min(Time(context.time.0.saturating_add(DAY_MICROS)));
        client.close(tx, context.time.max(dated));
    }
    Ok(outcome)
}

/// Decides one mutation, and keeps the decision.
fn decide(
    tx: &mut Transaction<'_>,
    lane: &mut OpenLane,
    context: Context<'_>,
    client: &mut OpenClient<'_>,
    number: MutationNumber,
    hash: ContentHash,
    operations: Option<&[Operation]>,
) -> Result<Commit, EngineError> {
    let before = lane.seq;
    let cancelled = |operations: &[Operation]| Rejection {
        operation: 0,
        table: operations.first().map_or(protocol::ids::TableId(0), |first| first.table),
        column: None,
        reason: Reason::Cancelled,
    };
    let made = match operations {
        Some(operations) => commit::commit(tx, lane, context, operations),
        None => Err(Fault::Rejected(cancelled(&[]))),
    };
    let (verdict, changes) = match made {
        Ok(changes) => (Verdict::Accepted, changes),
        Err(Fault::Rejected(rejection)) => (Verdict::Rejected(rejection), Vec::new()),
        Err(Fault::Engine(error)) => return Err(error),
    };
    let keys = commit::keys_of(&lane.lane, context, operations.unwrap_or_default());
    let mut rows = Vec::with_capacity(keys.len());
    for key in &keys {
        rows.push((key.clone(), commit::row_now(tx, lane, context, key)?));
    }
    let decision = Decision { hash, verdict, seq: lane.seq, keys };
    let key = client.key.decision(client.store, number);
    tx.insert(STATE, key, codec::encode(&decision));
    assert!(number == client.state.last.next(), "numbers are decided densely (INV-2)");
    (client.state.last, client.state.last_hash) = (number, hash);
    let (user, client) = (client.key.user.clone(), client.key.client);
    let decided = Some(Decided { user, client, number, decision, rows });
    let (epoch, seq) = (lane.epoch, lane.seq);
    Ok(Commit { lane: lane.lane.clone(), epoch, before, seq, changes, decided })
}

pub(crate) fn confirm(
    tx: &mut Transaction<'_>,
    lane: &OpenLane,
    time: Time,
    confirm: &Confirm,
) -> Result<Outcome, EngineError> {
    let key = ClientKey { lane: &confirm.lane, user: &confirm.user, client: confirm.client };
    let mut client = OpenClient::open(tx, lane.store, key)?;
    if confirm.epoch == lane.epoch && client.before.is_some() {
        client.confirm(tx, confirm.confirmed)?;
        client.close(tx, time);
    }
    Ok(Outcome::Done)
}

/// Up to when clients that were silent are forgotten.
pub(crate) fn forgotten(tx: &Transaction<'_>, shard: ShardNumber) -> Result<Time, EngineError> {
    match tx.get(STATE, &keys::of_shard(NodeKind::Forgotten, shard))? {
        Some(value) => Ok(Time(KeyReader::new(&value).i64()?)),
        None => Ok(Time(i64::MIN)),
    }
}

/// The day of a point in time.
pub(crate) fn day(time: Time) -> i64 {
    time.0.div_euclid(DAY_MICROS)
}

/// Removes all that is known of clients that were last heard of before `silent_since`.
pub(crate) fn forget(
    tx: &mut Transaction<'_>,
    shard: ShardNumber,
    store: StoreNumber,
    silent_since: Time,
    count_max: usize,
) -> Result<usize, EngineError> {
    let before = forgotten(tx, shard)?;
    if silent_since > before {
        let key = keys::of_shard(NodeKind::Forgotten, shard);
        let old = (before != Time(i64::MIN)).then(|| KeyWriter::new().i64(before.0).finish());
        let new = KeyWriter::new().i64(silent_since.0).finish();
        tx.replace(STATE, key, old.as_deref(), new);
    }
    // A whole day is over only when the next one has begun.
    let range = keys::due_before(store, keys::DueKind::Client, day(silent_since));
    let due = tx.first(DUE, &range, count_max)?;
    let count = due.len();
    for (due, _) in due {
        let (lane, user, client): (Lane, TenantId, ClientId) = keys::read_client_due(&due)?;
        let key = ClientKey { lane: &lane, user: &user, client };
        let client = OpenClient::open(tx, store, key)?;
        for (key, value) in
            tx.first(STATE, &key.decisions(store, client.state.confirmed), usize::MAX)?
        {
            tx.remove(STATE, key, &value);
        }
        let (_, value) = client.before.ok_or(EngineError::damaged("client"))?;
        tx.remove(STATE, key.client(store), &value);
        tx.remove(DUE, due, &[]);
    }
    Ok(count)
}
