//! Whether what is held of a subscription is what the server has: asked, compared, and mended.
//!
//! The server answers for a part of the rows as of the frontier that the answer brings, and so does
//! the replica right after the step that has it. So both speak of the same moment, whatever is
//! written meanwhile.

use protocol::digest::RowsDigest;
use protocol::frame::v1::{AskDigest, ClientFrame, Digest};
use protocol::ids::Birth;

use super::{Machine, Phase, apply};
use crate::check::{Check, Comparison, Mismatch, Verdict};
use crate::instruction::Instruction;
use crate::stored::SubscriptionId;
use crate::time::{Millis, Moment};
use crate::violation::ProtocolViolation;

impl Machine {
    /// The app wants to know.
    pub(super) fn verify(&mut self, id: SubscriptionId) {
        if self.subscriptions.get(&id).is_some_and(|it| it.refusal.is_none()) {
            self.checks.entry(id).or_default().is_wanted = true;
        }
    }

    pub(super) fn digest(
        &mut self,
        digest: &Digest,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let query = self.connection.query(digest.query)?.clone();
        let feed = self.connection.feed(&query.lane)?;
        let position = self.live_position(&query.lane, feed, digest.seq)?;
        let Digest { floor, below, rows, sum, .. } = *digest;
        let wanted = query.subscription.and_then(|id| self.subscriptions.get(&id));
        if wanted.is_some_and(|it| it.stored.floor.is_none_or(|loaded| floor < loaded)) {
            return Err(ProtocolViolation::Digest(digest.query));
        }
        let mut writes = Vec::new();
        self.move_lane(&query.lane, position, &mut writes);
        apply(writes, out);
        let Some(id) = query.subscription else { return Ok(()) };
        if self.checks.get(&id).is_some_and(|check| check.asked == Some(below)) {
            let theirs = RowsDigest { rows, sum };
            out.push(Instruction::Compare(Comparison { subscription: id, floor, below, theirs }));
        }
        Ok(())
    }

    /// The replica has said how it has the rows, as of the frontier that came with the server's.
    pub(super) fn compared(
        &mut self,
        of: &Comparison,
        ours: RowsDigest,
        now: Millis,
        out: &mut Vec<Instruction>,
    ) {
        let id = of.subscription;
        let (Some(check), Some(subscription)) =
            (self.checks.get_mut(&id), self.subscriptions.get(&id))
        else {
            return;
        };
        if check.asked != Some(of.below) {
            return;
        }
        check.asked = None;
        if ours != of.theirs {
            return self.differs(of, ours, now, out);
        }
        check.rows = check.rows.saturating_add(ours.rows);
        let stored = &subscription.stored;
        if check.is_wanted {
            // It begins once more.
        } else if stored.floor.is_none_or(|loaded| of.floor > loaded) {
            self.ask_digest(id, Some(Birth(of.floor.0)), out);
        } else {
            let rows = check.rows;
            check.is_equal();
            out.push(Instruction::Verified(id, Verdict::Equal { rows }));
        }
    }

    fn differs(
        &mut self,
        of: &Comparison,
        ours: RowsDigest,
        now: Millis,
        out: &mut Vec<Instruction>,
    ) {
        let id = of.subscription;
        let stored = self.subscriptions.get(&id).map(|it| &it.stored);
        let Some((stored, known)) = stored.and_then(|it| Some((it, it.known.as_ref()?))) else {
            return;
        };
        let mismatch = Mismatch {
            subscription: id,
            table: known.table.name.clone(),
            sql: stored.texts.first().map_or_else(String::new, |text| text.sql.clone()),
            floor: of.floor,
            below: of.below,
            ours,
            theirs: of.theirs,
        };
        out.push(Instruction::Verified(id, Verdict::Different(mismatch)));
        if self.checks.entry(id).or_default().is_different(now) {
            self.load_anew(id, out);
        }
    }

    /// Does what is due, where it can be done.
    pub(super) fn look_at_checks(&mut self, moment: Moment, out: &mut Vec<Instruction>) {
        if self.phase() != Phase::Open {
            return;
        }
        let now = moment.now;
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            let due = |every: u64| now.after(spread(moment.chance, id, every));
            let every = self.verify_every_ms;
            let check = self
                .checks
                .entry(id)
                .or_insert_with(|| Check { due: every.map(due), ..Check::default() });
            if check.due.is_some_and(|due| due <= now) {
                check.is_wanted = true;
                check.due = every.map(|every| now.after(every));
            }
            if check.repair_at.is_some_and(|at| at <= now) {
                self.load_anew(id, out);
            } else if check.is_wanted && check.asked.is_none() {
                self.begin_check(id, out);
            }
        }
    }

    /// Compares a subscription, if it is live and has all that it wants.
    fn begin_check(&mut self, id: SubscriptionId, out: &mut Vec<Instruction>) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let (stored, Some(check)) = (&subscription.stored, self.checks.get_mut(&id)) else {
            return;
        };
        let Some(known) = stored.known.as_ref().filter(|_| stored.is_complete()) else { return };
        if stored.resetting
            || !self.connection.is_answered(id)
            || !self.connection.is_live(&known.lane)
        {
            return;
        }
        (check.is_wanted, check.rows) = (false, 0);
        if known.table.ttl_seconds.is_some() {
            out.push(Instruction::Verified(id, Verdict::Expiring));
        } else {
            self.ask_digest(id, None, out);
        }
    }

    fn ask_digest(&mut self, id: SubscriptionId, below: Option<Birth>, out: &mut Vec<Instruction>) {
        let (Some(asked), Some(check)) = (self.connection.asked(id), self.checks.get_mut(&id))
        else {
            return;
        };
        check.asked = Some(below);
        self.send(ClientFrame::Digest(AskDigest { request: asked.request, below }), out);
    }

    /// When something is due, if nothing happens before.
    pub(super) fn checks_at(&self) -> Option<Millis> {
        self.checks.values().flat_map(|check| [check.due, check.repair_at]).flatten().min()
    }
}

/// A moment between now and a whole interval later, another one for each subscription. So, whatever is
/// left of an interval when a process ends, comparing comes once an interval on the average.
fn spread(chance: u64, id: SubscriptionId, every: u64) -> u64 {
    let mixed = (chance ^ u64::from(id.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) % every.max(1)
}
