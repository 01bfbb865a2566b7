//! Raw limits: what the machine does without Tidewire.

pub(crate) mod broadcast;
pub(crate) mod echo;
pub(crate) mod fsync;
pub(crate) mod kv;
pub(crate) mod sqlite;
