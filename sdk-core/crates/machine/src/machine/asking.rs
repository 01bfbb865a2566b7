//! What the app asks for.

use protocol::frame::v1::{ClientFrame, LoadOlder, Unsubscribe};
use protocol::ids::Floor;
use protocol::limits::{CLIENT_FRAME_BYTES_MAX, CONNECTION_SUBSCRIPTIONS_MAX, SQL_PARAMS_MAX};
use protocol::value::Value;

use super::{Machine, Phase, apply};
use crate::event::{Ask, AskError};
use crate::instruction::{Instruction, Staged, Write};
use crate::stored::SubscriptionId;
use crate::subscription::Subscription;

/// The most that the SQL and parameters of all subscriptions take, in bytes: one `hello` has all of
/// them, with what is held of each, and must not exceed a frame.
const ASKED_BYTES_MAX: usize = CLIENT_FRAME_BYTES_MAX / 2;

impl Machine {
    /// Subscribes. Where there is a subscription of the same text, it is that one, and the wider
    /// window counts; one that was refused is tried again.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn subscribe(&mut self, ask: Ask) -> Result<(SubscriptionId, Vec<Instruction>), AskError> {
        if self.phase() == Phase::Closed {
            return Err(AskError::Closed);
        }
        if ask.params.len() > SQL_PARAMS_MAX {
            return Err(AskError::TooManyParameters(SQL_PARAMS_MAX));
        }
        let mut out = Vec::new();
        let same = self.subscription_of(&ask);
        if let Some((id, false)) = same {
            let more = self.subscriptions.get_mut(&id).and_then(|it| it.ask_for(ask.fetch_last));
            self.widened(id, more, &mut out);
            self.tell(&mut out);
            return Ok((id, out));
        }
        let present = self.subscriptions.values().filter(|other| other.refusal.is_none());
        if present.count() >= CONNECTION_SUBSCRIPTIONS_MAX {
            return Err(AskError::TooMany(CONNECTION_SUBSCRIPTIONS_MAX));
        }
        let asked = |other: &Subscription| {
            let first = other.stored.texts.first();
            first.map_or(0, |text| bytes(&text.sql, &text.params))
        };
        let present: usize = self.subscriptions.values().map(asked).sum();
        if present + bytes(&ask.sql, &ask.params) > ASKED_BYTES_MAX {
            return Err(AskError::TooLarge(ASKED_BYTES_MAX));
        }
        let id = match same {
            Some((refused, _)) => refused,
            None => self.new_id(),
        };
        let subscription = Subscription::new(id, ask);
        apply(vec![Write::PutSubscription(Box::new(subscription.stored.clone()))], &mut out);
        self.subscriptions.insert(id, subscription);
        self.ask_server(id, &mut out);
        self.tell(&mut out);
        Ok((id, out))
    }

    /// The subscription that this text is known to mean, and whether it is refused.
    fn subscription_of(&self, ask: &Ask) -> Option<(SubscriptionId, bool)> {
        let is_it = |subscription: &&Subscription| {
            let mut texts = subscription.stored.texts.iter();
            texts.any(|text| text.sql == ask.sql && text.params == ask.params)
        };
        let subscription = self.subscriptions.values().find(is_it)?;
        Some((subscription.stored.id, subscription.refusal.is_some()))
    }

    /// A number that this machine has not given before.
    fn new_id(&mut self) -> SubscriptionId {
        // Behind the last one there are those that were given up long ago.
        self.last_id = self.last_id.wrapping_add(1);
        while self.subscriptions.contains_key(&SubscriptionId(self.last_id)) {
            self.last_id = self.last_id.wrapping_add(1);
        }
        SubscriptionId(self.last_id)
    }

    /// Sends a `subscribe`, where there is a connection to send it on.
    fn ask_server(&mut self, id: SubscriptionId, out: &mut Vec<Instruction>) {
        if !self.has_connection() {
            return;
        }
        if let Some(subscription) = self.subscriptions.get(&id) {
            let frame = subscription.ask(self.connection.number(id));
            self.send(ClientFrame::Subscribe(frame), out);
        }
    }

    pub(super) fn unsubscribe(&mut self, id: SubscriptionId, out: &mut Vec<Instruction>) {
        let Some(subscription) = self.subscriptions.remove(&id) else { return };
        if subscription.refusal.is_none() {
            let mut writes = vec![Write::RemoveSubscription(id)];
            if !self.has_connection() {
                self.remove_unused_lanes(&mut writes);
            }
            apply(writes, out);
        }
        self.stop_asking(id, out);
        self.checks.remove(&id);
    }

    /// Sends an `unsubscribe` where the subscription was asked for.
    fn stop_asking(&mut self, id: SubscriptionId, out: &mut Vec<Instruction>) {
        if let Some(asked) = self.connection.end(id) {
            self.send(ClientFrame::Unsubscribe(Unsubscribe { request: asked.request }), out);
        }
    }

    pub(super) fn load_older(&mut self, id: SubscriptionId, rows: u64, out: &mut Vec<Instruction>) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let stored = &subscription.stored;
        // Where everything is loaded there is nothing older.
        if stored.floor == Some(Floor::COMPLETE) || subscription.refusal.is_some() {
            return;
        }
        if let Some(window) = stored.fetch_last {
            let more = subscription.widen(Some(window.saturating_add(rows)));
            self.widened(id, more, out);
        }
    }

    /// Keeps a window that has become wider. The server is told also where everything is loaded:
    /// after a `reset` it loads as much as it knows of.
    fn widened(&mut self, id: SubscriptionId, more: Option<u64>, out: &mut Vec<Instruction>) {
        let Some((subscription, rows)) = self.subscriptions.get(&id).zip(more) else { return };
        apply(vec![Write::PutSubscription(Box::new(subscription.stored.clone()))], out);
        self.ask_older(id, rows, out);
    }

    /// Sends a `load_older` where the subscription was asked for.
    pub(super) fn ask_older(&mut self, id: SubscriptionId, rows: u64, out: &mut Vec<Instruction>) {
        if let Some(asked) = self.connection.asked(id) {
            self.send(ClientFrame::LoadOlder(LoadOlder { request: asked.request, rows }), out);
        }
    }

    /// Loads a subscription anew because the app wants it.
    pub(super) fn load_anew(&mut self, id: SubscriptionId, out: &mut Vec<Instruction>) {
        let writes = self.begin_anew(id);
        if writes.is_empty() {
            return;
        }
        apply(writes, out);
        self.stop_asking(id, out);
        // There is no answer any more to what was asked of the one before.
        if let Some(check) = self.checks.get_mut(&id) {
            check.disconnect();
        }
        self.ask_server(id, out);
    }

    /// What is stored when a subscription begins to load anew.
    pub(super) fn begin_anew(&mut self, id: SubscriptionId) -> Vec<Write> {
        let mut writes = Vec::new();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return writes };
        if subscription.refusal.is_some() {
            return writes;
        }
        if subscription.stored.floor.is_some() {
            // They are about rows that it does not hold any more.
            let lane = subscription.stored.lane();
            let feed = lane.and_then(|lane| self.connection.feeds.get(lane));
            if feed.is_some_and(|feed| feed.staged) {
                writes.push(Write::DropStaged(Staged::OfSubscription(id)));
            }
            writes.push(Write::KeepRows(id));
        }
        subscription.reset();
        if let Some(check) = self.checks.get_mut(&id) {
            check.begin_anew();
        }
        writes.push(Write::PutSubscription(Box::new(subscription.stored.clone())));
        writes
    }
}

/// About how many bytes a statement takes in a frame, and not fewer.
pub(super) fn bytes(sql: &str, params: &[Value]) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Double(_) | Value::Uuid(_) => {
            16
        }
    };
    sql.len() + params.iter().map(|param| 16 + value(param)).sum::<usize>()
}
