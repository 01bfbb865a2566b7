use thiserror::Error;

/// What can go wrong with a store. A broken rule of use is a panic, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk is full.
    #[error("the disk is full: free space, then restart the server")]
    Full,
    /// Another process, or another part of this one, has the store open.
    #[error("the data directory is in use: stop the other server, or give this one its own")]
    InUse,
    /// The bytes on disk are not those that were written.
    #[error("the data is damaged, restore it from a backup or another node: {detail}")]
    Corrupt {
        /// What the engine says about it, for the log.
        detail: String,
    },
    /// The operating system refused a read or write.
    #[error("the disk cannot be read or written: {detail}")]
    Io {
        /// What the engine says about it, for the log.
        detail: String,
    },
    /// A write or persist has failed before.
    #[error("an earlier write failed, so nothing more is written: open the store anew")]
    Stopped,
}
