//! A replica in a pool of files, as browsers have it: files with names, without directories, locks or
//! other names for a file.
//!
//! | file | |
//! | --- | --- |
//! | `X`, `X-wal` | the replica |
//! | `X.rebuilt` | while a damaged one is replaced: the one that takes its place |
//! | `X.whole` | the same, complete: as soon as it is there it is the replica |
//! | `X.reserve` | room for what somebody writes when there is none |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ReplicaError;
use crate::files::{Files, beside};

/// How large the reserve is, in bytes. Chromium gives a file room in powers of two, and keeps it for the
/// file as long as that is open; so this is what the journal needs that has used up 8 MiB. It is large when
/// it has half of that. With what a pool puts before a file, its size is no more than a power of two either.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024 - 4_096;

/// Why a pool did not do something.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PoolError {
    /// There is no room.
    #[error("there is no room")]
    Full,
    /// What the platform says.
    #[error("{0}")]
    Failed(String),
}

/// Files that a platform keeps for SQLite. Nobody else has the pool.
pub trait Pool: Send + Sync {
    /// By which name SQLite has them; none where they are its default file system.
    fn file_system(&self) -> Option<&'static str> {
        None
    }

    /// Whether there is a file of this name.
    ///
    /// # Errors
    /// The pool cannot be used.
    fn contains(&self, name: &str) -> Result<bool, PoolError>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, name: &str) -> Result<(), PoolError>;

    /// Copies a database that nobody has open, and that has no journal, to a name that is free. When it
    /// is cut short, nothing has that name.
    ///
    /// # Errors
    /// Nothing has that name.
    fn copy(&self, from: &str, to: &str) -> Result<(), PoolError>;

    /// Makes a file of this size by a name that is free, which is there for its room. Does nothing where no
    /// room is to be kept.
    ///
    /// # Errors
    /// Nothing has that name, and no room is taken.
    fn fill(&self, name: &str, size: u64) -> Result<(), PoolError>;

    /// Removes such a file, whose room is free at once for files that are open. Says whether there was one.
    ///
    /// # Errors
    /// It is still there.
    fn give(&self, name: &str) -> Result<bool, PoolError>;
}

/// A file, and in which file system.
type Named = (Option<&'static str>, PathBuf);

/// Who is open here. The pool cannot say, and two connections would not notice each other.
static TAKEN: Mutex<BTreeSet<Named>> = Mutex::new(BTreeSet::new());

/// The files, until it is dropped.
pub(crate) struct PoolFiles {
    path: PathBuf,
    pool: Arc<dyn Pool>,
}

impl Drop for PoolFiles {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.named());
    }
}

impl PoolFiles {
    pub(crate) fn take(path: &Path, pool: Arc<dyn Pool>) -> Result<Self, ReplicaError> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.insert((pool.file_system(), path.to_owned())) {
            true => Ok(Self { path: path.to_owned(), pool }),
            false => Err(ReplicaError::InUse),
        }
    }

    fn named(&self) -> Named {
        (self.pool.file_system(), self.path.clone())
    }

    fn reserve(&self) -> PathBuf {
        beside(&self.path, ".reserve")
    }

    fn whole(&self) -> PathBuf {
        beside(&self.path, ".whole")
    }

    fn contains(&self, path: &Path) -> Result<bool, ReplicaError> {
        Ok(self.pool.contains(&name(path))?)
    }

    /// Removes a database and its journals.
    fn remove(&self, path: &Path) -> Result<(), ReplicaError> {
        let remove = |end| self.pool.remove(&name(&beside(path, end)));
        // Without the journal it is what it was earlier, so the journal goes last.
        Ok(["", "-wal", "-journal"].into_iter().try_for_each(remove)?)
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<(), ReplicaError> {
        Ok(self.pool.copy(&name(from), &name(to))?)
    }
}

impl Files for PoolFiles {
    /// It stays where it is until there is another one.
    fn damaged(&self) -> PathBuf {
        self.path.clone()
    }

    fn rebuilt(&self) -> PathBuf {
        beside(&self.path, ".rebuilt")
    }

    fn put_away(&self) -> Result<bool, ReplicaError> {
        let is_damaged = !self.contains(&self.whole())?;
        self.go_on()?;
        Ok(is_damaged)
    }

    /// Nobody could look at the damaged one, so it is not kept.
    fn replace(&self) -> Result<Option<PathBuf>, ReplicaError> {
        self.copy(&self.rebuilt(), &self.whole())?;
        self.go_on()?;
        Ok(None)
    }

    fn go_on(&self) -> Result<bool, ReplicaError> {
        if self.contains(&self.whole())? {
            self.remove(&self.path)?;
            self.copy(&self.whole(), &self.path)?;
            self.remove(&self.whole())?;
        }
        self.remove(&self.rebuilt())?;
        Ok(true)
    }

    fn has_journal(&self) -> bool {
        self.contains(&beside(&self.path, "-wal")).unwrap_or(true)
    }

    fn has_reserve(&self) -> bool {
        self.contains(&self.reserve()).unwrap_or(false)
    }

    fn make_reserve(&self) -> Result<(), ReplicaError> {
        Ok(self.pool.fill(&name(&self.reserve()), RESERVE_BYTES)?)
    }

    fn give_reserve(&self) -> bool {
        self.pool.give(&name(&self.reserve())).unwrap_or(false)
    }

    fn wipe(&self) -> Result<(), ReplicaError> {
        // The whole one first: it would be the replica. The reserve last: whoever stays has it.
        let all = [self.whole(), self.rebuilt(), self.path.clone()];
        all.iter().try_for_each(|it| self.remove(it))?;
        self.pool.give(&name(&self.reserve()))?;
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers which files there are.
    #[derive(Default)]
    struct Names(Mutex<BTreeSet<String>>);

    impl Pool for Names {
        fn contains(&self, name: &str) -> Result<bool, PoolError> {
            Ok(self.0.lock().unwrap().contains(name))
        }

        fn remove(&self, name: &str) -> Result<(), PoolError> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }

        fn copy(&self, from: &str, to: &str) -> Result<(), PoolError> {
            let mut names = self.0.lock().unwrap();
            assert!(names.contains(from), "{from}");
            assert!(names.insert(to.to_owned()), "{to}");
            Ok(())
        }

        fn fill(&self, name: &str, _size: u64) -> Result<(), PoolError> {
            assert!(self.0.lock().unwrap().insert(name.to_owned()), "{name}");
            Ok(())
        }

        fn give(&self, name: &str) -> Result<bool, PoolError> {
            Ok(self.0.lock().unwrap().remove(name))
        }
    }

    fn with(path: &str, names: &[&str]) -> (PoolFiles, Arc<Names>) {
        let pool = Arc::new(Names(Mutex::new(names.iter().map(|it| (*it).to_owned()).collect())));
        (PoolFiles::take(Path::new(path), Arc::<Names>::clone(&pool) as _).unwrap(), pool)
    }

    fn names(pool: &Names) -> Vec<String> {
        pool.0.lock().unwrap().iter().cloned().collect()
    }

    #[test]
    fn one_at_a_time_has_it() {
        let (files, pool) = with("taken", &[]);
        let again = || PoolFiles::take(Path::new("taken"), Arc::<Names>::clone(&pool) as _);
        assert!(matches!(again(), Err(ReplicaError::InUse)));
        drop(files);
        assert!(again().is_ok());
    }

    #[test]
    fn a_half_made_one_goes_and_a_whole_one_takes_the_place() {
        let (files, pool) =
            with("half", &["half", "half-wal", "half.rebuilt", "half.rebuilt-journal"]);
        assert!(files.go_on().unwrap());
        assert_eq!(names(&pool), ["half", "half-wal"]);
        for there in
            [&["w", "w-wal", "w.whole", "w.rebuilt"][..], &["w.whole"], &["w-wal", "w.whole"]]
        {
            let (files, pool) = with("w", there);
            assert!(files.go_on().unwrap());
            assert_eq!(names(&pool), ["w"], "{there:?}");
        }
    }

    #[test]
    fn there_is_one_reserve_and_it_goes_with_the_rest() {
        let (files, pool) = with("kept", &["kept", "other"]);
        assert!(!files.has_reserve());
        files.make_reserve().unwrap();
        assert!(files.has_reserve());
        assert!(files.give_reserve());
        assert!(!files.give_reserve());
        files.make_reserve().unwrap();
        files.wipe().unwrap();
        assert_eq!(names(&pool), ["other"]);
    }

    #[test]
    fn nothing_is_left_of_it() {
        let (files, pool) =
            with("gone", &["gone", "gone-wal", "gone.whole", "gone.rebuilt", "other"]);
        files.wipe().unwrap();
        assert_eq!(names(&pool), ["other"]);
    }
}
