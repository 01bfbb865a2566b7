//! Room for what somebody writes when the disk is full: a file that is there to be removed.
//!
//! A full disk is nothing that a device gets over by itself, and what somebody types then is to be kept.
//! So when there is no room for it the reserve is removed, and until there is room for another one, rows
//! of the server do not take it.

use crate::error::ReplicaError;
use crate::replica::Replica;

impl Replica {
    /// Has a reserve, if there is none, and none of its room is taken by a journal for which the file has no
    /// room.
    ///
    /// # Errors
    /// [`ReplicaError::DiskFull`] when there is no room for it, or for the journal in the file, or
    /// [`ReplicaError::File`].
    pub fn keep_reserve(&self) -> Result<(), ReplicaError> {
        self.shorten_full_journal()?;
        self.make_reserve()?;
        // A short one waits: what somebody writes needs the room more than it does.
        self.shorten_stuck_journal()
    }

    fn make_reserve(&self) -> Result<(), ReplicaError> {
        let Some(files) = self.files.as_ref().filter(|files| !files.has_reserve()) else {
            return Ok(());
        };
        #[cfg(feature = "testing")]
        if crate::faults::is_full(self.place.path()) {
            return Err(ReplicaError::DiskFull);
        }
        files.make_reserve()
    }

    /// Gives up the reserve. Says whether there was one.
    pub fn give_reserve(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.give_reserve())
    }
}
