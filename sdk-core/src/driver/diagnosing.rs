//! How it is with everything, for a report: no row, no value, no user, no token.

use protocol::frame::VERSIONS;
use protocol::ids::Lane;
use sdk_machine::{SubscriptionId, SubscriptionState};
use sdk_replica::{Replica, ReplicaError, Waiting, without_values};
use serde_json::{Value, json};

use super::Driver;
use crate::storage::Subscribed;

impl Driver {
    /// How it is, but for what has to be looked for in the file.
    pub(super) fn diagnosis(&self) -> Value {
        let replica = self.replica.get();
        let status = self.status.borrow();
        let outbox = replica.and_then(|replica| self.outbox(replica));
        let counts = *self.verifying.counts.borrow();
        let schema = self.machine.held_schema();
        let (incidents, kinds) = self.incidents.borrow().kinds();
        json!({
            "sdk": {
                "version": env!("CARGO_PKG_VERSION"),
                "protocol": VERSIONS,
                "replica_format": Replica::FORMAT,
                "sqlite": Replica::sqlite_version(),
                "app_version": self.config.app_version,
                "servers": self.config.servers.len(),
            },
            "status": {
                "word": status.word.as_str(),
                "code": status.reason.as_ref().map(|reason| reason.code.as_str()),
                "phase": format!("{:?}", self.machine.phase()).to_lowercase(),
                "is_suspended": self.is_suspended(),
                "open_ms": u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                "last_synced_at": *self.synced_at.borrow(),
                "server_time": self.server_micros(),
                "clock_ahead": self.clock_ahead,
            },
            "schema": schema.map(|it| json!({ "version": it.version.to_string(), "revision": it.revision })),
            "lanes": self.machine.lanes().map(|lane| json!({
                "lane": named(&lane.lane),
                "epoch": lane.epoch.to_string(),
                "seq": lane.seq.get(),
                "cut": lane.cut,
            })).collect::<Vec<_>>(),
            "subscriptions": self.subscribed().iter().map(subscription).collect::<Vec<_>>(),
            "outbox": or_code(outbox),
            "verifications": { "equal": counts.equal, "different": counts.different },
            "incidents": { "count": incidents, "last": kinds },
        })
    }

    fn outbox(&self, replica: &Replica) -> Result<Value, ReplicaError> {
        let Waiting { mutations, held, bytes, oldest, rejections } = replica.waiting()?;
        let now = self.writer().now;
        let writers = replica.writers()?;
        let heads = writers.iter().map(|writer| {
            json!({
                "lane": named(&writer.lane),
                "client": writer.client.to_string(),
                "settled": writer.settled.get(),
                "sent": writer.sent.get(),
                "confirmed": writer.confirmed.get(),
                "is_stuck": writer.stuck.is_some(),
            })
        });
        Ok(json!({
            "mutations": mutations,
            "held": held,
            "bytes": bytes,
            "oldest_ms": oldest.map(|at| now.saturating_sub(at).max(0) / 1_000),
            "rejections": rejections,
            "lanes": heads.collect::<Vec<_>>(),
        }))
    }

    /// What is subscribed to.
    pub(super) fn subscribed(&self) -> Vec<Subscribed> {
        let of = |stored: &sdk_machine::StoredSubscription| {
            let view = self.machine.subscription(stored.id)?;
            let sql = stored.texts.first().map_or("", |text| &text.sql);
            Some(Subscribed { id: stored.id, sql: sql.to_owned(), view, missing: stored.missing })
        };
        self.machine.subscriptions().filter_map(of).collect()
    }
}

fn subscription(it: &Subscribed) -> Value {
    let SubscriptionId(id) = it.id;
    json!({
        "id": id,
        "sql": without_values(&it.sql),
        "state": state(it.view.state),
        "rows_loaded": it.view.rows_loaded,
        "remaining": it.view.remaining,
        "missing": it.missing,
        "refused": it.view.refusal.as_ref().map(|refusal| refusal.code.as_str()),
    })
}

fn state(state: SubscriptionState) -> String {
    format!("{state:?}").to_lowercase()
}

/// A lane, without who the user is.
fn named(lane: &Lane) -> String {
    match lane {
        Lane::User(_) => "user".to_owned(),
        shared @ Lane::Shared(_) => shared.to_string(),
    }
}

/// What was found, or why it could not be.
fn or_code(found: Result<Value, ReplicaError>) -> Value {
    found.unwrap_or_else(|error| json!({ "error": error.code().as_str() }))
}
