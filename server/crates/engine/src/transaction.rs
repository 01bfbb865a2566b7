//! What the commands of one entry have written so far, and the sum over the shard's contents.

use server_storage::key::{KeyReader, KeyWriter};
use server_storage::{Batch, Family, KeyRange, Overlay, OwnedEntry, Snapshot};
use xxhash_rust::xxh3::Xxh3;

use crate::error::EngineError;
use crate::keys::{STATE, STORE_BYTES};
use crate::limits::ENTRY_WORK_BYTES_MAX;

/// A sum over entries that does not depend on their order: nodes with equal contents have equal
/// sums, whatever way they came to them. Each entry counts with its 128-bit XXH3; it tells apart
/// what went wrong, not what somebody forged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentSum(pub u128);

impl ContentSum {
    pub(crate) fn encode(self) -> Vec<u8> {
        KeyWriter::new().array(&self.0.to_be_bytes()).finish()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, EngineError> {
        Ok(Self(u128::from_be_bytes(KeyReader::new(value).array()?)))
    }

    pub(crate) fn add(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(hash(family, key, value));
    }

    fn subtract(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(family, key, value));
    }
}

/// Leaves out the store number, which differs from node to node.
fn hash(family: Family, key: &[u8], value: &[u8]) -> u128 {
    let key = &key[STORE_BYTES..];
    let mut hasher = Xxh3::new();
    hasher.update(family.name.as_bytes());
    // The length keeps a key apart from the value behind it.
    hasher.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest128()
}

/// Reads and writes of one entry, before its batch is written.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    overlay: Overlay<'a>,
    sum: ContentSum,
    /// Bytes of rows and index entries that the commits of this entry have read and written.
    work: usize,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(snapshot: &'a dyn Snapshot, sum: ContentSum) -> Self {
        Self { overlay: Overlay::new(snapshot), sum, work: 0 }
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.overlay.get(family, key)?)
    }

    pub(crate) fn first(
        &self,
        family: Family,
        range: &KeyRange,
        count: usize,
    ) -> Result<Vec<OwnedEntry>, EngineError> {
        Ok(self.overlay.first(family, range, count)?)
    }

    /// Notes work that was done, in bytes.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.work = self.work.saturating_add(bytes);
    }

    /// Whether this entry has done enough, and leaves further commits to another.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.work >= ENTRY_WORK_BYTES_MAX
    }

    /// Sets a key that has no value.
    pub(crate) fn insert(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.sum.add(family, &key, &value);
        self.overlay.put(family, key, value);
    }

    /// Removes a key whose value is `old`.
    pub(crate) fn remove(&mut self, family: Family, key: Vec<u8>, old: &[u8]) {
        self.sum.subtract(family, &key, old);
        self.overlay.delete(family, key);
    }

    /// Sets a key whose value is `old`, if it has one.
    pub(crate) fn replace(
        &mut self,
        family: Family,
        key: Vec<u8>,
        old: Option<&[u8]>,
        new: Vec<u8>,
    ) {
        if let Some(old) = old {
            self.sum.subtract(family, &key, old);
        }
        self.insert(family, key, new);
    }

    /// Sets what is this node's own and not part of the shard's contents.
    pub(crate) fn put_of_node(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.overlay.put(STATE, key, value);
    }

    /// The sum over the contents after what was written.
    pub(crate) fn sum(&self) -> ContentSum {
        self.sum
    }

    pub(crate) fn finish(self) -> Batch {
        self.overlay.into_batch()
    }
}
