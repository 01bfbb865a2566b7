use std::ops::Range;

use crate::{Family, KeyRange};

/// Operations that become visible, and durable, together.
///
/// All keys and values lie in one piece of memory, so building a batch allocates now and then and
/// not for every operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    operations: Vec<Stored>,
}

/// One operation of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Sets the value of a key.
    Put {
        /// Where.
        family: Family,
        /// The key.
        key: &'a [u8],
        /// Its value from then on.
        value: &'a [u8],
    },
    /// Removes a key.
    Delete {
        /// Where; its [`Removal`](crate::Removal) says what the key must be.
        family: Family,
        /// The key.
        key: &'a [u8],
    },
    /// Removes all keys from `start`, and before `end`.
    DeleteRange {
        /// Where.
        family: Family,
        /// The first key that may be removed.
        start: &'a [u8],
        /// The first key that stays.
        end: &'a [u8],
    },
}

/// An operation by the places of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    kind: Kind,
    family: Family,
    first: Range<usize>,
    second: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

impl Batch {
    /// A batch without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push(Kind::Put, family, key.as_ref(), value.as_ref());
    }

    /// Removes `key`. In a family whose removal is [`Once`](crate::Removal::Once) it must have been put exactly
    /// once since it last was absent; elsewhere it need not be there.
    ///
    /// What RocksDB does with a key that breaks that rule is undefined, and an older value may
    /// come back. The stores in memory panic instead.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        self.push(Kind::Delete, family, key.as_ref(), &[]);
    }

    /// Removes all keys of `range`.
    ///
    /// Cheap whatever the number of keys, but reads pass its trace until it is compacted: for
    /// what is dropped as a whole, not for single rows.
    ///
    /// # Panics
    /// When the range has no end, which RocksDB cannot express.
    pub fn delete_range(&mut self, family: Family, range: &KeyRange) {
        let Some(end) = &range.end else { panic!("a range that is deleted has an end") };
        if !range.is_empty() {
            self.push(Kind::DeleteRange, family, &range.start, end);
        }
    }

    /// The operations, in their order.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.operations.iter().map(|Stored { kind, family, first, second }| {
            let (first, second) = (&self.bytes[first.clone()], &self.bytes[second.clone()]);
            let family = *family;
            match kind {
                Kind::Put => Operation::Put { family, key: first, value: second },
                Kind::Delete => Operation::Delete { family, key: first },
                Kind::DeleteRange => Operation::DeleteRange { family, start: first, end: second },
            }
        })
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the batch does nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn push(&mut self, kind: Kind, family: Family, first: &[u8], second: &[u8]) {
        let first = self.keep(first);
        let second = self.keep(second);
        self.operations.push(Stored { kind, family, first, second });
    }

    fn keep(&mut self, part: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        start..self.bytes.len()
    }
}
