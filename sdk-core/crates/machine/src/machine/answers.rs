//! What the server says about subscriptions.

use protocol::frame::v1::{Refused, Reset, Subscribed};

use super::{Machine, apply};
use crate::instruction::{Instruction, Staged, Write};
use crate::status::Refusal;
use crate::stored::{Known, SubscriptionId};
use crate::violation::ProtocolViolation;

impl Machine {
    pub(super) fn subscribed(
        &mut self,
        subscribed: Subscribed,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let (request, query) = (subscribed.request, subscribed.query);
        let id = self.connection.requested(request)?;
        let named = self.connection.named(query);
        let contradicts = named.is_some_and(|named| named.lane != subscribed.lane);
        if contradicts || !is_consistent(&subscribed) {
            return Err(ProtocolViolation::Description(query));
        }
        let other = named.and_then(|named| named.subscription);
        let Some(id) = id else {
            // Nobody wants it any more, but its frames will say where its lane is.
            self.connection.name(query, subscribed.lane, request, None);
            return Ok(());
        };
        match self.connection.asked(id) {
            Some(asked) if asked.request == request && asked.query.is_some() => {
                return self.changed(id, subscribed, out);
            }
            Some(asked) if asked.request == request => {}
            _ => return Err(ProtocolViolation::Request(request)),
        }
        if self.connection.is_ending(query, request) {
            // What the server sends now goes on from what another one has loaded, and then ends.
            self.load_anew(id, out);
            return Ok(());
        }
        let known = Known::from(subscribed);
        let described = self.subscriptions.get(&other.unwrap_or(id));
        if let Some(before) = described.and_then(|described| described.stored.known.as_ref()) {
            let is_same = before.basis == known.basis;
            if (is_same && !known.goes_on_from(before)) || (!is_same && other.is_some()) {
                return Err(ProtocolViolation::Description(query));
            }
        }
        match other {
            Some(other) => self.merge(id, other, out),
            None => {
                self.connection.name(query, known.lane.clone(), request, Some(id));
                self.learn(id, known, None, out);
            }
        }
        Ok(())
    }

    /// The table of a subscription that was answered has changed. What is held stays: it is as of
    /// before the change.
    fn changed(
        &mut self,
        id: SubscriptionId,
        subscribed: Subscribed,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let query = subscribed.query;
        let is_taken = |number| self.connection.named(number).and_then(|it| it.subscription);
        let known = Known::from(subscribed);
        let subscription = self.subscriptions.get(&id);
        let before = subscription.and_then(|subscription| subscription.stored.known.as_ref());
        let is_later = before.is_some_and(|before| {
            known.goes_on_from(before) && known.table.version > before.table.version
        });
        if !is_later || is_taken(query).is_some() {
            return Err(ProtocolViolation::Description(query));
        }
        self.connection.feed(&known.lane)?;
        let lane = known.lane.clone();
        let is_staged = self.connection.take_place(id, query);
        let dropped = is_staged.then_some(Write::DropStaged(Staged::OfLane(lane)));
        self.learn(id, known, dropped, out);
        Ok(())
    }

    /// Stores what the server says that a subscription is, behind `first`.
    fn learn(
        &mut self,
        id: SubscriptionId,
        known: Known,
        first: Option<Write>,
        out: &mut Vec<Instruction>,
    ) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let before = subscription.stored.known.as_ref();
        if before == Some(&known) {
            return;
        }
        // Rows of the old meaning must not be taken for rows of the new one, also if this process
        // ends before the `reset` that the server sends now.
        let mut writes: Vec<Write> = first.into_iter().collect();
        if before.is_some_and(|before| before.basis != known.basis) {
            writes.extend(self.begin_anew(id));
        }
        writes.retain(|write| !matches!(write, Write::PutSubscription(_)));
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.stored.known = Some(known);
            writes.push(Write::PutSubscription(Box::new(subscription.stored.clone())));
        }
        apply(writes, out);
    }

    /// Two texts are one subscription: the one that was answered first. The wider window counts.
    fn merge(&mut self, gone: SubscriptionId, stays: SubscriptionId, out: &mut Vec<Instruction>) {
        let Some(asked) = self.subscriptions.remove(&gone) else { return };
        let Some(subscription) = self.subscriptions.get_mut(&stays) else { return };
        self.connection.merge(gone, stays);
        if self.checks.remove(&gone).is_some_and(|check| check.is_wanted) {
            self.checks.entry(stays).or_default().is_wanted = true;
        }
        for text in asked.stored.texts {
            if !subscription.stored.texts.contains(&text) {
                subscription.stored.texts.push(text);
            }
        }
        let more = subscription.ask_for(asked.stored.fetch_last);
        let stored = subscription.stored.clone();
        apply(vec![Write::PutSubscription(Box::new(stored)), Write::RemoveSubscription(gone)], out);
        out.push(Instruction::Same { asked: gone, is: stays });
        if let Some(rows) = more {
            self.ask_older(stays, rows, out);
        }
    }

    pub(super) fn refused(
        &mut self,
        refused: Refused,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let Refused { request, code, message } = refused;
        // Without a request it is about a message that the server does not know.
        let Some(request) = request else { return Ok(()) };
        let Some(id) = self.connection.requested(request)? else { return Ok(()) };
        self.connection.refuse(id);
        self.checks.remove(&id);
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.reset();
            subscription.stored.known = None;
            subscription.stored.ready = false;
            subscription.stored.resetting = false;
            subscription.refusal = Some(Refusal { code, message });
            apply(vec![Write::RemoveSubscription(id)], out);
        }
        Ok(())
    }

    pub(super) fn reset(
        &mut self,
        reset: &Reset,
        out: &mut Vec<Instruction>,
    ) -> Result<(), ProtocolViolation> {
        let query = self.connection.query(reset.query)?;
        self.connection.feed(&query.lane)?;
        if let Some(id) = query.subscription {
            apply(self.begin_anew(id), out);
        }
        Ok(())
    }
}

/// Whether a replica can hold the rows of what is described.
fn is_consistent(subscribed: &Subscribed) -> bool {
    let Subscribed { table, columns, predicate, .. } = subscribed;
    table.check().is_ok()
        && predicate.check(table).is_ok()
        && columns.iter().all(|column| table.column(*column).is_some())
        && table.primary_key.iter().all(|column| columns.contains(column))
}
