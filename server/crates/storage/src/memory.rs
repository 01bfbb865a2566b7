use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use imbl::OrdMap;

use crate::{
    Batch, Direction, Entry, Family, KeyRange, Layout, Operation, Removal, Scan, Snapshot,
    StorageError, Store,
};

/// A store in memory, for simulations and tests.
///
/// Persistent trees make a snapshot a copy of one pointer per family. Everything counts as durable
/// at once; [`FaultyDisk`](crate::faulty::FaultyDisk) takes the unpersisted part away again.
pub struct MemoryStore {
    image: RwLock<Image>,
}

/// The contents of a store at one moment.
#[derive(Clone)]
pub(crate) struct Image {
    layout: Layout,
    /// One tree per family of the layout, in its order.
    trees: Vec<OrdMap<Vec<u8>, Stored>>,
    /// The bytes of all keys and values.
    bytes: usize,
}

#[derive(Clone)]
struct Stored {
    value: Arc<[u8]>,
    /// How often the key was put since it last was absent.
    puts: u32,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(layout: Layout) -> Self {
        Self::with_image(Image::new(layout))
    }

    pub(crate) fn with_image(image: Image) -> Self {
        Self { image: RwLock::new(image) }
    }

    /// Another store with the same contents, for simulations.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::with_image(self.image())
    }

    #[cfg(feature = "testing")]
    pub(crate) fn set_image(&self, image: Image) {
        *self.image.write().unwrap_or_else(PoisonError::into_inner) = image;
    }

    /// The present contents.
    pub(crate) fn image(&self) -> Image {
        // A panic in another thread leaves a whole image: `write` replaces it at its end.
        self.image.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Store for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.image().get(family, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(self.image())
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = image.clone();
        for operation in batch.operations() {
            next.apply(operation);
        }
        *image = next;
        Ok(())
    }

    fn persist(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn get_persisted(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let image = self.image();
        image.layout.expect_no_journal();
        image.get(family, key)
    }

    fn compact(&self, family: Family, _: &KeyRange) -> Result<(), StorageError> {
        self.image().layout.expect(family);
        Ok(())
    }
}

impl Image {
    pub(crate) fn new(layout: Layout) -> Self {
        let trees = vec![OrdMap::new(); layout.families.len()];
        Self { layout, trees, bytes: 0 }
    }

    /// The bytes of all keys and values.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn tree(&self, family: Family) -> &OrdMap<Vec<u8>, Stored> {
        &self.trees[self.layout.place(family)]
    }

    fn tree_mut(&mut self, family: Family) -> &mut OrdMap<Vec<u8>, Stored> {
        &mut self.trees[self.layout.place(family)]
    }

    fn apply(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::Put { family, key, value } => {
                let old = self.remove(family, key);
                let puts = old.map_or(0, |old| old.puts) + 1;
                self.bytes += key.len() + value.len();
                let stored = Stored { value: value.into(), puts };
                self.tree_mut(family).insert(key.to_vec(), stored);
            }
            Operation::Delete { family, key } => {
                let puts = self.remove(family, key).map_or(0, |old| old.puts);
                assert!(
                    puts == 1 || family.removal == Removal::Any,
                    "a key of {} was put {puts} times and is removed as if once",
                    family.name
                );
            }
            Operation::DeleteRange { family, start, end } => {
                let range = (Bound::Included(start.to_vec()), Bound::Excluded(end.to_vec()));
                let keys: Vec<Vec<u8>> =
                    self.tree(family).range(range).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    self.remove(family, &key);
                }
            }
        }
    }

    fn remove(&mut self, family: Family, key: &[u8]) -> Option<Stored> {
        let old = self.tree_mut(family).remove(key)?;
        self.bytes -= key.len() + old.value.len();
        Some(old)
    }
}

impl Snapshot for Image {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.tree(family).get(key).map(|stored| stored.value.to_vec()))
    }

    fn scan(&self, family: Family, range: KeyRange, direction: Direction) -> Box<dyn Scan + '_> {
        let tree = self.tree(family);
        // Between bounds in the wrong order the tree's own iterator would panic.
        let entries: Box<dyn Iterator<Item = (&Vec<u8>, &Stored)> + Send> = match direction {
            _ if range.is_empty() => Box::new(std::iter::empty()),
            Direction::Forward => Box::new(tree.range(bounds(&range))),
            Direction::Backward => Box::new(tree.range(bounds(&range)).rev()),
        };
        Box::new(MemoryScan { entries })
    }
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn bounds(range: &KeyRange) -> Bounds {
    let end = range.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(range.start.clone()), end)
}

struct MemoryScan<'a> {
    entries: Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Stored)> + Send + 'a>,
}

impl Scan for MemoryScan<'_> {
    fn next(&mut self) -> Result<Option<Entry<'_>>, StorageError> {
        Ok(self.entries.next().map(|(key, stored)| Entry { key, value: &stored.value }))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("image", &self.image()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("layout", &self.layout)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryScan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryScan").finish_non_exhaustive()
    }
}
