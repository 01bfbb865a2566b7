//! Who waits for the server: for an answer, or for a position.

use std::collections::HashMap;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::Position;
use sdk_machine::{Machine, SqlAnswer, StatementId};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::platform::Instant;

const NO_ANSWER: &str = "no answer came in time: a read can be repeated, a write may have happened, \
                         so repeat it under the same request id";

const NOT_THERE: &str = "the replica has not come so far in time: look at the status of the client";

/// Everybody who waits.
#[derive(Default)]
pub(super) struct Waiting {
    statements: HashMap<StatementId, (Instant, oneshot::Sender<Result<SqlAnswer, Error>>)>,
    positions: Vec<ForPositions>,
}

struct ForPositions {
    positions: Vec<Position>,
    until: Instant,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Waiting {
    pub(super) fn add_statement(
        &mut self,
        id: StatementId,
        until: Instant,
        done: oneshot::Sender<Result<SqlAnswer, Error>>,
    ) {
        self.statements.insert(id, (until, done));
    }

    pub(super) fn add_positions(
        &mut self,
        positions: Vec<Position>,
        until: Instant,
        done: oneshot::Sender<Result<(), Error>>,
    ) {
        self.positions.push(ForPositions { positions, until, done });
    }

    /// A statement was answered.
    pub(super) fn ended(&mut self, id: StatementId, answer: Result<SqlAnswer, Error>) {
        if let Some((_, done)) = self.statements.remove(&id) {
            // Whoever asked may have gone.
            let _ = done.send(answer);
        }
    }

    /// Tells those whose time is over. Gives the statements that nobody waits for any more.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<StatementId> {
        let over =
            |(until, done): &(Instant, oneshot::Sender<_>)| *until <= now || done.is_closed();
        let ids: Vec<StatementId> =
            self.statements.iter().filter(|(_, one)| over(one)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.ended(*id, Err(Error::Timeout(NO_ANSWER)));
        }
        for waits in self.positions.extract_if(.., |waits| waits.until <= now) {
            let _ = waits.done.send(Err(Error::Timeout(NOT_THERE)));
        }
        ids
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let statements = self.statements.values().map(|(until, _)| *until);
        statements.chain(self.positions.iter().map(|waits| waits.until)).min()
    }

    /// Tells those whose positions are reached, or will never be.
    pub(super) fn look_at(&mut self, machine: &Machine) {
        let judge = |waits: &ForPositions| -> Option<Result<(), Error>> {
            let mut is_there = true;
            for position in &waits.positions {
                match machine.lane(&position.lane) {
                    Some(lane) => {
                        is_there &= lane.epoch == position.epoch && lane.seq >= position.seq;
                    }
                    None if !may_come(machine, position) => {
                        let message = format!(
                            "nothing of {} is subscribed to, so there is nothing to wait for: \
                             subscribe to a table of it first",
                            position.lane
                        );
                        return Some(Err(Error::Asked { code: ErrorCode::NotFound, message }));
                    }
                    None => is_there = false,
                }
            }
            is_there.then_some(Ok(()))
        };
        let mut left = Vec::new();
        for waits in std::mem::take(&mut self.positions) {
            match judge(&waits) {
                Some(answer) => {
                    let _ = waits.done.send(answer);
                }
                None if waits.done.is_closed() => {}
                None => left.push(waits),
            }
        }
        self.positions = left;
    }

    /// Ends all of them: who waits hears that the client is closed.
    pub(super) fn close(&mut self) {
        self.statements.clear();
        self.positions.clear();
    }
}

/// Whether a lane may still come: something of it, or something that the server has not answered,
/// is subscribed to.
fn may_come(machine: &Machine, position: &Position) -> bool {
    machine.subscriptions().any(|stored| stored.lane().is_none_or(|lane| *lane == position.lane))
}
