//! What tests want of a disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::mem::ManuallyDrop;
use std::path::Path;

use rusqlite::Connection;

use crate::files::{Files, beside};
use crate::place::Place;
use crate::replica::Replica;

/// Where the journal's index has the number of frames. (SQLite's format of the write-ahead log.)
const FRAMES: u64 = 16;

/// Whether the disk is full: as long as there is a file `*.full` beside the replica, that takes no page
/// more, unless its reserve is given up.
pub(crate) fn is_full(path: &Path) -> bool {
    beside(path, ".full").exists()
}

/// A file that is about to be opened takes no page then.
pub(crate) fn limit_if_full(connection: &Connection, place: &Place, files: Option<&dyn Files>) {
    if is_full(place.path()) && files.is_some_and(Files::has_reserve) {
        // The answer is the limit; without it a test notices that there is room.
        let _ = connection.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()));
    }
}

impl Replica {
    pub(crate) fn feel_full(&self) {
        let is_felt = is_full(self.place.path())
            && self.files.as_ref().is_some_and(|files| files.has_reserve());
        if is_felt != self.feels_full.replace(is_felt) {
            let pages = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0));
            self.limit_pages(pages.ok().filter(|_| is_felt));
        }
    }

    /// Calls this before each commit, when who reads still has what was before it.
    pub fn before_commits(&mut self, mut told: impl FnMut() + Send + 'static) {
        let hook = move || {
            told();
            false
        };
        // Without it a test notices that nothing was told.
        let _ = self.connection.commit_hook(Some(hook));
    }

    /// Notes how many frames of the journal no power cut takes any more, where a test wants to know
    /// and has made a file `*.synced` for it.
    pub(crate) fn note_synced_frames(&self) {
        let note = beside(self.place.path(), ".synced");
        if !note.exists() {
            return;
        }
        let index = self.index.get_or_init(|| {
            // To close it would take away all locks that this process has on it.
            File::open(beside(self.place.path(), "-shm")).ok().map(ManuallyDrop::new)
        });
        if let Some(frames) = index.as_deref().and_then(frames) {
            // It is a test that finds out.
            let _ = std::fs::write(note, frames.to_string());
        }
    }
}

fn frames(mut index: &File) -> Option<u32> {
    let mut frames = [0; 4];
    index.seek(SeekFrom::Start(FRAMES)).and_then(|_| index.read_exact(&mut frames)).ok()?;
    Some(u32::from_ne_bytes(frames))
}
