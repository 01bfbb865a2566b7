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
    /// By family and key. There are few families.
    changed: Vec<(Family, Keys)>,
}

type Keys = BTreeMap<Vec<u8>, Changed>;

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
        Self { base, changed: Vec::new() }
    }

    /// The value of `key` after what was written.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.keys(family).and_then(|keys| keys.get(key)) {
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
        let none = Keys::new();
        let keys = self.keys(family).unwrap_or(&none);
        let mut written =
            keys.range(range.start.clone()..).take_while(|(key, _)| range.contains(key)).peekable();
        let mut base = self.base.scan(family, range.clone(), Direction::Forward);
        let mut entry = base.next()?;
        while found.len() < count {
            let before = |key: &[u8]| entry.is_none_or(|entry| key <= entry.key);
            if let Some((key, changed)) = written.next_if(|(key, _)| before(key)) {
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
        self.change(family, key).value = Some(value);
    }

    /// Removes `key`; see [`Batch::delete`] for a family of [`Removal::Once`].
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        let changed = self.change(family, key);
        // What was put here, the base did not have: it is gone without a trace.
        changed.removes |= changed.value.take().is_none();
    }

    /// All of it as a batch, family by family in the order of keys.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        for (family, keys) in self.changed {
            for (key, Changed { removes, value }) in keys {
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
        }
        batch
    }

    fn keys(&self, family: Family) -> Option<&Keys> {
        self.changed.iter().find(|(known, _)| *known == family).map(|(_, keys)| keys)
    }

    fn change(&mut self, family: Family, key: Vec<u8>) -> &mut Changed {
        let known = self.changed.iter().position(|(known, _)| *known == family);
        let place = known.unwrap_or_else(|| {
            self.changed.push((family, Keys::new()));
            self.changed.len() - 1
        });
        let changed = self.changed[place].1.entry(key);
        changed.or_insert(Changed { removes: false, value: None })
    }
}
