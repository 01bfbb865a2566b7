//! The files of a replica: who has them, and what becomes of a damaged one.
//!
//! | file | |
//! | --- | --- |
//! | `X`, `X-wal`, `X-shm` | the replica |
//! | `X.lock` | held by the process that has it |
//! | `X.damaged`, `X.rebuilt` | while a damaged one is replaced: it, and the one that takes its place |
//! | `X.set-aside` | the last that was damaged |
//! | `X.reserve` | room for what somebody writes when there is none |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::ReplicaError;
use crate::files::{Files, beside};

/// The size of the reserve, in bytes. SQLite begins its journal anew when it is about as large, so this
/// is room for many small writes.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// The files, held against other processes for as long as this lives.
pub(crate) struct SystemFiles {
    path: PathBuf,
    lock: File,
}

impl Drop for SystemFiles {
    /// A process that is being started has all that this one has open, for a moment. So it is not left
    /// to the last who has it open that nobody holds the lock any more.
    fn drop(&mut self) {
        // There is nothing else to be done.
        let _ = self.lock.unlock();
    }
}

impl SystemFiles {
    /// Waits for nobody.
    pub(crate) fn lock(path: &Path) -> Result<Self, ReplicaError> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let lock = private(&beside(path, ".lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(ReplicaError::InUse),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where the last one is that was damaged.
    fn set_aside(&self) -> PathBuf {
        beside(&self.path, ".set-aside")
    }

    fn reserve(&self) -> PathBuf {
        beside(&self.path, ".reserve")
    }

    /// Only the last one is kept.
    fn keep_aside(&self) -> Result<(), ReplicaError> {
        if self.damaged().exists() {
            remove(&self.set_aside())?;
            for end in ["-wal", ""] {
                move_if_there(&beside(&self.damaged(), end), &beside(&self.set_aside(), end))?;
            }
            if_there(fs::remove_file(beside(&self.damaged(), "-shm")))?;
        }
        Ok(())
    }

    /// The names are durable. Where that cannot be, they are soon.
    fn sync(&self) {
        if let Some(directory) = self.path.parent() {
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
    }
}

impl Files for SystemFiles {
    fn damaged(&self) -> PathBuf {
        beside(&self.path, ".damaged")
    }

    fn rebuilt(&self) -> PathBuf {
        beside(&self.path, ".rebuilt")
    }

    /// Where this was cut short it goes on. What its journal has belongs to it.
    fn put_away(&self) -> Result<bool, ReplicaError> {
        if self.path.exists() {
            remove(&self.damaged())?;
            fs::rename(&self.path, self.damaged()).map_err(failed)?;
        }
        move_if_there(&beside(&self.path, "-wal"), &beside(&self.damaged(), "-wal"))?;
        if_there(fs::remove_file(beside(&self.path, "-shm")))?;
        remove(&self.rebuilt())?;
        Ok(true)
    }

    fn replace(&self) -> Result<Option<PathBuf>, ReplicaError> {
        fs::rename(self.rebuilt(), &self.path).map_err(failed)?;
        self.sync();
        self.keep_aside()?;
        Ok(Some(self.set_aside()))
    }

    fn go_on(&self) -> Result<bool, ReplicaError> {
        if !self.path.exists() && self.damaged().exists() {
            return Ok(false);
        }
        self.keep_aside()?;
        Ok(true)
    }

    fn has_journal(&self) -> bool {
        fs::metadata(beside(&self.path, "-wal")).is_ok_and(|file| file.len() > 0)
    }

    fn has_reserve(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|file| file.len() == RESERVE_BYTES)
    }

    fn make_reserve(&self) -> Result<(), ReplicaError> {
        let path = self.reserve();
        let made = options().create(true).truncate(true).open(&path).and_then(|mut file| {
            // Not zeros: a file system may have no room for those, and still say that it has written them.
            let piece: Vec<u8> =
                (0..64 * 1024_u32).map(|at| (at.wrapping_mul(167) >> 8) as u8).collect();
            for _ in 0..RESERVE_BYTES / 65_536 {
                file.write_all(&piece)?;
            }
            Ok(())
        });
        made.map_err(|error| {
            // A part of it would only be in the way.
            let _ = fs::remove_file(&path);
            failed(error)
        })
    }

    fn give_reserve(&self) -> bool {
        fs::remove_file(self.reserve()).is_ok()
    }

    /// The lock stays: nobody takes it for another one.
    fn wipe(&self) -> Result<(), ReplicaError> {
        for path in [self.damaged(), self.rebuilt(), self.set_aside(), self.path.clone()] {
            remove(&path)?;
        }
        if_there(fs::remove_file(self.reserve()))?;
        self.sync();
        Ok(())
    }
}

/// Makes a file that nobody else on the machine may read, where there is none: SQLite would let
/// everybody. One that is there is not even opened: closing it would take away the locks that this
/// process has on it.
pub(crate) fn private_if_new(path: &Path) -> Result<(), ReplicaError> {
    match options().create_new(true).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Opens such a file, and makes it if it is not there.
fn private(path: &Path) -> io::Result<File> {
    options().create(true).truncate(false).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Removes a database and its journal.
fn remove(path: &Path) -> Result<(), ReplicaError> {
    // Without the journal it is what it was earlier, so the journal goes last.
    ["", "-wal", "-shm"].iter().try_for_each(|end| if_there(fs::remove_file(beside(path, end))))
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), ReplicaError> {
    if_there(fs::rename(from, to))
}

fn if_there(done: io::Result<()>) -> Result<(), ReplicaError> {
    match done {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(error: io::Error) -> ReplicaError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ReplicaError::DiskFull,
        _ => ReplicaError::File(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_free_although_somebody_has_it_open_still() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica");
        let files = SystemFiles::lock(&path).unwrap();
        let as_of_a_child = files.lock.try_clone().unwrap();
        assert!(matches!(SystemFiles::lock(&path), Err(ReplicaError::InUse)));
        drop(files);
        assert!(SystemFiles::lock(&path).is_ok());
        drop(as_of_a_child);
    }
}
