use server_storage::StorageError;
use server_storage::key::KeyError;
use thiserror::Error;

/// Why the engine cannot go on. What a client does wrong is an [`Outcome`](crate::Outcome), never
/// one of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is stored is not what this version writes.
    #[error("the stored {what} is damaged: restore the data from a backup or another node")]
    Damaged {
        /// Which kind of record.
        what: &'static str,
    },
    /// A catalog that is older than the snapshot it is read with: whoever reads takes it after.
    #[error("the tables changed meanwhile: read again")]
    CatalogOlder,
    /// An entry of the log that this version does not know. To pass over it would make this node
    /// differ from the others for ever.
    #[error("the log has an entry of a later version: update this server, then start it again")]
    UnknownEntry,
    /// What arrives of a shard is not what was sent.
    #[error("the shard did not arrive whole, or comes from another version: transfer it again")]
    TransferDamaged,
    /// Data of another format.
    #[error("the data has format {found}, this server reads {known}: use the server that wrote it")]
    Format {
        /// What the data says.
        found: u64,
        /// What this version reads and writes.
        known: u64,
    },
}

impl EngineError {
    pub(crate) fn damaged(what: &'static str) -> Self {
        Self::Damaged { what }
    }
}

impl From<KeyError> for EngineError {
    fn from(_: KeyError) -> Self {
        Self::damaged("key")
    }
}
