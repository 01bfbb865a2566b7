//! An engine in memory under SQL: every lane in one shard, every command an entry.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::ids::{Epoch, Lane};
use server_engine::{
    Actor, Catalog, Command, Entry, LAYOUT, Outcome, Role, SLOTS, Shard, ShardNumber, Slot, Stores,
    Time, View,
};
use server_query::{Answer, Param, Request, Settings, ShardError, Shards, Sql, SqlError};
use server_storage::{Counted, MemoryStore, Store};
use tokio::time::Instant;

const SHARD: ShardNumber = ShardNumber(0);

/// Runs before a command is decided; `Err` is its answer, and it is not decided.
type Before = Box<dyn FnMut(&Command) -> Result<(), ShardError> + Send>;

/// All lanes in one shard.
pub(crate) struct Memory {
    store: MemoryStore,
    shard: Mutex<Shard>,
    /// What the readers are told of, if not all.
    catalog_of_readers: Mutex<Option<Arc<Catalog>>>,
    pub(crate) before: Mutex<Option<Before>>,
    now: AtomicI64,
    keys_read: AtomicU64,
    /// How many look at the shard now.
    pub(crate) reading: AtomicU64,
    pub(crate) proposed: AtomicU64,
}

impl Memory {
    fn new() -> Arc<Self> {
        let store = MemoryStore::new(LAYOUT);
        let stores = Arc::new(Stores::open(&store).unwrap());
        let shard = Shard::open(&*store.snapshot(), SHARD, stores).unwrap();
        let now = AtomicI64::new(1_800_000_000_000_000);
        let memory = Self {
            store,
            shard: Mutex::new(shard),
            catalog_of_readers: Mutex::default(),
            before: Mutex::default(),
            now,
            keys_read: AtomicU64::default(),
            reading: AtomicU64::default(),
            proposed: AtomicU64::default(),
        };
        let slots = (0..SLOTS).map(|slot| Slot::new(slot).unwrap()).collect();
        memory.apply(Command::Found { slots, epoch: Epoch::from_bytes([7; 16]) });
        Arc::new(memory)
    }

    pub(crate) fn apply(&self, command: Command) -> Outcome {
        let mut shard = self.shard.lock().unwrap();
        let entry = Entry::new(self.now(), vec![command]);
        // Through its bytes, as it comes from the log.
        let entry = Entry::decode(&entry.encode()).unwrap();
        let mut applied = shard.apply(&*self.store.snapshot(), &entry).unwrap();
        self.store.write(std::mem::take(&mut applied.batch)).unwrap();
        applied.outcomes.remove(0)
    }

    /// Lets readers know no later tables.
    pub(crate) fn hold_catalog_of_readers(&self, hold: bool) {
        *self.catalog_of_readers.lock().unwrap() = hold.then(|| self.catalog());
    }

    /// How many keys were read since the last time.
    pub(crate) fn take_keys_read(&self) -> u64 {
        self.keys_read.swap(0, Ordering::SeqCst)
    }

    pub(crate) fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        self.now.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Shards for Memory {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(self.shard.lock().unwrap().catalog())
    }

    fn read(&self, _lane: &Lane, look: &mut dyn FnMut(View<'_>)) -> Result<(), ShardError> {
        let snapshot = self.store.snapshot();
        let counted = Counted::new(&*snapshot);
        let held = self.catalog_of_readers.lock().unwrap().clone();
        let catalog = held.unwrap_or_else(|| self.catalog());
        self.reading.fetch_add(1, Ordering::SeqCst);
        look(View::new(&counted, &catalog, SHARD, self.now()));
        self.reading.fetch_sub(1, Ordering::SeqCst);
        self.keys_read.fetch_add(counted.reads().keys(), Ordering::SeqCst);
        Ok(())
    }

    fn propose(
        &self,
        command: Command,
        _deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, ShardError>> + Send + '_>> {
        Box::pin(async move {
            self.proposed.fetch_add(1, Ordering::SeqCst);
            // Others run in between, as they do while an entry is synced.
            tokio::task::yield_now().await;
            let before = self.before.lock().unwrap().take();
            if let Some(mut before) = before {
                let answer = before(&command);
                self.before.lock().unwrap().get_or_insert(before);
                answer?;
            }
            Ok(self.apply(command))
        })
    }

    fn now(&self) -> Time {
        Time(self.now.fetch_add(1, Ordering::SeqCst))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// SQL over an engine in memory.
pub(crate) struct World {
    pub(crate) memory: Arc<Memory>,
    pub(crate) sql: Sql,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&Settings::default()).await
    }

    pub(crate) async fn with(settings: &Settings) -> Self {
        let memory = Memory::new();
        let shards: Arc<dyn Shards> = Arc::<Memory>::clone(&memory);
        let sql = Sql::new(shards, settings).unwrap();
        sql.found(soon()).await.unwrap();
        Self { memory, sql }
    }

    /// Runs a statement without parameters.
    pub(crate) async fn run(&self, actor: &Actor, sql: &str) -> Result<Answer, SqlError> {
        self.sql.run(request(actor, sql, &[])).await
    }

    /// The same, which must succeed.
    pub(crate) async fn ok(&self, actor: &Actor, sql: &str) -> Answer {
        self.run(actor, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }
}

pub(crate) fn request(actor: &Actor, sql: &str, params: &[Param]) -> Request {
    let (actor, sql, params) = (actor.clone(), sql.to_owned(), params.to_vec());
    Request { actor, sql, params, id: None, deadline: soon() }
}

pub(crate) fn user(name: &str) -> Actor {
    Actor { user: name.parse().unwrap(), role: Role::User }
}

pub(crate) fn admin() -> Actor {
    Actor { user: "root".parse().unwrap(), role: Role::Admin }
}

/// So late that only what is stuck comes later.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
