//! A disk in memory that fails the way disks do, for tests.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::Image;
use crate::{
    Batch, Direction, Family, KeyRange, Layout, MemoryStore, Scan, Snapshot, StorageError, Store,
};

/// What outlives a crash: the disk under one store after another.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

/// The store that is open on a [`FaultyDisk`].
pub struct FaultyStore {
    memory: MemoryStore,
    disk: FaultyDisk,
    /// Which opening of the disk this is. After a power cut only a later one has power.
    opening: u64,
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Looking up a key.
    Get,
    /// Starting a walk, or a step of it.
    Scan,
    /// [`Store::write`].
    Write,
    /// [`Store::persist`]: everything may be durable or nothing, as after a failed `fdatasync`.
    Persist,
}

struct State {
    layout: Layout,
    durable: Image,
    /// The contents after each write since, any of which a power cut may leave.
    volatile: Vec<Image>,
    openings: u64,
    open: bool,
    stopped: bool,
    planned: Vec<(Fault, u64)>,
    capacity_bytes: usize,
}

impl FaultyDisk {
    /// An empty disk that does not fail.
    pub fn new(layout: Layout) -> Self {
        let state = State {
            layout,
            durable: Image::new(layout),
            volatile: Vec::new(),
            openings: 0,
            open: false,
            stopped: false,
            planned: Vec::new(),
            capacity_bytes: usize::MAX,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Opens the store. What was written and not persisted is there as long as no power cut took
    /// it away.
    ///
    /// # Errors
    /// [`StorageError::InUse`] while it is open.
    pub fn open(&self) -> Result<FaultyStore, StorageError> {
        let mut state = self.state();
        if state.open {
            return Err(StorageError::InUse);
        }
        state.open = true;
        state.stopped = false;
        state.openings += 1;
        let newest = state.volatile.last().unwrap_or(&state.durable).clone();
        let memory = MemoryStore::with_image(newest);
        let disk = Self { state: Arc::clone(&self.state) };
        Ok(FaultyStore { memory, opening: state.openings, disk })
    }

    /// Cuts the power. The open store answers with errors from then on. Of the batches written
    /// since the last persist, the first `choose(n)` of n are still there when the disk is opened
    /// next; the others never happened.
    ///
    /// # Panics
    /// When more than n are chosen.
    pub fn cut_power(&self, choose: impl FnOnce(usize) -> usize) {
        let mut state = self.state();
        let kept = choose(state.volatile.len());
        assert!(kept <= state.volatile.len(), "only what was written can be kept");
        if kept > 0 {
            state.durable = state.volatile[kept - 1].clone();
        }
        state.volatile.clear();
        state.planned.clear();
        state.open = false;
    }

    /// Lets the n-th such operation from here on fail once, the first being number 1. Failed
    /// writes have no effect; after one the store takes no more until it is opened anew.
    pub fn fail(&self, fault: Fault, nth: u64) {
        self.state().planned.push((fault, nth));
    }

    /// Lets the disk hold at most so many bytes of keys and values. A write beyond that is
    /// [`StorageError::Full`].
    pub fn limit(&self, capacity_bytes: usize) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// How many batches a power cut at this moment could take away.
    pub fn unpersisted(&self) -> usize {
        self.state().volatile.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether this opening of the disk is the present one, and no power cut has ended it.
    fn has_power(&self, opening: u64) -> bool {
        self.open && opening == self.openings
    }

    fn expect_power(&self, opening: u64) -> Result<(), StorageError> {
        if self.has_power(opening) {
            return Ok(());
        }
        Err(StorageError::Io { detail: "the power was cut".to_owned() })
    }

    /// Counts one operation, and fails it when its turn has come.
    fn turn(&mut self, fault: Fault, opening: u64) -> Result<(), StorageError> {
        self.expect_power(opening)?;
        let mut fails = false;
        self.planned.retain_mut(|(planned, turns)| {
            if *planned == fault {
                *turns = turns.saturating_sub(1);
                fails |= *turns == 0;
            }
            *planned != fault || *turns > 0
        });
        if fails {
            return Err(StorageError::Io { detail: format!("{fault:?} failed on request") });
        }
        Ok(())
    }

    /// The same for what stops the store when it fails.
    fn write_turn(&mut self, fault: Fault, opening: u64) -> Result<(), StorageError> {
        let has_power = self.has_power(opening);
        if has_power && self.stopped {
            return Err(StorageError::Stopped);
        }
        let turn = self.turn(fault, opening);
        // A store of before a power cut fails too, and that is nothing to the one that is open.
        self.stopped |= has_power && turn.is_err();
        turn
    }
}

impl Store for FaultyStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.disk.state().turn(Fault::Get, self.opening)?;
        self.memory.get(family, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(FaultySnapshot { image: self.memory.image(), store: self })
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        let mut state = self.disk.state();
        state.write_turn(Fault::Write, self.opening)?;
        let before = self.memory.image();
        self.memory.write(batch)?;
        let after = self.memory.image();
        if after.bytes() > state.capacity_bytes && after.bytes() > before.bytes() {
            self.memory.set_image(before);
            state.stopped = true;
            return Err(StorageError::Full);
        }
        state.volatile.push(after);
        Ok(())
    }

    fn persist(&self) -> Result<(), StorageError> {
        let mut state = self.disk.state();
        state.write_turn(Fault::Persist, self.opening)?;
        state.durable = self.memory.image();
        state.volatile.clear();
        Ok(())
    }

    fn get_persisted(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut state = self.disk.state();
        state.layout.expect_no_journal();
        state.turn(Fault::Get, self.opening)?;
        state.durable.get(family, key)
    }

    fn compact(&self, family: Family, range: &KeyRange) -> Result<(), StorageError> {
        let state = self.disk.state();
        state.expect_power(self.opening)?;
        if state.stopped {
            return Err(StorageError::Stopped);
        }
        self.memory.compact(family, range)
    }
}

impl Drop for FaultyStore {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.openings == self.opening {
            state.open = false;
        }
    }
}

struct FaultySnapshot<'a> {
    image: Image,
    store: &'a FaultyStore,
}

impl Snapshot for FaultySnapshot<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.store.disk.state().turn(Fault::Get, self.store.opening)?;
        self.image.get(family, key)
    }

    fn scan(&self, family: Family, range: KeyRange, direction: Direction) -> Box<dyn Scan + '_> {
        let inner = self.image.scan(family, range, direction);
        Box::new(FaultyScan { inner, store: self.store, failed: None })
    }
}

struct FaultyScan<'a> {
    inner: Box<dyn Scan + 'a>,
    store: &'a FaultyStore,
    failed: Option<StorageError>,
}

impl Scan for FaultyScan<'_> {
    fn next(&mut self) -> Result<Option<crate::Entry<'_>>, StorageError> {
        if self.failed.is_none() {
            self.failed = self.store.disk.state().turn(Fault::Scan, self.store.opening).err();
        }
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.inner.next(),
        }
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyDisk").field("unpersisted", &self.unpersisted()).finish()
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("opening", &self.opening).finish_non_exhaustive()
    }
}

impl fmt::Debug for FaultySnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySnapshot").finish_non_exhaustive()
    }
}

impl fmt::Debug for FaultyScan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyScan").finish_non_exhaustive()
    }
}
