//! Exactly once: which mutations are decided, and how.

use std::collections::HashMap;

use protocol::ids::{Birth, ContentHash, MutationNumber, TableId};
use protocol::limits::COMMIT_BYTES_MAX;
use protocol::mutation::{Decision, Operation, Reason, Rejection, RowKey, Verdict};

use crate::client::{OpenClient, Standing};
use crate::command::{Confirm, Mutate, Numbered, Outcome, Time, Undecided};
use crate::commit::{self, Change, Commit, Context, Decided, Fault};
use crate::error::EngineError;
use crate::keys::ClientKey;
use crate::limits::CLOCKS_DIFFER_MICROS;
use crate::partition::OpenLane;
use crate::rows::Image;
use crate::transaction::Transaction;

/// Decides what is to be decided of `mutate`: each mutation is a commit of its own.
pub(crate) fn mutate(
    tx: &mut Transaction<'_>,
    lane: &mut OpenLane,
    context: Context<'_>,
    mutate: &Mutate,
    commits: &mut Vec<Commit>,
) -> Result<Outcome, EngineError> {
    let count = mutate.mutations.len();
    let stop = |done: usize, why| {
        let left = u32::try_from(count - done).unwrap_or(u32::MAX);
        Outcome::Mutated { left, stopped: Some(why) }
    };
    if mutate.epoch != lane.epoch {
        return Ok(stop(0, Undecided::Epoch));
    }
    // What is confirmed is read, too.
    if tx.is_exhausted() {
        return Ok(stop(0, Undecided::Later));
    }
    let key = ClientKey { lane: &mutate.lane, user: &mutate.actor.user, client: mutate.client };
    let mut client = OpenClient::open(tx, lane.store, key)?;
    if client.may_be_forgotten(tx, mutate.client_since, context.time)? {
        return Ok(stop(0, Undecided::UnknownClient));
    }
    // Before the first is decided: what this command decides, the client cannot know yet.
    let mut changed = client.confirm(tx, mutate.confirmed)?;
    let mut previous = mutate.previous;
    let mut outcome = Outcome::Mutated { left: 0, stopped: None };
    // Counts behind the loop, for the commands that follow: the same command comes again when it is
    // left for later, and would always end where it has read too much of what was decided.
    let mut looked_at = 0;
    for (done, Numbered { hash, operations }) in mutate.mutations.iter().enumerate() {
        let number = MutationNumber::new(mutate.first.get().saturating_add(done as u64));
        let number = number.unwrap_or(MutationNumber::MAX);
        let operations = operations.as_deref();
        // Also before one that was decided: to see that, its decision has to be read.
        if tx.is_exhausted() {
            outcome = stop(done, Undecided::Later);
            break;
        }
        let standing = match client.standing(tx, &mut looked_at, number, previous, *hash)? {
            Standing::Next if context.is_behind(operations.unwrap_or_default()) => {
                Standing::Not(Undecided::SchemaBehind)
            }
            standing => standing,
        };
        match standing {
            Standing::Not(why) => {
                outcome = stop(done, why);
                break;
            }
            Standing::Decided => {}
            Standing::Next => {
                commits.push(decide(tx, lane, context, &mut client, *hash, operations)?);
                changed = true;
            }
        }
        previous = *hash;
    }
    tx.spend(looked_at);
    if changed {
        // An identity is remembered at least until the day it is from: another clock dated it.
        let ahead = Time(context.time.0.saturating_add(CLOCKS_DIFFER_MICROS));
        client.close(tx, context.time.max(mutate.client_since.min(ahead)));
    }
    Ok(outcome)
}

/// Decides the client's next mutation, and keeps the decision.
fn decide(
    tx: &mut Transaction<'_>,
    lane: &mut OpenLane,
    context: Context<'_>,
    client: &mut OpenClient<'_>,
    hash: ContentHash,
    operations: Option<&[Operation]>,
) -> Result<Commit, EngineError> {
    let before = lane.seq;
    let made = match operations {
        Some(operations) => commit::commit(tx, lane, context, operations),
        None => {
            let (operation, table, column) = (0, TableId(0), None);
            let reason = Reason::Cancelled;
            Err(Fault::Rejected(Rejection { operation, table, column, reason }))
        }
    };
    let (verdict, changes) = match made {
        Ok(changes) => (Verdict::Accepted, changes),
        Err(Fault::Rejected(rejection)) => (Verdict::Rejected(rejection), Vec::new()),
        Err(Fault::Engine(error)) => return Err(error),
    };
    let rows = match &verdict {
        // What does not fit a commit does not fit its answer either.
        Verdict::Rejected(Rejection { reason: Reason::CommitTooLarge, .. }) => Vec::new(),
        _ => rows_of(tx, lane, context, operations.unwrap_or_default(), &changes)?,
    };
    let keys = rows.iter().map(|(key, _)| key.clone()).collect();
    let decision = Decision { hash, verdict, seq: lane.seq, keys };
    let number = client.state.last.next();
    client.keep(tx, number, &decision);
    let (user, client) = (client.key.user.clone(), client.key.client);
    let decided = Some(Decided { user, client, number, decision, rows });
    let (epoch, seq) = (lane.epoch, lane.seq);
    Ok(Commit { lane: lane.lane.clone(), epoch, before, seq, changes, decided })
}

type RowNow = (RowKey, Option<(Birth, Image)>);

/// The rows that a mutation names as they are now; of those that it has not changed no
/// more than a commit may carry.
fn rows_of(
    tx: &mut Transaction<'_>,
    lane: &OpenLane,
    context: Context<'_>,
    operations: &[Operation],
    changes: &[Change],
) -> Result<Vec<RowNow>, EngineError> {
    // A row that changed is there already. In this order the last change of a key counts.
    let changed: HashMap<(TableId, &_), &Change> =
        changes.iter().map(|change| ((change.table, &change.key), change)).collect();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for key in commit::keys_of(&lane.lane, context, operations) {
        let row = match changed.get(&(key.table, &key.key)) {
            Some(change) => change.new.clone().map(|image| (change.birth, image)),
            None => {
                let row = commit::row_now(tx, lane, context, &key)?;
                bytes += row.as_ref().map_or(0, |(_, image)| image.row_bytes().len());
                row
            }
        };
        // An answer carries no more.
        if bytes > COMMIT_BYTES_MAX {
            break;
        }
        rows.push((key, row));
    }
    tx.spend(bytes);
    Ok(rows)
}

pub(crate) fn confirm(
    tx: &mut Transaction<'_>,
    lane: &OpenLane,
    time: Time,
    confirm: &Confirm,
) -> Result<Outcome, EngineError> {
    let key = ClientKey { lane: &confirm.lane, user: &confirm.user, client: confirm.client };
    let mut client = OpenClient::open(tx, lane.store, key)?;
    if confirm.epoch == lane.epoch && client.is_known() {
        if tx.is_exhausted() {
            return Ok(Outcome::Later);
        }
        client.confirm(tx, confirm.confirmed)?;
        client.close(tx, time);
    }
    Ok(Outcome::Done)
}
