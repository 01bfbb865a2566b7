//! Objects of JavaScript that the core gives.

use js_sys::Array;
use sdk_core::{
    Change, Mutation, MutationState, OperationKind, Pending, Progress, Rejection, Rows, ServerRow,
    Subscription, SubscriptionState, Value,
};
use wasm_bindgen::JsValue;

use crate::objects::{failure, number, object, or_null, text};
use crate::values::{columns, js, row};

/// Rows, by the places of their columns.
pub(crate) fn rows(rows: &Rows) -> [(&'static str, JsValue); 2] {
    let all: Array = rows.iter().map(row).collect();
    [("columns", columns(rows)), ("rows", all.into())]
}

/// How it is with a write.
pub(crate) fn state(state: &MutationState) -> JsValue {
    let word = match state {
        MutationState::Local => "local",
        MutationState::Queued => "queued",
        MutationState::Sent => "sent",
        MutationState::Accepted { seq } => {
            return object(&[("state", text("accepted")), ("seq", number(*seq))]);
        }
        MutationState::Rejected { code, reason } => {
            return object(&[
                ("state", text("rejected")),
                ("code", text(code.as_str())),
                ("reason", text(reason)),
            ]);
        }
        MutationState::Expired => "expired",
        MutationState::Stuck => "stuck",
        // One that this code does not know yet is not decided for it.
        _ => "uncertain",
    };
    object(&[("state", text(word))])
}

/// What a write has done.
pub(crate) fn wrote(mutation: &Mutation) -> JsValue {
    let [columns, all] = rows(mutation.rows());
    object(&[
        ("id", or_null(mutation.id().map(|id| number(id.0.unsigned_abs())))),
        ("rowsAffected", number(mutation.rows_affected())),
        columns,
        all,
        ("state", state(&mutation.state())),
    ])
}

/// What waits for the server.
pub(crate) fn pending(pending: &Pending) -> JsValue {
    let mutations = pending.mutations.iter().map(|mutation| {
        let rows = mutation
            .rows
            .iter()
            .map(|(table, key)| object(&[("table", text(table)), ("key", js(key))]));
        object(&[
            ("id", number(mutation.id.0.unsigned_abs())),
            ("writtenAt", number(mutation.written_at.unsigned_abs())),
            ("rows", rows.collect::<Array>().into()),
            ("state", state(&mutation.state)),
        ])
    });
    let age = pending.oldest_age.map(|age| age.as_secs_f64() * 1_000.0);
    object(&[
        ("mutations", mutations.collect::<Array>().into()),
        ("oldestAgeMs", or_null(age.map(JsValue::from))),
    ])
}

/// What was written and did not happen.
pub(crate) fn rejection(rejection: &Rejection) -> JsValue {
    let operations = rejection.operations.iter().map(|operation| {
        let kind = match operation.kind {
            OperationKind::Insert => "insert",
            OperationKind::Upsert => "upsert",
            OperationKind::Update => "update",
            OperationKind::Delete => "delete",
        };
        let set = operation.changes.iter().filter_map(|(name, change)| match change {
            Change::Set(value) => Some((name, value)),
            Change::Add(_) => None,
        });
        let add = operation.changes.iter().filter_map(|(name, change)| match change {
            Change::Add(value) => Some((name, value)),
            Change::Set(_) => None,
        });
        let server = match &operation.server {
            ServerRow::Unknown => object(&[("state", text("unknown"))]),
            ServerRow::Gone => object(&[("state", text("gone"))]),
            ServerRow::Row(row) => {
                let row = named(row.iter().map(|(name, value)| (name, value)));
                object(&[("state", text("row")), ("row", row)])
            }
        };
        object(&[
            ("table", text(&operation.table)),
            ("kind", text(kind)),
            ("key", named(operation.key.iter().map(|(name, value)| (name, value)))),
            ("set", named(set)),
            ("add", named(add)),
            ("server", server),
        ])
    });
    object(&[
        ("id", number(rejection.id.0.unsigned_abs())),
        ("writtenAt", number(rejection.written_at.unsigned_abs())),
        ("state", state(&rejection.state)),
        ("queue", or_null(rejection.queue.as_deref().map(text))),
        ("operations", operations.collect::<Array>().into()),
    ])
}

fn named<'v>(columns: impl Iterator<Item = (&'v String, &'v Value)>) -> JsValue {
    let columns: Vec<(&str, JsValue)> =
        columns.map(|(name, value)| (name.as_str(), js(value))).collect();
    object(&columns)
}

/// How far a load is.
pub(crate) fn progress(progress: Progress) -> JsValue {
    object(&[
        ("rows", number(progress.rows)),
        ("remaining", or_null(progress.remaining.map(number))),
        ("fraction", or_null(progress.fraction.map(JsValue::from))),
    ])
}

/// How it is with a subscription.
pub(crate) fn view(subscription: &Subscription) -> JsValue {
    let word = match subscription.state() {
        SubscriptionState::Loading => "loading",
        SubscriptionState::Live => "live",
        SubscriptionState::Behind => "behind",
        SubscriptionState::Refused => "refused",
    };
    seen(word, subscription, subscription.refused().as_ref().map(failure))
}

/// The same of one that nobody asks for.
pub(crate) fn idle(subscription: &Subscription) -> JsValue {
    seen("idle", subscription, None)
}

fn seen(word: &str, subscription: &Subscription, error: Option<JsValue>) -> JsValue {
    object(&[
        ("state", text(word)),
        ("progress", progress(subscription.progress())),
        ("error", or_null(error)),
    ])
}
