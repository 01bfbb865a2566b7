//! What there is of files beside a replica: another one for each kind of place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::ReplicaError;

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

    /// Whether there is a reserve.
    fn has_reserve(&self) -> bool;

    /// Makes one. When there is no room for all of it there is none.
    fn make_reserve(&self) -> Result<(), ReplicaError>;

    /// Removes it. Says whether there was one.
    fn give_reserve(&self) -> bool;

    /// Removes all of them.
    fn wipe(&self) -> Result<(), ReplicaError>;
}

/// A file with another end to its name.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
