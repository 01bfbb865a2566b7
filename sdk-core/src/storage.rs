//! How much room the replica takes, as applications see it.

use sdk_machine::{SubscriptionId, SubscriptionView};
use sdk_replica::TableStorage;

/// How much room the replica takes. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// The file.
    pub file: u64,
    /// Beside it: what was written last.
    pub journal: u64,
    /// In the file and free: what is written next takes it.
    pub free: u64,
    /// What waits for the server.
    pub outbox: u64,
    /// What was rejected and is not dealt with.
    pub rejections: u64,
    /// Tables with their indexes, those of the application among them, the largest first.
    pub tables: Vec<TableStorage>,
    /// What is subscribed to.
    pub subscriptions: Vec<SubscriptionStorage>,
}

/// What a subscription takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionStorage {
    /// Its SQL, without the values of its parameters.
    pub sql: String,
    /// How many rows it holds.
    pub rows: u64,
    /// Their share of what the table takes. Rows that several hold are in the share of each.
    pub bytes: u64,
}

/// A subscription, as the loop knows it.
pub(crate) struct Subscribed {
    pub(crate) id: SubscriptionId,
    pub(crate) sql: String,
    pub(crate) view: SubscriptionView,
    pub(crate) missing: Option<u64>,
}

impl Storage {
    pub(crate) fn new(found: sdk_replica::Storage, subscribed: &[Subscribed]) -> Self {
        let sdk_replica::Storage { file, journal, free, outbox, rejections, tables, .. } = found;
        let of = |it: &Subscribed| {
            let held = found.subscriptions.get(&it.id).copied().unwrap_or_default();
            SubscriptionStorage { sql: it.sql.clone(), rows: held.rows, bytes: held.bytes }
        };
        let subscriptions = subscribed.iter().map(of).collect();
        Self { file, journal, free, outbox, rejections, tables, subscriptions }
    }
}
