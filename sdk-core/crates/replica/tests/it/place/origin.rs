//! A replica on the private files of an origin, as browsers have it: in a pool, by one connection.

#![expect(unsafe_code, reason = "only SQLite reaches the files, by a table of functions")]

use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::value::Value;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};
use sdk_replica::{Pool, QueryResult, Replica, ReplicaError, View};

/// The ends of the names of all files that a replica may have.
const ENDS: [&str; 8] =
    ["", "-journal", "-wal", ".rebuilt", ".rebuilt-journal", ".rebuilt-wal", ".reserve", ".whole"];

/// A replica with a name of its own in the pool of this worker.
pub(crate) struct Place {
    name: String,
}

impl Drop for Place {
    /// What it has is there for others. After a test that fails there are none: the worker ends.
    fn drop(&mut self) {
        ENDS.into_iter().for_each(|end| self.remove(end));
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("replica-{count}.sqlite") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.beside("")
    }

    /// The file whose name has this end.
    pub(crate) fn beside(&self, end: &str) -> PathBuf {
        self.named(end).into()
    }

    fn named(&self, end: &str) -> String {
        format!("{}{end}", self.name)
    }

    /// What is in it, or nothing.
    pub(crate) fn bytes(&self, end: &str) -> Vec<u8> {
        self.with(end, |file| {
            let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
            file.read(&mut bytes);
            bytes
        })
    }

    pub(crate) fn size(&self, end: &str) -> u64 {
        self.with(end, |file| file.size())
    }

    fn with<T: Default>(&self, end: &str, work: impl FnOnce(&mut File) -> T) -> T {
        let name = self.named(end);
        match pool().contains(&name).unwrap() {
            true => work(&mut File::open(&name)),
            false => T::default(),
        }
    }

    pub(crate) fn put(&self, end: &str, bytes: &[u8]) {
        File::open(&self.named(end)).write(bytes);
    }

    pub(crate) fn remove(&self, end: &str) {
        pool().remove(&self.named(end)).unwrap();
    }

    /// The ends of the names of all files.
    pub(crate) fn ends(&self) -> Vec<String> {
        let pool = pool();
        let ends = ENDS.into_iter().filter(|end| pool.contains(&self.named(end)).unwrap());
        ends.map(str::to_owned).collect()
    }

    /// The same by way of another pool.
    pub(crate) fn pooled(&self, pool: Arc<dyn Pool>) -> sdk_replica::Place {
        sdk_replica::Place::pooled(&self.name, pool)
    }

    /// Another connection, which sees what is in the files when it is made. Where the replica is open, it
    /// must not write.
    pub(crate) fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
        // The replica may be open, and then needs its journal.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        connection
    }
}

impl From<&Place> for sdk_replica::Place {
    fn from(place: &Place) -> Self {
        place.pooled(pool())
    }
}

/// The files of the origin.
pub(crate) fn pool() -> Arc<dyn Pool> {
    sdk_wasm::testing::pool()
}

/// Whoever reads: by the only connection there is.
pub(crate) struct Eyes;

impl Eyes {
    pub(crate) fn of(_: &Replica) -> Self {
        Self
    }

    pub(crate) fn on<'r>(&mut self, replica: &'r mut Replica) -> View<'r> {
        replica.view()
    }
}

/// Reads once.
pub(crate) fn query(
    replica: &Replica,
    sql: &str,
    params: &[Value],
) -> Result<QueryResult, ReplicaError> {
    replica.look(sql, params)
}

/// A file of the pool, also of a replica that is open.
struct File {
    /// What SQLite calls a file, and what the pool keeps behind it.
    memory: Vec<u64>,
    name: ffi::sqlite3_filename,
}

/// A function of the file's table, which has it: a pool can do what is called here.
macro_rules! call {
    ($file:expr, $function:ident $(, $argument:expr)*) => {{
        let file = $file.file();
        // SAFETY: it is open, as long as this lives, and nobody else has this memory.
        unsafe { ((*(*file).pMethods).$function.unwrap())(file $(, $argument)*) }
    }};
}

impl File {
    fn open(name: &str) -> Self {
        let name = CString::new(name).unwrap();
        // SAFETY: it is a text that ends, and there are no parameters. It is copied.
        let name = unsafe {
            ffi::sqlite3_create_filename(
                name.as_ptr(),
                c"".as_ptr(),
                c"".as_ptr(),
                0,
                ptr::null_mut(),
            )
        };
        // SAFETY: the pool is the file system that is asked by default.
        let vfs = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        // SAFETY: it is there as long as the worker.
        let size = unsafe { (*vfs).szOsFile };
        let memory = vec![0; usize::try_from(size).unwrap() / size_of::<u64>() + 1];
        let mut file = Self { memory, name };
        let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE | ffi::SQLITE_OPEN_MAIN_DB;
        // SAFETY: the memory is as large as it says, and is where it is for as long as the file is open.
        let done =
            unsafe { ((*vfs).xOpen.unwrap())(vfs, file.name, file.file(), flags, ptr::null_mut()) };
        assert_eq!(done, ffi::SQLITE_OK);
        file
    }

    fn file(&mut self) -> *mut ffi::sqlite3_file {
        self.memory.as_mut_ptr().cast()
    }

    fn size(&mut self) -> u64 {
        let mut size = 0;
        assert_eq!(call!(self, xFileSize, &raw mut size), ffi::SQLITE_OK);
        u64::try_from(size).unwrap()
    }

    fn read(&mut self, bytes: &mut [u8]) {
        let (to, count) = (bytes.as_mut_ptr().cast::<c_void>(), c_int::try_from(bytes.len()));
        assert_eq!(call!(self, xRead, to, count.unwrap(), 0), ffi::SQLITE_OK);
    }

    fn write(&mut self, bytes: &[u8]) {
        assert_eq!(call!(self, xTruncate, 0), ffi::SQLITE_OK);
        let (from, count) = (bytes.as_ptr().cast::<c_void>(), c_int::try_from(bytes.len()));
        assert_eq!(call!(self, xWrite, from, count.unwrap(), 0), ffi::SQLITE_OK);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = call!(self, xClose);
        // SAFETY: it was made for this, and the file is closed.
        unsafe { ffi::sqlite3_free_filename(self.name) };
    }
}
