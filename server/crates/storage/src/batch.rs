use crate::{Family, KeyRange};

/// Operations that become visible, and durable, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
    bytes: usize,
}

/// One operation of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets the value of a key.
    Put {
        /// Where.
        family: Family,
        /// The key.
        key: Vec<u8>,
        /// Its value from then on.
        value: Vec<u8>,
    },
    /// Removes a key, whether it is there or not.
    Delete {
        /// Where.
        family: Family,
        /// The key.
        key: Vec<u8>,
    },
    /// Removes a key that was put exactly once since it last was absent. RocksDB then forgets both
    /// as soon as they meet, where the trace of a [`Operation::Delete`] stays in the way of scans.
    DeleteOnce {
        /// Where.
        family: Family,
        /// The key.
        key: Vec<u8>,
    },
    /// Removes all keys from `start`, and before `end`.
    DeleteRange {
        /// Where.
        family: Family,
        /// The first key that may be removed.
        start: Vec<u8>,
        /// The first key that stays.
        end: Vec<u8>,
    },
}

impl Batch {
    /// A batch without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.operations.push(Operation::Put { family, key, value });
    }

    /// Removes `key`, whether it is there or not.
    pub fn delete(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.operations.push(Operation::Delete { family, key });
    }

    /// Removes `key`, which was put exactly once since it last was absent.
    ///
    /// What RocksDB does with any other key is undefined: an older value may come back. The
    /// stores in memory panic instead.
    pub fn delete_once(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.operations.push(Operation::DeleteOnce { family, key });
    }

    /// Removes all keys of `range`.
    ///
    /// Cheap whatever the number of keys, but reads pass its trace until it is compacted: for
    /// what is dropped as a whole, not for single rows.
    ///
    /// # Panics
    /// When the range has no end, which RocksDB cannot express.
    pub fn delete_range(&mut self, family: Family, range: KeyRange) {
        if range.is_empty() {
            return;
        }
        let KeyRange { start, end: Some(end) } = range else {
            panic!("a range that is deleted has an end")
        };
        self.bytes += start.len() + end.len();
        self.operations.push(Operation::DeleteRange { family, start, end });
    }

    /// The operations, in their order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the batch does nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}
