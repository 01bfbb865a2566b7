//! Room for what somebody writes when the disk is full: a file that is there to be removed.
//!
//! A full disk is nothing that a device gets over by itself, and what somebody types then is to be kept.
//! So when there is no room for it the reserve is removed, and until there is room for another one, rows
//! of the server do not take it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::error::ReplicaError;
use crate::file::{failed, options};
use crate::files::beside;
use crate::replica::Replica;

/// The size of the reserve, in bytes. SQLite begins its journal anew when it is about as large, so this
/// is room for many small writes.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

impl Replica {
    /// Has a reserve, if there is none. In a browser there is never one: its space is not known by files.
    ///
    /// # Errors
    /// [`ReplicaError::DiskFull`] when there is no room for it, or [`ReplicaError::File`].
    pub fn keep_reserve(&self) -> Result<(), ReplicaError> {
        if !self.place.is_file() {
            return Ok(());
        }
        let path = self.reserve();
        if fs::metadata(&path).is_ok_and(|file| file.len() == RESERVE_BYTES) {
            return Ok(());
        }
        #[cfg(feature = "testing")]
        if crate::faults::is_full(self.place.path()) {
            return Err(ReplicaError::DiskFull);
        }
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

    /// Gives up the reserve. Says whether there was one.
    pub fn give_reserve(&self) -> bool {
        fs::remove_file(self.reserve()).is_ok()
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        beside(self.place.path(), ".reserve")
    }
}
