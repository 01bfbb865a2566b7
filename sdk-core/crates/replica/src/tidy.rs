//! The journal is kept short, and room that is free in the file is given back.
//!
//! SQLite would take the journal into the file within the very write that makes it too long, and whoever
//! wrote would wait for the disk twice. So this is done between writes, by whoever owns the replica. Each
//! call is a bounded piece of work, so that writes have their turn between two of them.

use std::time::Duration;

use rusqlite::ErrorCode;

use crate::error::ReplicaError;
use crate::journal::JOURNAL_PAGES;
use crate::replica::Replica;

/// From how many on it is also waited for those who read, since each of them keeps it as it is.
const JOURNAL_PAGES_LONG: u32 = 4 * JOURNAL_PAGES;

/// How long it is waited for those who read.
const WAIT: Duration = Duration::from_millis(50);

/// How long everything else waits for a lock.
const BUSY: Duration = Duration::from_secs(5);

/// How many pages are given back at once.
const GIVEN_BACK_AT_ONCE: u32 = 256;

/// Fewer free pages than these stay: what is written next takes them.
const FREE_PAGES: u32 = 64;

/// What part of the file may be free.
const FREE_SHARE: u32 = 4;

/// What came of tidying up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidied {
    /// There is nothing left to be done.
    All,
    /// There is more to be done.
    Some,
    /// Somebody reads what is to go: it is to be tried again after a while.
    NotYet,
}

impl Replica {
    /// Whether the journal is so long that it is to be taken into the file, with
    /// [`Replica::shorten_journal`].
    pub fn is_journal_long(&self) -> bool {
        self.journal.is_long()
    }

    /// Takes the journal into the file, as far as nobody reads what was there before. What is written next
    /// begins it anew then.
    ///
    /// # Errors
    /// [`ReplicaError`]; the journal stays, and is not long before it has grown as much again.
    pub fn shorten_journal(&mut self) -> Result<(), ReplicaError> {
        let pages = self.journal.note_try();
        let mode = if pages < JOURNAL_PAGES_LONG { "PASSIVE" } else { "RESTART" };
        self.take_in(mode).map(|_| ())
    }

    /// The same for one that was long already when the file had no room for it, and where that may have
    /// changed.
    pub(crate) fn shorten_full_journal(&self) -> Result<(), ReplicaError> {
        match self.journal.pages() >= JOURNAL_PAGES {
            true => self.take_in("PASSIVE").map(|_| ()),
            false => Ok(()),
        }
    }

    /// The same for a short one.
    pub(crate) fn shorten_stuck_journal(&self) -> Result<(), ReplicaError> {
        match self.journal.is_in_the_way() {
            true => self.take_in("PASSIVE").map(|_| ()),
            false => Ok(()),
        }
    }

    /// Gives back some of what is free, where that is a large part of the file; and once that is done
    /// empties the journal, where it has something left of what has gone.
    ///
    /// # Errors
    /// [`ReplicaError`]; what was not done is left to be done.
    pub fn tidy(&mut self) -> Result<Tidied, ReplicaError> {
        if self.give_back()? {
            return Ok(Tidied::Some);
        }
        if !self.journal.has_remains() {
            return Ok(Tidied::All);
        }
        if !self.take_in("TRUNCATE")? {
            return Ok(Tidied::NotYet);
        }
        self.journal.note_empty();
        #[cfg(feature = "testing")]
        self.note_synced_frames();
        Ok(Tidied::All)
    }

    /// Says whether all of the journal is in the file.
    fn take_in(&self, mode: &str) -> Result<bool, ReplicaError> {
        self.connection.busy_timeout(WAIT)?;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let done = self.connection.query_row(&sql, [], |row| row.get::<_, bool>(0));
        self.connection.busy_timeout(BUSY)?;
        let error = match done {
            Ok(is_busy) => {
                self.journal.note_room(true);
                return Ok(!is_busy);
            }
            Err(error) => error,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(false),
            _ => {
                let error = ReplicaError::from(error);
                self.journal.note_room(!matches!(error, ReplicaError::DiskFull));
                Err(error)
            }
        }
    }

    /// Says whether something was given back: nothing where there is no room to write that it was.
    fn give_back(&self) -> Result<bool, ReplicaError> {
        let (free, pages) = (self.count("freelist_count")?, self.count("page_count")?);
        if free < FREE_PAGES || free < pages / FREE_SHARE {
            return Ok(false);
        }
        let sql = format!("PRAGMA incremental_vacuum({GIVEN_BACK_AT_ONCE})");
        let mut vacuum = self.connection.prepare(&sql)?;
        let mut given = vacuum.query([])?;
        // Each page is a row.
        loop {
            match given.next().map(|row| row.is_some()).map_err(ReplicaError::from) {
                Ok(true) => {}
                Ok(false) => break,
                Err(ReplicaError::DiskFull) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        drop(given);
        self.journal.note_remains();
        // Nothing goes from a file that was made to keep it.
        Ok(self.count("freelist_count")? < free)
    }

    fn count(&self, what: &str) -> Result<u32, ReplicaError> {
        let mut select = self.connection.prepare_cached(&format!("PRAGMA {what}"))?;
        Ok(select.query_row([], |row| row.get(0))?)
    }
}
