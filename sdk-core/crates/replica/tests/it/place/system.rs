//! A replica on files of the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::value::Value;
use rusqlite::Connection;
use sdk_replica::{Pool, PoolError, QueryResult, Reader, Replica, ReplicaError, View};
use tempfile::TempDir;

/// A replica in a directory of its own.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.directory.path().join("deep")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder().join("replica.sqlite")
    }

    /// The file whose name has this end.
    pub(crate) fn beside(&self, end: &str) -> PathBuf {
        self.folder().join(format!("replica.sqlite{end}"))
    }

    /// What is in it, or nothing.
    pub(crate) fn bytes(&self, end: &str) -> Vec<u8> {
        fs::read(self.beside(end)).unwrap_or_default()
    }

    pub(crate) fn size(&self, end: &str) -> u64 {
        fs::metadata(self.beside(end)).map_or(0, |file| file.len())
    }

    pub(crate) fn put(&self, end: &str, bytes: &[u8]) {
        fs::create_dir_all(self.folder()).unwrap();
        fs::write(self.beside(end), bytes).unwrap();
    }

    pub(crate) fn remove(&self, end: &str) {
        let _ = fs::remove_file(self.beside(end));
    }

    /// The ends of the names of all files but the lock, which stays.
    pub(crate) fn ends(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder()).unwrap();
        let name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name();
        let end = |name: std::ffi::OsString| {
            name.to_str().unwrap().strip_prefix("replica.sqlite").unwrap().to_owned()
        };
        let mut ends: Vec<String> = files.map(|file| end(name(file))).collect();
        ends.retain(|end| end != ".lock");
        ends.sort();
        ends
    }

    /// The same by way of a pool.
    pub(crate) fn pooled(&self, pool: Arc<dyn Pool>) -> sdk_replica::Place {
        sdk_replica::Place::pooled(self.path().to_str().unwrap(), pool)
    }

    /// Another connection, as other programs have them.
    pub(crate) fn connect(&self) -> Connection {
        fs::create_dir_all(self.folder()).unwrap();
        Connection::open(self.path()).unwrap()
    }
}

impl From<&Place> for sdk_replica::Place {
    fn from(place: &Place) -> Self {
        Self::file(place.path())
    }
}

/// A pool whose files are those of the system, with their paths for names.
pub(crate) fn pool() -> Arc<dyn Pool> {
    Arc::new(Paths)
}

struct Paths;

impl Pool for Paths {
    fn contains(&self, name: &str) -> Result<bool, PoolError> {
        Ok(Path::new(name).exists())
    }

    fn remove(&self, name: &str) -> Result<(), PoolError> {
        let _ = fs::remove_file(name);
        Ok(())
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), PoolError> {
        assert!(!Path::new(to).exists(), "{to}");
        assert!(!Path::new(&format!("{from}-wal")).exists(), "{from} has a journal");
        fs::copy(from, to).unwrap();
        Ok(())
    }

    fn fill(&self, _name: &str, _size: u64) -> Result<(), PoolError> {
        Ok(())
    }

    fn give(&self, _name: &str) -> Result<bool, PoolError> {
        Ok(false)
    }
}

/// Whoever reads: by a connection of its own.
pub(crate) struct Eyes(Reader);

impl Eyes {
    pub(crate) fn of(replica: &Replica) -> Self {
        Self(replica.reader().unwrap())
    }

    pub(crate) fn on(&mut self, _: &mut Replica) -> View<'_> {
        self.0.view()
    }
}

/// Reads once.
pub(crate) fn query(
    replica: &Replica,
    sql: &str,
    params: &[Value],
) -> Result<QueryResult, ReplicaError> {
    replica.reader()?.query(sql, params)
}
