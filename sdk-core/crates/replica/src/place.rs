//! Where a replica is, and what there is of files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ReplicaError;
use crate::file::SystemFiles;
use crate::pool::{Pool, PoolFiles};

/// Where a replica is.
#[derive(Clone)]
pub struct Place {
    path: PathBuf,
    pool: Option<Arc<dyn Pool>>,
    is_alone: bool,
}

impl Place {
    /// A file of the system. Whoever reads has a connection of their own.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), pool: None, is_alone: false }
    }

    /// The same, through one connection only: it needs no memory that connections share, which some file
    /// systems do not have. Reads wait for writes.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// A file of a pool, by its name there, through one connection.
    pub fn pooled(name: &str, pool: Arc<dyn Pool>) -> Self {
        Self { path: name.into(), pool: Some(pool), is_alone: true }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same for a file that is beside it.
    pub(crate) fn at(&self, path: PathBuf) -> Self {
        Self { path, ..self.clone() }
    }

    /// Whether it is a file of the system.
    pub(crate) fn is_file(&self) -> bool {
        self.pool.is_none()
    }

    /// Takes the files, waiting for nobody.
    pub(crate) fn take(&self) -> Result<Box<dyn Files>, ReplicaError> {
        Ok(match &self.pool {
            None => Box::new(SystemFiles::lock(&self.path)?),
            Some(pool) => Box::new(PoolFiles::take(&self.path, Arc::clone(pool))?),
        })
    }
}

/// A file of the system.
impl<P: AsRef<Path> + ?Sized> From<&P> for Place {
    fn from(path: &P) -> Self {
        Self::file(path.as_ref())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}

/// The files of a replica, held against others for as long as this lives. Each step can be cut short, and
/// what was to follow is done when it is opened the next time.
pub(crate) trait Files: Send {
    /// Where a damaged one can be read, once it is put away.
    fn damaged(&self) -> PathBuf;

    /// Where the one is made that takes its place.
    fn rebuilt(&self) -> PathBuf;

    /// Takes a damaged one out of the way, as far as that is needed to make another one. Says whether
    /// there is one: not when another one is whole that takes its place.
    fn put_away(&self) -> Result<bool, ReplicaError>;

    /// The one that takes its place is whole. From here on nothing is taken from the damaged one any
    /// more, whatever happens to the files. Says where that is kept, if it is.
    fn replace(&self) -> Result<Option<PathBuf>, ReplicaError>;

    /// Goes on with what was cut short, where nothing has to be read for it. Says whether there is one to
    /// open, or to make: not when a damaged one was put away, and none has taken its place.
    fn go_on(&self) -> Result<bool, ReplicaError>;

    /// Whether somebody has left a journal, or the like of it.
    fn has_journal(&self) -> bool;

    /// Removes all of them.
    fn wipe(&self) -> Result<(), ReplicaError>;
}
