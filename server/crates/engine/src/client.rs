//! What is remembered of a client: its numbers and hashes, and when it was last heard of.

use protocol::codec;
use protocol::ids::{ContentHash, MutationNumber};
use protocol::limits::WINDOW_MAX;
use protocol::mutation::Decision;
use server_storage::key::{KeyReader, KeyWriter};

use crate::command::{Time, Undecided};
use crate::error::EngineError;
use crate::keys::{self, ClientKey, DUE, STATE};
use crate::limits::CLOCKS_DIFFER_MICROS;
use crate::slot::StoreNumber;
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

/// A decision as it is stored: its hash, by which repeated mutations are known, then all of it.
fn encode_decision(decision: &Decision) -> Vec<u8> {
    let value = KeyWriter::new().array(decision.hash.as_bytes());
    value.parts(&codec::encode(decision)).finish()
}

fn decision_hash(value: &[u8]) -> Result<ContentHash, EngineError> {
    Ok(ContentHash::from_bytes(KeyReader::new(value).array()?))
}

pub(crate) fn decode_decision(value: &[u8]) -> Result<Decision, EngineError> {
    let mut reader = KeyReader::new(value);
    reader.array()?;
    codec::decode(reader.rest(), usize::MAX).map_err(|_| EngineError::damaged("decision"))
}

/// Where a mutation stands before it is looked at.
pub(crate) enum Standing {
    /// It is the next one.
    Next,
    /// It was decided, with this content.
    Decided,
    /// It cannot be decided.
    Not(Undecided),
}

/// A client while it is worked on.
pub(crate) struct OpenClient<'a> {
    pub(crate) key: ClientKey<'a>,
    pub(crate) state: ClientState,
    store: StoreNumber,
    before: Option<(ClientState, Vec<u8>)>,
}

impl<'a> OpenClient<'a> {
    pub(crate) fn open(
        tx: &Transaction<'_>,
        store: StoreNumber,
        key: ClientKey<'a>,
    ) -> Result<Self, EngineError> {
        let before = match tx.get(STATE, &key.client(store))? {
            Some(value) => Some((ClientState::decode(&value)?, value)),
            None => None,
        };
        let state = before.as_ref().map_or(ClientState::NEW, |(state, _)| *state);
        Ok(Self { key, state, store, before })
    }

    pub(crate) fn is_known(&self) -> bool {
        self.before.is_some()
    }

    /// Whether a client that is not known may have been, before it was forgotten. Then nobody can
    /// say what it has had decided.
    ///
    /// It was last heard of no earlier than the day from which its identity is, and that day was
    /// not far ahead then; an identity that claims to be is not taken.
    pub(crate) fn may_be_forgotten(
        &self,
        tx: &Transaction<'_>,
        since: Time,
        now: Time,
    ) -> Result<bool, EngineError> {
        if self.is_known() {
            return Ok(false);
        }
        let forgotten = forgotten(tx, self.store, self.key)?;
        let is_ahead = since.0 > now.0.saturating_add(CLOCKS_DIFFER_MICROS);
        Ok(is_ahead || forgotten.is_some_and(|forgotten| day(since) <= forgotten))
    }

    /// Writes the state, and moves the day on which the client would be forgotten.
    pub(crate) fn close(mut self, tx: &mut Transaction<'_>, heard: Time) {
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

    /// Drops the decisions up to `confirmed`. More than was decided, nobody can know. Whether there
    /// were any.
    pub(crate) fn confirm(
        &mut self,
        tx: &mut Transaction<'_>,
        confirmed: MutationNumber,
    ) -> Result<bool, EngineError> {
        let (before, confirmed) = (self.state.confirmed, confirmed.min(self.state.last));
        while self.state.confirmed < confirmed {
            let next = self.state.confirmed.next();
            self.state.confirmed_hash = self.remove_decision(tx, next)?;
            self.state.confirmed = next;
        }
        Ok(self.state.confirmed > before)
    }

    fn remove_decision(
        &self,
        tx: &mut Transaction<'_>,
        number: MutationNumber,
    ) -> Result<ContentHash, EngineError> {
        let key = self.key.decision(self.store, number);
        let value = tx.get(STATE, &key)?.ok_or(EngineError::damaged("decision"))?;
        let hash = decision_hash(&value)?;
        tx.spend(value.len());
        tx.remove(STATE, key, &value);
        Ok(hash)
    }

    /// Keeps the decision about the next mutation.
    pub(crate) fn keep(
        &mut self,
        tx: &mut Transaction<'_>,
        number: MutationNumber,
        decision: &Decision,
    ) {
        assert!(number == self.state.last.next(), "numbers are decided densely (INV-2)");
        tx.insert(STATE, self.key.decision(self.store, number), encode_decision(decision));
        (self.state.last, self.state.last_hash) = (number, decision.hash);
    }

    /// Where the mutation `number` stands. Adds to `looked_at` how many bytes of decisions were read
    /// for that.
    pub(crate) fn standing(
        &self,
        tx: &Transaction<'_>,
        looked_at: &mut usize,
        number: MutationNumber,
        previous: ContentHash,
        hash: ContentHash,
    ) -> Result<Standing, EngineError> {
        let state = &self.state;
        if number <= state.confirmed {
            return Ok(Standing::Not(Undecided::Forked));
        }
        if number <= state.last {
            let value = tx.get(STATE, &self.key.decision(self.store, number))?;
            let value = value.ok_or(EngineError::damaged("decision"))?;
            *looked_at = looked_at.saturating_add(value.len());
            let known = decision_hash(&value)?;
            let forked = Standing::Not(Undecided::Forked);
            return Ok(if known == hash { Standing::Decided } else { forked });
        }
        Ok(if number > state.last.next() {
            Standing::Not(Undecided::Expected(state.last.next()))
        } else if previous != state.last_hash {
            Standing::Not(Undecided::Forked)
        } else if number.get() - state.confirmed.get() > WINDOW_MAX {
            Standing::Not(Undecided::WindowFull)
        } else {
            Standing::Next
        })
    }

    /// Removes all that is known of the client, and remembers that there was one.
    fn forget(mut self, tx: &mut Transaction<'_>) -> Result<(), EngineError> {
        let (before, value) = self.before.take().ok_or(EngineError::damaged("client"))?;
        while self.state.confirmed < self.state.last {
            self.state.confirmed = self.state.confirmed.next();
            self.remove_decision(tx, self.state.confirmed)?;
        }
        tx.remove(STATE, self.key.client(self.store), &value);
        tx.remove(DUE, self.key.due(self.store, before.seen), &[]);
        let known = forgotten(tx, self.store, self.key)?;
        if known.is_none_or(|known| known < before.seen) {
            let old = known.map(day_bytes);
            let key = self.key.forgotten(self.store);
            tx.replace(STATE, key, old.as_deref(), day_bytes(before.seen));
        }
        Ok(())
    }
}

/// The last day on which a client of this user was heard of in this lane that was forgotten since.
fn forgotten(
    tx: &Transaction<'_>,
    store: StoreNumber,
    key: ClientKey<'_>,
) -> Result<Option<i64>, EngineError> {
    let Some(value) = tx.get(STATE, &key.forgotten(store))? else { return Ok(None) };
    Ok(Some(KeyReader::new(&value).i64()?))
}

fn day_bytes(day: i64) -> Vec<u8> {
    KeyWriter::new().i64(day).finish()
}

/// The day of a point in time.
pub(crate) fn day(time: Time) -> i64 {
    time.0.div_euclid(DAY_MICROS)
}

/// Forgets clients that were last heard of before the day of `silent_since`.
pub(crate) fn forget(
    tx: &mut Transaction<'_>,
    store: StoreNumber,
    silent_since: Time,
    count_max: usize,
) -> Result<usize, EngineError> {
    let range = keys::due_before(store, keys::DueKind::Client, day(silent_since));
    let due = tx.first(DUE, &range, count_max)?;
    for (due, _) in &due {
        let (lane, user, client) = keys::read_client_due(due)?;
        let key = ClientKey { lane: &lane, user: &user, client };
        OpenClient::open(tx, store, key)?.forget(tx)?;
    }
    Ok(due.len())
}
