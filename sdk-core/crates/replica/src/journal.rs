//! What is known of the journal: how long it is, and whether there is something in it that has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{Action, Wal};

/// From how many pages on the journal is taken into the file: 4 MiB, as SQLite does it.
pub(crate) const JOURNAL_PAGES: u32 = 1_000;

/// From how many on SQLite takes it in within a write, because nobody else has.
const JOURNAL_PAGES_MAX: u32 = 16 * JOURNAL_PAGES;

/// What is known of the journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    /// How many pages it had at the end of the last transaction.
    pages: Arc<AtomicU32>,
    /// How many it had when it was taken in last, if it was not begun anew since.
    tried_at: Arc<AtomicU32>,
    /// Whether it has, or the file behind it, what was there of rows that have gone.
    has_remains: Arc<AtomicBool>,
    /// Whether the file had no room for it when it was to be taken in last.
    is_in_the_way: Arc<AtomicBool>,
}

impl Journal {
    /// The journal of a file that is about to be opened. Where there is one, somebody has left it.
    pub(crate) fn of(is_left: bool) -> Self {
        let journal = Self::default();
        journal.has_remains.store(is_left, Ordering::Relaxed);
        journal
    }

    /// How many pages it has.
    pub(crate) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Whether the file had no room for it when it was to be taken in last.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.is_in_the_way.load(Ordering::Relaxed)
    }

    /// It was to be taken in, and the file had room for it, or had not.
    pub(crate) fn note_room(&self, has_room: bool) {
        self.is_in_the_way.store(!has_room, Ordering::Relaxed);
    }

    /// Sees how long it becomes. This takes the place of what SQLite would do by itself.
    pub(crate) fn watch(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let Self { pages, tried_at, .. } = self.clone();
        connection.wal_hook(Some(move |wal: &mut Wal, count: i32| {
            let count = u32::try_from(count).unwrap_or(0);
            pages.store(count, Ordering::Relaxed);
            if count < tried_at.load(Ordering::Relaxed) {
                tried_at.store(0, Ordering::Relaxed);
            }
            if count >= JOURNAL_PAGES_MAX {
                // The transaction is done, whatever comes of this.
                let _ = wal.checkpoint();
            }
            Ok(())
        }))
    }

    /// SQLite tells of a row.
    pub(crate) fn note_row(&self, action: Action, table: &str) {
        // What waited is in the outbox no longer, and was not let go by anybody.
        let counts = !table.starts_with("tw_") || table == "tw_rejected";
        if action == Action::SQLITE_DELETE && counts {
            self.note_remains();
        }
    }

    /// Something has gone, and what it was is still there.
    pub(crate) fn note_remains(&self) {
        self.has_remains.store(true, Ordering::Relaxed);
    }

    /// Whether it is to be taken into the file.
    pub(crate) fn is_long(&self) -> bool {
        let tried_at = self.tried_at.load(Ordering::Relaxed);
        self.pages.load(Ordering::Relaxed) >= tried_at.saturating_add(JOURNAL_PAGES)
    }

    /// It is about to be taken in. Says how many pages it has.
    pub(crate) fn note_try(&self) -> u32 {
        let pages = self.pages.load(Ordering::Relaxed);
        self.tried_at.store(pages, Ordering::Relaxed);
        pages
    }

    /// Whether something is left of what has gone.
    pub(crate) fn has_remains(&self) -> bool {
        self.has_remains.load(Ordering::Relaxed)
    }

    /// All of it is in the file, and it is empty.
    pub(crate) fn note_empty(&self) {
        self.pages.store(0, Ordering::Relaxed);
        self.has_remains.store(false, Ordering::Relaxed);
    }
}
