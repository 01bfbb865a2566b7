//! Bytes in order, on disk: what the engine's rows and the Raft log are both kept in.
//!
//! A [`Store`] is an ordered map per [`Family`], written in atomic batches and read through
//! snapshots. It speaks bytes, so that the same code runs on RocksDB in the product and in memory
//! in simulations. This is the only crate that names RocksDB.
//!
//! | implementation | what for |
//! | --- | --- |
//! | [`RocksStore`] | the product |
//! | [`MemoryStore`] | simulations and tests; checks rules that RocksDB leaves undefined |
//! | [`FaultyDisk`](faulty::FaultyDisk) | tests: power cuts, failures on request, a disk that fills up |
//!
//! All of them pass the one suite in [`conformance`].
//!
//! # What survives
//! [`Store::write`] makes a batch visible, all of it at once. [`Store::persist`] makes everything
//! written before it durable. After a crash or a power cut the store holds exactly the first n
//! batches that were written, for some n that covers at least all that was persisted: never a
//! batch in part, never a later one without an earlier one, the same n in every family.

mod batch;
mod counted;
mod error;
mod memory;
mod overlay;
mod range;
mod rocks;
mod store;

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod faulty;
pub mod key;

pub use batch::{Batch, Operation};
pub use counted::{Counted, Reads};
pub use error::StorageError;
pub use memory::MemoryStore;
pub use overlay::Overlay;
pub use range::{Direction, KeyRange};
pub use rocks::{RocksOptions, RocksStore};
pub use store::{
    Access, Entry, Family, Journal, Layout, OwnedEntry, Removal, Scan, Snapshot, Store,
};
