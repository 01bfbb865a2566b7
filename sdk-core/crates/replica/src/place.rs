//! Where a replica is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ReplicaError;
use crate::file::SystemFiles;
use crate::files::Files;
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

    /// The file system that it is in; none where that is the default one of SQLite.
    pub(crate) fn file_system(&self) -> Option<&'static str> {
        self.pool.as_ref()?.file_system()
    }

    /// The same for a file that is beside it.
    pub(crate) fn at(&self, path: PathBuf) -> Self {
        Self { path, ..self.clone() }
    }

    /// Whether it is a file of the system.
    pub(crate) fn is_file(&self) -> bool {
        self.pool.is_none()
    }

    /// Gives up the reserve of a replica that nobody has open. Says whether there was one.
    pub fn give_reserve(&self) -> bool {
        self.take().is_ok_and(|files| files.give_reserve())
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
