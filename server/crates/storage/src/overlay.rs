use std::collections::BTreeMap;

use crate::{Batch, Direction, Family, KeyRange, OwnedEntry, Removal, Snapshot, StorageError};

/// Reads through writes that are not in the store yet.
///
/// What is done to one key comes out as one operation, or two where a family tells its removals
/// ([`Removal::Once`]), however often it was done: a row that many commands of one batch change is
/// written once.
#[derive(Debug)]
pub struct Overlay<'a> {
    base: &'a dyn Snapshot,
    changed: BTreeMap<(Family, Vec<u8>), Changed>,
}

/// What became of a key.
#[derive(Debug)]
struct Changed {
    /// Whether a value of the base is removed. Only counts in a family of [`Removal::Once`].
    removes: bool,
    value: Option<Vec<u8>>,
}

impl<'a> Overlay<'a> {
    /// Nothing written yet, over `base`.
    pub fn new(base: &'a dyn Snapshot) -> Self {
        Self { base, changed: BTreeMap::new() }
    }

    /// The value of `key` after what was written.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.changed.get(&(family, key.to_vec())) {
            Some(changed) => Ok(changed.value.clone()),
            None => self.base.get(family, key),
        }
    }

    /// The first entries of `range`, at most `count`, after what was written.
    ///
    /// # Errors
    /// As [`Scan::next`](crate::Scan::next).
    pub fn first(
        &self,
        family: Family,
        range: &KeyRange,
        count: usize,
    ) -> Result<Vec<OwnedEntry>, StorageError> {
        let mut found = Vec::new();
        if range.is_empty() {
            return Ok(found);
        }
        let mut written = self
            .changed
            .range((family, range.start.clone())..)
            .take_while(|((of, key), _)| *of == family && range.contains(key))
            .peekable();
        let mut base = self.base.scan(family, range.clone(), Direction::Forward);
        let mut entry = base.next()?;
        while found.len() < count {
            let before = |key: &[u8]| entry.is_none_or(|entry| key <= entry.key);
            if let Some(((_, key), changed)) = written.next_if(|((_, key), _)| before(key)) {
                if entry.is_some_and(|entry| entry.key == key) {
                    entry = base.next()?;
                }
                found.extend(changed.value.clone().map(|value| (key.clone(), value)));
            } else if let Some(kept) = entry {
                found.push((kept.key.to_vec(), kept.value.to_vec()));
                entry = base.next()?;
            } else {
                break;
            }
        }
        Ok(found)
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        let changed = self.changed.entry((family, key));
        changed.or_insert(Changed { removes: false, value: None }).value = Some(value);
    }

    /// Removes `key`; see [`Batch::delete`] for a family of [`Removal::Once`].
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        let changed = self.changed.entry((family, key));
        let changed = changed.or_insert(Changed { removes: false, value: None });
        // What was put here, the base did not have: it is gone without a trace.
        changed.removes |= changed.value.take().is_none();
    }

    /// All of it as a batch, in the order of families and keys.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        for ((family, key), Changed { removes, value }) in self.changed {
            if match family.removal {
                Removal::Any => value.is_none(),
                Removal::Once => removes,
            } {
                batch.delete(family, &key);
            }
            if let Some(value) = value {
                batch.put(family, &key, value);
            }
        }
        batch
    }
}
