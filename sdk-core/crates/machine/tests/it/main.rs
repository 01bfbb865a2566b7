//! The sync logic through its public face.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod attempts;
mod backoff;
mod client;
mod crashes;
mod delivery;
mod delivery_histories;
mod histories;
mod merging;
mod replicas;
mod schemas;
mod spec;
mod stalls;
mod statements;
mod syncs;
mod table_of_phases;
mod table_of_subscriptions;
mod verifying;
mod violations;
mod writing;
