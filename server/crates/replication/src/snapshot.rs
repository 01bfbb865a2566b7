//! A shard's rows on their way to another node.
//!
//! They are read as one view of the rows, in pieces, by a thread of its own, because a view keeps
//! old versions of rows alive and borrows the database. The receiver stores them beside what it
//! has, and switches in one durable write (`state_machine.rs`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use server_engine::{Export, Import, Stores};
use server_storage::Store;
use tokio::sync::mpsc;

use crate::error::ReplicationError;
use crate::records::AppliedState;
use crate::rows::ShardRows;

/// Bytes of a piece, unless one entry alone is larger.
const PIECE_BYTES: usize = 256 * 1024;

/// Received bytes after which they are written out, so that receiving takes the memory of so many
/// and not of all that the database may hold back.
const UNWRITTEN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What openraft passes around as a snapshot.
#[derive(Debug)]
pub(crate) enum ShardSnapshot {
    /// Nothing was received yet.
    Nothing,
    /// The rows of this node.
    View(ShardRows),
    /// Rows of another node, stored beside those of this one.
    Staged(Box<Staged>),
}

/// Rows that were received whole.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) import: Import,
    /// What they are the state of.
    pub(crate) state: AppliedState,
}

/// A part of a snapshot, in the order in which it is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// What the rows are the state of: an encoded [`AppliedState`].
    State(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Some of the rows.
    Rows(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// Reads a view of the rows, taken now, in a thread of its own. It ends when the receiver is
/// dropped.
pub(crate) fn send(
    rows: ShardRows,
) -> Result<mpsc::Receiver<Result<Part, ReplicationError>>, ReplicationError> {
    // One is being read while one is on its way.
    let (sender, parts) = mpsc::channel(1);
    let run = move || {
        let result = read(&rows, &mut |part| sender.blocking_send(Ok(part)).is_ok());
        if let Err(error) = result {
            // Nobody waits for it any more: then it is nobody's concern.
            let _ = sender.blocking_send(Err(error));
        }
    };
    std::thread::Builder::new()
        .name("snapshot".to_owned())
        .spawn(run)
        .map_err(|error| server_storage::StorageError::Io { detail: error.to_string() })?;
    Ok(parts)
}

/// Gives the parts of a view to `push` until it takes no more.
fn read(rows: &ShardRows, push: &mut dyn FnMut(Part) -> bool) -> Result<(), ReplicationError> {
    let snapshot = rows.store.snapshot();
    let state = rows.applied(&*snapshot)?;
    if !push(Part::State(state.encode())) {
        return Ok(());
    }
    let mut export = Export::new(&*snapshot, rows.shard)?;
    while let Some(piece) = export.next(PIECE_BYTES)? {
        if !push(Part::Rows(piece)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Stores what is received beside what is there.
#[derive(Debug)]
pub(crate) struct Receiving {
    rows: ShardRows,
    import: Import,
    state: Option<AppliedState>,
    unwritten: usize,
}

impl Receiving {
    pub(crate) fn new(rows: ShardRows, stores: Arc<Stores>) -> Self {
        let import = Import::new(stores, rows.shard);
        Self { rows, import, state: None, unwritten: 0 }
    }

    pub(crate) fn take(&mut self, part: Part) -> Result<(), ReplicationError> {
        match part {
            Part::State(bytes) => {
                let state = AppliedState::decode(&bytes);
                self.state =
                    Some(state.map_err(|_| ReplicationError::Damaged { what: "snapshot" })?);
            }
            Part::Rows(piece) => {
                let batch = self.import.piece(&piece)?;
                self.unwritten += batch.bytes();
                self.rows.store.write(batch)?;
                if self.unwritten >= UNWRITTEN_BYTES_MAX {
                    self.unwritten = 0;
                    self.rows.store.persist()?;
                }
            }
        }
        Ok(())
    }

    /// What was received, if it is whole.
    pub(crate) fn finish(self) -> Result<Staged, ReplicationError> {
        let Self { import, state, .. } = self;
        import.check()?;
        match state {
            Some(state) => Ok(Staged { import, state }),
            None => Err(ReplicationError::Damaged { what: "snapshot" }),
        }
    }
}

/// Copies rows within one process.
pub(crate) fn copy(
    source: &ShardRows,
    target: &ShardRows,
    stores: &Arc<Stores>,
) -> Result<Staged, ReplicationError> {
    let mut receiving = Receiving::new(target.clone(), Arc::clone(stores));
    let mut failed = Ok(());
    read(source, &mut |part| {
        failed = receiving.take(part);
        failed.is_ok()
    })?;
    failed?;
    receiving.finish()
}

/// Gives back what no slot uses any more, meanwhile. What is left undone is done at the next start.
pub(crate) fn reclaim_behind(stores: &Arc<Stores>, rows: Arc<dyn Store>) {
    let stores = Arc::clone(stores);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = stores.reclaim(&*rows) {
            tracing::warn!(%error, "the space of replaced rows was not given back yet");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use server_engine::{LAYOUT, ShardNumber};
    use server_storage::MemoryStore;

    #[test]
    fn what_is_not_whole_is_not_taken() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(LAYOUT));
        let stores = Arc::new(Stores::open(&*store).unwrap());
        let rows = ShardRows::new(store, ShardNumber(3));
        let mut parts = Vec::new();
        read(&rows, &mut |part| {
            parts.push(part);
            true
        })
        .unwrap();
        assert!(parts.len() > 1);
        let receive = |left_out: Option<usize>| {
            let mut receiving = Receiving::new(rows.clone(), Arc::clone(&stores));
            for (at, part) in parts.iter().enumerate() {
                if left_out != Some(at) {
                    let copied = match part {
                        Part::State(bytes) => Part::State(bytes.clone()),
                        Part::Rows(bytes) => Part::Rows(bytes.clone()),
                    };
                    receiving.take(copied).unwrap();
                }
            }
            receiving.finish().is_ok()
        };
        assert!(receive(None));
        assert!(!receive(Some(0)));
        assert!(!receive(Some(parts.len() - 1)));
    }
}
