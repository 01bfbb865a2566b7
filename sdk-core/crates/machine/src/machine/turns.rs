//! Which lanes may send, while it is to be found out which mutation ends connections; and what is stuck.

use protocol::ids::Lane;

use super::{Machine, apply};
use crate::delivery::Delivery;
use crate::instruction::{Instruction, MutationProgress, Write};
use crate::outgoing::Outgoing;
use crate::stored::MutationId;
use crate::time::Millis;

/// Which lanes may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    All,
    Only(Lane),
    Nobody,
}

impl Turn {
    pub(super) fn is_of(&self, lane: &Lane) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only == lane,
            Self::Nobody => false,
        }
    }
}

impl Machine {
    pub(super) fn has_suspect(&self) -> bool {
        self.outgoing.values().any(Outgoing::is_suspect)
    }

    /// What may have ended connections goes alone, so that its end says something. Nobody waits for it
    /// any longer than an end would be put down to it.
    pub(super) fn turn(&self, now: Millis) -> Turn {
        if !self.has_suspect() {
            return Turn::All;
        }
        let is_on_trial = |is_suspect: bool| {
            let mut lanes = self.outgoing.values();
            lanes.any(|it| it.is_suspect() == is_suspect && it.is_on_trial(now))
        };
        if is_on_trial(true) {
            return Turn::Nobody;
        }
        let mut suspects = self.outgoing.iter().filter(|(_, it)| it.is_suspect());
        match suspects.find(|(lane, _)| self.may_post(lane, now)) {
            Some(_) if is_on_trial(false) => Turn::Nobody,
            Some((lane, _)) => Turn::Only(lane.clone()),
            None => Turn::All,
        }
    }

    /// Whether a mutation could not be delivered, and its lane waits for it.
    pub fn is_stuck(&self, id: MutationId) -> bool {
        let is_stuck = |it: &Outgoing| it.writer.stuck == Some(id) || it.cannot_be_read(id);
        self.outgoing.values().any(is_stuck)
    }

    /// The connection has ended, and nobody wanted it to.
    pub(super) fn connection_ended(&mut self, now: Millis, out: &mut Vec<Instruction>) {
        for outgoing in self.outgoing.values_mut() {
            tell_stuck(outgoing.connection_ended(now), outgoing, out);
        }
    }

    pub(super) fn unreadable(&mut self, id: MutationId, out: &mut Vec<Instruction>) {
        for outgoing in self.outgoing.values_mut().filter(|it| it.find(id).is_some()) {
            outgoing.unreadable(id);
            tell_stuck(outgoing.set_stuck(Some(id)), outgoing, out);
        }
    }
}

impl Outgoing {
    /// Whether the first goes alone.
    pub(crate) fn is_suspect(&self) -> bool {
        self.delivery.is_suspect() || self.is_stuck()
    }

    fn is_stuck(&self) -> bool {
        self.writer.stuck.is_some() && self.writer.stuck == self.front()
    }

    /// Until when an end of the connection is taken to be because of what is on its way.
    pub(super) fn on_trial_until(&self) -> Option<Millis> {
        self.delivery.on_trial_until().filter(|_| self.posted > self.writer.settled)
    }

    fn is_on_trial(&self, now: Millis) -> bool {
        self.on_trial_until().is_some_and(|until| now < until)
    }

    /// The connection has ended, which was nobody's wish. Says what is stuck because of that, if it
    /// was not before.
    fn connection_ended(&mut self, now: Millis) -> Option<MutationId> {
        if !self.is_on_trial(now) || !(self.delivery.ended() || self.is_stuck()) {
            return None;
        }
        self.delivery.park(now);
        self.set_stuck(self.front())
    }

    /// A server does not decide what is on its way for now. It is asked as often as it wants, so that
    /// what was stuck goes on as soon as it can. Says what is stuck, as above.
    pub(super) fn put_off(&mut self, wait_ms: u64) -> Option<MutationId> {
        let wait_ms = if self.posted > self.writer.settled { wait_ms } else { 0 };
        let is_stuck = self.delivery.put_off(wait_ms);
        is_stuck.then(|| self.set_stuck(self.front())).flatten()
    }

    /// Says what is stuck, if it was not before.
    fn set_stuck(&mut self, stuck: Option<MutationId>) -> Option<MutationId> {
        let was = std::mem::replace(&mut self.writer.stuck, stuck);
        stuck.filter(|_| was != stuck)
    }

    /// What is stuck was taken back, and goes as that.
    pub(super) fn set_free(&mut self) {
        (self.writer.stuck, self.delivery) = (None, Delivery::default());
        self.posted = self.writer.settled;
    }
}

/// Stores and tells what is stuck, where something has come to be.
pub(super) fn tell_stuck(
    stuck: Option<MutationId>,
    outgoing: &Outgoing,
    out: &mut Vec<Instruction>,
) {
    let Some(id) = stuck else { return };
    apply(vec![Write::PutWriter(Box::new(outgoing.writer.clone()))], out);
    out.push(Instruction::MutationChanged(id, MutationProgress::Stuck));
}
