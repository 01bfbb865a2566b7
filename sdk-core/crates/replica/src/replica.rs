//! The file: opened, locked, brought to the present format, and written.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
#[cfg(feature = "testing")]
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use protocol::ids::{ClientId, TableId};
use protocol::schema::TableSchema;
#[cfg(feature = "testing")]
use protocol::value::Value;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sdk_machine::{Known, Stored, StoredSubscription, StoredWriter, SubscriptionId};

use crate::allowed::Allowed;
use crate::changed::{Before, Changed, Touched, read_touched};
use crate::error::ReplicaError;
use crate::file::private_if_new;
use crate::files::Files;
use crate::functions::{Making, Writer};
use crate::guard::{Guard, lock, strict_quotes};
use crate::journal::Journal;
use crate::outbox::{self, OutboxSize};
use crate::place::Place;
#[cfg(feature = "testing")]
use crate::reader::{QueryResult, look};
use crate::reader::{Reader, View};
use crate::ready::ReadyStatements;
use crate::sets::Sets;
use crate::stored;
use crate::table::Tables;
use crate::writers;

/// The formats of the file, in their order. A released one is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../sql/001_init.sql"),
    include_str!("../sql/002_synced_at.sql"),
    include_str!("../sql/003_outbox.sql"),
    include_str!("../sql/004_sending.sql"),
    include_str!("../sql/005_rejections.sql"),
    include_str!("../sql/006_idle.sql"),
    include_str!("../sql/007_schema.sql"),
    include_str!("../sql/008_histories.sql"),
    include_str!("../sql/009_requests.sql"),
];

/// How many expired rows go at once.
const EXPIRED_AT_ONCE_MAX: i64 = 10_000;

/// The set on every open, the same everywhere. On Apple systems a sync is one only when it is said to
/// be full. A journal that has become longer than 4 MiB is cut to that when it begins anew.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                       PRAGMA recursive_triggers = ON; PRAGMA foreign_keys = OFF; \
                       PRAGMA trusted_schema = ON; PRAGMA busy_timeout = 5000; \
                       PRAGMA secure_delete = ON; PRAGMA fullfsync = ON; \
                       PRAGMA checkpoint_fullfsync = ON; PRAGMA journal_size_limit = 4194304;";

/// The local copy. One owner writes it; [`Replica::reader`] gives others a view.
pub struct Replica {
    /// Opened when it is needed. It goes before the connection that writes, which tidies up the file
    /// when it is the last.
    before: Option<Before>,
    pub(crate) connection: Connection,
    pub(crate) guard: Guard,
    pub(crate) tables: Tables,
    pub(crate) allowed: Allowed,
    pub(crate) sets: Sets,
    #[cfg(feature = "testing")]
    pub(crate) feels_full: std::cell::Cell<bool>,
    #[cfg(feature = "testing")]
    pub(crate) index: std::cell::OnceCell<Option<std::mem::ManuallyDrop<std::fs::File>>>,
    pub(crate) known: HashMap<SubscriptionId, Known>,
    pub(crate) making: Making,
    pub(crate) ready: ReadyStatements,
    pub(crate) outbox: OutboxSize,
    pub(crate) journal: Journal,
    replicated: Arc<RwLock<BTreeSet<String>>>,
    /// What was written since the last transaction began.
    touched: Arc<Mutex<Touched>>,
    pub(crate) place: Place,
    client: ClientId,
    /// As long as it is there, no other process writes.
    pub(crate) files: Option<Box<dyn Files>>,
}

impl Replica {
    /// Opens the file, or makes it; then `fresh` is who it is.
    ///
    /// # Errors
    /// [`ReplicaError::InUse`] when another process, or another part of this one, has it;
    /// [`ReplicaError::Damaged`]: see [`Replica::open_or_rebuild`].
    pub fn open(place: impl Into<Place>, fresh: ClientId) -> Result<Self, ReplicaError> {
        let place = place.into();
        let files = place.take()?;
        match files.go_on()? {
            true => Self::at(&place, Some(files), fresh),
            false => Err(ReplicaError::Damaged),
        }
    }

    /// Opens a file, or makes it, of which these are all.
    pub(crate) fn at(
        place: &Place,
        files: Option<Box<dyn Files>>,
        fresh: ClientId,
    ) -> Result<Self, ReplicaError> {
        if place.is_file() {
            private_if_new(place.path())?;
        }
        let journal = Journal::of(files.as_ref().is_some_and(|files| files.has_journal()));
        let mut connection = connect(place)?;
        let format = format_of(&connection)?;
        connection.set_prepared_statement_cache_capacity(128);
        set_up(&connection)?;
        strict_quotes(&connection)?;
        // Beside an index of some rows only, a statement would be prepared anew for each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        #[cfg(feature = "testing")]
        crate::faults::limit_if_full(&connection, place, files.as_deref());
        migrate(&connection, format, fresh)?;
        let replicated = Arc::<RwLock<BTreeSet<String>>>::default();
        let guard = Guard::new(Arc::clone(&replicated));
        guard.install(&mut connection)?;
        let making = Making::install(&connection)?;
        let touched = Arc::<Mutex<Touched>>::default();
        let (seen, left) = (Arc::clone(&touched), journal.clone());
        connection.update_hook(Some(move |action, _: &str, table: &str, id| {
            left.note_row(action, table);
            lock(&seen).row(table, id);
        }))?;
        journal.watch(&mut connection)?;
        let client = connection.query_row("SELECT client FROM tw_replica", [], |row| row.get(0))?;
        let mut replica = Self {
            before: None,
            connection,
            guard,
            tables: Tables::default(),
            allowed: Allowed::default(),
            sets: Sets::default(),
            #[cfg(feature = "testing")]
            feels_full: std::cell::Cell::new(false),
            #[cfg(feature = "testing")]
            index: std::cell::OnceCell::new(),
            known: HashMap::new(),
            making,
            ready: ReadyStatements::default(),
            outbox: OutboxSize::default(),
            journal,
            replicated,
            touched,
            place: place.clone(),
            client: ClientId::from_bytes(client),
            files,
        };
        replica.remember()?;
        Ok(replica)
    }

    /// Closes it, and removes its files.
    ///
    /// # Errors
    /// [`ReplicaError::File`] when some are still there.
    pub fn wipe(self) -> Result<(), ReplicaError> {
        let Self { before, connection, files, .. } = self;
        drop((before, connection));
        files.map_or(Ok(()), |files| files.wipe())
    }

    /// Closes it, and everything is in one file, durably.
    pub(crate) fn close_into_one_file(self) -> Result<(), ReplicaError> {
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        let mode: String =
            self.connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        match mode.as_str() {
            "delete" => Ok(()),
            _ => Err(ReplicaError::File(format!("its journal stays as {mode}"))),
        }
    }

    /// Who it is.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// When all that was subscribed to was here and live for the last time, as it was noted.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn synced_at(&self) -> Result<Option<i64>, ReplicaError> {
        let sql = "SELECT synced_at FROM tw_replica";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Notes it, in microseconds since 1970. It never goes back.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was noted.
    pub fn note_synced(&mut self, at: i64) -> Result<(), ReplicaError> {
        let sql = "UPDATE tw_replica SET synced_at = max(coalesce(synced_at, ?1), ?1)";
        self.connection.prepare_cached(sql)?.execute([at])?;
        Ok(())
    }

    /// By how many microseconds the server's clock is ahead of the device's, as it was noted.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn clock_ahead(&self) -> Result<Option<i64>, ReplicaError> {
        let sql = "SELECT clock_ahead FROM tw_replica";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Notes it.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was noted.
    pub fn note_clock(&mut self, ahead: i64) -> Result<(), ReplicaError> {
        self.connection.execute("UPDATE tw_replica SET clock_ahead = ?1", [ahead])?;
        Ok(())
    }

    /// Who writes, and what time it is: what triggers of the application are given in steps.
    pub fn note_writer(&self, writer: &Writer) {
        self.making.begin(writer);
    }

    /// What a machine starts from. Staged pieces are dropped.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn load(&mut self) -> Result<Stored, ReplicaError> {
        self.transaction(|replica| {
            // A DELETE of nothing is written, too, and an application comes to the front often.
            let connection = &replica.connection;
            if connection.prepare_cached("SELECT 1 FROM tw_staged LIMIT 1")?.exists([])? {
                connection.execute("DELETE FROM tw_staged", [])?;
            }
            let subscriptions = replica.remember()?;
            let lanes = stored::lanes(&replica.connection)?;
            let connection = &replica.connection;
            Ok(Stored {
                client: replica.client,
                lanes,
                subscriptions,
                since: connection
                    .query_row("SELECT since FROM tw_replica", [], |row| row.get(0))?,
                writers: writers::writers(connection)?,
                schema: replica.allowed.stored(),
                outbox: writers::outbox(connection)?,
            })
        })
    }

    /// The format of the files that this code writes.
    pub const FORMAT: usize = MIGRATIONS.len();

    /// The version of SQLite.
    pub fn sqlite_version() -> &'static str {
        rusqlite::version()
    }

    /// How far what was written has come, in each lane.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn writers(&self) -> Result<Vec<StoredWriter>, ReplicaError> {
        writers::writers(&self.connection)
    }

    /// A replicated table, as the server has described it last.
    pub fn schema(&self, table: TableId) -> Option<&TableSchema> {
        self.tables.0.get(&table).map(|table| &table.schema)
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// [`ReplicaError::File`] when there is none to be had.
    pub fn reader(&self) -> Result<Reader, ReplicaError> {
        if self.place.is_alone() {
            let why = "the replica has one connection only: read with its view";
            return Err(ReplicaError::File(why.to_owned()));
        }
        Reader::open(self.place.path(), Arc::clone(&self.replicated))
    }

    /// Whether it has one connection, and [`Replica::reader`] gives none.
    pub fn is_alone(&self) -> bool {
        self.place.is_alone()
    }

    /// Reads by the connection that writes, between writes.
    pub fn view(&mut self) -> View<'_> {
        View::new(&mut self.connection, &self.guard, Some(&self.journal))
    }

    /// Runs one query as [`Replica::view`] does, where a test has it for reading only.
    ///
    /// # Errors
    /// [`ReplicaError`] says what is wrong with it.
    #[cfg(feature = "testing")]
    pub fn look(&self, sql: &str, params: &[Value]) -> Result<QueryResult, ReplicaError> {
        look(&self.connection, &self.guard, sql, params)
    }

    /// Drops rows that have expired by now, a bounded number of them: when `now` is not before
    /// [`Replica::next_expiry`] afterwards, there are more. Times are microseconds since 1970.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was dropped.
    pub fn expire(&mut self, now: i64) -> Result<Changed, ReplicaError> {
        self.despite_the_app(|replica| {
            for table in replica.tables.0.values().filter(|table| table.has_expiry()) {
                let name = table.quoted();
                let sql = format!(
                    "DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name}
                     WHERE _expires <= ?1 LIMIT {EXPIRED_AT_ONCE_MAX})"
                );
                replica.connection.prepare_cached(&sql)?.execute([now])?;
            }
            Ok(false)
        })
    }

    /// When the next row expires, in microseconds since 1970.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn next_expiry(&self) -> Result<Option<i64>, ReplicaError> {
        let mut next: Option<i64> = None;
        for table in self.tables.0.values().filter(|table| table.has_expiry()) {
            // So written, the index has the answer.
            let name = table.quoted();
            let sql = format!("SELECT min(_expires) FROM {name} WHERE _expires IS NOT NULL");
            let first: Option<i64> =
                self.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
            next = next.into_iter().chain(first).min();
        }
        Ok(next)
    }

    /// Lets the file have at most so many pages, as on a disk that is full.
    #[cfg(feature = "testing")]
    pub fn limit_pages(&self, pages: Option<u32>) {
        let pages = pages.unwrap_or(u32::MAX - 1);
        let limit = format!("PRAGMA max_page_count = {pages}");
        // The answer is the limit.
        let _ = self.connection.query_row(&limit, [], |_| Ok(()));
    }

    /// How many bytes are counted of what waits and of what was rejected.
    #[cfg(feature = "testing")]
    pub fn outbox_bytes(&self) -> i64 {
        self.outbox.bytes
    }

    /// Spoils what a mutation does, as a disk may that goes bad.
    #[cfg(feature = "testing")]
    pub fn spoil(&self, id: sdk_machine::MutationId) {
        let sql = "UPDATE tw_operations SET operation = (SELECT operation FROM tw_operations
                   WHERE mutation <> ?1 LIMIT 1) WHERE mutation = ?1";
        // It is a test that finds out.
        let _ = self.connection.execute(sql, [id.0]);
    }

    /// Does something in one transaction. When it fails nothing of it was done, in memory either.
    pub(crate) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        self.forget_touched();
        #[cfg(feature = "testing")]
        self.feel_full();
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = work(self).and_then(|value| {
            self.read_touched();
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(value)
        });
        if done.is_err() {
            // A full disk may have rolled it back already.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.remember()?;
        }
        self.publish();
        done
    }

    /// What is in memory becomes what is stored. Gives the subscriptions.
    fn remember(&mut self) -> Result<Vec<StoredSubscription>, ReplicaError> {
        self.tables = Tables::load(&self.connection)?;
        self.allowed = Allowed::load(&self.connection, &self.tables)?;
        self.sets = Sets::load(&self.connection)?;
        self.making.know(&self.tables);
        self.forget_statements();
        self.outbox = outbox::size(&self.connection)?;
        self.known.clear();
        let subscriptions = stored::subscriptions(&self.connection)?;
        for stored in &subscriptions {
            self.know(stored.id, stored.known.clone());
        }
        self.publish();
        Ok(subscriptions)
    }

    /// Tables are not as they were. What was prepared before would give the columns of then once more.
    pub(crate) fn forget_statements(&mut self) {
        self.ready.clear();
        self.connection.flush_prepared_statement_cache();
    }

    pub(crate) fn know(&mut self, id: SubscriptionId, known: Option<Known>) {
        match known {
            Some(known) => self.known.insert(id, known),
            None => self.known.remove(&id),
        };
    }

    /// Tells the other connections which tables are replicated.
    fn publish(&mut self) {
        let mut shared = self.replicated.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shared.len() != self.tables.0.len()
            || !self.tables.0.values().all(|table| shared.contains(&table.name));
        if is_other {
            *shared = self.tables.0.values().map(|table| table.name.clone()).collect();
        }
        drop(shared);
        if is_other {
            self.forget_statements();
        }
    }

    /// A transaction begins: what was written before is told.
    pub(crate) fn forget_touched(&self) {
        lock(&self.touched).clear();
    }

    /// Of these tables, by their SQLite names in lower case, it is told from now on which rows have
    /// changed, as far as they are replicated and few. Of others it is said that all may have.
    pub fn tell_rows_of(&mut self, tables: BTreeSet<String>) {
        lock(&self.touched).want(tables);
    }

    /// Something of the application has gone in this transaction.
    pub(crate) fn note_dropped(&self, names: Vec<String>) {
        lock(&self.touched).dropped(names);
    }

    /// Rows that SQLite deletes for REPLACE are told to nobody.
    pub(crate) fn may_replace(&self, sql: &str) {
        if sql.as_bytes().windows(7).any(|word| word.eq_ignore_ascii_case(b"REPLACE")) {
            lock(&self.touched).silent();
        }
    }

    /// A transaction is about to commit: what it has changed is read while it can be.
    pub(crate) fn read_touched(&mut self) {
        let mut touched = lock(&self.touched);
        let (tables, before) = (&self.tables, &mut self.before);
        let beside = Some(self.place.path()).filter(|_| !self.place.is_alone());
        read_touched(&mut touched, tables, &self.connection, before, beside);
    }

    /// What was written since the last transaction began.
    pub(crate) fn changed(&self, schema: bool) -> Changed {
        let (mut tables, dropped) = lock(&self.touched).told();
        // The rows of a full-text table lie in tables beside it.
        let beside = ["_data", "_content", "_docsize"];
        let named: Vec<String> = tables
            .keys()
            .filter_map(|table| beside.iter().find_map(|end| table.strip_suffix(end)))
            .map(str::to_owned)
            .collect();
        tables.retain(|table, _| !table.starts_with("tw_"));
        let by_triggers = match tables.is_empty() {
            true => BTreeSet::new(),
            false => self.guard.by_triggers(),
        };
        let mut changed = Changed { tables, schema, dropped };
        named.into_iter().chain(by_triggers).for_each(|table| changed.all_of(table));
        changed
    }
}

/// Whether a file can be had alone, as only one on which nobody holds a lock.
#[cfg(feature = "testing")]
pub fn can_be_had_alone(path: &Path) -> bool {
    let alone = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; ROLLBACK";
    Connection::open(path).is_ok_and(|other| {
        other.busy_timeout(std::time::Duration::ZERO).is_ok() && other.execute_batch(alone).is_ok()
    })
}

/// Holds a file, as another program does that has it for itself.
#[cfg(feature = "testing")]
pub fn hold(path: &Path) -> impl Sized + use<> {
    let held = Connection::open(path);
    let alone = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
    assert!(held.as_ref().is_ok_and(|held| held.execute_batch(alone).is_ok()), "{held:?}");
    held
}

/// A connection that writes.
pub(crate) fn connect(place: &Place) -> Result<Connection, ReplicaError> {
    let connection = match place.file_system() {
        Some(named) => {
            Connection::open_with_flags_and_vfs(place.path(), OpenFlags::default(), named)?
        }
        None => Connection::open(place.path())?,
    };
    if place.is_alone() {
        // Before anything is read: then its index of the journal is in memory of its own.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), ReplicaError> {
    const INCREMENTAL: i64 = 2;
    // Said of a file that has it, it is written once more.
    let vacuum: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if vacuum != INCREMENTAL {
        // Of a file that is there the size stays. SQLite as browsers have it begins with twice as much.
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    connection.execute_batch(PRAGMAS)?;
    Ok(())
}

/// The format of a file, if this code knows it. To one of another nothing is written, not even what its
/// journal has, which SQLite would do when the connection is closed.
fn format_of(connection: &Connection) -> Result<usize, ReplicaError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len();
    let format = usize::try_from(found).ok().filter(|found| *found <= known);
    let Some(format) = format else {
        let known = i64::try_from(known).unwrap_or(i64::MAX);
        return Err(ReplicaError::TooNew { found, known });
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(format)
}

fn migrate(connection: &Connection, begin: usize, fresh: ClientId) -> Result<(), ReplicaError> {
    let known = MIGRATIONS.len();
    if begin < known {
        // Whatever fails, the transaction ends with the connection.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for sql in &MIGRATIONS[begin..] {
            connection.execute_batch(sql)?;
        }
        Tables::load(connection)?.renew(connection)?;
        writers::fill_digests(connection)?;
        connection.execute_batch(&format!("PRAGMA user_version = {known}; COMMIT"))?;
    }
    let is_there = connection.query_row("SELECT 1 FROM tw_replica", [], |_| Ok(())).optional()?;
    if is_there.is_none() {
        connection.execute(
            "INSERT INTO tw_replica (client, last_set) VALUES (?1, 0)",
            [fresh.as_bytes()],
        )?;
    }
    Ok(())
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("place", &self.place).finish_non_exhaustive()
    }
}
